/*
 * test_strict: requests that are malformed, or that two parsers could read differently (RFC 9112
 * sections 2.2, 3, 5, 6, 7.1 and 11.2, and the known families of request smuggling). Each is answered with
 * 4xx or 501 and its connection ends; nothing of it, nor what hides behind it on the same connection, reaches
 * an upstream.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE     "POST /anthropic/x HTTP/1.1\r\n"
#define HEAD     LINE "Host: gateway.test\r\n"
#define GET      "GET /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n"
#define CHUNKED  HEAD "Transfer-Encoding: chunked\r\n\r\n"
#define LENGTH   "Content-Length: "
#define CODING   "Transfer-Encoding: "
#define LAST     "0\r\n\r\n"
#define SMUGGLED "GET /anthropic/smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"

/* The bytes may hold a NUL. `fill` = so many bytes more in place of the '@' in them. */
struct strict_case {
    const char *family;
    const char *bytes;
    size_t len;
    size_t fill;
};

#define BYTES(family, text)                                                                                  \
    {                                                                                                        \
        family, text, sizeof(text) - 1, 0                                                                    \
    }
#define FILLED(family, text, fill)                                                                           \
    {                                                                                                        \
        family, text, sizeof(text) - 1, fill                                                                 \
    }

static const struct strict_case cases[] = {
    /* both framings: CL.TE and TE.CL */
    BYTES("CL.TE", HEAD LENGTH "6\r\n" CODING "chunked\r\n\r\n" LAST "G"),
    BYTES("TE.CL", HEAD CODING "chunked\r\n" LENGTH "4\r\n\r\n5c\r\nGPOST / HTTP/1.1\r\n\r\n" LAST),
    BYTES("CL.TE", HEAD LENGTH "0\r\n" CODING "chunked\r\n\r\n" LAST),
    BYTES("CL.TE", HEAD "content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n" LAST),
    /* TE.TE: codings that only one of two parsers takes for chunked */
    BYTES("TE.TE", HEAD CODING "chunked\r\n" CODING "cow\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "cow\r\n" CODING "chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "chunked\r\n" CODING "chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "chunked, chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "chunked, identity\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "identity, chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "gzip, chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "gzip\r\n\r\n"),
    BYTES("TE.TE", HEAD CODING "identity\r\n\r\n"),
    BYTES("TE.TE", HEAD CODING "xchunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "chunkedx\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "\"chunked\"\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "chunked;q=1\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING ",chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "chunked,\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "\x0b"
                               "chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD CODING "\r\n\r\n"),
    BYTES("TE.TE", HEAD "Transfer-Encoding : chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD " Transfer-Encoding: chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD "X-A: b\r\n Transfer-Encoding: chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD "Transfer-Encoding:\r\n chunked\r\n\r\n" LAST),
    BYTES("TE.TE", HEAD "X-A: b\nTransfer-Encoding: chunked\r\n\r\n" LAST),
    BYTES("TE in 1.0", "POST /anthropic/x HTTP/1.0\r\nHost: a\r\n" CODING "chunked\r\n\r\n" LAST),
    /* Content-Length: several, lists, signs, hexadecimal, too large */
    BYTES("CL.CL", HEAD LENGTH "0\r\n" LENGTH "44\r\n\r\n"),
    BYTES("CL.CL", HEAD LENGTH "2\r\n" LENGTH "2\r\n\r\n{}"),
    BYTES("CL.CL", HEAD LENGTH "2\r\ncontent-length: 3\r\n\r\n{}"),
    BYTES("CL list", HEAD LENGTH "2, 2\r\n\r\n{}"),
    BYTES("CL list", HEAD LENGTH "2,3\r\n\r\n{}"),
    BYTES("CL list", HEAD LENGTH "2 2\r\n\r\n{}"),
    BYTES("CL signed", HEAD LENGTH "+2\r\n\r\n{}"),
    BYTES("CL signed", HEAD LENGTH "-2\r\n\r\n{}"),
    BYTES("CL signed", HEAD LENGTH "-0\r\n\r\n"),
    BYTES("CL hex", HEAD LENGTH "0x2\r\n\r\n{}"),
    BYTES("CL hex", HEAD LENGTH "a\r\n\r\n{}"),
    BYTES("CL number", HEAD LENGTH "2.0\r\n\r\n{}"),
    BYTES("CL number", HEAD LENGTH "2e0\r\n\r\n{}"),
    BYTES("CL number", HEAD LENGTH "1_0\r\n\r\n{}"),
    BYTES("CL number", HEAD LENGTH "two\r\n\r\n{}"),
    BYTES("CL number", HEAD LENGTH "\"2\"\r\n\r\n{}"),
    BYTES("CL empty", HEAD LENGTH "\r\n\r\n{}"),
    BYTES("CL too large", HEAD LENGTH "18446744073709551616\r\n\r\n{}"),
    BYTES("CL too large", HEAD LENGTH "18446744073709551618\r\n\r\n{}"),
    BYTES("CL too large", HEAD LENGTH "9223372036854775808\r\n\r\n{}"),
    BYTES("CL folded", HEAD LENGTH "1\r\n 0\r\n\r\n{}"),
    BYTES("CL space", HEAD "Content-Length : 2\r\n\r\n{}"),
    BYTES("CL space", HEAD "Content-Length\t: 2\r\n\r\n{}"),
    BYTES("CL.0", GET LENGTH "-1\r\n\r\n"),
    BYTES("CL.0", GET LENGTH "0\r\n" LENGTH "5\r\n\r\n"),
    /* Host */
    BYTES("no Host", "GET /anthropic/x HTTP/1.1\r\n\r\n"),
    BYTES("no Host", "GET /anthropic/x HTTP/1.1\r\nX-Forwarded-Host: a\r\n\r\n"),
    BYTES("two Hosts", "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    BYTES("two Hosts", "GET /anthropic/x HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"),
    BYTES("Host list", "GET /anthropic/x HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: user@a\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: a?b\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: a#b\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: a:80:81\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: a:port\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: a:99999\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    BYTES("Host authority", "GET /anthropic/x HTTP/1.1\r\nHost: a b\r\n\r\n"),
    BYTES("Host folded", "GET /anthropic/x HTTP/1.1\r\nHost:\r\n a\r\n\r\n"),
    /* targets */
    BYTES("absolute-form", "GET http://other.test/anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("absolute-form", "GET https://gateway.test/anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("absolute-form",
          "GET HTTP://gateway.test@other/anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("authority-form", "GET gateway.test:80 HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("authority-form", "CONNECT gateway.test:80 HTTP/1.1\r\nHost: gateway.test:80\r\n\r\n"),
    BYTES("asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("no slash", "GET anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("no slash", "GET \\anthropic\\x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("no slash", "GET ?/anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("fragment", "GET /anthropic/x#y HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("space in target", "GET /anthropic/x y HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("tab in target", "GET /anthropic/x\ty HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("NUL in target", "GET /anthropic/x\0y HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("control in target", "GET /anthropic/x\x7fy HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/../x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/./x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/x/.. HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/%2e%2e/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/.%2E/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/..%2fx HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/a%2F..%2Fb HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("dot segment", "GET /anthropic/..%5cx HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("encoded control", "GET /anthropic/x%00y HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("encoded control", "GET /anthropic/x%0d%0aX-Api-Key:%20k HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("encoded control", "GET /anthropic/x%0A HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("encoded control", "GET /anthropic/x%7f HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    /* the request line */
    BYTES("no version", "GET /anthropic/x\r\n\r\n"),
    BYTES("version", "GET /anthropic/x HTTP/2.0\r\nHost: gateway.test\r\n\r\n"),
    BYTES("version", "GET /anthropic/x HTTP/1.2\r\nHost: gateway.test\r\n\r\n"),
    BYTES("version", "GET /anthropic/x HTTP/0.9\r\nHost: gateway.test\r\n\r\n"),
    BYTES("version", "GET /anthropic/x HTTP/1.1x\r\nHost: gateway.test\r\n\r\n"),
    BYTES("version", "GET /anthropic/x HTTP/11\r\nHost: gateway.test\r\n\r\n"),
    BYTES("version", "GET /anthropic/x http/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("version", "GET /anthropic/x FTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("method", "G(T /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("method", "GET\x01 /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("method", "TRACE /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("version", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    /* field lines */
    BYTES("space before colon", GET "X-Api-Key : k\r\n\r\n"),
    BYTES("tab before colon", GET "X-Api-Key\t: k\r\n\r\n"),
    BYTES("empty name", GET ": v\r\n\r\n"),
    BYTES("empty name", GET ": v\r\nX-Api-Key: k\r\n\r\n"),
    BYTES("no colon", GET "no-colon\r\n\r\n"),
    BYTES("no token", GET "X(Y): 1\r\n\r\n"),
    BYTES("no token", GET "X Y: 1\r\n\r\n"),
    BYTES("no token", GET "X\"Y: 1\r\n\r\n"),
    BYTES("no token", GET "X\x80Y: 1\r\n\r\n"),
    BYTES("no token", GET "X,Y: 1\r\n\r\n"),
    BYTES("folded", GET "X-Fold: 1\r\n more\r\n\r\n"),
    BYTES("folded", GET "X-Fold: 1\r\n\tmore\r\n\r\n"),
    BYTES("folded", GET "X-Fold: 1\r\n \r\n\r\n"),
    BYTES("folded name", GET "X-Api-: secret\r\n Key\r\n\r\n"),
    BYTES("folded name", GET "X-Api\r\n -Key: secret\r\n\r\n"),
    BYTES("folded first", "GET /anthropic/x HTTP/1.1\r\n X-First: 1\r\nHost: gateway.test\r\n\r\n"),
    BYTES("bare CR", GET "X-Cr: a\rX-Api-Key: k\r\n\r\n"),
    BYTES("bare CR", GET "X-Cr\r: a\r\n\r\n"),
    BYTES("bare LF", GET "X-A: 1\nX-B: 2\r\n\r\n"),
    BYTES("bare LF", "GET /anthropic/x HTTP/1.1\nHost: gateway.test\n\n"),
    BYTES("bare LF", GET "X-A: 1\r\n\n"),
    BYTES("NUL", GET "X-Nul: a\0b\r\n\r\n"),
    BYTES("NUL", GET "X-N\0ul: a\r\n\r\n"),
    BYTES("control", GET "X-Ctl: a\x01"
                         "b\r\n\r\n"),
    BYTES("control", GET "X-Ctl: a\x7f"
                         "b\r\n\r\n"),
    BYTES("control", GET "X-Ctl: a\x0b"
                         "b\r\n\r\n"),
    /* sizes */
    FILLED("large field", GET "X-Large: @\r\n\r\n", 40000),
    FILLED("large name", GET "X-@: 1\r\n\r\n", 40000),
    FILLED("large target", "GET /anthropic/@ HTTP/1.1\r\nHost: gateway.test\r\n\r\n", 40000),
    FILLED("large method", "G@ /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n", 40000),
    /* upgrades */
    BYTES("websocket", GET "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"),
    /* chunks (RFC 9112 section 7.1) */
    BYTES("chunk size", CHUNKED "fffffffffffffffff\r\nx\r\n" LAST),
    BYTES("chunk size", CHUNKED "10000000000000002\r\n{}\r\n" LAST),
    BYTES("chunk size", CHUNKED "-2\r\n{}\r\n" LAST),
    BYTES("chunk size", CHUNKED "+2\r\n{}\r\n" LAST),
    BYTES("chunk size", CHUNKED "0x2\r\n{}\r\n" LAST),
    BYTES("chunk size", CHUNKED "xyz\r\n{}\r\n" LAST),
    BYTES("chunk size", CHUNKED "\r\n{}\r\n" LAST),
    BYTES("chunk size", CHUNKED "2 2\r\n{}\r\n" LAST),
    BYTES("chunk size", CHUNKED " 2\r\n{}\r\n" LAST),
    BYTES("chunk end", CHUNKED "2\r\n{}XX" LAST),
    BYTES("chunk end", CHUNKED "2\r\n{}}\r\n" LAST),
    BYTES("chunk end", CHUNKED "2\r{}\r\n" LAST),
};
#define CASES (sizeof(cases) / sizeof(cases[0]))
_Static_assert(CASES >= 60, "the table has shrunk");

static void send_case(struct http_client *client, const struct strict_case *c)
{
    const char *at = c->fill > 0 ? memchr(c->bytes, '@', c->len) : NULL;
    struct buf bytes = {0};

    buf_append(&bytes, c->bytes, at != NULL ? (size_t)(at - c->bytes) : c->len);
    for (size_t i = 0; i < c->fill; i++)
        buf_putc(&bytes, 'a');
    if (at != NULL)
        buf_puts(&bytes, at + 1);
    buf_puts(&bytes, SMUGGLED);
    http_send(client, bytes.data, bytes.len);
    buf_fini(&bytes);
}

/* The HTTP library answers other versions itself, with 505. */
static bool is_refusal(const struct strict_case *c, int status)
{
    bool version = strcmp(c->family, "version") == 0;

    return (status >= 400 && status < 500) || status == 501 || (status == 505 && version);
}

/* A body that streams through is under way when its framing turns out to be broken: then the upstream sees a
 * request that is broken off. Anything else it does not see at all. */
static void expect_nothing_upstream(struct bench *b, size_t i, bool streams, unsigned *seen)
{
    bool may_begin = streams && strcmp(cases[i].family, "chunk end") == 0;
    struct fake_progress progress;

    for (unsigned n = *seen + 1; n <= fake_requests(b->fake); n++, (*seen)++) {
        ck_assert_msg(may_begin, "case %zu (%s) reached the upstream", i, cases[i].family);
        ck_assert(fake_wait_abandoned(b->fake, n, 10000));
        ck_assert_int_eq(fake_progress(b->fake, n, &progress), 0);
        ck_assert_msg(!progress.complete, "case %zu (%s) is a whole request upstream", i, cases[i].family);
    }
}

/* All on one daemon; what fails is told with its number and family. Bodies are kept for the pool, or stream
 * through.
 */
START_TEST(malformed_and_ambiguous_requests)
{
    struct http_response r;
    struct bench b;
    unsigned begun = 0;

    bench_open(&b, &SUITE_APIS[0], _i == 0 ? KEY0 : NULL, NULL);
    for (size_t i = 0; i < CASES; i++) {
        const struct strict_case *c = &cases[i];
        struct http_client client;
        const char *close;

        http_connect(&client, b.daemon.port);
        send_case(&client, c);
        http_read(&client, &r);
        ck_assert_msg(is_refusal(c, r.status), "case %zu (%s): status %d for %s", i, c->family, r.status,
                      c->bytes);
        close = http_get(&r, "Connection");
        ck_assert_msg(close != NULL && strcmp(close, "close") == 0, "case %zu (%s): no Connection: close", i,
                      c->family);
        ck_assert_msg(http_wait_end(&client, 10000), "case %zu (%s): the connection goes on", i, c->family);
        ck_assert_msg(!util_contains(client.in.data, client.in.len, "HTTP/1.1"), "case %zu (%s): two answers",
                      i, c->family);
        expect_nothing_upstream(&b, i, _i == 1, &begun);
        http_response_fini(&r);
        http_close(&client);
    }
    /* The daemon is well. */
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, begun + 1);
    bench_close(&b);
}
END_TEST

/* libmicrohttpd 0.9 takes a bare LF in the framing of chunks, and nothing shows it. What goes upstream is
 * framed anew and is one request all the same. Later ones refuse it. */
START_TEST(a_bare_lf_between_chunks)
{
    static const char request[] = CHUNKED "2\n{}\n0\n\n";
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_send(&client, request, strlen(request));
    http_read(&client, &r);
    if (r.status == 200) {
        expect_requests(&b, 1);
        ck_assert(fake_body_is(b.fake, 1, "{}", 2));
        ck_assert_str_eq(message_get(&fake_request(b.fake, 1)->head, "Content-Length"), "2");
        ck_assert_ptr_null(message_get(&fake_request(b.fake, 1)->head, "Transfer-Encoding"));
    } else {
        ck_assert_int_eq(r.status, 400);
        expect_requests(&b, 0);
    }
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("strict");
    TCase *tc = suite_case(s, "strict", 60);

    tcase_add_loop_test(tc, malformed_and_ambiguous_requests, 0, 2);
    tcase_add_test(tc, a_bare_lf_between_chunks);
    return suite_run(s);
}
