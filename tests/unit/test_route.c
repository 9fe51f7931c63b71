/*
 * test_route: which targets may be passed on, and to which provider.
 */
#include "core/route.h"

#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define DOTS    "the path has a dot segment"
#define CONTROL "the path has a control byte"
#define QUERY   "the query has a control byte"

static const struct {
    const char *target;
    const char *reason; /* NULL = safe */
} safe_cases[] = {
    {"/", NULL},
    {"", NULL},
    {"/v1/messages", NULL},
    {"//", NULL},
    {"/a//b/", NULL},
    /* dot segments */
    {"/..", DOTS},
    {"/.", DOTS},
    {"/../", DOTS},
    {"/./", DOTS},
    {"/a/..", DOTS},
    {"/a/../b", DOTS},
    {"/a/./b", DOTS},
    {"/a/.", DOTS},
    {"/..?q", DOTS},
    {"/a/.?q", DOTS},
    {"..", DOTS},
    {".", DOTS},
    {"/%2e", DOTS},
    {"/%2E", DOTS},
    {"/%2e%2e", DOTS},
    {"/%2e%2E", DOTS},
    {"/%2E%2e/", DOTS},
    {"/.%2e", DOTS},
    {"/%2e.", DOTS},
    {"/a/%2e%2e/b", DOTS},
    {"/%2e%2e?q", DOTS},
    /* encoded separators end a segment */
    {"/..%2f", DOTS},
    {"/..%2Fetc", DOTS},
    {"/a%2f..", DOTS},
    {"/a%2f..%2fb", DOTS},
    {"/a%2F.%2Fb", DOTS},
    {"/..%5c", DOTS},
    {"/%2e%2e%5c", DOTS},
    {"/%2e%2e%5Cx", DOTS},
    {"/a%5c%2e%2e", DOTS},
    {"/..%5c..%2f..", DOTS},
    {"/..\\x", DOTS},
    {"/a\\..", DOTS},
    {"/a\\.\\b", DOTS},
    /* look-alikes */
    {"/...", NULL},
    {"/.../", NULL},
    {"/....", NULL},
    {"/a..b", NULL},
    {"/a..", NULL},
    {"/..a", NULL},
    {"/.a", NULL},
    {"/a.", NULL},
    {"/.well-known/x", NULL},
    {"/a.b/c.d", NULL},
    {"/%2e%2e%2e", NULL},
    {"/%2ea", NULL},
    {"/a%2e%2e", NULL},
    {"/..%20", NULL},
    {"/.%2", NULL},
    {"/.%2g", NULL},
    {"/..%", NULL},
    {"/%252e%252e/", NULL},
    {"/..%252f", NULL},
    {"/..%3f", NULL},
    {"/..;", NULL},
    {"/%2f", NULL},
    {"/a%2fb", NULL},
    {"/a%5cb", NULL},
    {"/a\\b", NULL},
    {"/%zz", NULL},
    {"/%", NULL},
    {"/a?..", NULL},
    {"/a?/../", NULL},
    {"/a?x=%2e%2e%2f", NULL},
    /* control bytes in the path */
    {"/%00", CONTROL},
    {"/a%00b", CONTROL},
    {"/%0d%0a", CONTROL},
    {"/%0D", CONTROL},
    {"/%0A", CONTROL},
    {"/%09", CONTROL},
    {"/%1f", CONTROL},
    {"/%1F", CONTROL},
    {"/%7f", CONTROL},
    {"/%7F", CONTROL},
    {"/..%00/", CONTROL},
    {"/a\rb", CONTROL},
    {"/a\n", CONTROL},
    {"/\t", CONTROL},
    {"/\x01", CONTROL},
    {"/\x1f", CONTROL},
    {"/\x7f", CONTROL},
    {"/%20", NULL},
    {"/%7e", NULL},
    {"/%80%ff", NULL},
    {"/\x80\xff", NULL},
    {"/%c3%b6", NULL},
    {"/%250a", NULL},
    /* in the query only plain ones */
    {"/a?%00", NULL},
    {"/a?x=%0d%0a", NULL},
    {"/a?%7f", NULL},
    {"/a?\n", QUERY},
    {"/a?x\r", QUERY},
    {"/a?x=\x7f", QUERY},
    {"/a?x\ty", QUERY},
    {"/a?x??\x01", QUERY},
    {"/a?\x80", NULL},
};

START_TEST(safe)
{
    const char *reason = NULL;
    bool ok = route_target_is_safe(safe_cases[_i].target, &reason);

    ck_assert_msg(ok == (safe_cases[_i].reason == NULL), "%s", safe_cases[_i].target);
    ck_assert_pstr_eq(reason, safe_cases[_i].reason);
}
END_TEST

