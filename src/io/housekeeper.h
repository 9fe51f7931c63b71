/*
 * housekeeper: the one place that checkpoints, and that makes a lost database again. Runs in the admin
 * process.
 *
 * A lock file beside the database (PATH.lock) keeps two daemons that share it from doing this both at once:
 * whoever holds it works, the other looks again each tick.
 */
#ifndef CLAVIGER_IO_HOUSEKEEPER_H
#define CLAVIGER_IO_HOUSEKEEPER_H

#include "io/store.h"

struct housekeeper;

struct housekeeper_options {
    const char *path;
    const struct provider_list *providers;
    struct pool *pools; /* the admin process's own copy, kept fresh by `store` */
    struct store *store;
    struct shared *shared;
    unsigned usage_days; /* rows of the table usage are kept so long; 0 = for ever */
};

/* Everything in options is borrowed and outlives the housekeeper. NULL when out of memory. */
struct housekeeper *housekeeper_new(const struct housekeeper_options *options);

/* Writes the last token counts, does a last checkpoint (TRUNCATE) when it holds the lock, then frees. */
void housekeeper_free(struct housekeeper **housekeeper);

/*
 * One round, called every HOUSEKEEPER_TICK_MS: refreshes the pools; writes dirty marks of processes that
 * died; checkpoints (TRUNCATE, under a busy timeout) when the WAL holds HOUSEKEEPER_WAL_FRAMES or more; when
 * the database file is gone, replaced or damaged, makes it again from the pools' states and the newest marks
 * in shared memory, and raises database_epoch; repeats a sync that failed; writes the workers' token counts
 * (store_usage). Logs each change of the state of affairs once.
 */
void housekeeper_tick(struct housekeeper *housekeeper, const struct store_clock *now);

#define HOUSEKEEPER_TICK_MS    250
#define HOUSEKEEPER_WAL_FRAMES 200

#endif
