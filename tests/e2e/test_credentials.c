/*
 * test_credentials: whose key a request carries: the client's own, the pool's, or none; and that no other
 * travels.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The client's own credential and every other field go on byte for byte; the pool is left alone. */
START_TEST(byok_is_kept_byte_for_byte)
{
    static const struct {
        int api;
        const char *name;
        const char *value;
    } cases[] = {
        {0, "X-Api-Key", OWN_KEY},
        {0, "x-api-key", "odd  value;with=\"signs\""},
        {0, "Authorization", "Bearer " OWN_KEY},
        {0, "Authorization", "bEARER   " OWN_KEY},
        {1, "Authorization", "Bearer " OWN_KEY},
        {1, "authorization", "Basic dXNlcjpwYXNz"},
        {1, "Authorization", OWN_KEY},
    };
    struct fake_answer a = {.status = 401, .headers = "X-Own: yes\r\n", .body = "not yours"};
    struct http_response r;
    struct bench b;
    char headers[256];
    const char *seen;

    bench_open(&b, &SUITE_APIS[cases[_i].api], KEY0 " " KEY1, NULL);
    fake_on_any(b.fake, &a);
    snprintf(headers, sizeof(headers), "%s: %s\r\n", cases[_i].name, cases[_i].value);
    bench_post(&b, headers, &r);
    expect_answer(&r, 401, "not yours");
    ck_assert_str_eq(http_get(&r, "X-Own"), "yes");
    http_response_fini(&r);
    expect_requests(&b, 1);
    seen = message_get(&fake_request(b.fake, 1)->head, cases[_i].name);
    ck_assert_ptr_nonnull(seen);
    ck_assert_str_eq(seen, cases[_i].value);
    ck_assert(!util_contains(fake_request(b.fake, 1)->head.raw, fake_request(b.fake, 1)->head.raw_len, KEY0));
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* What is no credential leads to the pool; with byok = false everything does. The upstream sees the pool's
 * key only. */
START_TEST(centralized_requests_lose_client_credentials)
{
    static const struct {
        int api;
        const char *more;
        const char *headers;
    } cases[] = {
        {0, NULL, NULL},
        {0, NULL, "X-Api-Key: claviger\r\n"},
        {0, NULL, "Authorization: Bearer claviger\r\n"},
        {0, NULL, "Authorization: claviger\r\n"},
        {0, NULL, "X-Api-Key: claviger\r\nAuthorization: Bearer claviger\r\n"},
        {0, NULL, "X-Api-Key: \r\nAuthorization: Bearer\r\n"},
        {1, NULL, NULL},
        {1, NULL, "Authorization: Bearer claviger\r\n"},
        {1, NULL, "Authorization: Bearer claviger\r\nX-Api-Key: " OWN_KEY "\r\n"},
        {0, "    byok = false", "X-Api-Key: " OWN_KEY "\r\n"},
        {0, "    byok = false", "X-Api-Key: " OWN_KEY "\r\nAuthorization: Bearer " OWN_KEY "\r\n"},
        {1, "    byok = false", "Authorization: Bearer " OWN_KEY "\r\nX-Api-Key: " OWN_KEY "\r\n"},
        {1, "    byok = false", "Connection: Authorization\r\nAuthorization: Bearer " OWN_KEY "\r\n"},
    };
    struct fake_answer limited = {.status = 429, .headers = "Retry-After: 9\r\n"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[cases[_i].api], KEY0 " " KEY1, cases[_i].more);
    fake_on_key(b.fake, KEY0, &limited);
    bench_post(&b, cases[_i].headers, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, 2);
    for (unsigned i = 1; i <= 2; i++) {
        const struct message_head *head = &fake_request(b.fake, i)->head;
        const char *key = i == 1 ? KEY0 : KEY1;
        char bearer[128];

        snprintf(bearer, sizeof(bearer), "Bearer %s", key);
        ck_assert(!util_contains(head->raw, head->raw_len, OWN_KEY));
        ck_assert(!util_contains(head->raw, head->raw_len, ": claviger"));
        ck_assert(!util_contains(head->raw, head->raw_len, "Bearer claviger"));
        ck_assert_uint_eq(message_count(head, "X-Api-Key"), cases[_i].api == 0 ? 1 : 0);
        ck_assert_uint_eq(message_count(head, "Authorization"), cases[_i].api == 0 ? 0 : 1);
        ck_assert_str_eq(message_get(head, cases[_i].api == 0 ? "X-Api-Key" : "Authorization"),
                         cases[_i].api == 0 ? key : bearer);
    }
    bench_close(&b);
}
END_TEST

/* A provider without keys forwards every request once, as it came. */
START_TEST(a_provider_without_keys)
{
    static const char *const headers[] = {NULL, "X-Api-Key: claviger\r\n", "Authorization: Bearer x\r\n"};
    struct fake_answer a = {.status = 401, .body = "who are you"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], NULL, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, headers[_i / SUITE_API_COUNT], &r);
    expect_answer(&r, 401, "who are you");
    http_response_fini(&r);
    expect_requests(&b, 1);
    if (_i / SUITE_API_COUNT == 1)
        ck_assert_str_eq(message_get(&fake_request(b.fake, 1)->head, "X-Api-Key"), "claviger");
    daemon_expect_states(&b.daemon, b.api->name, "");
    bench_close(&b);
}
END_TEST

