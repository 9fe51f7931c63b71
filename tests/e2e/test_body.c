/*
 * test_body: request bodies: the same bytes in every attempt, limits, chunked ones, Expect, answers before
 * their end.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MIB ((size_t)1024 * 1024)

static char *random_body(size_t size)
{
    char *body = malloc(size + 1);

    ck_assert_ptr_nonnull(body);
    util_random(body, size);
    return body;
}

/* The body in chunks of odd sizes, with an extension and a trailer. */
static void put_chunked(struct buf *out, const char *body, size_t size)
{
    size_t piece = 1;

    while (size > 0) {
        size_t n = piece < size ? piece : size;

        buf_printf(out, piece == 3 ? "%zX;ext=1\r\n" : "%zx\r\n", n);
        buf_append(out, body, n);
        buf_puts(out, "\r\n");
        body += n;
        size -= n;
        piece = piece * 3 % 100003;
    }
    buf_puts(out, "0\r\nX-Trailer: 1\r\n\r\n");
}

static const size_t SIZES[] = {0, 1, 70000, 5000000};
#define SIZE_COUNT ((int)(sizeof(SIZES) / sizeof(SIZES[0])))

/* Both attempts carry the same bytes, whether the client sent a length or chunks. */
START_TEST(a_replayed_body_is_the_same)
{
    size_t size = SIZES[_i % SIZE_COUNT];
    bool chunked = _i / SIZE_COUNT % 2 != 0;
    struct fake_answer limited = {.status = 429, .headers = "Retry-After: 30\r\n"};
    char *body = random_body(size);
    struct buf text = {0};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i / SIZE_COUNT / 2], KEY0 " " KEY1, NULL);
    fake_on_key(b.fake, KEY0, &limited);
    buf_printf(&text, "POST %s HTTP/1.1\r\nHost: gateway.test\r\n", b.api->target);
    if (chunked) {
        buf_puts(&text, "Transfer-Encoding: chunked\r\n\r\n");
        put_chunked(&text, body, size);
    } else {
        buf_printf(&text, "Content-Length: %zu\r\n\r\n", size);
        buf_append(&text, body, size);
    }
    http_connect(&client, b.daemon.port);
    ck_assert(http_send(&client, text.data, text.len));
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&client);
    expect_requests(&b, 2);
    for (unsigned i = 1; i <= 2; i++) {
        const struct message_head *head = &fake_request(b.fake, i)->head;

        ck_assert(fake_wait_complete(b.fake, i, 10000));
        ck_assert_msg(fake_body_is(b.fake, i, body, size), "attempt %u differs", i);
        ck_assert_uint_eq(message_count(head, "Content-Length") + message_count(head, "Transfer-Encoding"),
                          1);
        ck_assert_uint_eq(message_count(head, "X-Trailer"), 0);
    }
    bench_close(&b);
    buf_fini(&text);
    free(body);
}
END_TEST

/* The same through BYOK, where nothing is buffered. */
START_TEST(a_byok_body_passes)
{
    size_t size = SIZES[_i % SIZE_COUNT];
    bool chunked = _i / SIZE_COUNT % 2 != 0;
    char *body = random_body(size);
    struct buf text = {0};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i / SIZE_COUNT / 2], KEY0, NULL);
    buf_printf(&text, "POST %s HTTP/1.1\r\nHost: gateway.test\r\n%s", b.api->target, bench_auth(&b, OWN_KEY));
    if (chunked) {
        buf_puts(&text, "Transfer-Encoding: chunked\r\n\r\n");
        put_chunked(&text, body, size);
    } else {
        buf_printf(&text, "Content-Length: %zu\r\n\r\n", size);
        buf_append(&text, body, size);
    }
    http_connect(&client, b.daemon.port);
    ck_assert(http_send(&client, text.data, text.len));
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&client);
    expect_requests(&b, 1);
    ck_assert(fake_body_is(b.fake, 1, body, size));
    bench_close(&b);
    buf_fini(&text);
    free(body);
}
END_TEST

static const char *const TOO_LARGE[2] = {"request_too_large", NULL};
static const char *const TOO_LARGE_OPENAI[2] = {"invalid_request_error", "request_too_large"};

/* Over limits.request_body by Content-Length: 413 before anything is sent on, for pool and BYOK alike; just
 * as much as is allowed passes. */
