/*
 * conf_text: owns the words of a configuration file between reading and wiping. Called by conf. It knows the
 * syntax, but no option: names and meanings are libconfuse's and conf_tables' business. No message of it
 * repeats a value.
 */
#include "io/conf_text.h"

#include "base/secret.h"
#include "io/conf_lexer.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8

enum state {
    AT_NAME,     /* an option's or section's name, or a section's end */
    AFTER_NAME,  /* "=", "{" or a title */
    AFTER_TITLE, /* "{" */
    AT_VALUE,    /* a value or a list */
    AT_ITEM,     /* a list's value, or its end */
    AFTER_ITEM,  /* "," or the list's end */
};

struct open_section {
    unsigned id;
    unsigned line;
};

struct scanner {
    struct conf_lexer lexer;
    enum state state;
    struct conf_name current; /* the name last read */
    unsigned list_line;       /* of the list's opening brace */
    struct open_section open[DEPTH_MAX];
    size_t depth;
    unsigned sections; /* seen so far; their ids */
    struct conf_text *text;
    struct conf_errors *errors;
};

/* Takes the token's text as a name. */
static bool take_name(struct scanner *s, char out[CONF_NAME_MAX + 1])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

    if (s->lexer.word.len == 0 || s->lexer.word.len > CONF_NAME_MAX ||
        strspn(s->lexer.word.data, allowed) != s->lexer.word.len)
        return false;
    memcpy(out, s->lexer.word.data, s->lexer.word.len + 1);
    return true;
}

/* Remembers the current name in its section; a second one of the same kind is an error, but reading goes on.
 */
static bool declare_name(struct scanner *s)
{
    struct conf_text *t = s->text;
    unsigned section = s->depth == 0 ? 0 : s->open[s->depth - 1].id;
    const struct conf_name *c = &s->current;

    for (size_t i = 0; i < t->name_count; i++) {
        const struct conf_name *n = &t->names[i];

        if (n->section != section || strcmp(n->name, c->name) != 0 || strcmp(n->title, c->title) != 0)
            continue;
        if (c->title[0] != '\0')
            conf_error(s->errors, c->line,
                       "%s %s is configured twice, first in line %u: rename or remove one", c->name, c->title,
                       n->line);
        else
            conf_error(s->errors, c->line, "%s is given twice, first in line %u: remove one", c->name,
                       n->line);
        return true;
    }
    if (t->name_count == t->name_cap) {
        size_t cap = t->name_cap == 0 ? 32 : t->name_cap * 2;
        struct conf_name *names = reallocarray(t->names, cap, sizeof(*names));

        if (names == NULL) {
            conf_error_memory(s->errors);
            return false;
        }
        t->names = names;
        t->name_cap = cap;
    }
    s->current.section = section;
    t->names[t->name_count++] = s->current;
    return true;
}

/* Keeps the token's text (or, with list, an opening brace) as a value and writes its number to the skeleton.
 */
static bool add_value(struct scanner *s, bool list)
{
    struct conf_text *t = s->text;
    char *text = NULL;

    if (t->value_count == t->value_cap) {
        size_t cap = t->value_cap == 0 ? 32 : t->value_cap * 2;
        struct conf_value *values = reallocarray(t->values, cap, sizeof(*values));

        if (values == NULL)
            goto memory;
        t->values = values;
        t->value_cap = cap;
    }
    if (!list) {
        text = strndup(s->lexer.word.len > 0 ? s->lexer.word.data : "", s->lexer.word.len);
        if (text == NULL)
            goto memory;
    }
    buf_printf(&t->skeleton, "%zu ", t->value_count);
    t->values[t->value_count++] = (struct conf_value){.text = text, .line = s->lexer.token_line};
    return true;
memory:
    conf_error_memory(s->errors);
    return false;
}

static bool open_section(struct scanner *s)
{
    if (s->depth == DEPTH_MAX) {
        conf_error(s->errors, s->lexer.token_line, "sections are nested too deeply: close some with \"}\"");
        return false;
    }
    if (!declare_name(s))
        return false;
    buf_printf(&s->text->skeleton, "%s { ", s->current.title);
    s->open[s->depth++] = (struct open_section){.id = ++s->sections, .line = s->current.line};
    s->state = AT_NAME;
    return true;
}

static bool at_name(struct scanner *s, enum conf_token token)
{
    if (token == TOKEN_WORD) {
        if (!take_name(s, s->current.name)) {
            conf_error(s->errors, s->lexer.token_line,
                       "a name should stand here, of 1 to %d letters, digits, \"-\" and \"_\": correct it",
                       CONF_NAME_MAX);
            return false;
        }
        s->current.title[0] = '\0';
        s->current.line = s->lexer.token_line;
        buf_printf(&s->text->skeleton, "%s ", s->current.name);
        s->state = AFTER_NAME;
        return true;
    }
    if (token == TOKEN_CLOSE && s->depth > 0) {
        s->depth--;
        buf_puts(&s->text->skeleton, "} ");
        return true;
    }
    if (token == TOKEN_CLOSE)
        conf_error(s->errors, s->lexer.token_line, "\"}\" closes nothing: remove it");
    else if (token == TOKEN_COMMA)
        conf_error(s->errors, s->lexer.token_line, "no comma stands between options: remove it");
    else
        conf_error(s->errors, s->lexer.token_line,
                   "an option's name should stand here: several values are a list, NAME = {\"A\", \"B\"}");
    return false;
}

