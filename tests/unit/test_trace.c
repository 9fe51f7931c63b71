/*
 * Tests of trace: contexts as W3C writes them, the share that is recorded, and spans as a collector reads
 * them.
 */
#include "core/trace.h"

#include "unit/suite.h"

#include <string.h>

#define ID     "0123456789abcdef0123456789abcdef"
#define PARENT "00f067aa0ba902b7"

static const struct {
    const char *value;
    bool good;
    bool sampled;
} contexts[] = {
    {"00-" ID "-" PARENT "-01", true, true},
    {"00-" ID "-" PARENT "-00", true, false},
    {"00-" ID "-" PARENT "-03", true, true},
    {"00-" ID "-" PARENT "-02", true, false},
    {"cc-" ID "-" PARENT "-01", true, true},
    {"cc-" ID "-" PARENT "-01-what-the-future-will-be-like", true, true},
    {"cc-" ID "-" PARENT "-01.what", false, false},
    {"00-" ID "-" PARENT "-01-more", false, false},
    {"ff-" ID "-" PARENT "-01", false, false},
    {"0-" ID "-" PARENT "-01", false, false},
    {"00-" ID "-" PARENT "-1", false, false},
    {"00-" ID "-" PARENT "-0g", false, false},
    {"00-" ID "-" PARENT, false, false},
    {"00-" ID "-" PARENT "-", false, false},
    {"00_" ID "-" PARENT "-01", false, false},
    {"00-0123456789ABCDEF0123456789abcdef-" PARENT "-01", false, false},
    {"00-00000000000000000000000000000000-" PARENT "-01", false, false},
    {"00-" ID "-0000000000000000-01", false, false},
    {" 00-" ID "-" PARENT "-01", false, false},
    {"", false, false},
};

START_TEST(test_contexts)
{
    struct trace_context context;
    char text[TRACE_PARENT_SIZE];

    ck_assert_int_eq(trace_parse(contexts[_i].value, &context), contexts[_i].good);
    if (!contexts[_i].good)
        return;
    ck_assert_int_eq(context.sampled, contexts[_i].sampled);
    trace_format(&context, text);
    ck_assert_uint_eq(strlen(text), TRACE_PARENT_SIZE - 1);
    ck_assert_str_eq(text, contexts[_i].sampled ? "00-" ID "-" PARENT "-01" : "00-" ID "-" PARENT "-00");
}
END_TEST

START_TEST(test_share)
{
    unsigned char id[TRACE_ID_SIZE] = {0};
    unsigned taken = 0;

    ck_assert(!trace_is_sampled(id, 0));
    ck_assert(trace_is_sampled(id, 1e-12));
    memset(id, 0xff, sizeof(id));
    ck_assert(trace_is_sampled(id, 1));
    ck_assert(!trace_is_sampled(id, 0.999));
    for (unsigned i = 0; i < 256; i++) {
        id[TRACE_ID_SIZE - 7] = (unsigned char)i;
        taken += trace_is_sampled(id, 0.25);
    }
    ck_assert_uint_eq(taken, 64);
}
END_TEST

