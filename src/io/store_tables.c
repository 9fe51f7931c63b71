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

#define KEY_STATE_SQL                                                                                        \
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

#define USAGE_SQL                                                                                            \
    "CREATE TABLE usage("                                                                                    \
    " hour INTEGER NOT NULL,"                                                                                \
    " provider TEXT NOT NULL,"                                                                               \
    " client TEXT NOT NULL,"                                                                                 \
    " key TEXT NOT NULL,"                                                                                    \
    " model TEXT NOT NULL,"                                                                                  \
    " requests INTEGER NOT NULL DEFAULT 0,"                                                                  \
    " input INTEGER NOT NULL DEFAULT 0,"                                                                     \
    " output INTEGER NOT NULL DEFAULT 0,"                                                                    \
    " cached INTEGER NOT NULL DEFAULT 0,"                                                                    \
    " written INTEGER NOT NULL DEFAULT 0,"                                                                   \
    " reasoning INTEGER NOT NULL DEFAULT 0,"                                                                 \
    " PRIMARY KEY(hour, provider, client, key, model)) WITHOUT ROWID;"

#define KEYS_SQL                                                                                             \
    "CREATE VIEW keys AS SELECT provider, position, hint, state, seconds_left, status, reason, failures, "   \
    "updated FROM (" STORE_SCHEMA_ROWS ") ORDER BY provider, position;"

#define USAGE_BY_DAY_SQL                                                                                     \
    "CREATE VIEW usage_by_day AS SELECT date(hour, 'unixepoch') AS day, provider, client, key, model,"       \
    " sum(requests) AS requests, sum(input) AS input, sum(output) AS output, sum(cached) AS cached,"         \
    " sum(written) AS written, sum(reasoning) AS reasoning"                                                  \
    " FROM usage GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5;"

#define USAGE_COLUMNS "provider, client, key, model, requests, input, output, cached, written, reasoning"

/* What belongs into the database, views last. */
static const struct part {
    const char *name;
    bool is_view;
    const char *create;
    const char *probe; /* can be prepared when it is as it should be */
} parts[] = {
    {"key_state", false, KEY_STATE_SQL,
     "INSERT INTO key_state(provider, key_id, hint, position, permanent, cooldown_until, last_status, "
     "reason, failures, updated_at) SELECT provider, key_id, hint, position, permanent, cooldown_until, "
     "last_status, reason, failures, updated_at FROM key_state WHERE true ON CONFLICT(provider, key_id) DO "
     "NOTHING"},
    {"usage", false, USAGE_SQL,
     "INSERT INTO usage(hour, " USAGE_COLUMNS ") SELECT hour, " USAGE_COLUMNS " FROM usage WHERE true ON "
     "CONFLICT(hour, provider, client, key, model) DO NOTHING"},
    {"keys", true, KEYS_SQL,
     "SELECT provider, position, hint, state, seconds_left, status, reason, failures, updated FROM keys"},
    {"usage_by_day", true, USAGE_BY_DAY_SQL, "SELECT day, " USAGE_COLUMNS " FROM usage_by_day"},
};

#define KEY_STATE  (&parts[0])
#define USAGE      (&parts[1])
#define PART_COUNT (sizeof(parts) / sizeof(parts[0]))

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

/* Whether the part is there and as it should be. */
static int has_part(sqlite3 *db, const struct part *part, bool *has)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, part->probe, -1, &stmt, NULL);

    sqlite3_finalize(stmt);
    *has = code == SQLITE_OK;
    return code == SQLITE_ERROR ? SQLITE_OK : code;
}

int store_tables_complete(struct sqlite3 *db, bool *complete)
{
    int64_t things;
    /* Running a statement, not preparing one, makes SQLite see what others did to the tables. */
    int code = store_tables_query(db, "SELECT count(*) FROM sqlite_schema", NULL, &things);

    *complete = true;
    for (size_t i = 0; i < PART_COUNT && code == SQLITE_OK && *complete; i++)
        code = has_part(db, &parts[i], complete);
    return code;
}

