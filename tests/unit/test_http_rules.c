/*
 * test_http_rules: heads that must be refused, among them the families of request smuggling, and heads that
 * must not.
 */
#include "core/http_rules.h"

#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A field; sizes are taken from the literal, so a value may hold NUL. */
struct field {
    const char *name;
    size_t name_len;
    const char *value;
    size_t value_len;
};

#define F(name, value)                                                                                       \
    {                                                                                                        \
        name, sizeof(name) - 1, value, sizeof(value) - 1                                                     \
    }
#define HOST F("Host", "h")

#define BODY_NONE    false, false, -1
#define BODY_CHUNKED true, true, -1
#define BODY(n)      true, false, n

struct accepted {
    const char *method;
    const char *version;
    const char *target;
    struct field fields[6];
    bool has_body;
    bool chunked;
    int64_t length;
};

static const struct accepted accepted[] = {
    {"GET", "HTTP/1.1", "/", {HOST}, BODY_NONE},
    {"GET", "HTTP/1.0", "/", {HOST}, BODY_NONE},
    {"GET", "HTTP/1.0", "/", {{0}}, BODY_NONE}, /* HTTP/1.0 may come without Host */
    {"POST", "HTTP/1.1", "/v1/messages?beta=true", {HOST, F("Content-Length", "5")}, BODY(5)},
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "0")}, BODY(0)},
    {"POST", "HTTP/1.1", "/", {HOST, F("content-length", "0007")}, BODY(7)},
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "9223372036854775807")}, BODY(INT64_MAX)},
    {"POST", "HTTP/1.0", "/", {HOST, F("Content-Length", "5")}, BODY(5)},
    {"POST", "HTTP/1.1", "/", {HOST, F("Transfer-Encoding", "chunked")}, BODY_CHUNKED},
    {"POST", "HTTP/1.1", "/", {F("TRANSFER-encoding", "chunked"), F("hOST", "h")}, BODY_CHUNKED},
    {"POST", "HTTP/1.1", "/", {HOST}, BODY_NONE},
    /* any method may carry a body, and any token is a method */
    {"GET", "HTTP/1.1", "/", {HOST, F("Content-Length", "3")}, BODY(3)},
    {"DELETE", "HTTP/1.1", "/", {HOST, F("Transfer-Encoding", "chunked")}, BODY_CHUNKED},
    {"HEAD", "HTTP/1.1", "/", {HOST}, BODY_NONE},
    {"OPTIONS", "HTTP/1.1", "/", {HOST}, BODY_NONE},
    {"PATCH", "HTTP/1.1", "/", {HOST}, BODY_NONE},
    {"M-SEARCH", "HTTP/1.1", "/", {HOST}, BODY_NONE},
    {"trace", "HTTP/1.1", "/", {HOST}, BODY_NONE}, /* methods are case-sensitive: this is another one */
    /* targets */
    {"GET", "HTTP/1.1", "//", {HOST}, BODY_NONE},
    {"GET", "HTTP/1.1", "/a\\b|{c}<d>\"^`\xc3\xb6", {HOST}, BODY_NONE},
    {"GET", "HTTP/1.1", "/%00%0d%0a/../%zz?%23", {HOST}, BODY_NONE}, /* route's business */
    {"GET", "HTTP/1.1", "/http://other/", {HOST}, BODY_NONE},
    /* hosts */
    {"GET", "HTTP/1.1", "/", {F("Host", "example.com:8080")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {F("Host", "127.0.0.1")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {F("Host", "[::1]")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {F("Host", "[2001:DB8::1]:443")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {F("Host", "[::ffff:127.0.0.1]:0")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {F("Host", "h:")}, BODY_NONE}, /* port = *DIGIT */
    {"GET", "HTTP/1.1", "/", {F("Host", "h:65535")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {F("Host", "a_b-c.d~e%20!$&'()*+;=")}, BODY_NONE},
    /* values */
    {"GET", "HTTP/1.1", "/", {HOST, F("X", "")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("X", "a\tb c \x80\xff \"\\")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("!#$%&'*+-.^_`|~09azAZ", "x")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("X", "1"), F("X", "2"), F("x", "3")}, BODY_NONE},
    /* names that only look like framing */
    {"GET", "HTTP/1.1", "/", {HOST, F("Content_Length", "x"), F("Content-Lengths", "y")}, BODY_NONE},
    {"GET",
     "HTTP/1.1",
     "/",
     {HOST, F("X-Transfer-Encoding", "gzip"), F("Transfer_Encoding", "z")},
     BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("Content-Encoding", "gzip"), F("X-Host", ""), F("Hos", "")}, BODY_NONE},
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "5"), F("TE", "chunked")}, BODY(5)},
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "5"), F("Connection", "Content-Length")}, BODY(5)},
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "5"), F("Expect", "100-continue")}, BODY(5)},
    /* an Upgrade to anything but websocket is ignored */
    {"GET",
     "HTTP/1.1",
     "/",
     {HOST, F("Upgrade", "h2c"), F("Connection", "Upgrade, HTTP2-Settings")},
     BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "TLS/1.3, HTTP/2.0")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "websockets, xwebsocket, web socket, web")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "h2c/websocket")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", " , ,\t,")}, BODY_NONE},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgraded", "websocket")}, BODY_NONE},
    {"GET", "HTTP/1.0", "/", {HOST, F("Upgrade", "websocket")}, BODY_NONE}, /* RFC 9110 section 7.8 */
};

