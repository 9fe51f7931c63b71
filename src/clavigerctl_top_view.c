/*
 * clavigerctl_top_view: writes what `clavigerctl top` shows. Pure: what there is and the size of the window
 * come in, a text goes out.
 */
#include "clavigerctl_top.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* From so many rows on, blank ones between the sections are worth it. */
#define ROWS_WITH_BLANKS 20

/* What the columns beside a picture take, more or less. */
#define BESIDE_TRAFFIC 52
#define BESIDE_MARKS   54

/* What is to be written: the view, the room, and the sections' rows that were given. */
struct writing {
    const struct top_view *view;
    struct terminal_size size;
    struct pool_counts pools;
    size_t given[TOP_SECTIONS];
    struct buf *out;
};

static void number_cell(struct table *table, bool known, int64_t number, const char *unit)
{
    if (known)
        table_cell(table, TABLE_PLAIN, "%" PRId64 "%s", number, unit);
    else
        table_cell(table, TABLE_PLAIN, "-");
}

/* Without a window's width: as wide as it is good. */
static unsigned picture_width(const struct writing *w, size_t beside)
{
    size_t columns = w->size.columns;
    if (columns == 0)
        return HISTORY_MINUTES;
    return columns > beside ? top_picture_width(columns - beside) : 0;
}

static void print(const struct writing *w, struct table *table)
{
    table_print(table, w->size.columns, w->view->colours, w->out);
    table_fini(table);
}

/* Where a list is cut: how many of its `count` items are shown in the rows that it has, title and the line
 * about the rest included. */
static size_t shown_of(size_t count, size_t rows)
{
    if (rows > count)
        return count;
    return rows > 2 ? rows - 2 : 0;
}

/* ---- the daemon */

/* What is most wanted stands first: in a narrow window the rest is cut off. */
static void put_first_line(const struct writing *w)
{
    const struct top_answer *answer = w->view->answer;
    bool fine = strcmp(answer->database, "ok") == 0;
    bool coloured = w->view->colours && !fine;
    buf_printf(w->out, "clavigerd %s is %s, database %s%s", answer->version, answer->phase,
               coloured ? "\033[31m" : "", answer->database);
    if (!fine)
        buf_printf(w->out, " since %s", answer->database_since);
    buf_printf(w->out, "%s, pid %" PRId64 ", generation %" PRId64 ", up ", coloured ? "\033[0m" : "",
               answer->pid, answer->generation);
    text_duration(w->out, answer->uptime_s);
    buf_putc(w->out, '\n');
}

static void put_daemon(const struct writing *w)
{
    const struct top_answer *answer = w->view->answer;
    uint64_t connections = 0;
    if (!answer) {
        buf_printf(w->out, "%s\n", w->view->daemon_error);
        return;
    }
    put_first_line(w);
    if (w->given[TOP_DAEMON] < 2)
        return;
    for (size_t i = 0; i < answer->worker_count; i++)
        connections += answer->workers[i].connections;
    buf_printf(w->out,
               "in flight %" PRIu64 ", streams %" PRIu64 ", connections %" PRIu64 "; tokens per minute ",
               answer->in_flight, answer->streams, connections);
    if (w->view->rates.known)
        buf_printf(w->out, "%.0f in, %.0f out\n", w->view->rates.tokens_in, w->view->rates.tokens_out);
    else
        buf_puts(w->out, "-\n");
}

/* ---- traffic */

static uint64_t sum(const uint64_t minutes[HISTORY_MINUTES])
{
    uint64_t total = 0;
    for (size_t i = 0; i < HISTORY_MINUTES; i++)
        total += minutes[i];
    return total;
}

/* The last column, which is not there without a width. */
static void picture_cell(struct table *table, const struct writing *w, const uint64_t *values,
                         const uint64_t *by, unsigned width)
{
    struct buf picture = {0};
    if (width == 0)
        return;
    top_picture(&picture, values, by, width, w->view->unicode);
    table_cell(table, TABLE_PLAIN, "%s", picture.data ? picture.data : "");
    table->failed |= picture.failed;
    buf_fini(&picture);
}

