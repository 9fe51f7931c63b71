/*
 * conf_option: options by table: a row says an option's name, type, default, range and where its value goes;
 * the same rows read the file, fill in defaults and print.
 */
#ifndef CLAVIGER_IO_CONF_OPTION_H
#define CLAVIGER_IO_CONF_OPTION_H

#include "io/conf.h"
#include "io/conf_errors.h"
#include "io/conf_text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum conf_kind {
    CONF_DURATION,     /* int64_t, ms */
    CONF_SIZE,         /* int64_t, bytes */
    CONF_NUMBER,       /* int64_t */
    CONF_UNSIGNED,     /* unsigned */
    CONF_BOOL,         /* bool */
    CONF_WORD,         /* an enum */
    CONF_TEXT,         /* char * */
    CONF_PATH,         /* char *, an absolute path */
    CONF_LISTENS,      /* struct conf_listens */
    CONF_SPECIAL,      /* one value, read and printed by conf_provider and conf_print */
    CONF_SPECIAL_LIST, /* the same, a list */
    CONF_UNSUPPORTED,  /* only the empty value is taken */
};

/* A word and what it stands for; a NULL name ends an array of them. */
struct conf_word {
    const char *name;
    unsigned value;
};

/* A NULL name ends an array of them. */
struct conf_option {
    const char *name;
    enum conf_kind kind;
    size_t offset;        /* of the value in the section's struct */
    const char *fallback; /* the default, written as in a file; NULL = none, or not the same for all */
    int64_t min;          /* of durations, sizes and numbers */
    int64_t max;
    const struct conf_word *words;
};

/* What is passed around while one configuration is loaded. */
struct conf_load {
    struct conf_errors errors;
    struct conf_text text;
    bool keyless; /* no key is opened */
};

struct cfg_t; /* libconfuse's section; NULL stands for one that is not there */

/* Sets every option of the section that has a fallback. `target` is the section's struct. */
void conf_option_defaults(struct conf_load *load, const struct conf_option *options, void *target);

/* Sets what the file gives. */
void conf_option_apply(struct conf_load *load, struct cfg_t *section, const struct conf_option *options,
                       void *target);

/* Where the file gives the option; 0 when it does not. */
unsigned conf_option_line(const struct conf_load *load, struct cfg_t *section, const char *name);

/* The option's value number i, borrowed; NULL behind the last. */
const struct conf_value *conf_option_value(const struct conf_load *load, struct cfg_t *section,
                                           const char *name, size_t i);

/* Replaces *to by a copy of text. */
void conf_option_set_text(struct conf_load *load, char **to, const char *text);

/* Writes one option as a line of a file, behind `indent`. Special ones are skipped. */
void conf_option_print(struct buf *out, const char *indent, const struct conf_option *option,
                       const void *target);

#endif