/* copilot has no pool: the client's token goes on. */
START_TEST(copilot_is_always_byok)
{
    static const char *const provider = "copilot";
    struct http_request request = {.target = "/copilot/chat/completions",
                                   .headers = "Authorization: Bearer tid=1\r\n",
                                   .body = "{}"};
    struct fake_answer a = {.status = 429, .headers = "Retry-After: 4\r\n", .body = "slow down"};
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], NULL, NULL);
    daemon_provider(&b.daemon, provider, fake_url(b.fake), NULL, NULL);
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &a);
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 429, "slow down");
    ck_assert_str_eq(http_get(&r, "Retry-After"), "4");
    http_response_fini(&r);
    expect_requests(&b, 1);
    ck_assert_str_eq(message_get(&fake_request(b.fake, 1)->head, "Authorization"), "Bearer tid=1");
    bench_close(&b);
}
END_TEST

/* type = custom: its own header, prefix and error shape. */
START_TEST(custom_providers)
{
    struct fake_answer limited = {.status = 429, .headers = "Retry-After: 3\r\n"};
    struct http_request request = {.target = "/other/v1/x",
                                   .headers = "X-Token: Key claviger\r\n",
                                   .body = "{}"};
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], NULL, NULL);
    daemon_provider(&b.daemon, "other", fake_url(b.fake), KEY0,
                    "    type = custom\n    auth_header = \"X-Token\"\n    auth_prefix = \"Key \"\n"
                    "    error_shape = anthropic\n    byok = false");
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &limited);
    http_fetch(b.daemon.port, &request, &r);
    expect_error(&r, &SUITE_APIS[0], 429, "keys_exhausted", SUITE_APIS[0].error_rate_limited, "other");
    http_response_fini(&r);
    expect_requests(&b, 1);
    ck_assert_str_eq(message_get(&fake_request(b.fake, 1)->head, "X-Token"), "Key " KEY0);
    bench_close(&b);
}
END_TEST

/* Keys of a file and of the environment walk in the order in which they are named. */
START_TEST(keys_from_file_and_environment)
{
    struct fake_answer limited = {.status = 429};
    struct http_response r;
    struct bench b;
    char path[160];
    char keys[256];

    bench_prepare(&b, &SUITE_APIS[_i], NULL, NULL);
    daemon_forget_providers(&b.daemon);
    snprintf(path, sizeof(path), "%s/keys", b.daemon.dir);
    ck_assert_int_eq(util_write_file(path, "# first\n\n  " KEY0 "  \n", strlen("# first\n\n  " KEY0 "  \n"),
                                     0600),
                     0);
    snprintf(keys, sizeof(keys), "file:%s env:E2E_TEST_KEYS", path);
    daemon_provider(&b.daemon, b.api->name, fake_url(b.fake), keys, NULL);
    setenv("E2E_TEST_KEYS", KEY1 "," KEY2, 1);
    daemon_start(&b.daemon);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_key(b.fake, KEY1, &limited);
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    expect_requests(&b, 3);
    ck_assert_str_eq(fake_request(b.fake, 1)->key, KEY0);
    ck_assert_str_eq(fake_request(b.fake, 2)->key, KEY1);
    ck_assert_str_eq(fake_request(b.fake, 3)->key, KEY2);
    daemon_expect_states(&b.daemon, b.api->name, "temporary temporary valid");
    unlink(path);
    bench_close(&b);
}
END_TEST

