/*
 * conf_option: reads and writes options by their table rows. Called by conf, conf_provider and conf_print. It
 * knows no option by name; what two options mean to each other is checked elsewhere.
 */
#include "io/conf_option.h"

#include "io/conf_listen.h"
#include "io/conf_values.h"

#include <confuse.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* The value that libconfuse's number stands for. */
static const struct conf_value *lookup(const struct conf_load *load, cfg_opt_t *opt, unsigned i)
{
    const char *number = i < cfg_opt_size(opt) ? cfg_opt_getnstr(opt, i) : NULL;
    size_t index = number == NULL ? SIZE_MAX : strtoul(number, NULL, 10);

    return index < load->text.value_count ? &load->text.values[index] : NULL;
}

unsigned conf_option_line(const struct conf_load *load, struct cfg_t *section, const char *name)
{
    const struct conf_value *first = section == NULL ? NULL : lookup(load, cfg_getopt(section, name), 0);

    return first == NULL ? 0 : first->line;
}

const struct conf_value *conf_option_value(const struct conf_load *load, struct cfg_t *section,
                                           const char *name, size_t i)
{
    cfg_opt_t *opt = section == NULL ? NULL : cfg_getopt(section, name);
    const struct conf_value *first = opt == NULL ? NULL : lookup(load, opt, 0);

    if (first == NULL || i >= cfg_opt_size(opt))
        return NULL;
    /* The first entry of a list in braces is the brace. */
    return first->text == NULL ? lookup(load, opt, (unsigned)i + 1) : lookup(load, opt, (unsigned)i);
}

void conf_option_set_text(struct conf_load *load, char **to, const char *text)
{
    char *copy = strdup(text);

    if (copy == NULL) {
        conf_error_memory(&load->errors);
        return;
    }
    free(*to);
    *to = copy;
}

static void print_number(struct buf *out, enum conf_kind kind, int64_t number)
{
    if (kind == CONF_DURATION)
        conf_duration_print(out, number);
    else if (kind == CONF_SIZE)
        conf_size_print(out, number);
    else
        buf_printf(out, "%" PRId64, number);
}

static void set_number(struct conf_load *load, const struct conf_option *option, void *to,
                       const struct conf_value *value)
{
    const char *reason;
    int64_t number;
    int result;

    if (option->kind == CONF_DURATION)
        result = conf_duration_parse(value->text, &number, &reason);
    else if (option->kind == CONF_SIZE)
        result = conf_size_parse(value->text, &number, &reason);
    else
        result = conf_number_parse(value->text, &number, &reason);
    if (result < 0) {
        conf_error(&load->errors, value->line, "%s %s", option->name, reason);
        return;
    }
    if (number < option->min || number > option->max) {
        struct buf range = {0};

        print_number(&range, option->kind, option->min);
        buf_puts(&range, " to ");
        print_number(&range, option->kind, option->max);
        conf_error(&load->errors, value->line, "%s is out of range: write a value from %s", option->name,
                   range.failed ? "its range" : range.data);
        buf_fini(&range);
        return;
    }
    if (option->kind == CONF_UNSIGNED)
        *(unsigned *)to = (unsigned)number;
    else
        *(int64_t *)to = number;
}

static void set_word(struct conf_load *load, const struct conf_option *option, unsigned *to,
                     const struct conf_value *value)
{
    struct buf allowed = {0};

    for (const struct conf_word *w = option->words; w->name != NULL; w++) {
        if (strcmp(w->name, value->text) == 0) {
            *to = w->value;
            buf_fini(&allowed);
            return;
        }
        buf_printf(&allowed, "%s%s", allowed.len == 0 ? "" : w[1].name == NULL ? " or " : ", ", w->name);
    }
    conf_error(&load->errors, value->line, "%s has an unknown value: write %s", option->name,
               allowed.failed ? "another" : allowed.data);
    buf_fini(&allowed);
}

static void add_listen(struct conf_load *load, const struct conf_option *option, struct conf_listens *to,
                       const struct conf_value *value)
{
    struct conf_listen *items;
    struct conf_listen item;
    struct buf reason = {0};

    if (conf_listen_parse(value->text, &item, &reason) < 0) {
        conf_error(&load->errors, value->line, "%s: \"%s\" %s", option->name, value->text,
                   reason.failed ? "is wrong" : reason.data);
        goto out;
    }
    items = reallocarray(to->items, to->count + 1, sizeof(*items));
    if (items == NULL) {
        free(item.text);
        conf_error_memory(&load->errors);
        goto out;
    }
    items[to->count++] = item;
    to->items = items;
out:
    buf_fini(&reason);
}

