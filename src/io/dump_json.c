/*
 * dump_json: has the text checked by jansson and then puts white space between its tokens itself: jansson
 * would write numbers in its own way.
 */
#include "io/dump_json.h"

#include <jansson.h>
#include <string.h>

#define INDENT 2

static bool is_json(const char *text, size_t len)
{
    json_t *root = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    json_decref(root);
    return root != NULL;
}

static void new_line(struct buf *out, size_t depth)
{
    buf_putc(out, '\n');
    for (size_t i = 0; i < depth * INDENT; i++)
        buf_putc(out, ' ');
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Where the string that begins at `at` ends: behind its closing quote. */
static size_t string_end(const char *text, size_t len, size_t at)
{
    for (at++; at < len && text[at] != '"'; at++)
        at += text[at] == '\\';
    return at + 1;
}

static size_t skip_space(const char *text, size_t len, size_t at)
{
    while (at < len && is_space(text[at]))
        at++;
    return at;
}

/* One token; returns where the next one begins. */
static size_t put_token(struct buf *out, const char *text, size_t len, size_t at, size_t *depth)
{
    size_t next = skip_space(text, len, at + 1);
    switch (text[at]) {
    case '{':
    case '[':
        buf_putc(out, text[at]);
        if (text[next] == '}' || text[next] == ']') {
            buf_putc(out, text[next]);
            return skip_space(text, len, next + 1);
        }
        new_line(out, ++*depth);
        return next;
    case '}':
    case ']':
        new_line(out, --*depth);
        buf_putc(out, text[at]);
        return next;
    case ',':
        buf_putc(out, ',');
        new_line(out, *depth);
        return next;
    case ':':
        buf_puts(out, ": ");
        return next;
    case '"':
        next = string_end(text, len, at);
        buf_append(out, text + at, next - at);
        return skip_space(text, len, next);
    default: /* of a number or a word */
        buf_putc(out, text[at]);
        return next;
    }
}

bool dump_json_indent(struct buf *out, const char *text, size_t len)
{
    size_t depth = 0;
    if (len == 0 || !is_json(text, len))
        return false;
    for (size_t at = skip_space(text, len, 0); at < len;)
        at = put_token(out, text, len, at, &depth);
    buf_putc(out, '\n');
    return true;
}