static void put_rate(struct table *table, const struct writing *w, const char *name, double rate,
                     const uint64_t *minutes, enum table_style style, unsigned width)
{
    uint64_t total = sum(minutes);
    table_cell(table, TABLE_PLAIN, "%s", name);
    if (w->view->rates.known)
        table_cell(table, rate > 0 ? style : TABLE_PLAIN, rate < 100 ? "%.1f/s" : "%.0f/s", rate);
    else
        table_cell(table, TABLE_PLAIN, "-");
    table_cell(table, total > 0 ? style : TABLE_PLAIN, "%" PRIu64, total);
    picture_cell(table, w, minutes, NULL, width);
}

static void put_time(struct buf *out, double ms)
{
    if (ms < 1000)
        buf_printf(out, "%.0f ms", ms);
    else
        buf_printf(out, ms < 10000 ? "%.1f s" : "%.0f s", ms / 1000);
}

static void put_latency(struct table *table, const struct writing *w, unsigned width)
{
    const struct top_rates *rates = &w->view->rates;
    const struct top_hour *hour = &w->view->answer->hour;
    uint64_t requests = sum(hour->requests);
    struct buf now = {0};
    struct buf mean = {0};
    if (rates->known && rates->timed) {
        buf_puts(&now, "p50 ");
        put_time(&now, rates->p50_ms);
        buf_puts(&now, ", p95 ");
        put_time(&now, rates->p95_ms);
    }
    if (requests > 0) {
        buf_puts(&mean, "mean ");
        put_time(&mean, (double)sum(hour->duration_ms) / (double)requests);
    }
    table_cell(table, TABLE_PLAIN, "duration");
    table_cell(table, TABLE_PLAIN, "%s", now.data ? now.data : "");
    table_cell(table, TABLE_PLAIN, "%s", mean.data ? mean.data : "");
    picture_cell(table, w, hour->duration_ms, hour->requests, width);
    table->failed |= now.failed || mean.failed;
    buf_fini(&now);
    buf_fini(&mean);
}

/* The title and a row each. */
#define TRAFFIC_ROWS 5

static void put_traffic(const struct writing *w)
{
    static const struct table_column COLUMNS[] = {{"traffic", false, 0},
                                                  {"now", true, 0},
                                                  {"last hour", true, 1},
                                                  {"", false, 2}};
    const struct top_hour *hour = &w->view->answer->hour;
    const struct top_rates *rates = &w->view->rates;
    unsigned width = picture_width(w, BESIDE_TRAFFIC);
    struct table table;
    table_init(&table, COLUMNS, COUNT(COLUMNS) - (width == 0));
    put_rate(&table, w, "requests", rates->requests, hour->requests, TABLE_PLAIN, width);
    put_rate(&table, w, "failovers", rates->failovers, hour->failovers, TABLE_WARNING, width);
    put_rate(&table, w, "errors", rates->errors, hour->errors, TABLE_BAD, width);
    put_latency(&table, w, width);
    print(w, &table);
}

/* ---- pools */

static const uint64_t *marks_of(const struct top_view *view, const char *provider)
{
    const struct top_hour *hour = view->answer ? &view->answer->hour : NULL;
    for (size_t i = 0; hour && i < hour->marks_count; i++) {
        if (strcmp(hour->marks[i].provider, provider) == 0)
            return hour->marks[i].minutes;
    }
    return NULL;
}

static void pool_row(struct table *table, const struct writing *w, const struct pool_count *pool,
                     unsigned width)
{
    const uint64_t *marks = marks_of(w->view, pool->provider);
    size_t keys = pool->valid + pool->temporary + pool->permanent;
    table_cell(table, TABLE_PLAIN, "%s", pool->provider);
    table_cell(table, keys > 0 && pool->valid == 0 ? TABLE_BAD : TABLE_PLAIN, "%zu", pool->valid);
    table_cell(table, pool->temporary > 0 ? TABLE_WARNING : TABLE_PLAIN, "%zu", pool->temporary);
    table_cell(table, pool->permanent > 0 ? TABLE_BAD : TABLE_PLAIN, "%zu", pool->permanent);
    number_cell(table, marks != NULL, marks ? (int64_t)sum(marks) : 0, "");
    if (marks)
        picture_cell(table, w, marks, NULL, width);
    else if (width > 0)
        table_cell(table, TABLE_PLAIN, " ");
}

