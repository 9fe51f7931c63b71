/*
 * conf_provider: fills struct provider from a section or from the built-in defaults, and checks what its
 * options mean together. Called by conf. An invalid base URL is not its business: the relay answers 502 for
 * that provider.
 */
#include "io/conf_provider.h"

#include "core/route.h"
#include "io/conf_tables.h"
#include "io/keyfile.h"
#include "io/keyfile_env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* One section on its way. */
struct draft {
    struct conf_load *load;
    struct cfg_t *section;
    unsigned line; /* of the section */
    const struct provider_type_info *info;
    struct provider *p;
};

/* The line of the option, or of the section when the file does not give it. */
static unsigned line_of(const struct draft *d, const char *name)
{
    unsigned line = conf_option_line(d->load, d->section, name);

    return line > 0 ? line : d->line;
}

static void add_keys(struct draft *d)
{
    const struct conf_value *value;
    struct key_array keys = {0};
    struct buf reason = {0};

    if (!d->info->pooled) {
        if (conf_option_value(d->load, d->section, "keys", 0) != NULL)
            conf_error(&d->load->errors, line_of(d, "keys"),
                       "a provider of type %s has no keys, its clients bring their own: remove keys",
                       d->info->name);
        return;
    }
    if (d->load->keyless)
        return;
    for (size_t i = 0; (value = conf_option_value(d->load, d->section, "keys", i)) != NULL; i++) {
        buf_clear(&reason);
        if (keyfile_add(&keys, value->text, &reason) < 0)
            conf_error(&d->load->errors, value->line, "keys: %s", reason.failed ? "no memory" : reason.data);
    }
    buf_fini(&reason);
    d->p->keys = keys.items;
    d->p->key_count = keys.count;
}

/* The first variable that is set counts. */
static void add_environment_keys(struct draft *d)
{
    struct key_array keys = {0};
    struct buf entry = {0};
    struct buf reason = {0};

    if (d->load->keyless)
        return;
    for (const char *const *env = d->info->env; env != NULL && *env != NULL; env++) {
        const char *value = keyfile_env_get(*env);

        if (value == NULL || *value == '\0')
            continue;
        buf_printf(&entry, "env:%s", *env);
        if (entry.failed || keyfile_add(&keys, entry.data, &reason) < 0)
            conf_error(&d->load->errors, 0, "provider %s: %s", d->p->name,
                       entry.failed || reason.failed ? "no memory" : reason.data);
        break;
    }
    buf_fini(&entry);
    buf_fini(&reason);
    d->p->keys = keys.items;
    d->p->key_count = keys.count;
}

static void check_route(struct draft *d)
{
    char *route = d->p->route;
    size_t len = strlen(route);
    const char *reason = NULL;

    if (len > 1 && route[len - 1] == '/')
        route[--len] = '\0';
    if (route[0] != '/')
        reason = "does not begin with \"/\"";
    else if (strpbrk(route, "?#") != NULL)
        reason = "has a query or a fragment";
    else if (strstr(route, "//") != NULL || (len > 1 && route[len - 1] == '/'))
        reason = "has an empty segment";
    for (size_t i = 0; reason == NULL && i < len; i++) {
        if (route[i] < 0x21 || route[i] > 0x7e)
            reason = "has white space, or a character that is not printable ASCII";
    }
    if (reason == NULL && !route_target_is_safe(route, &reason))
        reason = "has a dot segment or an encoded control byte";
    if (reason != NULL)
        conf_error(&d->load->errors, line_of(d, "route"),
                   "the route of provider %s %s: write a plain path, as in \"/%s\"", d->p->name, reason,
                   d->p->name);
}

