/*
 * store_edit: the operator's way to the key states. Called by clavigerctl and, for the list, by the admin
 * listener.
 *
 * It works on the file alone: a running daemon notices a change at its next request by SQLite's data_version.
 */
#include "io/store_edit.h"

#include "io/store_schema.h"

#include <errno.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* An operator can wait a little for a lock. */
#define BUSY_MS 2000

#define NOT_THERE_YET "start clavigerd once, or look at state_db in the configuration"

static void row_fini(struct store_row *row)
{
    free(row->provider);
    free(row->key_id);
    free(row->hint);
    free(row->state);
    free(row->reason);
    free(row->updated);
}

void store_rows_fini(struct store_rows *rows)
{
    for (size_t i = 0; i < rows->count; i++)
        row_fini(&rows->items[i]);
    free(rows->items);
    *rows = (struct store_rows){0};
}

void store_rows_keep(struct store_rows *rows, const char *provider)
{
    size_t kept = 0;

    for (size_t i = 0; i < rows->count; i++) {
        if (strcmp(rows->items[i].provider, provider) == 0)
            rows->items[kept++] = rows->items[i];
        else
            row_fini(&rows->items[i]);
    }
    rows->count = kept;
}

struct sqlite3 *store_edit_open(const char *path, struct buf *reason)
{
    sqlite3_stmt *stmt = NULL;
    struct stat st;
    sqlite3 *db;
    int version = 0;
    int code;

    if (stat(path, &st) < 0) {
        buf_printf(reason, "state database %s: %s; " NOT_THERE_YET, path, strerror(errno));
        return NULL;
    }
    db = store_schema_visit(path, BUSY_MS, &code, reason);
    if (db == NULL)
        return NULL;
    code = sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &stmt, NULL);
    if (code == SQLITE_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        version = sqlite3_column_int(stmt, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    if (code == SQLITE_OK && version == STORE_SCHEMA_VERSION)
        return db;
    if (code != SQLITE_OK)
        buf_printf(reason, "state database %s: cannot be read: %s; %s", path, sqlite3_errmsg(db),
                   store_schema_advice(code));
    else if (version == 0)
        buf_printf(reason, "state database %s: is empty; " NOT_THERE_YET, path);
    else
        buf_printf(reason,
                   "state database %s: has schema %d where this version knows %d; use the clavigerctl of the "
                   "daemon that "
                   "made it",
                   path, version, STORE_SCHEMA_VERSION);
    sqlite3_close(db);
    return NULL;
}

static void explain(struct buf *reason, const char *path, sqlite3 *db, int code)
{
    buf_printf(reason, "state database %s: %s; %s", path, sqlite3_errmsg(db), store_schema_advice(code));
}

/* Never NULL but when out of memory; SQL's NULL becomes "". */
static char *column_text(sqlite3_stmt *stmt, int column)
{
    const char *text = (const char *)sqlite3_column_text(stmt, column);

    return strdup(text != NULL ? text : "");
}

/* 0, or -1 when out of memory. */
static int add_row(struct store_rows *rows, sqlite3_stmt *stmt)
{
    struct store_row *row;

    if ((rows->count & (rows->count - 1)) == 0) {
        size_t cap = rows->count == 0 ? 1 : rows->count * 2;
        struct store_row *grown = realloc(rows->items, cap * sizeof(*grown));

        if (grown == NULL)
            return -1;
        rows->items = grown;
    }
    row = &rows->items[rows->count++];
    *row = (struct store_row){
        .provider = column_text(stmt, 0),
        .position = sqlite3_column_int64(stmt, 1),
        .key_id = column_text(stmt, 2),
        .hint = column_text(stmt, 3),
        .state = column_text(stmt, 4),
        .seconds_left = sqlite3_column_int64(stmt, 5),
        .status = sqlite3_column_int64(stmt, 6),
        .reason = column_text(stmt, 7),
        .failures = sqlite3_column_int64(stmt, 8),
        .updated = column_text(stmt, 9),
    };
    return row->provider != NULL && row->key_id != NULL && row->hint != NULL && row->state != NULL &&
                   row->reason != NULL && row->updated != NULL
               ? 0
               : -1;
}

static void explain_no_provider(struct buf *reason, const char *path, sqlite3 *db, const char *provider)
{
    sqlite3_stmt *stmt = NULL;
    const char *before = "; there are keys of ";

    buf_printf(reason, "no keys of a provider named %s in %s", provider, path);
    if (sqlite3_prepare_v2(
            db, "SELECT DISTINCT provider FROM key_state WHERE position IS NOT NULL ORDER BY provider", -1,
            &stmt, NULL) == SQLITE_OK)
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            buf_printf(reason, "%s%s", before, (const char *)sqlite3_column_text(stmt, 0));
            before = ", ";
        }
    sqlite3_finalize(stmt);
}