START_TEST(too_large_by_content_length)
{
    char *body = random_body(MIB + 1);
    bool byok = _i / SUITE_API_COUNT != 0;
    struct http_request request = {.body = body, .body_len = MIB};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0, NULL);
    daemon_text(&b.daemon.limits, "request_body = 1M");
    daemon_start(&b.daemon);
    request.target = b.api->target;
    request.headers = byok ? bench_auth(&b, OWN_KEY) : NULL;
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, 1);
    ck_assert(fake_body_is(b.fake, 1, body, MIB));

    /* The head alone is enough. */
    http_connect(&client, b.daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %zu\r\n\r\n", b.api->target,
               byok ? bench_auth(&b, OWN_KEY) : "", MIB + 1);
    http_read(&client, &r);
    expect_error(&r, b.api, 413, "body_too_large", _i % SUITE_API_COUNT == 0 ? TOO_LARGE : TOO_LARGE_OPENAI,
                 "");
    http_response_fini(&r);
    http_close(&client);

    /* A client that sends it all the same sees the answer. */
    request.body_len = MIB + 1;
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 413);
    http_response_fini(&r);
    expect_requests(&b, 1);
    bench_close(&b);
    free(body);
}
END_TEST

/* Over the limit by growing: 413 and nothing upstream; BYOK is broken off at the limit. */
START_TEST(too_large_by_growing)
{
    char *body = random_body(3 * MIB);
    bool byok = _i / SUITE_API_COUNT != 0;
    struct buf text = {0};
    struct http_client client;
    struct http_response r;
    struct fake_progress progress;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0, NULL);
    daemon_text(&b.daemon.limits, "request_body = 1M");
    daemon_start(&b.daemon);
    buf_printf(&text, "POST %s HTTP/1.1\r\nHost: a\r\n%sTransfer-Encoding: chunked\r\n\r\n", b.api->target,
               byok ? bench_auth(&b, OWN_KEY) : "");
    put_chunked(&text, body, 3 * MIB);
    http_connect(&client, b.daemon.port);
    http_send(&client, text.data, text.len);
    http_read(&client, &r);
    if (byok) {
        ck_assert(r.status == 413 || r.status == 0);
        if (fake_requests(b.fake) > 0) {
            ck_assert(fake_wait_abandoned(b.fake, 1, 10000));
            ck_assert_int_eq(fake_progress(b.fake, 1, &progress), 0);
            ck_assert(!progress.complete);
            ck_assert_uint_le(progress.body_len, MIB);
        }
    } else {
        expect_error(&r, b.api, 413, "body_too_large", _i == 0 ? TOO_LARGE : TOO_LARGE_OPENAI, "");
        expect_requests(&b, 0);
    }
    http_response_fini(&r);
    http_close(&client);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
    buf_fini(&text);
    free(body);
}
END_TEST

/* Expect: 100-continue is answered by the daemon and does not travel. */
START_TEST(expect_100_continue)
{
    bool byok = _i / SUITE_API_COUNT != 0;
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\n%sExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
               b.api->target, byok ? bench_auth(&b, OWN_KEY) : "");
    /* Only the interim answer comes now. */
    ck_assert(!http_read_head(&client, &r, 1000));
    ck_assert(r.timed_out);
    ck_assert_msg(util_contains(r.interim.data, r.interim.len, "HTTP/1.1 100 "), "no 100 came");
    http_response_fini(&r);
    ck_assert(http_send(&client, "12345", 5));
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&client);
    expect_requests(&b, 1);
    ck_assert(fake_body_is(b.fake, 1, "12345", 5));
    ck_assert_uint_eq(message_count(&fake_request(b.fake, 1)->head, "Expect"), 0);
    bench_close(&b);
}
END_TEST

/* A body that is announced too large is refused before the client sends it. */
START_TEST(expect_with_too_much)
{
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i], KEY0, NULL);
    daemon_text(&b.daemon.limits, "request_body = 1M");
    daemon_start(&b.daemon);
    http_connect(&client, b.daemon.port);
    http_print(&client,
               "POST %s HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n",
               b.api->target);
    http_read(&client, &r);
    ck_assert_int_eq(r.status, 413);
    ck_assert_uint_eq(r.interim.len, 0);
    http_response_fini(&r);
    http_close(&client);
    expect_requests(&b, 0);
    bench_close(&b);
}
END_TEST

