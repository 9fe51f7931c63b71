/*
 * Test of usage against a scanner that does the same the slow way, a byte at a time, with nothing skipped:
 * for texts of any kind, right and damaged, in any pieces, both find the same.
 */
#include "core/usage.h"

#include "core/ascii.h"
#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef ROUNDS
#define ROUNDS 2000
#endif

/* ---- the slow one */

struct slow {
    enum usage_format format;
    unsigned char line;
    bool in_string;
    bool escaped;
    bool is_key;
    bool expects_key;
    bool keep;
    bool in_scalar;
    bool is_number;
    uint32_t depth;
    bool objects[USAGE_DEPTH]; /* whether the container at depth i + 1 is an object */
    unsigned char members[USAGE_DEPTH];
    char word[USAGE_MODEL_SIZE];
    size_t word_len;
    uint64_t number;
    bool found;
    struct usage usage;
};

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

#define MEMBER(name, member)                                                                                 \
    {                                                                                                        \
        name, sizeof(name) - 1, member                                                                       \
    }
static const struct {
    const char *name;
    size_t len;
    enum member member;
} names[] = {
    MEMBER("message", MEMBER_MESSAGE),
    MEMBER("response", MEMBER_RESPONSE),
    MEMBER("usage", MEMBER_USAGE),
    MEMBER("model", MEMBER_MODEL),
    MEMBER("input_tokens", MEMBER_INPUT),
    MEMBER("prompt_tokens", MEMBER_INPUT),
    MEMBER("output_tokens", MEMBER_OUTPUT),
    MEMBER("completion_tokens", MEMBER_OUTPUT),
    MEMBER("cache_read_input_tokens", MEMBER_CACHE_READ),
    MEMBER("cache_creation_input_tokens", MEMBER_CACHE_WRITTEN),
    MEMBER("input_tokens_details", MEMBER_DETAILS),
    MEMBER("prompt_tokens_details", MEMBER_DETAILS),
    MEMBER("output_tokens_details", MEMBER_DETAILS),
    MEMBER("completion_tokens_details", MEMBER_DETAILS),
    MEMBER("cached_tokens", MEMBER_CACHED),
    MEMBER("reasoning_tokens", MEMBER_REASONING),
};
#undef MEMBER

/* The members that lead to the value, without a leading message or response. Returns how many, 0 when one of
 * them is an item of an array, or they are too many. */
static size_t path_of(const struct slow *s, const unsigned char **path)
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

static bool is_model(const struct slow *s)
{
    const unsigned char *path;
    return path_of(s, &path) == 1 && path[0] == MEMBER_MODEL;
}

/* Where a number at this place goes; NULL = nowhere. */
static uint64_t *count_of(struct slow *s)
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

static void reset_text(struct slow *s)
{
    s->in_string = s->escaped = s->is_key = s->expects_key = s->keep = s->in_scalar = false;
    s->depth = 0;
}

static void begin_string(struct slow *s)
{
    s->in_string = true;
    s->is_key = s->expects_key && s->depth > 0 && s->depth <= USAGE_DEPTH;
    s->keep = s->is_key || is_model(s);
    s->word_len = 0;
}

static void add_to_word(struct slow *s, char c)
{
    if (s->word_len < sizeof s->word)
        s->word[s->word_len++] = c;
}

static void end_key(struct slow *s)
{
    unsigned char *member = &s->members[s->depth - 1];
    *member = MEMBER_OTHER;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].len == s->word_len && memcmp(names[i].name, s->word, s->word_len) == 0)
            *member = (unsigned char)names[i].member;
    s->expects_key = false;
}

static void end_model(struct slow *s)
{
    size_t len = s->word_len < sizeof s->usage.model ? s->word_len : sizeof s->usage.model - 1;
    for (size_t i = 0; i < len; i++)
        s->usage.model[i] = (char)(s->word[i] > ' ' && s->word[i] < 0x7f ? s->word[i] : '?');
    s->usage.model[len] = '\0';
}

static void take_string_byte(struct slow *s, char c)
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

static void begin_scalar(struct slow *s, char c)
{
    s->in_scalar = true;
    s->is_number = ascii_is_digit(c);
    s->number = 0;
}

static void take_scalar_byte(struct slow *s, char c)
{
    if (!ascii_is_digit(c) || s->number > UINT32_MAX)
        s->is_number = false; /* nor is so large a number a count of tokens */
    else
        s->number = 10 * s->number + (uint64_t)(c - '0');
}

static void end_scalar(struct slow *s)
{
    uint64_t *count = s->is_number ? count_of(s) : NULL;
    s->in_scalar = false;
    if (count == NULL)
        return;
    *count = s->number;
    s->found = true;
}

