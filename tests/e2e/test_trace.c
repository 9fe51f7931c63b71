/*
 * test_trace: what a collector is told of requests, what the provider sees of a trace, and that a collector
 * that is slow or away is in nobody's way.
 */
#include "e2e/suite.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS 10000
#define ID      "0123456789abcdef0123456789abcdef"
#define PARENT  "00f067aa0ba902b7"

static void prepare_traced(struct bench *b, const char *keys, const char *collector, const char *more)
{
    bench_prepare(b, &SUITE_APIS[1], keys, NULL);
    daemon_text(&b->daemon.top, "trace { endpoint = \"%s/v1/traces\" %s }", collector, more);
}

static void open_traced(struct bench *b, const char *keys, const char *collector, const char *more)
{
    prepare_traced(b, keys, collector, more);
    daemon_start(&b->daemon);
}

static void post(struct bench *b, const char *headers, int status)
{
    struct http_response r;

    bench_post(b, headers, &r);
    ck_assert_int_eq(r.status, status);
    http_response_fini(&r);
}

/* The spans of the collector's request of that number, in an array. */
static json_t *await_spans(struct fake *collector, unsigned number, json_t **root)
{
    char *body;
    const struct fake_request *request;

    ck_assert(fake_wait_requests(collector, number, WAIT_MS));
    ck_assert(fake_wait_complete(collector, number, WAIT_MS));
    request = fake_request(collector, number);
    ck_assert_str_eq(request->method, "POST");
    ck_assert_str_eq(request->target, "/v1/traces");
    body = fake_body(collector, number);
    ck_assert_ptr_nonnull(body);
    ck_assert_ptr_null(strstr(body, SUITE_CANARY));
    *root = json_loads(body, 0, NULL);
    ck_assert_msg(*root != NULL, "no JSON: %s", body);
    free(body);
    return json_object_get(
        json_array_get(json_object_get(json_array_get(json_object_get(*root, "resourceSpans"), 0),
                                       "scopeSpans"),
                       0),
        "spans");
}

static const char *text_of(const json_t *span, const char *name)
{
    const char *text = json_string_value(json_object_get(span, name));

    return text != NULL ? text : "(none)";
}

/* An attribute's value, "(none)" when there is none. */
static const char *attribute(const json_t *span, const char *name)
{
    size_t i;
    const json_t *item;

    json_array_foreach(json_object_get(span, "attributes"), i, item)
    {
        const json_t *value = json_object_get(item, "value");

        if (strcmp(text_of(item, "key"), name) != 0)
            continue;
        return json_object_get(value, "intValue") != NULL ? text_of(value, "intValue")
                                                          : text_of(value, "stringValue");
    }
    return "(none)";
}

static const char *upstream_parent(struct bench *b, unsigned number)
{
    return message_get(&fake_request(b->fake, number)->head, "traceparent");
}

/* The client's trace goes on: the request is its child, each attempt a child of that, and the provider sees
 * the attempt as its parent. */
START_TEST(a_failover)
{
    struct fake_answer limited = {.status = 429, .headers = "Retry-After: 5\r\n"};
    struct fake *collector = fake_start(NULL);
    const json_t *spans;
    const json_t *span;
    json_t *root;
    struct bench b;
    char parent[80];

    open_traced(&b, KEY0 " " KEY1, fake_url(collector), "");
    fake_on_key(b.fake, KEY0, &limited);
    post(&b, "traceparent: 00-" ID "-" PARENT "-01\r\n", 200);
    spans = await_spans(collector, 1, &root);
    ck_assert_uint_eq(json_array_size(spans), 3);
    span = json_array_get(spans, 0);
    ck_assert_str_eq(text_of(span, "name"), "Passthrough");
    ck_assert_str_eq(text_of(span, "traceId"), ID);
    ck_assert_str_eq(text_of(span, "parentSpanId"), PARENT);
    ck_assert_str_eq(attribute(span, "http.request.method"), "POST");
    ck_assert_str_eq(attribute(span, "url.path"), "/openai/v1/chat/completions");
    ck_assert_ptr_nonnull(strstr(attribute(span, "claviger.upstream_url"), "/v1/chat/completions"));
    ck_assert_str_eq(attribute(span, "claviger.provider"), "openai");
    ck_assert_str_eq(attribute(span, "http.response.status_code"), "200");
    ck_assert_str_eq(attribute(span, "claviger.attempts"), "2");
    for (unsigned i = 1; i <= 2; i++) {
        const json_t *attempt = json_array_get(spans, i);

        ck_assert_str_eq(text_of(attempt, "traceId"), ID);
        ck_assert_str_eq(text_of(attempt, "parentSpanId"), text_of(span, "spanId"));
        ck_assert_str_eq(attribute(attempt, "claviger.key"), i == 1 ? HINT0 : HINT1);
        ck_assert_str_eq(attribute(attempt, "http.response.status_code"), i == 1 ? "429" : "200");
        ck_assert_str_eq(attribute(attempt, "claviger.mark"), i == 1 ? "rate_limited" : "(none)");
        snprintf(parent, sizeof(parent), "00-" ID "-%s-01", text_of(attempt, "spanId"));
        ck_assert_str_eq(upstream_parent(&b, i), parent);
    }
    json_decref(root);
    bench_close(&b);
    fake_stop(&collector);
}
END_TEST

