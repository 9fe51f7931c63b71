/*
 * test_passthrough: routes, base URLs, targets, methods and statuses: what passes and how.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fetch(struct bench *b, const char *method, const char *target, struct http_response *r)
{
    struct http_request request = {.method = method, .target = target};

    http_fetch(b->daemon.port, &request, r);
}

static void expect_target(struct bench *b, const char *target, const char *upstream_target)
{
    struct http_response r;
    unsigned before = fake_requests(b->fake);

    fetch(b, "GET", target, &r);
    ck_assert_msg(r.status == 200, "%s: %d %s", target, r.status, http_body(&r));
    http_response_fini(&r);
    expect_requests(b, before + 1);
    ck_assert_str_eq(fake_request(b->fake, before + 1)->target, upstream_target);
}

/* Path and query go on byte for byte behind the base URL's path. */
START_TEST(targets_are_kept)
{
    static const struct {
        const char *base_path;
        const char *target; /* behind the route */
        const char *upstream;
    } cases[] = {
        {"", "/v1/messages", "/v1/messages"},
        {"/", "/v1/messages", "/v1/messages"},
        {"/api/v2", "/v1/messages", "/api/v2/v1/messages"},
        {"/api/v2/", "/v1/messages", "/api/v2/v1/messages"},
        {"/api/v2", "/v1/x?a=%2F&b=a+b&c=%zz&d&&=e?f/../g", "/api/v2/v1/x?a=%2F&b=a+b&c=%zz&d&&=e?f/../g"},
        {"", "/v1/a%2Fb%20c%C3%A9;p=1,2:@!$'()*", "/v1/a%2Fb%20c%C3%A9;p=1,2:@!$'()*"},
        {"", "/v1/m?q=%00%0d%0a", "/v1/m?q=%00%0d%0a"},
        {"", "/v1//double/", "/v1//double/"},
        {"", "/v1/...", "/v1/..."},
        {"", "/v1/%7Euser", "/v1/%7Euser"},
        {"", "?q=1", "/?q=1"},
        {"", "", "/"},
        {"/a%20b", "/c", "/a%20b/c"},
    };
    struct bench b;
    char base[128];
    char target[256];

    bench_prepare(&b, &SUITE_APIS[_i % SUITE_API_COUNT], NULL, NULL);
    daemon_forget_providers(&b.daemon);
    snprintf(base, sizeof(base), "%s%s", fake_url(b.fake), cases[_i / SUITE_API_COUNT].base_path);
    daemon_provider(&b.daemon, b.api->name, base, KEY0, NULL);
    daemon_start(&b.daemon);
    snprintf(target, sizeof(target), "/%s%s", b.api->name, cases[_i / SUITE_API_COUNT].target);
    expect_target(&b, target, cases[_i / SUITE_API_COUNT].upstream);
    bench_close(&b);
}
END_TEST

/* The longest route at a segment boundary wins. */
START_TEST(routes)
{
    struct http_response r;
    struct bench b;
    char base[128];

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    snprintf(base, sizeof(base), "%s/short", fake_url(b.fake));
    daemon_provider(&b.daemon, "one", base, NULL, "    type = openai\n    route = \"/x\"");
    snprintf(base, sizeof(base), "%s/long", fake_url(b.fake));
    daemon_provider(&b.daemon, "two", base, NULL, "    type = openai\n    route = \"/x/y\"");
    daemon_start(&b.daemon);
    expect_target(&b, "/x/v1", "/short/v1");
    expect_target(&b, "/x/y/v1", "/long/v1");
    expect_target(&b, "/x/yz", "/short/yz");
    expect_target(&b, "/x?y", "/short?y");
    expect_target(&b, "/anthropic/v1", "/v1");
    fetch(&b, "GET", "/xy", &r);
    expect_error(&r, NULL, 404, "no_route", (const char *const[2]){"invalid_request_error", "not_found"}, "");
    http_response_fini(&r);
    fetch(&b, "GET", "/", &r);
    ck_assert_int_eq(r.status, 404);
    http_response_fini(&r);
    expect_requests(&b, 5);
    bench_close(&b);
}
END_TEST

