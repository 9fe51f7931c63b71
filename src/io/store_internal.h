/*
 * store_internal: what store.c (opening, reading) and store_marks.c (writing) share. For those only.
 */
#ifndef CLAVIGER_IO_STORE_INTERNAL_H
#define CLAVIGER_IO_STORE_INTERNAL_H

#include "io/store.h"
#include "io/store_index.h"
#include "io/store_trouble.h"

#include <sqlite3.h>

#define RETRY_MIN_MS 1
#define NEVER        INT64_MAX

enum statement { VERSION, SELECT, BEGIN, UPSERT, COMMIT, STATEMENTS };

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
    uint64_t epoch;           /* database_epoch when db was opened */
    uint64_t generation;      /* key_generation that the states include */
    int64_t version;          /* data_version that the states include */
    struct store_index index; /* as it was before version was read */
    bool stale;               /* the rows have to be read whatever generation and version say */
    int64_t read_ms;
    int64_t retry_at; /* monotonic; NEVER = nothing pending */
    int64_t retry_ms; /* the next pause */
    struct store_trouble trouble;
};

/* Opens when it is closed and due, or when the file was replaced. Returns whether it is open. */
bool store_ensure_open(struct store *store, const struct store_clock *now);

/* After an access that failed with that SQLite code: decides when it is tried again. */
void store_fail(struct store *store, enum store_access access, int code, const struct store_clock *now);

/* Brings the states up to date; generation is the one that they include then. */
void store_reload(struct store *store, uint64_t generation, const struct store_clock *now);

#endif
