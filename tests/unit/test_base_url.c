/*
 * test_base_url: what is a base URL, its parts, and how a client's path is joined to it.
 */
#include "core/base_url.h"
#include "oom.h"
#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *text;
    const char *origin;
    const char *host;
    const char *path;
    const char *query; /* NULL = none */
    bool https;
    bool loopback;
} good_cases[] = {
    {"https://api.anthropic.com", "https://api.anthropic.com", "api.anthropic.com", "", NULL, true, false},
    {"https://api.openai.com/", "https://api.openai.com", "api.openai.com", "", NULL, true, false},
    {"https://h///", "https://h", "h", "", NULL, true, false},
    {"https://h/v1", "https://h", "h", "/v1", NULL, true, false},
    {"https://h/v1/", "https://h", "h", "/v1", NULL, true, false},
    {"https://h/v1///", "https://h", "h", "/v1", NULL, true, false},
    {"https://h//a//b", "https://h", "h", "//a//b", NULL, true, false},
    {"http://127.0.0.1:8080/x", "http://127.0.0.1:8080", "127.0.0.1:8080", "/x", NULL, false, true},
    /* scheme and host in any case; kept as written */
    {"HTTPS://API.Example.COM/V1", "HTTPS://API.Example.COM", "API.Example.COM", "/V1", NULL, true, false},
    {"HttP://h", "HttP://h", "h", "", NULL, false, false},
    /* ports */
    {"http://h:1", "http://h:1", "h:1", "", NULL, false, false},
    {"http://h:65535/", "http://h:65535", "h:65535", "", NULL, false, false},
    {"http://h:00080", "http://h:00080", "h:00080", "", NULL, false, false},
    {"http://h:", "http://h", "h", "", NULL, false, false},
    {"http://h:/p", "http://h", "h", "/p", NULL, false, false},
    {"http://[::1]:/p", "http://[::1]", "[::1]", "/p", NULL, false, true},
    /* queries */
    {"https://h/v1?api-version=1", "https://h", "h", "/v1", "api-version=1", true, false},
    {"https://h?a=b", "https://h", "h", "", "a=b", true, false},
    {"https://h/?a=b?c/d", "https://h", "h", "", "a=b?c/d", true, false},
    {"https://h/v1/?", "https://h", "h", "/v1", NULL, true, false},
    {"https://h/v1?a[]=%20&b=@:", "https://h", "h", "/v1", "a[]=%20&b=@:", true, false},
    {"https://h/v1?x=%25", "https://h", "h", "/v1", "x=%25", true, false},
    /* escapes */
    {"https://h/a%20b", "https://h", "h", "/a%20b", NULL, true, false},
    {"https://h/%2541", "https://h", "h", "/%2541", NULL, true, false},
    {"https://h/%25%34%31", "https://h", "h", "/%25%34%31", NULL, true, false},
    {"https://h/%254%31", "https://h", "h", "/%254%31", NULL, true, false},
    {"https://h/%2525", "https://h", "h", "/%2525", NULL, true, false},
    {"https://h/%e2%82%ac%C3%9F", "https://h", "h", "/%e2%82%ac%C3%9F", NULL, true, false},
    {"https://h/-._~!$&'()*+,;=:@", "https://h", "h", "/-._~!$&'()*+,;=:@", NULL, true, false},
    {"https://h/a@b:c", "https://h", "h", "/a@b:c", NULL, true, false},
    /* hosts, and which of them are this host */
    {"http://localhost", "http://localhost", "localhost", "", NULL, false, true},
    {"http://LocalHost:1234", "http://LocalHost:1234", "LocalHost:1234", "", NULL, false, true},
    {"http://localhost.example", "http://localhost.example", "localhost.example", "", NULL, false, false},
    {"http://localhos", "http://localhos", "localhos", "", NULL, false, false},
    {"http://127.255.255.254", "http://127.255.255.254", "127.255.255.254", "", NULL, false, true},
    {"http://127.0.0.1.example.com", "http://127.0.0.1.example.com", "127.0.0.1.example.com", "", NULL, false,
     false},
    {"http://127.0.0.256", "http://127.0.0.256", "127.0.0.256", "", NULL, false, false},
    {"http://127.0.0.01", "http://127.0.0.01", "127.0.0.01", "", NULL, false, false},
    {"http://127.0.0", "http://127.0.0", "127.0.0", "", NULL, false, false},
    {"http://127.1", "http://127.1", "127.1", "", NULL, false, false},
    {"http://127.0.0.1.", "http://127.0.0.1.", "127.0.0.1.", "", NULL, false, false},
    {"http://128.0.0.1", "http://128.0.0.1", "128.0.0.1", "", NULL, false, false},
    {"http://0.0.0.0", "http://0.0.0.0", "0.0.0.0", "", NULL, false, false},
    {"http://10.127.0.1", "http://10.127.0.1", "10.127.0.1", "", NULL, false, false},
    {"http://a_b-c~d.", "http://a_b-c~d.", "a_b-c~d.", "", NULL, false, false},
    {"http://[::1]:9", "http://[::1]:9", "[::1]:9", "", NULL, false, true},
    {"http://[0:0:0:0:0:0:0:1]", "http://[0:0:0:0:0:0:0:1]", "[0:0:0:0:0:0:0:1]", "", NULL, false, true},
    {"http://[::0001]", "http://[::0001]", "[::0001]", "", NULL, false, true},
    {"http://[0::1]", "http://[0::1]", "[0::1]", "", NULL, false, true},
    {"http://[::0.0.0.1]", "http://[::0.0.0.1]", "[::0.0.0.1]", "", NULL, false, true},
    {"http://[::]", "http://[::]", "[::]", "", NULL, false, false},
    {"http://[1::]", "http://[1::]", "[1::]", "", NULL, false, false},
    {"http://[1::1]", "http://[1::1]", "[1::1]", "", NULL, false, false},
    {"http://[::1:1]", "http://[::1:1]", "[::1:1]", "", NULL, false, false},
    {"http://[::2]", "http://[::2]", "[::2]", "", NULL, false, false},
    {"http://[1:2:3:4:5:6:7::]", "http://[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7::]", "", NULL, false, false},
    {"http://[::2:3:4:5:6:7:8]", "http://[::2:3:4:5:6:7:8]", "[::2:3:4:5:6:7:8]", "", NULL, false, false},
    {"http://[1:2:3:4:5:6:1.2.3.4]", "http://[1:2:3:4:5:6:1.2.3.4]", "[1:2:3:4:5:6:1.2.3.4]", "", NULL, false,
     false},
    {"http://[::ffff:127.0.0.1]", "http://[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", "", NULL, false, false},
    {"https://[2001:DB8::a]:443/v1", "https://[2001:DB8::a]:443", "[2001:DB8::a]:443", "/v1", NULL, true,
     false},
};