static void open_container(struct slow *s, bool object)
{
    if (s->depth < USAGE_DEPTH) {
        s->objects[s->depth] = object;
        s->members[s->depth] = MEMBER_OTHER;
    }
    s->depth++;
    s->expects_key = object;
}

static void take_byte(struct slow *s, char c)
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
        if (c == '}' || c == ']') {
            s->expects_key = false;
            if (s->depth > 0)
                s->depth--;
        }
        if (c == ',')
            s->expects_key = s->depth > 0 && s->depth <= USAGE_DEPTH && s->objects[s->depth - 1];
        break;
    case '{':
    case '[':
        if (s->in_scalar)
            end_scalar(s);
        open_container(s, c == '{');
        break;
    case '"':
        if (s->in_scalar)
            end_scalar(s);
        begin_string(s);
        break;
    default:
        if (!s->in_scalar)
            begin_scalar(s, c);
        take_scalar_byte(s, c);
        break;
    }
}

static const char data_field[] = "data:";

#define LINE_DATA  (sizeof data_field - 1)
#define LINE_OTHER (LINE_DATA + 1)

/* An empty line ends an event, and with it its data. A CR is white space to JSON and nothing to the lines. */
static void take_event_byte(struct slow *s, char c)
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

/* ---- texts */

struct text {
    char data[2048];
    size_t len;
};

static uint64_t state;

static unsigned below(unsigned limit)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)((state >> 33) % limit);
}

#define COUNT(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define PICK(array)  ((array)[below(COUNT(array))])

static const char *const words[] = {
    "message",
    "response",
    "usage",
    "usage",
    "usage",
    "model",
    "input_tokens",
    "prompt_tokens",
    "output_tokens",
    "completion_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "input_tokens_details",
    "prompt_tokens_details",
    "output_tokens_details",
    "completion_tokens_details",
    "cached_tokens",
    "reasoning_tokens",
    "output_tokens_",
    "type",
    "",
    "a name of more than the seventy bytes that there is room for in a word, at most",
    "\\\"usage\\\":{\\\"input_tokens\\\":7}",
    "\\\\",
    "us\\u0061ge",
    "{[",
    "]}",
    "\xc3\xa9\xe2\x82\xac"};
static const char *const scalars[] = {
    "0",  "7",   "1234", "4294967295",     "42949672959", "429496729500", "null",       "true",
    "-5", "1.5", "1e3",  "99999999999999", "12",          "false",        "4294967296", "x"};
static const char *const spaces[] = {" ", "\t", "\n", "\r\n", "  \n  "};
static const char *const damage[] = {"\"", "\\", "{",  "}", "[",     "]",    ",",
                                     ":",  "\n", "\r", "0", "data:", "\n\n", "x"};

static void put(struct text *text, const char *bytes)
{
    size_t len = strlen(bytes);
    if (text->len + len > sizeof text->data)
        return;
    memcpy(text->data + text->len, bytes, len);
    text->len += len;
}

static void put_space(struct text *text)
{
    if (below(12) == 0)
        put(text, PICK(spaces));
}

static void put_string(struct text *text)
{
    put(text, "\"");
    for (unsigned i = below(4) == 0 ? below(12) : 1; i > 0; i--)
        put(text, PICK(words));
    put(text, "\"");
}

static void put_value(struct text *text, unsigned depth);

/* Every other time what makes a report. */
static void put_member(struct text *text, unsigned depth)
{
    static const char *const wrappers[] = {"\"message\":{", "\"response\" : {"};
    static const char *const members[] = {
        "\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\" : 4,\"output_tokens\":",
        "\"usage\":{\"output_tokens_details\":{\"x\":[],\"reasoning_tokens\":6},\"completion_tokens\":",
        "\"usage\": {\"prompt_tokens_details\":{\"cached_tokens\":5},\"prompt_tokens\":",
        "\"model\":\"a \\\"name\\\" with \\\\\",\"usage\":{\"cached_tokens\":1,\"input_tokens\":",
        "\"usage\":{\"cache_creation_input_tokens\":"};
    bool wrapped = below(2) == 0;
    if (below(2) == 0) {
        put_string(text);
        put_space(text);
        put(text, ":");
        put_value(text, depth + 1);
        return;
    }
    put(text, wrapped ? PICK(wrappers) : "");
    put(text, PICK(members));
    put_value(text, 6);
    put(text, wrapped ? "}}" : "}");
}

static void put_object(struct text *text, unsigned depth)
{
    put(text, "{");
    for (unsigned i = 0, count = below(6); i < count; i++) {
        put(text, i > 0 ? "," : "");
        put_space(text);
        put_member(text, depth);
    }
    put(text, "}");
}