/* What a provider says of a BYOK request, and what is no fault of a key, changes no key. */
START_TEST(no_key_changes_state)
{
    static const struct {
        bool byok;
        int status;
    } cases[] = {{true, 401},  {true, 403},  {true, 429}, {true, 400},  {true, 404},
                 {true, 413},  {true, 422},  {true, 500}, {false, 400}, {false, 404},
                 {false, 413}, {false, 422}, {false, 500}};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake_answer a = {.status = cases[i].status, .headers = "Retry-After: 60\r\n", .body = "{}"};

        fake_forget_rules(b.fake);
        fake_on_any(b.fake, &a);
        bench_post(&b, cases[i].byok ? bench_auth(&b, OWN_KEY) : NULL, &r);
        expect_answer(&r, cases[i].status, "{}");
        http_response_fini(&r);
        expect_requests(&b, (unsigned)i + 1);
        daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    }
    bench_close(&b);
}
END_TEST

/* {"error":"bad key KEY0"} */
static const char GZIP_ERROR[] =
    "\037\213\010\000\000\000\000\000\002\003\253\126\112\055\052\312\057\122\262\122\112\112"
    "\114\121\310\116\255\124\050\316\326\315\066\320\165\166\364\163\014\212\064\117\063\116"
    "\322\115\004\002\003\040\120\252\005\000\000\175\012\126\055\000\000\000";

#define HIDDEN_KEY "*************************"

/* A provider that repeats the key it got: no head, no redirect and no error shows it to the client. */
START_TEST(answers_that_repeat_the_key)
{
    static const struct {
        struct fake_answer answer;
        const char *headers;
        const char *body;
    } cases[] = {
        {{.status = 302, .headers = "Location: https://x.test/?k=" KEY0 "\r\nX-Kept: y\r\n"}, NULL, ""},
        {{.status = 200, .headers = "X-Kept: y\r\nX-Echo: Bearer " KEY0 "\r\n", .body = "ok"}, NULL, "ok"},
        {{.interim = "HTTP/1.1 103 Early Hints\r\nLink: <" KEY0 ">\r\n\r\n",
          .headers = "X-Kept: y\r\n",
          .body = "ok"},
         NULL,
         "ok"},
        {{.status = 400, .headers = "X-Kept: y\r\n", .body = "{\"error\":\"bad key " KEY0 "\"}"},
         NULL,
         "{\"error\":\"bad key " HIDDEN_KEY "\"}"},
        {{.status = 500, .headers = "X-Kept: y\r\n", .body = KEY0 " sk-k0", .framing = FAKE_CHUNKED},
         NULL,
         HIDDEN_KEY " sk-k0"},
        {{.status = 404,
          .headers = "X-Kept: y\r\nContent-Encoding: gzip\r\n",
          .body = GZIP_ERROR,
          .body_len = sizeof(GZIP_ERROR) - 1},
         "Accept-Encoding: gzip\r\n",
         "{\"error\":\"bad key " HIDDEN_KEY "\"}"},
    };
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int status = cases[i].answer.status != 0 ? cases[i].answer.status : 200;

        fake_forget_rules(b.fake);
        fake_on_any(b.fake, &cases[i].answer);
        bench_post(&b, cases[i].headers, &r);
        expect_answer(&r, status, cases[i].body);
        ck_assert_str_eq(http_get(&r, "X-Kept"), "y");
        ck_assert(!util_contains(r.head.raw, r.head.raw_len, SUITE_CANARY));
        ck_assert(!util_contains(r.interim.data, r.interim.len, SUITE_CANARY));
        ck_assert(!util_contains(r.body.data, r.body.len, SUITE_CANARY));
        http_response_fini(&r);
    }
    ck_assert(daemon_log_has(&b.daemon, "repeated key " HINT0 " in a header field"));
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("credentials");
    TCase *tc = suite_case(s, "credentials", 60);

    tcase_add_loop_test(tc, byok_is_kept_byte_for_byte, 0, 7);
    tcase_add_loop_test(tc, centralized_requests_lose_client_credentials, 0, 13);
    tcase_add_loop_test(tc, a_provider_without_keys, 0, 3 * SUITE_API_COUNT);
    tcase_add_test(tc, copilot_is_always_byok);
    tcase_add_test(tc, custom_providers);
    tcase_add_loop_test(tc, keys_from_file_and_environment, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, no_key_changes_state, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, answers_that_repeat_the_key, 0, SUITE_API_COUNT);
    return suite_run(s);
}
