/*
 * usage_cells: token counts in shared memory, on their way from the workers to the database's table `usage`.
 *
 * Each worker has cells of its own (those of its slot) and is the only one who adds to them; one process at a
 * time, an admin process, writes them to the database. So what a killed worker counted is not lost, and a
 * database that cannot be written delays its counts and no request. Nothing here locks, allocates or waits.
 */
#ifndef CLAVIGER_IO_USAGE_CELLS_H
#define CLAVIGER_IO_USAGE_CELLS_H

#include "core/key.h"
#include "core/usage.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USAGE_SLOTS     512 /* of workers, as many as struct shared has */
#define USAGE_CELLS     128 /* of a slot */
#define USAGE_NAME_SIZE 65  /* of a provider or client, and NUL */
#define USAGE_HOUR_MS   INT64_C(3600000)
#define USAGE_OTHER     "(other)" /* in place of a name when there are too many */
#define USAGE_LEASE_S   60

/* What is counted for itself: a row of the table. */
struct usage_identity {
    int64_t hour; /* Unix time of its begin, in seconds */
    char provider[USAGE_NAME_SIZE];
    char client[USAGE_NAME_SIZE]; /* "" = no client with a token */
    char key[KEY_HINT_SIZE];      /* hint, "byok" */
    char model[USAGE_MODEL_SIZE]; /* "" = not said */
};

enum usage_count {
    USAGE_REQUESTS,
    USAGE_INPUT,
    USAGE_OUTPUT,
    USAGE_CACHED,
    USAGE_WRITTEN,
    USAGE_REASONING,
    USAGE_COUNTS
};

/*
 * Both kinds of counts only grow, and each word has one writer: the worker raises `added`, whoever writes to
 * the database sets `written` to the `added` that is committed. What is between the two has to be written
 * yet; only where that is nothing the worker may give the cell another identity.
 */
struct usage_cell {
    struct usage_identity identity;
    _Atomic uint64_t added[USAGE_COUNTS];
    _Atomic uint64_t written[USAGE_COUNTS];
};

/* In shared memory, zeroed at the begin. Pages of cells that were never used are not touched. */
struct usage_cells {
    _Atomic uint64_t writer; /* pid of who writes to the database, and when it last said so */
    int64_t lead_ms;         /* the writer's: the wall clock's over time since the start; 0 = not seen */
    int64_t doubted_ms;      /* the writer's: the same of a clock that is doubted */
    int64_t keep_until;      /* the writer's: monotonic; old rows stay so long; 0 = no doubt */
    _Atomic uint32_t used[USAGE_SLOTS]; /* so many cells of the slot were ever used, from the first on */
    struct usage_cell cells[USAGE_SLOTS][USAGE_CELLS];
};

/* ---- the worker's side */

struct usage_counter {
    struct usage_cells *cells; /* borrowed */
    unsigned slot;
    unsigned last;             /* the cell that was raised last */
    uint64_t ids[USAGE_CELLS]; /* hashes of the cells' identities; 0 = it has none */
};

/* Takes over the slot's cells with what a worker before has left in them. */
void usage_counter_init(struct usage_counter *counter, struct usage_cells *cells, unsigned slot);

/*
 * The identity of an answer: names are cut to their size, NULL is "". The hour is that of real_ms.
 */
void usage_identify(struct usage_identity *identity, int64_t real_ms, const char *provider,
                    const char *client, const char *key, const char *model);

/*
 * Counts an answer. When all cells for ordinary identities are taken, the model becomes USAGE_OTHER; when
 * those for that are, provider, client and key too. Nothing is lost.
 */
void usage_counter_add(struct usage_counter *counter, const struct usage_identity *identity,
                       const struct usage *usage);

/* ---- the side that writes to the database */

/*
 * Makes this process the one that writes, or keeps it that. false: another one is it, and said so less than
 * USAGE_LEASE_S seconds ago. The master lets go for a child that has ended; the time is for one that nobody
 * saw end, with its master.
 */
bool usage_cells_hold(struct usage_cells *cells, int32_t pid, int64_t now_mono_ms);

/* The process is it no longer, if it was. */
void usage_cells_let_go(struct usage_cells *cells, int32_t pid);

/* Counts that are not written yet. */
struct usage_pending {
    struct usage_cell *cell;
    uint64_t counts[USAGE_COUNTS];
    uint64_t seen[USAGE_COUNTS]; /* for usage_cells_written() */
};

/* Where the next call goes on; all zero at the begin. */
struct usage_cursor {
    unsigned slot;
    unsigned cell;
};

/* The next cell with something to write; false: all were looked at. */
bool usage_cells_next(struct usage_cells *cells, struct usage_cursor *cursor, struct usage_pending *pending);

/* They are committed. */
void usage_cells_written(const struct usage_pending *pending);

#endif
