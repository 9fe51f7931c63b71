/*
 * test_credential_strip: what of a request's credentials travels, and that no key comes back with an answer.
 */
#include "credential_providers.h"

#include <stdio.h>

/* The names and values of a list in one text. */
static void print(const struct header_list *list, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        int len = snprintf(out + at, size - at, "%s=%s|", list->items[i].name, list->items[i].value);

        ck_assert(len > 0 && (size_t)len < size - at);
        at += (size_t)len;
    }
}

START_TEST(knows_credential_headers)
{
    static const char *const always[] = {"X-Api-Key",       "x-api-key",        "Authorization",
                                         "AUTHORIZATION",   "X-Claviger-Token", "x-claviger-token",
                                         "X_Api_Key",       "x_API-key",        "X.Api~Key",
                                         "X_CLAVIGER_TOKEN"};
    static const char *const configured[] = {"X-Goog-Api-Key", "x-goog-api-key", "Api-Auth",
                                             "X-SIG",          "X_Goog_Api_Key", "api_auth"};
    static const char *const never[] = {"",           "X-Api-Keys",     "X-Api-Ke", "Cookie",
                                        "Host",       "Authorization2", "Api-Key",  "XApi-Key",
                                        "X-Api-Key-", "Authorization_"};
    struct provider_list nobody = {NULL, 0};

    setup();
    for (size_t i = 0; i < COUNT(always); i++) {
        ck_assert_msg(credential_is_header(&everyone, always[i]), "%s", always[i]);
        ck_assert_msg(credential_is_header(&nobody, always[i]), "%s", always[i]);
    }
    for (size_t i = 0; i < COUNT(configured); i++) {
        ck_assert_msg(credential_is_header(&everyone, configured[i]), "%s", configured[i]);
        ck_assert_msg(!credential_is_header(&nobody, configured[i]), "%s", configured[i]);
    }
    for (size_t i = 0; i < COUNT(never); i++)
        ck_assert_msg(!credential_is_header(&everyone, never[i]), "%s", never[i]);
}
END_TEST

/* The table of types names no credential header that the module does not know. */
START_TEST(knows_the_headers_of_every_type)
{
    struct provider_list nobody = {NULL, 0};

    for (int type = PROVIDER_ANTHROPIC; type <= PROVIDER_CUSTOM; type++) {
        const struct provider_type_info *info = provider_type_info((enum provider_type)type);

        ck_assert_msg(credential_is_header(&nobody, info->auth_header), "%s", info->auth_header);
        for (size_t i = 0; info->byok_headers[i] != NULL; i++)
            ck_assert_msg(credential_is_header(&nobody, info->byok_headers[i]), "%s", info->byok_headers[i]);
    }
}
END_TEST

START_TEST(strips_every_credential)
{
    static const struct field in[] = {
        {"Accept", "*/*"},
        {"x-api-key", "sk-ant"},
        {"Content-Type", "t"},
        {"X-GOOG-API-KEY", "g"},
        {"Authorization", "Bearer x"},
        {"X-Api-Keys", "kept"},
        {"API-AUTH", "Token x"},
        {"X-Claviger-Token", TOKEN},
        {"Authorization", "again"},
        {"Cookie", "kept"},
        {"X-Sig", "key=y"},
        {"X_Api_Key", "u"},
        {"x.goog_api-key", "u"},
        {"X-Other", "a " TOKEN "!"},
        {"X-Near", "clv_short and xclv_0123456789012345678901234567890123456789012"},
        {"Anthropic-Version", "2023-06-01"},
    };
    struct header_list list = {0};
    char out[300];

    setup();
    fill(&list, in, COUNT(in));
    credential_strip(&everyone, &list);
    print(&list, out, sizeof(out));
    ck_assert_str_eq(out, "Accept=*/*|Content-Type=t|X-Api-Keys=kept|Cookie=kept|X-Near=clv_short and "
                          "xclv_0123456789012345678901234567890123456789012|Anthropic-Version=2023-06-01|");
    header_list_clear(&list);
    credential_strip(&everyone, &list);
    ck_assert_uint_eq(list.count, 0);
    header_list_fini(&list);
}
END_TEST

