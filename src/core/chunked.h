/*
 * chunked: the chunked transfer coding on its way in (RFC 9112 section 7.1), piece by piece. Extensions and
 * trailer fields are dropped.
 *
 * Refused: a size that is no hexadecimal number or over INT64_MAX, data that no line end follows, a size line
 * or a trailer section over CHUNKED_LINES_MAX. A bare LF ends a line as CR LF does.
 */
#ifndef CLAVIGER_CORE_CHUNKED_H
#define CLAVIGER_CORE_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#define CHUNKED_LINES_MAX (16 * 1024)

enum chunked_step {
    CHUNKED_SIZE,
    CHUNKED_EXTENSION,
    CHUNKED_DATA,
    CHUNKED_DATA_END,
    CHUNKED_TRAILER, /* at the begin of a line */
    CHUNKED_TRAILER_LINE,
    CHUNKED_OVER,
};

/* A zeroed struct awaits the first chunk. */
struct chunked {
    enum chunked_step step;
    int digits;
    int64_t left; /* of this chunk's data */
    size_t lines; /* bytes of this size line, or of the trailer section */
};

enum chunked_result {
    CHUNKED_MORE, /* all was used; there is more to come */
    CHUNKED_BODY, /* *body and *body_len are the next bytes of the body; call again with the rest */
    CHUNKED_END,  /* the body is complete */
    CHUNKED_BAD,
};

/* Takes bytes from the len at data; *used says how many, those of the body included. */
enum chunked_result chunked_feed(struct chunked *chunked, const char *data, size_t len, size_t *used,
                                 const char **body, size_t *body_len);

#endif
