/*
 * clavigerctl_table: owns aligned columns. Called by clavigerctl for what people read.
 */
#include "clavigerctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAP 2 /* spaces between two columns */

void table_init(struct table *table, const struct table_column *columns, size_t column_count)
{
    memset(table, 0, sizeof(*table));
    table->columns = columns;
    table->column_count = column_count;
}

void table_fini(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i]);
    free(table->cells);
    memset(table, 0, sizeof(*table));
}

static char *format(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

static char *format(const char *fmt, va_list ap)
{
    struct buf text = {0};
    buf_vprintf(&text, fmt, ap);
    if (!text.failed && text.len == 0)
        buf_putc(&text, '-');
    return buf_take(&text);
}

void table_cell(struct table *table, const char *fmt, ...)
{
    if (table->cell_count == table->cell_cap) {
        size_t cap = table->cell_cap ? table->cell_cap * 2 : 64;
        char **cells = realloc(table->cells, cap * sizeof(*cells));
        if (!cells) {
            table->failed = true;
            return;
        }
        table->cells = cells;
        table->cell_cap = cap;
    }
    va_list ap;
    va_start(ap, fmt);
    char *text = format(fmt, ap);
    va_end(ap);
    if (text)
        table->cells[table->cell_count++] = text;
    else
        table->failed = true;
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t width = strlen(table->columns[column].title);
    for (size_t i = column; i < table->cell_count; i += table->column_count) {
        size_t len = strlen(table->cells[i]);
        if (len > width)
            width = len;
    }
    return width;
}

static void put_spaces(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_putc(out, ' ');
}

static void put_cell(const struct table *table, size_t column, const char *text, struct buf *out)
{
    size_t pad = column_width(table, column) - strlen(text);
    bool last = column + 1 == table->column_count;
    if (table->columns[column].right)
        put_spaces(out, pad);
    buf_puts(out, text);
    if (!table->columns[column].right && !last)
        put_spaces(out, pad);
    if (last)
        buf_putc(out, '\n');
    else
        put_spaces(out, GAP);
}

void table_print(const struct table *table, const char *indent, struct buf *out)
{
    if (table->failed) {
        out->failed = true;
        return;
    }
    if (table->cell_count == 0)
        return;
    buf_puts(out, indent);
    for (size_t i = 0; i < table->column_count; i++)
        put_cell(table, i, table->columns[i].title, out);
    for (size_t i = 0; i < table->cell_count; i++) {
        if (i % table->column_count == 0)
            buf_puts(out, indent);
        put_cell(table, i % table->column_count, table->cells[i], out);
    }
}
