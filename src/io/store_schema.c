/*
 * store_schema: the state database as a file. The master calls it before it forks, the
 * housekeeper when the file has to be made anew, clavigerctl for its connections.
 */
#include "io/store_schema.h"

#include "io/store_file.h"
#include "io/store_tables.h"
#include "io/store_vfs.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A file up to this size is read through for damage at the start: some 20 ms. Of a larger one the key states
 * are. */
#define CHECK_MAX_BYTES (4 * 1024 * 1024)

bool store_schema_is_busy(int sqlite_code)
{
    int code = sqlite_code & 0xff;

    return code == SQLITE_BUSY || code == SQLITE_LOCKED || code == SQLITE_PROTOCOL;
}

bool store_schema_is_damage(int sqlite_code)
{
    int code = sqlite_code & 0xff;

    return code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
}

const char *store_schema_advice(int sqlite_code)
{
    switch (sqlite_code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return "another process holds it locked: fuser(1) shows which; end that one or try again";
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CANTOPEN:
    case SQLITE_AUTH:
        return "check owner and mode of the file and of its directory";
    case SQLITE_ERROR:
        return "its tables are not what they should be: the daemon makes them again";
    case SQLITE_CONSTRAINT:
        return "a trigger or constraint that somebody added refuses it: remove that";
    case SQLITE_FULL:
        return "free some space on its file system";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "the daemon moves the file aside and makes it again";
    default:
        return "check its file system";
    }
}

static void explain(struct buf *reason, const char *path, const char *what, sqlite3 *db, int code)
{
    int error = db != NULL ? sqlite3_system_errno(db) : 0;

    buf_printf(reason, "state database %s: %s: %s", path, what, sqlite3_errstr(code));
    if (error != 0)
        buf_printf(reason, " (%s)", strerror(error));
    buf_printf(reason, "; %s", store_schema_advice(code));
}

static void explain_errno(struct buf *reason, const char *path, const char *what)
{
    buf_printf(
        reason,
        "state database %s: %s: %s; check that its directory exists and that this user may write there", path,
        what, strerror(errno));
}

/* A connection without any pragma. It is to be closed whatever the result. */
static int open_plain(const char *path, int busy_ms, sqlite3 **db)
{
    int code =
        sqlite3_open_v2(path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE,
                        store_vfs_name(busy_ms));

    if (code == SQLITE_OK) {
        sqlite3_extended_result_codes(*db, 1);
        store_vfs_wait(*db, busy_ms);
        code = sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    }
    return code;
}

/* Whether the file is an SQLite database of somebody else: it has tables but no schema version of ours. */
static int is_foreign(sqlite3 *db, int64_t *foreign)
{
    int64_t version = 0;
    int64_t things = 0;
    int code = store_tables_query(db, "PRAGMA user_version", NULL, &version);

    if (code == SQLITE_OK)
        code = store_tables_query(db, "SELECT count(*) FROM sqlite_schema", NULL, &things);
    *foreign = version < 0 || (version == 0 && things > 0);
    return code;
}

static void explain_foreign(struct buf *reason, const char *path)
{
    buf_printf(
        reason,
        "state database %s: is an SQLite database of something else; name another file in state_db or move "
        "this one away",
        path);
}

/* WAL mode stays in the file, so a file of somebody else is not touched. */
static int switch_to_wal(sqlite3 *db, const char *path, struct buf *reason)
{
    int64_t is_wal = 0;
    int64_t foreign = 0;
    int code = store_tables_query(db, "PRAGMA journal_mode", "wal", &is_wal);

    if (code == SQLITE_OK && !is_wal)
        code = is_foreign(db, &foreign);
    if (code == SQLITE_OK && !is_wal && !foreign)
        code = store_tables_query(db, "PRAGMA journal_mode = WAL", "wal", &is_wal);
    if (code != SQLITE_OK) {
        explain(reason, path, "cannot be opened", db, code);
    } else if (foreign) {
        explain_foreign(reason, path);
        code = SQLITE_MISMATCH;
    } else if (!is_wal) {
        buf_printf(
            reason,
            "state database %s: its file system does not allow WAL mode; put it on a local file system",
            path);
        code = SQLITE_CANTOPEN;
    }
    return code;
}

static int refuse_foreign(sqlite3 *db, const char *path, struct buf *reason)
{
    int64_t foreign = 0;
    int code = is_foreign(db, &foreign);

    if (code != SQLITE_OK) {
        explain(reason, path, "cannot be opened", db, code);
    } else if (foreign) {
        explain_foreign(reason, path);
        code = SQLITE_MISMATCH;
    }
    return code;
}

