/*
 * housekeeper: keeps the database file in order: checkpoints it, notices that it was deleted, replaced or
 * damaged, and makes it again from what this process and the shared memory know. Called by the admin process
 * once a tick.
 *
 * Nobody else may checkpoint. It must not open() the database beside SQLite (see store_file.c), so all it
 * knows of the files comes from lstat().
 */
#include "io/housekeeper.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "io/store_checkpoint.h"
#include "io/store_deadlines.h"
#include "io/store_file.h"
#include "io/store_schema.h"
#include "io/store_tables.h"
#include "io/store_trouble.h"
#include "io/store_usage.h"
#include "io/store_vfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long one step may wait for a lock; the admin listener waits with it. */
#define BUSY_MS 100
/* Token counts come again at the next tick. */
#define USAGE_BUSY_MS 20
/* A file that others use is given more time at the end, when nobody waits. */
#define LAST_BUSY_MS 1000
/* How often the file is read through for damage, and up to which size: well under a millisecond. Of a larger
 * one the key states are. */
#define CHECK_MS        1000
#define CHECK_MAX_BYTES (256 * 1024)
/* A mark's time is that of its process's loop, which may lie this far behind. */
#define MARK_SLACK_MS 1000

enum health {
    FINE,
    UNKNOWN,  /* the file system does not say */
    GONE,     /* no file at PATH */
    REPLACED, /* another file at PATH */
    ORPHANED, /* -wal or -shm is gone or another one */
    SUSPECT,  /* a process met damage, or the file has shrunk */
    STRIPPED, /* a table or view was dropped or changed */
};

static const char *const health_words[] = {
    [FINE] = "sound",
    [UNKNOWN] = "not readable",
    [GONE] = "deleted",
    [REPLACED] = "replaced",
    [ORPHANED] = "robbed of its -wal or -shm file",
    [SUSPECT] = "reported damaged",
    [STRIPPED] = "robbed of its tables",
};

struct kept_key {
    const struct provider *provider;
    const struct key *key;
    const struct key_state *state; /* in the pools */
    struct shared_key *slot;
    struct key_state kept; /* what the file held before it was lost */
};

struct housekeeper {
    struct housekeeper_options options;
    struct kept_key *keys;
    size_t count;
    struct store_trouble trouble;
    sqlite3 *db;                     /* NULL until the file at PATH is adopted */
    struct store_file_identity seen; /* the files that db has open */
    int64_t tables; /* SQLite's schema_version when its tables were looked at last; -1 = never */
    int lock_fd;
    bool holds_lock;
    bool sync_due;
    enum health keeping;  /* why `kept` is to be written to the next file; FINE = it is not */
    int64_t redo_since;   /* marks from this monotonic time on are looked for in the file */
    int64_t redo_until;   /* and only up to this one: what comes later went to the new file */
    unsigned redo_rounds; /* so many ticks more */
    int64_t check_at;
    struct store_deadlines deadlines;
    struct store_checkpoint checkpoint;
    struct store_usage usage;
};

/* Takes the lock when it is free. A lock file that was removed is no lock any more. */
static void take_lock(struct housekeeper *hk)
{
    char name[PATH_MAX];
    struct stat st;

    if (hk->lock_fd >= 0 && (fstat(hk->lock_fd, &st) < 0 || st.st_nlink == 0)) {
        fd_close(&hk->lock_fd);
        hk->holds_lock = false;
    }
    if (hk->holds_lock)
        return;
    if (hk->lock_fd < 0 && snprintf(name, sizeof(name), "%s.lock", hk->options.path) < (int)sizeof(name))
        hk->lock_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    hk->holds_lock = hk->lock_fd >= 0 && flock(hk->lock_fd, LOCK_EX | LOCK_NB) == 0;
}

