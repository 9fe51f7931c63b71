/*
 * usage: a scanner of JSON that looks at a few members near the top and keeps nothing else. Called by the
 * relay with every piece of a response's body. It judges nothing: a body that is cut or no JSON simply
 * reports nothing more.
 */
#include "core/usage.h"

#include "core/ascii.h"

#include <string.h>
#include <strings.h>

enum member {
    MEMBER_OTHER,
    MEMBER_MESSAGE,
    MEMBER_RESPONSE,
    MEMBER_USAGE,
    MEMBER_MODEL,
    MEMBER_DETAILS,
    MEMBER_INPUT,
    MEMBER_OUTPUT,
    MEMBER_CACHE_READ,
    MEMBER_CACHE_WRITTEN,
    MEMBER_CACHED,
    MEMBER_REASONING,
};

static const struct {
    const char *name;
    enum member member;
} members[] = {
    {"message", MEMBER_MESSAGE},
    {"response", MEMBER_RESPONSE},
    {"usage", MEMBER_USAGE},
    {"model", MEMBER_MODEL},
    {"input_tokens", MEMBER_INPUT},
    {"prompt_tokens", MEMBER_INPUT},
    {"output_tokens", MEMBER_OUTPUT},
    {"completion_tokens", MEMBER_OUTPUT},
    {"cache_read_input_tokens", MEMBER_CACHE_READ},
    {"cache_creation_input_tokens", MEMBER_CACHE_WRITTEN},
    {"input_tokens_details", MEMBER_DETAILS},
    {"prompt_tokens_details", MEMBER_DETAILS},
    {"output_tokens_details", MEMBER_DETAILS},
    {"completion_tokens_details", MEMBER_DETAILS},
    {"cached_tokens", MEMBER_CACHED},
    {"reasoning_tokens", MEMBER_REASONING},
};

enum usage_format usage_format(const char *content_type)
{
    static const char json[] = "application/json";
    static const char events[] = "text/event-stream";
    if (content_type == NULL)
        return USAGE_NONE;
    if (strncasecmp(content_type, json, sizeof json - 1) == 0)
        return USAGE_JSON;
    return strncasecmp(content_type, events, sizeof events - 1) == 0 ? USAGE_EVENTS : USAGE_NONE;
}

/* ---- where a value stands */

/* The members that lead to the value, without a leading message or response. Returns how many, 0 when one of
 * them is an item of an array, or they are too many. */
static size_t path_of(const struct usage_scanner *s, const unsigned char **path)
{
    size_t len = s->depth;
    if (len == 0 || len > USAGE_DEPTH)
        return 0;
    for (size_t i = 0; i < len; i++)
        if (!s->objects[i])
            return 0;
    *path = s->members;
    if (len > 1 && (s->members[0] == MEMBER_MESSAGE || s->members[0] == MEMBER_RESPONSE)) {
        (*path)++;
        len--;
    }
    return len;
}

static bool is_model(const struct usage_scanner *s)
{
    const unsigned char *path;
    return path_of(s, &path) == 1 && path[0] == MEMBER_MODEL;
}

/* Where a number at this place goes; NULL = nowhere. */
static uint64_t *count_of(struct usage_scanner *s)
{
    const unsigned char *path;
    size_t len = path_of(s, &path);
    if (len == 2 && path[0] == MEMBER_USAGE) {
        switch (path[1]) {
        case MEMBER_INPUT:
            return &s->usage.input;
        case MEMBER_OUTPUT:
            return &s->usage.output;
        case MEMBER_CACHE_READ:
            return &s->usage.cached;
        case MEMBER_CACHE_WRITTEN:
            return &s->usage.written;
        default:
            return NULL;
        }
    }
    if (len == 3 && path[0] == MEMBER_USAGE && path[1] == MEMBER_DETAILS) {
        if (path[2] == MEMBER_CACHED)
            return &s->usage.cached;
        if (path[2] == MEMBER_REASONING)
            return &s->usage.reasoning;
    }
    return NULL;
}

/* ---- the JSON text */

static void reset_text(struct usage_scanner *s)
{
    s->in_string = s->escaped = s->is_key = s->expects_key = s->keep = s->in_scalar = false;
    s->depth = 0;
}

static void begin_string(struct usage_scanner *s)
{
    s->in_string = true;
    s->is_key = s->expects_key && s->depth > 0 && s->depth <= USAGE_DEPTH;
    s->keep = s->is_key || is_model(s);
    s->word_len = 0;
}

