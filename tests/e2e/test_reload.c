/*
 * test_reload: a reload is prepared, then done or taken back. One that is refused leaves everything as it was
 * and says why; one that is done holds for the next request.
 */
#include "e2e/suite.h"

#include <dirent.h>
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

/* clavigerctl -c CONF COMMAND: its exit status, and a text that it must say. */
static void ctl(const struct bench *b, const char *command, int status, const char *text)
{
    struct run run;

    run_program(&run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, command, NULL);
    ck_assert_msg(run.status == status, "%s: status %d, not %d\n%s%s", command, run.status, status,
                  run_out(&run), run_err(&run));
    ck_assert_msg(text == NULL || strstr(run_out(&run), text) != NULL || strstr(run_err(&run), text) != NULL,
                  "%s does not say %s:\n%s%s", command, text, run_out(&run), run_err(&run));
    ck_assert_ptr_null(strstr(run_out(&run), SUITE_CANARY));
    ck_assert_ptr_null(strstr(run_err(&run), SUITE_CANARY));
    run_fini(&run);
}

/* ---- refused */

enum fault {
    BAD_OPTION,
    NO_BRACE,
    PORT_TAKEN,
    ADMIN_PORT_TAKEN,
    SOCKET_TAKEN,
    OPEN_KEY_FILE,
    NO_KEY_FILE,
    NO_USER,
    NO_LOG,
    MANY_WORKERS,
    NO_DATABASE,
    OTHER_PID_FILE
};

static const struct {
    enum fault what;
    const char *word;
} FAULTS[] = {
    {BAD_OPTION, "no_such_option"},
    {NO_BRACE, "section"},
    {PORT_TAKEN, "cannot listen on 127.0.0.1:"},
    {ADMIN_PORT_TAKEN, "cannot listen on 127.0.0.1:"},
    {SOCKET_TAKEN, "cannot listen on unix:"},
    {OPEN_KEY_FILE, "/keys"},
    {NO_KEY_FILE, "/no-keys"},
    {NO_USER, "no-such-user"},
    {NO_LOG, "/none/log"},
    {MANY_WORKERS, "workers"},
    {NO_DATABASE, "/none/state.db"},
    {OTHER_PID_FILE, "pid_file cannot change"},
};
#define FAULT_COUNT ((int)(sizeof(FAULTS) / sizeof(FAULTS[0])))

static void use_key_file(struct daemon *d, const char *name)
{
    daemon_text(&d->providers, "provider filed {\n    type = openai\n    keys = {\"file:%s/%s\"}\n}", d->dir,
                name);
}

/* Writes a configuration with that fault; *d is a copy that can be forgotten but for its buffers. */
static void spoil(struct daemon *d, struct fake *fake, enum fault what)
{
    char path[160];

    switch (what) {
    case BAD_OPTION:
        daemon_text(&d->top, "no_such_option = 1");
        break;
    case NO_BRACE:
        daemon_text(&d->top, "tls {");
        break;
    case PORT_TAKEN:
        d->port = fake_port(fake);
        break;
    case ADMIN_PORT_TAKEN:
        d->admin_port = fake_port(fake);
        break;
    case SOCKET_TAKEN: /* a file that is no socket */
        memcpy(d->unix_path, d->conf, sizeof(d->unix_path));
        break;
    case OPEN_KEY_FILE:
        snprintf(path, sizeof(path), "%s/keys", d->dir);
        ck_assert_int_eq(util_write_file(path, "sk-filed-0000\n", 14, 0644), 0);
        use_key_file(d, "keys");
        break;
    case NO_KEY_FILE:
        use_key_file(d, "no-keys");
        break;
    case NO_USER:
        daemon_text(&d->top, "user = \"no-such-user\"");
        break;
    case NO_LOG:
        daemon_text(&d->log_options, "target = \"%s/none/log\"", d->dir);
        break;
    case MANY_WORKERS:
        d->workers = 1000;
        break;
    case NO_DATABASE:
        snprintf(d->db, sizeof(d->db), "%.80s/none/state.db", d->dir);
        break;
    default:
        snprintf(d->pid_file, sizeof(d->pid_file), "%.80s/other.pid", d->dir);
        break;
    }
    daemon_write(d);
}

