/*
 * clavigerctl_status: owns what `clavigerctl status` shows: the master's answer and the pools as the database
 * has them. Reads only.
 */
#include "clavigerctl.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char *get_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

static long long get_number(const json_t *object, const char *name)
{
    return (long long)json_integer_value(json_object_get(object, name));
}

static void put_list(struct buf *out, const char *title, const json_t *list)
{
    buf_puts(out, title);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));
        buf_printf(out, "%s%s", i > 0 ? ", " : "", item ? item : "");
    }
    buf_puts(out, json_array_size(list) == 0 ? "none\n" : "\n");
}

static void put_workers(struct buf *out, const json_t *workers)
{
    static const struct table_column COLUMNS[] = {{"worker", true, 0},  {"pid", true, 0},
                                                  {"phase", false, 0},  {"generation", true, 2},
                                                  {"up", true, 3},      {"connections", true, 1},
                                                  {"requests", true, 1}};
    struct table table;
    table_init(&table, COLUMNS, COUNT(COLUMNS));
    for (size_t i = 0; i < json_array_size(workers); i++) {
        const json_t *worker = json_array_get(workers, i);
        struct buf up = {0};
        text_duration(&up, get_number(worker, "uptime_s"));
        table_cell(&table, TABLE_PLAIN, "%lld", get_number(worker, "number"));
        table_cell(&table, TABLE_PLAIN, "%lld", get_number(worker, "pid"));
        table_cell(&table, TABLE_PLAIN, "%s", get_text(worker, "phase"));
        table_cell(&table, TABLE_PLAIN, "%lld", get_number(worker, "generation"));
        table_cell(&table, TABLE_PLAIN, "%s", up.data ? up.data : "");
        table_cell(&table, TABLE_PLAIN, "%lld", get_number(worker, "connections"));
        table_cell(&table, TABLE_PLAIN, "%lld", get_number(worker, "requests"));
        buf_fini(&up);
    }
    buf_putc(out, '\n');
    table_print(&table, terminal_size().columns, terminal_has_colours(), out);
    table_fini(&table);
}

/* How a reload or an upgrade ended; nothing when there was none. */
static void put_attempt(struct buf *out, const char *title, const json_t *attempt)
{
    if (!json_is_object(attempt))
        return;
    buf_printf(out, "%s%s, ", title, get_text(attempt, "time"));
    if (json_is_true(json_object_get(attempt, "ok")))
        buf_puts(out, "serves\n");
    else
        buf_printf(out, "refused: %s\n", get_text(attempt, "error"));
}

static void put_daemon(struct buf *out, const json_t *status)
{
    const json_t *database = json_object_get(status, "database");
    const char *configuration = get_text(status, "configuration");
    buf_printf(out, "clavigerd %s is %s as pid %lld for ", get_text(status, "version"),
               get_text(status, "phase"), get_number(status, "pid"));
    text_duration(out, get_number(status, "uptime_s"));
    buf_printf(out, "\nconfiguration  %s, generation %lld\n",
               configuration[0] ? configuration : "built-in defaults", get_number(status, "generation"));
    put_attempt(out, "last reload    ", json_object_get(status, "last_reload"));
    put_attempt(out, "last upgrade   ", json_object_get(status, "last_upgrade"));
    put_list(out, "listen         ", json_object_get(status, "listen"));
    put_list(out, "admin_listen   ", json_object_get(status, "admin_listen"));
    buf_printf(out, "database       %s, %s", get_text(database, "path"), get_text(database, "condition"));
    if (strcmp(get_text(database, "condition"), "ok") != 0)
        buf_printf(out, " since %s", get_text(database, "since"));
    buf_printf(out, ", %lld errors\n", get_number(database, "errors"));
    put_workers(out, json_object_get(status, "workers"));
}

static void put_pools(struct buf *out, const struct pool_counts *pools)
{
    static const struct table_column COLUMNS[] = {{"pool", false, 0},
                                                  {"valid", true, 0},
                                                  {"temporary", true, 0},
                                                  {"permanent", true, 0}};
    struct table table;
    table_init(&table, COLUMNS, COUNT(COLUMNS));
    for (size_t i = 0; i < pools->count; i++) {
        table_cell(&table, TABLE_PLAIN, "%s", pools->items[i].provider);
        table_cell(&table, TABLE_PLAIN, "%zu", pools->items[i].valid);
        table_cell(&table, pools->items[i].temporary > 0 ? TABLE_WARNING : TABLE_PLAIN, "%zu",
                   pools->items[i].temporary);
        table_cell(&table, pools->items[i].permanent > 0 ? TABLE_BAD : TABLE_PLAIN, "%zu",
                   pools->items[i].permanent);
    }
    buf_putc(out, '\n');
    table_print(&table, terminal_size().columns, terminal_has_colours(), out);
    table_fini(&table);
}

int clavigerctl_status_text(const struct status_view *view, struct buf *out)
{
    if (view->answer) {
        json_t *status = json_loads(view->answer, 0, NULL);
        if (!status)
            return -1;
        put_daemon(out, status);
        json_decref(status);
    } else if (view->daemon_error) {
        buf_puts(out, "clavigerd could not be asked\n");
    } else {
        buf_puts(out, "clavigerd is not running\n");
    }
    if (!view->rows) {
        buf_printf(out, "\npools: %s\n", view->database_error);
        return 0;
    }
    struct pool_counts pools;
    if (pool_counts_make(&pools, &view->conf->providers, view->rows) < 0) {
        out->failed = true;
        return 0;
    }
    put_pools(out, &pools);
    pool_counts_fini(&pools);
    return 0;
}

/* JSON null when the database cannot be read; NULL when out of memory. */
static json_t *pools_json(const struct status_view *view)
{
    struct pool_counts pools;
    if (!view->rows)
        return json_null();
    if (pool_counts_make(&pools, &view->conf->providers, view->rows) < 0)
        return NULL;
    json_t *list = json_array();
    for (size_t i = 0; i < pools.count; i++) {
        const struct pool_count *pool = &pools.items[i];
        json_array_append_new(list, json_pack("{s:s,s:i,s:i,s:i}", "provider", pool->provider, "valid",
                                              (int)pool->valid, "temporary", (int)pool->temporary,
                                              "permanent", (int)pool->permanent));
    }
    pool_counts_fini(&pools);
    return list;
}

int clavigerctl_status_json(const struct status_view *view, struct buf *out)
{
    json_t *status = view->answer ? json_loads(view->answer, 0, NULL) : json_null();
    if (!status)
        return -1;
    json_t *running = view->daemon_error ? json_null() : json_boolean(view->answer);
    json_t *all = json_pack("{s:o,s:o,s:s?,s:o,s:s?}", "running", running, "daemon", status, "daemon_error",
                            view->daemon_error, "pools", pools_json(view), "database_error",
                            view->rows ? NULL : view->database_error);
    char *text = all ? json_dumps(all, JSON_INDENT(2)) : NULL;
    if (text)
        buf_printf(out, "%s\n", text);
    else
        out->failed = true;
    free(text);
    json_decref(all);
    return 0;
}
