/* test_early: answers that are there before the client has sent its whole request, and clients that then
 * pause. */
#include "e2e/suite.h"

#include <stdlib.h>
#include <string.h>

#define MIB        (1024 * 1024)
#define LARGE      (3 * MIB)
#define PROMPT_US  4000000 /* far below client_timeout, and below the 5 s in which an upload may still end */
#define CHUNK_HEAD "30d40\r\n"

/* Sends the head and the begin of a body, then waits: the answer must come all the same. */
static void expect_prompt(struct bench *b, const char *framing, const char *begin, size_t begin_len,
                          bool byok, struct http_response *r)
{
    struct http_client client;
    int64_t start_us = util_now_us();

    http_connect(&client, b->daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\n%s%s\r\n\r\n", b->api->target,
               byok ? bench_auth(b, OWN_KEY) : "", framing);
    http_send(&client, begin, begin_len);
    http_read(&client, r);
    ck_assert_msg(util_now_us() - start_us < PROMPT_US, "the answer took %lld ms",
                  (long long)((util_now_us() - start_us) / 1000));
    http_close(&client);
}

/* The upstream answers and reads no further: a short answer, a large one, one of unknown length, a stream. */
START_TEST(an_upstreams_answer)
{
    char *large = malloc(LARGE);
    char begin[1000] = {0};
    struct http_response r;
    struct bench b;

    ck_assert_ptr_nonnull(large);
    memset(large, 'x', LARGE);
    struct fake_answer answers[] = {
        {.status = 401, .body = "bad key"},
        {.status = 413, .body = large, .body_len = LARGE},
        {.status = 400, .body = large, .body_len = LARGE, .framing = FAKE_CHUNKED},
        {.status = 429, .framing = FAKE_CHUNKED, .events = 5, .interval_ms = 20},
        {.status = 200, .body = "done already"},
        {.status = 200, .body = large, .body_len = LARGE, .framing = FAKE_CHUNKED},
        {.status = 200, .framing = FAKE_CHUNKED, .events = 5, .interval_ms = 20},
    };
    answers[_i].reading = FAKE_READ_NEVER;
    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &answers[_i]);
    expect_prompt(&b, "Content-Length: 100000", begin, sizeof(begin), true, &r);
    ck_assert_int_eq(r.status, answers[_i].status);
    ck_assert(r.clean);
    if (answers[_i].body_len > 0)
        ck_assert_uint_eq(r.body.len, LARGE);
    else if (answers[_i].events > 0)
        ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":4,"));
    else
        ck_assert_str_eq(http_body(&r), answers[_i].body);
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    free(large);
    bench_close(&b);
}
END_TEST

/* The upstream breaks its early answer off, whatever its status and framing, and the client pauses: it sees
 * at once that the answer is cut. */
START_TEST(an_upstreams_cut_answer)
{
    static const int statuses[] = {200, 302, 429, 500};
    static const enum fake_cut cuts[] = {FAKE_CUT_FIN, FAKE_CUT_RST};
    struct fake_answer answer = {.status = statuses[_i % 4],
                                 .body = "an answer that is cut",
                                 .framing = _i / 8 % 2 == 0 ? FAKE_LENGTH : FAKE_CHUNKED,
                                 .cut = cuts[_i / 4 % 2],
                                 .cut_after = 9,
                                 .reading = FAKE_READ_NEVER};
    char begin[1000] = {0};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &answer);
    expect_prompt(&b, _i / 16 == 0 ? "Content-Length: 100000" : "Transfer-Encoding: chunked",
                  _i / 16 == 0 ? begin : CHUNK_HEAD "begin",
                  _i / 16 == 0 ? sizeof(begin) : strlen(CHUNK_HEAD) + 5, true, &r);
    ck_assert(r.status == answer.status || r.status == 502); /* nothing of it had gone out */
    ck_assert(!r.clean || r.status == 502);
    http_response_fini(&r);
    expect_requests(&b, 1);
    bench_close(&b);
}
END_TEST

