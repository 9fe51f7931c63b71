/*
 * test_lifecycle: how the daemon starts, in the background too, and what becomes of its processes when they
 * die, stand still or are left alone.
 */
#include "e2e/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS 15000

static bool no_child_left(void *arg)
{
    int status;

    (void)arg;
    while (waitpid(-1, &status, WNOHANG) > 0)
        continue;
    return errno == ECHILD;
}

/* ---- the start */

/* In the background: the command comes back, with nothing to say, when everything serves. Its terminal is
 * left: what it wrote to has ended, or this would not return. */
START_TEST(a_start_in_the_background)
{
    struct http_request ready = {.method = "GET", .target = "/readyz"};
    struct http_client client;
    struct http_response r;
    struct run run;
    struct bench b;
    pid_t pids[4];

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 3;
    daemon_text(&b.daemon.log_options, "target = \"%s\"", b.daemon.log);
    daemon_write(&b.daemon);
    run_program(&run, NULL, daemon_binary(), _i == 0 ? "-d" : "--daemon", "--config", b.daemon.conf, NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    ck_assert_str_eq(run_err(&run), "");
    ck_assert_str_eq(run_out(&run), "");
    run_fini(&run);
    ck_assert(http_answers(b.daemon.port));
    ck_assert(http_answers(b.daemon.admin_port));
    http_connect_unix(&client, b.daemon.unix_path);
    http_close(&client);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
    ck_assert_msg(run.status == 0 && strstr(run_out(&run), "is serving") != NULL, "%s", run_out(&run));
    ck_assert_ptr_null(strstr(run_out(&run), "starting"));
    run_fini(&run);
    http_fetch(b.daemon.admin_port, &ready, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    b.daemon.pid = daemon_pid_in_file(&b.daemon);
    ck_assert_int_eq(getsid(b.daemon.pid), b.daemon.pid);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", pids, 4), 3);
    bench_post_expect(&b, 200);
    daemon_stop(&b.daemon);
    ck_assert_int_ne(access(b.daemon.pid_file, F_OK), 0);
    ck_assert_int_ne(access(b.daemon.control, F_OK), 0);
    ck_assert_int_ne(access(b.daemon.unix_path, F_OK), 0);
    bench_close(&b);
}
END_TEST

enum failure {
    BAD_OPTION,
    PORT_TAKEN,
    ADMIN_PORT_TAKEN,
    NO_DIRECTORY,
    GARBAGE,
    NO_USER,
    NO_LOG,
    NO_PID_FILE
};

static const struct {
    enum failure what;
    const char *word;
} FAILURES[] = {
    {BAD_OPTION, "no_such_option"},
    {PORT_TAKEN, "cannot listen on"},
    {ADMIN_PORT_TAKEN, "cannot listen on"},
    {NO_DIRECTORY, "/none/state.db"},
    {GARBAGE, "state.db"},
    {NO_USER, "no-such-user"},
    {NO_LOG, "/none/log"},
    {NO_PID_FILE, "/none/pid"},
};
#define FAILURE_COUNT ((int)(sizeof(FAILURES) / sizeof(FAILURES[0])))

static void spoil(struct bench *b, enum failure what)
{
    struct daemon *d = &b->daemon;

    if (what == BAD_OPTION)
        daemon_text(&d->top, "no_such_option = 1");
    else if (what == PORT_TAKEN)
        d->port = fake_port(b->fake);
    else if (what == ADMIN_PORT_TAKEN)
        d->admin_port = fake_port(b->fake);
    else if (what == NO_DIRECTORY)
        snprintf(d->db, sizeof(d->db), "%.80s/none/state.db", d->dir);
    else if (what ==
             GARBAGE) /* a directory is no database, and cannot be moved aside like one that is damaged */
        ck_assert_int_eq(mkdir(d->db, 0700), 0);
    else if (what == NO_USER)
        daemon_text(&d->top, "user = \"no-such-user\"");
    else if (what == NO_LOG)
        daemon_text(&d->log_options, "target = \"%s/none/log\"", d->dir);
    else
        snprintf(d->pid_file, sizeof(d->pid_file), "%.80s/none/pid", d->dir);
    daemon_write(d);
}

/* In the foreground and in the background: status 1, the reason on stderr, and nothing is left. */
START_TEST(starts_that_fail)
{
    struct bench b;
    struct run run;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    spoil(&b, FAILURES[_i].what);
    for (int background = 0; background < 2; background++) {
        run_program(&run, NULL, daemon_binary(), "-c", b.daemon.conf, background ? "-d" : NULL, NULL);
        ck_assert_msg(run.status == 1, "status %d: %s", run.status, run_err(&run));
        ck_assert_msg(strstr(run_err(&run), FAILURES[_i].word) != NULL, "no %s in: %s", FAILURES[_i].word,
                      run_err(&run));
        ck_assert_ptr_null(strstr(run_err(&run), SUITE_CANARY));
        run_fini(&run);
        ck_assert(util_wait(no_child_left, NULL, LIMIT_MS));
        ck_assert_int_ne(access(b.daemon.pid_file, F_OK), 0);
        ck_assert_int_ne(access(b.daemon.control, F_OK), 0);
        ck_assert_int_ne(access(b.daemon.unix_path, F_OK), 0);
    }
    bench_close(&b);
}
END_TEST

/* However few descriptors there are: it serves, or says why not. */
START_TEST(few_descriptors)
{
    char command[64];
    struct bench b;
    struct run run;
    unsigned refused = 0;
    unsigned served = 0;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_write(&b.daemon);
    for (int limit = 6; limit < 34; limit += 1 + limit / 20) {
        snprintf(command, sizeof(command), "ulimit -n %d; exec \"$0\" -d -c \"$1\"", limit);
        run_program(&run, NULL, "/bin/sh", "-c", command, daemon_binary(), b.daemon.conf, NULL);
        if (run.status == 0) {
            served++;
            b.daemon.pid = daemon_pid_in_file(&b.daemon);
            ck_assert(http_answers(b.daemon.port));
            daemon_stop(&b.daemon);
        } else {
            refused++;
            ck_assert_msg(run.status == 1 && run.err.len > 0, "limit %d: status %d", limit, run.status);
            ck_assert_msg(util_wait(no_child_left, NULL, LIMIT_MS), "limit %d: a process is left", limit);
        }
        run_fini(&run);
    }
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_gt(served, 0);
    bench_close(&b);
}
END_TEST

/* A second start is refused and names the one that runs; so is one with another pid file that would take the
 * control socket or a port. What a killed master left behind is in nobody's way. */
START_TEST(a_second_start)
{
    struct daemon other;
    struct bench b;
    struct run run;
    char text[64];

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    other = b.daemon;
    snprintf(text, sizeof(text), "already running as pid %d", (int)b.daemon.pid);
    for (int i = 0; i < 6; i++) {
        const char *word = i < 2 ? text : i < 4 ? "control" : "cannot listen on";

        snprintf(other.conf, sizeof(other.conf), "%.80s/other.conf", b.daemon.dir);
        if (i >= 2)
            snprintf(other.pid_file, sizeof(other.pid_file), "%.80s/other.pid", b.daemon.dir);
        if (i >= 4)
            snprintf(other.control, sizeof(other.control), "%.80s/other.control", b.daemon.dir);
        daemon_write(&other);
        run_program(&run, NULL, daemon_binary(), "-c", other.conf, i % 2 ? "-d" : NULL, NULL);
        ck_assert_msg(run.status == 1, "%d: status %d: %s", i, run.status, run_err(&run));
        ck_assert_msg(strstr(run_err(&run), word) != NULL, "%d: no \"%s\" in: %s", i, word, run_err(&run));
        run_fini(&run);
        ck_assert_int_eq(unlink(other.conf), 0);
        bench_post_expect(&b, 200);
        ck_assert_int_eq(daemon_pid_in_file(&b.daemon), b.daemon.pid);
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
        ck_assert_int_eq(run.status, 0);
        run_fini(&run);
    }
    ck_assert_int_eq(setenv("LSAN_OPTIONS", "detect_leaks=0", 1), 0);
    ck_assert_int_eq(kill(b.daemon.pid, SIGKILL), 0);
    ck_assert(util_wait(no_child_left, NULL, LIMIT_MS));
    ck_assert_int_eq(access(b.daemon.pid_file, F_OK), 0);
    ck_assert_int_eq(access(b.daemon.control, F_OK), 0);
    daemon_start(&b.daemon);
    ck_assert_int_eq(daemon_pid_in_file(&b.daemon), b.daemon.pid);
    bench_post_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* ---- what is on the command line, and what ps shows */

START_TEST(wrong_options)
{
    static const char *const WRONG[][3] = {{"-x", NULL, NULL},        {"--no-such-option", NULL, NULL},
                                           {"-c", NULL, NULL},        {"--config", NULL, NULL},
                                           {"serve", NULL, NULL},     {"-t", "claviger.conf", NULL},
                                           {"--test=yes", NULL, NULL}};
    struct run run;

    for (size_t i = 0; i < sizeof(WRONG) / sizeof(WRONG[0]); i++) {
        run_program(&run, NULL, daemon_binary(), WRONG[i][0], WRONG[i][1], NULL);
        ck_assert_msg(run.status == 2, "%s: status %d", WRONG[i][0], run.status);
        ck_assert_ptr_nonnull(strstr(run_err(&run), "usage: clavigerd"));
        ck_assert_str_eq(run_out(&run), "");
        run_fini(&run);
    }
}
END_TEST

START_TEST(long_options)
{
    struct bench b;
    struct run run;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_write(&b.daemon);
    run_program(&run, NULL, daemon_binary(), "--test", "--config", b.daemon.conf, NULL);
    ck_assert_int_eq(run.status, 0);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "is valid"));
    run_fini(&run);
    run_program(&run, NULL, daemon_binary(), "--dump-config", "--config", b.daemon.conf, NULL);
    ck_assert_int_eq(run.status, 0);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "shutdown_timeout"));
    ck_assert_ptr_null(strstr(run_out(&run), SUITE_CANARY));
    run_fini(&run);
    bench_close(&b);
}
END_TEST

