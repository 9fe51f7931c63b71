/*
 * conf_values: what a value of the configuration may look like, and back to text. Pure: nothing is read but
 * the text.
 */
#ifndef CLAVIGER_IO_CONF_VALUES_H
#define CLAVIGER_IO_CONF_VALUES_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

/* Each returns 0, or -1 and *reason is a static text that says what the value is not and how to write it. */

/* A whole number with ms, s, m, h or d; 0 needs no unit. Milliseconds. */
int conf_duration_parse(const char *text, int64_t *ms, const char **reason);

/* A whole number, alone or with K, M or G (powers of 1024). Bytes. */
int conf_size_parse(const char *text, int64_t *bytes, const char **reason);

/* A whole number. */
int conf_number_parse(const char *text, int64_t *number, const char **reason);

/* true, yes, on; false, no, off; in upper or lower case. */
int conf_bool_parse(const char *text, bool *value, const char **reason);

/* The shortest text that parses to the same. */
void conf_duration_print(struct buf *out, int64_t ms);
void conf_size_print(struct buf *out, int64_t bytes);

/* In double quotes, as the file wants it. */
void conf_string_print(struct buf *out, const char *text);

#endif
