/*
 * usage: a scanner of JSON that looks at a few members near the top and keeps nothing else. Called by the
 * relay with every piece of a response's body. It judges nothing: a body that is cut or no JSON simply
 * reports nothing more. It is in the way of every byte that a client waits for, so containers that no report
 * can be in are skipped, and strings are gone through by blocks.
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

/* The member of that name. Most names are of another length than any of these. */
static enum member member_of(const char *name, size_t len)
{
#define IS(text, member)                                                                                     \
    if (memcmp(name, text, sizeof(text) - 1) == 0)                                                           \
    return member
    switch (len) {
    case 5:
        IS("usage", MEMBER_USAGE);
        IS("model", MEMBER_MODEL);
        break;
    case 7:
        IS("message", MEMBER_MESSAGE);
        break;
    case 8:
        IS("response", MEMBER_RESPONSE);
        break;
    case 12:
        IS("input_tokens", MEMBER_INPUT);
        break;
    case 13:
        IS("prompt_tokens", MEMBER_INPUT);
        IS("output_tokens", MEMBER_OUTPUT);
        IS("cached_tokens", MEMBER_CACHED);
        break;
    case 16:
        IS("reasoning_tokens", MEMBER_REASONING);
        break;
    case 17:
        IS("completion_tokens", MEMBER_OUTPUT);
        break;
    case 20:
        IS("input_tokens_details", MEMBER_DETAILS);
        break;
    case 21:
        IS("prompt_tokens_details", MEMBER_DETAILS);
        IS("output_tokens_details", MEMBER_DETAILS);
        break;
    case 23:
        IS("cache_read_input_tokens", MEMBER_CACHE_READ);
        break;
    case 25:
        IS("completion_tokens_details", MEMBER_DETAILS);
        break;
    case 27:
        IS("cache_creation_input_tokens", MEMBER_CACHE_WRITTEN);
        break;
    default:
        break;
    }
#undef IS
    return MEMBER_OTHER;
}

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

/* ---- where a value stands: in objects only, for what is in an array is skipped */

