/* test_chunked: whole bodies and broken ones, in one piece and byte by byte. */
#include "core/chunked.h"

#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>

/* Feeds the text in pieces of `piece` bytes; the body goes to out. Returns the last result; *rest = bytes not
 * used. */
static enum chunked_result decode(const char *text, size_t piece, char *out, size_t *rest)
{
    struct chunked chunked = {0};
    size_t len = strlen(text);
    size_t at = 0;
    size_t out_len = 0;
    enum chunked_result result = CHUNKED_MORE;
    while (at < len && (result == CHUNKED_MORE || result == CHUNKED_BODY)) {
        size_t now = len - at < piece ? len - at : piece;
        size_t done = 0;
        do {
            const char *body = NULL;
            size_t body_len = 0;
            size_t used = 0;
            result = chunked_feed(&chunked, text + at + done, now - done, &used, &body, &body_len);
            if (result == CHUNKED_BAD)
                return result;
            done += used;
            if (result == CHUNKED_BODY) {
                ck_assert_uint_gt(body_len, 0);
                memcpy(out + out_len, body, body_len);
                out_len += body_len;
            }
        } while (result == CHUNKED_BODY);
        at += done;
    }
    out[out_len] = '\0';
    *rest = len - at;
    return result;
}

static const struct {
    const char *text;
    const char *body;
    enum chunked_result result;
    size_t rest;
} cases[] = {
    {"0\r\n\r\n", "", CHUNKED_END, 0},
    {"5\r\nhello\r\n0\r\n\r\n", "hello", CHUNKED_END, 0},
    {"5\r\nhello\r\n0\r\n\r\nHTTP/1.1", "hello", CHUNKED_END, 8},
    {"a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n", "0123456789x", CHUNKED_END, 0},
    {"0000000A\r\n0123456789\r\n000\r\n\r\n", "0123456789", CHUNKED_END, 0},
    {"3;name=value\r\nabc\r\n0;last\r\n\r\n", "abc", CHUNKED_END, 0},
    {"3 ; name\r\nabc\r\n0\r\n\r\n", "abc", CHUNKED_END, 0},
    {"3\nabc\n0\n\n", "abc", CHUNKED_END, 0},
    {"3\r\nabc\r\n0\r\nX-Late: 1\r\nX-More: 2\r\n\r\n", "abc", CHUNKED_END, 0},
    {"4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n", CHUNKED_END, 0},
    {"3\r\nab", "ab", CHUNKED_MORE, 0},
    {"3\r\nabc\r\n0\r\n", "abc", CHUNKED_MORE, 0},
    {"3\r\nabc\r\n0\r\nX-Late: 1\r\n", "abc", CHUNKED_MORE, 0},
    {"", "", CHUNKED_MORE, 0},
    {"\r\n", "", CHUNKED_BAD, 0},
    {"xyz\r\n", "", CHUNKED_BAD, 0},
    {"-1\r\n", "", CHUNKED_BAD, 0},
    {"+1\r\na\r\n", "", CHUNKED_BAD, 0},
    {"0x1\r\na\r\n", "", CHUNKED_BAD, 0},
    {" 1\r\na\r\n", "", CHUNKED_BAD, 0},
    {"3\r\nabcd\r\n0\r\n\r\n", "abc", CHUNKED_BAD, 0},
    {"3\r\nabc\rx", "abc", CHUNKED_BAD, 0},
    {"3\r\nabc\r\r\n", "abc", CHUNKED_BAD, 0},
    {"3\r\nabc0\r\n\r\n", "abc", CHUNKED_BAD, 0},
    {"ffffffffffffffff\r\na", "", CHUNKED_BAD, 0},
    {"8000000000000000\r\na", "", CHUNKED_BAD, 0},
    {"fffffffffffffffff\r\na", "", CHUNKED_BAD, 0},
    {"7fffffffffffffff\r\nabc", "abc", CHUNKED_MORE, 0},
};
#define CASES ((int)(sizeof(cases) / sizeof(cases[0])))

START_TEST(each_case_in_pieces)
{
    for (size_t piece = 1; piece < 40; piece++) {
        char out[256];
        size_t rest = 0;
        enum chunked_result result = decode(cases[_i].text, piece, out, &rest);
        ck_assert_msg(result == cases[_i].result, "pieces of %zu of %s: %d", piece, cases[_i].text, result);
        if (result == CHUNKED_BAD)
            continue;
        ck_assert_str_eq(out, cases[_i].body);
        ck_assert_uint_eq(rest, cases[_i].rest);
    }
}
END_TEST

/* Neither an extension nor trailers nor zeros go on for ever. */
START_TEST(lines_are_bounded)
{
    static const char *const begins[] = {"3;", "0\r\nX: ", "0\r\n", "0"};
    static const char *const more[] = {"x", "y", "a: b\r\n", "0"};
    struct chunked chunked = {0};
    const char *body;
    size_t body_len;
    size_t used;
    size_t fed = 0;
    enum chunked_result result =
        chunked_feed(&chunked, begins[_i], strlen(begins[_i]), &used, &body, &body_len);
    while (result == CHUNKED_MORE) {
        ck_assert_uint_le(fed, CHUNKED_LINES_MAX + 100);
        result = chunked_feed(&chunked, more[_i], strlen(more[_i]), &used, &body, &body_len);
        fed += strlen(more[_i]);
    }
    ck_assert_int_eq(result, CHUNKED_BAD);
    ck_assert_uint_gt(fed, CHUNKED_LINES_MAX - 100);
}
END_TEST

/* Any number of chunks passes, however much there is of them. */
START_TEST(many_chunks)
{
    struct chunked chunked = {0};
    const char *body;
    size_t body_len;
    size_t used;
    for (int i = 0; i < 100000; i++) {
        ck_assert_int_eq(chunked_feed(&chunked, "1\r\na", 4, &used, &body, &body_len), CHUNKED_BODY);
        ck_assert_uint_eq(used, 4);
        ck_assert_uint_eq(body_len, 1);
        ck_assert_int_eq(chunked_feed(&chunked, "\r\n", 2, &used, &body, &body_len), CHUNKED_MORE);
    }
    ck_assert_int_eq(chunked_feed(&chunked, "0\r\n\r\nmore", 9, &used, &body, &body_len), CHUNKED_END);
    ck_assert_uint_eq(used, 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chunked");
    TCase *tc = tcase_create("chunked");
    tcase_add_loop_test(tc, each_case_in_pieces, 0, CASES);
    tcase_add_loop_test(tc, lines_are_bounded, 0, 4);
    tcase_add_test(tc, many_chunks);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
