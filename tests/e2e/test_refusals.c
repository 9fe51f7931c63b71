/*
 * test_refusals: requests that the daemon refuses itself. None of them, nor anything behind them on the same
 * connection, may reach an upstream.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SMUGGLED "GET /anthropic/smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
#define PLAIN    "GET /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"

/* Two parsers could read these differently: 400, and the connection ends. */
static const char *const AMBIGUOUS[] = {
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: "
    "chunked\r\n\r\n0\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: "
    "4\r\n\r\n0\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 4\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: +2\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: -2\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0x2\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2, 2\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: 2 2\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n{}",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
    "chunked\r\n\r\n0\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Space : 1\r\n\r\n",
    "POST /anthropic/x HTTP/1.1\r\nHost: a\r\nContent-Length : 2\r\n\r\n{}",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Fold: 1\r\n more\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Fold: 1\r\n\tmore\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\n X-First: 1\r\nHost: a\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Api-: secret\r\n Key\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Cr: a\rb\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\n: v\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX(Y): 1\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX\"Y: 1\r\n\r\n",
    "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nno-colon\r\n\r\n",
    "GET anthropic/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://gateway.test/anthropic/x HTTP/1.1\r\nHost: a\r\n\r\n",
    "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
};

START_TEST(ambiguous_requests)
{
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_send(&client, AMBIGUOUS[_i], strlen(AMBIGUOUS[_i]));
    http_send(&client, SMUGGLED, strlen(SMUGGLED));
    http_read(&client, &r);
    ck_assert_msg(r.status == 400 || (r.status == 413 && strstr(AMBIGUOUS[_i], "9999") != NULL),
                  "status %d for %s", r.status, AMBIGUOUS[_i]);
    http_response_fini(&r);
    ck_assert_msg(http_wait_end(&client, 10000), "the connection goes on after %s", AMBIGUOUS[_i]);
    ck_assert(!util_contains(client.in.data, client.in.len, "HTTP/1.1 200"));
    http_close(&client);
    expect_requests(&b, 0);
    /* The daemon is well. */
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, 1);
    bench_close(&b);
}
END_TEST

/* Bytes that C strings hide: a NUL in a field, a lone LF as line end. */
START_TEST(hidden_bytes)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
#define BYTES(text) {text, sizeof(text) - 1}
        BYTES("GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Nul: a\0b\r\n\r\n"),
        BYTES("GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-N\0ul: a\r\n\r\n"),
        BYTES("GET /anthropic/x\0y HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /anthropic/x HTTP/1.1\nHost: a\n\n"),
        BYTES("GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-A: 1\nX-B: 2\r\n\r\n"),
        BYTES("GET /anthropic/x\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
        BYTES("GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Ctl: a\x01z\r\n\r\n"),
#undef BYTES
    };
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_send(&client, cases[_i].bytes, cases[_i].len);
    http_send(&client, SMUGGLED, strlen(SMUGGLED));
    http_read(&client, &r);
    ck_assert_int_eq(r.status, 400);
    http_response_fini(&r);
    ck_assert(http_wait_end(&client, 10000));
    ck_assert(!util_contains(client.in.data, client.in.len, "HTTP/1.1 200"));
    http_close(&client);
    expect_requests(&b, 0);
    bench_close(&b);
}
END_TEST

