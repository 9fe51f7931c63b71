/*
 * usage_cells: the cells of token counts in shared memory. Called by a worker at a request's end and by
 * store_usage in the admin process.
 *
 * Memory order. A cell's identity is plain memory. The worker writes it before it raises a count (release);
 * the writer of the database reads it only after it has seen a raised count (acquire). That one sets
 * `written` after its last look at the identity (release); the worker gives the cell a new identity only
 * after it has seen every `written` equal to its `added` (acquire). Who may write `written` is handed over
 * with `writer`, in the same way.
 */
#include "io/usage_cells.h"

#include "base/hash.h"

#include <string.h>

/* The first cell takes what finds no place elsewhere, the last ones what has no model. */
#define CELL_REST  0
#define CELL_FIRST 1
#define CELL_MODEL 96

/* ---- the worker's side */

/* out is all zero. */
static void put_name(char *out, size_t size, const char *name)
{
    if (name != NULL)
        memcpy(out, name, strnlen(name, size - 1));
}

void usage_identify(struct usage_identity *identity, int64_t real_ms, const char *provider,
                    const char *client, const char *key, const char *model)
{
    int64_t hours = real_ms > 0 ? real_ms / USAGE_HOUR_MS : 0;
    *identity = (struct usage_identity){.hour = hours * (USAGE_HOUR_MS / 1000)};
    put_name(identity->provider, sizeof identity->provider, provider);
    put_name(identity->client, sizeof identity->client, client);
    put_name(identity->key, sizeof identity->key, key);
    put_name(identity->model, sizeof identity->model, model);
}

static uint64_t hash_identity(const struct usage_identity *identity)
{
    uint64_t hash = hash_word((uint64_t)identity->hour);
    hash = hash_text(hash, identity->provider);
    hash = hash_text(hash, identity->client);
    hash = hash_text(hash, identity->key);
    hash = hash_text(hash, identity->model);
    return hash != 0 ? hash : 1;
}

static bool same_identity(const struct usage_identity *a, const struct usage_identity *b)
{
    return a->hour == b->hour && strcmp(a->model, b->model) == 0 && strcmp(a->client, b->client) == 0 &&
           strcmp(a->key, b->key) == 0 && strcmp(a->provider, b->provider) == 0;
}

/* Whether all of the cell is written. Only the worker changes `added`. */
static bool is_settled(struct usage_cell *cell)
{
    for (size_t i = 0; i < USAGE_COUNTS; i++)
        if (atomic_load_explicit(&cell->written[i], memory_order_acquire) !=
            atomic_load_explicit(&cell->added[i], memory_order_relaxed))
            return false;
    return true;
}

void usage_counter_init(struct usage_counter *counter, struct usage_cells *cells, unsigned slot)
{
    *counter = (struct usage_counter){.cells = cells, .slot = slot};
    unsigned used = atomic_load_explicit(&cells->used[slot], memory_order_relaxed);
    /* The identity of a settled cell may be half of one. */
    for (unsigned i = 0; i < used && i < USAGE_CELLS; i++)
        if (!is_settled(&cells->cells[slot][i]))
            counter->ids[i] = hash_identity(&cells->cells[slot][i].identity);
}

/* Gives a settled cell to the identity. */
static void assign(struct usage_counter *counter, unsigned index, const struct usage_identity *identity,
                   uint64_t id)
{
    _Atomic uint32_t *used = &counter->cells->used[counter->slot];
    counter->cells->cells[counter->slot][index].identity = *identity;
    counter->ids[index] = id;
    /* Before the first count: a cell that nobody looks at would be lost with this process. */
    if (atomic_load_explicit(used, memory_order_relaxed) <= index)
        atomic_store_explicit(used, index + 1, memory_order_release);
}

/* The cell of that identity among from..to, or one that it may have; USAGE_CELLS = none. */
static unsigned find(struct usage_counter *counter, const struct usage_identity *identity, unsigned from,
                     unsigned to)
{
    struct usage_cell *cells = counter->cells->cells[counter->slot];
    uint64_t id = hash_identity(identity);
    unsigned stale = USAGE_CELLS; /* of an hour that is over */
    unsigned idle = USAGE_CELLS;
    for (unsigned i = from; i < to; i++) {
        if (counter->ids[i] == id && same_identity(&cells[i].identity, identity))
            return i;
        if (counter->ids[i] == 0) {
            /* So is every one behind it, but for those that the worker before this one left settled. */
            if (stale == USAGE_CELLS)
                stale = i;
        } else if (stale == USAGE_CELLS && cells[i].identity.hour != identity->hour &&
                   is_settled(&cells[i])) {
            stale = i;
        } else if (idle == USAGE_CELLS && stale == USAGE_CELLS && is_settled(&cells[i])) {
            idle = i;
        }
    }
    unsigned found = stale < USAGE_CELLS ? stale : idle;
    if (found < USAGE_CELLS)
        assign(counter, found, identity, id);
    return found;
}

