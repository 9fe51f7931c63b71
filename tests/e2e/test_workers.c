/*
 * test_workers: several workers, one knowledge of the keys; and the life of the processes: killed, reloaded,
 * stopped.
 */
#include "e2e/suite.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS  4
#define GRACE_US 950000 /* a second; the loop's clock may be a little late */

static void open_four(struct bench *b, const struct suite_api *api, const char *keys, const char *more)
{
    bench_prepare(b, api, keys, more);
    b->daemon.workers = WORKERS;
    daemon_start(&b->daemon);
    ck_assert(daemon_wait_workers(&b->daemon, WORKERS, 0, 5000));
}

static void post_and_expect(struct bench *b, int status)
{
    struct http_response r;

    bench_post(b, NULL, &r);
    ck_assert_msg(r.status == status, "status %d, not %d: %s", r.status, status, http_body(&r));
    http_response_fini(&r);
}

/* k0 429, k1 401, k2 fine; one request marks both. */
static void mark_two(struct bench *b)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const struct fake_answer refused = {.status = 401};

    fake_on_key(b->fake, KEY0, &limited);
    fake_on_key(b->fake, KEY1, &refused);
    post_and_expect(b, 200);
    expect_requests(b, 3);
    daemon_expect_states(&b->daemon, b->api->name, "temporary permanent valid");
}

/* So many requests on new connections touch only the key that is valid. */
static void expect_marks_hold(struct bench *b, unsigned count)
{
    unsigned before = fake_requests(b->fake);
    unsigned k2 = fake_requests_with_key(b->fake, KEY2);

    for (unsigned i = 0; i < count; i++)
        post_and_expect(b, 200);
    expect_requests(b, before + count);
    ck_assert_uint_eq(fake_requests_with_key(b->fake, KEY2), k2 + count);
}

START_TEST(marks_hold_for_all_workers)
{
    struct bench b;

    open_four(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    mark_two(&b);
    expect_marks_hold(&b, 60);
    bench_close(&b);
}
END_TEST

/* An UPDATE from outside brings a key back for the very next request on every worker. */
START_TEST(edits_from_outside)
{
    struct bench b;
    char out[8];
    unsigned k1;

    open_four(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    mark_two(&b);
    expect_marks_hold(&b, 12);
    fake_forget_rules(b.fake);
    k1 = fake_requests_with_key(b.fake, KEY1);
    daemon_sql(&b.daemon, "UPDATE key_state SET permanent = 0 WHERE position = 1", out, sizeof(out));
    for (unsigned i = 1; i <= 40; i++) {
        post_and_expect(&b, 200);
        ck_assert_uint_eq(fake_requests_with_key(b.fake, KEY1), k1 + i);
    }
    /* And the other way round: disabled from outside, it is not tried again. */
    daemon_sql(&b.daemon, "UPDATE key_state SET permanent = 1 WHERE position = 1", out, sizeof(out));
    expect_marks_hold(&b, 20);
    bench_close(&b);
}
END_TEST

/* Marks outlive restart and reload, also when the order of the keys changes or one goes and comes back. */
START_TEST(marks_outlive_restart_and_reload)
{
    struct bench b;
    const char *name;

    open_four(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    name = b.api->name;
    mark_two(&b);
    daemon_stop(&b.daemon);
    daemon_expect_states(&b.daemon, name, "temporary permanent valid");
    daemon_start(&b.daemon);
    expect_marks_hold(&b, 12);
    daemon_reload(&b.daemon);
    expect_marks_hold(&b, 12);

    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, name, fake_url(b.fake), KEY2 " " KEY1 " " KEY0, NULL);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    daemon_expect_states(&b.daemon, name, "valid permanent temporary");
    expect_marks_hold(&b, 12);

    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, name, fake_url(b.fake), KEY2, NULL);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    daemon_expect_states(&b.daemon, name, "valid");
    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, name, fake_url(b.fake), KEY1 " " KEY0 " " KEY2, NULL);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    daemon_expect_states(&b.daemon, name, "permanent temporary valid");
    expect_marks_hold(&b, 12);
    bench_close(&b);
}
END_TEST

/* 300 requests at once while the first key turns 401: all get 200. */
START_TEST(three_hundred_at_once)
{
    struct fake_answer refused = {.status = 401};
    struct http_request request = {.body = "{\"at\":\"once\"}"};
    static int statuses[300];
    struct bench b;
    unsigned k0;

    open_four(&b, &SUITE_APIS[_i], KEY0 " " KEY1, NULL);
    request.target = b.api->target;
    fake_rule(b.fake, FAKE_KEY, KEY0, 0, &(const struct fake_answer){.body = "ok"}, 20);
    fake_on_key(b.fake, KEY0, &refused);
    http_fetch_many(b.daemon.port, &request, statuses, 300);
    for (int i = 0; i < 300; i++)
        ck_assert_msg(statuses[i] == 200, "request %d got %d", i, statuses[i]);
    k0 = fake_requests_with_key(b.fake, KEY0);
    ck_assert_uint_gt(k0, 20);
    expect_requests(&b, 300 + k0 - 20);
    daemon_expect_states(&b.daemon, b.api->name, "permanent valid");
    bench_close(&b);
}
END_TEST