static const struct {
    enum who who;
    struct field in[4];
    const char *out;
} gateway_cases[] = {
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"A", "b"}}, "X-Api-Key=sk-1|A=b|"},
    {ANTHROPIC, {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer sk-1"}}, "Authorization=Bearer sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer claviger"}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC, {{"Authorization", "Bearer sk-1"}, {"X-Api-Key", TOKEN}}, "Authorization=Bearer sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"X-Claviger-Token", TOKEN}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"X-Claviger-Token", "whatever"}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"X-Claviger-Token", ""}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC,
     {{"X-Api-Key", ""}, {"Authorization", "Bearer sk-1"}},
     "X-Api-Key=|Authorization=Bearer sk-1|"},
    {ANTHROPIC,
     {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer sk-2"}},
     "X-Api-Key=sk-1|Authorization=Bearer sk-2|"},
    /* what has no meaning for this provider is its own business */
    {OPENAI,
     {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer sk-2"}},
     "X-Api-Key=sk-1|Authorization=Bearer sk-2|"},
    {OPENAI, {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer sk-2"}}, "Authorization=Bearer sk-2|"},
    {OPENAI,
     {{"Authorization", "Basic eA=="}, {"Api-Key", "claviger"}},
     "Authorization=Basic eA==|Api-Key=claviger|"},
    /* nothing of its own: as it came, but for tokens */
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer claviger"}}, "Authorization=Bearer claviger|"},
    {ANTHROPIC_NO_KEYS,
     {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer"}},
     "X-Api-Key=claviger|Authorization=Bearer|"},
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer " TOKEN}, {"X-Api-Key", "claviger"}}, "X-Api-Key=claviger|"},
    {OPENAI_NO_KEYS,
     {{"X-Api-Key", "sk-1"}, {"Authorization", "claviger"}},
     "X-Api-Key=sk-1|Authorization=claviger|"},
    {COPILOT,
     {{"Authorization", "Bearer gho_x"}, {"X-Claviger-Token", TOKEN}},
     "Authorization=Bearer gho_x|"},
    {COPILOT, {{"Authorization", "Bearer claviger"}}, "Authorization=Bearer claviger|"},
    {COPILOT, {{"Accept", "*/*"}, {"B", "claviger"}}, "Accept=*/*|B=claviger|"},
    {CUSTOM, {{"X-Goog-Api-Key", "AIza"}, {"Authorization", "Bearer claviger"}}, "X-Goog-Api-Key=AIza|"},
    {CUSTOM, {{"X-Goog-Api-Key", "AIza"}, {"Authorization", "Bearer " TOKEN}}, "X-Goog-Api-Key=AIza|"},
    {CUSTOM,
     {{"X-Goog-Api-Key", "AIza"}, {"Authorization", "Bearer y"}},
     "X-Goog-Api-Key=AIza|Authorization=Bearer y|"},
    {CUSTOM_PREFIX, {{"Api-Auth", "Token " TOKEN}, {"Api-Auth", "Token x"}}, "Api-Auth=Token x|"},
    /* a token in a field that is no place for it */
    {OPENAI,
     {{"Authorization", "Bearer sk-1"}, {"Cookie", "t=" TOKEN "; u"}, {"X_Claviger_Token", "w"}},
     "Authorization=Bearer sk-1|"},
    {OPENAI,
     {{"Authorization", "Bearer sk-1"}, {"X-Goog-Api-Key", TOKEN}, {"X_Api_Key", "sk-2"}},
     "Authorization=Bearer sk-1|X_Api_Key=sk-2|"},
};

START_TEST(strips_what_is_the_gateways)
{
    struct header_list list = {0};
    char out[300];

    setup();
    fill(&list, gateway_cases[_i].in, COUNT(gateway_cases[_i].in));
    credential_strip_gateway(&providers[gateway_cases[_i].who], &list);
    print(&list, out, sizeof(out));
    ck_assert_str_eq(out, gateway_cases[_i].out);
    header_list_fini(&list);
}
END_TEST

START_TEST(strips_what_repeats_the_key)
{
    static const char text[] = "sk-a-key-0123456789";
    static const struct field in[] = {
        {"Content-Type", "t"},
        {"Location", "https://x/?key=sk-a-key-0123456789&a"},
        {"Location", "https://x/?key=sk-a-key-012345678"},
        {"X-Echo", "sk-a-key-0123456789"},
        {"X-Empty", ""},
    };
    struct secret *key = secret_new(text, strlen(text));
    struct secret *brief = secret_new("t", 1);
    struct header_list list = {0};
    char out[200];

    ck_assert_ptr_nonnull(key);
    ck_assert_ptr_nonnull(brief);
    fill(&list, in, COUNT(in));
    ck_assert_uint_eq(credential_strip_echo(key, &list), 2);
    print(&list, out, sizeof(out));
    ck_assert_str_eq(out, "Content-Type=t|Location=https://x/?key=sk-a-key-012345678|X-Empty=|");
    ck_assert_uint_eq(credential_strip_echo(brief, &list), 0);
    ck_assert_uint_eq(list.count, 3);
    header_list_fini(&list);
    secret_free(&key);
    secret_free(&brief);
}
END_TEST

#define STARS "*******************"

static const struct {
    const char *in;
    const char *out;
    size_t held;
} hide_cases[] = {
    {"", "", 0},
    {"nothing here", "nothing here", 0},
    {"sk-a-key-0123456789", STARS, 0},
    {"[sk-a-key-0123456789]", "[" STARS "]", 0},
    {"sk-a-key-0123456789sk-a-key-0123456789", STARS STARS, 0},
    {"a sk-a-key-0123456789 b sk-a-key-0123456789 c", "a " STARS " b " STARS " c", 0},
    {"sk-a-key-012345678", "sk-a-key-012345678", 18},
    {"sk-a-key-012345678x", "sk-a-key-012345678x", 0},
    {"x sk-a-key-01234567", "x sk-a-key-01234567", 17},
    {"sk-a-key-0123456789 s", STARS " s", 1},
    {"sk-a-key-0123456789sk-", STARS "sk-", 3},
    {"sk-sk-a-k", "sk-sk-a-k", 6},
    {"SK-A-KEY-0123456789", "SK-A-KEY-0123456789", 0},
    {"this", "this", 1},
};

START_TEST(hides_the_key)
{
    static const char text[] = "sk-a-key-0123456789";
    struct secret *key = secret_new(text, strlen(text));
    char data[64];
    size_t len = strlen(hide_cases[_i].in);

    ck_assert_ptr_nonnull(key);
    memcpy(data, hide_cases[_i].in, len + 1);
    ck_assert_uint_eq(credential_hide(key, data, len), hide_cases[_i].held);
    ck_assert_str_eq(data, hide_cases[_i].out);
    secret_free(&key);
}
END_TEST

/* In pieces of every size it is the same, when what is held back is looked at again. */
START_TEST(hides_the_key_in_pieces)
{
    static const char text[] = "sk-sk-key-0123456789";
    static const char whole[] = "sk-sk-sk-key-0123456789 and sk-sk-key-01234567 sk-sk-key-0123456789";
    static const char wanted[] = "sk-******************** and sk-sk-key-01234567 ********************";
    struct secret *key = secret_new(text, strlen(text));
    char data[sizeof(whole)];

    ck_assert_ptr_nonnull(key);
    for (size_t piece = 1; piece <= strlen(whole); piece++) {
        size_t at = 0;
        size_t held = 0;

        memcpy(data, whole, sizeof(whole));
        while (at < strlen(whole)) {
            size_t take = strlen(whole) - at < piece ? strlen(whole) - at : piece;

            held = credential_hide(key, data + at - held, held + take);
            at += take;
        }
        ck_assert_str_eq(data, wanted);
        ck_assert_uint_eq(held, 0);
    }
    secret_free(&key);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("credential_strip");
    TCase *tc = tcase_create("credential_strip");

    suite_add_tcase(suite, tc);
    tcase_add_test(tc, knows_credential_headers);
    tcase_add_test(tc, knows_the_headers_of_every_type);
    tcase_add_test(tc, strips_every_credential);
    tcase_add_loop_test(tc, strips_what_is_the_gateways, 0, COUNT(gateway_cases));
    tcase_add_test(tc, strips_what_repeats_the_key);
    tcase_add_loop_test(tc, hides_the_key, 0, COUNT(hide_cases));
    tcase_add_test(tc, hides_the_key_in_pieces);
    return suite_run(suite);
}
