/*
 * test_faults: what an upstream can do wrong before its answer: 502 or 504, said so, no key marked, no other
 * key tried, and no request sent twice.
 */
#include "e2e/cert.h"
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char TIMEOUTS[] =
    "    connect_timeout = 400ms\n    header_timeout = 600ms\n    idle_timeout = 600ms";

static void expect_502(struct bench *b, const struct http_response *r)
{
    expect_error(r, b->api, 502, "upstream_error", b->api->error_api, "upstream proxy error");
    ck_assert_ptr_null(http_get(r, "Retry-After"));
}

static void expect_504(struct bench *b, const struct http_response *r)
{
    ck_assert_msg(r->status == 504, "status %d, not 504: %s", r->status, http_body(r));
    expect_error(r, b->api, 504, "upstream_timeout", b->api->error_timeout, "");
}

/* Nobody listens there: 502, for the pool and for BYOK. */
START_TEST(refused_connection)
{
    bool byok = _i / SUITE_API_COUNT != 0;
    char url[64];
    int fd;
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i % SUITE_API_COUNT], NULL, NULL);
    daemon_forget_providers(&b.daemon);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", util_refusing_port(&fd));
    daemon_provider(&b.daemon, b.api->name, url, KEY0 " " KEY1, TIMEOUTS);
    daemon_start(&b.daemon);
    bench_post(&b, byok ? bench_auth(&b, OWN_KEY) : NULL, &r);
    expect_502(&b, &r);
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
    close(fd);
}
END_TEST

/* A connection that is never accepted: 504 after connect_timeout. */
START_TEST(connection_that_hangs)
{
    char url[64];
    int fds[UTIL_FULL_FDS];
    int64_t begin;
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i], NULL, NULL);
    daemon_forget_providers(&b.daemon);
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", util_full_port(fds));
    daemon_provider(&b.daemon, b.api->name, url, KEY0 " " KEY1, TIMEOUTS);
    daemon_start(&b.daemon);
    begin = util_now_us();
    bench_post(&b, NULL, &r);
    expect_504(&b, &r);
    ck_assert_int_ge(util_now_us() - begin, 350000);
    ck_assert_int_lt(util_now_us() - begin, 5000000);
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
    for (int i = 0; i < UTIL_FULL_FDS; i++)
        close(fds[i]);
}
END_TEST

/* A name that does not resolve (RFC 6761 section 6.4). */
START_TEST(unknown_host)
{
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i], NULL, NULL);
    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, b.api->name, "https://nowhere.invalid", KEY0, "    connect_timeout = 10s");
    daemon_start(&b.daemon);
    bench_post(&b, NULL, &r);
    ck_assert(r.status == 502 || r.status == 504);
    ck_assert_ptr_nonnull(http_get(&r, "X-Claviger-Error"));
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

/* A request that was read and not answered: 504 after header_timeout, asked once. */
START_TEST(no_answer)
{
    bool byok = _i / SUITE_API_COUNT != 0;
    struct fake_answer hang = {.action = FAKE_HANG};
    int64_t begin;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, TIMEOUTS);
    fake_on_any(b.fake, &hang);
    begin = util_now_us();
    bench_post(&b, byok ? bench_auth(&b, OWN_KEY) : NULL, &r);
    expect_504(&b, &r);
    ck_assert_int_ge(util_now_us() - begin, 550000);
    ck_assert_int_lt(util_now_us() - begin, 5000000);
    http_response_fini(&r);
    ck_assert(fake_wait_abandoned(b.fake, 1, 5000));
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* header_timeout counts from the request's last byte: a slow answer within it passes. */
START_TEST(a_slow_answer_within_the_timeout)
{
    struct fake_answer slow = {.delay_ms = 600, .body = "late"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0,
               "    header_timeout = 5s\n    connect_timeout = 200ms\n"
               "    idle_timeout = 300ms");
    fake_on_any(b.fake, &slow);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "late");
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

static const char *const RAW[] = {
    "",
    "\r\n\r\n",
    "rubbish\r\n\r\n",
    "rubbish",
    "HTTP/1.1\r\n\r\n",
    "HTTP/1.1 \r\n\r\n",
    "HTTP/1.1 abc OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 99 Low\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 2000 High\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "ICY 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\nok",
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nok",
    "HTTP/1.1 103 Early Hints\r\n\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 200 OK\r\nBad Name: 1\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\n: 1\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 2\r\n\r\nok",
    "<html>not http</html>\r\n\r\n",
    "SSH-2.0-OpenSSH_9.2\r\n",
};
#define RAW_COUNT ((int)(sizeof(RAW) / sizeof(RAW[0])))

