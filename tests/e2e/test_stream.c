/*
 * test_stream: responses on their way: events leave at once, a cut never looks whole, slow clients slow the
 * upstream down, clients that leave end it.
 */
#include "e2e/cert.h"
#include "e2e/suite.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS      20
#define INTERVAL_MS 50
#define DELAY_US    10000
#define LEAVE_US    1000000
#define RSS_KIB     (16 * 1024)
#define HELD_BYTES  (64 * 1024 * 1024)

/* When the byte at that place of the body arrived. */
static int64_t arrival(const struct http_response *r, size_t offset)
{
    for (size_t i = 0; i < r->piece_count; i++) {
        if (r->pieces[i].body_len > offset)
            return r->pieces[i].at_us;
    }
    ck_abort_msg("byte %zu did not arrive", offset);
}

/* Each event carries the time at which it left the upstream; the middle of the delays until each was whole
 * here. */
static int64_t median_delay(const struct http_response *r, unsigned events)
{
    int64_t delays[EVENTS];
    const char *p = http_body(r);

    for (unsigned i = 0; i < events; i++) {
        const char *end = strstr(p, "\n\n");
        const char *sent = strstr(p, "\"sent_us\":");
        char number[32];

        ck_assert_msg(end != NULL && sent != NULL, "event %u is missing", i);
        snprintf(number, sizeof(number), "\"n\":%u,", i);
        ck_assert_ptr_nonnull(strstr(p, number));
        ck_assert(strstr(p, number) < end);
        delays[i] =
            arrival(r, (size_t)(end + 1 - http_body(r))) - strtoll(sent + strlen("\"sent_us\":"), NULL, 10);
        p = end + 2;
    }
    ck_assert_str_eq(p, "");
    qsort(delays, events, sizeof(delays[0]), util_compare_i64);
    return delays[events / 2];
}

/* 20 events, 50 ms apart, one by one: median delay below 10 ms, after a failover and for BYOK too. */
START_TEST(events_arrive_one_by_one)
{
    static const struct {
        bool failover;
        bool byok;
        enum fake_framing framing;
        const char *headers;
    } cases[] = {
        {false, false, FAKE_CHUNKED, NULL},
        {true, false, FAKE_CHUNKED, NULL},
        {false, true, FAKE_CHUNKED, NULL},
        {false, false, FAKE_UNTIL_CLOSE, NULL},
        {false, false, FAKE_CHUNKED, "Accept-Encoding: identity\r\n"},
    };
    int which = _i / SUITE_API_COUNT;
    struct fake_answer limited = {.status = 429};
    struct fake_answer events = {.headers = "Content-Type: text/event-stream\r\n",
                                 .framing = cases[which].framing,
                                 .events = EVENTS,
                                 .interval_ms = INTERVAL_MS};
    struct http_response r;
    struct bench b;
    int64_t median;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, NULL);
    if (cases[which].failover)
        fake_on_key(b.fake, KEY0, &limited);
    fake_on_any(b.fake, &events);
    bench_post(&b, cases[which].byok ? bench_auth(&b, OWN_KEY) : cases[which].headers, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    ck_assert_str_eq(http_get(&r, "Content-Type"), "text/event-stream");
    median = median_delay(&r, EVENTS);
    ck_assert_msg(median < DELAY_US, "median delay %lld us", (long long)median);
    ck_assert_uint_ge(r.piece_count, EVENTS / 2);
    http_response_fini(&r);
    expect_requests(&b, cases[which].failover ? 2 : 1);
    bench_close(&b);
}
END_TEST

/* An upstream that breaks off mid-body: what came arrives, the end is not clean, no key is marked. */
START_TEST(a_cut_is_never_a_clean_end)
{
    static const enum fake_framing framings[] = {FAKE_CHUNKED, FAKE_LENGTH};
    static const enum fake_cut cuts[] = {FAKE_CUT_FIN, FAKE_CUT_RST};
    static const size_t sizes[] = {1000, 200000, 3000000};
    size_t size = sizes[_i % 3];
    bool byok = _i / 12 != 0;
    char *body = malloc(size);
    struct fake_answer a = {.framing = framings[_i / 3 % 2],
                            .cut = cuts[_i / 6 % 2],
                            .body = body,
                            .body_len = size,
                            .cut_after = size / 2};
    struct http_response r;
    struct bench b;

    ck_assert_ptr_nonnull(body);
    util_random(body, size);
    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, byok ? bench_auth(&b, OWN_KEY) : NULL, &r);
    if (r.status == 502) {
        ck_assert_str_eq(http_get(&r, "X-Claviger-Error"), "upstream_error");
    } else {
        ck_assert_msg(!r.clean, "a cut answer looks whole");
        ck_assert_msg(!r.timed_out, "a cut answer hangs");
        ck_assert_uint_le(r.body.len, size / 2);
        ck_assert_int_eq(memcmp(http_body(&r), body, r.body.len), 0);
        /* After a FIN every byte that the upstream sent is there. */
        if (a.cut == FAKE_CUT_FIN)
            ck_assert_uint_eq(r.body.len, size / 2);
    }
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
    free(body);
}
END_TEST

