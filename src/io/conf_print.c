/*
 * conf_print: the effective configuration as text (-T). Called by the program. It shows of a key no more than
 * its hint, and of a base URL neither user-info nor query.
 */
#include "io/conf.h"

#include "io/conf_tables.h"
#include "io/conf_values.h"

#include <string.h>

#define INDENT "    "

/* User-info and query may hold secrets (a base URL with the first is not valid, but would be printed no less
 * for that). */
static void print_base_url(struct buf *out, const char *text)
{
    const char *start = strstr(text, "://");
    const char *at = strrchr(text, '@');
    struct buf shown = {0};
    size_t len;

    start = start == NULL ? text : start + 3;
    buf_printf(out, INDENT "base_url = ");
    if (at != NULL && at >= start) {
        buf_append(&shown, text, (size_t)(start - text));
        buf_puts(&shown, "...");
        start = at;
    } else {
        start = text;
    }
    len = strcspn(start, "?");
    buf_append(&shown, start, len);
    if (start[len] != '\0')
        buf_puts(&shown, "?...");
    conf_string_print(out, shown.data == NULL ? "" : shown.data);
    out->failed = out->failed || shown.failed;
    buf_putc(out, '\n');
    buf_fini(&shown);
}

/* A comment: a hint cannot be read back as a key. */
static void print_keys(struct buf *out, const struct provider *p)
{
    buf_printf(out, INDENT "# keys: %zu", p->key_count);
    for (size_t i = 0; i < p->key_count; i++)
        buf_printf(out, "%s\"%s\"", i == 0 ? ": " : ", ", p->keys[i].hint);
    buf_putc(out, '\n');
}

static void print_provider(struct buf *out, const struct provider *p)
{
    buf_printf(out, "\nprovider %s {\n", p->name);
    for (const struct conf_option *o = conf_provider_options; o->name != NULL; o++) {
        bool custom = strcmp(o->name, "auth_header") == 0 || strcmp(o->name, "auth_prefix") == 0 ||
                      strcmp(o->name, "error_shape") == 0;

        if (strcmp(o->name, "type") == 0)
            buf_printf(out, INDENT "type = %s\n", provider_type_info(p->type)->name);
        else if (strcmp(o->name, "keys") == 0)
            print_keys(out, p);
        else if (strcmp(o->name, "base_url") == 0)
            print_base_url(out, p->base_url_text);
        else if (!custom || p->type == PROVIDER_CUSTOM)
            conf_option_print(out, INDENT, o, p);
    }
    buf_puts(out, "}\n");
}

void conf_print(const struct conf *conf, struct buf *out)
{
    buf_puts(out, "# The configuration in effect, every default included. Of keys only hints are shown.\n");
    for (const struct conf_option *o = conf_main_options; o->name != NULL; o++)
        conf_option_print(out, "", o, conf);
    for (size_t i = 0; i < conf->providers.count; i++)
        print_provider(out, &conf->providers.items[i]);
    for (const struct conf_section *s = conf_sections; s->name != NULL; s++) {
        buf_printf(out, "\n%s {\n", s->name);
        for (const struct conf_option *o = s->options; o->name != NULL; o++)
            conf_option_print(out, INDENT, o, conf);
        buf_puts(out, "}\n");
    }
}
