/* test_clock: the written form of the time, and that the clocks are the ones they say they are. */
#include "base/clock.h"

#include "unit/suite.h"

#include <stdint.h>
#include <stdlib.h>
#include <time.h>

static const struct {
    int64_t ms;
    const char *text;
} times[] = {
    {0, "1970-01-01T00:00:00.000Z"},
    {1, "1970-01-01T00:00:00.001Z"},
    {999, "1970-01-01T00:00:00.999Z"},
    {1000, "1970-01-01T00:00:01.000Z"},
    {INT64_C(951782400000), "2000-02-29T00:00:00.000Z"},
    {INT64_C(1795366800123), "2026-11-22T17:00:00.123Z"},
    {INT64_C(4107542399050), "2100-02-28T23:59:59.050Z"},
    {INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
    {INT64_C(253402300800000), "9999-12-31T23:59:59.999Z"},
    {INT64_MAX, "9999-12-31T23:59:59.999Z"},
    {-1, "1970-01-01T00:00:00.000Z"},
    {INT64_MIN, "1970-01-01T00:00:00.000Z"},
};

START_TEST(rfc3339)
{
    char out[CLOCK_RFC3339_SIZE];

    /* The local time zone does not matter. */
    setenv("TZ", "Asia/Kathmandu", 1);
    tzset();
    clock_rfc3339(times[_i].ms, out);
    ck_assert_str_eq(out, times[_i].text);
}
END_TEST

/* One after the other in one process: what was written last must not show through. */
START_TEST(rfc3339_in_any_order)
{
    char out[CLOCK_RFC3339_SIZE];
    size_t count = sizeof(times) / sizeof(times[0]);

    for (size_t i = 0; i < count * count; i++) {
        clock_rfc3339(times[i / count].ms, out);
        ck_assert_str_eq(out, times[i / count].text);
        clock_rfc3339(times[i % count].ms, out);
        ck_assert_str_eq(out, times[i % count].text);
    }
}
END_TEST

START_TEST(real_is_unix_time)
{
    int64_t before = (int64_t)time(NULL);
    int64_t now = clock_real_ms();
    int64_t after = (int64_t)time(NULL);

    ck_assert_int_ge(now / 1000, before - 1); /* time() may lag by a tick */
    ck_assert_int_le(now / 1000, after + 1);
}
END_TEST

START_TEST(mono_never_goes_back)
{
    struct timespec ts;
    int64_t last = clock_mono_ms();

    for (int i = 0; i < 1000; i++) {
        int64_t now = clock_mono_ms();
        ck_assert_int_ge(now, last);
        last = now;
    }
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ck_assert_int_le(last, (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000);
    ck_assert_int_ge(last, ((int64_t)ts.tv_sec - 60) * 1000);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clock");
    TCase *tc = tcase_create("clock");

    tcase_add_loop_test(tc, rfc3339, 0, (int)(sizeof(times) / sizeof(times[0])));
    tcase_add_test(tc, rfc3339_in_any_order);
    tcase_add_test(tc, real_is_unix_time);
    tcase_add_test(tc, mono_never_goes_back);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
