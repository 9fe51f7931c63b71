/*
 * test_ctl_top: clavigerctl top on a terminal and on a pipe, beside a daemon with two workers that lives,
 * loses a worker, stops and comes back.
 */
#include "e2e/follower.h"
#include "e2e/suite.h"
#include "e2e/tty.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 2

/* Two workers; the first key is rate-limited for ten minutes, the second refused: one request marks both. */
static void open_two(struct bench *b)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const struct fake_answer refused = {.status = 401};
    static const struct fake_answer api = {.action = FAKE_API};

    ck_assert_int_eq(setenv("TERM", "xterm", 1), 0);
    ck_assert_int_eq(setenv("LC_ALL", "C.UTF-8", 1), 0);
    ck_assert_int_eq(unsetenv("NO_COLOR"), 0);
    bench_prepare(b, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    b->daemon.workers = WORKERS;
    daemon_start(&b->daemon);
    ck_assert(daemon_wait_workers(&b->daemon, WORKERS, 0, 5000));
    fake_on_key(b->fake, KEY0, &limited);
    fake_on_key(b->fake, KEY1, &refused);
    fake_on_any(b->fake, &api);
    bench_post_expect(b, 200);
    daemon_expect_states(&b->daemon, b->api->name, "temporary permanent valid");
}

/* While clavigerctl, the test's other child, runs. */
static void stop_beside(struct bench *b)
{
    ck_assert_int_eq(kill(b->daemon.pid, SIGTERM), 0);
    ck_assert_int_eq(daemon_wait(&b->daemon, DAEMON_STOP_MS), 0);
}

/* Waits for a whole picture of the window behind byte `from` that has the text (and, not NULL, not the
 * other); where it ends. It fits: `columns` and `rows` of 0 are not looked at. */
static size_t expect_frame(struct tty *t, size_t from, const char *text, const char *not_there,
                           unsigned columns, unsigned rows)
{
    for (;;) {
        size_t begin = tty_expect(t, from, "\033[H");
        size_t end = tty_expect(t, begin, "\033[J");
        char *frame = strndup(t->out.data + begin, end - begin);
        unsigned lines = 1;
        unsigned width = 0;
        bool found = strstr(frame, text) != NULL && (not_there == NULL || strstr(frame, not_there) == NULL);

        for (const char *p = frame; found && *p != '\0'; p++) {
            if (*p == '\033')
                p += strcspn(p, "mKJ");
            else if (*p == '\n')
                lines++, width = 0;
            else if (*p != '\r' && ((unsigned char)*p & 0xc0) != 0x80)
                width++;
            ck_assert_msg(columns == 0 || width <= columns, "wider than %u: %s", columns, frame);
        }
        ck_assert_msg(!found || rows == 0 || lines <= rows, "%u lines of %u: %s", lines, rows, frame);
        free(frame);
        if (found)
            return end;
        from = end;
    }
}

/* A row of the table of workers. */
static const char *row_of(pid_t pid)
{
    static char text[64];

    snprintf(text, sizeof(text), "%d  \033[32mready\033[0m", (int)pid);
    return text;
}

START_TEST(traffic_and_keys)
{
    struct fake_answer hang = {.action = FAKE_HANG};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    pid_t pids[WORKERS];
    struct bench b;
    struct tty t;
    size_t at;

    open_two(&b);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", pids, WORKERS), WORKERS);
    tty_start(&t, &b.daemon, 130, 40, "top", "--interval", "0.2", NULL);
    at = tty_expect(&t, 0, "\033[?1049h");
    at = expect_frame(&t, at, "is serving, database ok", NULL, 130, 40);
    (void)expect_frame(&t, at, row_of(pids[0]), NULL, 130, 40);
    (void)expect_frame(&t, at, row_of(pids[1]), NULL, 130, 40);
    at = expect_frame(&t, at, "\033[33mtemporary\033[0m", NULL, 130, 40);
    at = expect_frame(&t, at, HINT0, NULL, 130, 40);
    ck_assert(tty_has(&t, "rate_limited") && tty_has(&t, "\033[31mpermanent\033[0m") && tty_has(&t, HINT1) &&
              tty_has(&t, " min "));
    /* One request that ended, after a failover. */
    at = expect_frame(&t, at, "  \033[33m1\033[0m  ▁", NULL, 130, 40);
    at = expect_frame(&t, at, "█", NULL, 130, 40);
    bench_post_expect(&b, 200);
    at = expect_frame(&t, at, "p50 ", NULL, 130, 40);

    fake_forget_rules(b.fake);
    fake_on_any(b.fake, &hang);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    at = expect_frame(&t, at, "in flight 1, ", NULL, 130, 40);
    http_close(&client);
    at = expect_frame(&t, at, "in flight 0, ", NULL, 130, 40);

    ck_assert_int_eq(write(t.fd, "q", 1), 1);
    tty_wait(&t, 0);
    tty_expect_restored(&t);
    tty_close(&t);
    bench_close(&b);
}
END_TEST

