/*
 * conf_errors: what is wrong with a configuration, gathered while it is read.
 */
#ifndef CLAVIGER_IO_CONF_ERRORS_H
#define CLAVIGER_IO_CONF_ERRORS_H

#include "base/buf.h"

#include <stddef.h>

struct conf_errors {
    const char *file; /* borrowed; NULL = built-in defaults */
    struct buf *out;  /* borrowed */
    size_t count;
};

/* Adds "FILE:LINE: what and what to do\n". Line 0 stands for what has no line (a default, the file as a
 * whole) and is left out. The caller sees to it that no key is part of it. */
void conf_error(struct conf_errors *errors, unsigned line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

void conf_error_memory(struct conf_errors *errors);

#endif