/* Whether the open database lacks its tables. What cannot be asked now is asked at the next tick. */
static bool is_stripped(struct housekeeper *hk)
{
    int64_t tables = 0;
    bool complete = true;

    if (store_tables_query(hk->db, "PRAGMA schema_version", NULL, &tables) != SQLITE_OK ||
        tables == hk->tables || store_tables_complete(hk->db, &complete) != SQLITE_OK)
        return false;
    if (complete)
        hk->tables = tables;
    return !complete;
}

/* Looks for damage that no process meets because it has the pages in its memory. */
static void check(struct housekeeper *hk, const struct store_clock *now)
{
    const char *look =
        hk->seen.size <= CHECK_MAX_BYTES ? "PRAGMA quick_check(1)" : "PRAGMA quick_check(key_state)";
    int64_t sound = 1;
    int code;

    if (hk->db == NULL || now->mono_ms < hk->check_at)
        return;
    hk->check_at = now->mono_ms + CHECK_MS;
    sqlite3_db_release_memory(hk->db);
    code = store_tables_query(hk->db, look, "ok", &sound);
    if (store_schema_is_damage(code) || (code == SQLITE_OK && !sound))
        atomic_store(&hk->options.shared->database_damaged, 1);
}

static enum health look(struct housekeeper *hk)
{
    struct store_file_identity now;

    if (store_file_identify(hk->options.path, &now) < 0)
        return errno == ENOENT || errno == ENOTDIR ? GONE : UNKNOWN;
    if (hk->db != NULL && (now.dev != hk->seen.dev || now.ino != hk->seen.ino))
        return REPLACED;
    if (atomic_load(&hk->options.shared->database_damaged) != 0)
        return SUSPECT;
    if (hk->db == NULL)
        return store_schema_is_stripped(hk->options.path, BUSY_MS) ? STRIPPED : FINE;
    if (now.wal != hk->seen.wal || now.shm != hk->seen.shm)
        return ORPHANED;
    if (now.size < hk->seen.size)
        return SUSPECT;
    hk->seen.size = now.size;
    return is_stripped(hk) ? STRIPPED : FINE;
}

static void detach(struct housekeeper *hk)
{
    sqlite3_close(hk->db);
    hk->db = NULL;
}

/* Opens the file at PATH and remembers which it is. An SQLite result code; SQLITE_BUSY also when the file
 * changed under our hands. */
static int attach(struct housekeeper *hk, struct buf *reason)
{
    const char *path = hk->options.path;
    struct store_file_identity before;
    int code;

    if (store_file_identify(path, &before) < 0) {
        buf_printf(reason, "state database %s: is not there", path);
        return SQLITE_CANTOPEN;
    }
    hk->db = store_schema_connect(path, false, BUSY_MS, &code, reason);
    if (hk->db == NULL)
        return code;
    /* Reading makes SQLite open -wal and -shm. */
    code = sqlite3_exec(hk->db, "SELECT count(*) FROM key_state", NULL, NULL, NULL);
    if (code != SQLITE_OK) {
        buf_printf(reason, "state database %s: cannot be used: %s; %s", path, sqlite3_errmsg(hk->db),
                   store_schema_advice(code));
        detach(hk);
        return code;
    }
    hk->tables = -1;
    store_deadlines_forget(&hk->deadlines);
    if (store_file_identify(path, &hk->seen) < 0 || hk->seen.ino != before.ino ||
        hk->seen.dev != before.dev) {
        detach(hk);
        return SQLITE_BUSY;
    }
    return SQLITE_OK;
}

