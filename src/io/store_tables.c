/*
 * store_tables: the tables of the state database: how they are made, brought up to date, and made again.
 * Called by store_schema and the housekeeper on a connection of theirs; it knows no file.
 */
#include "io/store_tables.h"

#include "io/store_schema.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define TABLE_SQL                                                                                            \
    "CREATE TABLE key_state("                                                                                \
    " provider TEXT NOT NULL,"                                                                               \
    " key_id TEXT NOT NULL,"                                                                                 \
    " hint TEXT,"                                                                                            \
    " position INTEGER,"                                                                                     \
    " permanent INTEGER NOT NULL DEFAULT 0,"                                                                 \
    " cooldown_until INTEGER NOT NULL DEFAULT 0,"                                                            \
    " last_status INTEGER,"                                                                                  \
    " reason TEXT,"                                                                                          \
    " failures INTEGER NOT NULL DEFAULT 0,"                                                                  \
    " updated_at INTEGER,"                                                                                   \
    " PRIMARY KEY(provider, key_id));"

#define VIEW_SQL                                                                                             \
    "CREATE VIEW keys AS SELECT provider, position, hint, state, seconds_left, status, reason, failures, "   \
    "updated FROM (" STORE_SCHEMA_ROWS ") ORDER BY provider, position;"

/* From version N to N + 1; the whole way runs in one transaction. */
static const char *const migrations[STORE_SCHEMA_VERSION] = {TABLE_SQL VIEW_SQL};

int store_tables_query(sqlite3 *db, const char *sql, const char *text, int64_t *out)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    if (code != SQLITE_OK)
        return code;
    code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) {
        const char *found = (const char *)sqlite3_column_text(stmt, 0);
        *out = text == NULL ? sqlite3_column_int64(stmt, 0) : (found != NULL && strcmp(found, text) == 0);
        code = SQLITE_OK;
    } else if (code == SQLITE_DONE) {
        *out = 0;
        code = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return code;
}

/* Whether a statement can be prepared: whether what it names is there. */
static int can_prepare(sqlite3 *db, const char *sql, bool *can)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

    sqlite3_finalize(stmt);
    *can = code == SQLITE_OK;
    return code == SQLITE_ERROR ? SQLITE_OK : code;
}

static int has_table(sqlite3 *db, bool *has)
{
    return can_prepare(db,
                       "INSERT INTO key_state(provider, key_id, hint, position, permanent, cooldown_until, "
                       "last_status, reason, failures, updated_at) SELECT provider, key_id, hint, position, "
                       "permanent, cooldown_until, last_status, reason, failures, updated_at FROM key_state "
                       "WHERE true ON CONFLICT(provider, key_id) DO NOTHING",
                       has);
}

static int has_view(sqlite3 *db, bool *has)
{
    return can_prepare(
        db,
        "SELECT provider, position, hint, state, seconds_left, status, reason, failures, updated FROM keys",
        has);
}

int store_tables_complete(struct sqlite3 *db, bool *complete)
{
    bool table = false;
    bool view = false;
    int64_t things;
    /* Running a statement, not preparing one, makes SQLite see what others did to the tables. */
    int code = store_tables_query(db, "SELECT count(*) FROM sqlite_schema", NULL, &things);

    if (code == SQLITE_OK)
        code = has_table(db, &table);
    if (code == SQLITE_OK)
        code = has_view(db, &view);
    *complete = table && view;
    return code;
}

int store_tables_restore(struct sqlite3 *db)
{
    bool table = false;
    int64_t there = 0;
    char sql[96];
    int code = has_table(db, &table);

    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "DROP VIEW IF EXISTS keys", NULL, NULL, NULL);
    if (code == SQLITE_OK && !table)
        code = store_tables_query(db, "SELECT count(*) FROM sqlite_schema WHERE name = 'key_state'", NULL,
                                  &there);
    /* Somebody changed it: it is theirs to look at. */
    if (code == SQLITE_OK && there) {
        snprintf(sql, sizeof(sql), "ALTER TABLE key_state RENAME TO key_state_until_%lld",
                 (long long)time(NULL));
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    if (code == SQLITE_OK && !table)
        code = sqlite3_exec(db, TABLE_SQL, NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, VIEW_SQL, NULL, NULL, NULL);
    return code;
}

int store_tables_migrate(sqlite3 *db)
{
    char sql[64];
    int64_t version = 0;
    bool complete = false;
    int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (code != SQLITE_OK)
        return code;
    /* Inside, because another daemon may have done it meanwhile. */
    code = store_tables_query(db, "PRAGMA user_version", NULL, &version);
    for (int64_t v = version; code == SQLITE_OK && v < STORE_SCHEMA_VERSION; v++)
        code = sqlite3_exec(db, migrations[v], NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = store_tables_complete(db, &complete);
    if (code == SQLITE_OK && !complete)
        code = store_tables_restore(db);
    if (code == SQLITE_OK && version < STORE_SCHEMA_VERSION) {
        snprintf(sql, sizeof(sql), "PRAGMA user_version = %d", STORE_SCHEMA_VERSION);
        code = sqlite3_exec(db, sql, NULL, NULL, NULL);
    }
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* Whether a file with our version is ours: its table is as it should be, or gone and nothing else is there.
 */
int store_tables_are_ours(sqlite3 *db, bool *ours)
{
    int64_t others = 0;
    int code = has_table(db, ours);

    if (code == SQLITE_OK && !*ours) {
        code = store_tables_query(
            db,
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' "
            "ESCAPE '^'",
            NULL, &others);
        *ours = others == 0;
    }
    return code;
}