START_TEST(good)
{
    struct base_url url;

    memset(&url, 0xa5, sizeof(url)); /* the caller need not clear it */
    ck_assert_int_eq(base_url_parse(good_cases[_i].text, &url), 0);
    ck_assert_msg(url.valid, "%s: %s", good_cases[_i].text, url.valid ? "" : url.reason);
    ck_assert_ptr_null(url.reason);
    ck_assert_str_eq(url.origin, good_cases[_i].origin);
    ck_assert_str_eq(url.host, good_cases[_i].host);
    ck_assert_str_eq(url.path, good_cases[_i].path);
    ck_assert_pstr_eq(url.query, good_cases[_i].query);
    ck_assert_msg(url.https == good_cases[_i].https, "https of %s", good_cases[_i].text);
    ck_assert_msg(url.loopback == good_cases[_i].loopback, "loopback of %s", good_cases[_i].text);
    base_url_fini(&url);
    ck_assert_ptr_null(url.origin);
}
END_TEST

#define NOT_ABSOLUTE "is not an absolute http or https URL"
#define SCHEME       "is neither http nor https"
#define WHITE        "has white space or a control byte"
#define NO_HOST      "has no host"
#define BAD_HOST     "has a bad host"
#define BAD_V6       "has a bad IPv6 address"
#define BAD_PORT     "has a bad port"
#define USER         "has user-info"
#define FRAGMENT     "has a fragment"
#define ESCAPE       "has a bad percent-escape in its path"
#define DECODED      "has a path with a bad percent-escape once decoded"
#define PATH_CHAR    "has a character in its path that must be percent-encoded"
#define QUERY_ESCAPE "has a bad percent-escape in its query"
#define QUERY_CHAR   "has a character in its query that must be percent-encoded"