/* One kept state into its row: never less than what is there. */
static int write_back_key(sqlite3_stmt *stmt, const struct kept_key *key, const struct store_clock *now)
{
    int64_t until =
        key->kept.until_ms > now->mono_ms ? now->real_ms + (key->kept.until_ms - now->mono_ms) : 0;
    struct shared_mark last;
    int64_t marked;
    bool known = shared_key_last(key->slot, &last, &marked) && last.permanent == key->kept.permanent;

    /* The mark itself, when that is what the state comes from: two clocks differ by a rounding. */
    if (known && last.until_real_ms > until && last.until_real_ms - until < MARK_SLACK_MS)
        until = last.until_real_ms;
    sqlite3_bind_text(stmt, 1, key->provider->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, key->key->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, key->key->hint, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, (sqlite3_int64)(key->key - key->provider->keys));
    sqlite3_bind_int64(stmt, 5, key->kept.permanent);
    sqlite3_bind_int64(stmt, 6, until);
    sqlite3_bind_null(stmt, 7);
    if (known && last.status != 0)
        sqlite3_bind_int64(stmt, 7, last.status);
    sqlite3_bind_text(stmt, 8, known ? key_mark_reason(last.status) : "restored", -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 9, now->real_ms);
    sqlite3_step(stmt);
    return sqlite3_reset(stmt);
}

/* Writes what was kept of a lost file, inside a transaction. An SQLite result code. */
static int write_back_keys(struct housekeeper *hk, sqlite3 *db, const struct store_clock *now,
                           size_t *restored)
{
    sqlite3_stmt *stmt = NULL;
    int code = sqlite3_prepare_v2(
        db,
        "INSERT INTO key_state(provider, key_id, hint, position, permanent, cooldown_until, last_status, "
        "reason,"
        " failures, updated_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9)"
        " ON CONFLICT(provider, key_id) DO UPDATE SET"
        " permanent = MAX(permanent, excluded.permanent),"
        " cooldown_until = MAX(cooldown_until, excluded.cooldown_until),"
        " last_status = excluded.last_status, reason = excluded.reason, failures = MAX(failures, 1),"
        " updated_at = excluded.updated_at"
        " WHERE permanent < excluded.permanent"
        " OR (permanent = excluded.permanent AND cooldown_until < excluded.cooldown_until)",
        -1, &stmt, NULL);

    for (size_t i = 0; code == SQLITE_OK && i < hk->count; i++) {
        if (key_status(&hk->keys[i].kept, now->mono_ms) == KEY_VALID)
            continue;
        code = write_back_key(stmt, &hk->keys[i], now);
        (*restored)++;
    }
    sqlite3_finalize(stmt);
    return code;
}

