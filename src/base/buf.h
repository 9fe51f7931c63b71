/*
 * buf: a growable run of bytes.
 *
 * A zeroed struct buf is an empty buffer. Allocation failure is sticky: the call that fails and every
 * later append do nothing and set `failed`, so a caller builds a whole text and looks once at the end.
 * The data is always NUL-terminated behind `len` once anything was appended.
 */
#ifndef CLAVIGER_BASE_BUF_H
#define CLAVIGER_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct buf {
    char *data; /* owned; NULL while empty and never grown */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
    bool failed;
};

/* Releases the memory and zeroes *b. */
void buf_fini(struct buf *b);

/* Forgets the content and a failure, keeps the memory. */
void buf_clear(struct buf *b);

/* Makes room for `extra` more bytes and their NUL. Returns false (and sets failed) when out of memory. */
bool buf_reserve(struct buf *b, size_t extra);

void buf_append(struct buf *b, const void *data, size_t len);

/* The same inline where there is room: a few moves where the compiler knows the length. data is not NULL. */
static inline void buf_append_inline(struct buf *b, const void *data, size_t len)
{
    if (b->failed || len >= b->cap - b->len) {
        buf_append(b, data, len);
        return;
    }
    memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

/* Appends a string literal. */
#define BUF_PUT(b, literal) buf_append_inline(b, literal, sizeof(literal) - 1)

void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_put_uint(struct buf *b, uint64_t number);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

/* The length of the well-formed UTF-8 sequence at s, 0 when there is none: no overlong forms, no surrogates,
 * nothing over U+10FFFF. len > 0. */
size_t buf_utf8_length(const char *s, size_t len);

/* Appends s as a JSON string, quotes included (RFC 8259 section 7). Bytes that are not valid UTF-8 become
 * U+FFFD, so the result is always valid JSON. */
void buf_json(struct buf *b, const char *s, size_t len);

/* Appends s for a line of a log: control characters (C1 included), bytes that are not valid UTF-8 and every
 * character of `also` (ASCII, no letter or digit, may be "") as \xHH; the rest as it is. */
void buf_escape(struct buf *b, const char *s, size_t len, const char *also);

/* Drops the first `len` bytes (at most all of them). */
void buf_consume(struct buf *b, size_t len);

/* Gives the NUL-terminated content to the caller, who frees it; b is empty afterwards. NULL when failed. */
char *buf_take(struct buf *b);

#endif