static void expect_title(pid_t pid, const char *title)
{
    char path[64];
    char *text;

    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    text = util_read_file(path, NULL);
    ck_assert_ptr_nonnull(text);
    ck_assert_str_eq(text, title);
    free(text);
}

START_TEST(titles)
{
    char role[32];
    char title[64];
    struct bench b;
    pid_t pid;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 3;
    daemon_start(&b.daemon);
    expect_title(b.daemon.pid, "clavigerd: master");
    ck_assert_uint_eq(daemon_children(&b.daemon, "admin", &pid, 1), 1);
    expect_title(pid, "clavigerd: admin");
    for (int i = 0; i < 3; i++) {
        snprintf(role, sizeof(role), "worker %d", i);
        snprintf(title, sizeof(title), "clavigerd: %s", role);
        ck_assert_uint_eq(daemon_children(&b.daemon, role, &pid, 1), 1);
        expect_title(pid, title);
    }
    bench_close(&b);
}
END_TEST

/* ---- workers that stand still, and that die again and again */

struct new_worker {
    const struct daemon *daemon;
    const char *role;
    pid_t old;
    pid_t now;
};

static bool has_new(void *arg)
{
    struct new_worker *w = arg;

    return daemon_children(w->daemon, w->role, &w->now, 1) == 1 && w->now != w->old;
}