static const struct {
    const char *text;
    const char *reason;
} bad_cases[] = {
    {"", "is empty"},
    {"api.openai.com", NOT_ABSOLUTE},
    {"/v1", NOT_ABSOLUTE},
    {"//h/v1", NOT_ABSOLUTE},
    {"localhost:8080", NOT_ABSOLUTE},
    {"http", NOT_ABSOLUTE},
    {"http:", NOT_ABSOLUTE},
    {"http:/h", NOT_ABSOLUTE},
    {"http:h", NOT_ABSOLUTE},
    {"https:///v1", NO_HOST},
    {"?http://h", NOT_ABSOLUTE},
    {"#http://h", NOT_ABSOLUTE},
    {"://h", SCHEME},
    {"ftp://h", SCHEME},
    {"file:///etc/passwd", SCHEME},
    {"httpss://h", SCHEME},
    {"htt://h", SCHEME},
    {"unix://h", SCHEME},
    {"ht%74p://h", SCHEME},
    /* white space and control bytes, anywhere */
    {" http://h", WHITE},
    {"http://h ", WHITE},
    {"http://h /", WHITE},
    {"http://h/a b", WHITE},
    {"http://h/a?b c", WHITE},
    {"http://h\t/", WHITE},
    {"http://h/\n", WHITE},
    {"http://h/\r\nX: y", WHITE},
    {"http://h/\x01", WHITE},
    {"http://h/\x7f", WHITE},
    {"ht\ntp://h/", WHITE},
    /* host */
    {"http://", NO_HOST},
    {"http:///", NO_HOST},
    {"http://?q", NO_HOST},
    {"http://:80", NO_HOST},
    {"http://:80/p", NO_HOST},
    {"http://:", NO_HOST},
    {"http://h\\evil", BAD_HOST},
    {"http://a%62c", BAD_HOST},
    {"http://a,b", BAD_HOST},
    {"http://a;b", BAD_HOST},
    {"http://h\xc3\xb6st", BAD_HOST},
    {"http://<h>", BAD_HOST},
    {"http://h]", BAD_HOST},
    {"http://a[::1]", BAD_HOST},
    {"http://[", BAD_V6},
    {"http://[]", BAD_V6},
    {"http://[::1", BAD_V6},
    {"http://[:1]", BAD_V6},
    {"http://[1:]", BAD_V6},
    {"http://[:]", BAD_V6},
    {"http://[:::]", BAD_V6},
    {"http://[1:::2]", BAD_V6},
    {"http://[1::2::3]", BAD_V6},
    {"http://[::1::]", BAD_V6},
    {"http://[1:2:3:4:5:6:7]", BAD_V6},
    {"http://[1:2:3:4:5:6:7:8:9]", BAD_V6},
    {"http://[1:2:3:4:5:6:7:8::]", BAD_V6},
    {"http://[::1:2:3:4:5:6:7:8]", BAD_V6},
    {"http://[1:2:3:4:5:6:7:1.2.3.4]", BAD_V6},
    {"http://[12345::]", BAD_V6},
    {"http://[g::]", BAD_V6},
    {"http://[127.0.0.1]", BAD_V6},
    {"http://[::1.2.3]", BAD_V6},
    {"http://[::1.2.3.4.5]", BAD_V6},
    {"http://[::1.2.3.256]", BAD_V6},
    {"http://[::1.2.3.4:5]", BAD_V6},
    {"http://[fe80::1%25eth0]", BAD_V6},
    {"http://[v1.x]", BAD_V6},
    {"http://[localhost]", BAD_V6},
    /* port */
    {"http://[::1]9", BAD_PORT},
    {"http://[::1]x:9", BAD_PORT},
    {"http://::1", NO_HOST},
    {"http://1::1", BAD_PORT},
    {"http://h:0", BAD_PORT},
    {"http://h:000", BAD_PORT},
    {"http://h:65536", BAD_PORT},
    {"http://h:99999999999999999999", BAD_PORT},
    {"http://h:-1", BAD_PORT},
    {"http://h:+1", BAD_PORT},
    {"http://h:80x", BAD_PORT},
    {"http://h:0x50", BAD_PORT},
    {"http://h:80:80", BAD_PORT},
    {"http://h:http", BAD_PORT},
    /* user-info */
    {"http://user@h", USER},
    {"http://user:pass@h/v1", USER},
    {"http://@h", USER},
    {"http://:@h", USER},
    {"http://h@", USER},
    {"http://a@b@h", USER},
    {"http://h:80@evil.example", USER},
    /* fragment */
    {"http://h#", FRAGMENT},
    {"http://h/#f", FRAGMENT},
    {"http://h/v1?q#f", FRAGMENT},
    {"http://#h", FRAGMENT},
    /* percent-escapes in the path */
    {"http://h/%zz", ESCAPE},
    {"http://h/%", ESCAPE},
    {"http://h/%2", ESCAPE},
    {"http://h/%2?x", ESCAPE},
    {"http://h/a%g0", ESCAPE},
    {"http://h/%0g", ESCAPE},
    {"http://h/%%25", ESCAPE},
    {"http://h/v1/%zz/", ESCAPE},
    {"http://h/%25", DECODED},
    {"http://h/%25/", DECODED},
    {"http://h/%25zz", DECODED},
    {"http://h/%254", DECODED},
    {"http://h/%254/1", DECODED},
    {"http://h/%25%34", DECODED},
    {"http://h/%25%25", DECODED},
    {"http://h/a%25?41", DECODED},
    /* characters that RFC 3986 has no place for */
    {"http://h/a\\b", PATH_CHAR},
    {"http://h/{id}", PATH_CHAR},
    {"http://h/a|b", PATH_CHAR},
    {"http://h/<a>", PATH_CHAR},
    {"http://h/\"", PATH_CHAR},
    {"http://h/^", PATH_CHAR},
    {"http://h/`", PATH_CHAR},
    {"http://h/[a]", PATH_CHAR},
    {"http://h/\xc3\xb6", PATH_CHAR},
    {"http://h/?%zz", QUERY_ESCAPE},
    {"http://h?a=%4", QUERY_ESCAPE},
    {"http://h?a=\"", QUERY_CHAR},
    {"http://h?a=\xc3\xb6", QUERY_CHAR},
};