struct refused {
    const char *method;
    const char *version;
    const char *target;
    struct field fields[6];
    enum http_verdict verdict;
    const char *reason;
};

#define BAD           HTTP_BAD_REQUEST
#define BOTH          "Content-Length together with Transfer-Encoding"
#define TWO_LENGTHS   "more than one Content-Length"
#define LENGTH        "a Content-Length that is no plain number"
#define CODING        "a Transfer-Encoding other than chunked"
#define TWO_CODINGS   "more than one Transfer-Encoding"
#define CODING10      "Transfer-Encoding in an HTTP/1.0 request"
#define NO_HOST       "no Host"
#define TWO_HOSTS     "more than one Host"
#define BAD_HOST      "the Host is no host"
#define NAME          "a header name is empty or no token"
#define VALUE         "a header value has a control byte"
#define TARGET        "the request target does not begin with /"
#define TARGET_BYTE   "the request target has white space or a control byte"
#define FRAGMENT      "the request target has a fragment"
#define METHOD        "the method is no token"
#define VERSION       "the HTTP version is neither 1.0 nor 1.1"
#define NOT_ALLOWED   HTTP_METHOD_NOT_ALLOWED, "the method is not allowed"
#define NOT_SUPPORTED HTTP_NOT_SUPPORTED, "websocket is not supported"

/* One field beside Host on a POST. */
#define POST_WITH(name, value, reason)                                                                       \
    {                                                                                                        \
        "POST", "HTTP/1.1", "/", {HOST, F(name, value)}, BAD, reason                                         \
    }
#define GET_HOST(value, reason)                                                                              \
    {                                                                                                        \
        "GET", "HTTP/1.1", "/", {F("Host", value)}, BAD, reason                                              \
    }
#define GET_TARGET(target, reason)                                                                           \
    {                                                                                                        \
        "GET", "HTTP/1.1", target, {HOST}, BAD, reason                                                       \
    }
#define GET_VERSION(version)                                                                                 \
    {                                                                                                        \
        "GET", version, "/", {HOST}, BAD, VERSION                                                            \
    }
#define METHOD_IS(method)                                                                                    \
    {                                                                                                        \
        method, "HTTP/1.1", "/", {HOST}, BAD, METHOD                                                         \
    }

