/*
 * buf: owns nothing but what a struct buf holds. Called by every layer that builds text. It never ends the
 * process when memory runs out: the failure stays in the buffer until somebody looks.
 */
#include "base/buf.h"

#include "base/recycle.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 64

void buf_fini(struct buf *b)
{
    recycle_free(b->data);
    *b = (struct buf){0};
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->data != NULL)
        b->data[0] = '\0';
}

bool buf_reserve(struct buf *b, size_t extra)
{
    if (b->failed)
        return false;
    if (b->cap > b->len && extra < b->cap - b->len)
        return true;
    if (extra >= SIZE_MAX - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + extra + 1;
    size_t cap = b->cap == 0 ? FIRST_CAP : b->cap;
    while (cap < need)
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    char *data = recycle_realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return false;
    }
    data[b->len] = '\0';
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_append(struct buf *b, const void *data, size_t len)
{
    if (!buf_reserve(b, len))
        return;
    if (len > 0)
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
    buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
    buf_append_inline(b, &c, 1);
}

/* Two digits at a time. */
void buf_put_uint(struct buf *b, uint64_t number)
{
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char text[20]; /* UINT64_MAX has 20 digits */
    size_t at = sizeof text;
    for (; number >= 10; number /= 100)
        memcpy(text + (at -= 2), pairs + 2 * (number % 100), 2);
    if (number > 0 || at == sizeof text)
        text[--at] = (char)('0' + number);
    buf_append_inline(b, text + at, sizeof text - at);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(b, fmt, ap);
    va_end(ap);
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
    /* A first try into the room that is there; most texts fit. */
    if (!buf_reserve(b, FIRST_CAP))
        return;
    va_list again;
    va_copy(again, ap);
    size_t room = b->cap - b->len;
    int n = vsnprintf(b->data + b->len, room, fmt, ap);
    if (n < 0) {
        b->data[b->len] = '\0';
        b->failed = true;
    } else if ((size_t)n < room) {
        b->len += (size_t)n;
    } else {
        b->data[b->len] = '\0';
        if (buf_reserve(b, (size_t)n)) {
            vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
            b->len += (size_t)n;
        }
    }
    va_end(again);
}

/* Unicode 15, table 3-7. */
static size_t utf8_length(const unsigned char *s, size_t len)
{
    if (s[0] < 0x80)
        return 1;
    unsigned char low = 0x80, high = 0xbf; /* of the second byte */
    size_t need;
    if (s[0] >= 0xc2 && s[0] <= 0xdf) {
        need = 2;
    } else if (s[0] >= 0xe0 && s[0] <= 0xef) {
        need = 3;
        if (s[0] == 0xe0)
            low = 0xa0;
        else if (s[0] == 0xed)
            high = 0x9f;
    } else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
        need = 4;
        if (s[0] == 0xf0)
            low = 0x90;
        else if (s[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (len < need || s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < need; i++)
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    return need;
}

size_t buf_utf8_length(const char *s, size_t len)
{
    return utf8_length((const unsigned char *)s, len);
}

static void json_control(struct buf *b, unsigned char c)
{
    switch (c) {
    case '"':
        buf_puts(b, "\\\"");
        break;
    case '\\':
        buf_puts(b, "\\\\");
        break;
    case '\n':
        buf_puts(b, "\\n");
        break;
    case '\r':
        buf_puts(b, "\\r");
        break;
    case '\t':
        buf_puts(b, "\\t");
        break;
    default:
        buf_printf(b, "\\u%04x", c);
        break;
    }
}

/* Whether eight bytes are ASCII that stands in a JSON string as it is; of some that are it may say no. */
static bool eight_are_plain(const unsigned char *p)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t word;
    memcpy(&word, p, sizeof word);
    uint64_t quote = word ^ (each * '"');
    uint64_t backslash = word ^ (each * '\\');
    uint64_t not_plain = word | (word + each) | (word - each * ' ') | (quote - each) | (backslash - each);
    return (not_plain & (each * 0x80)) == 0;
}

/* How many of the bytes at the begin are. DEL needs no escape, but a terminal that shows the text is better
 * off without it. */
static size_t count_plain(const unsigned char *p, size_t len)
{
    size_t i = 0;
    while (len - i >= 8 && eight_are_plain(p + i))
        i += 8;
    while (i < len && p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
        i++;
    return i;
}

void buf_json(struct buf *b, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t start = 0; /* of the run that goes out as it is */
    size_t i = 0;

    if (!buf_reserve(b, len + 2)) /* what most strings need */
        return;
    buf_putc(b, '"');
    while ((i += count_plain(p + i, len - i)) < len) {
        size_t n = utf8_length(p + i, len - i);
        if (n > 1) {
            i += n;
            continue;
        }
        buf_append_inline(b, s + start, i - start);
        if (n == 0)
            buf_puts(b, "\xef\xbf\xbd");
        else
            json_control(b, p[i]);
        start = ++i;
    }
    if (len > start)
        buf_append_inline(b, s + start, len - start);
    buf_putc(b, '"');
}

/* Whether a log line takes that byte as it is: printable ASCII that nobody wants to be escaped. */
static bool is_plain(unsigned char c, const char *also)
{
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z'))
        return true;
    if (c < 0x20 || c >= 0x7f)
        return false;
    while (*also != '\0' && *also != (char)c)
        also++;
    return *also == '\0';
}

/* The same of eight bytes; of some it may say no. */
static bool eight_are_taken(const unsigned char *p, const char *also)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t found = 0;
    uint64_t word;
    memcpy(&word, p, sizeof word);
    for (; *also != '\0'; also++) {
        uint64_t zero = word ^ (each * (unsigned char)*also);
        found |= (zero - each) & ~zero;
    }
    return (found & (each * 0x80)) == 0 && eight_are_plain(p);
}

/* How many of the bytes at the begin are taken. The last eight may have been looked at in part before. */
static size_t count_taken(const unsigned char *p, size_t len, const char *also)
{
    size_t i = 0;
    while (len - i >= 8 && eight_are_taken(p + i, also))
        i += 8;
    if (i > 0 && len - i < 8 && eight_are_taken(p + len - 8, also))
        return len;
    while (i < len && is_plain(p[i], also))
        i++;
    return i;
}

void buf_escape(struct buf *b, const char *s, size_t len, const char *also)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t start = 0; /* of the run that goes out as it is */
    size_t i = 0;

    while ((i += count_taken(p + i, len - i, also)) < len) {
        size_t n = utf8_length(p + i, len - i);
        /* U+0080 to U+009F are control characters too: some terminals take C2 9B for an escape sequence. */
        bool control = n == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0;
        if (n > 1 && !control) {
            i += n;
            continue;
        }
        buf_append_inline(b, s + start, i - start);
        size_t end = i + (n > 0 ? n : 1);
        for (; i < end; i++)
            buf_printf(b, "\\x%02x", p[i]);
        start = i;
    }
    if (len > start)
        buf_append_inline(b, s + start, len - start);
}

void buf_consume(struct buf *b, size_t len)
{
    if (b->data == NULL)
        return;
    if (len > b->len)
        len = b->len;
    memmove(b->data, b->data + len, b->len - len + 1);
    b->len -= len;
}

char *buf_take(struct buf *b)
{
    char *text = b->failed ? NULL : malloc(b->len + 1);
    if (text != NULL && b->len > 0)
        memcpy(text, b->data, b->len);
    if (text != NULL)
        text[b->len] = '\0';
    buf_fini(b);
    return text;
}