/* Each byte as it is and percent-encoded, in the path and in the query. */
START_TEST(every_control_byte)
{
    for (int byte = 1; byte < 256; byte++) {
        bool control = byte < 32 || byte == 127;
        const char *reason;
        char target[16];

        snprintf(target, sizeof(target), "/a%c", byte);
        ck_assert_msg(route_target_is_safe(target, &reason) == !control, "byte %d", byte);
        snprintf(target, sizeof(target), "/a?b%c", byte);
        ck_assert_msg(route_target_is_safe(target, &reason) == !control, "byte %d in the query", byte);
        snprintf(target, sizeof(target), "/a%%%02xb", (unsigned)byte);
        ck_assert_msg(route_target_is_safe(target, &reason) == !control, "%s", target);
        snprintf(target, sizeof(target), "/a?%%%02X", (unsigned)byte);
        ck_assert_msg(route_target_is_safe(target, &reason), "%s", target);
    }
}
END_TEST

static char *routes[] = {"/openai", "/openai/beta", "/a", "/a/b/c", "/open"};

static const struct {
    const char *target;
    const char *route; /* NULL = none */
    const char *rest;
} find_cases[] = {
    {"/openai/v1/models", "/openai", "/v1/models"},
    {"/openai", "/openai", ""},
    {"/openai/", "/openai", "/"},
    {"/openai?q=1", "/openai", "?q=1"},
    {"/openai/?q", "/openai", "/?q"},
    {"/openai//v1", "/openai", "//v1"},
    {"/openai/beta", "/openai/beta", ""},
    {"/openai/beta/x?y", "/openai/beta", "/x?y"},
    {"/openai/betas", "/openai", "/betas"},
    {"/openai/bet", "/openai", "/bet"},
    {"/openai//beta", "/openai", "//beta"},
    {"/open/x", "/open", "/x"},
    {"/a/b/c/d", "/a/b/c", "/d"},
    {"/a/b/cd", "/a", "/b/cd"},
    {"/a/b", "/a", "/b"},
    {"/a?/b/c", "/a", "?/b/c"},
    {"/a/b?/c", "/a", "/b?/c"},
    {"/openaix", NULL, NULL},
    {"/opena", NULL, NULL},
    {"/Openai/v1", NULL, NULL},
    {"/openai%2fv1", NULL, NULL},
    {"/%6fpenai/v1", NULL, NULL},
    {"//openai", NULL, NULL},
    {"/openai;x/v1", NULL, NULL},
    {"/openai\\v1", NULL, NULL},
    {"/", NULL, NULL},
    {"", NULL, NULL},
    {"?/openai", NULL, NULL},
    {"openai", NULL, NULL},
    {"/x/openai", NULL, NULL},
};

START_TEST(finds_the_longest)
{
    struct provider items[COUNT(routes)];
    struct provider_list list = {items, COUNT(routes)};

    memset(items, 0, sizeof(items));
    for (size_t turn = 0; turn < 2; turn++) { /* whatever the order of the providers */
        const struct provider *found;
        const char *rest = NULL;

        for (size_t i = 0; i < COUNT(routes); i++)
            items[i].route = routes[turn == 0 ? i : COUNT(routes) - 1 - i];
        found = route_find(&list, find_cases[_i].target, &rest);
        ck_assert_pstr_eq(found != NULL ? found->route : NULL, find_cases[_i].route);
        ck_assert_pstr_eq(rest, find_cases[_i].rest);
        if (rest != NULL) /* a place in the target, not a copy */
            ck_assert_ptr_eq(rest, find_cases[_i].target + strlen(find_cases[_i].route));
    }
}
END_TEST

START_TEST(root_route_takes_the_others)
{
    static const struct {
        const char *target;
        const char *route;
        const char *rest;
    } cases[] = {
        {"/a/x", "/a", "/x"}, {"/ab/x", "/", "/ab/x"}, {"/", "/", "/"},
        {"/?q", "/", "/?q"},  {"//x", "/", "//x"},     {"/a", "/a", ""},
    };
    char root[] = "/";
    char a[] = "/a";
    struct provider items[2];
    struct provider_list list = {items, 2};

    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < 2 * COUNT(cases); i++) {
        const char *rest = NULL;

        items[i % 2].route = root;
        items[1 - i % 2].route = a;
        ck_assert_str_eq(route_find(&list, cases[i / 2].target, &rest)->route, cases[i / 2].route);
        ck_assert_str_eq(rest, cases[i / 2].rest);
    }
    ck_assert_ptr_null(route_find(&list, "x", &(const char *){NULL}));
}
END_TEST

START_TEST(no_providers_no_route)
{
    struct provider_list list = {NULL, 0};
    const char *rest = "untouched";

    ck_assert_ptr_null(route_find(&list, "/a", &rest));
    ck_assert_str_eq(rest, "untouched");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *tc = tcase_create("route");

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, safe, 0, COUNT(safe_cases));
    tcase_add_test(tc, every_control_byte);
    tcase_add_loop_test(tc, finds_the_longest, 0, COUNT(find_cases));
    tcase_add_test(tc, root_route_takes_the_others);
    tcase_add_test(tc, no_providers_no_route);
    return suite_run(suite);
}