START_TEST(bad)
{
    struct base_url url;

    memset(&url, 0xa5, sizeof(url));
    ck_assert_int_eq(base_url_parse(bad_cases[_i].text, &url), 0);
    ck_assert_msg(!url.valid, "%s is taken for valid", bad_cases[_i].text);
    ck_assert_msg(strcmp(url.reason, bad_cases[_i].reason) == 0, "%s: %s", bad_cases[_i].text, url.reason);
    ck_assert_ptr_null(url.origin);
    ck_assert_ptr_null(url.host);
    ck_assert_ptr_null(url.path);
    ck_assert_ptr_null(url.query);
    base_url_fini(&url);
}
END_TEST

/* Every byte that is no part of a URL is refused in the host, the path and the query. */
START_TEST(every_byte)
{
    static const char never[] = "\"\\<>^`{}| #";

    for (int byte = 1; byte < 256; byte++) {
        static const char *const forms[] = {"http://a%cb", "http://h/a%cb", "http://h/?a%cb"};
        bool refused = byte <= ' ' || byte >= 0x7f || strchr(never, byte) != NULL;

        for (size_t i = 0; i < COUNT(forms) && refused; i++) {
            struct base_url url;
            char text[32];
            const char *at = strstr(forms[i], "%c");

            snprintf(text, sizeof(text), "%.*s%c%s", (int)(at - forms[i]), forms[i], byte, at + 2);
            ck_assert_int_eq(base_url_parse(text, &url), 0);
            ck_assert_msg(!url.valid, "byte %d in %s", byte, forms[i]);
            base_url_fini(&url);
        }
    }
}
END_TEST

