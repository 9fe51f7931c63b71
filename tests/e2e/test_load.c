/*
 * test_load: what a daemon does not lose while it is busy: under reloads, killed workers, a stop, and when it
 * has no descriptors left.
 */
#include "e2e/load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000

static void open_busy(struct bench *b, struct load *load, unsigned workers)
{
    bench_prepare(b, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    b->daemon.workers = workers;
    daemon_start(&b->daemon);
    ck_assert(daemon_wait_workers(&b->daemon, workers, 0, WAIT_MS));
    load_begin(load, b);
    load_await(load, 300, 0);
}

START_TEST(eight_reloads)
{
    static struct load load;
    struct bench b;

    open_busy(&b, &load, 3);
    for (int i = 0; i < 8; i++) {
        daemon_reload(&b.daemon);
        load_await(&load, 100, 0);
    }
    load_end(&load, 0);
    printf("eight reloads: %u requests, none lost, the slowest took %u ms\n", atomic_load(&load.done),
           atomic_load(&load.slowest_ms));
    bench_close(&b);
}
END_TEST

struct killed {
    const struct daemon *d;
    pid_t pids[4];
    size_t alive;
};

/* Four workers serve and none of them is a killed one. */
static bool are_replaced(void *arg)
{
    const struct killed *k = arg;
    pid_t now[8];
    size_t n = daemon_children(k->d, "worker", now, 8);

    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < 3; j++)
            if (now[i] == k->pids[j])
                return false;
    return n == 4;
}

/* Each thread has one request on its way: no more can be lost. */
START_TEST(three_workers_are_killed)
{
    static struct load load;
    struct bench b;
    struct killed killed = {.d = &b.daemon};

    open_busy(&b, &load, 4);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", killed.pids, 4), 4);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(kill(killed.pids[i], SIGKILL), 0);
    ck_assert_msg(util_wait(are_replaced, &killed, 1000), "not replaced within a second");
    load_await(&load, 500, LOAD_THREADS);
    load_end(&load, LOAD_THREADS);
    printf("three killed workers: %u requests, %u lost\n", atomic_load(&load.done),
           atomic_load(&load.failed));
    bench_close(&b);
}
END_TEST

/* ---- a stop */

#define IN_FLIGHT 30

struct many {
    unsigned port;
    int statuses[IN_FLIGHT];
};

static void *send_many(void *arg)
{
    struct many *many = arg;
    const struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};

    http_fetch_many(many->port, &request, many->statuses, IN_FLIGHT);
    return NULL;
}

START_TEST(term_with_many_in_flight)
{
    static const struct fake_answer slow = {.delay_ms = 800, .body = "in flight"};
    struct many many = {0};
    pthread_t thread;
    struct bench b;
    int status;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 2;
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &slow);
    many.port = b.daemon.port;
    ck_assert_int_eq(pthread_create(&thread, NULL, send_many, &many), 0);
    ck_assert(fake_wait_requests(b.fake, IN_FLIGHT, WAIT_MS));
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    pthread_join(thread, NULL);
    for (int i = 0; i < IN_FLIGHT; i++)
        ck_assert_msg(many.statuses[i] == 200, "request %d got %d", i, many.statuses[i]);
    status = daemon_wait(&b.daemon, WAIT_MS);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    bench_close(&b);
}
END_TEST

/* ---- reloads beside streams */

#define RELOADS 10

static size_t count_workers(const struct daemon *d)
{
    pid_t pids[64];

    return daemon_children(d, "worker", pids, 64);
}

/* Each generation has a stream that would never end; shutdown_timeout ends it, and the generation with it. A
 * stream that ends by itself before is whole. */