/* An upstream that answers while a large upload is under way: the client sees the answer. Whether the
 * upstream reads on or not, whether the client may stop in the middle or sends all. */
START_TEST(early_answers_are_seen)
{
    static const enum fake_reading readings[] = {FAKE_READ_AFTER, FAKE_READ_NEVER};
    bool byok = _i % 2 != 0;
    size_t size = 8 * MIB;
    char *body = random_body(size);
    struct fake_answer early = {.status = 400, .body = "early", .reading = readings[_i / 2]};
    struct http_request request = {.body = body, .body_len = size};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &early);
    request.target = b.api->target;
    request.headers = byok ? bench_auth(&b, OWN_KEY) : NULL;
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 400, "early");
    http_response_fini(&r);
    expect_requests(&b, 1);
    bench_close(&b);
    free(body);
}
END_TEST

/* A key refused before its upstream had the whole body: the next attempt carries all of it. */
START_TEST(early_refusal_and_next_key)
{
    static const enum fake_reading readings[] = {FAKE_READ_AFTER, FAKE_READ_NEVER};
    size_t size = 8 * MIB;
    char *body = random_body(size);
    struct fake_answer early = {.status = 401, .body = "no", .reading = readings[_i]};
    struct http_request request = {.body = body, .body_len = size};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    fake_on_key(b.fake, KEY0, &early);
    request.target = b.api->target;
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, 2);
    ck_assert(fake_body_is(b.fake, 2, body, size));
    daemon_expect_states(&b.daemon, b.api->name, "permanent valid");
    bench_close(&b);
    free(body);
}
END_TEST

struct progress_wait {
    struct fake *fake;
    size_t want;
};

static bool upstream_has(void *arg)
{
    const struct progress_wait *w = arg;
    struct fake_progress progress;

    return fake_progress(w->fake, 1, &progress) == 0 && progress.body_len >= w->want;
}

/* BYOK streams: the upstream sees the first bytes before the client has sent the last. */
START_TEST(byok_streams_through)
{
    bool chunked = _i / SUITE_API_COUNT != 0;
    struct progress_wait wait = {.want = 1000};
    char first[1000];
    struct http_client client;
    struct http_response r;
    struct bench b;

    memset(first, 'f', sizeof(first));
    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0, NULL);
    wait.fake = b.fake;
    http_connect(&client, b.daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\n%s%s\r\n", b.api->target, bench_auth(&b, OWN_KEY),
               chunked ? "Transfer-Encoding: chunked\r\n" : "Content-Length: 1004\r\n");
    if (chunked)
        http_print(&client, "%x\r\n", 1000);
    http_send(&client, first, sizeof(first));
    ck_assert_msg(util_wait(upstream_has, &wait, 10000), "the first bytes did not go on");
    http_print(&client, chunked ? "\r\n4\r\nlast\r\n0\r\n\r\n" : "last");
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&client);
    wait.want = 1004;
    ck_assert(upstream_has(&wait));
    bench_close(&b);
}
END_TEST

/* A client that leaves in the middle of its body: BYOK's upstream request ends too, the pool's never begins.
 */
START_TEST(client_leaves_while_sending)
{
    bool byok = _i != 0;
    struct progress_wait wait = {.want = 4};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    wait.fake = b.fake;
    http_connect(&client, b.daemon.port);
    http_print(&client, "POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: 100\r\n\r\nhalf", b.api->target,
               byok ? bench_auth(&b, OWN_KEY) : "");
    if (byok)
        ck_assert(util_wait(upstream_has, &wait, 10000));
    http_close(&client);
    if (byok)
        ck_assert(fake_wait_abandoned(b.fake, 1, 5000));
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, byok ? 2 : 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("body");
    TCase *tc = suite_case(s, "body", 90);

    tcase_add_loop_test(tc, a_replayed_body_is_the_same, 0, SIZE_COUNT * 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_byok_body_passes, 0, SIZE_COUNT * 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, too_large_by_content_length, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, too_large_by_growing, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, expect_100_continue, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, expect_with_too_much, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, early_answers_are_seen, 0, 4);
    tcase_add_loop_test(tc, early_refusal_and_next_key, 0, 2);
    tcase_add_loop_test(tc, byok_streams_through, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, client_leaves_while_sending, 0, 2);
    return suite_run(s);
}