/* A head that is none: 502. */
START_TEST(malformed_heads)
{
    const char *raw = RAW[_i / SUITE_API_COUNT];
    struct fake_answer a = {.action = raw[0] != '\0' ? FAKE_RAW : FAKE_CLOSE, .body = raw};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, TIMEOUTS);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    ck_assert_msg(r.status == 502, "status %d for the head: %s", r.status, raw);
    expect_502(&b, &r);
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* A body whose framing is broken from the start never looks like a whole answer. */
START_TEST(malformed_bodies)
{
    static const char *const raw[] = {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    };
    struct fake_answer a = {.action = FAKE_RAW, .body = raw[_i]};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, TIMEOUTS);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    ck_assert_msg(r.status == 502 || !r.clean, "a broken body looks whole: %s", raw[_i]);
    ck_assert(!r.timed_out);
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* Reset or closed before a byte of the answer: 502, and the request is not sent again. */
START_TEST(ended_before_the_answer)
{
    struct fake_answer a = {.action = _i % 2 == 0 ? FAKE_RESET : FAKE_CLOSE};
    bool byok = _i / 2 % 2 != 0;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i / 4], KEY0 " " KEY1, TIMEOUTS);
    fake_on_any(b.fake, &a);
    bench_post(&b, byok ? bench_auth(&b, OWN_KEY) : NULL, &r);
    expect_502(&b, &r);
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* A kept connection that dies under its second request: whatever the method, that request is not sent twice.
 */
START_TEST(a_reused_connection_that_dies)
{
    static const char *const methods[] = {"POST", "DELETE", "GET", "PUT"};
    static const char *const bodies[] = {"{}", NULL, NULL, "{}"};
    struct fake_answer a = {.action = _i / 4 % 2 == 0 ? FAKE_RESET : FAKE_CLOSE};
    bool byok = _i / 8 != 0;
    struct http_request request = {.method = methods[_i % 4],
                                   .target = "/anthropic/v1/x",
                                   .body = bodies[_i % 4]};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, TIMEOUTS);
    fake_on_number(b.fake, 2, &a);
    request.headers = byok ? bench_auth(&b, OWN_KEY) : NULL;
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_fetch(b.daemon.port, &request, &r);
    expect_502(&b, &r);
    http_response_fini(&r);
    expect_requests(&b, 2);
    ck_assert_uint_eq(fake_request(b.fake, 2)->connection, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* A kept connection that the upstream closed while it was idle: never more than one request arrives for each.
 */
START_TEST(a_kept_connection_that_was_closed)
{
    struct fake_answer a = {.body = "ok", .close = true};
    struct http_response r;
    struct bench b;
    unsigned answered = 0;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1, TIMEOUTS);
    fake_on_any(b.fake, &a);
    for (int i = 0; i < 20; i++) {
        bench_post(&b, NULL, &r);
        if (r.status == 200)
            answered++;
        else
            expect_502(&b, &r);
        http_response_fini(&r);
    }
    ck_assert_uint_ge(answered, 10);
    ck_assert_uint_le(fake_requests(b.fake), 20);
    ck_assert_uint_ge(fake_requests(b.fake), answered);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* A head without end is given up, in bounded memory. */
START_TEST(oversized_heads)
{
    size_t size = _i == 0 ? 8 * 1024 * 1024 : 2 * 1024 * 1024;
    struct buf head = {0};
    struct fake_answer a = {.action = FAKE_RAW};
    struct http_response r;
    struct bench b;
    unsigned n = 0;

    buf_puts(&head, "HTTP/1.1 200 OK\r\n");
    if (_i == 0) {
        buf_puts(&head, "X-Large: ");
        while (head.len < size)
            buf_puts(&head, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    } else {
        while (head.len < size)
            buf_printf(&head, "X-Many-%u: some value that is of no great length\r\n", n++);
    }
    buf_puts(&head, "\r\nContent-Length: 2\r\n\r\nok");
    a.body = head.data;
    a.body_len = head.len;
    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, TIMEOUTS);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    expect_502(&b, &r);
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
    buf_fini(&head);
}
END_TEST

/* 1xx before the answer is not the answer. */
START_TEST(interim_answers)
{
    static const char *const interims[] = {
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 P\r\nX-Interim: 1\r\n\r\nHTTP/1.1 103 H\r\n\r\n",
    };
    struct fake_answer limited = {.status = 429, .interim = interims[_i / SUITE_API_COUNT], .body = "slow"};
    struct fake_answer fine = {.interim = interims[_i / SUITE_API_COUNT],
                               .headers = "X-Final: 1\r\n",
                               .body = "fine"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, TIMEOUTS);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_any(b.fake, &fine);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "fine");
    ck_assert_str_eq(http_get(&r, "X-Final"), "1");
    ck_assert_ptr_null(http_get(&r, "Link"));
    ck_assert_ptr_null(http_get(&r, "X-Interim"));
    http_response_fini(&r);
    expect_requests(&b, 2);
    daemon_expect_states(&b.daemon, b.api->name, "temporary valid");
    bench_close(&b);
}
END_TEST