START_TEST(ten_reloads_beside_streams)
{
    static const struct fake_answer endless = {.framing = FAKE_CHUNKED, .events = 1000000, .interval_ms = 20};
    static const struct fake_answer finite = {.framing = FAKE_CHUNKED, .events = 25, .interval_ms = 20};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client clients[RELOADS + 1];
    struct http_response answers[RELOADS + 1];
    struct bench b;
    size_t most = 0;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 2;
    daemon_text(&b.daemon.limits, "shutdown_timeout = 3s");
    daemon_start(&b.daemon);
    fake_on_number(b.fake, 1, &finite);
    fake_on_any(b.fake, &endless);
    for (size_t i = 0; i <= RELOADS; i++) {
        http_connect(&clients[i], b.daemon.port);
        http_write_request(&clients[i], &request);
        ck_assert(http_read_head(&clients[i], &answers[i], HTTP_TIMEOUT_MS));
        if (i < RELOADS) {
            struct run run;

            run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "reload", NULL);
            ck_assert_msg(run.status == 0, "%s", run_err(&run));
            run_fini(&run);
        }
        if (count_workers(&b.daemon) > most)
            most = count_workers(&b.daemon);
    }
    /* Two that serve, and of each older generation the one that has a stream. */
    ck_assert_uint_le(most, 2 * 2 + RELOADS);
    ck_assert_msg(daemon_wait_workers(&b.daemon, 2, 0, WAIT_MS), "%zu workers are left",
                  count_workers(&b.daemon));
    for (size_t i = 0; i <= RELOADS; i++) {
        /* The last generation serves: its stream goes on. */
        http_read_body(&clients[i], &answers[i], i < RELOADS ? SIZE_MAX : answers[i].body.len + 1,
                       HTTP_TIMEOUT_MS);
        ck_assert_int_eq(answers[i].clean, i == 0);
        ck_assert_int_eq(answers[i].timed_out, false);
        http_response_fini(&answers[i]);
        http_close(&clients[i]);
    }
    printf("ten reloads beside streams: at most %zu workers at once\n", most);
    bench_close(&b);
}
END_TEST

/* ---- no descriptors */

#define CROWD     120
#define WATCH_MS  2000
#define TICKS_MAX 40 /* of the 200 that a spinning process would take in that time */

/* The daemon with `ulimit -n 64`. */
static void limit_descriptors(struct bench *b, char script[128])
{
    struct buf text = {0};
    char *binary = realpath(daemon_binary(), NULL);

    ck_assert_ptr_nonnull(binary);
    snprintf(script, 128, "%s/limited", b->daemon.dir);
    buf_printf(&text, "#!/bin/sh\nulimit -n 64\nexec '%s' \"$@\"\n", binary);
    ck_assert_int_eq(util_write_file(script, text.data, text.len, 0755), 0);
    ck_assert_int_eq(setenv("CLAVIGERD", script, 1), 0);
    buf_fini(&text);
    free(binary);
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static void expect_idle(const pid_t *pids, size_t count)
{
    long before[4];

    for (size_t i = 0; i < count; i++)
        before[i] = util_cpu_ticks(pids[i]);
    util_wait(never, NULL, WATCH_MS);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(util_cpu_ticks(pids[i]) - before[i] <= TICKS_MAX, "process %d took %ld ticks in %d ms",
                      (int)pids[i], util_cpu_ticks(pids[i]) - before[i], WATCH_MS);
}

START_TEST(no_descriptors)
{
    static const struct fake_answer hang = {.action = FAKE_HANG};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_request healthz = {.method = "GET", .target = "/healthz"};
    static struct http_client crowd[CROWD];
    struct http_response r;
    char script[128];
    struct bench b;
    pid_t pids[3];
    pid_t after;
    size_t log_len = 0;
    char *log;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    limit_descriptors(&b, script);
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &hang);
    for (size_t i = 0; i < CROWD; i++) {
        http_connect(&crowd[i], b.daemon.port);
        http_write_request(&crowd[i], &request);
    }
    ck_assert(fake_wait_requests(b.fake, 5, WAIT_MS));
    pids[0] = b.daemon.pid;
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", &pids[1], 1), 1);
    ck_assert_uint_eq(daemon_children(&b.daemon, "admin", &pids[2], 1), 1);
    expect_idle(pids, 3);
    ck_assert_uint_lt(fake_requests(b.fake), CROWD);
    http_fetch(b.daemon.admin_port, &healthz, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);

    fake_forget_rules(b.fake);
    for (size_t i = 0; i < CROWD; i++)
        http_close(&crowd[i]);
    for (int i = 0; i < 20; i++) {
        bench_post(&b, NULL, &r);
        expect_answer(&r, 200, "ok");
        http_response_fini(&r);
    }
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", &after, 1), 1);
    ck_assert_int_eq(after, pids[1]);
    expect_idle(pids, 3);
    /* Nor does it fill the log. */
    log = util_read_file(b.daemon.log, &log_len);
    ck_assert_ptr_nonnull(log);
    printf("no descriptors: %zu bytes of log\n", log_len);
    ck_assert_uint_lt(log_len, 64 * 1024);
    free(log);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("load");
    TCase *tc = suite_case(s, "load", 120);

    tcase_add_test(tc, eight_reloads);
    tcase_add_test(tc, three_workers_are_killed);
    tcase_add_test(tc, term_with_many_in_flight);
    tcase_add_test(tc, ten_reloads_beside_streams);
    tcase_add_test(tc, no_descriptors);
    return suite_run(s);
}
