/*
 * store_usage: brings the token counts of the workers from shared memory into the table `usage`, and removes
 * rows that are older than they are kept. Runs in the admin process, on the housekeeper's connection.
 */
#ifndef CLAVIGER_IO_STORE_USAGE_H
#define CLAVIGER_IO_STORE_USAGE_H

#include "io/store.h"
#include "io/usage_cells.h"

#include <stdint.h>

struct sqlite3;

#define STORE_USAGE_WRITE_MS 1000 /* how often counts are written */
#define STORE_USAGE_ROWS     2000 /* of an hour; from here on a new row has USAGE_OTHER as its model */
#define STORE_USAGE_ROWS_MAX 4000 /* from here on as its client and key, too */
#define STORE_USAGE_BATCH    256  /* cells in one transaction */
#define STORE_USAGE_REMOVED  500  /* rows removed in one transaction */

#define STORE_USAGE_STEP_MS INT64_C(3600000)  /* a wall clock that was set ahead by more is doubted */
#define STORE_USAGE_KEEP_MS INT64_C(86400000) /* so long no row is removed then, or until it is set back */

struct store_usage {
    struct usage_cells *cells; /* borrowed */
    int64_t days;              /* rows are kept so long; 0 = for ever */
    int64_t write_at;          /* monotonic */
    int64_t remove_at;
    int failed; /* the SQLite result code of the last write */
    struct usage_cursor cursor;
};

void store_usage_init(struct store_usage *usage, struct usage_cells *cells, unsigned days);

/*
 * Writes what is due, in one short transaction; with remove, rows that are too old go
 * too. An SQLite result code: of this write, or of the last one while its repetition is not due. After a
 * failure everything is still to be written.
 */
int store_usage_tick(struct store_usage *usage, struct sqlite3 *db, bool remove,
                     const struct store_clock *now);

/* Writes all of it, at the end of the process, and lets other processes do it from now on. An SQLite result
 * code. */
int store_usage_finish(struct store_usage *usage, struct sqlite3 *db, const struct store_clock *now);

#endif
