/*
 * test_headers: what the upstream sees of a request's head and what the client sees of a response's.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Sends one raw request on a new connection and reads the answer. */
static void exchange(struct bench *b, const char *raw, struct http_response *r)
{
    struct http_client client;

    http_connect(&client, b->daemon.port);
    client.head_only = strncmp(raw, "HEAD ", 5) == 0;
    ck_assert(http_send(&client, raw, strlen(raw)));
    http_read(&client, r);
    http_close(&client);
}

/* Names in any case, values exactly. */
static void expect_fields(const struct message_head *head, const char *expected)
{
    char *seen = message_sorted(head);

    ck_assert_msg(strcasecmp(seen, expected) == 0, "the upstream saw\n%sand not\n%s", seen, expected);
    free(seen);
}

/* The whole set: nothing that was not asked for (Accept, Expect, Content-Type, Via) is added. */
START_TEST(the_whole_set_of_fields)
{
    static const struct {
        const char *request; /* to the anthropic provider */
        const char *fields;  /* %u: the upstream's port */
    } cases[] = {
        {"POST /anthropic/v1/messages HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: own/1.0\r\n"
         "Accept-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
         "Accept-Encoding: identity\nContent-Length: 2\nHost: 127.0.0.1:%u\nUser-Agent: own/1.0\n"
         "X-Api-Key: " KEY0 "\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: gateway.test\n"
         "X-Forwarded-Proto: " SUITE_SCHEME "\n"},
        {"GET /anthropic/v1/models HTTP/1.1\r\nHost: gateway.test:8080\r\n\r\n",
         "Accept-Encoding: gzip\nHost: 127.0.0.1:%u\nUser-Agent: aibridge\nX-Api-Key: " KEY0
         "\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: gateway.test:8080\nX-Forwarded-Proto: " SUITE_SCHEME
         "\n"},
        {"GET /anthropic/v1/models HTTP/1.1\r\nHost: gateway.test\r\nX-Api-Key: " OWN_KEY "\r\n\r\n",
         "Accept-Encoding: gzip\nHost: 127.0.0.1:%u\nUser-Agent: aibridge\nX-Api-Key: " OWN_KEY
         "\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: gateway.test\nX-Forwarded-Proto: " SUITE_SCHEME
         "\n"},
        {"HEAD /anthropic/v1/models HTTP/1.1\r\nHost: gateway.test\r\n\r\n",
         "Host: 127.0.0.1:%u\nUser-Agent: aibridge\nX-Api-Key: " KEY0
         "\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: gateway.test\nX-Forwarded-Proto: " SUITE_SCHEME
         "\n"},
        {"GET /anthropic/v1/files HTTP/1.1\r\nHost: gateway.test\r\nRange: bytes=0-9\r\n\r\n",
         "Host: 127.0.0.1:%u\nRange: bytes=0-9\nUser-Agent: aibridge\nX-Api-Key: " KEY0
         "\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: gateway.test\nX-Forwarded-Proto: " SUITE_SCHEME
         "\n"},
        {"DELETE /anthropic/v1/files/1 HTTP/1.1\r\nHost: gateway.test\r\nAccept: a/b\r\nVia: 1.1 before\r\n"
         "X-Empty:\r\nX-Twice: 2\r\nX-Twice: 1\r\nCookie: c=d\r\n\r\n",
         "Accept: a/b\nAccept-Encoding: gzip\nCookie: c=d\nHost: 127.0.0.1:%u\nUser-Agent: aibridge\n"
         "Via: 1.1 before\nX-Api-Key: " KEY0 "\nX-Empty: \nX-Forwarded-For: 127.0.0.1\n"
         "X-Forwarded-Host: gateway.test\nX-Forwarded-Proto: " SUITE_SCHEME "\nX-Twice: 1\nX-Twice: 2\n"},
        /* Hop-by-hop fields, what Connection names, and what only the daemon may say. */
        {"POST /anthropic/v1/messages HTTP/1.1\r\nHost: gateway.test\r\nUser-Agent: own/1.0\r\n"
         "Accept-Encoding: identity\r\nX-Forwarded-For: 2.2.2.2\r\nX-Forwarded-For: 3.3.3.3\r\n"
         "X-Forwarded-Host: evil.test\r\nX-Forwarded-Proto: https\r\nForwarded: for=9.9.9.9\r\n"
         "Connection: keep-alive, X-Named, upgrade\r\nX-Named: gone\r\nKeep-Alive: timeout=9\r\nTE: "
         "trailers\r\n"
         "Trailer: X-Later\r\nUpgrade: h2c\r\nProxy-Authorization: Basic eA==\r\nProxy-Authenticate: "
         "Basic\r\n"
         "Proxy-Connection: keep-alive\r\nanthropic-version: 2023-06-01\r\nContent-Type: application/json\r\n"
         "Content-Length: 2\r\n\r\n{}",
         "Accept-Encoding: identity\nanthropic-version: 2023-06-01\nContent-Length: 2\n"
         "Content-Type: application/json\nHost: 127.0.0.1:%u\nUser-Agent: own/1.0\nX-Api-Key: " KEY0
         "\nX-Forwarded-For: 2.2.2.2, 3.3.3.3, 127.0.0.1\nX-Forwarded-Host: gateway.test\n"
         "X-Forwarded-Proto: " SUITE_SCHEME "\n"},
        {"POST /anthropic/v1/messages HTTP/1.1\r\nHost: gateway.test\r\nAccept-Encoding: br\r\n"
         "X-Forwarded-For: 2.2.2.2, 3.3.3.3\r\nConnection: X-Forwarded-For, User-Agent, X-Api-Key, Host\r\n"
         "User-Agent: own/2\r\nContent-Length: 2\r\n\r\n{}",
         "Accept-Encoding: br\nContent-Length: 2\nHost: 127.0.0.1:%u\nUser-Agent: own/2\nX-Api-Key: " KEY0
         "\nX-Forwarded-For: 2.2.2.2, 3.3.3.3, 127.0.0.1\nX-Forwarded-Host: gateway.test\n"
         "X-Forwarded-Proto: " SUITE_SCHEME "\n"},
    };
    struct http_response r;
    struct bench b;
    struct buf expected = {0};
    const char *mark = strstr(cases[_i].fields, "%u");

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    exchange(&b, cases[_i].request, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    expect_requests(&b, 1);
    buf_printf(&expected, "%.*s%u%s", (int)(mark - cases[_i].fields), cases[_i].fields, fake_port(b.fake),
               mark + 2);
    expect_fields(&fake_request(b.fake, 1)->head, expected.data);
    buf_fini(&expected);
    bench_close(&b);
}
END_TEST

/* The same for openai, after a failover too. */
START_TEST(the_whole_set_after_a_failover)
{
    struct fake_answer limited = {.status = 429};
    struct http_response r;
    struct bench b;
    struct buf expected = {0};

    bench_open(&b, &SUITE_APIS[1], KEY0 " " KEY1, NULL);
    fake_on_key(b.fake, KEY0, &limited);
    exchange(&b,
             "POST /openai/v1/responses HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer claviger\r\n"
             "Accept-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}",
             &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    expect_requests(&b, 2);
    for (unsigned i = 1; i <= 2; i++) {
        buf_clear(&expected);
        buf_printf(
            &expected,
            "Accept-Encoding: identity\nAuthorization: Bearer %s\nContent-Length: 2\nHost: 127.0.0.1:%u\n"
            "User-Agent: aibridge\nX-Forwarded-For: 127.0.0.1\nX-Forwarded-Host: gateway.test\n"
            "X-Forwarded-Proto: " SUITE_SCHEME "\n",
            i == 1 ? KEY0 : KEY1, fake_port(b.fake));
        expect_fields(&fake_request(b.fake, i)->head, expected.data);
    }
    buf_fini(&expected);
    bench_close(&b);
}
END_TEST

/* The client's fields keep their order. */
START_TEST(order_is_kept)
{
    static const char *const names[] = {"Zeta", "Alpha", "Mid", "Alpha", "Beta"};
    struct http_response r;
    struct bench b;
    size_t next = 0;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    bench_post(&b, "Zeta: 1\r\nAlpha: 2\r\nMid: 3\r\nAlpha: 4\r\nBeta: 5\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    for (size_t i = 0; i < fake_request(b.fake, 1)->head.count && next < 5; i++) {
        const struct message_field *field = &fake_request(b.fake, 1)->head.fields[i];

        if (strcmp(field->name, names[next]) == 0 && field->value[0] == (char)('1' + next))
            next++;
    }
    ck_assert_uint_eq(next, 5);
    bench_close(&b);
}
END_TEST

/* user_agent is what a client gets that sends none. */
START_TEST(user_agent_option)
{
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.top, "user_agent = \"other/3\"");
    daemon_start(&b.daemon);
    bench_post(&b, NULL, &r);
    http_response_fini(&r);
    bench_post(&b, "User-Agent: mine\r\n", &r);
    http_response_fini(&r);
    ck_assert_str_eq(message_get(&fake_request(b.fake, 1)->head, "User-Agent"), "other/3");
    ck_assert_str_eq(message_get(&fake_request(b.fake, 2)->head, "User-Agent"), "mine");
    bench_close(&b);
}
END_TEST

/* A peer without an address: the chain is dropped whole. */
START_TEST(unix_socket_peer)
{
    struct http_request request = {.headers = "X-Forwarded-For: 2.2.2.2\r\n", .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;
    const struct message_head *head;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    request.target = b.api->target;
    http_connect_unix(&client, b.daemon.unix_path);
    http_write_request(&client, &request);
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&client);
    head = &fake_request(b.fake, 1)->head;
    ck_assert_uint_eq(message_count(head, "X-Forwarded-For"), 0);
    ck_assert_str_eq(message_get(head, "X-Forwarded-Host"), "gateway.test");
    ck_assert_str_eq(message_get(head, "X-Forwarded-Proto"), "http"); /* never TLS */
    bench_close(&b);
}
END_TEST

/* Fields that each hop sets for itself. */
static bool is_framing(const char *name)
{
    return strcasecmp(name, "Connection") == 0 || strcasecmp(name, "Keep-Alive") == 0 ||
           strcasecmp(name, "Content-Length") == 0 || strcasecmp(name, "Transfer-Encoding") == 0;
}

/* Response fields pass, several of one name and empty ones too, less the hop-by-hop ones; the daemon's own
 * error field never comes from a provider. */
START_TEST(response_fields)
{
    static const char *const expected[] = {
        "Date: Sun, 06 Nov 1994 08:49:37 GMT",
        "Server: upstream/1",
        "Set-Cookie: a=1; Path=/",
        "Set-Cookie: b=2; Path=/",
        "X-Empty: ",
        "Request-Id: req_1",
        "Content-Type: application/json",
        "WWW-Authenticate: Bearer",
    };
    static const size_t expected_count = sizeof(expected) / sizeof(expected[0]);
    struct fake_answer a = {
        .headers = "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: upstream/1\r\nSet-Cookie: a=1; Path=/\r\n"
                   "Set-Cookie: b=2; Path=/\r\nX-Empty:\r\nConnection: X-Gone\r\nX-Gone: 1\r\n"
                   "Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nTrailer: X-T\r\nUpgrade: h2c\r\n"
                   "TE: trailers\r\nRequest-Id: req_1\r\nX-Claviger-Error: forged\r\n"
                   "Content-Type: application/json\r\nWWW-Authenticate: Bearer\r\n",
        .body = "{\"a\":1}",
        .framing = _i / SUITE_API_COUNT == 0 ? FAKE_LENGTH : FAKE_CHUNKED,
    };
    struct http_response r;
    struct bench b;
    size_t next = 0;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, "Accept-Encoding: identity\r\n", &r);
    expect_answer(&r, 200, "{\"a\":1}");
    for (size_t i = 0; i < r.head.count; i++) {
        char line[256];

        if (is_framing(r.head.fields[i].name)) {
            ck_assert_ptr_null(strstr(r.head.fields[i].value, "X-Gone"));
            continue;
        }
        snprintf(line, sizeof(line), "%s: %s", r.head.fields[i].name, r.head.fields[i].value);
        ck_assert_msg(next < expected_count && strcasecmp(line, expected[next]) == 0, "unexpected field %s",
                      line);
        next++;
    }
    ck_assert_uint_eq(next, expected_count);
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* "squeezed and whole again, " twenty times. */
static const char GZIP_TEXT[] = "squeezed and whole again, ";
static const char GZIP[] = "\037\213\010\000\000\000\000\000\002\003\053\056\054\115\115\255\112\115\121\110"
                           "\314\113\121\050\317\310\317\111\125\110\114\117\314\314\323\121\050\036\225\031"
                           "\101\062\000\014\166\117\272\010\002\000\000";

static void expect_text(const struct http_response *r, unsigned times)
{
    ck_assert_int_eq(r->status, 200);
    ck_assert(r->clean);
    ck_assert_uint_eq(r->body.len, times * (sizeof(GZIP_TEXT) - 1));
    for (unsigned i = 0; i < times; i++)
        ck_assert_int_eq(memcmp(r->body.data + i * (sizeof(GZIP_TEXT) - 1), GZIP_TEXT, sizeof(GZIP_TEXT) - 1),
                         0);
}

/* A client that names no encoding gets the content; one that does gets the bytes as they came. */
START_TEST(gzip_is_decoded_on_the_way)
{
    struct fake_answer a = {.headers = "Content-Encoding: gzip\r\nContent-Type: text/plain\r\n",
                            .body = GZIP,
                            .body_len = sizeof(GZIP) - 1,
                            .framing = _i / SUITE_API_COUNT == 0 ? FAKE_LENGTH : FAKE_CHUNKED};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    expect_text(&r, 20);
    ck_assert_ptr_null(http_get(&r, "Content-Encoding"));
    http_response_fini(&r);

    bench_post(&b, "Accept-Encoding: gzip, br\r\n", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    ck_assert_str_eq(http_get(&r, "Content-Encoding"), "gzip");
    ck_assert_uint_eq(r.body.len, sizeof(GZIP) - 1);
    ck_assert_int_eq(memcmp(r.body.data, GZIP, sizeof(GZIP) - 1), 0);
    http_response_fini(&r);
    ck_assert_str_eq(message_get(&fake_request(b.fake, 2)->head, "Accept-Encoding"), "gzip, br");
    bench_close(&b);
}
END_TEST

/* Content that is no gzip never looks like a whole answer. */
START_TEST(broken_gzip_is_no_whole_answer)
{
    struct fake_answer a = {.headers = "Content-Encoding: gzip\r\n",
                            .body = "this is no gzip at all, this is no gzip"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    ck_assert(r.status == 502 || !r.clean);
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    expect_requests(&b, 1);
    bench_close(&b);
}
END_TEST

static void add_pad(struct buf *out, size_t len)
{
    buf_puts(out, "X-Pad: ");
    for (size_t i = 0; i < len; i++)
        buf_putc(out, (char)('a' + i % 23));
    buf_puts(out, "\r\n");
}

/* Request heads up to header_size and answers' heads up to what is taken from a provider go together. */
START_TEST(large_heads_both_ways)
{
    static const size_t request_pads[] = {0, 6000, 12000, 14500};
    static const size_t answer_pads[] = {0, 3000, 7000, 14500};
    static const enum fake_framing framings[] = {FAKE_LENGTH, FAKE_CHUNKED};
    size_t answer_pad = answer_pads[_i / 4 % 4];
    bool head = _i / 32 != 0;
    struct buf request = {0};
    struct buf fields = {0};
    struct http_response r;
    struct bench b;

    buf_printf(&request,
               "%s /anthropic/v1/x?a=b&c=d&e HTTP/1.1\r\nHost: gateway.test\r\nCookie: a=b; c=d; e=f\r\n",
               head ? "HEAD" : "GET");
    for (unsigned i = 0; i < 20; i++)
        buf_printf(&request, "X-Field-%u: %u\r\n", i, i);
    add_pad(&request, request_pads[_i % 4]);
    buf_puts(&request, "\r\n");
    buf_puts(&fields, "X-First: 1\r\n");
    add_pad(&fields, answer_pad);
    buf_puts(&fields, "X-Last: 2\r\n");
    struct fake_answer a = {.headers = fields.data,
                            .body = "the whole body",
                            .framing = framings[_i / 16 % 2]};

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &a);
    exchange(&b, request.data, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    ck_assert_str_eq(http_body(&r), head ? "" : "the whole body");
    ck_assert_str_eq(http_get(&r, "X-First"), "1");
    ck_assert_str_eq(http_get(&r, "X-Last"), "2");
    ck_assert_ptr_nonnull(http_get(&r, "X-Pad"));
    ck_assert_uint_eq(strlen(http_get(&r, "X-Pad")), answer_pad);
    http_response_fini(&r);
    buf_fini(&request);
    buf_fini(&fields);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("headers");
    TCase *tc = suite_case(s, "headers", 60);

    tcase_add_loop_test(tc, the_whole_set_of_fields, 0, 8);
    tcase_add_test(tc, the_whole_set_after_a_failover);
    tcase_add_loop_test(tc, order_is_kept, 0, SUITE_API_COUNT);
    tcase_add_test(tc, user_agent_option);
    tcase_add_loop_test(tc, unix_socket_peer, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, response_fields, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, large_heads_both_ways, 0, 64);
    tcase_add_loop_test(tc, gzip_is_decoded_on_the_way, 0, 2 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, broken_gzip_is_no_whole_answer, 0, 2);
    return suite_run(s);
}