int store_edit_list(const char *path, const char *provider, struct store_rows *rows, struct buf *reason)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db = store_edit_open(path, reason);
    int code;

    *rows = (struct store_rows){0};
    if (db == NULL)
        return -1;
    code =
        sqlite3_prepare_v2(db,
                           STORE_SCHEMA_ROWS " AND (?1 IS NULL OR provider = ?1) ORDER BY provider, position",
                           -1, &stmt, NULL);
    if (code == SQLITE_OK && provider != NULL)
        code = sqlite3_bind_text(stmt, 1, provider, -1, SQLITE_STATIC);
    while (code == SQLITE_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW)
        code = add_row(rows, stmt) == 0 ? SQLITE_OK : SQLITE_NOMEM;
    if (code == SQLITE_DONE && provider != NULL && rows->count == 0) {
        explain_no_provider(reason, path, db, provider);
        code = SQLITE_NOTFOUND;
    } else if (code == SQLITE_NOMEM) {
        buf_puts(reason, "out of memory");
    } else if (code != SQLITE_DONE) {
        explain(reason, path, db, code);
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    if (code == SQLITE_DONE)
        return 0;
    store_rows_fini(rows);
    return -1;
}

static void json_text(struct buf *out, const char *name, const char *text, bool or_null)
{
    buf_printf(out, "\"%s\":", name);
    if (or_null && *text == '\0')
        buf_puts(out, "null");
    else
        buf_json(out, text, strlen(text));
    buf_putc(out, ',');
}

static void json_number(struct buf *out, const char *name, int64_t number, bool known)
{
    if (known)
        buf_printf(out, "\"%s\":%" PRId64 ",", name, number);
    else
        buf_printf(out, "\"%s\":null,", name);
}

void store_rows_json(const struct store_rows *rows, struct buf *out)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < rows->count; i++) {
        const struct store_row *row = &rows->items[i];

        buf_puts(out, i == 0 ? "{" : ",{");
        json_text(out, "provider", row->provider, false);
        json_number(out, "position", row->position, true);
        json_text(out, "key_id", row->key_id, false);
        json_text(out, "hint", row->hint, false);
        json_text(out, "state", row->state, false);
        json_number(out, "seconds_left", row->seconds_left, strcmp(row->state, "temporary") == 0);
        json_number(out, "status", row->status, row->status != 0);
        json_text(out, "reason", row->reason, true);
        json_number(out, "failures", row->failures, true);
        buf_puts(out, "\"updated\":");
        if (row->updated[0] == '\0')
            buf_puts(out, "null");
        else
            buf_json(out, row->updated, strlen(row->updated));
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
}

/* The ways in which a key can be named, the first that finds something counts. */
static const char *const key_queries[] = {
    "SELECT rowid FROM key_state WHERE provider = ?1 AND position IS NOT NULL AND position || '' = ?2",
    "SELECT rowid FROM key_state WHERE provider = ?1 AND position IS NOT NULL AND key_id = lower(?2)",
    "SELECT rowid FROM key_state WHERE provider = ?1 AND position IS NOT NULL AND hint = ?2",
};

