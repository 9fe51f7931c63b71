/*
 * Tests of usage: the reports of three APIs, plain and streamed, cut at every byte; and what is no report.
 */
#include "core/usage.h"

#include "unit/suite.h"

#include <string.h>

static const struct {
    enum usage_format format;
    const char *text;
    bool found;
    struct usage usage;
} cases[] = {
    /* Anthropic Messages */
    {USAGE_JSON,
     "{\"id\":\"msg_1\",\"type\":\"message\",\"model\":\"claude-x\",\"content\":[{\"type\":\"text\",\"text\":"
     "\"hi\"}],"
     "\"usage\":{\"input_tokens\":12,\"cache_creation_input_tokens\":3,\"cache_read_input_tokens\":4,"
     "\"output_tokens\":5,\"service_tier\":\"standard\"}}",
     true,
     {12, 5, 4, 3, 0, "claude-x"}},
    {USAGE_EVENTS,
     "event: message_start\n"
     "data: {\"type\":\"message_start\",\"message\":{\"model\":\"claude-x\",\"usage\":{\"input_tokens\":25,"
     "\"cache_read_input_tokens\":7,\"output_tokens\":1}}}\n\n"
     "event: content_block_delta\n"
     "data: "
     "{\"type\":\"content_block_delta\",\"delta\":{\"text\":\"\\\"usage\\\":{\\\"output_tokens\\\":99}\"}}"
     "\n\n"
     "event: message_delta\n"
     "data: "
     "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}"
     "\n\n"
     "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
     true,
     {25, 15, 7, 0, 0, "claude-x"}},
    /* OpenAI Chat Completions */
    {USAGE_JSON,
     "{\"choices\":[{\"message\":{\"content\":\"x\",\"usage\":{\"prompt_tokens\":77}}}],\"model\":\"gpt-x\","
     "\"usage\" :"
     " {\"prompt_tokens\" : 19 , \"completion_tokens\":10,\"total_tokens\":29,"
     "\"prompt_tokens_details\":{\"cached_tokens\":8,\"audio_tokens\":0},"
     "\"completion_tokens_details\":{\"reasoning_tokens\":6,\"accepted_prediction_tokens\":0}}}",
     true,
     {19, 10, 8, 0, 6, "gpt-x"}},
    {USAGE_EVENTS,
     "data: {\"model\":\"gpt-x\",\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\r\n\r\n"
     "data: "
     "{\"model\":\"gpt-x\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2}}\r\n\r\n"
     "data: [DONE]\r\n\r\n",
     true,
     {9, 2, 0, 0, 0, "gpt-x"}},
    /* OpenAI Responses */
    {USAGE_JSON,
     "{\"object\":\"response\",\"model\":\"gpt-y\",\"output\":[{\"content\":[{\"text\":\"x\"}]}],"
     "\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":30},\"output_tokens\":87,"
     "\"output_tokens_details\":{\"reasoning_tokens\":64},\"total_tokens\":123}}",
     true,
     {36, 87, 30, 0, 64, "gpt-y"}},
    {USAGE_EVENTS,
     ": comment\nid: 1\nevent: response.created\n"
     "data: {\"type\":\"response.created\",\"response\":{\"model\":\"gpt-y\",\"usage\":null}}\n\n"
     "event: response.completed\n"
     "data: {\"type\":\"response.completed\",\n"
     "data: \"response\":{\"model\":\"gpt-y\",\"usage\":{\"input_tokens\":37,\"output_tokens\":11,\n"
     "data: \"output_tokens_details\":{\"reasoning_tokens\":0}}}}\n\n",
     true,
     {37, 11, 0, 0, 0, "gpt-y"}},
    /* A text that ends early does not spoil the next event. */
    {USAGE_EVENTS,
     "data: {\"usage\":{\"input_tokens\":1,\"x\":\"unfinished\n\ndata: {\"usage\":{\"output_tokens\":2}}\n\n",
     true,
     {1, 2, 0, 0, 0, ""}},
    /* Names and values that only look like it. */
    {USAGE_JSON,
     "{\"usage\":{\"input_tokens\":\"12\",\"output_tokens\":-3,\"prompt_tokens\":1.5}}",
     false,
     {0}},
    {USAGE_JSON, "{\"usage\":{\"input_tokens\":99999999999999999999}}", false, {0}},
    {USAGE_JSON, "{\"usage\":[{\"input_tokens\":1}]}", false, {0}},
    {USAGE_JSON, "[{\"usage\":{\"input_tokens\":1}}]", false, {0}},
    {USAGE_JSON, "{\"a\":{\"usage\":{\"input_tokens\":1}}}", false, {0}},
    {USAGE_JSON, "{\"usage_\":{\"input_tokens\":1}}", false, {0}},
    {USAGE_JSON, "{\"a\":\"usage\",\"b\":{\"input_tokens\":1}}", false, {0}},
    {USAGE_JSON, "{\"us\\u0061ge\":{\"input_tokens\":1}}", false, {0}},
    {USAGE_JSON, "{\"error\":{\"message\":\"model\"}}", false, {0}},
    {USAGE_JSON, "{\"model\":\"only\"}", false, {0, 0, 0, 0, 0, "only"}},
    {USAGE_JSON, "{\"model\":{\"x\":\"y\"},\"usage\":{\"input_tokens\":1}}", true, {1, 0, 0, 0, 0, ""}},
    {USAGE_JSON,
     "{\"model\":\"a b\\u00e9\xc3\xa9\",\"usage\":{\"input_tokens\":1}}",
     true,
     {1, 0, 0, 0, 0, "a?b\\u00e9??"}},
    {USAGE_JSON, "}}]],:{\"usage\":{\"input_tokens\":4}}", true, {4, 0, 0, 0, 0, ""}},
    {USAGE_JSON,
     "{\"deep\":[[[[[[[{\"a\":{\"b\":[{}]}}]]]]]]],\"usage\":{\"x\":{\"y\":{\"z\":[1,2]}},\"input_tokens\":5}"
     "}",
     true,
     {5, 0, 0, 0, 0, ""}},
    {USAGE_JSON, "plain text", false, {0}},
    {USAGE_JSON, "", false, {0}},
    {USAGE_EVENTS, "{\"usage\":{\"input_tokens\":1}}\n\n", false, {0}},
    {USAGE_EVENTS, "datax: {\"usage\":{\"input_tokens\":1}}\n\n", false, {0}},
    {USAGE_NONE, "{\"usage\":{\"input_tokens\":1}}", false, {0}},
};

