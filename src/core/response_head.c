/*
 * response_head: reads a provider's status line and header fields. Called by upstream for every line that the
 * client library hands over; it trusts none of them.
 */
#include "core/response_head.h"

#include "core/ascii.h"

#include <string.h>

/* "HTTP/1.1 200 OK": version, three digits, then the end or a space and any text. */
static int parse_status(const char *line, size_t len)
{
    if (len < 12 || memcmp(line, "HTTP/1.", 7) != 0 || (line[7] != '0' && line[7] != '1') || line[8] != ' ')
        return -1;
    if (!ascii_is_digit(line[9]) || !ascii_is_digit(line[10]) || !ascii_is_digit(line[11]))
        return -1;
    if (len > 12 && line[12] != ' ')
        return -1;
    int status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    return status < 100 ? -1 : status;
}

static enum response_head_result malformed(const char **reason, const char *text)
{
    *reason = text;
    return RESPONSE_HEAD_MALFORMED;
}

static enum response_head_result start(struct response_head *head, const char *line, size_t len,
                                       const char **reason)
{
    int status = parse_status(line, len);
    if (status < 0)
        return malformed(reason, "its status line is malformed");
    if (status == 101)
        return malformed(reason, "it switched protocols without being asked");
    head->status = status;
    head->http10 = line[7] == '0';
    head->content_length = -1;
    head->chunked = false;
    header_list_clear(&head->headers);
    return RESPONSE_HEAD_MORE;
}

/* What the framing fields say; both are kept in the list. */
static enum response_head_result note_framing(struct response_head *head, const struct header *field,
                                              const char **reason)
{
    if (header_is(field, "Transfer-Encoding")) {
        head->chunked = true;
    } else if (header_is(field, "Content-Length")) {
        int64_t length;
        if (!header_parse_content_length(field->value, &length))
            return malformed(reason, "its Content-Length is no number");
        if (head->content_length >= 0 && head->content_length != length)
            return malformed(reason, "it has two different Content-Length fields");
        head->content_length = length;
    }
    return RESPONSE_HEAD_MORE;
}

static enum response_head_result add_field(struct response_head *head, const char *line, size_t len,
                                           struct arena *arena, const char **reason)
{
    if (line[0] == ' ' || line[0] == '\t')
        return malformed(reason, "it has a folded header line");
    const char *colon = memchr(line, ':', len);
    if (colon == NULL)
        return malformed(reason, "it has a header line without a colon");
    size_t name_len = (size_t)(colon - line);
    if (!header_name_is_token(line, name_len))
        return malformed(reason, "it has a malformed header name");
    const char *value = colon + 1;
    const char *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t value_len = (size_t)(end - value);
    if (!header_value_is_clean(value, value_len))
        return malformed(reason, "it has a control byte in a header value");

    char *name_copy = arena_strndup(arena, line, name_len);
    char *value_copy = arena_strndup(arena, value, value_len);
    if (name_copy == NULL || value_copy == NULL ||
        header_add(&head->headers, name_copy, name_len, value_copy, value_len) != 0)
        return RESPONSE_HEAD_NO_MEMORY;
    return note_framing(head, &head->headers.items[head->headers.count - 1], reason);
}

enum response_head_result response_head_line(struct response_head *head, const char *line, size_t len,
                                             struct arena *arena, const char **reason)
{
    if (head->complete)
        return RESPONSE_HEAD_TRAILER;
    head->bytes += len;
    if (head->bytes > RESPONSE_HEAD_MAX)
        return malformed(reason, "its head is too large");
    if (len > 0 && line[len - 1] == '\n')
        len--;
    if (len > 0 && line[len - 1] == '\r')
        len--;
    if (head->status == 0)
        return start(head, line, len, reason);
    if (len > 0)
        return add_field(head, line, len, arena, reason);
    if (head->status < 200) { /* an interim head: the next line is another status line */
        head->status = 0;
        header_list_clear(&head->headers);
        return RESPONSE_HEAD_MORE;
    }
    head->complete = true;
    return RESPONSE_HEAD_DONE;
}

void response_head_fini(struct response_head *head)
{
    header_list_fini(&head->headers);
}