/* How many configured keys the provider has under that name (NULL: at all), and the row of the last one. */
static int count_rows(sqlite3 *db, const char *sql, const char *provider, const char *key, int *count,
                      sqlite3_int64 *rowid)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    *count = 0;
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(stmt, 1, provider, -1, SQLITE_STATIC);
    if (code == SQLITE_OK && key != NULL)
        code = sqlite3_bind_text(stmt, 2, key, -1, SQLITE_STATIC);
    while (code == SQLITE_OK && (code = sqlite3_step(stmt)) == SQLITE_ROW) {
        *rowid = sqlite3_column_int64(stmt, 0);
        (*count)++;
        code = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static void explain_ambiguous(struct buf *reason, sqlite3 *db, const char *provider, const char *hint,
                              int count)
{
    sqlite3_stmt *stmt = NULL;
    const char *before = ": ";

    buf_printf(reason, "%d keys of provider %s have that hint", count, provider);
    if (sqlite3_prepare_v2(
            db,
            "SELECT position, key_id FROM key_state WHERE provider = ?1 AND position IS NOT NULL AND hint = "
            "?2 ORDER BY position",
            -1, &stmt, NULL) == SQLITE_OK &&
        sqlite3_bind_text(stmt, 1, provider, -1, SQLITE_STATIC) == SQLITE_OK &&
        sqlite3_bind_text(stmt, 2, hint, -1, SQLITE_STATIC) == SQLITE_OK)
        while (sqlite3_step(stmt) == SQLITE_ROW) {
            buf_printf(reason, "%sposition %d (key_id %s)", before, sqlite3_column_int(stmt, 0),
                       (const char *)sqlite3_column_text(stmt, 1));
            before = ", ";
        }
    sqlite3_finalize(stmt);
    buf_puts(reason, "; name one by its position or key_id");
}

/* What `key` names: *rowid = the row, or 0 for all of the provider. An SQLite result code; SQLITE_NOTFOUND
 * with *reason when it names none or several. */
static int find_rows(sqlite3 *db, const char *path, const char *provider, const char *key,
                     sqlite3_int64 *rowid, struct buf *reason)
{
    int count = 0;
    int code = count_rows(db, "SELECT rowid FROM key_state WHERE provider = ?1 AND position IS NOT NULL",
                          provider, NULL, &count, rowid);

    if (code == SQLITE_OK && count == 0) {
        explain_no_provider(reason, path, db, provider);
        return SQLITE_NOTFOUND;
    }
    *rowid = 0;
    if (code != SQLITE_OK || key == NULL)
        return code;
    count = 0;
    for (size_t i = 0; code == SQLITE_OK && count == 0 && i < sizeof(key_queries) / sizeof(key_queries[0]);
         i++)
        code = count_rows(db, key_queries[i], provider, key, &count, rowid);
    if (code != SQLITE_OK || count == 1)
        return code;
    /* What was named is not repeated: it may be a whole key, given by mistake. */
    if (count > 1)
        explain_ambiguous(reason, db, provider, key, count);
    else
        buf_printf(reason, "provider %s has no such key; name one by its position, key_id or hint", provider);
    return SQLITE_NOTFOUND;
}

static const char *const action_sql[] = {
    [STORE_EDIT_RESET] =
        "UPDATE key_state SET permanent = 0, cooldown_until = 0, last_status = NULL, reason = NULL,"
        " failures = 0, updated_at = ?3",
    [STORE_EDIT_DISABLE] =
        "UPDATE key_state SET permanent = 1, last_status = NULL, reason = 'disabled', updated_at = ?3",
    [STORE_EDIT_ENABLE] =
        "UPDATE key_state SET permanent = 0, cooldown_until = 0, last_status = NULL, reason = NULL,"
        " updated_at = ?3",
};

static int update_rows(sqlite3 *db, enum store_edit_action action, const char *provider, sqlite3_int64 rowid,
                       int64_t now_real_ms)
{
    sqlite3_stmt *stmt = NULL;
    struct buf sql = {0};
    int code = SQLITE_NOMEM;

    buf_printf(&sql, "%s WHERE provider = ?1 AND position IS NOT NULL AND (?2 = 0 OR rowid = ?2)",
               action_sql[action]);
    if (!sql.failed)
        code = sqlite3_prepare_v2(db, sql.data, -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, provider, -1, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 2, rowid);
        sqlite3_bind_int64(stmt, 3, now_real_ms);
        code = sqlite3_step(stmt);
        code = code == SQLITE_DONE ? SQLITE_OK : code;
    }
    sqlite3_finalize(stmt);
    buf_fini(&sql);
    return code;
}

int store_edit_apply(const char *path, enum store_edit_action action, const char *provider, const char *key,
                     int64_t now_real_ms, int *changed, struct buf *reason)
{
    sqlite3 *db = store_edit_open(path, reason);
    sqlite3_int64 rowid = 0;
    int code;

    *changed = 0;
    if (db == NULL)
        return -1;
    code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = find_rows(db, path, provider, key, &rowid, reason);
    if (code == SQLITE_OK)
        code = update_rows(db, action, provider, rowid, now_real_ms);
    if (code == SQLITE_OK) {
        *changed = sqlite3_changes(db);
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    }
    if (code != SQLITE_OK) {
        *changed = 0;
        if (code != SQLITE_NOTFOUND)
            explain(reason, path, db, code);
        if (sqlite3_get_autocommit(db) == 0)
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    sqlite3_close(db);
    return code == SQLITE_OK ? 0 : -1;
}
