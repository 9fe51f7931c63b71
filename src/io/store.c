/*
 * store: one process's connection to the key states. Called by the relay (refresh, mark), by the worker's
 * loop (flush) and by the housekeeper.
 *
 * It must never wait: no busy timeout, no loop around a lock. The order of steps is what makes it right. A
 * mark goes into its shared slot, then the generation is raised, then the row is committed, then the slot is
 * made clean. A reader takes the generation, then the slots, then the rows: a mark that it misses in a slot
 * because it is clean already is in the rows.
 */
#include "io/store.h"

#include "io/store_schema.h"
#include "io/store_trouble.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MIN_MS 1
#define RETRY_MAX_MS 250
/* A mark's time is that of its process's loop, which may lie this far behind. */
#define MARK_SLACK_MS 1000

#define NEVER INT64_MAX

enum statement { VERSION, SELECT, BEGIN, UPSERT, COMMIT, STATEMENTS };

static const char *const statement_sql[STATEMENTS] = {
    [VERSION] = "PRAGMA data_version",
    [SELECT] = "SELECT provider, key_id, permanent, cooldown_until FROM key_state",
    [BEGIN] = "BEGIN IMMEDIATE",
    /* The later deadline is kept beside permanent too, so that no committed mark is lost whatever follows it;
     * it only counts as a mark when it changed the state. */
    [UPSERT] =
        "INSERT INTO key_state(provider, key_id, hint, position, permanent, cooldown_until, last_status, "
        "reason,"
        " failures, updated_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9)"
        " ON CONFLICT(provider, key_id) DO UPDATE SET"
        " permanent = MAX(permanent, excluded.permanent),"
        " cooldown_until = MAX(cooldown_until, excluded.cooldown_until),"
        " last_status = CASE WHEN permanent < excluded.permanent OR permanent = 0 THEN excluded.last_status"
        " ELSE last_status END,"
        " reason = CASE WHEN permanent < excluded.permanent OR permanent = 0 THEN excluded.reason"
        " ELSE reason END,"
        " failures = failures + (permanent < excluded.permanent OR permanent = 0),"
        " updated_at = CASE WHEN permanent < excluded.permanent OR permanent = 0 THEN excluded.updated_at"
        " ELSE updated_at END"
        " WHERE permanent < excluded.permanent OR cooldown_until < excluded.cooldown_until",
    [COMMIT] = "COMMIT",
};

struct store_key {
    const struct provider *provider;
    const struct key *key;
    struct key_state *state; /* in the pools */
    struct shared_key *slot;
    /* The row, as it was last read. */
    int64_t row_until;    /* Unix time */
    int64_t row_deadline; /* the same, monotonic: made once, when the value was first seen */
    bool row_permanent;
    /* The newest mark in the slot. */
    int64_t mark_until;    /* Unix time */
    int64_t mark_deadline; /* monotonic */
    int64_t marked_ms;
    bool mark_permanent;
    bool mark_dirty;
    bool mark_new; /* seen since the row was last looked at */
    /* While rows are read: what the row says, applied when all could be read. */
    int64_t next_until;
    bool next_permanent;
    /* While marks are written: what is being committed, 0 = nothing. */
    uint64_t writing;
};

struct store {
    const char *path;
    struct shared *shared;
    struct store_key *keys;   /* all pools, one after the other */
    struct store_key **order; /* by provider's name and key_id */
    size_t *first;            /* first[p] = index of the first key of provider p */
    size_t count;
    sqlite3 *db; /* NULL while it cannot be opened */
    sqlite3_stmt *statements[STATEMENTS];
    uint64_t epoch;      /* database_epoch when db was opened */
    uint64_t generation; /* key_generation that the states include */
    int64_t version;     /* data_version that the states include */
    bool stale;          /* the rows have to be read whatever generation and version say */
    int64_t read_ms;
    int64_t retry_at; /* monotonic; NEVER = nothing pending */
    int64_t retry_ms; /* the next pause */
    struct store_trouble trouble;
};

static int compare_names(const char *provider, const char *id, const struct store_key *key)
{
    int order = strcmp(provider, key->provider->name);

    return order != 0 ? order : strcmp(id, key->key->id);
}