/* The pid of the process with that title that is not `old`. */
static pid_t await_process(const struct daemon *d, const char *role, pid_t old)
{
    struct new_worker w = {.daemon = d, .role = role, .old = old};

    ck_assert_msg(util_wait(has_new, &w, LIMIT_MS), "no new %s", role);
    return w.now;
}

/* A worker whose loop stands still is killed and replaced; the other one serves meanwhile. */
START_TEST(the_watchdog)
{
    struct bench b;
    pid_t stuck;
    char text[64];

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.top, "watchdog = 2s");
    b.daemon.workers = 2;
    daemon_start(&b.daemon);
    stuck = await_process(&b.daemon, "worker 1", 0);
    ck_assert_int_eq(kill(stuck, SIGSTOP), 0);
    for (int i = 0; i < 20; i++)
        bench_post_expect(&b, 200);
    snprintf(text, sizeof(text), "worker 1 (pid %d) has stopped turning its loop; it is killed", (int)stuck);
    ck_assert(daemon_wait_log(&b.daemon, text, LIMIT_MS));
    (void)await_process(&b.daemon, "worker 1", stuck);
    for (int i = 0; i < 20; i++)
        bench_post_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* From the fifth death on a slot is filled ever more slowly; the others serve, and the status shows it. */
START_TEST(a_crash_loop)
{
    struct bench b;
    struct run run;
    pid_t pid = 0;
    pid_t other;

    ck_assert_int_eq(setenv("LSAN_OPTIONS", "detect_leaks=0", 1), 0);
    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 2;
    daemon_start(&b.daemon);
    other = await_process(&b.daemon, "worker 0", 0);
    for (int death = 1; death <= 6; death++) {
        pid = await_process(&b.daemon, "worker 1", pid);
        ck_assert_int_eq(kill(pid, SIGKILL), 0);
        if (death < 5)
            continue;
        ck_assert(daemon_wait_log(&b.daemon,
                                  death == 5 ? "again and again; it is replaced in 1 s"
                                             : "again and again; it is replaced in 2 s",
                                  LIMIT_MS));
        for (int i = 0; i < 10; i++)
            bench_post_expect(&b, 200);
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
        ck_assert_int_eq(run.status, 0);
        if (death == 6)
            ck_assert_msg(strstr(run_out(&run), "waiting") != NULL, "%s", run_out(&run));
        run_fini(&run);
    }
    (void)await_process(&b.daemon, "worker 1", pid);
    ck_assert_int_eq(await_process(&b.daemon, "worker 0", 0), other);
    bench_close(&b);
}
END_TEST