static const struct refused refused[] = {
    /* CL.TE and TE.CL, in both orders */
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "5"), F("Transfer-Encoding", "chunked")}, BAD, BOTH},
    {"POST", "HTTP/1.1", "/", {F("Transfer-Encoding", "chunked"), F("Content-Length", "5"), HOST}, BAD, BOTH},
    {"POST", "HTTP/1.1", "/", {HOST, F("content-length", "0"), F("transfer-encoding", "chunked")}, BAD, BOTH},
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", ""), F("Transfer-Encoding", "identity")}, BAD, BOTH},
    {"GET", "HTTP/1.1", "/", {HOST, F("Content-Length", "5"), F("Transfer-Encoding", "")}, BAD, BOTH},
    {"POST", "HTTP/1.0", "/", {HOST, F("Content-Length", "5"), F("Transfer-Encoding", "chunked")}, BAD, BOTH},
    {"CONNECT",
     "HTTP/1.1",
     "h:1",
     {HOST, F("Content-Length", "5"), F("Transfer-Encoding", "chunked")},
     BAD,
     BOTH},
    {"TRACE",
     "HTTP/1.1",
     "/",
     {HOST, F("Content-Length", "5"), F("Transfer-Encoding", "chunked")},
     BAD,
     BOTH},
    /* CL.CL */
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "5"), F("Content-Length", "6")}, BAD, TWO_LENGTHS},
    {"POST", "HTTP/1.1", "/", {HOST, F("Content-Length", "5"), F("Content-Length", "5")}, BAD, TWO_LENGTHS},
    {"GET", "HTTP/1.1", "/", {HOST, F("CONTENT-LENGTH", "0"), F("content-length", "")}, BAD, TWO_LENGTHS},
    POST_WITH("Content-Length", "5, 5", LENGTH),
    POST_WITH("Content-Length", "5,6", LENGTH),
    POST_WITH("Content-Length", "", LENGTH),
    POST_WITH("Content-Length", "+5", LENGTH),
    POST_WITH("Content-Length", "-5", LENGTH),
    POST_WITH("Content-Length", "-0", LENGTH),
    POST_WITH("Content-Length", "5 ", LENGTH),
    POST_WITH("Content-Length", " 5", LENGTH),
    POST_WITH("Content-Length", "5\t6", LENGTH),
    POST_WITH("Content-Length", "5 6", LENGTH),
    POST_WITH("Content-Length", "0x5", LENGTH),
    POST_WITH("Content-Length", "5.0", LENGTH),
    POST_WITH("Content-Length", "5e0", LENGTH),
    POST_WITH("Content-Length", "5;a=b", LENGTH),
    POST_WITH("Content-Length", "\"5\"", LENGTH),
    POST_WITH("Content-Length", "9223372036854775808", LENGTH),
    POST_WITH("Content-Length", "18446744073709551621", LENGTH),
    POST_WITH("Content-Length", "4294967296000000000000000000", LENGTH),
    POST_WITH("Content-Length", "chunked", LENGTH),
    POST_WITH("Content-Length", "\xc2\xb2", LENGTH),
    POST_WITH("Content-Length", "5\0", VALUE),
    POST_WITH("Content-Length", "5\v", VALUE),
    POST_WITH("Content-Length", "5\r\nX: y", VALUE),
    /* TE.TE: spellings that one parser takes for chunked and another does not */
    POST_WITH("Transfer-Encoding", "Chunked", CODING),
    POST_WITH("Transfer-Encoding", "CHUNKED", CODING),
    POST_WITH("Transfer-Encoding", "xchunked", CODING),
    POST_WITH("Transfer-Encoding", "chunkedx", CODING),
    POST_WITH("Transfer-Encoding", "chunked ", CODING),
    POST_WITH("Transfer-Encoding", " chunked", CODING),
    POST_WITH("Transfer-Encoding", "\tchunked", CODING),
    POST_WITH("Transfer-Encoding", "chunked, chunked", CODING),
    POST_WITH("Transfer-Encoding", "chunked,", CODING),
    POST_WITH("Transfer-Encoding", ",chunked", CODING),
    POST_WITH("Transfer-Encoding", "gzip, chunked", CODING),
    POST_WITH("Transfer-Encoding", "chunked, gzip", CODING),
    POST_WITH("Transfer-Encoding", "chunked, identity", CODING),
    POST_WITH("Transfer-Encoding", "identity, chunked", CODING),
    POST_WITH("Transfer-Encoding", "identity", CODING),
    POST_WITH("Transfer-Encoding", "gzip", CODING),
    POST_WITH("Transfer-Encoding", "cow", CODING),
    POST_WITH("Transfer-Encoding", "", CODING),
    POST_WITH("Transfer-Encoding", "chunked;q=1", CODING),
    POST_WITH("Transfer-Encoding", "\"chunked\"", CODING),
    POST_WITH("Transfer-Encoding", "'chunked'", CODING),
    POST_WITH("Transfer-Encoding", "chunked\xff", CODING),
    POST_WITH("Transfer-Encoding",
              "chun\xe2\x84\xaa"
              "ed",
              CODING), /* KELVIN SIGN, a k to some */
    POST_WITH("Transfer-Encoding", "chunked\0", VALUE),
    POST_WITH("Transfer-Encoding", "\vchunked", VALUE),
    POST_WITH("Transfer-Encoding", "chunked\f", VALUE),
    POST_WITH("Transfer-Encoding", "\nchunked", VALUE),
    POST_WITH("Transfer-Encoding", "chunked\r", VALUE),
    POST_WITH("Transfer-Encoding",
              "\x08"
              "chunked",
              VALUE),
    {"POST",
     "HTTP/1.1",
     "/",
     {HOST, F("Transfer-Encoding", "chunked"), F("Transfer-Encoding", "x")},
     BAD,
     TWO_CODINGS},
    {"POST",
     "HTTP/1.1",
     "/",
     {HOST, F("Transfer-Encoding", "x"), F("transfer-encoding", "chunked")},
     BAD,
     TWO_CODINGS},
    {"POST",
     "HTTP/1.1",
     "/",
     {HOST, F("Transfer-Encoding", "chunked"), F("Transfer-Encoding", "chunked")},
     BAD,
     TWO_CODINGS},
    {"POST", "HTTP/1.0", "/", {HOST, F("Transfer-Encoding", "chunked")}, BAD, CODING10},
    {"POST", "HTTP/1.0", "/", {HOST, F("Transfer-Encoding", "identity")}, BAD, CODING10},
    /* names: what a space, a fold or an empty name becomes */
    POST_WITH("Transfer-Encoding ", "chunked", NAME),
    POST_WITH("Transfer-Encoding\t", "chunked", NAME),
    POST_WITH(" Transfer-Encoding", "chunked", NAME),
    POST_WITH("Content-Length ", "5", NAME),
    POST_WITH("Content Length", "5", NAME),
    POST_WITH("X: y\r\nTransfer-Encoding", "chunked", NAME),
    POST_WITH("X\0", "a", NAME),
    POST_WITH("Content-Length\0", "5", NAME),
    POST_WITH("", "v", NAME),
    POST_WITH(":", "v", NAME),
    POST_WITH("X:Y", "v", NAME),
    POST_WITH("X\r", "v", NAME),
    POST_WITH("X\n", "v", NAME),
    POST_WITH("X(y)", "v", NAME),
    POST_WITH("X/Y", "v", NAME),
    POST_WITH("X@Y", "v", NAME),
    POST_WITH("X=", "v", NAME),
    POST_WITH("\"X\"", "v", NAME),
    POST_WITH("X\x7f", "v", NAME),
    POST_WITH("X\xc3\xb6", "v", NAME),
    POST_WITH("{}", "v", NAME),
    {"POST", "HTTP/1.0", "/", {F("Host ", "h")}, BAD, NAME},
    /* values */
    POST_WITH("X", "a\rb", VALUE),
    POST_WITH("X", "a\nb", VALUE),
    POST_WITH("X", "a\r\n b", VALUE),
    POST_WITH("X", "a\r\nContent-Length: 5", VALUE),
    POST_WITH("X", "\0", VALUE),
    POST_WITH("X", "a\0b", VALUE),
    POST_WITH("X", "\x01", VALUE),
    POST_WITH("X", "\x1b[0m", VALUE),
    POST_WITH("X", "\x1f", VALUE),
    POST_WITH("X", "\x7f", VALUE),
    POST_WITH("Cookie", "a=b\r", VALUE),
    /* Host */
    {"GET", "HTTP/1.1", "/", {{0}}, BAD, NO_HOST},
    {"GET", "HTTP/1.1", "/", {F("X-Host", "h"), F("Hosts", "h")}, BAD, NO_HOST},
    {"GET", "HTTP/1.1", "/", {HOST, HOST}, BAD, TWO_HOSTS},
    {"GET", "HTTP/1.1", "/", {HOST, F("X", "y"), F("hOst", "other")}, BAD, TWO_HOSTS},
    {"GET", "HTTP/1.0", "/", {HOST, HOST}, BAD, TWO_HOSTS},
    GET_HOST("", BAD_HOST),
    {"GET", "HTTP/1.0", "/", {F("Host", "")}, BAD, BAD_HOST},
    GET_HOST("a, b", BAD_HOST),
    GET_HOST("a,b", BAD_HOST),
    GET_HOST("a b", BAD_HOST),
    GET_HOST(" h", BAD_HOST),
    GET_HOST("h ", BAD_HOST),
    GET_HOST("user@h", BAD_HOST),
    GET_HOST("h/path", BAD_HOST),
    GET_HOST("h?q", BAD_HOST),
    GET_HOST("h#f", BAD_HOST),
    GET_HOST("http://h", BAD_HOST),
    GET_HOST("h\\i", BAD_HOST),
    GET_HOST("<h>", BAD_HOST),
    GET_HOST("h\xc3\xb6st", BAD_HOST),
    GET_HOST("h%", BAD_HOST),
    GET_HOST("h%2", BAD_HOST),
    GET_HOST("h%zz", BAD_HOST),
    GET_HOST(":80", BAD_HOST),
    GET_HOST(":", BAD_HOST),
    GET_HOST("h:80:80", BAD_HOST),
    GET_HOST("h:80x", BAD_HOST),
    GET_HOST("h:-1", BAD_HOST),
    GET_HOST("h: 80", BAD_HOST),
    GET_HOST("h:65536", BAD_HOST),
    GET_HOST("h:99999999999999999999", BAD_HOST),
    GET_HOST("::1", BAD_HOST),
    GET_HOST("[::1", BAD_HOST),
    GET_HOST("[]", BAD_HOST),
    GET_HOST("[", BAD_HOST),
    GET_HOST("[::1]x", BAD_HOST),
    GET_HOST("[::1]:x", BAD_HOST),
    GET_HOST("[h]", BAD_HOST),
    GET_HOST("h]", BAD_HOST),
    GET_HOST("h\t", BAD_HOST),
    GET_HOST("h\r", VALUE),
    GET_HOST("h\0evil", VALUE),
    /* targets */
    GET_TARGET("", TARGET),
    GET_TARGET("*", TARGET),
    GET_TARGET("x", TARGET),
    GET_TARGET("?q", TARGET),
    GET_TARGET("http://h/", TARGET),
    GET_TARGET("HTTPS://h/", TARGET),
    GET_TARGET("h:80", TARGET),
    GET_TARGET("@h/", TARGET),
    GET_TARGET("\\a", TARGET),
    GET_TARGET(" /", TARGET),
    GET_TARGET("%2f", TARGET),
    {"OPTIONS", "HTTP/1.1", "*", {HOST}, BAD, TARGET},
    {"TRACE", "HTTP/1.1", "*", {HOST}, BAD, TARGET},
    GET_TARGET("/a b", TARGET_BYTE),
    GET_TARGET("/ HTTP/1.1\r\nX: y", TARGET_BYTE),
    GET_TARGET("/\t", TARGET_BYTE),
    GET_TARGET("/\r", TARGET_BYTE),
    GET_TARGET("/\x01", TARGET_BYTE),
    GET_TARGET("/?a\n", TARGET_BYTE),
    GET_TARGET("/\x7f", TARGET_BYTE),
    GET_TARGET("/#", FRAGMENT),
    GET_TARGET("/a#b", FRAGMENT),
    GET_TARGET("/a?b#c", FRAGMENT),
    /* request lines */
    METHOD_IS(""),
    METHOD_IS("GET "),
    METHOD_IS(" GET"),
    METHOD_IS("G ET"),
    METHOD_IS("GET\r"),
    METHOD_IS("GET:"),
    METHOD_IS("\x16\x03\x01"),
    METHOD_IS("(GET)"),
    METHOD_IS("G\xc3\x89T"),
    GET_VERSION(""),
    GET_VERSION("HTTP/0.9"),
    GET_VERSION("HTTP/1.2"),
    GET_VERSION("HTTP/2.0"),
    GET_VERSION("HTTP/2"),
    GET_VERSION("http/1.1"),
    GET_VERSION("HTTP/1.1 "),
    GET_VERSION("HTTP/1.10"),
    GET_VERSION("HTTP/01.1"),
    GET_VERSION("HTTP/1,1"),
    GET_VERSION("HTTPS/1.1"),
    {"PRI", "HTTP/2.0", "*", {{0}}, BAD, VERSION},
    /* methods that a proxy for APIs has no business with */
    {"CONNECT", "HTTP/1.1", "h:443", {HOST}, NOT_ALLOWED},
    {"CONNECT", "HTTP/1.1", "/", {HOST}, NOT_ALLOWED},
    {"CONNECT", "HTTP/1.0", "h:443", {{0}}, NOT_ALLOWED},
    {"TRACE", "HTTP/1.1", "/", {HOST}, NOT_ALLOWED},
    {"TRACE", "HTTP/1.0", "/", {{0}}, NOT_ALLOWED},
    {"TRACE", "HTTP/1.1", "/", {HOST, F("Content-Length", "5")}, NOT_ALLOWED},
    {"CONNECT", "HTTP/1.1", "h:443", {{0}}, BAD, NO_HOST},
    /* websocket */
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "websocket"), F("Connection", "Upgrade")}, NOT_SUPPORTED},
    {"GET", "HTTP/1.1", "/", {HOST, F("upgrade", "WebSocket")}, NOT_SUPPORTED},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "h2c, websocket")}, NOT_SUPPORTED},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "h2c,\tWEBSOCKET ,x")}, NOT_SUPPORTED},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", ",,websocket/13")}, NOT_SUPPORTED},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "h2c"), F("Upgrade", "websocket")}, NOT_SUPPORTED},
    {"GET", "HTTP/1.1", "/", {HOST, F("Upgrade", "websocket"), F("Content-Length", "x")}, BAD, LENGTH},
    {"TRACE", "HTTP/1.1", "/", {HOST, F("Upgrade", "websocket")}, NOT_ALLOWED},
};