static void add_to_word(struct usage_scanner *s, char c)
{
    if (s->word_len < sizeof s->word)
        s->word[s->word_len++] = c;
}

static void end_key(struct usage_scanner *s)
{
    unsigned char *member = &s->members[s->depth - 1];
    *member = MEMBER_OTHER;
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++)
        if (strlen(members[i].name) == s->word_len && memcmp(members[i].name, s->word, s->word_len) == 0)
            *member = (unsigned char)members[i].member;
    s->expects_key = false;
}

static void end_model(struct usage_scanner *s)
{
    size_t len = s->word_len < sizeof s->usage.model ? s->word_len : sizeof s->usage.model - 1;
    for (size_t i = 0; i < len; i++)
        s->usage.model[i] = (char)(s->word[i] > ' ' && s->word[i] < 0x7f ? s->word[i] : '?');
    s->usage.model[len] = '\0';
}

static void take_string_byte(struct usage_scanner *s, char c)
{
    if (s->escaped) {
        s->escaped = false;
    } else if (c == '\\') {
        s->escaped = true;
    } else if (c == '"') {
        s->in_string = false;
        if (s->is_key)
            end_key(s);
        else if (s->keep)
            end_model(s);
        return;
    }
    if (s->keep)
        add_to_word(s, c);
}

static void begin_scalar(struct usage_scanner *s, char c)
{
    s->in_scalar = true;
    s->is_number = ascii_is_digit(c);
    s->number = 0;
}

static void take_scalar_byte(struct usage_scanner *s, char c)
{
    if (!ascii_is_digit(c) || s->number > UINT32_MAX)
        s->is_number = false; /* nor is so large a number a count of tokens */
    else
        s->number = 10 * s->number + (uint64_t)(c - '0');
}

static void end_scalar(struct usage_scanner *s)
{
    uint64_t *count = s->is_number ? count_of(s) : NULL;
    s->in_scalar = false;
    if (count == NULL)
        return;
    *count = s->number;
    s->found = true;
}

static void open_container(struct usage_scanner *s, bool object)
{
    if (s->depth < USAGE_DEPTH) {
        s->objects[s->depth] = object;
        s->members[s->depth] = MEMBER_OTHER;
    }
    s->depth++;
    s->expects_key = object;
}

static void take_byte(struct usage_scanner *s, char c)
{
    if (s->in_string) {
        take_string_byte(s, c);
        return;
    }
    switch (c) {
    case ' ':
    case '\t':
    case '\n':
    case '\r':
    case ':':
    case ',':
    case '}':
    case ']':
        if (s->in_scalar)
            end_scalar(s);
        if ((c == '}' || c == ']') && s->depth > 0)
            s->depth--;
        if (c == ',')
            s->expects_key = s->depth > 0 && s->depth <= USAGE_DEPTH && s->objects[s->depth - 1];
        break;
    case '{':
    case '[':
        open_container(s, c == '{');
        break;
    case '"':
        begin_string(s);
        break;
    default:
        if (!s->in_scalar)
            begin_scalar(s, c);
        take_scalar_byte(s, c);
        break;
    }
}

/* ---- server-sent events (html.spec.whatwg.org, "Server-sent events") */

static const char data_field[] = "data:";

#define LINE_DATA  (sizeof data_field - 1)
#define LINE_OTHER (LINE_DATA + 1)

/* An empty line ends an event, and with it its data. A CR is white space to JSON and nothing to the lines. */
static void take_event_byte(struct usage_scanner *s, char c)
{
    if (c == '\n') {
        if (s->line == 0)
            reset_text(s);
        else if (s->line == LINE_DATA)
            take_byte(s, c);
        s->line = 0;
    } else if (s->line == LINE_DATA) {
        take_byte(s, c);
    } else if (s->line < LINE_DATA && c != '\r') {
        s->line = c == data_field[s->line] ? (unsigned char)(s->line + 1) : LINE_OTHER;
    }
}

void usage_feed(struct usage_scanner *scanner, const char *data, size_t len)
{
    if (scanner->format == USAGE_NONE)
        return;
    for (size_t i = 0; i < len; i++) {
        if (scanner->format == USAGE_JSON)
            take_byte(scanner, data[i]);
        else
            take_event_byte(scanner, data[i]);
    }
}

bool usage_result(const struct usage_scanner *scanner, struct usage *usage)
{
    *usage = scanner->usage;
    return scanner->found;
}