static void put_array(struct text *text, unsigned depth)
{
    put(text, "[");
    for (unsigned i = 0, count = below(4); i < count; i++) {
        put(text, i > 0 ? "," : "");
        put_value(text, depth + 1);
    }
    put(text, "]");
}

static void put_value(struct text *text, unsigned depth)
{
    unsigned kind = depth == 0 ? 0 : below(depth < 7 ? 10 : 5) + (depth < 7 ? 0 : 5);
    put_space(text);
    if (kind < 4)
        put_object(text, depth);
    else if (kind < 5)
        put_array(text, depth);
    else if (kind < 7)
        put_string(text);
    else
        put(text, PICK(scalars));
    put_space(text);
}

static void put_event(struct text *text)
{
    static const char *const fields[] = {"event: x\n", ": y\r\n", "dat\n", "data\n",
                                         "\r",         "da\rta:", "id:3\n"};
    if (below(2) == 0)
        put(text, PICK(fields));
    put(text, below(8) > 0 ? "data: " : "data:");
    put_value(text, 0);
    put(text, below(8) > 0 ? "\n\n" : "\r\n\r\n");
}

/* Some bytes are others, some are too many, and the end is missing. */
static void spoil(struct text *text)
{
    for (unsigned i = below(5); i > 0 && text->len > 0; i--) {
        const char *bytes = PICK(damage);
        size_t at = below((unsigned)text->len);
        size_t len = strlen(bytes);
        if (len > text->len - at)
            len = text->len - at;
        memcpy(text->data + at, bytes, len);
    }
    if (below(4) == 0)
        text->len = below((unsigned)text->len + 1);
}

static void make_text(struct text *text, enum usage_format format)
{
    text->len = 0;
    for (unsigned i = 1 + below(3); i > 0; i--) {
        if (format == USAGE_EVENTS)
            put_event(text);
        else
            put_value(text, 0);
    }
    if (below(2) == 0)
        spoil(text);
}

/* ---- the test */

static void feed_bytes(struct usage_scanner *scanner, const struct text *text)
{
    for (size_t i = 0; i < text->len; i++)
        usage_feed(scanner, text->data + i, 1);
}

/* Each piece in memory of its own, so that a tool sees who reads behind it. */
static void feed_pieces(struct usage_scanner *scanner, const struct text *text, unsigned longest)
{
    for (size_t at = 0, len; at < text->len; at += len) {
        len = 1 + below(longest);
        if (len > text->len - at)
            len = text->len - at;
        char *piece = malloc(len);
        if (piece == NULL)
            ck_abort_msg("out of memory");
        memcpy(piece, text->data + at, len);
        usage_feed(scanner, piece, len);
        free(piece);
    }
}

static void expect_same(const struct slow *slow, const struct usage_scanner *scanner, const struct text *text)
{
    struct usage usage;
    bool found = usage_result(scanner, &usage);
    bool same = found == slow->found && usage.input == slow->usage.input &&
                usage.output == slow->usage.output && usage.cached == slow->usage.cached &&
                usage.written == slow->usage.written && usage.reasoning == slow->usage.reasoning &&
                strcmp(usage.model, slow->usage.model) == 0;
    if (!same) /* an assertion costs a system call each time */
        ck_abort_msg("not the same: %.*s", (int)text->len, text->data);
}

START_TEST(test_same)
{
    static const unsigned longest[] = {2048, 7, 40, 200};
    static struct text text;
    enum usage_format format = _i == 0 ? USAGE_JSON : USAGE_EVENTS;
    unsigned reports = 0;
    state = 1;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct slow slow = {.format = format};
        make_text(&text, format);
        for (size_t i = 0; i < text.len; i++) {
            if (format == USAGE_JSON)
                take_byte(&slow, text.data[i]);
            else
                take_event_byte(&slow, text.data[i]);
        }
        reports += slow.found;
        struct usage_scanner whole = {.format = format};
        usage_feed(&whole, text.data, text.len);
        expect_same(&slow, &whole, &text);
        struct usage_scanner bytes = {.format = format};
        feed_bytes(&bytes, &text);
        expect_same(&slow, &bytes, &text);
        for (size_t i = 0; i < COUNT(longest); i++) {
            struct usage_scanner scanner = {.format = format};
            feed_pieces(&scanner, &text, longest[i]);
            expect_same(&slow, &scanner, &text);
        }
    }
    ck_assert_uint_gt(reports, ROUNDS / 4);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("usage_pieces");
    TCase *tc = tcase_create("usage_pieces");

    tcase_add_loop_test(tc, test_same, 0, 2);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
