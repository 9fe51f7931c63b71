/*
 * store_deadlines: compares rows with states and corrects the rows. Called by the housekeeper when the wall
 * clock has jumped or somebody has written.
 */
#include "io/store_deadlines.h"

#include "base/log.h"
#include "io/store_tables.h"

#include <sqlite3.h>
#include <stddef.h>

#define TOLERANCE_MS 1000

/* One look at all rows. */
struct alignment {
    const struct store_deadlines *deadlines;
    sqlite3 *db;
    const struct store_clock *now;
    sqlite3_stmt *select;
    sqlite3_stmt *update;
};

static void bind_key(sqlite3_stmt *stmt, const struct provider *provider, const struct key *key)
{
    sqlite3_bind_text(stmt, 1, provider->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 2, key->id, -1, SQLITE_STATIC);
}

/* What the row should say, when what it says is too far off. */
static bool is_off(const struct alignment *a, const struct provider *provider, const struct key *key,
                   const struct key_state *state, int64_t row_until, int64_t *right)
{
    int64_t left = state->until_ms - a->now->mono_ms;
    struct shared_mark mark;
    uint64_t seen;

    *right = left > 0 ? a->now->real_ms + left : 0;
    if (left > 0 ? row_until - *right <= TOLERANCE_MS && *right - row_until <= TOLERANCE_MS
                 : row_until - a->now->real_ms <= TOLERANCE_MS)
        return false;
    /* A mark on its way into the row knows more than the row. */
    return !shared_key_dirty(shared_key_slot(a->deadlines->shared, provider->name, key->id), &mark, &seen);
}

/* *off is the number of rows that are off. An SQLite result code. */
static int go_through(const struct alignment *a, bool correct, unsigned *off)
{
    int code = SQLITE_OK;

    *off = 0;
    for (size_t p = 0; p < a->deadlines->providers->count; p++) {
        const struct provider *provider = &a->deadlines->providers->items[p];

        for (size_t k = 0; code == SQLITE_OK && k < provider->key_count; k++) {
            const struct key *key = &provider->keys[k];
            int64_t right = 0;
            bool wrong = false;

            bind_key(a->select, provider, key);
            if (sqlite3_step(a->select) == SQLITE_ROW)
                wrong = is_off(a, provider, key, &a->deadlines->pools[p].states[k],
                               sqlite3_column_int64(a->select, 0), &right);
            code = sqlite3_reset(a->select);
            if (!wrong)
                continue;
            ++*off;
            if (code == SQLITE_OK && correct) {
                bind_key(a->update, provider, key);
                sqlite3_bind_int64(a->update, 3, right);
                sqlite3_step(a->update);
                code = sqlite3_reset(a->update);
            }
        }
    }
    return code;
}

/* Under the write lock nobody can make a mark between the look at the states and that at the rows. */
static int correct_all(const struct alignment *a, unsigned *moved)
{
    struct store *store = a->deadlines->store;
    int code = sqlite3_exec(a->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);

    if (code != SQLITE_OK)
        return code;
    store_refresh(store, a->now);
    code = store_read_ms(store) == a->now->mono_ms ? go_through(a, true, moved) : SQLITE_BUSY;
    if (code == SQLITE_OK)
        code = sqlite3_exec(a->db, "COMMIT", NULL, NULL, NULL);
    if (code != SQLITE_OK && sqlite3_get_autocommit(a->db) == 0)
        sqlite3_exec(a->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* An SQLite result code. */
static int align(const struct store_deadlines *deadlines, sqlite3 *db, const struct store_clock *now)
{
    struct alignment a = {.deadlines = deadlines, .db = db, .now = now};
    unsigned off = 0;
    unsigned moved = 0;
    int code =
        sqlite3_prepare_v2(db, "SELECT cooldown_until FROM key_state WHERE provider = ?1 AND key_id = ?2", -1,
                           &a.select, NULL);

    if (code == SQLITE_OK)
        code =
            sqlite3_prepare_v2(db,
                               "UPDATE key_state SET cooldown_until = ?3 WHERE provider = ?1 AND key_id = ?2",
                               -1, &a.update, NULL);
    if (code == SQLITE_OK)
        code = go_through(&a, false, &off);
    if (code == SQLITE_OK && off > 0)
        code = correct_all(&a, &moved);
    sqlite3_finalize(a.select);
    sqlite3_finalize(a.update);
    if (moved > 0 && code == SQLITE_OK) {
        atomic_fetch_add(&deadlines->shared->key_generation, 1);
        /* While both clocks are what the new rows were made with. */
        store_refresh(deadlines->store, now);
    }
    return code;
}

static void notice_jump(struct store_deadlines *deadlines, const struct store_clock *now)
{
    int64_t lead_ms = now->real_ms - now->mono_ms;
    int64_t jump_ms = lead_ms - deadlines->lead_ms;

    if (deadlines->begun && (jump_ms > TOLERANCE_MS || jump_ms < -TOLERANCE_MS)) {
        log_warning("the wall clock was set %s by %lld s; cooldowns go on as they were",
                    jump_ms > 0 ? "ahead" : "back", (long long)(jump_ms > 0 ? jump_ms : -jump_ms) / 1000);
        deadlines->version = -1;
    }
    deadlines->lead_ms = lead_ms;
    deadlines->begun = true;
}

void store_deadlines_init(struct store_deadlines *deadlines, const struct provider_list *providers,
                          const struct pool *pools, struct store *store, struct shared *shared)
{
    *deadlines = (struct store_deadlines){
        .providers = providers, .pools = pools, .store = store, .shared = shared, .version = -1};
}

void store_deadlines_forget(struct store_deadlines *deadlines)
{
    deadlines->version = -1;
}

void store_deadlines_tick(struct store_deadlines *deadlines, struct sqlite3 *db,
                          const struct store_clock *now)
{
    int64_t version = 0;

    notice_jump(deadlines, now);
    if (db == NULL || store_read_ms(deadlines->store) != now->mono_ms ||
        store_tables_query(db, "PRAGMA data_version", NULL, &version) != SQLITE_OK ||
        version == deadlines->version)
        return;
    if (align(deadlines, db, now) == SQLITE_OK)
        deadlines->version = version;
}
