/*
 * store_checkpoint: when the WAL of the state database is emptied. Used by the housekeeper, which is the only
 * one who may.
 */
#ifndef CLAVIGER_IO_STORE_CHECKPOINT_H
#define CLAVIGER_IO_STORE_CHECKPOINT_H

#include "io/store.h"

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

struct store_checkpoint {
    const char *path; /* borrowed */
    int64_t due_ms;   /* monotonic */
    int64_t pause_ms;
    int64_t blocked_since; /* INT64_MAX = not blocked */
    bool blocked_said;
};

void store_checkpoint_init(struct store_checkpoint *checkpoint, const char *path);

/* Empties the WAL when it is long enough. An SQLite result code; one that has to wait is no failure. */
int store_checkpoint_tick(struct store_checkpoint *checkpoint, struct sqlite3 *db,
                          const struct store_clock *now);

#endif
