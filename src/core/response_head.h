/*
 * response_head: a provider's response head, line by line, judged before anything of it reaches a client.
 *
 * Refused as malformed (RFC 9112 sections 4, 5, 6.3): a status line that is not HTTP/1.0 or HTTP/1.1 with
 * three digits, an unsolicited 101, a field name that is no token, white space before the colon, a folded
 * line, a control byte in a value, a Content-Length that is not plain digits or differs from another one, a
 * head over the limit.
 */
#ifndef CLAVIGER_CORE_RESPONSE_HEAD_H
#define CLAVIGER_CORE_RESPONSE_HEAD_H

#include "base/arena.h"
#include "core/header.h"

#include <stdbool.h>
#include <stdint.h>

/* Names and values together; what a client's connection can surely carry on. */
#define RESPONSE_HEAD_MAX (15 * 1024)

enum response_head_result {
    RESPONSE_HEAD_MORE,      /* the head goes on */
    RESPONSE_HEAD_DONE,      /* that was the empty line behind a final (not 1xx) head */
    RESPONSE_HEAD_TRAILER,   /* the head was complete before; the line is ignored */
    RESPONSE_HEAD_MALFORMED, /* the response must not be used */
    RESPONSE_HEAD_NO_MEMORY,
};

/* A zeroed struct awaits a status line. */
struct response_head {
    int status; /* 200 to 999 once done */
    bool complete;
    bool http10;            /* its version is HTTP/1.0 */
    bool chunked;           /* a Transfer-Encoding was sent: content_length counts for nothing */
    int64_t content_length; /* -1 = not sent; valid once a status line was read */
    size_t bytes;
    struct header_list headers; /* in order, everything the provider sent; strings live in the arena */
};

/* Takes one line with or without its line end. Interim (1xx) heads are dropped whole. On MALFORMED *reason is
 * a static text. */
enum response_head_result response_head_line(struct response_head *head, const char *line, size_t len,
                                             struct arena *arena, const char **reason);

/* Frees the list; the strings go with their arena. */
void response_head_fini(struct response_head *head);

#endif
