/*
 * store_trouble: what a process says about a database that does not do what it should. Used by store and
 * housekeeper.
 *
 * Each failing state of affairs is logged once when it begins, by whichever process is first, and once when
 * it is over, by the housekeeper: when no process has met it for STORE_QUIET_MS. All of them count their
 * errors in shared memory and note there when they met the last.
 */
#ifndef CLAVIGER_IO_STORE_TROUBLE_H
#define CLAVIGER_IO_STORE_TROUBLE_H

#include "io/shared.h"
#include "io/store.h"

/* What can be in trouble, each for itself: reading may work while writing does not. */
enum store_access { STORE_READING, STORE_WRITING, STORE_KEEPING, STORE_ACCESSES };

struct store_trouble {
    const char *path;                   /* borrowed */
    struct shared *shared;              /* borrowed */
    int64_t busy_since[STORE_ACCESSES]; /* monotonic; INT64_MAX = not busy */
    bool failing[STORE_ACCESSES];
};

void store_trouble_init(struct store_trouble *trouble, const char *path, struct shared *shared);

/* An access failed with an SQLite result code. text: what failed and what to do, or NULL: made from the code.
 * A busy database is no trouble before it was busy for STORE_BUSY_MS: several writers get in each other's way
 * for milliseconds. */
void store_trouble_begin(struct store_trouble *trouble, enum store_access access, int code, const char *text,
                         const struct store_clock *now);

/* An access worked: this process's part in it is over. */
void store_trouble_end(struct store_trouble *trouble, enum store_access access);

/* Whether any access of this process fails. */
bool store_trouble_here(const struct store_trouble *trouble);

/* Everything was seen to work here: it is over for all when no process failed of late. */
void store_trouble_over(struct store_trouble *trouble, const struct store_clock *now);

#define STORE_BUSY_MS 500
/* Whoever fails tries again, and reports again, sooner than that. */
#define STORE_QUIET_MS 1000

#endif