/* Paths that could leave the route, and control bytes. */
START_TEST(unsafe_paths)
{
    static const char *const targets[] = {
        "/anthropic/../x",      "/anthropic/..",        "/anthropic/./x",        "/anthropic/%2e%2E/x",
        "/anthropic/.%2e/x",    "/anthropic/..%2fx",    "/anthropic/a%2f..%2fb", "/anthropic/..%5cx",
        "/anthropic/%2e",       "/anthropic/a%00b",     "/anthropic/a%0d%0ab",   "/anthropic/a%7fb",
        "/anthropic/v1/../../", "/x/../anthropic/v1/a",
    };
    struct http_request request = {.target = targets[_i], .body = "{}"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_msg(r.status == 400, "status %d for %s", r.status, targets[_i]);
    ck_assert_str_eq(http_get(&r, "X-Claviger-Error"), "bad_request");
    http_response_fini(&r);
    expect_requests(&b, 0);
    bench_close(&b);
}
END_TEST

START_TEST(refused_methods)
{
    static const char *const requests[] = {
        "TRACE /anthropic/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT /anthropic/x HTTP/1.1\r\nHost: a\r\n\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n",
    };
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_send(&client, requests[_i], strlen(requests[_i]));
    http_read(&client, &r);
    ck_assert_int_eq(r.status, 405);
    ck_assert_str_eq(http_get(&r, "X-Claviger-Error"), "method_not_allowed");
    http_response_fini(&r);
    http_close(&client);
    expect_requests(&b, 0);
    bench_close(&b);
}
END_TEST

/* A websocket is not supported; any other offer is ignored and the request served. */
START_TEST(upgrades)
{
    static const struct {
        const char *value;
        int status;
    } cases[] = {
        {"websocket", 501}, {"WebSocket", 501}, {"h2c, websocket", 501}, {"h2c", 200}, {"foo/2", 200}};
    char headers[256];
    struct http_request request = {.method = "GET", .target = "/anthropic/v1/x", .headers = headers};
    struct http_response r;
    struct bench b;

    snprintf(headers, sizeof(headers),
             "Connection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
             cases[_i].value);
    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, cases[_i].status);
    if (cases[_i].status == 501) {
        expect_error(&r, b.api, 501, "not_supported",
                     (const char *const[2]){"invalid_request_error", "not_supported"}, "");
        expect_requests(&b, 0);
    } else {
        expect_requests(&b, 1);
        ck_assert_uint_eq(message_count(&fake_request(b.fake, 1)->head, "Upgrade"), 0);
    }
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* Errors without a provider have the openai shape. */
START_TEST(no_route_is_json)
{
    struct http_request request = {.target = "/nowhere", .body = "{}"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_fetch(b.daemon.port, &request, &r);
    expect_error(&r, NULL, 404, "no_route", (const char *const[2]){"invalid_request_error", "not_found"}, "");
    http_response_fini(&r);
    expect_requests(&b, 0);
    bench_close(&b);
}
END_TEST

/* HTTP/1.0 may come without Host, and its connection ends with the answer. */
START_TEST(http_1_0)
{
    static const char request[] = "GET /anthropic/x HTTP/1.0\r\n\r\n";
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_send(&client, request, strlen(request));
    http_read(&client, &r);
    ck_assert_int_eq(strncmp(r.head.line, "HTTP/1.", 7), 0);
    ck_assert_str_eq(http_body(&r), "ok");
    ck_assert(r.clean);
    http_response_fini(&r);
    http_close(&client);
    expect_requests(&b, 1);
    ck_assert_uint_eq(message_count(&fake_request(b.fake, 1)->head, "X-Forwarded-Host"), 0);
    bench_close(&b);
}
END_TEST

/* A head over limits.header_size: 431. */
START_TEST(a_head_that_is_too_large)
{
    char *headers = malloc(40000);
    struct http_request request = {.target = "/anthropic/x", .headers = headers, .body = "{}"};
    struct http_response r;
    struct bench b;

    ck_assert_ptr_nonnull(headers);
    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    memset(headers, 'a', 40000);
    memcpy(headers, "X-Large: ", 9);
    memcpy(headers + 39990, "\r\n", 3);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 431);
    http_response_fini(&r);
    expect_requests(&b, 0);
    /* One of 8,000 bytes is fine. */
    memcpy(headers + 8000, "\r\n", 3);
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    bench_close(&b);
    free(headers);
}
END_TEST

/* A head must be whole within head_timeout, however slowly it trickles. */
struct trickle {
    struct http_client client;
    size_t sent;
    int64_t last_us;
};

static bool trickled_to_death(void *arg)
{
    struct trickle *t = arg;

    if (util_now_us() - t->last_us > 100000) {
        t->last_us = util_now_us();
        if (!http_send(&t->client, "x", 1))
            return true;
    }
    return http_wait_end(&t->client, 0);
}

START_TEST(a_head_that_trickles)
{
    static const char start[] = "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nX-Slow: ";
    struct trickle t = {.last_us = 0};
    struct http_response r;
    struct bench b;
    int64_t begin;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, "head_timeout = 1s");
    daemon_start(&b.daemon);
    http_connect(&t.client, b.daemon.port);
    begin = util_now_us();
    http_send(&t.client, start, strlen(start));
    ck_assert(util_wait(trickled_to_death, &t, 10000));
    ck_assert_int_ge(util_now_us() - begin, 900000);
    http_close(&t.client);
    expect_requests(&b, 0);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* Beyond limits.connections new ones wait or get 503; the admin listener still answers. */
START_TEST(too_many_connections)
{
    struct http_request ready = {.method = "GET", .target = "/readyz"};
    struct http_client held[4];
    struct http_client extra;
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, "connections = 4");
    daemon_start(&b.daemon);
    for (int i = 0; i < 4; i++) {
        http_connect(&held[i], b.daemon.port);
        http_send(&held[i], PLAIN, strlen(PLAIN));
        http_read(&held[i], &r);
        expect_answer(&r, 200, "ok");
        http_response_fini(&r);
    }
    http_connect_plain(&extra, b.daemon.port); /* over TLS its handshake would wait */
    http_send(&extra, PLAIN, strlen(PLAIN));
    if (http_read_head(&extra, &r, 500))
        ck_assert_int_eq(r.status, 503);
    http_response_fini(&r);
    http_fetch(b.daemon.admin_port, &ready, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    http_close(&extra);
    for (int i = 0; i < 4; i++)
        http_close(&held[i]);
    http_connect(&extra, b.daemon.port);
    http_send(&extra, PLAIN, strlen(PLAIN));
    http_read(&extra, &r);
    ck_assert(r.status == 200 || r.status == 503);
    http_response_fini(&r);
    http_close(&extra);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("refusals");
    TCase *tc = suite_case(s, "refusals", 60);

    tcase_add_loop_test(tc, ambiguous_requests, 0, (int)(sizeof(AMBIGUOUS) / sizeof(AMBIGUOUS[0])));
    tcase_add_loop_test(tc, hidden_bytes, 0, 7);
    tcase_add_loop_test(tc, unsafe_paths, 0, 14);
    tcase_add_loop_test(tc, refused_methods, 0, 3);
    tcase_add_loop_test(tc, upgrades, 0, 5);
    tcase_add_test(tc, no_route_is_json);
    tcase_add_test(tc, http_1_0);
    tcase_add_test(tc, a_head_that_is_too_large);
    tcase_add_test(tc, a_head_that_trickles);
    tcase_add_test(tc, too_many_connections);
    return suite_run(s);
}