/* A worker that dies is replaced within a second; the others serve meanwhile; marks hold. */
START_TEST(a_killed_worker_is_replaced)
{
    pid_t pids[WORKERS];
    struct bench b;

    open_four(&b, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    mark_two(&b);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", pids, WORKERS), WORKERS);
    ck_assert_int_eq(kill(pids[1], SIGKILL), 0);
    ck_assert_msg(daemon_wait_workers(&b.daemon, WORKERS, pids[1], 1000), "not replaced within a second");
    expect_marks_hold(&b, 20);
    bench_close(&b);
}
END_TEST

/* The admin process too. */
static bool admin_answers(void *arg)
{
    struct bench *b = arg;
    struct http_client client;
    struct http_response r = {0};
    bool ok = false;

    if (http_try_connect(&client, b->daemon.admin_port) != 0)
        return false;
    http_print(&client, "GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    if (http_read_head(&client, &r, 1000))
        ok = r.status == 200;
    http_response_fini(&r);
    http_close(&client);
    return ok;
}

START_TEST(a_killed_admin_process_is_replaced)
{
    pid_t pid;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    ck_assert_uint_eq(daemon_children(&b.daemon, "admin", &pid, 1), 1);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert(util_wait(admin_answers, &b, 3000));
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* HUP with a new provider: it serves. With a file that is wrong: what served goes on. */
START_TEST(reload_is_all_or_nothing)
{
    struct http_request request = {.target = "/second/v1/x", .body = "{}"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 404);
    http_response_fini(&r);

    daemon_provider(&b.daemon, "second", fake_url(b.fake), KEY1, "    type = openai");
    daemon_text(&b.daemon.top, "no_such_option = 1");
    daemon_write(&b.daemon);
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
    ck_assert(daemon_wait_log(&b.daemon, "no_such_option", 5000));
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 404);
    http_response_fini(&r);
    post_and_expect(&b, 200);

    buf_clear(&b.daemon.top);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* A request in flight outlives a reload. */
START_TEST(reload_lets_requests_finish)
{
    struct fake_answer slow = {.delay_ms = 700, .body = "from before"};
    struct http_request request = {.target = SUITE_APIS[_i].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    fake_on_number(b.fake, 1, &slow);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(fake_wait_requests(b.fake, 1, 10000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
    http_read(&client, &r);
    expect_answer(&r, 200, "from before");
    http_response_fini(&r);
    http_close(&client);
    ck_assert(daemon_wait_workers(&b.daemon, 1, 0, 5000));
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* Until the new generation serves and the old one drains. */
static void begin_reload(struct bench *b)
{
    ck_assert_int_eq(kill(b->daemon.pid, SIGHUP), 0);
    ck_assert(daemon_wait_log(&b->daemon, "generation 1 drains", DAEMON_READY_MS));
}

/* A stream that began before a reload was not told that its connection ends with it: it ends all the same. */
START_TEST(reload_ends_a_streams_connection)
{
    static const struct fake_answer events = {.framing = FAKE_CHUNKED, .events = 40, .interval_ms = 50};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &events);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, 10000));
    begin_reload(&b);
    http_read_body(&client, &r, SIZE_MAX, 20000);
    ck_assert(r.clean);
    http_response_fini(&r);
    ck_assert(http_wait_end(&client, 10000)); /* client_timeout is 75 s */
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* An idle connection lives on for a second behind a reload, in which its client can still use it. */
START_TEST(reload_leaves_idle_connections_a_while)
{
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client idle;
    struct http_client used;
    struct http_response r;
    struct bench b;
    int64_t begin;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    for (int i = 0; i < 2; i++) {
        http_connect(i == 0 ? &idle : &used, b.daemon.port);
        http_write_request(i == 0 ? &idle : &used, &request);
        http_read(i == 0 ? &idle : &used, &r);
        expect_answer(&r, 200, "ok");
        http_response_fini(&r);
    }
    begin = util_now_us();
    begin_reload(&b);
    http_write_request(&used, &request);
    http_read(&used, &r);
    if (util_now_us() - begin < GRACE_US)
        expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    ck_assert(http_wait_end(&used, 10000));
    ck_assert(http_wait_end(&idle, 10000));
    ck_assert_int_ge(util_now_us() - begin, GRACE_US);
    http_close(&idle);
    http_close(&used);
    bench_close(&b);
}
END_TEST

/* No request is lost while the configuration is loaded again and again. */
START_TEST(reload_under_load)
{
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    int statuses[60];
    struct bench b;

    open_four(&b, &SUITE_APIS[0], KEY0, NULL);
    for (int round = 0; round < 5; round++) {
        ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
        http_fetch_many(b.daemon.port, &request, statuses, 60);
        for (int i = 0; i < 60; i++)
            ck_assert_msg(statuses[i] == 200, "round %d, request %d got %d", round, i, statuses[i]);
    }
    expect_requests(&b, 300);
    bench_close(&b);
}
END_TEST

static bool refuses(void *arg)
{
    const struct bench *b = arg;
    struct http_client client;

    if (http_try_connect(&client, b->daemon.port) != 0)
        return true;
    http_close(&client);
    return false;
}

/* TERM and INT: the request in flight gets its answer, the exit status is 0. */
START_TEST(term_lets_requests_finish)
{
    static const struct fake_answer answers[] = {
        {.delay_ms = 800, .body = "in flight"},
        {.framing = FAKE_CHUNKED, .events = 10, .interval_ms = 80},
    };
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;
    int status;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &answers[_i % 2]);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(fake_wait_requests(b.fake, 1, 10000));
    ck_assert_int_eq(kill(b.daemon.pid, _i / 2 == 0 ? SIGTERM : SIGINT), 0);
    http_read(&client, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    if (_i % 2 == 1)
        ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":9,"));
    http_response_fini(&r);
    http_close(&client);
    status = daemon_wait(&b.daemon, 10000);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    ck_assert(refuses(&b));
    ck_assert_int_eq(waitpid(-1, &status, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    bench_close(&b);
}
END_TEST

/* An idle kept connection does not hold the stop up. */
START_TEST(term_with_idle_connections)
{
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;
    int64_t begin;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    begin = util_now_us();
    daemon_stop(&b.daemon);
    ck_assert_int_lt(util_now_us() - begin, 5000000);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* After shutdown_timeout, at a second TERM, or at QUIT the rest is cut, and never looks whole. */
START_TEST(stops_that_do_not_wait)
{
    struct fake_answer endless = {.framing = FAKE_CHUNKED, .events = 100000, .interval_ms = 20};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;
    int64_t begin;
    int status;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, _i == 0 ? "shutdown_timeout = 500ms" : "shutdown_timeout = 60s");
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &endless);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    begin = util_now_us();
    ck_assert_int_eq(kill(b.daemon.pid, _i == 2 ? SIGQUIT : SIGTERM), 0);
    if (_i == 1) {
        ck_assert(daemon_wait_log(&b.daemon, "stopping", 10000));
        ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    }
    status = daemon_wait(&b.daemon, 10000);
    ck_assert_int_lt(util_now_us() - begin, 5000000);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(!r.clean);
    http_response_fini(&r);
    http_close(&client);
    ck_assert_int_eq(waitpid(-1, &status, WNOHANG), -1);
    bench_close(&b);
}
END_TEST

/* When the master dies, its children end. */
static bool no_child_left(void *arg)
{
    int status;

    (void)arg;
    while (waitpid(-1, &status, WNOHANG) > 0)
        continue;
    return errno == ECHILD;
}

START_TEST(children_end_with_the_master)
{
    struct bench b;

    open_four(&b, &SUITE_APIS[0], KEY0, NULL);
    ck_assert_int_eq(kill(b.daemon.pid, SIGKILL), 0);
    ck_assert(util_wait(no_child_left, NULL, 5000));
    b.daemon.pid = 0;
    ck_assert(refuses(&b));
    bench_close(&b);
}
END_TEST

/* A second daemon with the same pid file does not start. */
START_TEST(pid_file_is_locked)
{
    struct bench b;
    struct run run;
    char *pid;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    pid = util_read_file(b.daemon.pid_file, NULL);
    ck_assert_ptr_nonnull(pid);
    ck_assert_int_eq(strtol(pid, NULL, 10), b.daemon.pid);
    free(pid);
    run_program(&run, NULL, daemon_binary(), "-c", b.daemon.conf, NULL);
    ck_assert_int_eq(run.status, 1);
    ck_assert_uint_gt(run.err.len, 0);
    run_fini(&run);
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("workers");
    TCase *tc = suite_case(s, "workers", 120);

    tcase_add_loop_test(tc, marks_hold_for_all_workers, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, edits_from_outside, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, marks_outlive_restart_and_reload, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, three_hundred_at_once, 0, SUITE_API_COUNT);
    tcase_add_test(tc, a_killed_worker_is_replaced);
    tcase_add_test(tc, a_killed_admin_process_is_replaced);
    tcase_add_loop_test(tc, reload_is_all_or_nothing, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, reload_lets_requests_finish, 0, SUITE_API_COUNT);
    tcase_add_test(tc, reload_ends_a_streams_connection);
    tcase_add_test(tc, reload_leaves_idle_connections_a_while);
    tcase_add_test(tc, reload_under_load);
    tcase_add_loop_test(tc, term_lets_requests_finish, 0, 4);
    tcase_add_test(tc, term_with_idle_connections);
    tcase_add_loop_test(tc, stops_that_do_not_wait, 0, 3);
    tcase_add_test(tc, children_end_with_the_master);
    tcase_add_test(tc, pid_file_is_locked);
    return suite_run(s);
}
