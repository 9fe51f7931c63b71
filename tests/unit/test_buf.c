/* test_buf: growth, the sticky failure, and the two ways of escaping. */
#include "base/buf.h"

#include "unit/suite.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Under AddressSanitizer too, a block that is too large is NULL and not the end. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

START_TEST(starts_empty)
{
    struct buf b = {0};

    buf_clear(&b);
    buf_consume(&b, 5);
    ck_assert_ptr_null(b.data);
    buf_append(&b, NULL, 0);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_str_eq(b.data, "");
    buf_fini(&b);
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(b.cap, 0);
}
END_TEST

START_TEST(appends)
{
    struct buf b = {0};

    buf_puts(&b, "ab");
    buf_putc(&b, 'c');
    buf_append(&b, "d\0e", 3);
    buf_printf(&b, "%d-%s", 42, "x");
    ck_assert_uint_eq(b.len, 10);
    ck_assert_mem_eq(b.data, "abcd\0e42-x", 11);
    ck_assert(!b.failed);
    buf_clear(&b);
    ck_assert_uint_eq(b.len, 0);
    ck_assert_str_eq(b.data, "");
    buf_fini(&b);
}
END_TEST

START_TEST(grows)
{
    struct buf b = {0};

    for (int i = 0; i < 10000; i++) {
        buf_putc(&b, (char)('a' + i % 26));
        ck_assert_uint_lt(b.len, b.cap);
        ck_assert_int_eq(b.data[b.len], '\0');
    }
    for (size_t i = 0; i < 10000; i++)
        ck_assert_int_eq(b.data[i], (char)('a' + i % 26));
    buf_fini(&b);
}
END_TEST

/* Lengths around every growth of the buffer: one byte too few for the NUL would show under a sanitizer. */
START_TEST(printf_any_length)
{
    for (int len = 0; len < 300; len++) {
        struct buf b = {0};
        buf_puts(&b, "#");
        buf_printf(&b, "%*d", len, 7);
        ck_assert_uint_eq(b.len, 1 + (size_t)(len == 0 ? 1 : len));
        ck_assert_int_eq(b.data[b.len - 1], '7');
        ck_assert_int_eq(b.data[b.len], '\0');
        buf_fini(&b);
    }
}
END_TEST

START_TEST(numbers)
{
    struct buf b = {0};

    buf_put_uint(&b, 0);
    buf_putc(&b, ' ');
    buf_put_uint(&b, 10203);
    buf_putc(&b, ' ');
    buf_put_uint(&b, UINT64_MAX);
    ck_assert_str_eq(b.data, "0 10203 18446744073709551615");
    buf_fini(&b);
}
END_TEST

START_TEST(reserve_makes_room_for_nul)
{
    struct buf b = {0};

    ck_assert(buf_reserve(&b, 1000));
    ck_assert_uint_gt(b.cap, 1000);
    char *before = b.data;
    for (int i = 0; i < 1000; i++)
        buf_putc(&b, 'x');
    ck_assert_ptr_eq(b.data, before);
    buf_fini(&b);
}
END_TEST

static const size_t impossible[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 3, SIZE_MAX / 2 + 1};

START_TEST(failure_is_sticky)
{
    struct buf b = {0};

    buf_puts(&b, "kept");
    ck_assert(!buf_reserve(&b, impossible[_i]));
    ck_assert(b.failed);
    buf_puts(&b, "lost");
    buf_putc(&b, 'x');
    buf_printf(&b, "%d", 1);
    buf_json(&b, "j", 1);
    buf_escape(&b, "e", 1, "");
    ck_assert(!buf_reserve(&b, 0));
    ck_assert_str_eq(b.data, "kept");
    ck_assert_uint_eq(b.len, 4);
    buf_clear(&b);
    buf_puts(&b, "again");
    ck_assert_str_eq(b.data, "again");
    buf_fini(&b);
}
END_TEST