/* ---- without the master */

static void exec_quietly(const struct daemon *d)
{
    int fd = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(daemon_binary(), "clavigerd", "-c", d->conf, (char *)NULL);
    _exit(127);
}

static bool has_pid_file(void *arg)
{
    const struct daemon *d = arg;

    return access(d->pid_file, F_OK) == 0;
}

static bool has_a_child(void *arg)
{
    const struct daemon *d = arg;
    pid_t pid;

    return daemon_children(d, "", &pid, 1) == 1;
}

/* The master is killed at any moment of its start: no process outlives it, and the next start works. */
START_TEST(killed_at_the_start)
{
    struct bench b;

    ck_assert_int_eq(setenv("LSAN_OPTIONS", "detect_leaks=0", 1), 0);
    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 8;
    daemon_write(&b.daemon);
    for (int round = 0; round < 60; round++) {
        unlink(b.daemon.pid_file);
        b.daemon.pid = fork();
        ck_assert_int_ge(b.daemon.pid, 0);
        if (b.daemon.pid == 0)
            exec_quietly(&b.daemon);
        if (round % 3 != 0)
            ck_assert(util_wait(has_pid_file, &b.daemon, LIMIT_MS));
        if (round % 3 == 2)
            ck_assert(util_wait(has_a_child, &b.daemon, LIMIT_MS));
        /* Between these moments, a bit later each time. */
        for (int64_t until = util_now_us() + round * 250; util_now_us() < until;)
            continue;
        ck_assert_int_eq(kill(b.daemon.pid, SIGKILL), 0);
        ck_assert_msg(util_wait(no_child_left, NULL, LIMIT_MS), "round %d: a process outlives its master",
                      round);
    }
    b.daemon.pid = 0;
    daemon_start(&b.daemon);
    bench_post_expect(&b, 200);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lifecycle");
    TCase *tc = suite_case(s, "lifecycle", 120);

    tcase_add_loop_test(tc, a_start_in_the_background, 0, 2);
    tcase_add_loop_test(tc, starts_that_fail, 0, FAILURE_COUNT);
    tcase_add_test(tc, few_descriptors);
    tcase_add_test(tc, a_second_start);
    tcase_add_test(tc, wrong_options);
    tcase_add_test(tc, long_options);
    tcase_add_test(tc, titles);
    tcase_add_test(tc, the_watchdog);
    tcase_add_test(tc, a_crash_loop);
    tcase_add_test(tc, killed_at_the_start);
    return suite_run(s);
}