static const struct {
    const char *headers;
    const char *more;
    bool traced;
    const char *passed_on; /* what the provider sees when the request is not traced; NULL = nothing */
} decisions[] = {
    {NULL, "", true, NULL},
    {NULL, "share = 0", false, NULL},
    {"traceparent: 00-" ID "-" PARENT "-01\r\n", "share = 0", true, NULL},
    {"traceparent: 00-" ID "-" PARENT "-00\r\n", "", false, "00-" ID "-" PARENT "-00"},
    {"traceparent: nonsense\r\n", "share = 0", false, "nonsense"},
};

/* The client's decision counts; without one the share does. The stop sends what waits. */
START_TEST(who_is_traced)
{
    struct fake *collector = fake_start(NULL);
    struct bench b;

    open_traced(&b, KEY0, fake_url(collector), decisions[_i].more);
    post(&b, decisions[_i].headers, 200);
    if (decisions[_i].traced)
        ck_assert_uint_eq(strlen(upstream_parent(&b, 1)), 55);
    else if (decisions[_i].passed_on != NULL)
        ck_assert_str_eq(upstream_parent(&b, 1), decisions[_i].passed_on);
    else
        ck_assert_ptr_null(upstream_parent(&b, 1));
    daemon_stop(&b.daemon);
    b.daemon.pid = 0;
    ck_assert_uint_eq(fake_requests(collector), decisions[_i].traced ? 1 : 0);
    bench_close(&b);
    fake_stop(&collector);
}
END_TEST

/* Without a trace section a client's field travels as it is. */
START_TEST(off)
{
    struct bench b;

    bench_open(&b, &SUITE_APIS[1], KEY0, NULL);
    post(&b, "traceparent: 00-" ID "-" PARENT "-01\r\n", 200);
    ck_assert_str_eq(upstream_parent(&b, 1), "00-" ID "-" PARENT "-01");
    bench_close(&b);
}
END_TEST

static const struct fake_answer bad_collectors[] = {
    {.action = FAKE_HANG},
    {.action = FAKE_RESET},
    {.status = 503},
};

/* A request never waits for the collector, and what it does not take is counted and said once. */
START_TEST(a_bad_collector)
{
    struct http_request metrics = {.method = "GET", .target = "/metrics"};
    struct fake *collector = fake_start(NULL);
    struct http_response r;
    struct bench b;
    char *log;

    fake_on_any(collector, &bad_collectors[_i]);
    open_traced(&b, KEY0, fake_url(collector), "");
    for (int i = 0; i < 3; i++)
        post(&b, NULL, 200);
    ck_assert(daemon_wait_log(&b.daemon, "does not take spans", WAIT_MS));
    post(&b, NULL, 200);
    http_fetch(b.daemon.admin_port, &metrics, &r);
    ck_assert_ptr_null(strstr(http_body(&r), "\nclaviger_trace_spans_dropped_total 0\n"));
    http_response_fini(&r);
    daemon_stop(&b.daemon);
    b.daemon.pid = 0;
    log = util_read_file(b.daemon.log, NULL);
    ck_assert_ptr_null(strstr(strstr(log, "does not take spans") + 1, "does not take spans"));
    free(log);
    bench_close(&b);
    fake_stop(&collector);
}
END_TEST

/* A request whose spans find no room takes the room of no other. */
START_TEST(too_large)
{
    enum { PATH_BYTES = 600000 }; /* it stands in them twice */
    struct fake *collector = fake_start(NULL);
    struct buf target = {0};
    struct http_response r;
    struct bench b;
    size_t spans = 0;

    buf_puts(&target, "/openai/v1/");
    for (size_t i = 0; i < PATH_BYTES; i++)
        buf_putc(&target, 'a');
    ck_assert(!target.failed);
    prepare_traced(&b, KEY0, fake_url(collector), "");
    daemon_text(&b.daemon.limits, "header_size = 1M");
    daemon_start(&b.daemon);
    post(&b, NULL, 200);
    http_fetch(b.daemon.port, &(struct http_request){.target = target.data, .body = "{}"}, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    post(&b, NULL, 200);
    daemon_stop(&b.daemon); /* sends what waits */
    b.daemon.pid = 0;
    for (unsigned i = 1; i <= fake_requests(collector); i++) {
        json_t *root;

        spans += json_array_size(await_spans(collector, i, &root));
        json_decref(root);
    }
    ck_assert_uint_eq(spans, 4);
    buf_fini(&target);
    bench_close(&b);
    fake_stop(&collector);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace");
    TCase *tc = suite_case(s, "trace", 60);

    tcase_add_test(tc, a_failover);
    tcase_add_loop_test(tc, who_is_traced, 0, (int)(sizeof(decisions) / sizeof(decisions[0])));
    tcase_add_test(tc, off);
    tcase_add_loop_test(tc, a_bad_collector, 0, (int)(sizeof(bad_collectors) / sizeof(bad_collectors[0])));
    tcase_add_test(tc, too_large);
    return suite_run(s);
}