/* A chunked body grows over the limit, then its client pauses in the middle of the chunk. */
START_TEST(a_body_that_grew_too_large)
{
    static const char *const types[] = {"request_too_large", "request_too_large"};
    size_t size = strlen(CHUNK_HEAD) + 110000;
    char *begin = malloc(size);
    struct http_response r;
    struct bench b;

    ck_assert_ptr_nonnull(begin);
    memset(begin, 'x', size);
    memcpy(begin, CHUNK_HEAD, strlen(CHUNK_HEAD));
    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, "request_body = 100K");
    daemon_start(&b.daemon);
    expect_prompt(&b, "Transfer-Encoding: chunked", begin, size, _i != 0, &r);
    expect_error(&r, b.api, 413, "body_too_large", types, "");
    http_response_fini(&r);
    if (_i == 0)
        expect_requests(&b, 0);
    free(begin);
    bench_close(&b);
}
END_TEST

/* A connection on which nothing was ever sent holds a stop up for a moment only. */
START_TEST(a_silent_connection_and_a_stop)
{
    struct http_client client;
    struct http_response r;
    struct bench b;
    int64_t start_us;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    bench_post(&b, NULL, &r); /* the silent one was accepted before */
    http_response_fini(&r);
    start_us = util_now_us();
    bench_close(&b);
    ck_assert_int_lt(util_now_us() - start_us, 8000000); /* head_timeout is 10 s, shutdown_timeout 30 s */
    http_close(&client);
}
END_TEST

/* 300,000 times "a" */
static const char GZIP[] = "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xed\xc1\x01\x0d\x00\x00\x00\xc2\xa0\xac"
                           "\xef\x5f\xc2\x1e\x0e\x28\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                           "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf8\x31\x5f\xf2"
                           "\x4e\xf4\xe0\x93\x04\x00";

/* A gzip answer that turns out malformed while its client still sends: what is left of it does not follow our
 * own answer. */
START_TEST(a_malformed_gzip_answer)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n";
    struct buf raw = {0};
    struct fake_answer answer = {.action = FAKE_RAW, .reading = FAKE_READ_NEVER};
    struct http_client client;
    struct http_response r;
    struct bench b;

    buf_puts(&raw, head);
    buf_printf(&raw, "%zx\r\n", sizeof(GZIP) - 1);
    buf_append(&raw, GZIP, sizeof(GZIP) - 1);
    buf_puts(&raw, "\r\nno size\r\n");
    ck_assert(!raw.failed);
    answer.body = raw.data;
    answer.body_len = raw.len;
    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &answer);
    http_connect(&client, b.daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: 90000\r\n\r\nbegin", b.api->target,
               bench_auth(&b, OWN_KEY));
    http_read(&client, &r);
    ck_assert(r.clean);
    ck_assert_int_eq(r.status, 502);
    ck_assert(http_wait_end(&client, 10000));
    ck_assert_uint_eq(client.in.len, 0);
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
    buf_fini(&raw);
}
END_TEST

/* An upload that passes the limit while an answer goes out is broken off at once. */
START_TEST(too_long_behind_an_answer)
{
    struct fake_answer answer = {.framing = FAKE_CHUNKED,
                                 .events = 3,
                                 .cut = FAKE_CUT_STALL,
                                 .cut_after = 1,
                                 .reading = FAKE_READ_NEVER};
    struct http_client client;
    struct http_response r;
    struct bench b;
    int64_t start_us;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, "request_body = 10K");
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &answer);
    http_connect(&client, b.daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\n%sTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
               b.api->target, bench_auth(&b, OWN_KEY));
    ck_assert(http_read_head(&client, &r, 10000));
    ck_assert_int_eq(r.status, 200);
    start_us = util_now_us();
    http_print(&client, "%x\r\n%*s\r\n", 20000, 20000, "x");
    http_read_body(&client, &r, SIZE_MAX, 15000);
    ck_assert(!r.clean);
    ck_assert_msg(util_now_us() - start_us < PROMPT_US, "the end took %lld ms",
                  (long long)((util_now_us() - start_us) / 1000));
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("early");
    TCase *tc = suite_case(s, "early", 60);

    tcase_add_loop_test(tc, an_upstreams_answer, 0, 7);
    tcase_add_loop_test(tc, an_upstreams_cut_answer, 0, 32);
    tcase_add_loop_test(tc, a_body_that_grew_too_large, 0, 2);
    tcase_add_test(tc, a_silent_connection_and_a_stop);
    tcase_add_test(tc, a_malformed_gzip_answer);
    tcase_add_test(tc, too_long_behind_an_answer);
    return suite_run(s);
}
