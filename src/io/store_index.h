/*
 * store_index: whether anything was committed to the state database since a connection last looked, without
 * a system call. Used by store.
 *
 * SQLite keeps the index of a WAL in memory that all connections share. It begins with a header that every
 * commit changes (sqlite.org/walformat.html section 2.1, "The WAL-Index Header"); where it lies the file's
 * own methods tell (sqlite.org/c3ref/io_methods.html, xShmMap). While those 48 bytes stay what they were,
 * nothing was committed. When they are another version's, or the file has no WAL, the answer is that it may
 * have been: then SQLite has to be asked.
 */
#ifndef CLAVIGER_IO_STORE_INDEX_H
#define CLAVIGER_IO_STORE_INDEX_H

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

#define STORE_INDEX_WORDS 12

/* Zeroed: closed. */
struct store_index {
    const volatile uint32_t *header; /* SQLite's; NULL = there is none */
    uint32_t seen[STORE_INDEX_WORDS];
    bool noted;
};

/* Of a connection that has read something already. Does nothing when it is open. */
void store_index_open(struct store_index *index, struct sqlite3 *db);

/* To be called before the connection is closed. */
void store_index_close(struct store_index *index);

/* Before a look at the database: what is committed from here on is what store_index_is_same() is about. */
void store_index_note(struct store_index *index);

/* Whether nothing was committed since then, by this connection or another. */
bool store_index_is_same(const struct store_index *index);

#endif
