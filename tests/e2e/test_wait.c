/*
 * test_wait: requests that wait for their answers, beside requests that wait only for a moment. The listener
 * lets short waits stay with the HTTP server library and has to guess then when that library has work:
 * whatever else goes on meanwhile must go on.
 */
#include "e2e/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOADERS  6
#define DELAY_MS 8 /* of their answers */
#define LARGE    (3 * 1024 * 1024)
#define BEATS    40

struct load {
    struct fake *fake;
    pthread_t threads[LOADERS];
    unsigned port;
    atomic_bool stop;
    atomic_uint answers;
    atomic_uint wrong;
};

static const struct http_request load_request = {.method = "GET", .target = "/openai/v1/models"};

static void *load_run(void *arg)
{
    struct load *load = arg;
    struct http_client client;

    if (http_try_connect(&client, load->port) != 0) {
        atomic_fetch_add(&load->wrong, 1);
        return NULL;
    }
    while (!atomic_load(&load->stop)) {
        struct http_response r;
        http_write_request(&client, &load_request);
        http_read(&client, &r);
        if (r.status != 200 || !r.clean)
            atomic_fetch_add(&load->wrong, 1);
        http_response_fini(&r);
        atomic_fetch_add(&load->answers, 1);
    }
    http_close(&client);
    return NULL;
}

static bool has_answers(void *arg)
{
    struct load *load = arg;

    return atomic_load(&load->answers) > 0;
}

/* A daemon with a provider for the test and one that answers after a moment, and clients that keep that one
 * busy. */
static void open_under_load(struct bench *b, struct load *load)
{
    static const struct fake_answer moment = {.delay_ms = DELAY_MS, .body = "moment"};

    *load = (struct load){.fake = fake_start(NULL)};
    ck_assert_ptr_nonnull(load->fake);
    fake_on_any(load->fake, &moment);
    bench_prepare(b, &SUITE_APIS[0], KEY0, NULL);
    daemon_provider(&b->daemon, "openai", fake_url(load->fake), KEY2, NULL);
    daemon_start(&b->daemon);
    load->port = b->daemon.port;
    for (int i = 0; i < LOADERS; i++)
        ck_assert_int_eq(pthread_create(&load->threads[i], NULL, load_run, load), 0);
    ck_assert(util_wait(has_answers, load, 20000));
}

static void close_load(struct bench *b, struct load *load)
{
    atomic_store(&load->stop, true);
    for (int i = 0; i < LOADERS; i++)
        ck_assert_int_eq(pthread_join(load->threads[i], NULL), 0);
    ck_assert_uint_eq(atomic_load(&load->wrong), 0);
    bench_close(b);
    fake_stop(&load->fake);
}

struct beats {
    struct load *load;
    unsigned until;
};

static bool has_beaten(void *arg)
{
    const struct beats *beats = arg;
    return atomic_load(&beats->load->answers) >= beats->until;
}

/* Lets the others get some answers: that is how time passes here. */
static void wait_beats(struct load *load, unsigned count)
{
    struct beats beats = {.load = load, .until = atomic_load(&load->answers) + count};
    ck_assert(util_wait(has_beaten, &beats, 20000));
}

static char *large_body(void)
{
    char *body = malloc(LARGE + 1);
    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < LARGE; i++)
        body[i] = (char)('a' + i % 23);
    body[LARGE] = '\0';
    return body;
}

/* A large answer, with a length and without, to a client that reads at once or only after a while. */
START_TEST(large_answers)
{
    const struct http_request request = {.method = "GET", .target = SUITE_APIS[0].target};
    bool slow = _i / 2 != 0;
    char *large = large_body();
    struct fake_answer a = {.body = large,
                            .body_len = LARGE,
                            .framing = _i % 2 == 0 ? FAKE_LENGTH : FAKE_CHUNKED};
    struct http_client client;
    struct http_response r;
    struct load load;
    struct bench b;

    open_under_load(&b, &load);
    fake_on_any(b.fake, &a);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, 20000));
    ck_assert_int_eq(r.status, 200);
    for (size_t want = 200 * 1024; slow && want < LARGE; want += 700 * 1024) {
        wait_beats(&load, BEATS);
        http_read_body(&client, &r, want, 20000);
        ck_assert_uint_ge(r.body.len, want);
    }
    http_read_body(&client, &r, LARGE + 1, 20000); /* to its end */
    ck_assert(r.clean);
    ck_assert_uint_eq(r.body.len, LARGE);
    ck_assert_int_eq(memcmp(r.body.data, large, LARGE), 0);
    http_response_fini(&r);
    http_close(&client);
    free(large);
    close_load(&b, &load);
}
END_TEST

/* A large request, and its answer after a moment. */
START_TEST(large_request)
{
    char *large = large_body();
    struct fake_answer a = {.delay_ms = DELAY_MS, .body = "taken"};
    const struct http_request request = {.target = SUITE_APIS[0].target, .body = large, .body_len = LARGE};
    struct http_response r;
    struct load load;
    struct bench b;

    open_under_load(&b, &load);
    fake_on_any(b.fake, &a);
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 200, "taken");
    http_response_fini(&r);
    ck_assert(fake_body_is(b.fake, 1, large, LARGE));
    free(large);
    close_load(&b, &load);
}
END_TEST

