/*
 * chunked: decodes the chunked coding. Called by upstream for each piece of a provider's answer; the body's
 * bytes are not copied.
 */
#include "core/chunked.h"

#include "core/ascii.h"

#include <stdbool.h>

static bool take_size(struct chunked *chunked, char c)
{
    int digit = ascii_hex_value(c);
    if (digit >= 0) {
        if (chunked->left > (INT64_MAX - digit) / 16)
            return false;
        chunked->left = chunked->left * 16 + digit;
        chunked->digits++;
        return true;
    }
    if (chunked->digits == 0)
        return false;
    chunked->step = CHUNKED_EXTENSION;
    return c == ' ' || c == '\t' || c == ';' || c == '\r' || c == '\n';
}

/* Takes one byte of what is not data. Returns false when it must not be there. */
static bool take(struct chunked *chunked, char c)
{
    if (++chunked->lines > CHUNKED_LINES_MAX)
        return false;
    if (chunked->step == CHUNKED_SIZE && !take_size(chunked, c))
        return false;
    switch (chunked->step) {
    case CHUNKED_EXTENSION:
        if (c == '\n') {
            chunked->lines = 0;
            chunked->step = chunked->left > 0 ? CHUNKED_DATA : CHUNKED_TRAILER;
        }
        return true;
    case CHUNKED_DATA_END:
        if (c == '\r' && chunked->lines == 1)
            return true;
        *chunked = (struct chunked){.step = CHUNKED_SIZE};
        return c == '\n';
    case CHUNKED_TRAILER:
        if (c == '\n')
            chunked->step = CHUNKED_OVER;
        else if (c != '\r')
            chunked->step = CHUNKED_TRAILER_LINE;
        return true;
    case CHUNKED_TRAILER_LINE:
        if (c == '\n')
            chunked->step = CHUNKED_TRAILER;
        return true;
    case CHUNKED_SIZE:
    case CHUNKED_DATA:
    case CHUNKED_OVER:
        break;
    }
    return true;
}

enum chunked_result chunked_feed(struct chunked *chunked, const char *data, size_t len, size_t *used,
                                 const char **body, size_t *body_len)
{
    size_t at = 0;
    while (chunked->step != CHUNKED_OVER) {
        if (at == len) {
            *used = at;
            return CHUNKED_MORE;
        }
        if (chunked->step == CHUNKED_DATA) {
            size_t take_len = len - at;
            if ((uint64_t)take_len > (uint64_t)chunked->left)
                take_len = (size_t)chunked->left;
            *body = data + at;
            *body_len = take_len;
            *used = at + take_len;
            chunked->left -= (int64_t)take_len;
            if (chunked->left == 0)
                chunked->step = CHUNKED_DATA_END;
            chunked->lines = 0;
            return CHUNKED_BODY;
        }
        if (!take(chunked, data[at++]))
            return CHUNKED_BAD;
    }
    *used = at;
    return CHUNKED_END;
}