START_TEST(take_gives_the_content_away)
{
    struct buf b = {0};

    buf_puts(&b, "mine");
    char *text = buf_take(&b);
    ck_assert_str_eq(text, "mine");
    ck_assert_ptr_null(b.data);
    ck_assert_uint_eq(b.len, 0);
    free(text);

    text = buf_take(&b); /* never grown */
    ck_assert_str_eq(text, "");
    free(text);

    buf_puts(&b, "x");
    ck_assert(!buf_reserve(&b, SIZE_MAX));
    ck_assert_ptr_null(buf_take(&b));
    ck_assert(!b.failed);
    ck_assert_ptr_null(b.data);
}
END_TEST

START_TEST(consumes_from_the_front)
{
    struct buf b = {0};

    buf_puts(&b, "abcdef");
    buf_consume(&b, 0);
    ck_assert_str_eq(b.data, "abcdef");
    buf_consume(&b, 2);
    ck_assert_str_eq(b.data, "cdef");
    buf_consume(&b, 100);
    ck_assert_str_eq(b.data, "");
    ck_assert_uint_eq(b.len, 0);
    buf_fini(&b);
}
END_TEST

#define BAD "\xef\xbf\xbd" /* U+FFFD */

static const struct {
    const char *in;
    size_t len;
    const char *json;
    const char *escaped;
} texts[] = {
    {"", 0, "\"\"", ""},
    {"plain", 5, "\"plain\"", "plain"},
    {"a\"b\\c/", 6, "\"a\\\"b\\\\c/\"", "a\"b\\c/"},
    {"\n\r\t", 3, "\"\\n\\r\\t\"", "\\x0a\\x0d\\x09"},
    {"\0\x01\x1f\x7f", 4, "\"\\u0000\\u0001\\u001f\\u007f\"", "\\x00\\x01\\x1f\\x7f"},
    {" ~", 2, "\" ~\"", " ~"},
    /* well-formed: the first and the last of each length, and around the surrogates */
    {"\xc2\xa0\xdf\xbf", 4, "\"\xc2\xa0\xdf\xbf\"", "\xc2\xa0\xdf\xbf"},
    {"\xe0\xa0\x80\xef\xbf\xbf", 6, "\"\xe0\xa0\x80\xef\xbf\xbf\"", "\xe0\xa0\x80\xef\xbf\xbf"},
    {"\xed\x9f\xbf\xee\x80\x80", 6, "\"\xed\x9f\xbf\xee\x80\x80\"", "\xed\x9f\xbf\xee\x80\x80"},
    {"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf", 8, "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"",
     "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
    /* C1 controls are valid JSON, but steer terminals */
    {"\xc2\x80\xc2\x9b\xc2\x9f", 6, "\"\xc2\x80\xc2\x9b\xc2\x9f\"", "\\xc2\\x80\\xc2\\x9b\\xc2\\x9f"},
    /* not UTF-8: lone, overlong, surrogate, too large, cut */
    {"\x80", 1, "\"" BAD "\"", "\\x80"},
    {"a\xff"
     "b",
     3, "\"a" BAD "b\"", "a\\xffb"},
    {"\xc0\xaf", 2, "\"" BAD BAD "\"", "\\xc0\\xaf"},
    {"\xc1\xbf", 2, "\"" BAD BAD "\"", "\\xc1\\xbf"},
    {"\xe0\x9f\xbf", 3, "\"" BAD BAD BAD "\"", "\\xe0\\x9f\\xbf"},
    {"\xed\xa0\x80", 3, "\"" BAD BAD BAD "\"", "\\xed\\xa0\\x80"},
    {"\xf0\x8f\xbf\xbf", 4, "\"" BAD BAD BAD BAD "\"", "\\xf0\\x8f\\xbf\\xbf"},
    {"\xf4\x90\x80\x80", 4, "\"" BAD BAD BAD BAD "\"", "\\xf4\\x90\\x80\\x80"},
    {"\xf5\x80\x80\x80", 4, "\"" BAD BAD BAD BAD "\"", "\\xf5\\x80\\x80\\x80"},
    {"\xe2\x82", 2, "\"" BAD BAD "\"", "\\xe2\\x82"},
    {"\xe2\x82\"", 3, "\"" BAD BAD "\\\"\"", "\\xe2\\x82\""},
    {"\xf0\x9f\x98"
     "x",
     4, "\"" BAD BAD BAD "x\"", "\\xf0\\x9f\\x98x"},
    {"\xc2", 1, "\"" BAD "\"", "\\xc2"},
};

START_TEST(escapes)
{
    struct buf b = {0};

    /* A copy of the exact size, so that a read behind its end shows under a sanitizer. */
    char *in = malloc(texts[_i].len + (texts[_i].len == 0));
    ck_assert_ptr_nonnull(in);
    memcpy(in, texts[_i].in, texts[_i].len);
    buf_json(&b, in, texts[_i].len);
    ck_assert_str_eq(b.data, texts[_i].json);
    buf_clear(&b);
    buf_puts(&b, ">");
    buf_escape(&b, in, texts[_i].len, "");
    ck_assert_str_eq(b.data + 1, texts[_i].escaped);
    free(in);
    buf_fini(&b);
}
END_TEST

START_TEST(escapes_more_on_demand)
{
    struct buf b = {0};
    const char text[] = "a b\"c\\d\xc3\xa4";

    buf_escape(&b, text, strlen(text), " \"\\");
    ck_assert_str_eq(b.data, "a\\x20b\\x22c\\x5cd\xc3\xa4");
    buf_fini(&b);
}
END_TEST

/* Long strings are looked through by eights: with any byte at any place they are what their pieces are. */
START_TEST(json_anywhere)
{
    for (size_t len = 1; len < 20; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                char text[20];
                char one = (char)c;
                struct buf b = {0};
                struct buf expected = {0};

                memset(text, 'z', len);
                text[at] = one;
                buf_json(&b, text, len);
                buf_printf(&expected, "\"%.*s", (int)at, "zzzzzzzzzzzzzzzzzzzz");
                buf_json(&expected, &one, 1);
                memmove(expected.data + at + 1, expected.data + at + 2, expected.len - at - 1);
                expected.len -= 2; /* without the quotes of the piece */
                buf_printf(&expected, "%.*s\"", (int)(len - at - 1), "zzzzzzzzzzzzzzzzzzzz");
                if (b.len != expected.len || memcmp(b.data, expected.data, b.len) != 0)
                    ck_abort_msg("byte %d at %zu of %zu: %s", c, at, len, b.data);
                buf_fini(&b);
                buf_fini(&expected);
            }
        }
    }
}
END_TEST

