/*
 * test_retry_after: every form in which a provider may say when to come back, and what is none.
 */
#include "core/retry_after.h"

#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define NOW     INT64_C(1792000000000) /* 2026-10-14T17:46:40Z, a Wednesday */
#define DEFAULT 60000
#define MAX     3600000

#define ZEROS_50 "00000000000000000000000000000000000000000000000000"

static const struct {
    const char *ms;    /* retry-after-ms; NULL = not sent */
    const char *after; /* Retry-After */
    int64_t cooldown;
} cases[] = {
    {NULL, NULL, DEFAULT},
    /* retry-after-ms */
    {"1", NULL, 1},
    {"1500", NULL, 1500},
    {"1500.0", NULL, 1500},
    {"1500.2", NULL, 1501},
    {"0.5", NULL, 1},
    {".5", NULL, 1},
    {"5.", NULL, 5},
    {"+7", NULL, 7},
    {"007", NULL, 7},
    {" 12\t", NULL, 12},
    {"1e3", NULL, 1000},
    {"1.25E+3", NULL, 1250},
    {"1.2345e3", NULL, 1235},
    {"12e-1", NULL, 2},
    {"1e-400", NULL, 1},
    {"0." ZEROS_50 "1", NULL, 1},
    {"1" ZEROS_50 "e-50", NULL, 1},
    {"3" ZEROS_50 "e-48", NULL, 300},
    {"1" ZEROS_50 "1e-51", NULL, 2},
    {"2" ZEROS_50 "1e-51", NULL, 3},
    {"20" ZEROS_50 "1e-51", NULL, 21},
    {"3600000", NULL, MAX},
    {"3600000.1", NULL, MAX},
    {"3599999.1", NULL, MAX},
    {"3599998.1", NULL, 3599999},
    {"3600001", NULL, MAX},
    {"9223372036854775807", NULL, MAX},
    {"9223372036854775808", NULL, MAX},
    {"18446744073709551617", NULL, MAX},
    {"1e400", NULL, MAX},
    {"1e99999999999999999999", NULL, MAX},
    {"1" ZEROS_50, NULL, MAX},
    {"1e-99999999999999999999", NULL, 1},
    {"0", NULL, DEFAULT},
    {"0.0", NULL, DEFAULT},
    {"0e5", NULL, DEFAULT},
    {"0e400", NULL, DEFAULT},
    {"-0", NULL, DEFAULT},
    {"-1", NULL, DEFAULT},
    {"-1e400", NULL, DEFAULT},
    {"", NULL, DEFAULT},
    {" ", NULL, DEFAULT},
    {".", NULL, DEFAULT},
    {"+", NULL, DEFAULT},
    {"++1", NULL, DEFAULT},
    {"+-1", NULL, DEFAULT},
    {"e5", NULL, DEFAULT},
    {".e5", NULL, DEFAULT},
    {"5e", NULL, DEFAULT},
    {"5e+", NULL, DEFAULT},
    {"5e1.5", NULL, DEFAULT},
    {"5 e1", NULL, DEFAULT},
    {"1.2.3", NULL, DEFAULT},
    {"nan", NULL, DEFAULT},
    {"NaN", NULL, DEFAULT},
    {"inf", NULL, DEFAULT},
    {"Infinity", NULL, DEFAULT},
    {"+inf", NULL, DEFAULT},
    {"0x10", NULL, DEFAULT},
    {"0X1P4", NULL, DEFAULT},
    {"10ms", NULL, DEFAULT},
    {"10 ms", NULL, DEFAULT},
    {"10;", NULL, DEFAULT},
    {"10, 20", NULL, DEFAULT},
    {"1,5", NULL, DEFAULT},
    {"1_000", NULL, DEFAULT},
    {"1 000", NULL, DEFAULT},
    {"ten", NULL, DEFAULT},
    {"Wed, 14 Oct 2026 17:47:40 GMT", NULL, DEFAULT}, /* a date is no number of milliseconds */
    /* Retry-After in seconds */
    {NULL, "1", 1000},
    {NULL, "3", 3000},
    {NULL, "120", 120000},
    {NULL, "1.5", 1500},
    {NULL, "0.0001", 1},
    {NULL, "1.0001", 1001},
    {NULL, "0.001", 1},
    {NULL, "1e-3", 1},
    {NULL, "3600", MAX},
    {NULL, "3601", MAX},
    {NULL, "9223372036854775807", MAX},
    {NULL, "99999999999999999999", MAX},
    {NULL, "1e400", MAX},
    {NULL, "0", DEFAULT},
    {NULL, "-5", DEFAULT},
    {NULL, "-0.1", DEFAULT},
    {NULL, "", DEFAULT},
    {NULL, "nan", DEFAULT},
    {NULL, "inf", DEFAULT},
    {NULL, "-inf", DEFAULT},
    {NULL, "0x10", DEFAULT},
    {NULL, "10s", DEFAULT},
    {NULL, "10 seconds", DEFAULT},
    {NULL, "10, 20", DEFAULT},
    {NULL, "soon", DEFAULT},
    /* Retry-After as a date */
    {NULL, "Wed, 14 Oct 2026 17:46:50 GMT", 10000},
    {NULL, "Wednesday, 14-Oct-26 17:46:50 GMT", 10000},
    {NULL, "Wed Oct 14 17:46:50 2026", 10000},
    {NULL, "Mon, 14 Oct 2026 17:46:50 GMT", 10000},
    {NULL, "Wed, 14 Oct 2026 17:46:41 GMT", 1000},
    {NULL, "Wed, 14 Oct 2026 17:46:40 GMT", DEFAULT}, /* now is not later */
    {NULL, "Wed, 14 Oct 2026 17:46:39 GMT", DEFAULT},
    {NULL, "Wed, 14 Oct 2026 18:46:40 GMT", MAX},
    {NULL, "Wed, 14 Oct 2026 18:46:41 GMT", MAX},
    {NULL, "Fri, 31 Dec 9999 23:59:59 GMT", MAX},
    {NULL, "Sun, 06 Nov 1994 08:49:37 GMT", DEFAULT},
    {NULL, "Thu, 01 Jan 1970 00:00:00 GMT", DEFAULT},
    {NULL, "Wed, 14 Oct 2026 17:46:50 CET", DEFAULT},
    {NULL, "Wed, 14 Oct 2026 17:46:50 GMT, 5", DEFAULT},
    {NULL, "2026-10-14T17:46:50Z", DEFAULT},
    /* both */
    {"250", "10", 250},
    {"250", "Wed, 14 Oct 2026 17:46:50 GMT", 250},
    {"0", "10", 10000},
    {"-1", "10", 10000},
    {"nan", "10", 10000},
    {"10ms", "10", 10000},
    {"", "10", 10000},
    {"inf", "Wed, 14 Oct 2026 17:46:50 GMT", 10000},
    {"0", "0", DEFAULT},
    {"x", "y", DEFAULT},
    {"250", "x", 250},
    {"1e400", "10", MAX},
};

