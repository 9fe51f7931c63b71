/*
 * test_provider: the table of provider types.
 */
#include "core/provider.h"

#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
    const char *name;
    enum provider_type type;
    const char *base_url;
    const char *auth_header;
    const char *auth_prefix;
    const char *byok[2];
    enum error_shape shape;
    bool pooled;
    const char *env[2];
} cases[] = {
    {"anthropic",
     PROVIDER_ANTHROPIC,
     "https://api.anthropic.com",
     "X-Api-Key",
     "",
     {"X-Api-Key", "Authorization"},
     ERROR_SHAPE_ANTHROPIC,
     true,
     {"ANTHROPIC_API_KEYS", "ANTHROPIC_API_KEY"}},
    {"openai",
     PROVIDER_OPENAI,
     "https://api.openai.com",
     "Authorization",
     "Bearer ",
     {"Authorization", NULL},
     ERROR_SHAPE_OPENAI,
     true,
     {"OPENAI_API_KEYS", "OPENAI_API_KEY"}},
    {"copilot",
     PROVIDER_COPILOT,
     "https://api.githubcopilot.com",
     "Authorization",
     "Bearer ",
     {"Authorization", NULL},
     ERROR_SHAPE_OPENAI,
     false,
     {NULL, NULL}},
    {"custom",
     PROVIDER_CUSTOM,
     NULL,
     "Authorization",
     "Bearer ",
     {NULL, NULL},
     ERROR_SHAPE_OPENAI,
     true,
     {NULL, NULL}},
};

START_TEST(table)
{
    const struct provider_type_info *info = provider_type_find(cases[_i].name);

    ck_assert_ptr_nonnull(info);
    ck_assert_ptr_eq(info, provider_type_info(cases[_i].type));
    ck_assert_str_eq(info->name, cases[_i].name);
    ck_assert_int_eq(info->type, cases[_i].type);
    ck_assert_pstr_eq(info->base_url, cases[_i].base_url);
    ck_assert_str_eq(info->auth_header, cases[_i].auth_header);
    ck_assert_str_eq(info->auth_prefix, cases[_i].auth_prefix);
    for (size_t i = 0; i < 2; i++)
        ck_assert_pstr_eq(info->byok_headers[i], cases[_i].byok[i]);
    ck_assert_ptr_null(info->byok_headers[2]);
    ck_assert_int_eq(info->error_shape, cases[_i].shape);
    ck_assert_int_eq(info->pooled, cases[_i].pooled);
    ck_assert_int_eq(info->env != NULL, cases[_i].env[0] != NULL);
    if (info->env != NULL) {
        ck_assert_str_eq(info->env[0], cases[_i].env[0]);
        ck_assert_str_eq(info->env[1], cases[_i].env[1]);
        ck_assert_ptr_null(info->env[2]);
    }
}
END_TEST

START_TEST(unknown)
{
    static const char *const names[] = {"", "Anthropic", "anthropic ", "anthropi", "openai2", "azure"};

    for (size_t i = 0; i < COUNT(names); i++)
        ck_assert_ptr_null(provider_type_find(names[i]));
    ck_assert_ptr_null(provider_type_info((enum provider_type)(PROVIDER_CUSTOM + 1)));
}
END_TEST

/* The built-in defaults must be good base URLs. */
START_TEST(default_base_urls_are_valid)
{
    struct base_url url;

    if (cases[_i].base_url == NULL)
        return;
    ck_assert_int_eq(base_url_parse(provider_type_find(cases[_i].name)->base_url, &url), 0);
    ck_assert(url.valid);
    ck_assert(url.https);
    base_url_fini(&url);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("provider");
    TCase *tc = tcase_create("provider");

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, table, 0, COUNT(cases));
    tcase_add_test(tc, unknown);
    tcase_add_loop_test(tc, default_base_urls_are_valid, 0, COUNT(cases));
    return suite_run(suite);
}
