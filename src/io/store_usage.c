/*
 * store_usage: the way of token counts from shared memory into the database. Called by the housekeeper with
 * its connection; it owns none.
 *
 * Counts are committed first and noted as written then. A process that is killed between the two, a matter of
 * microseconds, is the one case in which something is counted twice.
 */
#include "io/store_usage.h"

#include "io/store_schema.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY_S       INT64_C(86400)
#define REMOVE_MS   60000 /* how often old rows are looked for */
#define FAILED_MS   1000  /* after an error that is no lock */
#define FINISH_ROOM 1000  /* transactions at the end */

void store_usage_init(struct store_usage *usage, struct usage_cells *cells, unsigned days)
{
    *usage = (struct store_usage){
        .cells = cells, .days = days, .write_at = INT64_MIN, .remove_at = INT64_MIN, .failed = SQLITE_OK};
}

/* The statements of a transaction, and how many rows the hour of the last new row has. */
struct writing {
    sqlite3_stmt *add;
    sqlite3_stmt *insert;
    sqlite3_stmt *count;
    int64_t hour; /* -1 = not counted yet */
    int64_t rows;
};

static int prepare(sqlite3 *db, struct writing *w)
{
    static const char add[] =
        "UPDATE usage SET requests = requests + ?6, input = input + ?7, output = output + ?8,"
        " cached = cached + ?9, written = written + ?10, reasoning = reasoning + ?11"
        " WHERE hour = ?1 AND provider = ?2 AND client = ?3 AND key = ?4 AND model = ?5";
    static const char insert[] =
        "INSERT INTO usage(hour, provider, client, key, model, requests, input, output, cached, written,"
        " reasoning) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
    int code = sqlite3_prepare_v2(db, add, -1, &w->add, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, insert, -1, &w->insert, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(db, "SELECT count(*) FROM usage WHERE hour = ?1", -1, &w->count, NULL);
    return code;
}

static void finalize(struct writing *w)
{
    sqlite3_finalize(w->add);
    sqlite3_finalize(w->insert);
    sqlite3_finalize(w->count);
}

static int run(sqlite3_stmt *stmt, const struct usage_identity *identity, const uint64_t counts[USAGE_COUNTS])
{
    sqlite3_bind_int64(stmt, 1, identity->hour);
    sqlite3_bind_text(stmt, 2, identity->provider, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 3, identity->client, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 4, identity->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(stmt, 5, identity->model, -1, SQLITE_STATIC);
    for (int i = 0; i < USAGE_COUNTS; i++)
        sqlite3_bind_int64(stmt, 6 + i, (sqlite3_int64)counts[i]);
    sqlite3_step(stmt);
    return sqlite3_reset(stmt);
}

/* Adds to a row that is there. */
static int add_to(sqlite3 *db, struct writing *w, const struct usage_identity *identity,
                  const uint64_t counts[USAGE_COUNTS], bool *done)
{
    int code = run(w->add, identity, counts);
    *done = code == SQLITE_OK && sqlite3_changes(db) > 0;
    return code;
}

static int count_rows(struct writing *w, int64_t hour)
{
    if (w->hour == hour)
        return SQLITE_OK;
    sqlite3_bind_int64(w->count, 1, hour);
    w->rows = sqlite3_step(w->count) == SQLITE_ROW ? sqlite3_column_int64(w->count, 0) : 0;
    int code = sqlite3_reset(w->count);
    w->hour = code == SQLITE_OK ? hour : -1;
    return code;
}

/* A model's name may be a client's word, and there are as many as it likes; the hour's rows are bounded. */
static int write_one(sqlite3 *db, struct writing *w, const struct usage_pending *pending)
{
    struct usage_identity identity = pending->cell->identity;
    bool done = false;
    int code = add_to(db, w, &identity, pending->counts, &done);
    if (code == SQLITE_OK && !done)
        code = count_rows(w, identity.hour);
    if (code == SQLITE_OK && !done && w->rows >= STORE_USAGE_ROWS) {
        snprintf(identity.model, sizeof identity.model, "%s", USAGE_OTHER);
        code = add_to(db, w, &identity, pending->counts, &done);
    }
    if (code == SQLITE_OK && !done && w->rows >= STORE_USAGE_ROWS_MAX) {
        snprintf(identity.client, sizeof identity.client, "%s", USAGE_OTHER);
        snprintf(identity.key, sizeof identity.key, "%s", USAGE_OTHER);
        code = add_to(db, w, &identity, pending->counts, &done);
    }
    if (code == SQLITE_OK && !done) {
        code = run(w->insert, &identity, pending->counts);
        w->rows++;
    }
    return code;
}

/* *count is how many cells there were, up to STORE_USAGE_BATCH. */
static int write_batch(struct store_usage *usage, sqlite3 *db, size_t *count)
{
    struct usage_pending pending[STORE_USAGE_BATCH];
    struct usage_cursor before = usage->cursor;
    struct writing w = {.hour = -1};
    *count = 0;
    while (*count < STORE_USAGE_BATCH && usage_cells_next(usage->cells, &usage->cursor, &pending[*count]))
        (*count)++;
    if (*count < STORE_USAGE_BATCH)
        usage->cursor = (struct usage_cursor){0};
    if (*count == 0)
        return SQLITE_OK;
    int code = sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = prepare(db, &w);
    for (size_t i = 0; i < *count && code == SQLITE_OK; i++)
        code = write_one(db, &w, &pending[i]);
    finalize(&w);
    if (code == SQLITE_OK)
        code = sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
    if (code == SQLITE_OK) {
        for (size_t i = 0; i < *count; i++)
            usage_cells_written(&pending[i]);
    } else {
        usage->cursor = before;
        if (sqlite3_get_autocommit(db) == 0)
            sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    return code;
}

/* Whether a row is old by the wall clock: not just because somebody has set it far ahead. A clock that is
 * doubted is believed when it is set right, or was left as it is for long. What was seen of it outlives this
 * process, as a reload would end the doubt. */
static bool clock_is_believed(struct usage_cells *cells, const struct store_clock *now)
{
    int64_t lead_ms = now->real_ms - now->mono_ms - now->slept_ms;
    bool is_ahead = cells->lead_ms != 0 && lead_ms - cells->lead_ms > STORE_USAGE_STEP_MS;
    if (is_ahead && (cells->keep_until == 0 || llabs(lead_ms - cells->doubted_ms) > STORE_USAGE_STEP_MS)) {
        cells->doubted_ms = lead_ms;
        cells->keep_until = now->mono_ms + STORE_USAGE_KEEP_MS;
    }
    if (is_ahead && now->mono_ms < cells->keep_until)
        return false;
    cells->lead_ms = lead_ms;
    cells->keep_until = 0;
    return true;
}

/* Old rows, a batch of them. */
static int remove_old(struct store_usage *usage, sqlite3 *db, const struct store_clock *now)
{
    sqlite3_stmt *stmt = NULL;
    if (usage->days == 0 || !clock_is_believed(usage->cells, now) || now->mono_ms < usage->remove_at)
        return SQLITE_OK;
    int code = sqlite3_prepare_v2(
        db,
        "DELETE FROM usage WHERE (hour, provider, client, key, model) IN"
        " (SELECT hour, provider, client, key, model FROM usage WHERE hour < ?1 ORDER BY hour LIMIT ?2)",
        -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(stmt, 1, now->real_ms / 1000 - usage->days * DAY_S);
        sqlite3_bind_int64(stmt, 2, STORE_USAGE_REMOVED);
        sqlite3_step(stmt);
        code = sqlite3_reset(stmt);
    }
    /* Where there were as many as may go at once, there may be more. */
    if (code == SQLITE_OK && sqlite3_changes(db) < STORE_USAGE_REMOVED)
        usage->remove_at = now->mono_ms + REMOVE_MS;
    sqlite3_finalize(stmt);
    return code;
}

int store_usage_tick(struct store_usage *usage, struct sqlite3 *db, bool remove,
                     const struct store_clock *now)
{
    size_t count = 0;
    if (now->mono_ms < usage->write_at)
        return usage->failed;
    if (!usage_cells_hold(usage->cells, (int32_t)getpid(), now->mono_ms))
        return SQLITE_OK;
    usage->failed = write_batch(usage, db, &count);
    if (usage->failed == SQLITE_OK && remove)
        usage->failed = remove_old(usage, db, now);
    if (usage->failed == SQLITE_OK)
        usage->write_at = count < STORE_USAGE_BATCH ? now->mono_ms + STORE_USAGE_WRITE_MS : now->mono_ms;
    else if (!store_schema_is_busy(usage->failed))
        usage->write_at = now->mono_ms + FAILED_MS;
    return usage->failed;
}

int store_usage_finish(struct store_usage *usage, struct sqlite3 *db, const struct store_clock *now)
{
    size_t count = STORE_USAGE_BATCH;
    int code = SQLITE_OK;
    if (!usage_cells_hold(usage->cells, (int32_t)getpid(), now->mono_ms))
        return SQLITE_OK;
    for (int i = 0; i < FINISH_ROOM && code == SQLITE_OK && count == STORE_USAGE_BATCH; i++)
        code = write_batch(usage, db, &count);
    usage_cells_let_go(usage->cells, (int32_t)getpid());
    return code;
}