START_TEST(test_spans)
{
    const struct trace_attempt attempts[] = {
        {.span = {1, 2, 3, 4, 5, 6, 7, 8},
         .begin_ms = 1001,
         .end_ms = 1002,
         .key = "sk-a...wxyz",
         .status = 429,
         .mark = "rate_limited"},
        {.span = {0xff}, .begin_ms = 1003, .end_ms = 1000, .key = "byok", .failure = "it \"broke\""},
    };
    struct trace_request request = {.begin_ms = 1000,
                                    .end_ms = 1005,
                                    .id = "42",
                                    .method = "POST",
                                    .path = "/openai/v1",
                                    .upstream_url = "https://api.test/v1",
                                    .provider = "openai",
                                    .status = 502,
                                    .error = "upstream_error",
                                    .attempts = attempts,
                                    .attempt_count = 2};
    struct buf out = {0};

    ck_assert(trace_parse("00-" ID "-" PARENT "-01", &request.context));
    request.has_parent = true;
    memset(request.parent, 0xab, sizeof(request.parent));
    trace_put_begin(&out, "1.2.3");
    trace_put_spans(&out, &request);
    trace_put_end(&out);
    ck_assert_str_eq(
        out.data, "{\"resourceSpans\":[{\"resource\":{\"attributes\":["
                  "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"claviger\"}},"
                  "{\"key\":\"service.version\",\"value\":{\"stringValue\":\"1.2.3\"}}]},"
                  "\"scopeSpans\":[{\"scope\":{\"name\":\"claviger\"},\"spans\":["
                  "{\"traceId\":\"" ID "\",\"spanId\":\"" PARENT "\",\"parentSpanId\":\"abababababababab\","
                  "\"name\":\"Passthrough\",\"kind\":2,\"startTimeUnixNano\":\"1000000000\","
                  "\"endTimeUnixNano\":\"1005000000\","
                  "\"attributes\":[{\"key\":\"http.request.method\",\"value\":{\"stringValue\":\"POST\"}},"
                  "{\"key\":\"url.path\",\"value\":{\"stringValue\":\"/openai/v1\"}},"
                  "{\"key\":\"claviger.upstream_url\",\"value\":{\"stringValue\":\"https://api.test/v1\"}},"
                  "{\"key\":\"claviger.provider\",\"value\":{\"stringValue\":\"openai\"}},"
                  "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"502\"}},"
                  "{\"key\":\"claviger.attempts\",\"value\":{\"intValue\":\"2\"}},"
                  "{\"key\":\"claviger.request_id\",\"value\":{\"stringValue\":\"42\"}},"
                  "{\"key\":\"error.type\",\"value\":{\"stringValue\":\"upstream_error\"}}],"
                  "\"status\":{\"code\":2,\"message\":\"upstream_error\"}},"
                  "{\"traceId\":\"" ID "\",\"spanId\":\"0102030405060708\",\"parentSpanId\":\"" PARENT "\","
                  "\"name\":\"Attempt\",\"kind\":3,\"startTimeUnixNano\":\"1001000000\",\"endTimeUnixNano\":"
                  "\"1002000000\","
                  "\"attributes\":[{\"key\":\"http.request.method\",\"value\":{\"stringValue\":\"POST\"}},"
                  "{\"key\":\"url.full\",\"value\":{\"stringValue\":\"https://api.test/v1\"}},"
                  "{\"key\":\"claviger.attempt\",\"value\":{\"intValue\":\"1\"}},"
                  "{\"key\":\"claviger.key\",\"value\":{\"stringValue\":\"sk-a...wxyz\"}},"
                  "{\"key\":\"http.response.status_code\",\"value\":{\"intValue\":\"429\"}},"
                  "{\"key\":\"claviger.mark\",\"value\":{\"stringValue\":\"rate_limited\"}}],\"status\":{}},"
                  "{\"traceId\":\"" ID "\",\"spanId\":\"ff00000000000000\",\"parentSpanId\":\"" PARENT "\","
                  "\"name\":\"Attempt\",\"kind\":3,\"startTimeUnixNano\":\"1003000000\",\"endTimeUnixNano\":"
                  "\"1003000000\","
                  "\"attributes\":[{\"key\":\"http.request.method\",\"value\":{\"stringValue\":\"POST\"}},"
                  "{\"key\":\"url.full\",\"value\":{\"stringValue\":\"https://api.test/v1\"}},"
                  "{\"key\":\"claviger.attempt\",\"value\":{\"intValue\":\"2\"}},"
                  "{\"key\":\"claviger.key\",\"value\":{\"stringValue\":\"byok\"}}],"
                  "\"status\":{\"code\":2,\"message\":\"it \\\"broke\\\"\"}}"
                  "]}]}]}");
    buf_fini(&out);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("trace");
    TCase *tc = tcase_create("trace");

    tcase_add_loop_test(tc, test_contexts, 0, (int)(sizeof(contexts) / sizeof(contexts[0])));
    tcase_add_test(tc, test_share);
    tcase_add_test(tc, test_spans);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
