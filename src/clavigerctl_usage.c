/*
 * clavigerctl_usage: owns the command `usage`: the token counts of the database, summed up, as a table or as
 * JSON. Reads only.
 */
#include "clavigerctl.h"

#include "base/clock.h"
#include "io/store_usage_list.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINCE      "24h"
#define SINCE_DAYS 36500 /* the most */

static const char *const GROUPS[] = {
    [STORE_USAGE_BY_MODEL] = "model", [STORE_USAGE_BY_CLIENT] = "client", [STORE_USAGE_BY_KEY] = "key"};
#define GROUP_COUNT (sizeof(GROUPS) / sizeof(GROUPS[0]))

static const char *const COUNTS[USAGE_COUNTS] = {
    [USAGE_REQUESTS] = "requests", [USAGE_INPUT] = "input",     [USAGE_OUTPUT] = "output",
    [USAGE_CACHED] = "cached",     [USAGE_WRITTEN] = "written", [USAGE_REASONING] = "reasoning"};

/* ---- the options */

/* Minutes, hours or days: "30m", "24h", "7d". -1 = it is none. */
static int64_t parse_since(const char *text)
{
    static const struct {
        char unit;
        int64_t ms;
    } UNITS[] = {{'m', 60000}, {'h', USAGE_HOUR_MS}, {'d', 24 * USAGE_HOUR_MS}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 8 || text[digits] == '\0' || text[digits + 1] != '\0')
        return -1;
    int64_t number = strtoll(text, NULL, 10);
    for (size_t i = 0; i < sizeof(UNITS) / sizeof(UNITS[0]); i++) {
        if (UNITS[i].unit == text[digits] && number > 0 &&
            number <= SINCE_DAYS * 24 * USAGE_HOUR_MS / UNITS[i].ms)
            return number * UNITS[i].ms;
    }
    return -1;
}

static int find_group(const char *name)
{
    for (size_t i = 0; i < GROUP_COUNT; i++) {
        if (strcmp(GROUPS[i], name) == 0)
            return (int)i;
    }
    return -1;
}

void clavigerctl_usage_check(const struct call *call, bool usage, struct buf *reason)
{
    if ((call->since || call->by) && !usage)
        buf_printf(reason, "%s is for usage", call->since ? "--since" : "--by");
    else if (call->since && parse_since(call->since) < 0)
        buf_puts(reason, "--since takes minutes, hours or days, as 30m, 24h or 7d");
    else if (call->by && find_group(call->by) < 0)
        buf_puts(reason, "--by takes client, key or model");
}

/* ---- what is shown */

struct view {
    enum store_usage_by by;
    int64_t from_s;
    struct store_usage_rows rows;
};

static void put_line(struct table *table, const char *provider, const char *name,
                     const int64_t counts[USAGE_COUNTS])
{
    table_cell(table, TABLE_PLAIN, "%s", provider);
    table_cell(table, TABLE_PLAIN, "%s", name);
    for (size_t i = 0; i < USAGE_COUNTS; i++) {
        char number[TEXT_NUMBER_SIZE];
        text_number(number, counts[i]);
        table_cell(table, TABLE_PLAIN, "%s", number);
    }
}

static void put_text(const struct view *view, struct buf *out)
{
    struct table_column columns[2 + USAGE_COUNTS] = {{"provider", false, 0}, {GROUPS[view->by], false, 0}};
    const struct store_usage_rows *rows = &view->rows;
    char since[CLOCK_RFC3339_SIZE];
    struct table table;
    clock_rfc3339(view->from_s * 1000, since);
    if (rows->count == 0) {
        buf_printf(out, "no usage since %s\n", since);
        return;
    }
    /* In a narrow window what is part of another count goes first. */
    for (unsigned i = 0; i < USAGE_COUNTS; i++)
        columns[2 + i] = (struct table_column){COUNTS[i], true, i > USAGE_OUTPUT ? i : 0};
    table_init(&table, columns, sizeof(columns) / sizeof(columns[0]));
    table.name_count = 2;
    for (size_t i = 0; i < rows->count; i++)
        put_line(&table, rows->items[i].provider, rows->items[i].name, rows->items[i].counts);
    put_line(&table, "total", "", rows->total);
    table_print(&table, terminal_size().columns, terminal_has_colours(), out);
    table_fini(&table);
}

static void put_counts(const int64_t counts[USAGE_COUNTS], struct buf *out)
{
    for (size_t i = 0; i < USAGE_COUNTS; i++)
        buf_printf(out, "%s\"%s\":%" PRId64, i > 0 ? "," : "", COUNTS[i], counts[i]);
}

static void put_json(const struct view *view, struct buf *out)
{
    char since[CLOCK_RFC3339_SIZE];
    clock_rfc3339(view->from_s * 1000, since);
    buf_printf(out, "{\"since\":\"%s\",\"by\":\"%s\",\"rows\":[", since, GROUPS[view->by]);
    for (size_t i = 0; i < view->rows.count; i++) {
        const struct store_usage_row *row = &view->rows.items[i];
        buf_puts(out, i > 0 ? ",{\"provider\":" : "{\"provider\":");
        buf_json(out, row->provider, strlen(row->provider));
        buf_printf(out, ",\"%s\":", GROUPS[view->by]);
        if (row->name[0] == '\0')
            buf_puts(out, "null");
        else
            buf_json(out, row->name, strlen(row->name));
        buf_putc(out, ',');
        put_counts(row->counts, out);
        buf_putc(out, '}');
    }
    buf_puts(out, "],\"total\":{");
    put_counts(view->rows.total, out);
    buf_puts(out, "}}\n");
}

int clavigerctl_usage(const struct call *call)
{
    int64_t now_ms = clock_real_ms();
    int64_t from_ms = now_ms - parse_since(call->since ? call->since : SINCE);
    struct view view = {.by = (enum store_usage_by)(call->by ? find_group(call->by) : STORE_USAGE_BY_MODEL),
                        .from_s = (from_ms > 0 ? from_ms / USAGE_HOUR_MS : 0) * (USAGE_HOUR_MS / 1000)};
    const char *provider = call->arguments[0];
    struct buf out = {0};
    int status;
    if (store_usage_list(call->conf->state_db, view.by, view.from_s, now_ms / 1000, provider, &view.rows,
                         &out) < 0) {
        status = clavigerctl_fail(call, CTL_FAILED, &out);
    } else if (provider && view.rows.count == 0 && !clavigerctl_has_provider(call->conf, provider)) {
        buf_puts(&out, "no such provider is configured, and it was not used in that time");
        status = clavigerctl_fail(call, CTL_FAILED, &out);
    } else {
        if (call->json)
            put_json(&view, &out);
        else
            put_text(&view, &out);
        status = clavigerctl_print(call, &out);
    }
    store_usage_rows_fini(&view.rows);
    buf_fini(&out);
    return status;
}