/* A worker is killed, the window shrinks, the daemon stops while it is watched, and comes back. */
START_TEST(life_of_the_daemon)
{
    pid_t pids[WORKERS];
    struct bench b;
    struct tty t;
    char gone[32];
    size_t at;

    open_two(&b);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", pids, WORKERS), WORKERS);
    tty_start(&t, &b.daemon, 130, 40, "top", "--interval", "0.2", NULL);
    at = expect_frame(&t, 0, row_of(pids[0]), NULL, 130, 40);
    ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
    snprintf(gone, sizeof(gone), "%d  ", (int)pids[0]);
    ck_assert(daemon_wait_workers(&b.daemon, WORKERS, pids[0], 15000));
    at = expect_frame(&t, at, row_of(pids[1]), gone, 130, 40);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", pids, WORKERS), WORKERS);
    (void)expect_frame(&t, at, row_of(pids[0]), NULL, 130, 40);
    at = expect_frame(&t, at, row_of(pids[1]), NULL, 130, 40);

    tty_resize(&t, 44, 9);
    at = expect_frame(&t, at, "is serving", "worker  pid", 44, 9);
    tty_resize(&t, 20, 3);
    at = expect_frame(&t, at, "clavigerd ", "traffic", 20, 3);
    tty_resize(&t, 130, 40);
    at = expect_frame(&t, at, "traffic", NULL, 130, 40);

    stop_beside(&b);
    at = expect_frame(&t, at, "clavigerd is not running", "traffic", 130, 40);
    at = expect_frame(&t, at, HINT0, "traffic", 130, 40);
    daemon_start(&b.daemon);
    at = expect_frame(&t, at, "is serving, database ok", "not running", 130, 40);

    ck_assert_int_eq(kill(t.pid, SIGTERM), 0);
    tty_wait(&t, 0);
    tty_expect_restored(&t);
    tty_close(&t);
    bench_close(&b);
}
END_TEST