/* The same in the middle of events, which have arrived before. */
START_TEST(a_cut_stream)
{
    struct fake_answer a = {.headers = "Content-Type: text/event-stream\r\n",
                            .framing = FAKE_CHUNKED,
                            .events = EVENTS,
                            .interval_ms = 20,
                            .cut = _i / SUITE_API_COUNT == 0 ? FAKE_CUT_FIN : FAKE_CUT_RST,
                            .cut_after = 5};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(!r.clean);
    ck_assert(!r.timed_out);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":3,"));
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* An answer whose end is the connection's end, to a client of HTTP/1.0: when the upstream or a stop cuts it,
 * the client does not take that for the end. */
START_TEST(a_cut_of_an_open_end)
{
    struct fake_answer a = {.framing = FAKE_CHUNKED,
                            .events = 5,
                            .interval_ms = 20,
                            .cut = _i == 0 ? FAKE_CUT_RST : FAKE_CUT_STALL,
                            .cut_after = 3};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &a);
    http_connect(&client, b.daemon.port);
    http_print(&client, "GET %s HTTP/1.0\r\nHost: a\r\n\r\n", b.api->target);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    ck_assert_ptr_null(http_get(&r, "Transfer-Encoding"));
    http_read_body(&client, &r, 1, HTTP_TIMEOUT_MS);
    if (_i == 1) {
        ck_assert_int_eq(kill(b.daemon.pid, SIGQUIT), 0);
        ck_assert_int_eq(daemon_wait(&b.daemon, DAEMON_STOP_MS), 0);
    }
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(r.closed);
    ck_assert_msg(!r.clean, "a cut answer looks whole");
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* Silence in the middle for longer than idle_timeout ends it, uncleanly. */
START_TEST(an_idle_stream_ends)
{
    struct fake_answer a = {.framing = FAKE_CHUNKED, .events = 5, .cut = FAKE_CUT_STALL, .cut_after = 2};
    struct http_response r;
    struct bench b;
    int64_t begin;

    bench_open(&b, &SUITE_APIS[_i], KEY0, "    idle_timeout = 500ms");
    fake_on_any(b.fake, &a);
    begin = util_now_us();
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(!r.clean);
    ck_assert(!r.timed_out);
    ck_assert_int_ge(util_now_us() - begin, 450000);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":1,"));
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

/* The same when the head itself came late: the time to it is no time between two bytes. */
START_TEST(an_idle_stream_with_a_late_head_ends)
{
    struct fake_answer a = {
        .framing = FAKE_CHUNKED, .delay_ms = 700, .events = 5, .cut = FAKE_CUT_STALL, .cut_after = 2};
    struct http_response r;
    struct bench b;
    int64_t begin;

    bench_open(&b, &SUITE_APIS[0], KEY0, "    idle_timeout = 500ms header_timeout = 20s");
    fake_on_any(b.fake, &a);
    begin = util_now_us();
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(!r.clean);
    ck_assert_int_lt(util_now_us() - begin, 10000000);
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* Whether the upstream has not got rid of a byte for half a second. */
struct standstill {
    struct fake *fake;
    uint64_t sent;
    int64_t since_us;
};

static bool stands_still(void *arg)
{
    struct standstill *s = arg;
    struct fake_progress progress;

    if (fake_progress(s->fake, 1, &progress) != 0)
        return false;
    if (progress.sent != s->sent || s->since_us == 0) {
        s->sent = progress.sent;
        s->since_us = util_now_us();
        return false;
    }
    return util_now_us() - s->since_us > 500000;
}

/* A client that reads nothing stops the upstream; the worker's memory stays bounded, and others are served.
 */
START_TEST(a_client_that_reads_nothing)
{
    struct fake_answer a = {.framing = _i == 0 ? FAKE_CHUNKED : FAKE_UNTIL_CLOSE, .endless = true};
    struct http_request request = {.body = "{}"};
    struct standstill still = {.sent = 0};
    struct http_client client;
    struct http_response r;
    struct bench b;
    pid_t worker;
    long before;
    int64_t left_us;
    struct fake_progress progress;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_number(b.fake, 1, &a);
    still.fake = b.fake;
    request.target = b.api->target;
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", &worker, 1), 1);
    before = util_rss_kib(worker);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(util_wait(stands_still, &still, 20000));
    ck_assert_uint_gt(still.sent, 0);
    ck_assert_uint_lt(still.sent, HELD_BYTES);
    ck_assert_msg(util_rss_kib(worker) - before < RSS_KIB, "the worker grew by %ld KiB",
                  util_rss_kib(worker) - before);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);

    left_us = util_now_us();
    http_close(&client);
    ck_assert(fake_wait_abandoned(b.fake, 1, 10000));
    ck_assert_int_eq(fake_progress(b.fake, 1, &progress), 0);
    ck_assert_int_lt(progress.abandoned_us - left_us, LEAVE_US);
    bench_close(&b);
}
END_TEST