/* The members that lead to the value, without a leading message or response. Returns how many. */
static size_t path_of(const struct usage_scanner *s, const unsigned char **path)
{
    bool wrapped = s->depth > 1 && (s->members[0] == MEMBER_MESSAGE || s->members[0] == MEMBER_RESPONSE);
    *path = s->members + wrapped;
    return s->depth - (size_t)wrapped;
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

/* Whether a member of an object at this place may matter: only then it is looked at. */
static bool leads_on(const struct usage_scanner *s)
{
    const unsigned char *path;
    size_t len = path_of(s, &path);
    switch (len) {
    case 0:
        return true;
    case 1:
        return path[0] == MEMBER_USAGE ||
               (s->depth == 1 && (path[0] == MEMBER_MESSAGE || path[0] == MEMBER_RESPONSE));
    case 2:
        return path[0] == MEMBER_USAGE && path[1] == MEMBER_DETAILS;
    default:
        return false;
    }
}

/* ---- strings */

typedef unsigned char block __attribute__((vector_size(16), aligned(1), may_alias));

/* Where the first byte that is not zero stands in memory; there is one. */
static unsigned first_of(uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (unsigned)__builtin_clzll(word) / 8;
#else
    return (unsigned)__builtin_ctzll(word) / 8;
#endif
}

/* The first quote or backslash; end when there is none. By sixteen bytes where there are so many. */
static const char *find_special(const char *at, const char *end)
{
    for (; end - at >= (ptrdiff_t)sizeof(block); at += sizeof(block)) {
        block bytes = *(const block *)at;
        block hits = (block)(bytes == '"') | (block)(bytes == '\\');
        uint64_t words[2];
        memcpy(words, &hits, sizeof words);
        if (words[0] != 0)
            return at + first_of(words[0]);
        if (words[1] != 0)
            return at + 8 + first_of(words[1]);
    }
    while (at < end && *at != '"' && *at != '\\')
        at++;
    return at;
}

/* The quote that ends the string; end when it is not there yet. */
static const char *find_string_end(struct usage_scanner *s, const char *at, const char *end)
{
    if (s->escaped && at < end) {
        s->escaped = false;
        at++;
    }
    for (;;) {
        at = find_special(at, end);
        if (at == end || *at == '"')
            return at;
        if (end - at < 2) {
            s->escaped = true;
            return end;
        }
        at += 2;
    }
}

static void begin_string(struct usage_scanner *s)
{
    s->in_string = true;
    s->is_key = s->expects_key && s->depth > 0;
    s->keep = s->is_key || is_model(s);
    s->word_len = 0;
}

static void add_to_word(struct usage_scanner *s, const char *data, size_t len)
{
    size_t room = sizeof s->word - s->word_len;
    if (len > room)
        len = room;
    memcpy(s->word + s->word_len, data, len);
    s->word_len += len;
}

static void take_model(struct usage_scanner *s, const char *name, size_t len)
{
    if (len >= sizeof s->usage.model)
        len = sizeof s->usage.model - 1;
    for (size_t i = 0; i < len; i++)
        s->usage.model[i] = (char)(name[i] > ' ' && name[i] < 0x7f ? name[i] : '?');
    s->usage.model[len] = '\0';
}

static void take_word(struct usage_scanner *s, const char *word, size_t len)
{
    if (s->is_key) {
        s->members[s->depth - 1] = (unsigned char)member_of(word, len);
        s->expects_key = false;
    } else {
        take_model(s, word, len);
    }
}

/* From inside a string to behind it. A word is copied only where it is cut. */
static const char *take_string(struct usage_scanner *s, const char *at, const char *end)
{
    const char *quote = find_string_end(s, at, end);
    size_t len = (size_t)(quote - at);
    if (s->keep && (quote == end || s->word_len > 0))
        add_to_word(s, at, len);
    if (quote == end)
        return end;
    s->in_string = false;
    if (s->keep && s->word_len > 0)
        take_word(s, s->word, s->word_len);
    else if (s->keep)
        take_word(s, at, len);
    return quote + 1;
}

/* ---- the JSON text */

enum class { CLASS_SCALAR, CLASS_SPACE, CLASS_COMMA, CLASS_QUOTE, CLASS_OBJECT, CLASS_ARRAY, CLASS_CLOSE };

static const unsigned char classes[256] = {
    [' '] = CLASS_SPACE, ['\t'] = CLASS_SPACE, ['\n'] = CLASS_SPACE, ['\r'] = CLASS_SPACE,
    [':'] = CLASS_SPACE, [','] = CLASS_COMMA,  ['"'] = CLASS_QUOTE,  ['{'] = CLASS_OBJECT,
    ['['] = CLASS_ARRAY, ['}'] = CLASS_CLOSE,  [']'] = CLASS_CLOSE,
};

static enum class class_of(char c) { return (enum class)classes[(unsigned char)c]; }

static void reset_text(struct usage_scanner *s)
{
    s->in_string = s->escaped = s->is_key = s->expects_key = s->keep = s->in_scalar = false;
    s->depth = 0;
    s->skipped = 0;
}

/* From inside a container that is skipped to behind it, or into a string. */
static const char *skip_container(struct usage_scanner *s, const char *at, const char *end)
{
    while (at < end) {
        switch (class_of(*at++)) {
        case CLASS_QUOTE:
            at = find_string_end(s, at, end);
            if (at == end) {
                s->in_string = true;
                s->keep = false;
                return end;
            }
            at++;
            break;
        case CLASS_OBJECT:
        case CLASS_ARRAY:
            s->skipped++;
            break;
        case CLASS_CLOSE:
            if (--s->skipped == 0)
                return at;
            break;
        default:
            break;
        }
    }
    return end;
}

static void take_digit(struct usage_scanner *s, char c)
{
    if (!ascii_is_digit(c) || s->number > UINT32_MAX)
        s->is_number = false; /* nor is so large a number a count of tokens */
    else
        s->number = 10 * s->number + (uint64_t)(c - '0');
}

/* A number, true, false or null, up to its end. Only a number that is wanted is read. */
static const char *take_scalar(struct usage_scanner *s, const char *at, const char *end)
{
    uint64_t *count = count_of(s);
    if (!s->in_scalar) {
        s->in_scalar = true;
        s->is_number = count != NULL;
        s->number = 0;
    }
    for (; at < end && class_of(*at) == CLASS_SCALAR; at++)
        if (s->is_number)
            take_digit(s, *at);
    if (at == end)
        return end;
    s->in_scalar = false;
    if (s->is_number && count != NULL) {
        *count = s->number;
        s->found = true;
    }
    return at;
}

static void open_object(struct usage_scanner *s)
{
    if (leads_on(s)) {
        s->members[s->depth++] = MEMBER_OTHER;
        s->expects_key = true;
    } else {
        s->skipped = 1;
    }
}

static void close_object(struct usage_scanner *s)
{
    s->expects_key = false;
    if (s->depth > 0)
        s->depth--;
}

/* From where nothing is begun to behind whatever begins here. */
static const char *take_token(struct usage_scanner *s, const char *at, const char *end)
{
    switch (class_of(*at)) {
    case CLASS_SCALAR:
        return take_scalar(s, at, end);
    case CLASS_QUOTE:
        begin_string(s);
        return take_string(s, at + 1, end);
    case CLASS_COMMA:
        s->expects_key = true;
        return at + 1;
    case CLASS_OBJECT:
        open_object(s);
        return s->skipped > 0 ? skip_container(s, at + 1, end) : at + 1;
    case CLASS_ARRAY:
        s->skipped = 1;
        return skip_container(s, at + 1, end);
    case CLASS_CLOSE:
        close_object(s);
        return at + 1;
    default:
        return at + 1;
    }
}

/* What the text before was cut in comes first. */
static void take_text(struct usage_scanner *s, const char *at, const char *end)
{
    if (s->in_string)
        at = take_string(s, at, end);
    if (s->skipped > 0 && !s->in_string)
        at = skip_container(s, at, end);
    if (s->in_scalar)
        at = take_scalar(s, at, end);
    while (at < end)
        at = take_token(s, at, end);
}

/* ---- server-sent events (html.spec.whatwg.org, "Server-sent events") */

static const char data_field[] = "data:";

#define LINE_DATA  (sizeof data_field - 1)
#define LINE_OTHER (LINE_DATA + 1)

/* At the begin of a line, until it is known what it is. An empty one ends an event, and with it its data. A
 * CR is white space to JSON and nothing to the lines. */
static const char *begin_line(struct usage_scanner *s, const char *at, const char *end)
{
    if (s->line == 0 && (size_t)(end - at) >= LINE_DATA && memcmp(at, data_field, LINE_DATA) == 0) {
        s->line = LINE_DATA;
        return at + LINE_DATA;
    }
    char c = *at++;
    if (c == '\n') {
        if (s->line == 0)
            reset_text(s);
        s->line = 0;
    } else if (c != '\r') {
        s->line = c == data_field[s->line] ? (unsigned char)(s->line + 1) : LINE_OTHER;
    }
    return at;
}

static void take_events(struct usage_scanner *s, const char *at, const char *end)
{
    while (at < end) {
        if (s->line < LINE_DATA) {
            at = begin_line(s, at, end);
            continue;
        }
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline != NULL ? newline + 1 : end;
        if (s->line == LINE_DATA)
            take_text(s, at, stop);
        if (newline != NULL)
            s->line = 0;
        at = stop;
    }
}

void usage_feed(struct usage_scanner *scanner, const char *data, size_t len)
{
    if (len == 0)
        return;
    if (scanner->format == USAGE_JSON)
        take_text(scanner, data, data + len);
    else if (scanner->format == USAGE_EVENTS)
        take_events(scanner, data, data + len);
}

bool usage_result(const struct usage_scanner *scanner, struct usage *usage)
{
    *usage = scanner->usage;
    return scanner->found;
}
