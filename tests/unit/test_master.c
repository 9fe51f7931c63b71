/*
 * master: the whole supervisor as a process of its own, with doubles for worker and admin. What a double does
 * is named by the configuration's user_agent. Nothing here waits for time to pass: the master says when it
 * serves, answers on its control socket, and ends.
 */
#include "base/fd.h"
#include "base/log.h"
#include "io/conf.h"
#include "master/master.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static char conf_file[80];
static pid_t master;

/* ---- doubles */

static bool is(const struct heritage *h, const char *word)
{
    return strcmp(h->conf->user_agent, word) == 0;
}

static int wait_for_end(bool stubborn, bool deaf)
{
    sigset_t set;
    int number = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGQUIT);
    sigaddset(&set, SIGTERM);
    do {
        sigwait(&set, &number);
    } while (deaf || (stubborn && number != SIGQUIT));
    return 0;
}

static int worker_double(const struct heritage *h)
{
    if (is(h, "dies") || (is(h, "one-dies") && h->number == 1)) {
        log_error("no luck today");
        return 3;
    }
    if (is(h, "ends-the-master") && kill(getppid(), SIGTERM) == 0)
        return wait_for_end(false, false);
    if (is(h, "kills-the-master"))
        return kill(getppid(), SIGKILL);
    log_end_echo();
    h->shared->workers[h->slot].phase = WORKER_READY;
    return wait_for_end(is(h, "stubborn"), is(h, "deaf"));
}

static int admin_double(const struct heritage *h)
{
    (void)h;
    log_end_echo();
    return wait_for_end(false, false);
}

/* ---- the test's side */

static void write_conf(const char *word, const char *more)
{
    struct buf text = {0};
    int fd = open(conf_file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    buf_printf(&text,
               "listen = {\"unix:%s/http\"}\nadmin_listen = {}\nworkers = 2\nstate_db = \"%s/state.db\"\n"
               "control = \"%s/control\"\nuser_agent = \"%s\"\n%s\n"
               "provider anthropic {\n type = anthropic\n keys = {\"sk-test-key-number-one\"}\n}\n",
               dir, dir, dir, word, more);
    if (!strstr(more, "pid_file"))
        buf_printf(&text, "pid_file = \"%s/pid\"\n", dir);
    ck_assert_int_eq(fd_write_all(fd, text.data, text.len), 0);
    buf_fini(&text);
    fd_close(&fd);
}

static int run_master(int ready_fd)
{
    struct buf errors = {0};
    struct master_options options = {
        .programs = {.worker = worker_double, .admin = admin_double},
        .version = "9.9.9",
        .conf_file = conf_file,
        .parent = {.detached = false, .ready_fd = ready_fd, .stderr_fd = -1},
    };
    int log = open("log", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(log, 2);
    fd_close(&log);
    struct conf *conf = conf_load(conf_file, &errors);
    if (!conf)
        return 99;
    int status = master_run(&options, &conf);
    buf_fini(&errors);
    return status;
}

/* Whether it came to serve. */
static bool start(void)
{
    int ends[2];
    char word = 0;
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    master = fork();
    ck_assert_int_ge(master, 0);
    if (master == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        fd_close(&ends[0]);
        exit(run_master(ends[1]));
    }
    fd_close(&ends[1]);
    bool ready = read(ends[0], &word, 1) == 1 && word == 'R';
    fd_close(&ends[0]);
    return ready;
}

static int wait_status(void)
{
    int status = 0;
    ck_assert_int_eq(waitpid(master, &status, 0), master);
    ck_assert_msg(WIFEXITED(status), "wait status %d", status);
    return WEXITSTATUS(status);
}

/* Sends a request and reads the answer to its end. */
static void ask(const char *request, struct buf *answer)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    char part[1024];
    ssize_t n;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/control", dir);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(fd_write_all(fd, request, strlen(request)), 0);
    buf_clear(answer);
    buf_puts(answer, "");
    while ((n = read(fd, part, sizeof(part))) > 0)
        buf_append(answer, part, (size_t)n);
    fd_close(&fd);
}

static void expect_answer(const char *request, const char *part)
{
    struct buf answer = {0};
    ask(request, &answer);
    ck_assert_msg(strstr(answer.data, part) != NULL, "no %s in: %s", part, answer.data);
    buf_fini(&answer);
}

static void stop_by(int signal_number)
{
    ck_assert_int_eq(kill(master, signal_number), 0);
    ck_assert_int_eq(wait_status(), 0);
    ck_assert_int_lt(access("pid", F_OK), 0);
    ck_assert_int_lt(access("control", F_OK), 0);
    ck_assert_int_lt(access("http", F_OK), 0);
}

/* The pid of the worker in the status, which must be ready; 0 = it is not (yet). */
static pid_t worker_pid(unsigned number, unsigned generation)
{
    struct buf answer = {0};
    char start_of[32];
    char generation_of[32];
    pid_t pid = 0;
    ask("status\n", &answer);
    snprintf(start_of, sizeof(start_of), "{\"number\":%u,\"pid\":", number);
    snprintf(generation_of, sizeof(generation_of), "\"ready\",\"generation\":%u,", generation);
    for (const char *p = answer.data; (p = strstr(p, start_of)) != NULL; p++) {
        const char *end = strchr(p, '}');
        const char *found = strstr(p, generation_of);
        if (found && found < end)
            pid = (pid_t)strtol(p + strlen(start_of), NULL, 10);
    }
    buf_fini(&answer);
    return pid;
}

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_master.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(chdir(dir), 0);
    snprintf(conf_file, sizeof(conf_file), "%s/conf", dir);
}