/* ready: the last step, switch_to_wal() or refuse_foreign(). */
static sqlite3 *open_file(const char *path, int busy_ms, int (*ready)(sqlite3 *, const char *, struct buf *),
                          int *sqlite_code, struct buf *reason)
{
    sqlite3 *db = NULL;
    struct stat before;
    struct stat after;

    memset(&before, 0, sizeof(before));
    stat(path, &before);
    *sqlite_code = open_plain(path, busy_ms, &db);
    if (*sqlite_code == SQLITE_OK)
        *sqlite_code =
            sqlite3_exec(db,
                         "PRAGMA mmap_size = 0; PRAGMA wal_autocheckpoint = 0; PRAGMA synchronous = NORMAL;"
                         "PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;",
                         NULL, NULL, NULL);
    if (*sqlite_code != SQLITE_OK)
        explain(reason, path, "cannot be opened", db, *sqlite_code);
    else
        *sqlite_code = ready(db, path, reason);
    /* SQLite has opened the file first and -wal and -shm when it read for the first time. Were these another
     * file's, it would write the one's pages into the other's WAL. */
    if (*sqlite_code == SQLITE_OK &&
        (stat(path, &after) < 0 || before.st_ino != after.st_ino || before.st_dev != after.st_dev)) {
        *sqlite_code = SQLITE_BUSY;
        buf_printf(reason, "state database %s: was replaced while it was opened; try again", path);
    }
    if (*sqlite_code == SQLITE_OK)
        return db;
    sqlite3_close(db);
    return NULL;
}

struct sqlite3 *store_schema_connect(const char *path, bool create, int busy_ms, int *sqlite_code,
                                     struct buf *reason)
{
    if (create && store_file_make(path) < 0 && errno != EEXIST) {
        explain_errno(reason, path, "cannot be created");
        *sqlite_code = SQLITE_CANTOPEN;
        return NULL;
    }
    return open_file(path, busy_ms, switch_to_wal, sqlite_code, reason);
}

struct sqlite3 *store_schema_visit(const char *path, int busy_ms, int *sqlite_code, struct buf *reason)
{
    return open_file(path, busy_ms, refuse_foreign, sqlite_code, reason);
}

bool store_schema_is_stripped(const char *path, int busy_ms)
{
    sqlite3 *db = NULL;
    int64_t version = 0;
    bool complete = true;
    int code = open_plain(path, busy_ms, &db);

    if (code == SQLITE_OK)
        code = store_tables_query(db, "PRAGMA user_version", NULL, &version);
    if (code == SQLITE_OK && version == STORE_SCHEMA_VERSION)
        code = store_tables_complete(db, &complete);
    sqlite3_close(db);
    return code == SQLITE_OK && !complete;
}

/* Makes a new database at PATH. like: the file that was there, whose owner it gets; NULL = none. */
static int create_new(const char *path, const struct stat *like, bool replace, struct buf *reason)
{
    char grown[PATH_MAX];
    sqlite3 *db;
    int code;

    if (!store_file_grow_name(path, grown)) {
        explain_errno(reason, path, "cannot be created");
        return -1;
    }
    db = store_schema_connect(grown, true, 0, &code, reason);
    if (db == NULL) {
        unlink(grown);
        return -1;
    }
    code = store_tables_migrate(db);
    /* Closed with a checkpoint, so that the one file is the whole database. Nobody else knows it yet. */
    if (code == SQLITE_OK)
        code = sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    if (code != SQLITE_OK)
        explain(reason, path, "cannot be created", db, code);
    sqlite3_close(db);
    if (code == SQLITE_OK && (like == NULL || store_file_give(grown, like->st_uid, like->st_gid) == 0) &&
        store_file_appear(grown, path, replace) == 0)
        return 0;
    if (code == SQLITE_OK)
        explain_errno(reason, path, "cannot be created");
    unlink(grown);
    store_file_drop_sidecars(grown);
    return -1;
}

