/*
 * conf_errors: gives every error of a configuration its place. Called by all parts of conf; it never sees a
 * key.
 */
#include "io/conf_errors.h"

#include <stdarg.h>
#include <string.h>

void conf_error(struct conf_errors *errors, unsigned line, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);

    if (errors->file == NULL)
        buf_puts(errors->out, "built-in defaults");
    else
        buf_escape(errors->out, errors->file, strlen(errors->file), "");
    if (line > 0)
        buf_printf(errors->out, ":%u", line);
    buf_puts(errors->out, ": ");
    if (text.failed)
        buf_puts(errors->out, "out of memory");
    else
        buf_escape(errors->out, text.data, text.len, "");
    buf_putc(errors->out, '\n');
    errors->count++;
    buf_fini(&text);
}

void conf_error_memory(struct conf_errors *errors)
{
    conf_error(errors, 0, "out of memory: free some and try again");
}