static bool has_marks(const struct pool_count *pool)
{
    return pool->temporary + pool->permanent > 0;
}

static void put_pools(const struct writing *w)
{
    static const struct table_column COLUMNS[] = {{"pool", false, 0},     {"valid", true, 0},
                                                  {"temporary", true, 0}, {"permanent", true, 0},
                                                  {"marks", true, 1},     {"", false, 2}};
    size_t shown = shown_of(w->pools.count, w->given[TOP_POOLS]);
    size_t left = shown;
    unsigned width = picture_width(w, BESIDE_MARKS);
    struct table table;
    table_init(&table, COLUMNS, COUNT(COLUMNS) - (width == 0));
    for (int marked = 1; marked >= 0; marked--) {
        for (size_t i = 0; i < w->pools.count && left > 0; i++) {
            /* All in their order when there is room for all. */
            if (shown < w->pools.count ? has_marks(&w->pools.items[i]) != (marked == 1) : marked == 0)
                continue;
            pool_row(&table, w, &w->pools.items[i], width);
            left--;
        }
    }
    print(w, &table);
    if (shown < w->pools.count)
        buf_printf(w->out, "... and %zu more pools\n", w->pools.count - shown);
}

/* ---- workers */

static void worker_row(struct table *table, const struct top_worker *worker)
{
    struct buf up = {0};
    bool lives = worker->pid != 0;
    text_duration(&up, worker->uptime_s);
    table_cell(table, TABLE_PLAIN, "%" PRId64, worker->number);
    number_cell(table, lives, worker->pid, "");
    table_cell(table, strcmp(worker->phase, "ready") == 0 ? TABLE_GOOD : TABLE_WARNING, "%s", worker->phase);
    table_cell(table, TABLE_PLAIN, "%s", lives && up.data ? up.data : "");
    number_cell(table, lives, (int64_t)worker->connections, "");
    number_cell(table, lives, (int64_t)worker->in_flight, "");
    number_cell(table, lives, (int64_t)worker->requests, "");
    number_cell(table, lives, worker->lag_ms, " ms");
    table->failed |= up.failed;
    buf_fini(&up);
}

static void put_workers(const struct writing *w)
{
    static const struct table_column COLUMNS[] = {{"worker", true, 0},      {"pid", true, 0},
                                                  {"phase", false, 0},      {"up", true, 3},
                                                  {"connections", true, 2}, {"in flight", true, 0},
                                                  {"requests", true, 1},    {"lag", true, 0}};
    const struct top_answer *answer = w->view->answer;
    size_t shown = shown_of(answer->worker_count, w->given[TOP_WORKERS]);
    struct table table;
    table_init(&table, COLUMNS, COUNT(COLUMNS));
    for (size_t i = 0; i < shown; i++)
        worker_row(&table, &answer->workers[i]);
    print(w, &table);
    if (shown < answer->worker_count)
        buf_printf(w->out, "... and %zu more workers\n", answer->worker_count - shown);
}

/* ---- keys */

static bool is_marked(const struct store_row *row)
{
    return strcmp(row->state, "valid") != 0;
}

static void key_row(struct table *table, const struct store_row *row)
{
    struct buf left = {0};
    if (strcmp(row->state, "temporary") == 0)
        text_duration(&left, row->seconds_left);
    table_cell(table, TABLE_PLAIN, "%s", row->provider);
    table_cell(table, TABLE_PLAIN, "%" PRId64, row->position);
    table_cell(table, TABLE_PLAIN, "%s", row->hint);
    table_cell(table, table_style_of_state(row->state), "%s", row->state);
    table_cell(table, TABLE_PLAIN, "%s", left.data ? left.data : "");
    table_cell(table, TABLE_PLAIN, "%s", row->reason);
    number_cell(table, row->status != 0, row->status, "");
    table_cell(table, TABLE_PLAIN, "%" PRId64, row->failures);
    table->failed |= left.failed;
    buf_fini(&left);
}