/* A route "/" takes everything. */
START_TEST(route_of_the_root)
{
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i], NULL, NULL);
    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, b.api->name, fake_url(b.fake), KEY0, "    route = \"/\"");
    daemon_start(&b.daemon);
    expect_target(&b, "/v1/messages?x", "/v1/messages?x");
    expect_target(&b, "/", "/");
    bench_close(&b);
}
END_TEST

/* A base URL that cannot be: 502 for that provider alone. */
START_TEST(bad_base_urls)
{
    static const char *const urls[] = {
        "http://127.0.0.1:1/%zz",
        "http://127.0.0.1:1/%25",
        "http://127.0.0.1:1/a%2",
        "ftp://127.0.0.1/",
        "http://user:pw@127.0.0.1",
        "http://127.0.0.1/#part",
        "http:///path",
        "127.0.0.1:8080",
        "http://127.0.0.1:99999",
        "https://api.example/v1/%25zz",
    };
    const struct suite_api *other;
    struct http_request request = {.body = "{}"};
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0, NULL);
    other = &SUITE_APIS[(_i + 1) % SUITE_API_COUNT];
    daemon_provider(&b.daemon, other->name, urls[_i / SUITE_API_COUNT], KEY1, NULL);
    daemon_start(&b.daemon);
    request.target = other->target;
    http_fetch(b.daemon.port, &request, &r);
    expect_error(&r, other, 502, "invalid_base_url", other->error_api, "invalid provider base URL");
    http_response_fini(&r);
    expect_requests(&b, 0);
    daemon_expect_states(&b.daemon, other->name, "valid");
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

START_TEST(methods_pass)
{
    static const char *const methods[] = {"GET",    "POST",    "PUT",      "PATCH",
                                          "DELETE", "OPTIONS", "PROPFIND", "BREW"};
    struct http_request request = {.method = methods[_i],
                                   .target = "/anthropic/v1/things",
                                   .body = "content"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_fetch(b.daemon.port, &request, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    ck_assert_str_eq(fake_request(b.fake, 1)->method, methods[_i]);
    ck_assert(fake_body_is(b.fake, 1, "content", strlen("content")));
    fetch(&b, methods[_i], "/anthropic/v1/things", &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    ck_assert_str_eq(fake_request(b.fake, 2)->method, methods[_i]);
    ck_assert(fake_body_is(b.fake, 2, "", 0));
    bench_close(&b);
}
END_TEST

/* Statuses pass as they are, redirects too. */
START_TEST(statuses_pass)
{
    static const int statuses[] = {200, 201, 202, 206, 301, 302, 307, 308, 400,
                                   404, 408, 409, 422, 500, 503, 529, 599};
    struct fake_answer a = {.status = statuses[_i],
                            .headers = "Location: /elsewhere\r\n",
                            .body = "as it came"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    expect_answer(&r, statuses[_i], "as it came");
    ck_assert_str_eq(http_get(&r, "Location"), "/elsewhere");
    http_response_fini(&r);
    expect_requests(&b, 1);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    bench_close(&b);
}
END_TEST

/* Responses without a body leave the connection usable. */
START_TEST(responses_without_a_body)
{
    struct fake_answer no_content = {.status = 204, .framing = FAKE_UNFRAMED};
    struct fake_answer not_modified = {.status = 304, .framing = FAKE_UNFRAMED, .headers = "ETag: \"a\"\r\n"};
    struct fake_answer head = {.headers = "X-Head: yes\r\n", .body = "twelve bytes"};
    struct fake_answer empty = {.status = 200};
    struct http_request get = {.method = "GET", .target = "/openai/v1/x"};
    struct http_request head_request = {.method = "HEAD", .target = "/openai/v1/x"};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[1], KEY0, NULL);
    fake_on_number(b.fake, 1, &no_content);
    fake_on_number(b.fake, 2, &not_modified);
    fake_on_number(b.fake, 3, &head);
    fake_on_number(b.fake, 4, &empty);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &get);
    http_read(&client, &r);
    expect_answer(&r, 204, "");
    http_response_fini(&r);
    http_write_request(&client, &get);
    http_read(&client, &r);
    expect_answer(&r, 304, "");
    ck_assert_str_eq(http_get(&r, "ETag"), "\"a\"");
    ck_assert_ptr_null(http_get(&r, "Content-Length"));
    http_response_fini(&r);
    ck_assert(http_wait_end(&client, 10000)); /* nothing behind the head, in whatever framing */
    http_close(&client);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &head_request);
    http_read(&client, &r);
    expect_answer(&r, 200, "");
    ck_assert_str_eq(http_get(&r, "X-Head"), "yes");
    ck_assert_ptr_nonnull(http_get(&r, "Content-Length"));
    ck_assert_str_eq(http_get(&r, "Content-Length"), "12");
    http_response_fini(&r);
    http_write_request(&client, &get);
    http_read(&client, &r);
    expect_answer(&r, 200, "");
    ck_assert_str_eq(http_get(&r, "Content-Length"), "0");
    http_response_fini(&r);
    http_write_request(&client, &get);
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&client);
    ck_assert_uint_eq(fake_connections(b.fake), 1);
    bench_close(&b);
}
END_TEST