static void check_base_url(struct draft *d)
{
    const struct base_url *url = &d->p->base_url;

    if (d->p->base_url_text == NULL) {
        conf_error(&d->load->errors, d->line, "provider %s of type %s has no base_url: add one", d->p->name,
                   d->info->name);
        return;
    }
    if (base_url_parse(d->p->base_url_text, &d->p->base_url) < 0) {
        conf_error_memory(&d->load->errors);
        return;
    }
    if (url->valid && !url->https && !url->loopback && !d->p->insecure_http)
        conf_error(
            &d->load->errors, line_of(d, "base_url"),
            "the base_url of provider %s is plain http to another host, which shows keys to everyone on "
            "the way: write https, or add insecure_http = true",
            d->p->name);
}

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            return false;
    }
    return true;
}

/* Fields that mean something to the proxy itself: what it sets, reads or drops. */
static bool is_taken(const char *header)
{
    static const char *const names[] = {
        "Host",      "Content-Length",   "Expect",          "User-Agent", "Accept-Encoding",
        "Forwarded", "X-Claviger-Token", "X_Claviger_Token"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcasecmp(header, names[i]) == 0)
            return true;
    }
    return header_is_hop_by_hop(header) || strncasecmp(header, "X-Forwarded-", strlen("X-Forwarded-")) == 0;
}

static void check_custom(struct draft *d)
{
    static const char *const names[] = {"auth_header", "auth_prefix", "error_shape"};
    const char *header = d->p->auth_header;

    for (size_t i = 0; d->info->type != PROVIDER_CUSTOM && i < sizeof(names) / sizeof(names[0]); i++) {
        unsigned line = conf_option_line(d->load, d->section, names[i]);

        if (line > 0)
            conf_error(&d->load->errors, line,
                       "%s is for providers of type custom only, this one is of type %s: remove it", names[i],
                       d->info->name);
    }
    if (!header_name_is_token(header, strlen(header)))
        conf_error(&d->load->errors, line_of(d, "auth_header"),
                   "auth_header is no name of a header field: write one, as in \"X-Api-Key\"");
    else if (is_taken(header))
        conf_error(&d->load->errors, line_of(d, "auth_header"),
                   "auth_header names a field that cannot carry a key: write another, as in \"X-Api-Key\"");
    if (!is_printable(d->p->auth_prefix))
        conf_error(&d->load->errors, line_of(d, "auth_prefix"),
                   "auth_prefix has a character that is not printable ASCII: remove it");
}

static void check_ca_file(struct draft *d)
{
    const char *path = d->p->ca_file;
    const char *reason = NULL;
    struct stat st = {0};
    int fd;

    if (path[0] == '\0')
        return;
    if (path[0] != '/') {
        conf_error(&d->load->errors, line_of(d, "ca_file"),
                   "ca_file is no absolute path: begin it with \"/\"");
        return;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0)
        reason = strerror(errno);
    if (reason != NULL)
        conf_error(&d->load->errors, line_of(d, "ca_file"),
                   "ca_file %s cannot be read (%s): correct the path or its permissions", path, reason);
    else if (!S_ISREG(st.st_mode))
        conf_error(&d->load->errors, line_of(d, "ca_file"),
                   "ca_file %s is no regular file: name one in PEM format", path);
    if (fd >= 0)
        close(fd);
}

static void check_pool(struct draft *d)
{
    const struct provider *p = d->p;

    if (p->max_cooldown_ms < p->default_cooldown_ms) {
        unsigned line = conf_option_line(d->load, d->section, "max_cooldown");

        conf_error(
            &d->load->errors, line > 0 ? line : line_of(d, "default_cooldown"),
            "max_cooldown of provider %s is shorter than default_cooldown: raise it, or lower the other",
            p->name);
    }
    if (p->byok)
        return;
    if (!d->info->pooled)
        conf_error(
            &d->load->errors, line_of(d, "byok"),
            "byok = false leaves a provider of type %s, which has no keys, nothing to serve: remove it",
            d->info->name);
    else if (conf_option_value(d->load, d->section, "keys", 0) == NULL)
        conf_error(&d->load->errors, line_of(d, "byok"),
                   "byok = false without keys leaves provider %s nothing to serve: add keys, or remove it",
                   p->name);
}