/* Whatever is wrong: the same workers serve on, log and status say why, clavigerctl reload returns 1 with the
 * reason. Mended, the next one works, and the status is clean. */
START_TEST(refused)
{
    struct daemon spoilt;
    struct http_response r;
    struct run run;
    struct bench b;
    pid_t before[2];
    pid_t after[3];

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 2;
    daemon_start(&b.daemon);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", before, 2), 2);
    spoilt = b.daemon;
    memset(&spoilt.top, 0, sizeof(spoilt.top));
    memset(&spoilt.providers, 0, sizeof(spoilt.providers));
    memset(&spoilt.log_options, 0, sizeof(spoilt.log_options));
    daemon_provider(&spoilt, b.api->name, fake_url(b.fake), KEY0, NULL);
    spoil(&spoilt, b.fake, FAULTS[_i].what);

    ctl(&b, "reload", 1, FAULTS[_i].word);
    ck_assert(daemon_log_has(&b.daemon, "reload refused, generation 1 goes on serving: "));
    ck_assert(daemon_log_has(&b.daemon, FAULTS[_i].word));
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    ck_assert_ptr_nonnull(strstr(run_out(&run), ", refused: "));
    ck_assert_msg(strstr(run_out(&run), FAULTS[_i].word) != NULL, "%s", run_out(&run));
    ck_assert_ptr_nonnull(strstr(run_out(&run), ", generation 1\n"));
    run_fini(&run);
    bench_post_expect(&b, 200);
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0); /* the same by signal */
    bench_post_expect(&b, 200);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", after, 3), 2);
    ck_assert((after[0] == before[0] && after[1] == before[1]) ||
              (after[0] == before[1] && after[1] == before[0]));
    http_fetch(b.daemon.admin_port, &(const struct http_request){.method = "GET", .target = "/readyz"}, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);

    daemon_write(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), ", serves\n"));
    ck_assert_ptr_null(strstr(run_out(&run), "refused"));
    run_fini(&run);
    bench_post_expect(&b, 200);
    /* What stood in the way stands there still. */
    ck_assert_int_eq(access(b.daemon.conf, F_OK), 0);
    buf_fini(&spoilt.top);
    buf_fini(&spoilt.providers);
    buf_fini(&spoilt.log_options);
    bench_close(&b);
}
END_TEST