static void add(struct header_list *list, const char *name, const char *value)
{
    if (value != NULL)
        ck_assert_int_eq(header_add(list, name, strlen(name), value, strlen(value)), 0);
}

START_TEST(cooldowns)
{
    struct header_list list = {0};
    int64_t got;

    add(&list, "Content-Type", "application/json");
    add(&list, "retry-after", cases[_i].after); /* the order of the fields does not matter */
    add(&list, "Retry-After-MS", cases[_i].ms);
    got = retry_after_parse(&list, NOW, DEFAULT, MAX);
    ck_assert_msg(got == cases[_i].cooldown, "ms=%s after=%s: %lld", cases[_i].ms ? cases[_i].ms : "-",
                  cases[_i].after ? cases[_i].after : "-", (long long)got);
    header_list_fini(&list);
}
END_TEST

START_TEST(first_of_several_counts)
{
    struct header_list list = {0};

    add(&list, "Retry-After", "2");
    add(&list, "Retry-After", "9");
    ck_assert_int_eq(retry_after_parse(&list, NOW, DEFAULT, MAX), 2000);
    add(&list, "retry-after-ms", "nothing");
    add(&list, "retry-after-ms", "7");
    ck_assert_int_eq(retry_after_parse(&list, NOW, DEFAULT, MAX), 2000);
    header_list_fini(&list);
}
END_TEST

