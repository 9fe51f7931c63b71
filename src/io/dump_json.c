/*
 * dump_json: checks and indents in one pass over the text: no tree is made of it, and numbers stay as they
 * are written.
 */
#include "io/dump_json.h"

#include <string.h>

#define INDENT    2
#define DEPTH_MAX 1024

/* A text that white space makes so many times longer is not for people; nor may it fill the memory. */
#define GROWTH_MAX 16
#define GROWTH_ANY ((size_t)64 * 1024)

/* What may come next. */
enum next {
    NEXT_VALUE,
    NEXT_NAME,
    NEXT_COMMA, /* or the end of what is open */
};

struct indenter {
    struct buf *out;
    const char *at;
    const char *end;
    enum next next;
    size_t depth;
    bool is_object[DEPTH_MAX]; /* what is open: objects or arrays */
};

/* ---- writing */

static inline void put(struct indenter *in, const char *data, size_t len)
{
    struct buf *out = in->out;
    if (out->failed || (out->cap - out->len <= len && !buf_reserve(out, len)))
        return;
    memcpy(out->data + out->len, data, len);
    out->len += len;
}

static void new_line(struct indenter *in)
{
    struct buf *out = in->out;
    size_t len = 1 + in->depth * INDENT;
    if (out->failed || (out->cap - out->len <= len && !buf_reserve(out, len)))
        return;
    memset(out->data + out->len, ' ', len);
    out->data[out->len] = '\n';
    out->len += len;
}

/* ---- tokens: each returns whether there was one, and moves behind it */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static void skip_space(struct indenter *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\n' || *in->at == '\r' || *in->at == '\t'))
        in->at++;
}

/* RFC 8259 section 7. `at` is at the backslash; NULL when it is no escape. */
static const char *skip_escape(const char *at, const char *end)
{
    if (end - at < 2)
        return NULL;
    if (at[1] != 'u')
        return strchr("\"\\/bfnrt", at[1]) != NULL && at[1] != '\0' ? at + 2 : NULL;
    if (end - at < 6)
        return NULL;
    return is_hex(at[2]) && is_hex(at[3]) && is_hex(at[4]) && is_hex(at[5]) ? at + 6 : NULL;
}

/* What is neither a plain character of a string nor its end; NULL when it may not stand there. */
static const char *skip_special(const char *at, const char *end)
{
    unsigned char c = (unsigned char)*at;
    if (c == '\\')
        return skip_escape(at, end);
    size_t n = c < 0x20 ? 0 : buf_utf8_length(at, (size_t)(end - at));
    return n > 0 ? at + n : NULL;
}

static bool put_string(struct indenter *in)
{
    const char *at = in->at + 1;
    while (at != NULL && at < in->end && *at != '"') {
        unsigned char c = (unsigned char)*at;
        at = c >= 0x20 && c < 0x80 && c != '\\' ? at + 1 : skip_special(at, in->end);
    }
    if (at == NULL || at == in->end)
        return false;
    at++;
    put(in, in->at, (size_t)(at - in->at));
    in->at = at;
    return true;
}

static const char *skip_digits(const char *at, const char *end)
{
    while (at < end && is_digit(*at))
        at++;
    return at;
}

/* RFC 8259 section 6. Behind it may stand only what ends a value, which the next step sees. */
static bool put_number(struct indenter *in)
{
    const char *at = in->at + (*in->at == '-');
    const char *digits = at;
    at = skip_digits(at, in->end);
    if (at == digits || (*digits == '0' && at > digits + 1))
        return false;
    if (at < in->end && *at == '.') {
        digits = ++at;
        at = skip_digits(at, in->end);
        if (at == digits)
            return false;
    }
    if (at < in->end && (*at == 'e' || *at == 'E')) {
        at++;
        at += at < in->end && (*at == '+' || *at == '-');
        digits = at;
        at = skip_digits(at, in->end);
        if (at == digits)
            return false;
    }
    put(in, in->at, (size_t)(at - in->at));
    in->at = at;
    return true;
}

static bool put_word(struct indenter *in, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(in->end - in->at) < len || memcmp(in->at, word, len) != 0)
        return false;
    put(in, word, len);
    in->at += len;
    return true;
}

/* ---- the grammar */

static bool open_one(struct indenter *in, bool object)
{
    char c = *in->at++;
    if (in->depth == DEPTH_MAX)
        return false;
    put(in, &c, 1);
    skip_space(in);
    if (in->at < in->end && *in->at == (object ? '}' : ']')) {
        put(in, in->at++, 1);
        in->next = NEXT_COMMA;
        return true;
    }
    in->is_object[in->depth++] = object;
    new_line(in);
    in->next = object ? NEXT_NAME : NEXT_VALUE;
    return true;
}

static bool put_value(struct indenter *in)
{
    in->next = NEXT_COMMA;
    switch (*in->at) {
    case '{':
        return open_one(in, true);
    case '[':
        return open_one(in, false);
    case '"':
        return put_string(in);
    case 't':
        return put_word(in, "true");
    case 'f':
        return put_word(in, "false");
    case 'n':
        return put_word(in, "null");
    default:
        return (is_digit(*in->at) || *in->at == '-') && put_number(in);
    }
}

static bool put_name(struct indenter *in)
{
    if (*in->at != '"' || !put_string(in))
        return false;
    skip_space(in);
    if (in->at == in->end || *in->at != ':')
        return false;
    in->at++;
    put(in, ": ", 2);
    in->next = NEXT_VALUE;
    return true;
}

static bool put_comma_or_end(struct indenter *in)
{
    if (in->depth == 0)
        return false;
    bool object = in->is_object[in->depth - 1];
    char c = *in->at++;
    if (c == ',') {
        put(in, &c, 1);
        new_line(in);
        in->next = object ? NEXT_NAME : NEXT_VALUE;
        return true;
    }
    if (c != (object ? '}' : ']'))
        return false;
    in->depth--;
    new_line(in);
    put(in, &c, 1);
    return true;
}

static bool step(struct indenter *in)
{
    switch (in->next) {
    case NEXT_NAME:
        return put_name(in);
    case NEXT_COMMA:
        return put_comma_or_end(in);
    default:
        return put_value(in);
    }
}

bool dump_json_indent(struct buf *out, const char *text, size_t len)
{
    size_t before = out->len;
    struct indenter in;
    in.out = out;
    in.at = text;
    in.end = text + len;
    in.next = NEXT_VALUE;
    in.depth = 0;
    size_t growth = len > SIZE_MAX / GROWTH_MAX - GROWTH_ANY ? SIZE_MAX / 2 : len * GROWTH_MAX + GROWTH_ANY;
    bool good = buf_reserve(out, len + len / 4);
    while (good && (skip_space(&in), in.at < in.end))
        good = step(&in) && out->len - before <= growth && !out->failed;
    if (good && in.next == NEXT_COMMA && in.depth == 0) {
        put(&in, "\n", 1);
        out->data[out->len] = '\0';
        return !out->failed;
    }
    out->len = before;
    if (out->data != NULL)
        out->data[before] = '\0';
    return false;
}