/* For a user to whom the database would belong: refused, it belongs to whom it did. */
START_TEST(refused_with_another_user)
{
    struct bench b;
    struct stat before;
    struct stat after;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    /* That user could write there. */
    ck_assert_int_eq(chmod(getenv("E2E_DIR"), 0711), 0);
    ck_assert_int_eq(chmod(b.daemon.dir, 0777), 0);
    ck_assert_int_eq(stat(b.daemon.db, &before), 0);
    daemon_text(&b.daemon.top, "user = \"nobody\"");
    daemon_text(&b.daemon.log_options, "target = \"%s/none/log\"", b.daemon.dir);
    daemon_write(&b.daemon);
    ctl(&b, "reload", 1, "/none/log");
    ck_assert_int_eq(stat(b.daemon.db, &after), 0);
    ck_assert_uint_eq(after.st_uid, before.st_uid);
    ck_assert_uint_eq(after.st_gid, before.st_gid);
    bench_post_expect(&b, 200);
    buf_clear(&b.daemon.top);
    buf_clear(&b.daemon.log_options);
    daemon_write(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    bench_close(&b);
}
END_TEST

/* ---- done */

/* Addresses that are no longer named end, new ones begin, those that stay are the same all the time. */
START_TEST(other_addresses)
{
    struct http_client client;
    struct bench b;
    struct daemon old;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    old = b.daemon;
    b.daemon.admin_port = util_free_port();
    snprintf(b.daemon.unix_path, sizeof(b.daemon.unix_path), "%.80s/http2", b.daemon.dir);
    daemon_write(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    bench_post_expect(&b, 200);
    ck_assert(http_answers(b.daemon.admin_port));
    ck_assert(!http_answers(old.admin_port));
    http_connect_unix(&client, b.daemon.unix_path);
    http_close(&client);
    ck_assert_int_ne(access(old.unix_path, F_OK), 0);

    b.daemon.port = util_free_port();
    daemon_write(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    bench_post_expect(&b, 200);
    ck_assert(!http_answers(old.port));
    bench_close(&b);
}
END_TEST

/* A provider that goes has no route, its keys leave the view; it comes back with its marks. */
START_TEST(providers_come_and_go)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const struct fake_answer refusal = {.status = 401};
    const char *name = SUITE_APIS[_i].name;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_key(b.fake, KEY1, &refusal);
    bench_post_expect(&b, 200);
    daemon_expect_states(&b.daemon, name, "temporary permanent valid");

    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, "other", fake_url(b.fake), KEY2, "    type = openai");
    daemon_write(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    bench_post_expect(&b, 404);
    daemon_expect_states(&b.daemon, name, "");
    daemon_expect_states(&b.daemon, "other", "valid");
    ctl(&b, "keys", 0, "other");

    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, name, fake_url(b.fake), KEY2 " " KEY0 " " KEY1, NULL);
    daemon_write(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    daemon_expect_states(&b.daemon, name, "valid temporary permanent");
    expect_requests(&b, 3);
    bench_post_expect(&b, 200);
    expect_requests(&b, 4);
    daemon_expect_states(&b.daemon, "other", "");
    bench_close(&b);
}
END_TEST

static pid_t start_ctl(const struct bench *b, const char *command)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
        execl(daemon_ctl_binary(), "clavigerctl", "-c", b->daemon.conf, command, (char *)NULL);
        _exit(127);
    }
    return pid;
}

static void await_status(pid_t pid, int wanted)
{
    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == wanted, "wait status %d", status);
}

/* In one step: somebody is reading it all the time. */
static void replace_conf(struct daemon *d)
{
    char place[sizeof(d->conf)];

    memcpy(place, d->conf, sizeof(place));
    snprintf(d->conf, sizeof(d->conf), "%.80s/new.conf", d->dir);
    daemon_write(d);
    ck_assert_int_eq(rename(d->conf, place), 0);
    memcpy(d->conf, place, sizeof(place));
}

/* When reload returns, what the file said at that time serves, also while other reloads are under way. */
START_TEST(reload_during_a_reload)
{
    struct http_request request = {.target = "/second/v1/x", .body = "{}"};
    struct http_response r;
    struct bench b;
    pid_t others[3];

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < 3; i++) {
            others[i] = start_ctl(&b, "reload");
            ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
        }
        daemon_forget_providers(&b.daemon);
        daemon_provider(&b.daemon, b.api->name, fake_url(b.fake), KEY0, NULL);
        if (round % 2 == 0)
            daemon_provider(&b.daemon, "second", fake_url(b.fake), KEY1, "    type = openai");
        replace_conf(&b.daemon);
        ctl(&b, "reload", 0, NULL);
        http_fetch(b.daemon.port, &request, &r);
        ck_assert_int_eq(r.status, round % 2 == 0 ? 200 : 404);
        http_response_fini(&r);
        for (int i = 0; i < 3; i++)
            await_status(others[i], 0);
    }
    bench_close(&b);
}
END_TEST

static bool is_settled(void *arg)
{
    const struct bench *b = arg;
    pid_t pids[64];

    return daemon_children(&b->daemon, "worker", pids, 64) == b->daemon.workers &&
           daemon_children(&b->daemon, "admin", pids, 64) == 1;
}

