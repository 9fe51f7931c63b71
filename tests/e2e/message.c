/*
 * message: reads HTTP/1.1 heads and bodies for the fake provider and the test client. Must not share code
 * with what it tests.
 */
#include "e2e/message.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

size_t message_head_length(const char *data, size_t len)
{
    const char *end = len >= 4 ? memmem(data, len, "\r\n\r\n", 4) : NULL;

    return end == NULL ? 0 : (size_t)(end - data) + 4;
}

static char *trimmed(const char *start, const char *end)
{
    while (start < end && (*start == ' ' || *start == '\t'))
        start++;
    while (end > start && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    return strndup(start, (size_t)(end - start));
}

static void add_field(struct message_head *head, const char *start, const char *end)
{
    const char *colon = memchr(start, ':', (size_t)(end - start));
    struct message_field *field;

    head->fields = realloc(head->fields, (head->count + 1) * sizeof(*head->fields));
    if (head->fields == NULL)
        abort();
    field = &head->fields[head->count++];
    field->name = strndup(start, (size_t)((colon != NULL ? colon : end) - start));
    field->value = colon != NULL ? trimmed(colon + 1, end) : strdup("");
}

void message_head_parse(struct message_head *head, const char *data, size_t len)
{
    const char *p = data;
    const char *end = data + len;

    memset(head, 0, sizeof(*head));
    head->raw = malloc(len + 1);
    if (head->raw == NULL)
        abort();
    memcpy(head->raw, data, len);
    head->raw[len] = '\0';
    head->raw_len = len;
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        const char *stop = eol != NULL ? eol : end;

        if (stop > p && stop[-1] == '\r')
            stop--;
        size_t line_len = stop > p ? (size_t)(stop - p) : 0;
        if (head->line == NULL)
            head->line = strndup(p, line_len);
        else if (stop > p)
            add_field(head, p, stop);
        p = eol != NULL ? eol + 1 : end;
    }
}

void message_head_fini(struct message_head *head)
{
    for (size_t i = 0; i < head->count; i++) {
        free(head->fields[i].name);
        free(head->fields[i].value);
    }
    free(head->fields);
    free(head->raw);
    free(head->line);
    memset(head, 0, sizeof(*head));
}

const char *message_get(const struct message_head *head, const char *name)
{
    for (size_t i = 0; i < head->count; i++) {
        if (strcasecmp(head->fields[i].name, name) == 0)
            return head->fields[i].value;
    }
    return NULL;
}

size_t message_count(const struct message_head *head, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < head->count; i++)
        n += strcasecmp(head->fields[i].name, name) == 0;
    return n;
}

static int compare_fields(const void *a, const void *b)
{
    const struct message_field *x = a;
    const struct message_field *y = b;
    int order = strcasecmp(x->name, y->name);

    return order != 0 ? order : strcmp(x->value, y->value);
}

char *message_sorted(const struct message_head *head)
{
    struct message_field *sorted = malloc((head->count + 1) * sizeof(*sorted));
    struct buf out = {0};

    if (sorted == NULL)
        abort();
    if (head->count > 0)
        memcpy(sorted, head->fields, head->count * sizeof(*sorted));
    qsort(sorted, head->count, sizeof(*sorted), compare_fields);
    for (size_t i = 0; i < head->count; i++)
        buf_printf(&out, "%s: %s\n", sorted[i].name, sorted[i].value);
    free(sorted);
    buf_puts(&out, "");
    return buf_take(&out);
}

enum chunk_state { CHUNK_SIZE, CHUNK_DATA, CHUNK_END, CHUNK_TRAILER };

void body_start(struct body *body, enum body_mode mode, uint64_t length)
{
    memset(body, 0, sizeof(*body));
    body->mode = mode;
    body->left = length;
    body->state = CHUNK_SIZE;
    body->done = mode == BODY_NONE || (mode == BODY_LENGTH && length == 0);
}

void body_fini(struct body *body)
{
    buf_fini(&body->line);
}

/* A whole line of chunked framing, without its LF. */
static void chunk_line(struct body *body)
{
    char *text = body->line.data;
    size_t len = body->line.len;
    char *end;

    if (len == 0 || text[len - 1] != '\r') {
        body->broken = true;
        return;
    }
    text[--len] = '\0';
    switch (body->state) {
    case CHUNK_SIZE:
        body->left = isxdigit((unsigned char)text[0]) ? strtoull(text, &end, 16) : 0;
        if (!isxdigit((unsigned char)text[0]) || (*end != '\0' && *end != ';'))
            body->broken = true;
        body->state = body->left > 0 ? CHUNK_DATA : CHUNK_TRAILER;
        break;
    case CHUNK_END:
        body->broken = len != 0;
        body->state = CHUNK_SIZE;
        break;
    default: /* CHUNK_TRAILER */
        body->done = len == 0;
        break;
    }
}

static size_t feed_content(struct body *body, const char *data, size_t len, struct buf *out)
{
    size_t n = len < body->left ? len : (size_t)body->left;

    buf_append(out, data, n);
    body->left -= n;
    return n;
}

size_t body_feed(struct body *body, const char *data, size_t len, struct buf *out)
{
    size_t used = 0;

    if (body->mode == BODY_UNTIL_CLOSE) {
        buf_append(out, data, len);
        return len;
    }
    if (body->mode == BODY_LENGTH) {
        used = feed_content(body, data, len, out);
        body->done = body->left == 0;
        return used;
    }
    while (used < len && !body->done && !body->broken) {
        if (body->state == CHUNK_DATA) {
            used += feed_content(body, data + used, len - used, out);
            if (body->left == 0)
                body->state = CHUNK_END;
        } else if (data[used++] == '\n') {
            chunk_line(body);
            buf_clear(&body->line);
        } else {
            buf_putc(&body->line, data[used - 1]);
        }
    }
    return used;
}
