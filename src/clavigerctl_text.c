/*
 * clavigerctl_text: owns how wide a text is on a terminal, and how it is cut. Called by table, terminal and
 * what is shown with them.
 */
#include "clavigerctl.h"

#include <inttypes.h>
#include <stdio.h>

void text_duration(struct buf *out, int64_t seconds)
{
    if (seconds >= 86400)
        buf_printf(out, "%" PRId64 " d %" PRId64 " h", seconds / 86400, seconds / 3600 % 24);
    else if (seconds >= 3600)
        buf_printf(out, "%" PRId64 " h %" PRId64 " min", seconds / 3600, seconds / 60 % 60);
    else if (seconds >= 60)
        buf_printf(out, "%" PRId64 " min %" PRId64 " s", seconds / 60, seconds % 60);
    else
        buf_printf(out, "%" PRId64 " s", seconds);
}

void text_number(char out[TEXT_NUMBER_SIZE], int64_t number)
{
    char digits[TEXT_NUMBER_SIZE];
    uint64_t size = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    size_t len = (size_t)snprintf(digits, sizeof(digits), "%" PRIu64, size);
    size_t at = 0;
    if (number < 0)
        out[at++] = '-';
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
}

/* The first byte of a character, not one that continues it (RFC 3629 section 3). */
static bool begins_character(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

size_t text_columns(const char *text, size_t len)
{
    size_t columns = 0;
    for (size_t i = 0; i < len; i++)
        columns += begins_character(text[i]);
    return columns;
}

/* The length of the SGR sequence ("\033[32m") that begins here; 0 = none does. */
static size_t sgr_len(const char *text, size_t len)
{
    size_t i = 2;
    if (len < 3 || text[0] != '\033' || text[1] != '[')
        return 0;
    while (i < len && ((text[i] >= '0' && text[i] <= '9') || text[i] == ';'))
        i++;
    return i < len && text[i] == 'm' ? i + 1 : 0;
}

void text_cut(struct buf *out, const char *line, size_t len, size_t columns)
{
    size_t used = 0;
    for (size_t i = 0; i < len;) {
        size_t sgr = sgr_len(line + i, len - i);
        if (sgr > 0) {
            buf_append(out, line + i, sgr);
            i += sgr;
            continue;
        }
        used += begins_character(line[i]);
        if (columns == 0 || used <= columns)
            buf_putc(out, line[i]);
        i++;
    }
}
