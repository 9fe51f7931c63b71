/*
 * store: one process's connection to the key states: opening, reading, refreshing. Marks are store_marks.c's.
 * Called by the relay, by the worker's loop and by the housekeeper.
 *
 * It must never wait: no busy timeout, no loop around a lock. The order of steps is what makes it right. A
 * mark goes into its shared slot, then the generation is raised, then the row is committed, then the slot is
 * made clean. A reader takes the generation, then the slots, then the rows: a mark that it misses in a slot
 * because it is clean already is in the rows.
 */
#include "io/store_internal.h"

#include "io/store_schema.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define RETRY_MAX_MS 250
/* A mark's time is that of its process's loop, which may lie this far behind. */
#define MARK_SLACK_MS 1000

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
    store_index_close(&store->index);
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

bool store_ensure_open(struct store *store, const struct store_clock *now)
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
void store_fail(struct store *store, enum store_access access, int code, const struct store_clock *now)
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

void store_reload(struct store *store, uint64_t generation, const struct store_clock *now)
{
    int64_t version = 0;
    int code;

    look_at_slots(store, now);
    if (store_ensure_open(store, now)) {
        store_index_note(&store->index);
        code = read_version(store, &version);
        if (code == SQLITE_OK)
            code = read_rows(store, now);
        store->stale = code != SQLITE_OK;
        if (code == SQLITE_OK) {
            store_index_open(&store->index, store->db);
            store->version = version;
            store->read_ms = now->mono_ms;
            store_trouble_end(&store->trouble, STORE_READING);
        } else {
            store_fail(store, STORE_READING, code, now);
        }
    } else {
        store->stale = true;
    }
    store->generation = generation;
    merge(store);
}

static bool is_version_same(struct store *store)
{
    int64_t version = 0;

    store_index_note(&store->index);
    return read_version(store, &version) == SQLITE_OK && version == store->version;
}

void store_refresh(struct store *store, const struct store_clock *now)
{
    uint64_t generation = atomic_load_explicit(&store->shared->key_generation, memory_order_acquire);

    if (generation == store->generation && !store->stale && store->db != NULL &&
        (store_index_is_same(&store->index) || is_version_same(store))) {
        store->read_ms = now->mono_ms;
        return;
    }
    /* Without a database nothing but a new mark can change what is known, until it can be opened again. */
    if (generation == store->generation && store->db == NULL && now->mono_ms < store->retry_at &&
        atomic_load(&store->shared->database_epoch) == store->epoch)
        return;
    store_reload(store, generation, now);
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