/* Around every power of ten. */
START_TEST(numbers_of_all_lengths)
{
    for (uint64_t power = 1, digits = 1; digits <= 20; digits++, power *= 10) {
        for (unsigned i = 0; i < 3; i++) {
            struct buf b = {0};
            struct buf expected = {0};

            buf_put_uint(&b, power - 1 + i);
            buf_printf(&expected, "%" PRIu64, power - 1 + i);
            ck_assert_str_eq(b.data, expected.data);
            buf_fini(&b);
            buf_fini(&expected);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tc = tcase_create("buf");

    tcase_add_test(tc, starts_empty);
    tcase_add_test(tc, appends);
    tcase_add_test(tc, grows);
    tcase_add_test(tc, printf_any_length);
    tcase_add_test(tc, numbers);
    tcase_add_test(tc, reserve_makes_room_for_nul);
    tcase_add_loop_test(tc, failure_is_sticky, 0, (int)(sizeof(impossible) / sizeof(impossible[0])));
    tcase_add_test(tc, take_gives_the_content_away);
    tcase_add_test(tc, consumes_from_the_front);
    tcase_add_loop_test(tc, escapes, 0, (int)(sizeof(texts) / sizeof(texts[0])));
    tcase_add_test(tc, escapes_more_on_demand);
    tcase_add_test(tc, json_anywhere);
    tcase_add_test(tc, numbers_of_all_lengths);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