static int drop(sqlite3 *db, const char *what, const char *name)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "DROP %s IF EXISTS %s", what, name);
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* *sql becomes the text of the view of that name (sqlite3_free()); NULL = there is none. */
static int read_view(sqlite3 *db, const char *name, char **sql)
{
    static const char look[] =
        "SELECT sql FROM sqlite_schema WHERE type = 'view' AND name = ?1 COLLATE NOCASE";
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(db, look, -1, &stmt, NULL);

    *sql = NULL;
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(stmt, 1, name, -1, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(stmt);
    if (code == SQLITE_ROW) {
        *sql = sqlite3_mprintf("%s", sqlite3_column_text(stmt, 0));
        code = *sql != NULL ? SQLITE_OK : SQLITE_NOMEM;
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Whether the view under the part's name, of which that is the text, is one that we have made: the same, or
 * an older version's. */
static int is_our_view(sqlite3 *db, const struct part *part, const char *sql, bool *ours)
{
    size_t len = strlen(part->create) - 1; /* without the semicolon */

    *ours = part->is_view && strncmp(sql, part->create, len) == 0 && sql[len] == '\0';
    return !part->is_view || *ours ? SQLITE_OK : has_part(db, part, ours);
}

/* The same view under another name. Its text is "CREATE VIEW ", the name as it was written, and the rest. */
static int name_anew(const char *sql, const char *name, char **renamed)
{
    static const char begin[] = "CREATE VIEW ";
    size_t at = strlen(begin);

    if (sqlite3_strnicmp(sql, begin, (int)at) != 0)
        return SQLITE_ERROR;
    at += strlen(name) + (sqlite3_strnicmp(sql + at, name, (int)strlen(name)) != 0 ? 2 : 0); /* in quotes */
    if (strlen(sql) <= at)
        return SQLITE_ERROR;
    /* In quotes: behind a name that was in quotes the rest may begin with a letter. */
    *renamed = sqlite3_mprintf("%s\"%w_until_%lld\"%s", begin, name, (long long)time(NULL), sql + at);
    return *renamed != NULL ? SQLITE_OK : SQLITE_NOMEM;
}

/* A view cannot be renamed: it is dropped and, when it is somebody else's, made again. */
static int move_view(sqlite3 *db, const struct part *part)
{
    bool ours = false;
    char *sql = NULL;
    char *renamed = NULL;
    int code = read_view(db, part->name, &sql);

    if (code == SQLITE_OK && sql != NULL)
        code = is_our_view(db, part, sql, &ours);
    if (code == SQLITE_OK && sql != NULL && !ours)
        code = name_anew(sql, part->name, &renamed);
    if (code == SQLITE_OK)
        code = drop(db, "VIEW", part->name);
    if (code == SQLITE_OK && renamed != NULL)
        code = sqlite3_exec(db, renamed, NULL, NULL, NULL);
    sqlite3_free(sql);
    sqlite3_free(renamed);
    return code;
}

/* Makes room for a part. A table or view that has its name was made or changed by somebody, and is theirs to
 * look at; an index holds nothing, and cannot be renamed. */
static int make_room(sqlite3 *db, const struct part *part)
{
    const char *name = part->name;
    static const char look[] = "SELECT type FROM sqlite_schema WHERE name = '%s' COLLATE NOCASE AND type <> "
                               "'trigger'";
    char sql[128];
    int64_t is_table = 0;
    int64_t is_index = 0;
    int code;

    snprintf(sql, sizeof(sql), look, name);
    code = store_tables_query(db, sql, "table", &is_table);
    if (code == SQLITE_OK)
        code = store_tables_query(db, sql, "index", &is_index);
    if (code != SQLITE_OK)
        return code;
    if (is_index)
        return drop(db, "INDEX", name);
    if (!is_table)
        return move_view(db, part);
    snprintf(sql, sizeof(sql), "ALTER TABLE %s RENAME TO %s_until_%lld", name, name, (long long)time(NULL));
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

static int restore_parts(struct sqlite3 *db)
{
    bool has = false;
    int code = SQLITE_OK;

    /* First: a view would follow the table that is renamed. */
    for (size_t i = 0; i < PART_COUNT && code == SQLITE_OK; i++)
        if (parts[i].is_view)
            code = make_room(db, &parts[i]);
    for (size_t i = 0; i < PART_COUNT && code == SQLITE_OK; i++) {
        code = has_part(db, &parts[i], &has);
        if (code == SQLITE_OK && !has && !parts[i].is_view)
            code = make_room(db, &parts[i]);
        if (code == SQLITE_OK && !has)
            code = sqlite3_exec(db, parts[i].create, NULL, NULL, NULL);
    }
    return code;
}

int store_tables_restore(struct sqlite3 *db)
{
    /* A renamed table would be refused for the sake of somebody's view that has become invalid. */
    int code = sqlite3_exec(db, "PRAGMA legacy_alter_table = ON", NULL, NULL, NULL);

    if (code == SQLITE_OK)
        code = restore_parts(db);
    sqlite3_exec(db, "PRAGMA legacy_alter_table = OFF", NULL, NULL, NULL);
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
    /* So far a new version only had more than those before it. */
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

int store_tables_are_ours(sqlite3 *db, bool *ours)
{
    int64_t others = 0;
    bool usage = false;
    int code = has_part(db, KEY_STATE, ours);

    if (code == SQLITE_OK && !*ours)
        code = has_part(db, USAGE, &usage);
    if (code == SQLITE_OK && !*ours) {
        code = store_tables_query(
            db,
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite^_%' "
            "ESCAPE '^'",
            NULL, &others);
        *ours = others == (usage ? 1 : 0);
    }
    return code;
}
