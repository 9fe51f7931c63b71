/*
 * store_marks: marks on their way to the database: from the shared slots, all that are dirty in one
 * transaction, tried again until it could be done. See store.c for the order of steps.
 */
#include "io/store_internal.h"

#include "io/store_vfs.h"

static int run(sqlite3_stmt *stmt)
{
    sqlite3_step(stmt);
    return sqlite3_reset(stmt);
}

static int upsert(struct store *store, const struct store_key *key, const struct shared_mark *mark,
                  const struct store_clock *now)
{
    sqlite3_stmt *stmt = store->statements[UPSERT];

    sqlite3_bind_text(stmt, 1, key->provider->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, key->key->id, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, key->key->hint, -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 4, (sqlite3_int64)(key->key - key->provider->keys));
    sqlite3_bind_int64(stmt, 5, mark->permanent);
    sqlite3_bind_int64(stmt, 6, shared_mark_until(mark, now->mono_ms, now->real_ms));
    if (mark->status != 0)
        sqlite3_bind_int64(stmt, 7, mark->status);
    else
        sqlite3_bind_null(stmt, 7);
    sqlite3_bind_text(stmt, 8, key_mark_reason(mark->status), -1, SQLITE_STATIC);
    sqlite3_bind_int64(stmt, 9, now->real_ms);
    return run(stmt);
}

/* Commits every dirty mark in one transaction. An SQLite result code. */
static int write_marks(struct store *store, const struct store_clock *now)
{
    int code = run(store->statements[BEGIN]);

    if (code != SQLITE_OK)
        return code;
    /* Slots are looked at under the lock: what another process has written meanwhile is not written twice. */
    for (size_t i = 0; code == SQLITE_OK && i < store->count; i++) {
        struct store_key *key = &store->keys[i];
        struct shared_mark mark;

        key->writing = 0;
        if (shared_key_dirty(key->slot, &mark, &key->writing))
            code = upsert(store, key, &mark, now);
    }
    if (code == SQLITE_OK)
        code = run(store->statements[COMMIT]);
    if (code != SQLITE_OK) {
        if (sqlite3_get_autocommit(store->db) == 0)
            sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
        return code;
    }
    for (size_t i = 0; i < store->count; i++)
        if (store->keys[i].writing != 0)
            shared_key_written(store->keys[i].slot, store->keys[i].writing);
    /* After the slots are clean: when the file was replaced before this, the rows went to the old one; when
     * it is replaced after this, the housekeeper finds clean slots and has the marks written again. */
    if (atomic_load(&store->shared->database_epoch) != store->epoch) {
        for (size_t i = 0; i < store->count; i++)
            if (store->keys[i].writing != 0)
                shared_key_redo(store->keys[i].slot);
        return SQLITE_BUSY;
    }
    return SQLITE_OK;
}

static void try_writing(struct store *store, const struct store_clock *now)
{
    int code;

    if (!store_ensure_open(store, now))
        return;
    code = write_marks(store, now);
    if (code == SQLITE_OK) {
        store_trouble_end(&store->trouble, STORE_WRITING);
        store->retry_at = NEVER;
        store->retry_ms = RETRY_MIN_MS;
    } else {
        store_fail(store, STORE_WRITING, code, now);
    }
}

bool store_mark(struct store *store, size_t provider, size_t index, bool permanent, int64_t cooldown_ms,
                int status, const struct store_clock *now)
{
    struct store_key *key = &store->keys[store->first[provider] + index];
    int64_t max = key->provider->max_cooldown_ms;
    struct shared_mark shared = {.permanent = permanent, .status = status};
    struct mark mark = {.permanent = permanent, .status = status};

    store_refresh(store, now);
    if (max > 0 && cooldown_ms > max)
        cooldown_ms = max;
    if (!permanent) {
        mark.until_ms = now->mono_ms + cooldown_ms;
        shared.until_real_ms = now->real_ms + cooldown_ms;
        shared.lead_ms = now->real_ms - now->mono_ms;
    }
    if (!key_mark(key->state, &mark))
        return false;
    key->mark_until = shared.until_real_ms;
    key->mark_deadline = mark.until_ms;
    key->mark_new = true;
    shared_key_mark(key->slot, &shared, now->mono_ms);
    atomic_fetch_add(&store->shared->key_generation, 1);
    /* While a busy or broken database is being waited for, the mark waits with the others. */
    if (store->retry_ms == RETRY_MIN_MS || now->mono_ms >= store->retry_at)
        try_writing(store, now);
    return true;
}

static bool any_is_dirty(const struct store *store)
{
    struct shared_mark mark;
    uint64_t seen;

    for (size_t i = 0; i < store->count; i++)
        if (shared_key_dirty(store->keys[i].slot, &mark, &seen))
            return true;
    return false;
}

int64_t store_flush(struct store *store, const struct store_clock *now)
{
    if (now->mono_ms < store->retry_at)
        return store->retry_at;
    if (store->stale || store->db == NULL)
        store_reload(store, atomic_load(&store->shared->key_generation), now);
    if (store->db == NULL || (store->stale && now->mono_ms < store->retry_at))
        return store->retry_at;
    if (any_is_dirty(store) || store->trouble.failing[STORE_WRITING]) {
        try_writing(store, now);
    } else {
        store_trouble_end(&store->trouble, STORE_WRITING);
        store->retry_at = NEVER;
        store->retry_ms = RETRY_MIN_MS;
    }
    return store->retry_at;
}

void store_tend(struct store *store, bool settle, const struct store_clock *now)
{
    if (any_is_dirty(store)) {
        /* At once, unless this process is waiting for the database anyway. */
        if (store->retry_ms == RETRY_MIN_MS && store->retry_at > now->mono_ms)
            store->retry_at = now->mono_ms;
        return;
    }
    if (!settle || atomic_load(&store->shared->database_condition) == DATABASE_OK ||
        store_trouble_here(&store->trouble) || store->db == NULL || store->stale)
        return;
    if (run(store->statements[BEGIN]) == SQLITE_OK && run(store->statements[COMMIT]) == SQLITE_OK)
        store_trouble_over(&store->trouble, now);
}

bool store_finish(struct store *store, int wait_ms, const struct store_clock *now)
{
    store->retry_at = now->mono_ms;
    if (store_ensure_open(store, now))
        store_vfs_wait(store->db, wait_ms);
    (void)store_flush(store, now);
    return !any_is_dirty(store);
}