static void check_unique(struct draft *d, const struct provider_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->items[i].route, d->p->route) == 0)
            conf_error(&d->load->errors, line_of(d, "route"),
                       "providers %s and %s have the same route %s: change one", list->items[i].name,
                       d->p->name, d->p->route);
    }
}

/* The type's row, or NULL after an error. */
static const struct provider_type_info *find_type(struct draft *d, const char *name)
{
    const struct conf_value *value = conf_option_value(d->load, d->section, "type", 0);
    const struct provider_type_info *info = provider_type_find(value == NULL ? name : value->text);
    struct buf names = {0};

    if (info != NULL)
        return info;
    for (enum provider_type t = PROVIDER_ANTHROPIC; (info = provider_type_info(t)) != NULL; t++)
        buf_printf(&names, "%s%s", names.len == 0 ? "" : ", ", info->name);
    conf_error(&d->load->errors, line_of(d, "type"), "provider %s has %s type: add one of %s", name,
               value == NULL ? "no" : "an unknown", names.failed ? "the known ones" : names.data);
    buf_fini(&names);
    return NULL;
}

/* Options, and what the type says where the file is silent. False when out of memory. */
static bool fill(struct draft *d, const char *name)
{
    struct provider *p = d->p;
    struct conf_load *load = d->load;
    size_t before = load->errors.count;

    p->type = d->info->type;
    p->error_shape = d->info->error_shape;
    conf_option_set_text(load, &p->name, name);
    conf_option_set_text(load, &p->auth_header, d->info->auth_header);
    conf_option_set_text(load, &p->auth_prefix, d->info->auth_prefix);
    if (d->info->base_url != NULL)
        conf_option_set_text(load, &p->base_url_text, d->info->base_url);
    if (asprintf(&p->route, "/%s", name) < 0) {
        p->route = NULL;
        conf_error_memory(&load->errors);
    }
    conf_option_defaults(load, conf_provider_options, p);
    if (load->errors.count > before)
        return false;
    conf_option_apply(load, d->section, conf_provider_options, p);
    return true;
}

static void provider_fini(struct provider *p)
{
    struct key_array keys = {.items = p->keys, .count = p->key_count};

    key_array_fini(&keys);
    base_url_fini(&p->base_url);
    free(p->name);
    free(p->route);
    free(p->base_url_text);
    free(p->auth_header);
    free(p->auth_prefix);
    free(p->ca_file);
}

/* The new last element, zeroed; NULL after an error. */
static struct provider *append(struct conf_load *load, struct provider_list *list)
{
    struct provider *items = reallocarray(list->items, list->count + 1, sizeof(*items));

    if (items == NULL) {
        conf_error_memory(&load->errors);
        return NULL;
    }
    list->items = items;
    items[list->count] = (struct provider){0};
    return &items[list->count];
}

void conf_provider_load(struct conf_load *load, struct cfg_t *section, const char *name, unsigned line,
                        struct provider_list *list)
{
    struct draft d = {.load = load, .section = section, .line = line};
    bool filled;

    d.info = find_type(&d, name);
    if (d.info == NULL)
        return;
    d.p = append(load, list);
    if (d.p == NULL)
        return;
    filled = fill(&d, name);
    if (filled) {
        check_route(&d);
        check_unique(&d, list);
        check_base_url(&d);
        check_custom(&d);
        check_ca_file(&d);
        if (section == NULL)
            add_environment_keys(&d);
        else
            add_keys(&d);
        check_pool(&d);
    }
    if (filled)
        list->count++;
    else
        provider_fini(d.p);
}

void conf_provider_load_builtin(struct conf_load *load, struct provider_list *list)
{
    static const enum provider_type types[] = {PROVIDER_ANTHROPIC, PROVIDER_OPENAI, PROVIDER_COPILOT};

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        conf_provider_load(load, NULL, provider_type_info(types[i])->name, 0, list);
}

void conf_providers_fini(struct provider_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        provider_fini(&list->items[i]);
    free(list->items);
    *list = (struct provider_list){0};
}