static void fill(struct header_list *list, const struct field *fields)
{
    for (size_t i = 0; i < COUNT(accepted[0].fields) && fields[i].name != NULL; i++)
        ck_assert_int_eq(header_add(list, fields[i].name, fields[i].name_len, fields[i].value,
                                    fields[i].value_len),
                         0);
}

START_TEST(accepts)
{
    const struct accepted *c = &accepted[_i];
    struct header_list list = {0};
    struct http_request_head head = {c->method, c->version, c->target, &list};
    struct http_framing framing;
    const char *reason = "-";

    memset(&framing, 0x5a, sizeof(framing));
    fill(&list, c->fields);
    ck_assert_msg(http_rules_judge(&head, &framing, &reason) == HTTP_OK, "case %d: %s", _i, reason);
    ck_assert_int_eq(framing.has_body, c->has_body);
    ck_assert_int_eq(framing.chunked, c->chunked);
    ck_assert_int_eq(framing.content_length, c->length);
    header_list_fini(&list);
}
END_TEST

START_TEST(refuses)
{
    const struct refused *c = &refused[_i];
    struct header_list list = {0};
    struct http_request_head head = {c->method, c->version, c->target, &list};
    struct http_framing framing;
    const char *reason = NULL;
    enum http_verdict verdict;

    fill(&list, c->fields);
    verdict = http_rules_judge(&head, &framing, &reason);
    ck_assert_msg(verdict == c->verdict, "case %d: verdict %d, expected %s", _i, (int)verdict, c->reason);
    ck_assert_str_eq(reason, c->reason);
    header_list_fini(&list);
}
END_TEST

/* Every byte in a value, against RFC 9110 section 5.5 written another way. */
START_TEST(every_byte_in_a_value)
{
    for (int byte = 0; byte < 256; byte++) {
        bool clean = byte == '\t' || (byte >= ' ' && byte <= '~') || byte >= 0x80;
        struct header_list list = {0};
        struct http_request_head head = {"GET", "HTTP/1.1", "/", &list};
        struct http_framing framing;
        const char *reason;
        char value[4] = {'a', (char)byte, 'b', '\0'};

        header_add(&list, "Host", 4, "h", 1);
        header_add(&list, "X", 1, value, 3);
        ck_assert_msg((http_rules_judge(&head, &framing, &reason) == HTTP_OK) == clean, "byte %d", byte);
        header_list_fini(&list);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("http_rules");
    TCase *tc = tcase_create("http_rules");

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, accepts, 0, COUNT(accepted));
    tcase_add_loop_test(tc, refuses, 0, COUNT(refused));
    tcase_add_test(tc, every_byte_in_a_value);
    return suite_run(suite);
}