static void expect(const struct usage_scanner *scanner, int i)
{
    struct usage usage;

    ck_assert_int_eq(usage_result(scanner, &usage), cases[i].found);
    ck_assert_uint_eq(usage.input, cases[i].usage.input);
    ck_assert_uint_eq(usage.output, cases[i].usage.output);
    ck_assert_uint_eq(usage.cached, cases[i].usage.cached);
    ck_assert_uint_eq(usage.written, cases[i].usage.written);
    ck_assert_uint_eq(usage.reasoning, cases[i].usage.reasoning);
    ck_assert_str_eq(usage.model, cases[i].usage.model);
}

/* Whole, in two pieces cut at every byte, and byte by byte: always the same. */
START_TEST(test_cases)
{
    const char *text = cases[_i].text;
    size_t len = strlen(text);

    for (size_t cut = 0; cut <= len; cut++) {
        struct usage_scanner scanner = {.format = cases[_i].format};

        usage_feed(&scanner, text, cut);
        usage_feed(&scanner, text + cut, len - cut);
        expect(&scanner, _i);
    }
    struct usage_scanner scanner = {.format = cases[_i].format};
    for (size_t i = 0; i < len; i++)
        usage_feed(&scanner, text + i, 1);
    expect(&scanner, _i);
}
END_TEST

static void feed_text(struct usage_scanner *scanner, const char *text)
{
    usage_feed(scanner, text, strlen(text));
}

/* A long name is cut, a long text between is no matter. */
START_TEST(test_long)
{
    static char filler[150000];
    struct usage_scanner scanner = {.format = USAGE_JSON};
    struct usage usage;

    memset(filler, 'x', sizeof(filler));
    feed_text(&scanner, "{\"model\":\"");
    usage_feed(&scanner, filler, 100);
    feed_text(&scanner, "\",\"text\":\"");
    usage_feed(&scanner, filler, sizeof(filler));
    feed_text(&scanner, "\",\"usage\":{\"output_tokens\":4294967295}}");
    ck_assert(usage_result(&scanner, &usage));
    ck_assert_uint_eq(usage.output, UINT32_MAX);
    ck_assert_uint_eq(strlen(usage.model), USAGE_MODEL_SIZE - 1);
}
END_TEST

static const struct {
    const char *type;
    enum usage_format format;
} types[] = {
    {"application/json", USAGE_JSON},
    {"Application/JSON; charset=utf-8", USAGE_JSON},
    {"text/event-stream", USAGE_EVENTS},
    {"text/event-stream; charset=utf-8", USAGE_EVENTS},
    {"text/plain", USAGE_NONE},
    {"", USAGE_NONE},
    {NULL, USAGE_NONE},
};

START_TEST(test_formats)
{
    ck_assert_int_eq(usage_format(types[_i].type), types[_i].format);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
    Suite *s = suite_create("usage");
    TCase *tc = tcase_create("usage");

    tcase_add_loop_test(tc, test_cases, 0, COUNT(cases));
    tcase_add_test(tc, test_long);
    tcase_add_loop_test(tc, test_formats, 0, COUNT(types));
    suite_add_tcase(s, tc);
    return suite_run(s);
}