static size_t count_fds(pid_t pid)
{
    char path[64];
    DIR *dir;
    size_t count = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* Twenty HUPs at once, three times, under load: no request is lost, and one generation is left. */
START_TEST(a_storm_of_signals)
{
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    int statuses[60];
    struct bench b;
    size_t fds;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 2;
    daemon_start(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    ck_assert(util_wait(is_settled, &b, LIMIT_MS));
    fds = count_fds(b.daemon.pid);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 20; i++)
            ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
        http_fetch_many(b.daemon.port, &request, statuses, 60);
        for (int i = 0; i < 60; i++)
            ck_assert_msg(statuses[i] == 200, "round %d, request %d got %d", round, i, statuses[i]);
    }
    ctl(&b, "reload", 0, NULL);
    ck_assert_msg(util_wait(is_settled, &b, LIMIT_MS), "old generations are left");
    ck_assert_uint_eq(count_fds(b.daemon.pid), fds);
    ck_assert(!daemon_log_has(&b.daemon, " error "));
    expect_requests(&b, 180);
    bench_close(&b);
}
END_TEST

/* Ten reloads, each beside a stream that does not end: at the deadline nothing is left of the old ones. */
START_TEST(no_pile_of_generations)
{
    struct fake_answer endless = {.framing = FAKE_CHUNKED, .events = 100000, .interval_ms = 20};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client clients[10];
    struct http_response responses[10];
    struct bench b;
    size_t fds;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, "shutdown_timeout = 2s");
    daemon_start(&b.daemon);
    ctl(&b, "reload", 0, NULL);
    ck_assert(util_wait(is_settled, &b, LIMIT_MS));
    fds = count_fds(b.daemon.pid);
    fake_on_any(b.fake, &endless);
    for (int i = 0; i < 10; i++) {
        http_connect(&clients[i], b.daemon.port);
        http_write_request(&clients[i], &request);
        ck_assert(http_read_head(&clients[i], &responses[i], HTTP_TIMEOUT_MS));
        ck_assert_int_eq(responses[i].status, 200);
        ctl(&b, "reload", 0, NULL);
    }
    ck_assert_msg(util_wait(is_settled, &b, LIMIT_MS), "old generations are left");
    ck_assert_uint_eq(count_fds(b.daemon.pid), fds);
    for (int i = 0; i < 10; i++) {
        http_read_body(&clients[i], &responses[i], SIZE_MAX, HTTP_TIMEOUT_MS);
        ck_assert(responses[i].closed && !responses[i].clean);
        http_response_fini(&responses[i]);
        http_close(&clients[i]);
    }
    bench_close(&b);
}
END_TEST

/* A daemon that stops reads nothing again, and its stop goes on as it would. */
START_TEST(reload_during_a_stop)
{
    struct fake_answer slow = {.framing = FAKE_CHUNKED, .events = 40, .interval_ms = 50};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &slow);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    ck_assert(daemon_wait_log(&b.daemon, "stopping: ", LIMIT_MS));
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
    ctl(&b, "reload", 1, "the daemon is stopping");
    ctl(&b, "status", 0, " is stopping as pid ");
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(r.clean);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":39,"));
    http_response_fini(&r);
    http_close(&client);
    ck_assert_int_eq(daemon_wait(&b.daemon, DAEMON_STOP_MS), 0);
    ck_assert(!daemon_log_has(&b.daemon, "reloading"));
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("reload");
    TCase *tc = suite_case(s, "reload", 120);

    tcase_add_loop_test(tc, refused, 0, FAULT_COUNT);
    tcase_add_test(tc, refused_with_another_user);
    tcase_add_test(tc, other_addresses);
    tcase_add_loop_test(tc, providers_come_and_go, 0, SUITE_API_COUNT);
    tcase_add_test(tc, reload_during_a_reload);
    tcase_add_test(tc, a_storm_of_signals);
    tcase_add_test(tc, no_pile_of_generations);
    tcase_add_test(tc, reload_during_a_stop);
    return suite_run(s);
}