START_TEST(limits_hold_for_the_default_too)
{
    struct header_list list = {0};

    ck_assert_int_eq(retry_after_parse(&list, NOW, 5000, 4000), 4000);
    ck_assert_int_eq(retry_after_parse(&list, NOW, 0, 4000), 1);
    ck_assert_int_eq(retry_after_parse(&list, NOW, 0, 0), 1);
    add(&list, "retry-after-ms", "0.25");
    ck_assert_int_eq(retry_after_parse(&list, NOW, 5000, 4000), 1);
    header_list_fini(&list);
}
END_TEST

/* The rest of a second that is under way counts. */
START_TEST(dates_are_compared_in_milliseconds)
{
    struct header_list list = {0};

    add(&list, "Retry-After", "Wed, 14 Oct 2026 17:46:41 GMT");
    ck_assert_int_eq(retry_after_parse(&list, NOW + 1, DEFAULT, MAX), 999);
    ck_assert_int_eq(retry_after_parse(&list, NOW + 999, DEFAULT, MAX), 1);
    ck_assert_int_eq(retry_after_parse(&list, NOW + 1000, DEFAULT, MAX), DEFAULT);
    header_list_fini(&list);
}
END_TEST

#define NO_DATE INT64_MIN

static const struct {
    const char *text;
    int64_t unix_s;
} date_cases[] = {
    /* the three examples of RFC 9110 section 5.6.7 */
    {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Sun Nov  6 08:49:37 1994", 784111777},
    {"Sun Nov 06 08:49:37 1994", 784111777},
    {"Sun Nov 16 08:49:37 1994", 784975777},
    {" Sun, 06 Nov 1994 08:49:37 GMT\t", 784111777},
    {"Thu, 01 Jan 1970 00:00:00 GMT", 0},
    {"Wed, 31 Dec 1969 23:59:59 GMT", -1},
    {"Thu, 29 Feb 2024 12:00:00 GMT", 1709208000},
    {"Tue, 29 Feb 2000 00:00:00 GMT", 951782400},
    {"Fri, 01 Mar 2024 00:00:00 GMT", 1709251200},
    {"Sun, 31 Dec 2023 23:59:59 GMT", 1704067199},
    {"Mon, 01 Jan 0001 00:00:00 GMT", INT64_C(-62135596800)},
    {"Fri, 31 Dec 9999 23:59:59 GMT", INT64_C(253402300799)},
    /* leap seconds: only where they happen */
    {"Sat, 31 Dec 2016 23:59:60 GMT", 1483228800},
    {"Saturday, 31-Dec-16 23:59:60 GMT", 1483228800},
    {"Sat Dec 31 23:59:60 2016", 1483228800},
    {"Sat, 31 Dec 2016 23:58:60 GMT", NO_DATE},
    {"Sat, 31 Dec 2016 22:59:60 GMT", NO_DATE},
    {"Sat, 31 Dec 2016 23:59:61 GMT", NO_DATE},
    /* a weekday that does not fit is tolerated, one that is none is not */
    {"Mon, 06 Nov 1994 08:49:37 GMT", 784111777},
    {"Friday, 06-Nov-94 08:49:37 GMT", 784111777},
    {"Fri Nov  6 08:49:37 1994", 784111777},
    {"Xyz, 06 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sunnday, 06-Nov-94 08:49:37 GMT", NO_DATE},
    {"06 Nov 1994 08:49:37 GMT", NO_DATE},
    /* case counts */
    {"sun, 06 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 06 NOV 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 06 Nov 1994 08:49:37 gmt", NO_DATE},
    /* mixed and broken forms */
    {"", NO_DATE},
    {"Sun", NO_DATE},
    {"Sunday", NO_DATE},
    {"Sun,06 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun,  06 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 6 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun,  6 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 06 Foo 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 06 November 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 06 Nov 94 08:49:37 GMT", NO_DATE},
    {"Sun, 06 Nov 11994 08:49:37 GMT", NO_DATE},
    {"Sun, 06-Nov-94 08:49:37 GMT", NO_DATE},
    {"Sunday, 06-Nov-1994 08:49:37 GMT", NO_DATE},
    {"Sunday, 06 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 06 Nov 1994 8:49:37 GMT", NO_DATE},
    {"Sun, 06 Nov 1994 08:49 GMT", NO_DATE},
    {"Sun, 06 Nov 1994 08.49.37 GMT", NO_DATE},
    {"Sun, 06 Nov 1994 08:49:37", NO_DATE},
    {"Sun, 06 Nov 1994 08:49:37 UTC", NO_DATE},
    {"Sun, 06 Nov 1994 08:49:37 GMTX", NO_DATE},
    {"Sun, 06 Nov 1994 08:49:37 +0000", NO_DATE},
    {"Sun, 06 Nov -994 08:49:37 GMT", NO_DATE},
    {"Sun, 06 Nov 1994 24:00:00 GMT", NO_DATE},
    {"Sun, 06 Nov 1994 08:60:00 GMT", NO_DATE},
    {"Sun, 00 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 31 Nov 1994 08:49:37 GMT", NO_DATE},
    {"Sun, 32 Dec 1994 08:49:37 GMT", NO_DATE},
    {"Wed, 29 Feb 2023 08:49:37 GMT", NO_DATE},
    {"Thu, 29 Feb 1900 08:49:37 GMT", NO_DATE},
    {"Sun Nov 6 08:49:37 1994", NO_DATE},
    {"Sun Nov  6 08:49:37 1994 GMT", NO_DATE},
    {"Sun Nov  6 08:49:37 94", NO_DATE},
    {"Sun Nov  0 08:49:37 1994", NO_DATE},
    {"Sun, Nov  6 08:49:37 1994", NO_DATE},
    {"784111777", NO_DATE},
};

START_TEST(dates)
{
    int64_t got = NO_DATE;
    bool ok = retry_after_parse_date(date_cases[_i].text, NOW, &got);

    ck_assert_msg(ok == (date_cases[_i].unix_s != NO_DATE), "\"%s\"", date_cases[_i].text);
    ck_assert_msg(got == date_cases[_i].unix_s, "\"%s\": %lld", date_cases[_i].text, (long long)got);
}
END_TEST

/* RFC 9110 section 5.6.7: more than 50 years in the future means the past. */
static const struct {
    const char *text;
    int64_t now_s;
    int64_t unix_s;
} century_cases[] = {
    {"Wednesday, 14-Oct-76 17:46:40 GMT", 1792000000, INT64_C(3369923200)}, /* 50 years to the second: 2076 */
    {"Thursday, 14-Oct-76 17:46:41 GMT", 1792000000, 214163201},            /* a second more: 1976 */
    {"Sunday, 01-Mar-76 00:00:00 GMT", 1792000000, INT64_C(3350246400)},
    {"Saturday, 01-Jan-77 00:00:00 GMT", 1792000000, 220924800},
    {"Friday, 01-Jan-99 00:00:00 GMT", 1792000000, 915148800},
    {"Saturday, 01-Jan-00 00:00:00 GMT", 1792000000, 946684800},
    {"Tuesday, 29-Feb-00 00:00:00 GMT", 1792000000, 951782400}, /* 2100 would have no such day */
    {"Saturday, 01-Jan-00 00:00:01 GMT", 946684799, 946684801}, /* seen from 1999: next year */
    {"Thursday, 01-Jan-48 00:00:00 GMT", 946684799, INT64_C(2461449600)},
    {"Saturday, 01-Jan-50 00:00:00 GMT", 946684799, -631152000},
    {"Thursday, 01-Jan-70 00:00:01 GMT", 0, 1},
    {"Wednesday, 31-Dec-69 23:59:59 GMT", 0, -1},
    {"Friday, 01-Jan-10 00:00:00 GMT", INT64_C(4102444800), INT64_C(4417977600)}, /* from 2100: 2110 */
};

START_TEST(two_digit_years)
{
    int64_t got = NO_DATE;

    ck_assert_msg(retry_after_parse_date(century_cases[_i].text, century_cases[_i].now_s * 1000, &got),
                  "\"%s\"", century_cases[_i].text);
    ck_assert_msg(got == century_cases[_i].unix_s, "\"%s\": %lld", century_cases[_i].text, (long long)got);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("retry_after");
    TCase *tc = tcase_create("retry_after");

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, cooldowns, 0, COUNT(cases));
    tcase_add_test(tc, first_of_several_counts);
    tcase_add_test(tc, limits_hold_for_the_default_too);
    tcase_add_test(tc, dates_are_compared_in_milliseconds);
    tcase_add_loop_test(tc, dates, 0, COUNT(date_cases));
    tcase_add_loop_test(tc, two_digit_years, 0, COUNT(century_cases));
    return suite_run(suite);
}
