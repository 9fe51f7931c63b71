/*
 * clavigerctl_top_picture: an hour as a row of characters.
 */
#include "clavigerctl_top.h"

#define LEVELS 8

unsigned top_picture_width(size_t room)
{
    static const unsigned WIDTHS[] = {60, 30, 20, 15, 12, 10, TOP_PICTURE_LEAST};
    for (size_t i = 0; i < sizeof(WIDTHS) / sizeof(WIDTHS[0]); i++) {
        if (room >= WIDTHS[i])
            return WIDTHS[i];
    }
    return 0;
}

/* 0 only for nothing, so that little is seen too. */
static size_t level(uint64_t value, uint64_t most)
{
    return value == 0 ? 0 : 1 + (size_t)((double)value / (double)most * (LEVELS - 2));
}

void top_picture(struct buf *out, const uint64_t values[HISTORY_MINUTES], const uint64_t *by, unsigned width,
                 bool unicode)
{
    static const char *const BLOCKS[LEVELS] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char *const ASCII[LEVELS] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    uint64_t parts[HISTORY_MINUTES] = {0};
    uint64_t divisors[HISTORY_MINUTES] = {0};
    uint64_t most = 0;
    for (unsigned i = 0; i < HISTORY_MINUTES && width > 0; i++) {
        parts[i * width / HISTORY_MINUTES] += values[i];
        divisors[i * width / HISTORY_MINUTES] += by ? by[i] : 0;
    }
    for (unsigned i = 0; i < width; i++) {
        if (divisors[i] > 0)
            parts[i] /= divisors[i];
        else if (by)
            parts[i] = 0;
        most = parts[i] > most ? parts[i] : most;
    }
    for (unsigned i = 0; i < width; i++)
        buf_puts(out, (unicode ? BLOCKS : ASCII)[level(parts[i], most)]);
}
