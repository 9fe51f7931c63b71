/*
 * Tests of admin_action: what the status page's form may hold, who may send it.
 */
#include "worker/admin_action.h"

#include "base/digest.h"
#include "unit/suite.h"

#include <string.h>

#define ID "0123456789abcdef"

static const struct {
    const char *body;
    bool good;
    enum store_edit_action action;
} bodies[] = {
    {"token=abc&do=reset+openai+" ID, true, STORE_EDIT_RESET},
    {"do=disable%20openai%20" ID "&token=abc", true, STORE_EDIT_DISABLE},
    {"x=y&token=a%62c&do=enable+openai+" ID "&z", true, STORE_EDIT_ENABLE},
    {"token=abc", false, 0},
    {"do=reset+openai+" ID, false, 0},
    {"token=abc&token=abc&do=reset+openai+" ID, false, 0},
    {"token=abc&do=delete+openai+" ID, false, 0},
    {"token=abc&do=reset+openai", false, 0},
    {"token=abc&do=reset++openai+" ID, false, 0},
    {"token=abc&do=reset+openai+" ID "+more", false, 0},
    {"token=abc&do=reset+openai+" ID "0", false, 0},
    {"token=a%00c&do=reset+openai+" ID, false, 0},
    {"token=a%zzc&do=reset+openai+" ID, false, 0},
    {"token=ab%6", false, 0},
    {"token=abc&do=", false, 0},
    {"tokens=abc&doit=reset+openai+" ID, false, 0},
    {"", false, 0},
    {"&&&=", false, 0},
};

START_TEST(test_parse)
{
    struct admin_action action;

    ck_assert_int_eq(admin_action_parse(bodies[_i].body, strlen(bodies[_i].body), &action), bodies[_i].good);
    if (!bodies[_i].good)
        return;
    ck_assert_str_eq(action.token, "abc");
    ck_assert_int_eq(action.action, bodies[_i].action);
    ck_assert_str_eq(action.provider, "openai");
    ck_assert_str_eq(action.key_id, ID);
}
END_TEST

START_TEST(test_long_token)
{
    char body[ADMIN_ACTION_TOKEN + 100] = "do=reset+openai+" ID "&token=";
    size_t len = strlen(body);
    struct admin_action action;

    memset(body + len, 'x', ADMIN_ACTION_TOKEN);
    ck_assert(!admin_action_parse(body, len + ADMIN_ACTION_TOKEN, &action));
    ck_assert(admin_action_parse(body, len + ADMIN_ACTION_TOKEN - 1, &action));
}
END_TEST

START_TEST(test_token)
{
    struct admin_action action = {.token = "clv_secret"};
    char hash[DIGEST_HEX_SIZE];

    ck_assert_int_eq(digest_sha256_hex(action.token, strlen(action.token), hash), 0);
    ck_assert(admin_action_is_allowed(&action, hash));
    hash[0] = hash[0] == '0' ? '1' : '0';
    ck_assert(!admin_action_is_allowed(&action, hash));
    ck_assert(!admin_action_is_allowed(&action, ""));
    action.token[0] = '\0';
    ck_assert(!admin_action_is_allowed(&action, ""));
}
END_TEST

static const struct {
    const char *sec_fetch_site;
    const char *origin;
    const char *host;
    bool good;
} sites[] = {
    {NULL, NULL, "h:1", true},
    {"same-origin", "http://h:1", "h:1", true},
    {"none", NULL, "h:1", true},
    {NULL, "http://H:1", "h:1", true},
    {NULL, "https://h:1", "h:1", true},
    {"cross-site", NULL, "h:1", false},
    {"same-site", "http://h:1", "h:1", false},
    {NULL, "http://evil", "h:1", false},
    {NULL, "http://h:1.evil", "h:1", false},
    {NULL, "null", "h:1", false},
    {NULL, "http://h:1", NULL, false},
    {"", NULL, "h:1", false},
};

START_TEST(test_sites)
{
    ck_assert_int_eq(admin_action_is_same_site(sites[_i].sec_fetch_site, sites[_i].origin, sites[_i].host),
                     sites[_i].good);
}
END_TEST

/* One line a minute, whatever comes; it says how many it stands for. */
START_TEST(test_refusals)
{
    struct admin_action_refusals refusals = {0};
    unsigned unsaid = 77;
    ck_assert(admin_action_say_refusal(&refusals, 5, &unsaid));
    ck_assert_uint_eq(unsaid, 0);
    for (int i = 0; i < 1000; i++)
        ck_assert(!admin_action_say_refusal(&refusals, 5 + i * 59, &unsaid));
    ck_assert(!admin_action_say_refusal(&refusals, 4 + ADMIN_ACTION_SAY_MS, &unsaid));
    ck_assert(admin_action_say_refusal(&refusals, 5 + ADMIN_ACTION_SAY_MS, &unsaid));
    ck_assert_uint_eq(unsaid, 1001);
    ck_assert(!admin_action_say_refusal(&refusals, 6 + ADMIN_ACTION_SAY_MS, &unsaid));
    ck_assert(admin_action_say_refusal(&refusals, 5 + 2 * ADMIN_ACTION_SAY_MS, &unsaid));
    ck_assert_uint_eq(unsaid, 1);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
    Suite *s = suite_create("admin_action");
    TCase *tc = tcase_create("admin_action");

    tcase_add_loop_test(tc, test_parse, 0, COUNT(bodies));
    tcase_add_test(tc, test_long_token);
    tcase_add_test(tc, test_token);
    tcase_add_test(tc, test_refusals);
    tcase_add_loop_test(tc, test_sites, 0, COUNT(sites));
    suite_add_tcase(s, tc);
    return suite_run(s);
}