/* A client that pauses and reads on gets every byte. */
START_TEST(a_client_that_pauses)
{
    size_t size = 30000000;
    char *body = malloc(size);
    struct fake_answer a = {.framing = _i == 0 ? FAKE_CHUNKED : FAKE_LENGTH, .body = body, .body_len = size};
    struct http_request request = {.body = "{}"};
    struct standstill still = {.sent = 0};
    struct http_client client;
    struct http_response r;
    struct bench b;

    ck_assert_ptr_nonnull(body);
    util_random(body, size);
    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &a);
    still.fake = b.fake;
    request.target = b.api->target;
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(util_wait(stands_still, &still, 20000));
    http_read(&client, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    ck_assert_uint_eq(r.body.len, size);
    ck_assert_int_eq(memcmp(r.body.data, body, size), 0);
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
    free(body);
}
END_TEST

/* A client that leaves ends its upstream request within a second: while the head is awaited, while the
 * upstream is silent in the middle, while events come. With FIN and with RST, from the pool and BYOK. */
START_TEST(a_client_that_leaves)
{
    static const struct fake_answer answers[] = {
        {.action = FAKE_HANG},
        {.framing = FAKE_CHUNKED, .events = 3, .cut = FAKE_CUT_STALL, .cut_after = 1},
        {.framing = FAKE_CHUNKED, .events = 1000, .interval_ms = 50},
    };
    const struct fake_answer *a = &answers[_i % 3];
    bool reset = _i / 3 % 2 != 0;
    bool byok = _i / 6 % 2 != 0;
    struct http_request request = {.body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;
    int64_t left_us;
    struct fake_progress progress;

    bench_open(&b, &SUITE_APIS[_i / 12], KEY0, NULL);
    fake_on_any(b.fake, a);
    request.target = b.api->target;
    request.headers = byok ? bench_auth(&b, OWN_KEY) : NULL;
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(fake_wait_complete(b.fake, 1, 10000));
    if (a->action != FAKE_HANG) {
        ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
        http_read_body(&client, &r, 10, HTTP_TIMEOUT_MS);
        ck_assert_uint_ge(r.body.len, 10);
        http_response_fini(&r);
    }
    left_us = util_now_us();
    if (reset)
        http_reset(&client);
    else
        http_close(&client);
    ck_assert(fake_wait_abandoned(b.fake, 1, 10000));
    ck_assert_int_eq(fake_progress(b.fake, 1, &progress), 0);
    ck_assert_msg(progress.abandoned_us - left_us < LEAVE_US, "%lld us",
                  (long long)(progress.abandoned_us - left_us));
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

/* An answer that ends with its connection, inside TLS: whole when TLS said so, else a cut. */
START_TEST(an_open_end_over_tls)
{
    struct fake_answer answer = {.framing = FAKE_UNTIL_CLOSE, .body = "0123456789"};
    struct fake_options options = {0};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    char certificate[160];
    char key[160];
    char more[512];
    struct http_client client;
    struct http_response r;
    struct bench b = {.api = &SUITE_APIS[0]};

    daemon_init(&b.daemon);
    snprintf(certificate, sizeof(certificate), "%s/upstream.pem", b.daemon.dir);
    snprintf(key, sizeof(key), "%s/upstream.key", b.daemon.dir);
    cert_make("IP:127.0.0.1", 30, certificate, key);
    options.certificate = certificate;
    options.private_key = key;
    b.fake = fake_start(&options);
    ck_assert_ptr_nonnull(b.fake);
    if (_i == 1) {
        answer.cut = FAKE_CUT_FIN;
        answer.cut_after = 10;
        answer.body = "0123456789 and more";
    }
    fake_on_any(b.fake, &answer);
    snprintf(more, sizeof(more), "    ca_file = \"%s\"", certificate);
    daemon_provider(&b.daemon, b.api->name, fake_url(b.fake), KEY0, more);
    daemon_start(&b.daemon);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    http_read(&client, &r);
    if (_i == 0)
        expect_answer(&r, 200, "0123456789");
    else
        ck_assert_msg(!r.clean || r.status == 502, "a cut answer looks whole");
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* From an upstream that speaks TLS: answers of less and of more than a TLS record, to a client that reads at
 * once or stops in between, and events that leave at once. */
START_TEST(over_tls)
{
    static const size_t sizes[] = {1000, 1500, 16384, 20000, 3 * 1024 * 1024};
    static const enum fake_framing framings[] = {FAKE_LENGTH, FAKE_CHUNKED};
    size_t size = sizes[_i / 2 % 5];
    char *body = malloc(size + 1);
    struct fake_answer answer = {.body = body, .body_len = size, .framing = framings[_i % 2]};
    struct fake_answer events = {.framing = FAKE_CHUNKED, .events = EVENTS, .interval_ms = 10};
    struct fake_options options = {0};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = body, .body_len = size};
    char certificate[160];
    char key[160];
    char more[512];
    struct standstill still = {.sent = 0};
    struct http_client client;
    struct http_response r;
    struct bench b = {.api = &SUITE_APIS[0]};

    ck_assert_ptr_nonnull(body);
    for (size_t i = 0; i < size; i++)
        body[i] = (char)('a' + i % 23);
    body[size] = '\0';
    daemon_init(&b.daemon);
    snprintf(certificate, sizeof(certificate), "%s/upstream.pem", b.daemon.dir);
    snprintf(key, sizeof(key), "%s/upstream.key", b.daemon.dir);
    cert_make("IP:127.0.0.1", 30, certificate, key);
    options.certificate = certificate;
    options.private_key = key;
    b.fake = fake_start(&options);
    ck_assert_ptr_nonnull(b.fake);
    still.fake = b.fake;
    fake_rule(b.fake, FAKE_ANY, NULL, 0, &answer, 3);
    fake_on_any(b.fake, &events);
    snprintf(more, sizeof(more), "    ca_file = \"%s\"", certificate);
    daemon_provider(&b.daemon, b.api->name, fake_url(b.fake), KEY0, more);
    daemon_start(&b.daemon);
    http_connect(&client, b.daemon.port);
    for (int i = 0; i < 3; i++) {
        http_write_request(&client, &request);
        ck_assert(http_read_head(&client, &r, 20000));
        if (i == 0 && size > 1024 * 1024) /* until all buffers on the way are full */
            ck_assert(util_wait(stands_still, &still, 20000));
        http_read_body(&client, &r, size + 1, 20000); /* to its end */
        ck_assert_int_eq(r.status, 200);
        ck_assert(r.clean);
        ck_assert_uint_eq(r.body.len, size);
        ck_assert_int_eq(memcmp(r.body.data, body, size), 0);
        http_response_fini(&r);
        ck_assert(fake_body_is(b.fake, (unsigned)i + 1, body, size));
    }
    http_write_request(&client, &request);
    http_read(&client, &r);
    ck_assert(r.clean);
    ck_assert_int_lt(median_delay(&r, EVENTS), DELAY_US);
    http_response_fini(&r);
    http_close(&client);
    ck_assert_uint_eq(fake_connections(b.fake), 1);
    free(body);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("stream");
    TCase *tc = suite_case(s, "stream", 90);

    tcase_add_loop_test(tc, events_arrive_one_by_one, 0, 5 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_cut_is_never_a_clean_end, 0, 24);
    tcase_add_loop_test(tc, a_cut_stream, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, an_idle_stream_ends, 0, SUITE_API_COUNT);
    tcase_add_test(tc, an_idle_stream_with_a_late_head_ends);
    tcase_add_loop_test(tc, a_client_that_reads_nothing, 0, 2);
    tcase_add_loop_test(tc, a_client_that_pauses, 0, 2);
    tcase_add_loop_test(tc, over_tls, 0, 10);
    tcase_add_loop_test(tc, an_open_end_over_tls, 0, 2);
    tcase_add_loop_test(tc, a_client_that_leaves, 0, 12 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_cut_of_an_open_end, 0, 2);
    return suite_run(s);
}