static const struct {
    const char *base;
    const char *rest;
    const char *joined;
} join_cases[] = {
    {"https://h", "/v1/messages", "https://h/v1/messages"},
    {"https://h/", "/v1/messages", "https://h/v1/messages"},
    {"https://h/v1", "/models", "https://h/v1/models"},
    {"https://h/v1/", "/models", "https://h/v1/models"},
    {"https://h/v1//", "/models", "https://h/v1/models"},
    {"https://h/v1", "models", "https://h/v1/models"},
    {"https://h", "models", "https://h/models"},
    {"https://h/v1", "", "https://h/v1"},
    {"https://h/v1/", "", "https://h/v1"},
    {"https://h", "", "https://h/"},
    {"https://h/", "", "https://h/"},
    {"https://h", "/", "https://h/"},
    {"https://h/v1", "/", "https://h/v1/"},
    {"https://h:8443/v1", "?q", "https://h:8443/v1?q"},
    {"https://h", "?q", "https://h/?q"},
    {"https://h", "/?q", "https://h/?q"},
    {"https://h/v1", "/m?", "https://h/v1/m?"},
    {"https://h", "?", "https://h/?"},
    {"https://[::1]:80/v1", "/m?a=1&b=2", "https://[::1]:80/v1/m?a=1&b=2"},
    /* the client's bytes stay as they are */
    {"https://h/v1", "//m", "https://h/v1//m"},
    {"https://h", "//m//", "https://h//m//"},
    {"https://h/v1", "/a%2fb%2F/%41%zz%", "https://h/v1/a%2fb%2F/%41%zz%"},
    {"https://h/v1", "/a\\b|{c}\xc3\xb6", "https://h/v1/a\\b|{c}\xc3\xb6"},
    {"https://h/v1", "/m?x=%0a+%20&y=a/b//c?d", "https://h/v1/m?x=%0a+%20&y=a/b//c?d"},
    {"https://h/%2541", "/%2541", "https://h/%2541/%2541"},
    /* a query of the base URL */
    {"https://h/v1?k=1", "", "https://h/v1?k=1"},
    {"https://h?k=1", "", "https://h/?k=1"},
    {"https://h/v1?k=1", "/m", "https://h/v1/m?k=1"},
    {"https://h/v1/?k=1", "/m", "https://h/v1/m?k=1"},
    {"https://h/v1?k=1", "/m?a=2", "https://h/v1/m?k=1&a=2"},
    {"https://h/v1?k=1", "?a=2", "https://h/v1?k=1&a=2"},
    {"https://h/v1?k=1", "/m?", "https://h/v1/m?k=1"},
    {"https://h/v1?k=1", "/m?a?b", "https://h/v1/m?k=1&a?b"},
    {"https://h/v1?", "/m?a", "https://h/v1/m?a"},
};

START_TEST(joins)
{
    struct base_url url;
    struct arena arena = {0};
    char *joined;

    ck_assert_int_eq(base_url_parse(join_cases[_i].base, &url), 0);
    ck_assert(url.valid);
    joined = base_url_join(&url, join_cases[_i].rest, &arena);
    ck_assert_str_eq(joined, join_cases[_i].joined);
    arena_fini(&arena);
    base_url_fini(&url);
}
END_TEST

START_TEST(out_of_memory)
{
    struct base_url url;
    struct arena arena = {0};
    struct rlimit old;
    char *text;

    limit_memory(&old);
    text = huge_text("a", HUGE);
    memcpy(text, "http://h/", 9);
    ck_assert_int_eq(base_url_parse(text, &url), -1);
    ck_assert(!url.valid);
    ck_assert_str_eq(url.reason, "could not be stored: out of memory");
    ck_assert_ptr_null(url.origin);
    memcpy(text, "http://h?", 9);
    ck_assert_int_eq(base_url_parse(text, &url), -1);
    ck_assert(!url.valid);
    base_url_fini(&url);

    ck_assert_int_eq(base_url_parse("http://h", &url), 0);
    ck_assert_ptr_null(base_url_join(&url, text, &arena));
    base_url_fini(&url);
    arena_fini(&arena);
    free(text);
    setrlimit(RLIMIT_AS, &old);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base_url");
    TCase *tc = tcase_create("base_url");

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, good, 0, COUNT(good_cases));
    tcase_add_loop_test(tc, bad, 0, COUNT(bad_cases));
    tcase_add_test(tc, every_byte);
    tcase_add_loop_test(tc, joins, 0, COUNT(join_cases));
    if (can_limit())
        tcase_add_test(tc, out_of_memory);
    return suite_run(suite);
}
