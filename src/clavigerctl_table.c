/*
 * clavigerctl_table: owns aligned columns. Called by clavigerctl for what people read.
 */
#include "clavigerctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GAP          2 /* spaces between two columns */
#define COLUMNS_MOST 16
#define CUT_LEAST    9 /* a shortened text keeps so much: "abc...xyz" */

void table_init(struct table *table, const struct table_column *columns, size_t column_count)
{
    memset(table, 0, sizeof(*table));
    table->columns = columns;
    table->column_count = column_count;
    table->name_count = 1;
}

void table_fini(struct table *table)
{
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i].text);
    free(table->cells);
    memset(table, 0, sizeof(*table));
}

enum table_style table_style_of_state(const char *state)
{
    if (strcmp(state, "permanent") == 0)
        return TABLE_BAD;
    return strcmp(state, "temporary") == 0 ? TABLE_WARNING : TABLE_GOOD;
}

static char *format(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* What comes from the database may hold anything, also what would steer a terminal. */
static char *format(const char *fmt, va_list ap)
{
    struct buf raw = {0};
    struct buf text = {0};
    buf_vprintf(&raw, fmt, ap);
    if (raw.failed || raw.len == 0)
        buf_puts(&text, "-");
    else
        buf_escape(&text, raw.data, raw.len, "");
    text.failed |= raw.failed;
    buf_fini(&raw);
    char *taken = buf_take(&text);
    buf_fini(&text);
    return taken;
}

void table_cell(struct table *table, enum table_style style, const char *fmt, ...)
{
    if (table->cell_count == table->cell_cap) {
        size_t cap = table->cell_cap ? table->cell_cap * 2 : 64;
        struct table_cell *cells = realloc(table->cells, cap * sizeof(*cells));
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
        table->cells[table->cell_count++] = (struct table_cell){.text = text, .style = style};
    else
        table->failed = true;
}

/* How the table is laid out: a column's width, 0 = it is left out. */
struct layout {
    size_t widths[COLUMNS_MOST];
    bool colours;
};

static size_t columns_of(const struct table_cell *cell)
{
    return text_columns(cell->text, strlen(cell->text));
}

static size_t widest(const struct table *table, size_t column)
{
    size_t width = strlen(table->columns[column].title); /* ASCII */
    for (size_t i = column; i < table->cell_count; i += table->column_count) {
        size_t len = columns_of(&table->cells[i]);
        if (len > width)
            width = len;
    }
    return width;
}

static size_t total(const struct table *table, const struct layout *layout)
{
    size_t sum = 0;
    for (size_t i = 0; i < table->column_count; i++)
        sum += layout->widths[i] > 0 ? layout->widths[i] + (sum > 0 ? GAP : 0) : 0;
    return sum;
}

/* Of the columns that are still there the one to go: the last of the highest rank; -1 = all must stay. */
static int find_least(const struct table *table, const struct layout *layout)
{
    int least = -1;
    unsigned rank = 1;
    for (size_t i = 0; i < table->column_count; i++) {
        if (layout->widths[i] > 0 && table->columns[i].rank >= rank) {
            least = (int)i;
            rank = table->columns[i].rank;
        }
    }
    return least;
}

/* Takes from the column what is too much in all, as far as it goes. */
static void shorten(const struct table *table, struct layout *layout, size_t column, unsigned width)
{
    size_t title = strlen(table->columns[column].title);
    size_t floor = title > CUT_LEAST ? title : CUT_LEAST;
    size_t needed = total(table, layout);
    size_t excess = needed > width ? needed - width : 0;
    if (layout->widths[column] > floor + excess)
        layout->widths[column] -= excess;
    else if (layout->widths[column] > floor)
        layout->widths[column] = floor;
}

static void lay_out(const struct table *table, unsigned width, struct layout *layout)
{
    int least;
    for (size_t i = 0; i < table->column_count; i++)
        layout->widths[i] = widest(table, i);
    while (width > 0 && total(table, layout) > width && (least = find_least(table, layout)) >= 0)
        layout->widths[least] = 0;
    for (size_t i = table->name_count; width > 0 && i-- > 0;)
        shorten(table, layout, i, width);
}

static void put_spaces(struct buf *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_putc(out, ' ');
}

/* The text, in `width` columns: names that differ at their end only stay different. */
static void put_cut(struct buf *out, const char *text, size_t len, size_t width)
{
    size_t columns = text_columns(text, len);
    if (columns <= width) {
        buf_append(out, text, len);
        return;
    }
    size_t tail = (width - 3) / 2;
    const char *end = text + len;
    text_cut(out, text, len, width - 3 - tail);
    buf_puts(out, "...");
    while (text_columns(end, len - (size_t)(end - text)) < tail)
        end--;
    buf_puts(out, end);
}

static void put_text(const struct layout *layout, const struct table_cell *cell, size_t width,
                     struct buf *out)
{
    static const char *const COLOURS[] = {[TABLE_PLAIN] = "",
                                          [TABLE_GOOD] = "\033[32m",
                                          [TABLE_WARNING] = "\033[33m",
                                          [TABLE_BAD] = "\033[31m"};
    bool coloured = layout->colours && cell->style != TABLE_PLAIN;
    if (coloured)
        buf_puts(out, COLOURS[cell->style]);
    put_cut(out, cell->text, strlen(cell->text), width);
    if (coloured)
        buf_puts(out, "\033[0m");
}

/* One line; `cells` are those of a row. */
static void put_row(const struct table *table, const struct layout *layout, const struct table_cell *cells,
                    struct buf *out)
{
    size_t pending = 0; /* spaces that are only wanted before something else */
    for (size_t i = 0; i < table->column_count; i++) {
        size_t width = layout->widths[i];
        size_t len = columns_of(&cells[i]);
        if (width == 0)
            continue;
        if (len == 0) {
            pending += width + GAP;
            continue;
        }
        size_t pad = len < width ? width - len : 0;
        put_spaces(out, pending + (table->columns[i].right ? pad : 0));
        put_text(layout, &cells[i], width, out);
        pending = GAP + (table->columns[i].right ? 0 : pad);
    }
    buf_putc(out, '\n');
}

void table_print(const struct table *table, unsigned width, bool colours, struct buf *out)
{
    struct layout layout = {.colours = colours};
    struct table_cell titles[COLUMNS_MOST];
    if (table->failed || table->column_count > COLUMNS_MOST) {
        out->failed = true;
        return;
    }
    if (table->cell_count == 0)
        return;
    lay_out(table, width, &layout);
    for (size_t i = 0; i < table->column_count; i++)
        titles[i] = (struct table_cell){.text = (char *)(uintptr_t)table->columns[i].title};
    put_row(table, &layout, titles, out);
    for (size_t i = 0; i + table->column_count <= table->cell_count; i += table->column_count)
        put_row(table, &layout, &table->cells[i], out);
}