int store_schema_salvage(struct sqlite3 *db, const char *path, int *sqlite_code, struct buf *reason)
{
    char grown[PATH_MAX];
    sqlite3_stmt *stmt = NULL;

    *sqlite_code = SQLITE_CANTOPEN;
    if (!store_file_grow_name(path, grown) || store_file_make(grown) < 0) {
        explain_errno(reason, path, "cannot be created again");
        return -1;
    }
    *sqlite_code = sqlite3_prepare_v2(db, "VACUUM INTO ?1", -1, &stmt, NULL);
    if (*sqlite_code == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, grown, -1, SQLITE_STATIC);
        *sqlite_code = sqlite3_step(stmt);
    }
    sqlite3_finalize(stmt);
    if (*sqlite_code == SQLITE_DONE) {
        *sqlite_code = SQLITE_OK;
        if (store_file_appear(grown, path, true) == 0)
            return 0;
        explain_errno(reason, path, "cannot be created again");
        *sqlite_code = SQLITE_CANTOPEN;
    } else {
        explain(reason, path, "cannot be copied", db, *sqlite_code);
    }
    unlink(grown);
    return -1;
}

enum verdict { GOOD, OLDER, DAMAGED, REFUSED };

/* Judges a file that exists, and leaves it as it is; whole: all of it is looked at for damage, however long
 * that takes. On REFUSED *reason says why. */
static enum verdict examine(const char *path, bool whole, int busy_ms, struct buf *reason)
{
    const char *look = whole ? "PRAGMA integrity_check(1)" : "PRAGMA integrity_check(key_state)";
    sqlite3 *db = NULL;
    int64_t version = 0;
    int64_t foreign = 0;
    int64_t sound = 1;
    bool ours = true;
    int code = open_plain(path, busy_ms, &db);
    enum verdict verdict = REFUSED;

    if (code == SQLITE_OK)
        code = store_tables_query(db, "PRAGMA user_version", NULL, &version);
    if (code == SQLITE_OK)
        code = is_foreign(db, &foreign);
    if (code == SQLITE_OK && version <= STORE_SCHEMA_VERSION && !foreign)
        code = store_tables_query(db, look, "ok", &sound);
    if (code == SQLITE_OK && version > 0 && version <= STORE_SCHEMA_VERSION && sound)
        code = store_tables_are_ours(db, &ours);
    if (store_schema_is_damage(code) || (code == SQLITE_OK && !sound)) {
        verdict = DAMAGED;
    } else if (code != SQLITE_OK) {
        explain(reason, path, "cannot be read", db, code);
    } else if (sqlite3_db_readonly(db, "main") == 1) {
        explain(reason, path, "cannot be written", NULL, SQLITE_READONLY);
    } else if (version > STORE_SCHEMA_VERSION) {
        buf_printf(reason,
                   "state database %s: was made by a newer version (schema %lld, known up to %d); "
                   "install that version or move the file away",
                   path, (long long)version, STORE_SCHEMA_VERSION);
    } else if (foreign || !ours) {
        explain_foreign(reason, path);
    } else {
        verdict = version < STORE_SCHEMA_VERSION ? OLDER : GOOD;
    }
    sqlite3_close(db);
    return verdict;
}

/* Switches an existing file to WAL and brings its tables up to date. */
static int bring_up(const char *path, int busy_ms, struct buf *reason)
{
    int code;
    sqlite3 *db = store_schema_connect(path, false, busy_ms, &code, reason);

    if (db == NULL)
        return -1;
    code = store_tables_migrate(db);
    if (code != SQLITE_OK)
        explain(reason, path, "cannot be brought up to date", db, code);
    sqlite3_close(db);
    return code == SQLITE_OK ? 0 : -1;
}

int store_schema_check(const char *path, struct buf *reason)
{
    struct stat st;

    if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return 0; /* made anew, or conf has said what is wrong */
    return examine(path, st.st_size <= CHECK_MAX_BYTES, 0, reason) == REFUSED ? -1 : 0;
}

/* whole: see examine(). */
static int make_ready(const char *path, bool whole, int busy_ms, char **damaged, struct buf *reason)
{
    struct stat st;
    enum verdict verdict;

    *damaged = NULL;
    if (lstat(path, &st) < 0) {
        if (errno != ENOENT) {
            explain_errno(reason, path, "cannot be looked at");
            return -1;
        }
        if (create_new(path, NULL, false, reason) < 0)
            return -1;
    } else if (!S_ISREG(st.st_mode)) {
        buf_printf(reason, "state database %s: is not a regular file; name a file itself in state_db", path);
        return -1;
    } else if (st.st_size == 0) {
        if (create_new(path, &st, true, reason) < 0)
            return -1;
    } else {
        verdict = examine(path, whole || st.st_size <= CHECK_MAX_BYTES, busy_ms, reason);
        if (verdict == REFUSED)
            return -1;
        if (verdict == DAMAGED && store_file_set_aside(path, damaged) < 0) {
            explain_errno(reason, path, "is damaged and cannot be moved aside");
            return -1;
        }
        if (verdict == DAMAGED && create_new(path, &st, false, reason) < 0)
            return -1;
        if (verdict != DAMAGED && bring_up(path, busy_ms, reason) < 0)
            return -1;
    }
    return 0;
}