/* The cell for what finds no other place. While its counts of an hour cannot be written, those of the next
 * are added to them. */
static unsigned find_rest(struct usage_counter *counter, int64_t hour)
{
    struct usage_identity identity;
    usage_identify(&identity, hour * 1000, USAGE_OTHER, USAGE_OTHER, USAGE_OTHER, USAGE_OTHER);
    (void)find(counter, &identity, CELL_REST, CELL_FIRST);
    return CELL_REST;
}

static void raise_count(struct usage_cell *cell, enum usage_count which, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&cell->added[which], memory_order_relaxed);
    if (n > 0)
        atomic_store_explicit(&cell->added[which], old + n, memory_order_release);
}

/* Whether the cell that was raised last is the identity's: one answer is often like the one before it. */
static bool is_last(const struct usage_counter *counter, const struct usage_identity *identity)
{
    const struct usage_cell *last = &counter->cells->cells[counter->slot][counter->last];
    return counter->ids[counter->last] != 0 && same_identity(&last->identity, identity);
}

static unsigned find_any(struct usage_counter *counter, const struct usage_identity *identity)
{
    unsigned index = find(counter, identity, CELL_FIRST, CELL_MODEL);
    if (index == USAGE_CELLS) {
        struct usage_identity other = *identity;
        memset(other.model, 0, sizeof other.model);
        put_name(other.model, sizeof other.model, USAGE_OTHER);
        index = find(counter, &other, CELL_MODEL, USAGE_CELLS);
    }
    return index < USAGE_CELLS ? index : find_rest(counter, identity->hour);
}

void usage_counter_add(struct usage_counter *counter, const struct usage_identity *identity,
                       const struct usage *usage)
{
    if (!is_last(counter, identity))
        counter->last = find_any(counter, identity);
    struct usage_cell *cell = &counter->cells->cells[counter->slot][counter->last];
    raise_count(cell, USAGE_INPUT, usage->input);
    raise_count(cell, USAGE_OUTPUT, usage->output);
    raise_count(cell, USAGE_CACHED, usage->cached);
    raise_count(cell, USAGE_WRITTEN, usage->written);
    raise_count(cell, USAGE_REASONING, usage->reasoning);
    raise_count(cell, USAGE_REQUESTS, 1);
}

/* ---- the side that writes to the database */

/* The pid in the upper half, the second in the lower one. */
bool usage_cells_hold(struct usage_cells *cells, int32_t pid, int64_t now_mono_ms)
{
    uint64_t found = atomic_load_explicit(&cells->writer, memory_order_acquire);
    int32_t holder = (int32_t)(found >> 32);
    uint32_t now_s = (uint32_t)(now_mono_ms / 1000);
    if (holder != 0 && holder != pid && now_s - (uint32_t)found < USAGE_LEASE_S)
        return false;
    return atomic_compare_exchange_strong(&cells->writer, &found, (uint64_t)(uint32_t)pid << 32 | now_s);
}

void usage_cells_let_go(struct usage_cells *cells, int32_t pid)
{
    uint64_t found = atomic_load_explicit(&cells->writer, memory_order_relaxed);
    if ((int32_t)(found >> 32) == pid)
        (void)atomic_compare_exchange_strong(&cells->writer, &found, 0);
}

/* Whether the cell has something to write. */
static bool look(struct usage_cell *cell, struct usage_pending *pending)
{
    bool any = false;
    pending->cell = cell;
    for (size_t i = 0; i < USAGE_COUNTS; i++) {
        pending->seen[i] = atomic_load_explicit(&cell->added[i], memory_order_acquire);
        pending->counts[i] = pending->seen[i] - atomic_load_explicit(&cell->written[i], memory_order_relaxed);
        any |= pending->counts[i] != 0;
    }
    return any;
}

bool usage_cells_next(struct usage_cells *cells, struct usage_cursor *cursor, struct usage_pending *pending)
{
    for (; cursor->slot < USAGE_SLOTS; cursor->slot++, cursor->cell = 0) {
        unsigned used = atomic_load_explicit(&cells->used[cursor->slot], memory_order_acquire);
        while (cursor->cell < used && cursor->cell < USAGE_CELLS)
            if (look(&cells->cells[cursor->slot][cursor->cell++], pending))
                return true;
    }
    return false;
}

void usage_cells_written(const struct usage_pending *pending)
{
    for (size_t i = 0; i < USAGE_COUNTS; i++)
        atomic_store_explicit(&pending->cell->written[i], pending->seen[i], memory_order_release);
}
