/*
 * clavigerctl_keys: owns the command `keys`: the rows of the database as a table or as JSON. Reads only.
 */
#include "clavigerctl.h"

#include <inttypes.h>
#include <string.h>

bool clavigerctl_has_provider(const struct conf *conf, const char *name)
{
    for (size_t i = 0; i < conf->providers.count; i++) {
        if (strcmp(conf->providers.items[i].name, name) == 0)
            return true;
    }
    return false;
}

static void put_row(struct table *table, const struct store_row *row)
{
    table_cell(table, TABLE_PLAIN, "%s", row->provider);
    table_cell(table, TABLE_PLAIN, "%" PRId64, row->position);
    table_cell(table, TABLE_PLAIN, "%s", row->hint);
    table_cell(table, table_style_of_state(row->state), "%s", row->state);
    if (strcmp(row->state, "temporary") == 0)
        table_cell(table, TABLE_PLAIN, "%" PRId64, row->seconds_left);
    else
        table_cell(table, TABLE_PLAIN, "-");
    if (row->status != 0)
        table_cell(table, TABLE_PLAIN, "%" PRId64, row->status);
    else
        table_cell(table, TABLE_PLAIN, "-");
    table_cell(table, TABLE_PLAIN, "%s", row->reason);
    table_cell(table, TABLE_PLAIN, "%" PRId64, row->failures);
    table_cell(table, TABLE_PLAIN, "%s", row->updated);
    table_cell(table, TABLE_PLAIN, "%s", row->key_id);
}

static void put_table(const struct store_rows *rows, unsigned width, struct buf *out)
{
    static const struct table_column COLUMNS[] = {{"provider", false, 0},    {"position", true, 0},
                                                  {"hint", false, 0},        {"state", false, 0},
                                                  {"seconds left", true, 0}, {"status", true, 1},
                                                  {"reason", false, 2},      {"failures", true, 3},
                                                  {"updated", false, 4},     {"key_id", false, 5}};
    struct table table;
    table_init(&table, COLUMNS, sizeof(COLUMNS) / sizeof(COLUMNS[0]));
    for (size_t i = 0; i < rows->count; i++)
        put_row(&table, &rows->items[i]);
    if (!table.failed && table.cell_count == 0)
        buf_puts(out, "no keys\n");
    else
        table_print(&table, width, terminal_has_colours(), out);
    table_fini(&table);
}

/* CTL_DONE, or CTL_FAILED and *out says why. */
static int compose(const struct call *call, struct terminal_size size, void *arg, struct buf *out)
{
    (void)arg;
    const char *provider = call->arguments[0];
    /* One that is configured may have no key; to the database it is one like any other that it does not know.
     */
    bool known = provider && clavigerctl_has_provider(call->conf, provider);
    struct store_rows rows = {0};
    struct buf reason = {0};
    bool listed = store_edit_list(call->conf->state_db, known ? NULL : provider, &rows, &reason) == 0;
    if (known)
        store_rows_keep(&rows, provider);
    if (!listed)
        buf_printf(out, "%s\n", reason.data && !reason.failed ? reason.data : "out of memory");
    else if (call->json)
        store_rows_json(&rows, out);
    else
        put_table(&rows, size.columns, out);
    if (call->json && listed)
        buf_putc(out, '\n');
    buf_fini(&reason);
    store_rows_fini(&rows);
    return listed ? CTL_DONE : CTL_FAILED;
}

/* While it is watched, a line of JSON that says why there are no rows. */
static int compose_json(const struct call *call, struct terminal_size size, void *arg, struct buf *out)
{
    struct buf text = {0};
    int result = compose(call, size, arg, &text);
    if (result == CTL_DONE) {
        buf_append(out, text.data, text.len);
    } else {
        buf_puts(out, "{\"ok\":false,\"error\":");
        buf_json(out, text.data ? text.data : "", text.len > 0 ? text.len - 1 : 0);
        buf_puts(out, "}\n");
    }
    out->failed |= text.failed;
    buf_fini(&text);
    return result;
}

int clavigerctl_keys(const struct call *call)
{
    struct buf out = {0};
    const struct watched watched = {.compose = call->json ? compose_json : compose};
    if (call->watch)
        return clavigerctl_watch(call, &watched);
    int status = compose(call, terminal_size(), NULL, &out);
    if (status != CTL_DONE)
        status = clavigerctl_fail(call, status, &out);
    else
        status = clavigerctl_print(call, &out);
    buf_fini(&out);
    return status;
}
