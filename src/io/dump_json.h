/*
 * dump_json: JSON for people: indented, every member where it was and every number as it was written.
 */
#ifndef CLAVIGER_IO_DUMP_JSON_H
#define CLAVIGER_IO_DUMP_JSON_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Appends the text indented by 2 spaces a level, with a line end behind it. False, and nothing appended, when
 * it is no JSON text (RFC 8259), is nested deeper than 1024 levels, or would become many times longer. */
bool dump_json_indent(struct buf *out, const char *text, size_t len);

#endif
