/*
 * clock: asks the system for the time and writes it down. Called by the loops, once per turn; never by core.
 */
#include "base/clock.h"

#include <string.h>
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

int64_t clock_slept_ms(void)
{
    int64_t mono_ms = now_ms(CLOCK_MONOTONIC);

    return now_ms(CLOCK_BOOTTIME) - mono_ms;
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
    /* Nearly every call is for the same second as the one before. */
    static _Thread_local struct {
        time_t seconds;
        char text[CLOCK_RFC3339_SIZE]; /* without milliseconds; "" = not known yet */
        size_t len;
    } last;
    time_t seconds = (time_t)(real_ms / 1000);
    if (last.len == 0 || seconds != last.seconds) {
        struct tm tm;
        gmtime_r(&seconds, &tm);
        last.len = strftime(last.text, sizeof last.text, "%Y-%m-%dT%H:%M:%S", &tm);
        last.seconds = seconds;
    }
    unsigned ms = (unsigned)(real_ms % 1000);
    memcpy(out, last.text, last.len);
    out += last.len;
    out[0] = '.';
    out[1] = (char)('0' + ms / 100);
    out[2] = (char)('0' + ms / 10 % 10);
    out[3] = (char)('0' + ms % 10);
    out[4] = 'Z';
    out[5] = '\0';
}