static bool after_name(struct scanner *s, enum conf_token token)
{
    if (token == TOKEN_EQUAL) {
        buf_puts(&s->text->skeleton, "= ");
        s->state = AT_VALUE;
        return declare_name(s);
    }
    if (token == TOKEN_OPEN)
        return open_section(s);
    if ((token == TOKEN_WORD || token == TOKEN_STRING) && take_name(s, s->current.title)) {
        s->state = AFTER_TITLE;
        return true;
    }
    conf_error(s->errors, s->current.line,
               "after a name comes \"=\" and a value, or \"{\", or a title and \"{\": add what is missing");
    return false;
}

static bool at_value(struct scanner *s, enum conf_token token)
{
    if (token == TOKEN_OPEN) {
        buf_puts(&s->text->skeleton, "{ ");
        s->list_line = s->lexer.token_line;
        s->state = AT_ITEM;
        if (!add_value(s, true))
            return false;
        buf_puts(&s->text->skeleton, ", ");
        return true;
    }
    if (token == TOKEN_WORD || token == TOKEN_STRING) {
        s->state = AT_NAME;
        return add_value(s, false);
    }
    conf_error(s->errors, s->current.line, "a value is missing behind \"=\": add it (\"\" is the empty one)");
    return false;
}

static bool in_list(struct scanner *s, enum conf_token token)
{
    if (token == TOKEN_CLOSE) {
        buf_puts(&s->text->skeleton, "} ");
        s->state = AT_NAME;
        return true;
    }
    if (s->state == AT_ITEM && (token == TOKEN_WORD || token == TOKEN_STRING)) {
        s->state = AFTER_ITEM;
        return add_value(s, false);
    }
    if (s->state == AFTER_ITEM && token == TOKEN_COMMA) {
        buf_puts(&s->text->skeleton, ", ");
        s->state = AT_ITEM;
        return true;
    }
    conf_error(s->errors, s->lexer.token_line,
               s->state == AT_ITEM
                   ? "in the list that begins in line %u a value or \"}\" should stand here: add it"
                   : "in the list that begins in line %u \",\" or \"}\" should stand here: add it",
               s->list_line);
    return false;
}

static bool after_title(struct scanner *s, enum conf_token token)
{
    if (token == TOKEN_OPEN)
        return open_section(s);
    conf_error(s->errors, s->current.line,
               "\"=\" is missing behind an option's name, or \"{\" behind a title: add it");
    return false;
}

static bool step(struct scanner *s, enum conf_token token)
{
    switch (s->state) {
    case AT_NAME:
        return at_name(s, token);
    case AFTER_NAME:
        return after_name(s, token);
    case AFTER_TITLE:
        return after_title(s, token);
    case AT_VALUE:
        return at_value(s, token);
    case AT_ITEM:
    case AFTER_ITEM:
        return in_list(s, token);
    }
    return false;
}

/* Whether the file may end here. */
static bool at_end(struct scanner *s)
{
    if (s->state == AT_ITEM || s->state == AFTER_ITEM)
        conf_error(s->errors, s->list_line, "the list that begins here is not closed: add \"}\"");
    else if (s->state != AT_NAME)
        step(s, TOKEN_END); /* says what is missing */
    else if (s->depth > 0)
        conf_error(s->errors, s->open[s->depth - 1].line,
                   "the section that begins here is not closed: add \"}\"");
    else
        return true;
    return false;
}

bool conf_text_scan(struct conf_text *text, const char *data, size_t len, struct conf_errors *errors)
{
    struct scanner s = {.text = text, .errors = errors};
    bool memory = conf_lexer_init(&s.lexer, data, len, &text->skeleton, errors);
    bool good = memory;

    while (good) {
        enum conf_token token = conf_lexer_next(&s.lexer);

        if (token == TOKEN_END) {
            good = at_end(&s);
            break;
        }
        good = token != TOKEN_BAD && step(&s, token);
    }
    if (!memory || !buf_reserve(&text->skeleton, 0)) {
        conf_error_memory(errors);
        good = false;
    }
    conf_lexer_fini(&s.lexer);
    return good;
}

void conf_text_fini(struct conf_text *text)
{
    for (size_t i = 0; i < text->value_count; i++) {
        char *value = text->values[i].text;

        if (value != NULL)
            secret_wipe(value, strlen(value));
        free(value);
    }
    free(text->values);
    free(text->names);
    buf_fini(&text->skeleton);
    *text = (struct conf_text){0};
}

unsigned conf_text_section_line(const struct conf_text *text, const char *name, const char *title)
{
    for (size_t i = 0; i < text->name_count; i++) {
        const struct conf_name *n = &text->names[i];

        if (n->section == 0 && strcmp(n->name, name) == 0 && strcmp(n->title, title) == 0)
            return n->line;
    }
    return 0;
}

const char *conf_text_top_value(const struct conf_text *text, const char *name)
{
    const char *p = text->skeleton.data;
    size_t name_len = strlen(name);
    size_t depth = 0;
    bool named = false; /* the last word was the name */

    /* The skeleton's words stand between white space. */
    while (p != NULL && *(p += strspn(p, " \n")) != '\0') {
        size_t len = strcspn(p, " \n");
        char *end;

        if (named && *p == '=') {
            size_t i = strtoul(p + len, &end, 10);

            return end != p + len && i < text->value_count ? text->values[i].text : NULL;
        }
        if (*p == '{')
            depth++;
        else if (*p == '}' && depth > 0)
            depth--;
        named = depth == 0 && len == name_len && memcmp(p, name, len) == 0;
        p += len;
    }
    return NULL;
}
