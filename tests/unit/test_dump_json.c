/*
 * Tests of dump_json: what is JSON, and how it is indented.
 */
#include "io/dump_json.h"
#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *text;
    const char *indented; /* NULL = no JSON */
} jsons[] = {
    {"{}", "{}\n"},
    {" [ ] ", "[]\n"},
    {"{\"b\":1,\"a\":[1.00,1e5,-0],\"b\":\"x\\\"},{\"}",
     "{\n  \"b\": 1,\n  \"a\": [\n    1.00,\n    1e5,\n    -0\n  ],\n  \"b\": \"x\\\"},{\"\n}\n"},
    {"[[],{},[{}]]", "[\n  [],\n  {},\n  [\n    {}\n  ]\n]\n"},
    {"\"a\\\\\"", "\"a\\\\\"\n"},
    {"12345678901234567890.5", "12345678901234567890.5\n"},
    {"true", "true\n"},
    {"{\"k\" :\n null , \"l\":\tfalse}", "{\n  \"k\": null,\n  \"l\": false\n}\n"},
    {"\"\\u00e9\xc3\xa9\"", "\"\\u00e9\xc3\xa9\"\n"},
    {"", NULL},
    {"{", NULL},
    {"{}x", NULL},
    {"data: {}", NULL},
    {"[1,]", NULL},
    {"\"\xff\"", NULL},
    {"12345678901234567890", "12345678901234567890\n"},
    {"-0.5E+10", "-0.5E+10\n"},
    {"\"\\u00Ef\\/\\b\"", "\"\\u00Ef\\/\\b\"\n"},
    {" 1 ", "1\n"},
    {"{\"\":{\"a\":[]}}", "{\n  \"\": {\n    \"a\": []\n  }\n}\n"},
    {"  ", NULL},
    {"1 2", NULL},
    {"1,2", NULL},
    {"1]", NULL},
    {"[1}", NULL},
    {"{\"a\":1]", NULL},
    {"{\"a\"}", NULL},
    {"{\"a\":}", NULL},
    {"{\"a\":1,}", NULL},
    {"{1:2}", NULL},
    {"[1 2]", NULL},
    {"[,]", NULL},
    {"01", NULL},
    {"-", NULL},
    {"+1", NULL},
    {"1.", NULL},
    {".5", NULL},
    {"1e", NULL},
    {"1e+", NULL},
    {"1x", NULL},
    {"tru", NULL},
    {"truex", NULL},
    {"nul", NULL},
    {"\"", NULL},
    {"\"\\", NULL},
    {"\"\\x\"", NULL},
    {"\"\\u12g4\"", NULL},
    {"\"\\u12", NULL},
    {"\"\n\"", NULL},
    {"[\"a\"", NULL},
    {"{\"a\":", NULL},
};

START_TEST(test_json)
{
    struct buf out = {0};

    buf_puts(&out, "before");
    if (jsons[_i].indented == NULL) {
        ck_assert(!dump_json_indent(&out, jsons[_i].text, strlen(jsons[_i].text)));
        ck_assert_str_eq(out.data, "before");
    } else {
        ck_assert(dump_json_indent(&out, jsons[_i].text, strlen(jsons[_i].text)));
        ck_assert_str_eq(out.data + strlen("before"), jsons[_i].indented);
    }
    buf_fini(&out);
}
END_TEST

/* White space that would fill the memory is not made. */
START_TEST(test_deep_json)
{
    static char text[300000];
    const size_t len = sizeof(text);
    struct buf out = {0};

    memset(text, 'x', len);
    text[1024] = text[len - 1025] = '"';
    memset(text, '[', 1024);
    memset(text + len - 1024, ']', 1024);
    ck_assert(dump_json_indent(&out, text, len));
    buf_clear(&out);
    text[1024] = '[';
    text[len - 1025] = ']';
    text[1025] = text[len - 1026] = '"';
    ck_assert(!dump_json_indent(&out, text, len));
    for (size_t i = 1000; i < len - 1000; i += 2)
        memcpy(text + i, "1,", 2);
    text[len - 1001] = ' ';
    memset(text + len - 1000, ']', 1000);
    ck_assert(!dump_json_indent(&out, text, len));
    ck_assert_uint_eq(out.len, 0);
    ck_assert_uint_lt(out.cap, 16 << 20);
    buf_fini(&out);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
    Suite *s = suite_create("dump_json");
    TCase *tc = tcase_create("dump_json");

    tcase_add_loop_test(tc, test_json, 0, COUNT(jsons));
    tcase_add_test(tc, test_deep_json);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