static int compare_keys(const void *a, const void *b)
{
    const struct store_key *left = *(struct store_key *const *)a;

    return compare_names(left->provider->name, left->key->id, *(struct store_key *const *)b);
}

/* The key of a row. Rows come mostly in the keys' own order, so `guess` is tried first. NULL = not ours. */
static struct store_key *find_key(const struct store *store, const char *provider, const char *id,
                                  size_t guess)
{
    size_t low = 0;
    size_t high = store->count;

    if (guess < store->count && compare_names(provider, id, &store->keys[guess]) == 0)
        return &store->keys[guess];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = compare_names(provider, id, store->order[middle]);

        if (order == 0)
            return store->order[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

static void schedule(struct store *store, const struct store_clock *now)
{
    store->retry_at = now->mono_ms + store->retry_ms;
    store->retry_ms = store->retry_ms * 2 < RETRY_MAX_MS ? store->retry_ms * 2 : RETRY_MAX_MS;
}

static void close_database(struct store *store)
{
    for (size_t i = 0; i < STATEMENTS; i++) {
        sqlite3_finalize(store->statements[i]);
        store->statements[i] = NULL;
    }
    sqlite3_close(store->db);
    store->db = NULL;
}

/* An SQLite result code. */
static int open_database(struct store *store, struct buf *reason)
{
    int code;

    close_database(store);
    /* Before the open: a file that is replaced in between is opened once more. */
    store->epoch = atomic_load(&store->shared->database_epoch);
    store->stale = true;
    store->db = store_schema_connect(store->path, false, 0, &code, reason);
    if (store->db == NULL)
        return code;
    for (size_t i = 0; i < STATEMENTS; i++) {
        code = sqlite3_prepare_v3(store->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &store->statements[i], NULL);
        if (code != SQLITE_OK) {
            buf_printf(reason, "state database %s: cannot be used: %s; %s", store->path,
                       sqlite3_errmsg(store->db), store_schema_advice(code));
            close_database(store);
            return code;
        }
    }
    return SQLITE_OK;
}

/* Opens when it is closed and due, or when the file was replaced. Returns whether it is open. */
static bool ensure_open(struct store *store, const struct store_clock *now)
{
    struct buf reason = {0};
    bool replaced = atomic_load(&store->shared->database_epoch) != store->epoch;
    int code;

    if (store->db != NULL && !replaced)
        return true;
    if (!replaced && store->retry_at != NEVER && now->mono_ms < store->retry_at)
        return false;
    code = open_database(store, &reason);
    if (code != SQLITE_OK) {
        if (store_schema_is_damage(code))
            atomic_store(&store->shared->database_damaged, 1);
        store_trouble_begin(&store->trouble, STORE_READING, code, reason.data, now);
        schedule(store, now);
    }
    buf_fini(&reason);
    return code == SQLITE_OK;
}

/* After a failed access: what may work by itself later keeps its connection, for the rest it is opened anew;
 * for reading at once, since an operator's change has to be seen while nothing can be written. */
static void fail(struct store *store, enum store_access access, int code, const struct store_clock *now)
{
    struct buf reason = {0};

    /* What a connection to a file that was replaced meanwhile says is of no interest. */
    if (store_schema_is_damage(code) && atomic_load(&store->shared->database_epoch) == store->epoch)
        atomic_store(&store->shared->database_damaged, 1);
    store_trouble_begin(&store->trouble, access, code, NULL, now);
    if (!store_schema_is_busy(code) && (code & 0xff) != SQLITE_FULL) {
        close_database(store);
        if (access == STORE_WRITING)
            open_database(store, &reason);
        buf_fini(&reason);
    }
    schedule(store, now);
}

/* Unix time to this host's monotonic clock, never further away than the provider allows. 0 = over. */
static int64_t to_mono(const struct store_key *key, int64_t until_real_ms, const struct store_clock *now)
{
    int64_t max = key->provider->max_cooldown_ms;
    int64_t left;

    if (until_real_ms <= now->real_ms)
        return 0;
    left = until_real_ms - now->real_ms;
    if (max > 0 && left > max)
        left = max;
    return now->mono_ms + left;
}

static void look_at_slots(struct store *store, const struct store_clock *now)
{
    for (size_t i = 0; i < store->count; i++) {
        struct store_key *key = &store->keys[i];
        struct shared_mark mark;
        uint64_t seen;

        key->mark_dirty = shared_key_dirty(key->slot, &mark, &seen);
        if (!shared_key_last(key->slot, &mark, &key->marked_ms))
            continue;
        key->mark_permanent = mark.permanent;
        if (mark.until_real_ms != key->mark_until) {
            key->mark_until = mark.until_real_ms;
            key->mark_deadline = to_mono(key, shared_mark_until(&mark, now->mono_ms, now->real_ms), now);
            key->mark_new = true;
        }
        /* Its process writes it; should it die before, somebody else has to. */
        if (key->mark_dirty && store->retry_at > now->mono_ms + RETRY_MAX_MS)
            store->retry_at = now->mono_ms + RETRY_MAX_MS;
    }
}

static void apply_row(struct store_key *key, const struct store_clock *now)
{
    key->row_permanent = key->next_permanent;
    if (key->next_until != key->row_until) {
        key->row_until = key->next_until;
        key->row_deadline =
            key->row_until == key->mark_until ? key->mark_deadline : to_mono(key, key->row_until, now);
    } else if (key->mark_new && key->row_until != 0 && key->mark_until <= key->row_until &&
               key->mark_deadline > key->row_deadline) {
        /* The wall clock was set back: a newer mark has an earlier Unix time, which the row does not take. */
        key->row_deadline = key->mark_deadline;
    }
    key->mark_new = false;
}

/* An SQLite result code; nothing is changed when it is not SQLITE_OK. */
static int read_rows(struct store *store, const struct store_clock *now)
{
    sqlite3_stmt *select = store->statements[SELECT];
    size_t guess = 0;
    int code;

    for (size_t i = 0; i < store->count; i++) {
        store->keys[i].next_until = 0;
        store->keys[i].next_permanent = false;
    }
    while ((code = sqlite3_step(select)) == SQLITE_ROW) {
        const char *provider = (const char *)sqlite3_column_text(select, 0);
        const char *id = (const char *)sqlite3_column_text(select, 1);
        struct store_key *key;

        /* Both are NOT NULL: this is a page of which a part is lost, which SQLite does not see. */
        if (provider == NULL || id == NULL) {
            code = SQLITE_CORRUPT;
            break;
        }
        key = find_key(store, provider, id, guess);
        if (key == NULL)
            continue;
        key->next_permanent = sqlite3_column_int64(select, 2) != 0;
        key->next_until = sqlite3_column_int64(select, 3);
        guess = (size_t)(key - store->keys) + 1;
    }
    sqlite3_reset(select);
    if (code != SQLITE_DONE)
        return code;
    for (size_t i = 0; i < store->count; i++)
        apply_row(&store->keys[i], now);
    return SQLITE_OK;
}

/* The states from what is known of rows and slots. While rows cannot be read, marks count that came since
 * they could, though another process has written them. */
static void merge(struct store *store)
{
    for (size_t i = 0; i < store->count; i++) {
        const struct store_key *key = &store->keys[i];
        struct key_state state = {.permanent = key->row_permanent, .until_ms = key->row_deadline};

        if (key->mark_dirty || (store->stale && (store->read_ms == INT64_MIN ||
                                                 key->marked_ms >= store->read_ms - MARK_SLACK_MS))) {
            struct mark mark = {.permanent = key->mark_permanent, .until_ms = key->mark_deadline};

            key_mark(&state, &mark);
        }
        *key->state = state;
    }
}

/* An SQLite result code. */
static int read_version(struct store *store, int64_t *version)
{
    sqlite3_stmt *stmt = store->statements[VERSION];
    int code = sqlite3_step(stmt);

    if (code == SQLITE_ROW)
        *version = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return code == SQLITE_ROW ? SQLITE_OK : code;
}

static void reload(struct store *store, uint64_t generation, const struct store_clock *now)
{
    int64_t version = 0;
    int code;

    look_at_slots(store, now);
    if (ensure_open(store, now)) {
        code = read_version(store, &version);
        if (code == SQLITE_OK)
            code = read_rows(store, now);
        store->stale = code != SQLITE_OK;
        if (code == SQLITE_OK) {
            store->version = version;
            store->read_ms = now->mono_ms;
            store_trouble_end(&store->trouble, STORE_READING);
        } else {
            fail(store, STORE_READING, code, now);
        }
    } else {
        store->stale = true;
    }
    store->generation = generation;
    merge(store);
}

void store_refresh(struct store *store, const struct store_clock *now)
{
    uint64_t generation = atomic_load_explicit(&store->shared->key_generation, memory_order_acquire);
    int64_t version = 0;

    if (generation == store->generation && !store->stale && store->db != NULL &&
        read_version(store, &version) == SQLITE_OK && version == store->version) {
        store->read_ms = now->mono_ms;
        return;
    }
    /* Without a database nothing but a new mark can change what is known, until it can be opened again. */
    if (generation == store->generation && store->db == NULL && now->mono_ms < store->retry_at &&
        atomic_load(&store->shared->database_epoch) == store->epoch)
        return;
    reload(store, generation, now);
}

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

    if (!ensure_open(store, now))
        return;
    code = write_marks(store, now);
    if (code == SQLITE_OK) {
        store_trouble_end(&store->trouble, STORE_WRITING);
        store->retry_at = NEVER;
        store->retry_ms = RETRY_MIN_MS;
    } else {
        fail(store, STORE_WRITING, code, now);
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

int64_t store_flush(struct store *store, const struct store_clock *now)
{
    bool pending = false;

    if (now->mono_ms < store->retry_at)
        return store->retry_at;
    if (store->stale || store->db == NULL)
        reload(store, atomic_load(&store->shared->key_generation), now);
    if (store->db == NULL || (store->stale && now->mono_ms < store->retry_at))
        return store->retry_at;
    for (size_t i = 0; i < store->count && !pending; i++) {
        struct shared_mark mark;
        uint64_t seen;

        pending = shared_key_dirty(store->keys[i].slot, &mark, &seen);
    }
    if (pending || store->trouble.failing[STORE_WRITING]) {
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
    for (size_t i = 0; i < store->count; i++) {
        struct shared_mark mark;
        uint64_t seen;

        if (!shared_key_dirty(store->keys[i].slot, &mark, &seen))
            continue;
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

void store_let_go(struct store *store)
{
    close_database(store);
    store->stale = true;
    store->retry_at = INT64_MIN;
}

int64_t store_read_ms(const struct store *store)
{
    return store->read_ms;
}

struct store *store_new(const char *path, const struct provider_list *providers, struct pool *pools,
                        struct shared *shared)
{
    struct store *store = calloc(1, sizeof(*store));
    struct buf reason = {0};
    size_t count = 0;

    if (store == NULL)
        return NULL;
    for (size_t p = 0; p < providers->count; p++)
        count += providers->items[p].key_count;
    store->path = path;
    store->shared = shared;
    store->keys = calloc(count + 1, sizeof(*store->keys));
    store->order = calloc(count + 1, sizeof(*store->order));
    store->first = calloc(providers->count + 1, sizeof(*store->first));
    if (store->keys == NULL || store->order == NULL || store->first == NULL) {
        store_free(&store);
        return NULL;
    }
    for (size_t p = 0; p < providers->count; p++) {
        const struct provider *provider = &providers->items[p];

        store->first[p] = store->count;
        for (size_t k = 0; k < provider->key_count; k++) {
            struct store_key *key = &store->keys[store->count];

            *key = (struct store_key){.provider = provider,
                                      .key = &provider->keys[k],
                                      .state = &pools[p].states[k]};
            key->slot = shared_key_slot(shared, provider->name, key->key->id);
            if (key->slot == NULL) {
                store_free(&store);
                return NULL;
            }
            store->order[store->count++] = key;
        }
    }
    qsort(store->order, store->count, sizeof(struct store_key *), compare_keys);
    store->retry_ms = RETRY_MIN_MS;
    store->read_ms = INT64_MIN;
    store_trouble_init(&store->trouble, path, shared);
    /* When this fails it is tried again, and spoken of, at the first refresh or flush. */
    store->retry_at = open_database(store, &reason) == SQLITE_OK ? NEVER : INT64_MIN;
    buf_fini(&reason);
    return store;
}

void store_free(struct store **store)
{
    if (*store == NULL)
        return;
    close_database(*store);
    free((*store)->keys);
    free((*store)->order);
    free((*store)->first);
    free(*store);
    *store = NULL;
}