static void teardown(void)
{
    static const char *const FILES[] = {"conf",         "log",          "state.db",
                                        "state.db-wal", "state.db-shm", "state.db.lock"};
    for (size_t i = 0; i < sizeof(FILES) / sizeof(FILES[0]); i++)
        unlink(FILES[i]);
    ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left behind */
}

START_TEST(test_start_and_stop)
{
    static const int SIGNALS[] = {SIGTERM, SIGINT, SIGQUIT};
    write_conf("good", "");
    for (size_t i = 0; i < sizeof(SIGNALS) / sizeof(SIGNALS[0]); i++) {
        ck_assert(start());
        expect_answer("status\n", "\"version\":\"9.9.9\"");
        expect_answer("status\n", "\"phase\":\"serving\",\"generation\":1,");
        expect_answer("status\n", "\"last_reload\":null");
        ck_assert_int_gt(worker_pid(0, 1), 0);
        ck_assert_int_gt(worker_pid(1, 1), 0);
        stop_by(SIGNALS[i]);
    }
    ck_assert(start());
    expect_answer("stop\n", "ok\n"); /* read to the end: the master's */
    ck_assert_int_eq(wait_status(), 0);
}
END_TEST

START_TEST(test_start_fails)
{
    static const char *const WORDS[] = {"dies", "one-dies"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        write_conf(WORDS[i], "");
        ck_assert(!start());
        ck_assert_int_eq(wait_status(), 1);
        ck_assert_int_lt(access("pid", F_OK), 0);
        ck_assert_int_lt(access("control", F_OK), 0);
    }
}
END_TEST

/* What clavigerd -d does, with the log in a file; what was said at the terminal is in *said. */
static int start_detached(struct buf *said)
{
    char part[1024];
    ssize_t n;
    int ends[2];
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    master = fork();
    ck_assert_int_ge(master, 0);
    if (master == 0) {
        struct buf errors = {0};
        struct master_options options = {.programs = {.worker = worker_double, .admin = admin_double},
                                         .version = "9.9.9",
                                         .conf_file = conf_file,
                                         .parent = {.ready_fd = -1, .stderr_fd = -1}};
        dup2(ends[1], 2);
        fd_close(&ends[0]);
        fd_close(&ends[1]);
        struct conf *conf = conf_load(conf_file, &errors);
        if (!conf || daemon_detach(&options.parent, &errors) < 0)
            _exit(99);
        _exit(master_run(&options, &conf));
    }
    fd_close(&ends[1]);
    buf_clear(said);
    buf_puts(said, "");
    /* To its end: nobody holds the terminal any more. */
    while ((n = read(ends[0], part, sizeof(part))) > 0)
        buf_append(said, part, (size_t)n);
    fd_close(&ends[0]);
    return wait_status();
}

START_TEST(test_detached)
{
    static const struct {
        const char *word;
        int status;
        const char *said; /* NULL = nothing */
        const char *said_too;
    } CASES[] = {
        {"dies", 1, ": no luck today\n", " exited with status 3 while it started"},
        {"one-dies", 1, ": worker 1: no luck today\n", "worker 1 exited with status 3 while it started"},
        {"ends-the-master", 1, "told to stop before it was ready", ""},
        {"kills-the-master", 1, "killed by signal 9 (Killed) before it was ready", ""},
        {"good", 0, NULL, NULL},
    };
    struct buf said = {0};
    char more[128];
    char pid[32] = "";
    snprintf(more, sizeof(more), "log { target = \"%s/log\" }\n", dir);
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        write_conf(CASES[i].word, more);
        ck_assert_int_eq(start_detached(&said), CASES[i].status);
        if (!CASES[i].said) {
            ck_assert_str_eq(said.data, "");
            continue;
        }
        ck_assert_msg(strstr(said.data, CASES[i].said) != NULL, "%zu: %s", i, said.data);
        ck_assert_msg(strstr(said.data, CASES[i].said_too) != NULL, "%zu: %s", i, said.data);
        while (waitpid(-1, NULL, 0) > 0)
            continue;
    }
    int fd = open("pid", O_RDONLY | O_CLOEXEC);
    ck_assert_int_gt(read(fd, pid, sizeof(pid) - 1), 0);
    fd_close(&fd);
    master = (pid_t)strtol(pid, NULL, 10);
    stop_by(SIGTERM);
    buf_fini(&said);
}
END_TEST