static void set(struct conf_load *load, const struct conf_option *option, void *target,
                const struct conf_value *value)
{
    void *to = (char *)target + option->offset;
    const char *reason;

    switch (option->kind) {
    case CONF_DURATION:
    case CONF_SIZE:
    case CONF_NUMBER:
    case CONF_UNSIGNED:
        set_number(load, option, to, value);
        break;
    case CONF_BOOL:
        if (conf_bool_parse(value->text, to, &reason) < 0)
            conf_error(&load->errors, value->line, "%s %s", option->name, reason);
        break;
    case CONF_WORD:
        set_word(load, option, to, value);
        break;
    case CONF_PATH:
        if (value->text[0] != '/' || value->text[1] == '\0')
            conf_error(&load->errors, value->line, "%s is no absolute path: begin it with \"/\"",
                       option->name);
        else
            conf_option_set_text(load, to, value->text);
        break;
    case CONF_TEXT:
        conf_option_set_text(load, to, value->text);
        break;
    case CONF_LISTENS:
        add_listen(load, option, to, value);
        break;
    case CONF_UNSUPPORTED:
        if (value->text[0] != '\0')
            conf_error(&load->errors, value->line, "%s is not supported by this version: remove it",
                       option->name);
        break;
    case CONF_SPECIAL:
    case CONF_SPECIAL_LIST:
        break;
    }
}

void conf_option_defaults(struct conf_load *load, const struct conf_option *options, void *target)
{
    for (const struct conf_option *o = options; o->name != NULL; o++) {
        char *text = o->fallback == NULL ? NULL : strdup(o->fallback);
        struct conf_value value = {.text = text, .line = 0};

        if (text != NULL)
            set(load, o, target, &value);
        else if (o->fallback != NULL)
            conf_error_memory(&load->errors);
        free(text);
    }
}

void conf_option_apply(struct conf_load *load, struct cfg_t *section, const struct conf_option *options,
                       void *target)
{
    for (const struct conf_option *o = options; o->name != NULL; o++) {
        const struct conf_value *value;

        if (conf_option_line(load, section, o->name) == 0)
            continue;
        if (o->kind == CONF_LISTENS)
            conf_listens_fini((struct conf_listens *)(void *)((char *)target + o->offset));
        for (size_t i = 0; (value = conf_option_value(load, section, o->name, i)) != NULL; i++)
            set(load, o, target, value);
    }
}

static void print_listens(struct buf *out, const struct conf_listens *listens)
{
    buf_putc(out, '{');
    for (size_t i = 0; i < listens->count; i++) {
        buf_puts(out, i == 0 ? "" : ", ");
        conf_string_print(out, listens->items[i].text);
    }
    buf_putc(out, '}');
}

static void print_value(struct buf *out, const struct conf_option *option, const void *from)
{
    switch (option->kind) {
    case CONF_DURATION:
    case CONF_SIZE:
    case CONF_NUMBER:
        print_number(out, option->kind, *(const int64_t *)from);
        break;
    case CONF_UNSIGNED:
        buf_printf(out, "%u", *(const unsigned *)from);
        break;
    case CONF_BOOL:
        buf_puts(out, *(const bool *)from ? "true" : "false");
        break;
    case CONF_WORD:
        for (const struct conf_word *w = option->words; w->name != NULL; w++) {
            if (w->value == *(const unsigned *)from)
                buf_puts(out, w->name);
        }
        break;
    case CONF_TEXT:
    case CONF_PATH:
        conf_string_print(out, *(char *const *)from);
        break;
    case CONF_LISTENS:
        print_listens(out, from);
        break;
    case CONF_UNSUPPORTED:
        buf_puts(out, "\"\"");
        break;
    case CONF_SPECIAL:
    case CONF_SPECIAL_LIST:
        break;
    }
}

void conf_option_print(struct buf *out, const char *indent, const struct conf_option *option,
                       const void *target)
{
    if (option->kind == CONF_SPECIAL || option->kind == CONF_SPECIAL_LIST)
        return;
    buf_printf(out, "%s%s = ", indent, option->name);
    print_value(out, option, (const char *)target + option->offset);
    buf_putc(out, '\n');
}
