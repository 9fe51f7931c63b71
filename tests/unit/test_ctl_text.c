/* Texts of clavigerctl for a terminal: cut to its width, durations, numbers. */
#include "clavigerctl.h"

#include "unit/suite.h"

#include <string.h>

static struct buf out;

static void setup(void)
{
    memset(&out, 0, sizeof(out));
}

static void teardown(void)
{
    buf_fini(&out);
}

START_TEST(test_cut)
{
    static const struct {
        const char *line;
        size_t columns;
        const char *expected;
    } cases[] = {
        {"", 5, ""},
        {"abc", 0, "abc"},
        {"abc", 3, "abc"},
        {"abc", 2, "ab"},
        {"▁▂▃", 2, "▁▂"},
        {"a\303\244b", 2, "a\303\244"},
        {"\033[31mabc\033[0md", 2, "\033[31mab\033[0m"},
        {"\033[1;31mab\033[0m", 2, "\033[1;31mab\033[0m"},
        {"a\033[", 2, "a\033"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_cut(&out, cases[i].line, strlen(cases[i].line), cases[i].columns);
        ck_assert_str_eq(out.data ? out.data : "", cases[i].expected);
        buf_clear(&out);
    }
}
END_TEST

START_TEST(test_duration)
{
    static const struct {
        int64_t seconds;
        const char *expected;
    } cases[] = {{0, "0 s"},          {59, "59 s"},           {60, "1 min 0 s"},  {3599, "59 min 59 s"},
                 {3600, "1 h 0 min"}, {86399, "23 h 59 min"}, {86400, "1 d 0 h"}, {8640000, "100 d 0 h"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_duration(&out, cases[i].seconds);
        ck_assert_str_eq(out.data, cases[i].expected);
        buf_clear(&out);
    }
}
END_TEST

START_TEST(test_number)
{
    static const struct {
        int64_t number;
        const char *expected;
    } cases[] = {{0, "0"},
                 {-7, "-7"},
                 {999, "999"},
                 {1000, "1,000"},
                 {-123456, "-123,456"},
                 {INT64_MAX, "9,223,372,036,854,775,807"},
                 {INT64_MIN, "-9,223,372,036,854,775,808"}};
    char number[TEXT_NUMBER_SIZE];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        text_number(number, cases[i].number);
        ck_assert_str_eq(number, cases[i].expected);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctl_text");
    TCase *tc = tcase_create("ctl_text");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_cut);
    tcase_add_test(tc, test_duration);
    tcase_add_test(tc, test_number);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