/* An answer that breaks off is broken off. */
START_TEST(cut_answers)
{
    static const enum fake_cut cuts[] = {FAKE_CUT_FIN, FAKE_CUT_RST};
    char *large = large_body();
    struct fake_answer a = {.body = large,
                            .body_len = LARGE,
                            .framing = _i % 2 == 0 ? FAKE_LENGTH : FAKE_CHUNKED,
                            .cut = cuts[_i / 2],
                            .cut_after = LARGE / 2};
    struct http_response r;
    struct load load;
    struct bench b;

    open_under_load(&b, &load);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    ck_assert(!r.clean);
    ck_assert(!r.timed_out);
    http_response_fini(&r);
    free(large);
    close_load(&b, &load);
}
END_TEST

/* Requests that come in one go are answered one after the other, in their order. */
START_TEST(pipelined_requests)
{
    enum { COUNT = 8 };
    struct fake_answer answers[COUNT];
    char bodies[COUNT][16];
    struct buf text = {0};
    struct http_client client;
    struct load load;
    struct bench b;

    open_under_load(&b, &load);
    for (unsigned i = 0; i < COUNT; i++) {
        snprintf(bodies[i], sizeof(bodies[i]), "answer %u", i);
        answers[i] = (struct fake_answer){.body = bodies[i],
                                          .delay_ms = i % 3 == 0   ? 40
                                                      : i % 3 == 1 ? DELAY_MS
                                                                   : 0};
        fake_on_number(b.fake, i + 1, &answers[i]);
        buf_printf(&text, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b.api->target);
    }
    http_connect(&client, b.daemon.port);
    http_send(&client, text.data, text.len);
    for (unsigned i = 0; i < COUNT; i++) {
        struct http_response r;
        http_read(&client, &r);
        expect_answer(&r, 200, bodies[i]);
        http_response_fini(&r);
    }
    http_close(&client);
    buf_fini(&text);
    close_load(&b, &load);
}
END_TEST

/* An answer that takes longer than a moment comes too, and a stream after it. */
START_TEST(late_answers)
{
    struct fake_answer late = {.delay_ms = 700, .body = "late"};
    struct fake_answer events = {.delay_ms = 100, .framing = FAKE_CHUNKED, .events = 10, .interval_ms = 15};
    struct http_response r;
    struct load load;
    struct bench b;

    open_under_load(&b, &load);
    fake_on_number(b.fake, 1, &late);
    fake_on_any(b.fake, &events);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "late");
    http_response_fini(&r);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":9,"));
    http_response_fini(&r);
    close_load(&b, &load);
}
END_TEST

/* A client that leaves in its first moment, or later, ends its upstream request. */
START_TEST(clients_that_leave)
{
    struct fake_answer hang = {.action = FAKE_HANG};
    struct http_client client;
    struct load load;
    struct bench b;

    open_under_load(&b, &load);
    fake_on_any(b.fake, &hang);
    http_connect(&client, b.daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", b.api->target);
    ck_assert(fake_wait_requests(b.fake, 1, 10000));
    if (_i % 2 != 0)
        wait_beats(&load, 10 * LOADERS);
    if (_i / 2 != 0)
        http_reset(&client);
    else
        http_close(&client);
    ck_assert(fake_wait_abandoned(b.fake, 1, 10000));
    close_load(&b, &load);
}
END_TEST

static long cpu_ticks(pid_t pid)
{
    char path[64];
    unsigned long user = 0;
    unsigned long system = 0;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    char *text = util_read_file(path, NULL);
    ck_assert_ptr_nonnull(text);
    const char *end = strrchr(text, ')'); /* behind the name */
    ck_assert_ptr_nonnull(end);
    ck_assert_int_eq(sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system),
                     2);
    free(text);
    return (long)(user + system);
}

/* To wait costs nothing: for a slow provider, and for a slow client. */
START_TEST(waiting_is_idle)
{
    struct fake_answer late = {.delay_ms = 3000, .body = "late"};
    struct http_response r;
    struct bench b;
    pid_t worker;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &late);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", &worker, 1), 1);
    long before = cpu_ticks(worker);
    bench_post(&b, NULL, &r);
    long used = cpu_ticks(worker) - before;
    expect_answer(&r, 200, "late");
    http_response_fini(&r);
    ck_assert_msg(used * 1000 / sysconf(_SC_CLK_TCK) < 1000, "%ld ticks of CPU in 3 s of waiting", used);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("wait");
    TCase *tc = suite_case(s, "wait", 60);

    tcase_add_loop_test(tc, large_answers, 0, 4);
    tcase_add_test(tc, large_request);
    tcase_add_loop_test(tc, cut_answers, 0, 4);
    tcase_add_test(tc, pipelined_requests);
    tcase_add_test(tc, late_answers);
    tcase_add_loop_test(tc, clients_that_leave, 0, 4);
    tcase_add_test(tc, waiting_is_idle);
    return suite_run(s);
}