/* All in the order of the walk, or, when there is no room for all, the marked ones first. */
static void put_keys(const struct writing *w)
{
    static const struct table_column COLUMNS[] = {{"key of", false, 0}, {"#", true, 0},
                                                  {"hint", false, 0},   {"state", false, 0},
                                                  {"left", true, 0},    {"last mark", false, 1},
                                                  {"status", true, 2},  {"marks", true, 3}};
    const struct store_rows *rows = w->view->rows;
    size_t shown = shown_of(rows->count, w->given[TOP_KEYS]);
    size_t left = shown;
    size_t marked_left = 0;
    struct table table;
    table_init(&table, COLUMNS, COUNT(COLUMNS));
    for (int marked = 1; marked >= 0; marked--) {
        for (size_t i = 0; i < rows->count; i++) {
            const struct store_row *row = &rows->items[i];
            if (shown < rows->count ? is_marked(row) != (marked == 1) : marked == 0)
                continue;
            if (left == 0) {
                marked_left += is_marked(row);
                continue;
            }
            key_row(&table, row);
            left--;
        }
    }
    print(w, &table);
    if (shown == rows->count)
        return;
    buf_printf(w->out, "... and %zu more keys, ", rows->count - shown);
    if (marked_left > 0)
        buf_printf(w->out, "%zu of them not valid\n", marked_left);
    else
        buf_puts(w->out, "all valid\n");
}

static void put_keys_or_why(const struct writing *w)
{
    if (!w->view->rows)
        buf_printf(w->out, "keys: %s\n", w->view->database_error);
    else if (w->view->rows->count == 0)
        buf_puts(w->out, "no keys\n");
    else
        put_keys(w);
}

/* ---- all */

static void set_wanted(const struct writing *w, size_t wanted[TOP_SECTIONS])
{
    const struct top_answer *answer = w->view->answer;
    const struct store_rows *rows = w->view->rows;
    wanted[TOP_DAEMON] = answer ? 2 : 1;
    wanted[TOP_TRAFFIC] = answer ? TRAFFIC_ROWS : 0;
    wanted[TOP_POOLS] = w->pools.count > 0 ? w->pools.count + 1 : 0;
    wanted[TOP_WORKERS] = answer && answer->worker_count > 0 ? answer->worker_count + 1 : 0;
    wanted[TOP_KEYS] = rows && rows->count > 0 ? rows->count + 1 : 1;
}

/* Whether there are blank rows between the sections. */
static bool lay_out(struct writing *w)
{
    size_t wanted[TOP_SECTIONS];
    size_t rows = w->size.rows;
    size_t all = 0;
    size_t sections = 0;
    set_wanted(w, wanted);
    for (size_t i = 0; i < TOP_SECTIONS; i++) {
        all += wanted[i];
        sections += wanted[i] > 0;
    }
    size_t blanks = sections - 1;
    if (rows == 0)
        rows = all + blanks;
    bool blank = rows >= ROWS_WITH_BLANKS || rows >= all + blanks;
    top_share(wanted, blank ? rows - blanks : rows, w->given);
    return blank;
}

static void put_sections(struct writing *w)
{
    static void (*const PUT[TOP_SECTIONS])(const struct writing *) = {[TOP_DAEMON] = put_daemon,
                                                                      [TOP_TRAFFIC] = put_traffic,
                                                                      [TOP_POOLS] = put_pools,
                                                                      [TOP_WORKERS] = put_workers,
                                                                      [TOP_KEYS] = put_keys_or_why};
    bool blank = lay_out(w);
    for (size_t i = 0; i < TOP_SECTIONS; i++) {
        if (w->given[i] == 0)
            continue;
        if (blank && i != TOP_DAEMON)
            buf_putc(w->out, '\n');
        PUT[i](w);
    }
}

void top_compose(const struct top_view *view, struct terminal_size size, struct buf *out)
{
    static const struct store_rows NOBODY;
    struct buf text = {0};
    struct writing w = {.view = view, .size = size, .out = &text};
    if (pool_counts_make(&w.pools, view->providers, view->rows ? view->rows : &NOBODY) < 0) {
        out->failed = true;
        return;
    }
    /* Of a database that cannot be read nothing is known. */
    if (!view->rows)
        w.pools.count = 0;
    put_sections(&w);
    for (const char *line = text.data; line && *line; line += strcspn(line, "\n") + 1) {
        text_cut(out, line, strcspn(line, "\n"), size.columns);
        buf_putc(out, '\n');
    }
    out->failed |= text.failed;
    pool_counts_fini(&w.pools);
    buf_fini(&text);
}