/* One connection to the upstream for five requests in a row, over one client connection and over five. */
START_TEST(upstream_connections_are_reused)
{
    struct http_request request = {.target = SUITE_APIS[_i].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    for (int i = 0; i < 5; i++) {
        bench_post(&b, NULL, &r);
        expect_answer(&r, 200, "ok");
        http_response_fini(&r);
    }
    expect_requests(&b, 5);
    ck_assert_uint_eq(fake_connections(b.fake), 1);
    http_connect(&client, b.daemon.port);
    for (int i = 0; i < 5; i++) {
        http_write_request(&client, &request);
        http_read(&client, &r);
        expect_answer(&r, 200, "ok");
        http_response_fini(&r);
    }
    http_close(&client);
    expect_requests(&b, 10);
    ck_assert_uint_eq(fake_connections(b.fake), 1);
    bench_close(&b);
}
END_TEST

/* Large answers arrive whole, however they are framed. */
START_TEST(large_answers)
{
    static const size_t sizes[] = {1, 1000, 16383, 16384, 16385, 65536, 70000, 1000000, 20000000};
    static const enum fake_framing framings[] = {FAKE_LENGTH, FAKE_CHUNKED, FAKE_UNTIL_CLOSE};
    size_t size = sizes[_i / 3];
    char *content = malloc(size);
    struct fake_answer a = {.body = content, .body_len = size, .framing = framings[_i % 3]};
    struct http_response r;
    struct bench b;

    ck_assert_ptr_nonnull(content);
    util_random(content, size);
    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    ck_assert_uint_eq(r.body.len, size);
    ck_assert_int_eq(memcmp(r.body.data, content, size), 0);
    http_response_fini(&r);
    bench_close(&b);
    free(content);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("passthrough");
    TCase *tc = suite_case(s, "passthrough", 60);

    tcase_add_loop_test(tc, targets_are_kept, 0, 13 * SUITE_API_COUNT);
    tcase_add_test(tc, routes);
    tcase_add_loop_test(tc, route_of_the_root, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, bad_base_urls, 0, 10 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, methods_pass, 0, 8);
    tcase_add_loop_test(tc, statuses_pass, 0, 17);
    tcase_add_test(tc, responses_without_a_body);
    tcase_add_loop_test(tc, upstream_connections_are_reused, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, large_answers, 0, 27);
    return suite_run(s);
}