START_TEST(suspended)
{
    struct bench b;
    struct tty t;
    size_t at;
    int status;

    open_two(&b);
    tty_start(&t, &b.daemon, 100, 24, "top", NULL, NULL, NULL);
    at = tty_expect(&t, 0, "\033[J");
    ck_assert_int_eq(write(t.fd, "\032", 1), 1);
    at = tty_expect(&t, at, "\033[?1049l");
    ck_assert_int_eq(waitpid(t.pid, &status, WUNTRACED), t.pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(kill(t.pid, SIGCONT), 0);
    at = tty_expect(&t, at, "\033[?1049h");
    (void)expect_frame(&t, at, HINT0, NULL, 100, 24);
    ck_assert_int_eq(write(t.fd, "\003", 1), 1);
    tty_wait(&t, 0);
    tty_expect_restored(&t);
    tty_close(&t);
    bench_close(&b);
}
END_TEST

/* Without colours and without blocks where they are not wanted. */
START_TEST(plain_terminal)
{
    struct bench b;
    struct tty t;

    open_two(&b);
    ck_assert_int_eq(setenv("LC_ALL", "C", 1), 0);
    ck_assert_int_eq(setenv(_i == 0 ? "NO_COLOR" : "TERM", _i == 0 ? "1" : "dumb", 1), 0);
    tty_start(&t, &b.daemon, 130, 40, "top", "--interval", "0.2", NULL);
    (void)expect_frame(&t, 0, HINT0, NULL, 130, 40);
    ck_assert(tty_has(&t, "____") && !tty_has(&t, "\033[3") && !tty_has(&t, "▁"));
    ck_assert_int_eq(write(t.fd, "q", 1), 1);
    tty_wait(&t, 0);
    tty_close(&t);
    bench_close(&b);
}
END_TEST

/* ---- no terminal */

/* The next line with the text; the test's own time limit bounds it. */
static void await_line(struct follower *f, const char *text)
{
    bool found = false;

    while (!found) {
        char *line = follower_line(f, text);

        ck_assert_ptr_null(strchr(line, '\033'));
        found = strstr(line, text) != NULL;
        free(line);
    }
}

START_TEST(blocks_on_a_pipe)
{
    struct follower f;
    struct bench b;

    open_two(&b);
    follower_start(&f, &b.daemon, "top", "--interval=0.1", NULL, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        await_line(&f, "is serving, database ok");
        await_line(&f, "failovers ");
        await_line(&f, HINT2);
    }
    stop_beside(&b);
    await_line(&f, "clavigerd is not running");
    await_line(&f, HINT0);
    follower_end(&f);
    bench_close(&b);
}
END_TEST

static json_t *next_object(struct follower *f)
{
    char *line = follower_line(f, "an object");
    json_t *object = json_loads(line, 0, NULL);

    ck_assert_msg(json_is_object(object), "no object: %s", line);
    free(line);
    return object;
}

/* A line of JSON a look: exact numbers, and null for what is missing. */
START_TEST(lines_of_json)
{
    struct follower f;
    struct bench b;
    json_t *object;
    json_t *daemon;
    json_t *traffic;
    json_t *counts;
    json_int_t ended = 0;

    open_two(&b);
    follower_start(&f, &b.daemon, "top", "--interval=0.1", "--json", NULL, NULL);
    object = next_object(&f);
    ck_assert(json_is_true(json_object_get(object, "running")) &&
              json_is_null(json_object_get(object, "daemon_error")));
    ck_assert_uint_eq(json_array_size(json_object_get(object, "keys")), 3);
    daemon = json_object_get(object, "daemon");
    traffic = json_object_get(daemon, "traffic");
    ck_assert_uint_eq(json_array_size(json_object_get(daemon, "workers")), WORKERS);
    ck_assert_int_eq(json_integer_value(json_object_get(traffic, "requests")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(traffic, "failovers")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(traffic, "errors")), 0);
    ck_assert_int_gt(json_integer_value(json_object_get(json_object_get(traffic, "tokens"), "input")), 0);
    counts = json_object_get(json_object_get(traffic, "duration"), "counts");
    for (size_t i = 0; i < json_array_size(counts); i++)
        ended += json_integer_value(json_array_get(counts, i));
    ck_assert_int_eq(ended, 1);
    ck_assert_uint_eq(json_array_size(json_object_get(json_object_get(traffic, "hour"), "requests")), 60);
    json_decref(object);
    stop_beside(&b);
    do {
        object = next_object(&f);
        daemon = json_object_get(object, "running");
        ended = json_is_false(daemon) && json_is_null(json_object_get(object, "daemon"));
        ck_assert_uint_eq(json_array_size(json_object_get(object, "keys")), 3);
        json_decref(object);
    } while (!ended);
    follower_end(&f);
    bench_close(&b);
}
END_TEST

/* ---- wrong from the begin */

START_TEST(not_running)
{
    struct run run;
    struct bench b;
    struct tty t;

    open_two(&b);
    daemon_stop(&b.daemon);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "top", NULL);
    ck_assert_int_eq(run.status, 3);
    ck_assert_uint_eq(run.out.len, 0);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "clavigerd is not running"));
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "--json", "top", NULL);
    ck_assert_int_eq(run.status, 3);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "{\"ok\":false,\"error\":\"clavigerd is not running"));
    run_fini(&run);
    tty_start(&t, &b.daemon, 80, 24, "top", NULL, NULL, NULL);
    tty_wait(&t, 3);
    ck_assert(tty_has(&t, "clavigerd is not running") && !tty_has(&t, "\033[?1049h"));
    tty_close(&t);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "top", "--watch", NULL);
    ck_assert_int_eq(run.status, 2);
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", "--interval", "1", NULL);
    ck_assert_int_eq(run.status, 2);
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* Answers one request on the control socket in the place of a master. */
static pid_t answer_as(const struct bench *b, const char *answer)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    pid_t pid;

    ck_assert_uint_lt(strlen(b->daemon.control), sizeof(addr.sun_path));
    memcpy(addr.sun_path, b->daemon.control, strlen(b->daemon.control) + 1);
    (void)unlink(addr.sun_path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(listen(fd, 1), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        char request[64];
        int peer = accept(fd, NULL, NULL);
        bool asked = read(peer, request, sizeof(request)) == 4 && memcmp(request, "top\n", 4) == 0;

        _exit(asked && write(peer, answer, strlen(answer)) == (ssize_t)strlen(answer) ? 0 : 1);
    }
    close(fd);
    return pid;
}

/* A master that is older, or not one at all. */
START_TEST(another_version)
{
    static const char *const answers[] = {"error unknown request; there are status, reload and stop\n",
                                          "ok\nno JSON\n"};
    struct run run;
    struct bench b;
    pid_t pid;
    int status;

    open_two(&b);
    daemon_stop(&b.daemon);
    pid = answer_as(&b, answers[_i]);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "top", NULL);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(run.status, 1);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "of another version"));
    run_fini(&run);
    (void)unlink(b.daemon.control);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctl_top");
    TCase *tc = suite_case(s, "ctl_top", 60);

    tcase_add_test(tc, traffic_and_keys);
    tcase_add_test(tc, life_of_the_daemon);
    tcase_add_test(tc, suspended);
    tcase_add_loop_test(tc, plain_terminal, 0, 2);
    tcase_add_test(tc, blocks_on_a_pipe);
    tcase_add_test(tc, lines_of_json);
    tcase_add_test(tc, not_running);
    tcase_add_loop_test(tc, another_version, 0, 2);
    return suite_run(s);
}
