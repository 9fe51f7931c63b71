/*
 * conf_text: the text of a configuration file, made fit for libconfuse.
 *
 * libconfuse 3.3 counts lines wrongly after comments, refuses comments inside lists, takes the end of the
 * file for the end of a section, gives a list's items no line, lets an option be given twice, drops
 * characters that it does not know, quotes what it stumbles over (a key, maybe) in its messages, and leaves
 * copies of the text in freed memory. So it gets a skeleton instead: the file's own lines, without comments,
 * with a number in place of each value. The values stay here, each with its line, until they are wiped.
 *
 * The syntax, as claviger.conf(5) tells it: NAME = VALUE, NAME = { VALUE, ... }, NAME { ... }, NAME TITLE {
 * ... }; comments `# ...`, `// ...` (at the begin of a word only: https://host is a value), and C's; "..."
 * with \" and \\,
 * '...' with \' and \\, or words without quotes.
 */
#ifndef CLAVIGER_IO_CONF_TEXT_H
#define CLAVIGER_IO_CONF_TEXT_H

#include "base/buf.h"
#include "io/conf_errors.h"

#include <stdbool.h>
#include <stddef.h>

#define CONF_NAME_MAX 64 /* characters of an option's name or a section's title */

struct conf_value {
    char *text; /* owned, wiped; NULL = not a value but the brace that opens a list */
    unsigned line;
};

/* An option or section of the file. */
struct conf_name {
    unsigned section; /* which section it stands in, 0 = none */
    unsigned line;
    char name[CONF_NAME_MAX + 1];
    char title[CONF_NAME_MAX + 1]; /* "" = none */
};

struct conf_text {
    struct conf_value *values; /* owned; the skeleton's numbers are indices */
    size_t value_count;
    size_t value_cap;
    struct conf_name *names; /* owned */
    size_t name_count;
    size_t name_cap;
    struct buf skeleton; /* no value and no key is in it */
};

/* Fills a zeroed *text. What is wrong goes to errors; false when the skeleton is of no use (a syntax error,
 * out of memory). conf_text_fini() is due in any case. */
bool conf_text_scan(struct conf_text *text, const char *data, size_t len, struct conf_errors *errors);

/* Wipes the values and frees everything. */
void conf_text_fini(struct conf_text *text);

/* The value of an option that stands in no section, borrowed; NULL when there is none. Works as far as a file
 * could be scanned that has errors. */
const char *conf_text_top_value(const struct conf_text *text, const char *name);

/* The line at which a section of the file begins; 0 when there is none. */
unsigned conf_text_section_line(const struct conf_text *text, const char *name, const char *title);

#endif