int store_schema_prepare(const char *path, uid_t owner, gid_t group, int busy_ms, char **damaged,
                         struct buf *reason)
{
    if (make_ready(path, false, busy_ms, damaged, reason) < 0)
        return -1;
    if (store_file_give(path, owner, group) < 0) {
        explain_errno(reason, path, "cannot be given to the user of the workers");
        return -1;
    }
    return 0;
}

int store_schema_repair(const char *path, int busy_ms, char **damaged, struct buf *reason)
{
    return make_ready(path, true, busy_ms, damaged, reason);
}

static const struct key *find_configured(const struct provider_list *providers, const char *provider,
                                         const char *key_id)
{
    for (size_t p = 0; p < providers->count; p++) {
        const struct provider *item = &providers->items[p];

        if (strcmp(item->name, provider) != 0)
            continue;
        for (size_t k = 0; k < item->key_count; k++)
            if (strcmp(item->keys[k].id, key_id) == 0)
                return &item->keys[k];
    }
    return NULL;
}

/* Takes the position from the rows of keys that are no longer configured. */
static int retire_rows(sqlite3 *db, const struct provider_list *providers)
{
    sqlite3_stmt *rows = NULL;
    sqlite3_stmt *retire = NULL;
    int code = sqlite3_prepare_v2(
        db, "SELECT rowid, provider, key_id FROM key_state WHERE position IS NOT NULL ORDER BY rowid", -1,
        &rows, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, "UPDATE key_state SET position = NULL WHERE rowid = ?1", -1, &retire,
                                  NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(rows)) == SQLITE_ROW) {
        const char *provider = (const char *)sqlite3_column_text(rows, 1);
        const char *key_id = (const char *)sqlite3_column_text(rows, 2);

        code = SQLITE_OK;
        if (provider == NULL || key_id == NULL || find_configured(providers, provider, key_id) != NULL)
            continue;
        sqlite3_bind_int64(retire, 1, sqlite3_column_int64(rows, 0));
        sqlite3_step(retire);
        code = sqlite3_reset(retire);
    }
    sqlite3_finalize(rows);
    sqlite3_finalize(retire);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int place_rows(sqlite3 *db, const struct provider_list *providers)
{
    sqlite3_stmt *place = NULL;
    int code = sqlite3_prepare_v2(
        db,
        "INSERT INTO key_state(provider, key_id, hint, position) VALUES(?1, ?2, ?3, ?4)"
        " ON CONFLICT(provider, key_id) DO UPDATE SET hint = excluded.hint, position = excluded.position"
        " WHERE hint IS NOT excluded.hint OR position IS NOT excluded.position",
        -1, &place, NULL);

    for (size_t p = 0; p < providers->count; p++) {
        const struct provider *provider = &providers->items[p];

        for (size_t k = 0; code == SQLITE_OK && k < provider->key_count; k++) {
            sqlite3_bind_text(place, 1, provider->name, -1, SQLITE_STATIC);
            sqlite3_bind_text(place, 2, provider->keys[k].id, -1, SQLITE_STATIC);
            sqlite3_bind_text(place, 3, provider->keys[k].hint, -1, SQLITE_STATIC);
            sqlite3_bind_int64(place, 4, (sqlite3_int64)k);
            sqlite3_step(place);
            code = sqlite3_reset(place);
        }
    }
    sqlite3_finalize(place);
    return code;
}

int store_schema_place(struct sqlite3 *db, const struct provider_list *providers)
{
    int code = retire_rows(db, providers);

    return code == SQLITE_OK ? place_rows(db, providers) : code;
}

int store_schema_sync(const char *path, const struct provider_list *providers, int busy_ms,
                      struct buf *reason)
{
    int code;
    sqlite3 *db = store_schema_connect(path, false, busy_ms, &code, reason);

    if (db == NULL)
        return -1;
    code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = store_schema_place(db, providers);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        explain(reason, path, "cannot take the configured keys", db, code);
    sqlite3_close(db);
    return code == SQLITE_OK ? 0 : -1;
}

const char *store_schema_library_version(void)
{
    static char text[32];
    (void)snprintf(text, sizeof(text), "SQLite/%s", sqlite3_libversion());
    return text;
}
