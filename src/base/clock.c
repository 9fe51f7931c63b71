/*
 * clock: asks the system for the time and writes it down. Called by the loops, once per turn; never by core.
 */
#include "base/clock.h"

#include <stdio.h>
#include <time.h>

#define YEAR_10000_MS INT64_C(253402300800000) /* RFC 3339 has four digits for the year */

static int64_t now_ms(clockid_t id)
{
    struct timespec ts;

    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t clock_real_ms(void)
{
    return now_ms(CLOCK_REALTIME);
}

int64_t clock_mono_ms(void)
{
    return now_ms(CLOCK_MONOTONIC);
}

int64_t clock_mono_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

void clock_rfc3339(int64_t real_ms, char out[CLOCK_RFC3339_SIZE])
{
    if (real_ms < 0)
        real_ms = 0;
    if (real_ms >= YEAR_10000_MS)
        real_ms = YEAR_10000_MS - 1;
    time_t seconds = (time_t)(real_ms / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%03dZ", (int)(real_ms % 1000));
}
