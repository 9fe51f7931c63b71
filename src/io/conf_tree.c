/*
 * conf_tree: gives libconfuse the tables and the skeleton of the file. Called by conf. What libconfuse sees
 * holds neither values nor keys, so its messages may be passed on.
 */
#include "io/conf_tree.h"

#include "io/conf.h"
#include "io/conf_tables.h"

#include <confuse.h>
#include <stdio.h>
#include <string.h>

#define OPTIONS_MAX  32
#define SECTIONS_MAX 8

/* libconfuse hands its error function nothing of ours; set while it parses. */
static struct conf_load *parsing;

/* What to do about what libconfuse says, by how its message begins. */
static const struct {
    const char *message;
    const char *advice;
} advices[] = {
    {"no such option", "correct or remove it, claviger.conf(5) lists the options"},
    {"unexpected token", "this option takes one value and no list: remove the braces"},
    {"missing title", "name it, as in \"provider anthropic { ... }\""},
    {"missing opening brace", "write NAME { ... }"},
    {"missing equal sign", "write NAME = VALUE"},
};

static void __attribute__((format(printf, 2, 0))) on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
    const char *advice = "see claviger.conf(5)";
    char message[256];

    if (vsnprintf(message, sizeof(message), fmt, ap) < 0)
        return;
    for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
        if (strncmp(message, advices[i].message, strlen(advices[i].message)) == 0)
            advice = advices[i].advice;
    }
    conf_error(&parsing->errors, (unsigned)cfg->line, "%s: %s", message, advice);
}

/* Rows of ours as rows of libconfuse: every value is a string (a number into conf_text's values), without
 * default. Returns how many; the caller adds the end. */
static size_t convert(const struct conf_option *options, cfg_opt_t *out)
{
    size_t count = 0;

    for (const struct conf_option *o = options; o->name != NULL && count < OPTIONS_MAX - 1; o++) {
        cfg_opt_t one = CFG_STR(o->name, NULL, CFGF_NODEFAULT);
        cfg_opt_t list = CFG_STR_LIST(o->name, NULL, CFGF_NODEFAULT);

        out[count++] = o->kind == CONF_LISTENS || o->kind == CONF_SPECIAL_LIST ? list : one;
    }
    return count;
}

static cfg_t *init(void)
{
    static const cfg_opt_t end = CFG_END();
    cfg_opt_t sections[SECTIONS_MAX][OPTIONS_MAX];
    cfg_opt_t providers[OPTIONS_MAX];
    cfg_opt_t root[OPTIONS_MAX + SECTIONS_MAX + 2];
    size_t count = convert(conf_main_options, root);

    for (size_t i = 0; i < SECTIONS_MAX && conf_sections[i].name != NULL; i++) {
        cfg_opt_t section = CFG_SEC(conf_sections[i].name, sections[i], CFGF_NONE);

        sections[i][convert(conf_sections[i].options, sections[i])] = end;
        root[count++] = section;
    }
    providers[convert(conf_provider_options, providers)] = end;
    cfg_opt_t provider = CFG_SEC("provider", providers, CFGF_MULTI | CFGF_TITLE);
    root[count++] = provider;
    root[count] = end;
    return cfg_init(root, CFGF_NONE);
}

struct cfg_t *conf_tree_new(struct conf_load *load)
{
    size_t before = load->errors.count;
    cfg_t *tree = init();
    int result;

    if (tree == NULL) {
        conf_error_memory(&load->errors);
        return NULL;
    }
    cfg_set_error_function(tree, on_error);
    parsing = load;
    result = cfg_parse_buf(tree, load->text.skeleton.data);
    parsing = NULL;
    if (result == CFG_SUCCESS)
        return tree;
    if (load->errors.count == before)
        conf_error_memory(&load->errors);
    conf_tree_free(&tree);
    return NULL;
}

void conf_tree_free(struct cfg_t **tree)
{
    if (*tree != NULL)
        cfg_free(*tree);
    *tree = NULL;
}

struct cfg_t *conf_tree_section(struct cfg_t *tree, const char *name)
{
    return tree == NULL ? NULL : cfg_getsec(tree, name);
}

struct cfg_t *conf_tree_provider(struct cfg_t *tree, size_t i, const char **name)
{
    cfg_t *section;

    if (tree == NULL || i >= cfg_size(tree, "provider"))
        return NULL;
    section = cfg_getnsec(tree, "provider", (unsigned)i);
    *name = cfg_title(section);
    return section;
}

const char *conf_library_version(void)
{
    static char text[64];

    (void)snprintf(text, sizeof(text), "libConfuse/%s", confuse_version);
    return text;
}
