/* test_reply: every code in both shapes, byte for byte, and the words of an exhausted walk. */
#include "core/reply.h"

#include "unit/suite.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const struct {
    const char *name;
    int status;
    const char *anthropic;
    const char *openai_type;
    const char *openai_code;
} codes[] = {
    [REPLY_KEYS_EXHAUSTED] = {"keys_exhausted", 429, "rate_limit_error", "rate_limit_error",
                              "rate_limit_exceeded"},
    [REPLY_KEYS_REJECTED] = {"keys_rejected", 502, "api_error", "api_error", "server_error"},
    [REPLY_UPSTREAM_ERROR] = {"upstream_error", 502, "api_error", "api_error", "server_error"},
    [REPLY_INVALID_BASE_URL] = {"invalid_base_url", 502, "api_error", "api_error", "server_error"},
    [REPLY_UPSTREAM_TIMEOUT] = {"upstream_timeout", 504, "timeout_error", "api_error", "timeout"},
    [REPLY_UNAUTHORIZED] = {"unauthorized", 401, "authentication_error", "invalid_request_error",
                            "invalid_api_key"},
    [REPLY_FORBIDDEN] = {"forbidden", 403, "permission_error", "invalid_request_error",
                         "insufficient_permissions"},
    [REPLY_NO_ROUTE] = {"no_route", 404, "not_found_error", "invalid_request_error", "not_found"},
    [REPLY_BODY_TOO_LARGE] = {"body_too_large", 413, "request_too_large", "invalid_request_error",
                              "request_too_large"},
    [REPLY_BAD_REQUEST] = {"bad_request", 400, "invalid_request_error", "invalid_request_error",
                           "bad_request"},
    [REPLY_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405, "invalid_request_error", "invalid_request_error",
                                  "method_not_allowed"},
    [REPLY_NOT_SUPPORTED] = {"not_supported", 501, "invalid_request_error", "invalid_request_error",
                             "not_supported"},
    [REPLY_OVERLOADED] = {"overloaded", 503, "overloaded_error", "api_error", "server_error"},
    [REPLY_REQUEST_TIMEOUT] = {"request_timeout", 408, "timeout_error", "invalid_request_error",
                               "request_timeout"},
    [REPLY_HEAD_TOO_LARGE] = {"head_too_large", 431, "invalid_request_error", "invalid_request_error",
                              "head_too_large"},
    [REPLY_INTERNAL_ERROR] = {"internal_error", 500, "api_error", "api_error", "server_error"},
};

START_TEST(every_code)
{
    struct buf got = {0}, want = {0};
    enum reply_code code = (enum reply_code)_i;

    ck_assert_str_eq(reply_code_name(code), codes[_i].name);
    ck_assert_int_eq(reply_status(code), codes[_i].status);

    reply_body(&got, code, ERROR_SHAPE_ANTHROPIC, "what happened");
    buf_printf(&want, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":\"what happened\"}}",
               codes[_i].anthropic);
    ck_assert_str_eq(got.data, want.data);

    buf_clear(&got);
    buf_clear(&want);
    reply_body(&got, code, ERROR_SHAPE_OPENAI, "what happened");
    buf_printf(&want,
               "{\"error\":{\"message\":\"what happened\",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}",
               codes[_i].openai_type, codes[_i].openai_code);
    ck_assert_str_eq(got.data, want.data);
    buf_fini(&got);
    buf_fini(&want);
}
END_TEST

START_TEST(the_table_is_whole)
{
    ck_assert_int_eq(COUNT(codes), REPLY_CODES);
}
END_TEST

START_TEST(the_message_is_escaped)
{
    struct buf b = {0};

    buf_puts(&b, "before ");
    reply_body(&b, REPLY_NO_ROUTE, ERROR_SHAPE_ANTHROPIC, "a \"b\"\n\xff");
    ck_assert_str_eq(b.data, "before {\"type\":\"error\",\"error\":{\"type\":\"not_found_error\",\"message\":"
                             "\"a \\\"b\\\"\\n\xef\xbf\xbd\"}}");
    buf_clear(&b);
    reply_body(&b, REPLY_NO_ROUTE, ERROR_SHAPE_OPENAI, "\"},{\"");
    ck_assert_str_eq(b.data, "{\"error\":{\"message\":\"\\\"},{\\\"\",\"type\":\"invalid_request_error\","
                             "\"param\":null,\"code\":\"not_found\"}}");
    buf_fini(&b);
}
END_TEST

static const struct {
    struct exhausted why;
    const char *words;
} ends[] = {
    {{EXHAUSTED_RATE_LIMITED, 3, {.temporary = 3}},
     "all 3 keys of provider openai are rate-limited, the first recovers in 3 s"},
    {{EXHAUSTED_RATE_LIMITED, 60, {.temporary = 1}},
     "the only key of provider openai is rate-limited, it recovers in 60 s"},
    {{EXHAUSTED_RATE_LIMITED, 1, {.temporary = 1, .valid = 1}},
     "all 2 keys of provider openai are rate-limited, the first recovers in 1 s"},
    {{EXHAUSTED_RATE_LIMITED, 5, {.temporary = 2, .permanent = 1}},
     "2 of 3 keys of provider openai are rate-limited, the first recovers in 5 s; 1 was rejected"},
    {{EXHAUSTED_RATE_LIMITED, 5, {.temporary = 1, .permanent = 2}},
     "1 of 3 keys of provider openai is rate-limited, the first recovers in 5 s; 2 were rejected"},
    {{EXHAUSTED_REJECTED, 0, {.permanent = 3}}, "all 3 keys of provider openai were rejected by it"},
    {{EXHAUSTED_REJECTED, 0, {.permanent = 1}}, "the only key of provider openai was rejected by it"},
};

START_TEST(words)
{
    struct buf b = {0};

    reply_exhausted_message(&b, "openai", &ends[_i].why);
    ck_assert_str_eq(b.data, ends[_i].words);
    buf_fini(&b);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("reply");
    TCase *tc = tcase_create("reply");

    tcase_add_loop_test(tc, every_code, 0, COUNT(codes));
    tcase_add_test(tc, the_table_is_whole);
    tcase_add_test(tc, the_message_is_escaped);
    tcase_add_loop_test(tc, words, 0, COUNT(ends));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