/* Trailers of a chunked answer do not become fields of its head. */
START_TEST(trailers)
{
    struct fake_answer a = {.action = FAKE_RAW,
                            .body = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
                                    "X-Late: 1\r\nX-Claviger-Error: forged\r\n\r\n"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, TIMEOUTS);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    ck_assert_ptr_null(http_get(&r, "X-Late"));
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* A refused attempt's endless body is given up after 64K; the next key is tried. */
START_TEST(endless_refusal)
{
    struct fake_answer refused = {.status = _i / SUITE_API_COUNT == 0 ? 429 : 401,
                                  .framing = FAKE_CHUNKED,
                                  .endless = true};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, TIMEOUTS);
    fake_on_key(b.fake, KEY0, &refused);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    ck_assert(fake_wait_abandoned(b.fake, 1, 10000));
    expect_requests(&b, 2);
    bench_close(&b);
}
END_TEST

/* A refusal whose body breaks off or stalls is a refusal all the same. */
START_TEST(cut_refusals)
{
    static const enum fake_cut cuts[] = {FAKE_CUT_FIN, FAKE_CUT_RST, FAKE_CUT_STALL};
    struct fake_answer refused = {.status = 401,
                                  .body = "a body that is cut",
                                  .cut = cuts[_i],
                                  .cut_after = 5};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, TIMEOUTS);
    fake_on_key(b.fake, KEY0, &refused);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, 2);
    daemon_expect_states(&b.daemon, b.api->name, "permanent valid");
    bench_close(&b);
}
END_TEST

/* Certificates are always verified; ca_file replaces the system's authorities. */
START_TEST(tls_upstreams)
{
    static const struct {
        const char *alt_name;
        int days;
        bool ca_file;
        int status;
    } cases[] = {
        {"IP:127.0.0.1", 30, true, 200},
        {"IP:127.0.0.1", 30, false, 502},
        {"DNS:other.test", 30, true, 502},
        {"IP:127.0.0.1", -1, true, 502},
    };
    const struct suite_api *api = &SUITE_APIS[_i % SUITE_API_COUNT];
    int which = _i / SUITE_API_COUNT;
    struct fake_options options = {0};
    char certificate[160];
    char key[160];
    char more[512];
    struct http_response r;
    struct bench b = {.api = api};

    daemon_init(&b.daemon);
    snprintf(certificate, sizeof(certificate), "%s/cert.pem", b.daemon.dir);
    snprintf(key, sizeof(key), "%s/cert.key", b.daemon.dir);
    cert_make(cases[which].alt_name, cases[which].days, certificate, key);
    options.certificate = certificate;
    options.private_key = key;
    b.fake = fake_start(&options);
    ck_assert_ptr_nonnull(b.fake);
    snprintf(more, sizeof(more), "    ca_file = \"%s\"", cases[which].ca_file ? certificate : "");
    daemon_provider(&b.daemon, api->name, fake_url(b.fake), KEY0 " " KEY1, more);
    daemon_start(&b.daemon);
    for (int i = 0; i < 2; i++) {
        bench_post(&b, NULL, &r);
        if (cases[which].status == 200)
            expect_answer(&r, 200, "ok");
        else
            expect_502(&b, &r);
        http_response_fini(&r);
    }
    expect_requests(&b, cases[which].status == 200 ? 2 : 0);
    if (cases[which].status == 200)
        ck_assert_uint_eq(fake_connections(b.fake), 1);
    daemon_expect_states(&b.daemon, api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* An upstream that does not speak TLS where TLS is expected. */
START_TEST(no_tls)
{
    char url[64];
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i], NULL, NULL);
    daemon_forget_providers(&b.daemon);
    snprintf(url, sizeof(url), "https://127.0.0.1:%u", fake_port(b.fake));
    daemon_provider(&b.daemon, b.api->name, url, KEY0, TIMEOUTS);
    daemon_start(&b.daemon);
    bench_post(&b, NULL, &r);
    ck_assert(r.status == 502 || r.status == 504);
    ck_assert_ptr_nonnull(http_get(&r, "X-Claviger-Error"));
    http_response_fini(&r);
    expect_requests(&b, 0);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("faults");
    TCase *tc = suite_case(s, "faults", 60);

    tcase_add_loop_test(tc, refused_connection, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, connection_that_hangs, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, unknown_host, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, no_answer, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_slow_answer_within_the_timeout, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, malformed_heads, 0, RAW_COUNT * SUITE_API_COUNT);
    tcase_add_loop_test(tc, malformed_bodies, 0, 7);
    tcase_add_loop_test(tc, ended_before_the_answer, 0, 4 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_reused_connection_that_dies, 0, 16);
    tcase_add_loop_test(tc, a_kept_connection_that_was_closed, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, oversized_heads, 0, 2);
    tcase_add_loop_test(tc, interim_answers, 0, 3 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, trailers, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, endless_refusal, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, cut_refusals, 0, 3);
    tcase_add_loop_test(tc, tls_upstreams, 0, 4 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, no_tls, 0, SUITE_API_COUNT);
    return suite_run(s);
}
