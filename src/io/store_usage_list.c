/*
 * store_usage_list: sums of the table `usage`. Called by clavigerctl.
 */
#include "io/store_usage_list.h"

#include "io/store_edit.h"
#include "io/store_schema.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

static const char *const columns[] = {
    [STORE_USAGE_BY_MODEL] = "model", [STORE_USAGE_BY_CLIENT] = "client", [STORE_USAGE_BY_KEY] = "key"};

void store_usage_rows_fini(struct store_usage_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        free(rows->items[i].provider);
        free(rows->items[i].name);
    }
    free(rows->items);
    *rows = (struct store_usage_rows){0};
}

/* Somebody may have written other things than text into the table. */
static char *column_text(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);
    return strdup(text != NULL ? text : "");
}

/* SQLITE_OK or SQLITE_NOMEM. */
static int add_row(struct store_usage_rows *rows, sqlite3_stmt *stmt)
{
    if ((rows->count & (rows->count - 1)) == 0) {
        size_t cap = rows->count == 0 ? 1 : rows->count * 2;
        struct store_usage_row *grown = realloc(rows->items, cap * sizeof *grown);
        if (grown == NULL)
            return SQLITE_NOMEM;
        rows->items = grown;
    }
    struct store_usage_row *row = &rows->items[rows->count++];
    *row = (struct store_usage_row){.provider = column_text(stmt, 0), .name = column_text(stmt, 1)};
    for (int i = 0; i < USAGE_COUNTS; i++) {
        row->counts[i] = sqlite3_column_int64(stmt, 2 + i);
        if (__builtin_add_overflow(rows->total[i], row->counts[i], &rows->total[i]))
            rows->total[i] = INT64_MAX;
    }
    return row->provider != NULL && row->name != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

static int read_rows(sqlite3 *db, enum store_usage_by by, int64_t from_s, int64_t to_s, const char *provider,
                     struct store_usage_rows *rows)
{
    sqlite3_stmt *stmt = NULL;
    struct buf sql = {0};
    int code = SQLITE_NOMEM;
    /* total() and not sum(): it never fails. A double is exact up to 2^53 tokens. */
    buf_printf(&sql,
               "SELECT provider, %s, total(requests), total(input), total(output), total(cached),"
               " total(written), total(reasoning) FROM usage"
               " WHERE hour BETWEEN ?1 AND ?2 AND (?3 IS NULL OR provider = ?3)"
               " GROUP BY 1, 2 ORDER BY 1, total(input) + total(output) DESC, 2",
               columns[by]);
    if (!sql.failed)
        code = sqlite3_prepare_v2(db, sql.data, -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, from_s);
        sqlite3_bind_int64(stmt, 2, to_s);
        if (provider != NULL)
            sqlite3_bind_text(stmt, 3, provider, -1, SQLITE_STATIC);
    }
    while (code == SQLITE_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        code = add_row(rows, stmt);
    sqlite3_finalize(stmt);
    buf_fini(&sql);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int store_usage_list(const char *path, enum store_usage_by by, int64_t from_s, int64_t to_s,
                     const char *provider, struct store_usage_rows *rows, struct buf *reason)
{
    sqlite3 *db = store_edit_open(path, reason);
    *rows = (struct store_usage_rows){0};
    if (db == NULL)
        return -1;
    int code = read_rows(db, by, from_s, to_s, provider, rows);
    if (code == SQLITE_NOMEM)
        buf_puts(reason, "out of memory");
    else if (code != SQLITE_OK)
        buf_printf(reason, "state database %s: %s; %s", path, sqlite3_errmsg(db), store_schema_advice(code));
    sqlite3_close(db);
    if (code != SQLITE_OK)
        store_usage_rows_fini(rows);
    return code == SQLITE_OK ? 0 : -1;
}