START_TEST(test_second_master)
{
    write_conf("good", "");
    ck_assert(start());
    pid_t first = master;
    ck_assert(!start());
    ck_assert_int_eq(wait_status(), 1);
    master = first;
    expect_answer("status\n", "\"phase\":\"serving\"");
    stop_by(SIGTERM);
}
END_TEST

START_TEST(test_reload)
{
    write_conf("good", "");
    ck_assert(start());
    expect_answer("reload\n", "ok\n");
    expect_answer("status\n", "\"generation\":2,");
    expect_answer("status\n", "\"ok\":true,\"error\":null");
    ck_assert_int_gt(worker_pid(0, 2), 0);
    stop_by(SIGTERM);
}
END_TEST

/* Whatever is wrong with the new configuration, the old one serves on, with the same processes. */
START_TEST(test_reload_refused)
{
    static const struct {
        const char *word;
        const char *more;
        const char *answer;
    } CASES[] = {
        {"dies", "", "exited with status 3"},
        {"one-dies", "", "worker 1 exited with status 3"},
        {"good", "no_such = 1\n", "no_such"},
        {"good", "pid_file = \"/tmp/other\"\n", "pid_file cannot change"},
        {"good", "log { target = \"/nonexistent/log\" }\n", "/nonexistent/log"},
        {"good", "listen = {}\n", "listen"},
    };
    write_conf("good", "");
    ck_assert(start());
    pid_t before = worker_pid(0, 1);
    ck_assert_int_gt(before, 0);
    for (size_t i = 0; i < sizeof(CASES) / sizeof(CASES[0]); i++) {
        struct buf answer = {0};
        write_conf(CASES[i].word, CASES[i].more);
        ask("reload\n", &answer);
        ck_assert_msg(strncmp(answer.data, "error ", 6) == 0, "%zu: %s", i, answer.data);
        ck_assert_msg(strstr(answer.data, CASES[i].answer) != NULL, "%zu: %s", i, answer.data);
        ck_assert_ptr_eq(strchr(answer.data, '\n'), answer.data + answer.len - 1);
        buf_fini(&answer);
        expect_answer("status\n", "\"ok\":false");
        expect_answer("status\n", CASES[i].answer);
        ck_assert_int_eq(worker_pid(0, 1), before);
    }
    write_conf("good", "");
    expect_answer("reload\n", "ok\n");
    stop_by(SIGTERM);
}
END_TEST

/* SIGHUPs during reloads are not lost, nor is one reload begun inside another. */
START_TEST(test_reload_by_signal)
{
    write_conf("good", "");
    ck_assert(start());
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(kill(master, SIGHUP), 0);
    expect_answer("reload\n", "ok\n");
    ck_assert_int_eq(worker_pid(0, 1), 0);
    stop_by(SIGTERM);
}
END_TEST

START_TEST(test_worker_is_replaced)
{
    write_conf("good", "");
    ck_assert(start());
    pid_t other = worker_pid(1, 1);
    pid_t before = worker_pid(0, 1);
    pid_t after;
    ck_assert_int_eq(kill(before, SIGKILL), 0);
    while ((after = worker_pid(0, 1)) == 0 || after == before)
        sched_yield();
    ck_assert_int_eq(worker_pid(1, 1), other);
    stop_by(SIGTERM);
}
END_TEST

/* SIGTERM, after shutdown_timeout SIGQUIT, and SIGKILL for whoever does not even hear that. */
START_TEST(test_stubborn)
{
    static const char *const WORDS[] = {"stubborn", "deaf"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++) {
        write_conf(WORDS[i], "limits { shutdown_timeout = 1s }\n");
        ck_assert(start());
        stop_by(SIGTERM);
    }
}
END_TEST

/* With a long shutdown_timeout the second signal is what ends it. */
START_TEST(test_second_signal)
{
    write_conf("stubborn", "limits { shutdown_timeout = 1h }\n");
    ck_assert(start());
    ck_assert_int_eq(kill(master, SIGTERM), 0);
    struct buf answer = {0};
    do {
        ask("status\n", &answer);
    } while (!strstr(answer.data, "\"phase\":\"stopping\""));
    expect_answer("reload\n", "error the daemon is stopping");
    buf_fini(&answer);
    stop_by(SIGTERM);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("master");
    TCase *tc = tcase_create("master");
    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_start_and_stop);
    tcase_add_test(tc, test_start_fails);
    tcase_add_test(tc, test_detached);
    tcase_add_test(tc, test_second_master);
    tcase_add_test(tc, test_reload);
    tcase_add_test(tc, test_reload_refused);
    tcase_add_test(tc, test_reload_by_signal);
    tcase_add_test(tc, test_worker_is_replaced);
    tcase_add_test(tc, test_stubborn);
    tcase_add_test(tc, test_second_signal);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
