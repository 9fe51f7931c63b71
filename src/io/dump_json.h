/*
 * dump_json: JSON for people: indented, every member where it was and every number as it was written.
 */
#ifndef CLAVIGER_IO_DUMP_JSON_H
#define CLAVIGER_IO_DUMP_JSON_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Appends the text indented by 2 spaces a level, with a line end behind it. False, and nothing appended, when
 * it is no JSON text (RFC 8259). Only this module includes <jansson.h> in the daemon. */
bool dump_json_indent(struct buf *out, const char *text, size_t len);

#endif