/* The same to the file that is open now. */
static int write_back(struct housekeeper *hk, const struct store_clock *now, size_t *restored)
{
    int code = sqlite3_exec(hk->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (code == SQLITE_OK)
        code = write_back_keys(hk, hk->db, now, restored);
    if (code == SQLITE_OK)
        code = sqlite3_exec(hk->db, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK && sqlite3_get_autocommit(hk->db) == 0)
        sqlite3_exec(hk->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* Has marks written again that are clean in shared memory though the file does not hold them: they were
 * committed to the file that was lost, after it had been copied. */
static void redo_marks(struct housekeeper *hk, const struct store_clock *now)
{
    bool any = false;

    store_refresh(hk->options.store, now);
    for (size_t i = 0; i < hk->count; i++) {
        struct kept_key *key = &hk->keys[i];
        struct key_state state = *key->state;
        struct shared_mark last;
        struct mark mark = {0};
        int64_t marked;

        if (!shared_key_last(key->slot, &last, &marked) || marked < hk->redo_since)
            continue;
        mark.permanent = last.permanent;
        mark.until_ms = now->mono_ms + (shared_mark_until(&last, now->mono_ms, now->real_ms) - now->real_ms);
        if ((last.permanent || mark.until_ms > now->mono_ms) && key_mark(&state, &mark)) {
            shared_key_redo(key->slot);
            any = true;
        }
    }
    if (any)
        atomic_fetch_add(&hk->options.shared->key_generation, 1);
}

/* Makes the file at PATH the one that every process uses. An SQLite result code. */
static int adopt(struct housekeeper *hk, const struct store_clock *now, struct buf *reason)
{
    struct shared *shared = hk->options.shared;
    size_t restored = 0;
    int code = attach(hk, reason);

    if (code == SQLITE_OK && hk->keeping != FINE) {
        code = write_back(hk, now, &restored);
        if (code != SQLITE_OK) {
            buf_printf(reason, "state database %s: what is known of the keys cannot be written: %s; %s",
                       hk->options.path, sqlite3_errmsg(hk->db), store_schema_advice(code));
            detach(hk);
        }
    }
    if (code != SQLITE_OK)
        return code;
    /* At the first time too: the processes may have opened another file than the one that is here now. */
    atomic_fetch_add(&shared->database_epoch, 1);
    atomic_fetch_add(&shared->key_generation, 1);
    atomic_store(&shared->database_damaged, 0);
    if (hk->keeping != FINE)
        log_warning("state database %s: was %s; it is in use again, with the states of %zu marked keys",
                    hk->options.path, health_words[hk->keeping], restored);
    /* At the first time: the process before this one may have ended between the copy and this. Otherwise once
     * more at the next tick, for a worker that was killed before it could look at the epoch. */
    if (hk->keeping == FINE)
        hk->redo_since = now->mono_ms - 2 * MARK_SLACK_MS;
    hk->redo_rounds = hk->keeping == FINE ? 1 : 2;
    hk->redo_until = now->mono_ms + MARK_SLACK_MS;
    hk->keeping = FINE;
    return SQLITE_OK;
}

/* Takes the newest states as what the next file has to hold. */
static void keep_states(struct housekeeper *hk, enum health why, const struct store_clock *now)
{
    if (hk->keeping != FINE)
        return;
    for (size_t i = 0; i < hk->count; i++)
        hk->keys[i].kept = *hk->keys[i].state;
    hk->keeping = why;
    hk->redo_since = now->mono_ms - MARK_SLACK_MS;
}

/* What an open connection still reaches goes to a new file at PATH. An SQLite result code: SQLITE_OK also
 * when there is nothing sound to copy, so that a new file is the way. */
static int salvage(struct housekeeper *hk, enum health health, struct buf *reason)
{
    struct buf why = {0};
    char *moved = NULL;
    int code = SQLITE_OK;

    if (hk->db != NULL && store_schema_salvage(hk->db, hk->options.path, &code, &why) < 0) {
        if (!store_schema_is_damage(code)) {
            buf_puts(reason, why.data != NULL ? why.data : "out of memory");
        } else {
            code = SQLITE_OK;
            if (health == ORPHANED && store_file_set_aside(hk->options.path, &moved) < 0) {
                buf_printf(reason, "state database %s: is damaged and cannot be moved aside; move it away",
                           hk->options.path);
                code = SQLITE_CANTOPEN;
            }
        }
    }
    buf_fini(&why);
    free(moved);
    return code;
}

/* Tables, rows and states in one step, so that nobody takes empty rows for an operator's word. An SQLite
 * result code. */
static int restore_tables(struct housekeeper *hk, const struct store_clock *now, struct buf *reason)
{
    const char *path = hk->options.path;
    size_t restored = 0;
    int code;
    sqlite3 *db = store_schema_connect(path, false, BUSY_MS, &code, reason);

    if (db == NULL)
        return code;
    code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = store_tables_restore(db);
    if (code == SQLITE_OK)
        code = store_schema_place(db, hk->options.providers);
    if (code == SQLITE_OK)
        code = write_back_keys(hk, db, now, &restored);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK)
        buf_printf(reason, "state database %s: its tables cannot be made again: %s; %s", path,
                   sqlite3_errmsg(db), store_schema_advice(code));
    sqlite3_close(db); /* takes back what was not committed */
    return code;
}

/* Brings a sound file to PATH, only under the lock. An SQLite result code. */
static int mend(struct housekeeper *hk, enum health health, const struct store_clock *now, struct buf *reason)
{
    const char *path = hk->options.path;
    char *damaged = NULL;
    int code = SQLITE_OK;

    if (health == STRIPPED) {
        code = restore_tables(hk, now, reason);
        detach(hk);
        return code;
    }
    if (health == GONE || health == ORPHANED)
        code = salvage(hk, health, reason);
    if (code != SQLITE_OK)
        return code;
    /* A new file must not meet the old one's WAL. */
    if (health == REPLACED && store_file_beside(path, "-wal", NULL) == hk->seen.wal)
        store_file_drop_sidecars(path);
    detach(hk);
    if ((health == SUSPECT ? store_schema_repair(path, BUSY_MS, &damaged, reason)
                           : store_schema_prepare(path, (uid_t)-1, (gid_t)-1, BUSY_MS, &damaged, reason)) < 0)
        return SQLITE_CANTOPEN;
    if (damaged != NULL)
        log_error("state database %s: is damaged; it was moved to %s and is made again", path, damaged);
    free(damaged);
    hk->sync_due = true;
    return SQLITE_OK;
}

static int sync_keys(struct housekeeper *hk, struct buf *reason)
{
    if (!hk->sync_due)
        return SQLITE_OK;
    if (store_schema_sync(hk->options.path, hk->options.providers, BUSY_MS, reason) < 0)
        return SQLITE_CANTOPEN;
    hk->sync_due = false;
    return SQLITE_OK;
}

/* Passes the SQLite result code on. */
static int note_damage(struct housekeeper *hk, int code)
{
    if (store_schema_is_damage(code))
        atomic_store(&hk->options.shared->database_damaged, 1);
    return code;
}

/* An SQLite result code. */
static int keep_usage(struct housekeeper *hk, const struct store_clock *now)
{
    int code;

    store_vfs_wait(hk->db, USAGE_BUSY_MS);
    code = store_usage_tick(&hk->usage, hk->db, hk->holds_lock, now);
    store_vfs_wait(hk->db, BUSY_MS);
    /* A file that could only be read when it was opened stays so for this connection. */
    if ((code & 0xff) == SQLITE_READONLY && sqlite3_db_readonly(hk->db, "main") == 1)
        detach(hk);
    return code;
}

/* Everything about the file itself. An SQLite result code. */
static int keep_file(struct housekeeper *hk, const struct store_clock *now, struct buf *reason)
{
    enum health health;
    int code = SQLITE_OK;
    bool lost;

    check(hk, now);
    health = look(hk);
    if (health == UNKNOWN) {
        buf_printf(reason, "state database %s: cannot be looked at; check the modes of its directories",
                   hk->options.path);
        return SQLITE_CANTOPEN;
    }
    /* Without the lock only what another daemon has made is taken over. */
    lost = health == REPLACED || (health != FINE && hk->holds_lock);
    if (lost)
        keep_states(hk, health, now);
    if (hk->holds_lock && (lost || hk->db == NULL))
        code = mend(hk, health, now, reason);
    else if (lost)
        detach(hk);
    if (code == SQLITE_OK && hk->db == NULL && (lost || health == FINE)) {
        code = sync_keys(hk, reason);
        if (code == SQLITE_OK)
            code = adopt(hk, now, reason);
        if (store_schema_is_damage(code))
            atomic_store(&hk->options.shared->database_damaged, 1);
    }
    return code;
}

void housekeeper_tick(struct housekeeper *hk, const struct store_clock *now)
{
    struct buf reason = {0};
    int code;

    take_lock(hk);
    store_refresh(hk->options.store, now);
    code = keep_file(hk, now, &reason);
    if (hk->redo_rounds > 0 && hk->db != NULL) {
        hk->redo_rounds--;
        if (now->mono_ms <= hk->redo_until)
            redo_marks(hk, now);
    }
    store_tend(hk->options.store, code == SQLITE_OK && !store_trouble_here(&hk->trouble), now);
    store_flush(hk->options.store, now);
    store_deadlines_tick(&hk->deadlines, hk->holds_lock ? hk->db : NULL, now);
    if (code == SQLITE_OK && hk->db != NULL)
        code = sync_keys(hk, &reason);
    if (code == SQLITE_OK && hk->db != NULL && hk->holds_lock)
        code = note_damage(hk, store_checkpoint_tick(&hk->checkpoint, hk->db, now));
    if (code == SQLITE_OK && hk->db != NULL)
        code = note_damage(hk, keep_usage(hk, now));
    if (code == SQLITE_OK && hk->lock_fd < 0) {
        buf_printf(
            &reason,
            "state database %s: its lock file %s.lock cannot be opened; check the mode of its directory",
            hk->options.path, hk->options.path);
        code = SQLITE_CANTOPEN;
    }
    /* All connections of a process share one descriptor of -shm. Was it opened when only reading was allowed,
     * nothing here can write as long as one of them is open. */
    if (code != SQLITE_OK && !store_schema_is_busy(code))
        store_let_go(hk->options.store);
    if (code == SQLITE_OK)
        store_trouble_end(&hk->trouble, STORE_KEEPING);
    else
        store_trouble_begin(&hk->trouble, STORE_KEEPING, code, reason.data, now);
    buf_fini(&reason);
}

struct housekeeper *housekeeper_new(const struct housekeeper_options *options)
{
    struct housekeeper *hk = calloc(1, sizeof(*hk));
    size_t count = 0;

    if (hk == NULL)
        return NULL;
    for (size_t p = 0; p < options->providers->count; p++)
        count += options->providers->items[p].key_count;
    hk->keys = calloc(count + 1, sizeof(*hk->keys));
    hk->options = *options;
    hk->lock_fd = -1;
    for (size_t p = 0; hk->keys != NULL && p < options->providers->count; p++) {
        const struct provider *provider = &options->providers->items[p];

        for (size_t k = 0; k < provider->key_count; k++) {
            struct kept_key *key = &hk->keys[hk->count++];

            *key = (struct kept_key){.provider = provider,
                                     .key = &provider->keys[k],
                                     .state = &options->pools[p].states[k]};
            key->slot = shared_key_slot(options->shared, provider->name, key->key->id);
            if (key->slot == NULL) {
                housekeeper_free(&hk);
                return NULL;
            }
        }
    }
    if (hk->keys == NULL) {
        housekeeper_free(&hk);
        return NULL;
    }
    store_trouble_init(&hk->trouble, options->path, options->shared);
    hk->sync_due = true;
    hk->check_at = INT64_MIN;
    store_deadlines_init(&hk->deadlines, options->providers, options->pools, options->store, options->shared);
    store_checkpoint_init(&hk->checkpoint, options->path);
    store_usage_init(&hk->usage, &options->shared->usage, options->usage_days);
    return hk;
}

static void end_usage(struct housekeeper *hk)
{
    struct store_clock now = {.mono_ms = clock_mono_ms(), .real_ms = clock_real_ms()};
    int code = store_usage_finish(&hk->usage, hk->db, &now);

    if (code != SQLITE_OK)
        log_error("state database %s: the last token counts cannot be written: %s; %s", hk->options.path,
                  sqlite3_errstr(code), store_schema_advice(code));
}

void housekeeper_free(struct housekeeper **housekeeper)
{
    struct housekeeper *hk = *housekeeper;

    if (hk == NULL)
        return;
    if (hk->db != NULL) {
        store_vfs_wait(hk->db, LAST_BUSY_MS);
        end_usage(hk);
    }
    if (hk->db != NULL && hk->holds_lock) {
        sqlite3_wal_checkpoint_v2(hk->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    detach(hk);
    fd_close(&hk->lock_fd);
    free(hk->keys);
    free(hk);
    *housekeeper = NULL;
}
