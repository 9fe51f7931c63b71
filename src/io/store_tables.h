/*
 * store_tables: the table key_state and the view keys inside an open state database. Used by store_schema and
 * housekeeper. Every function returns an SQLite result code.
 */
#ifndef CLAVIGER_IO_STORE_TABLES_H
#define CLAVIGER_IO_STORE_TABLES_H

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

/* The first column of the first row: as a number, or (text not NULL) whether it equals text. Without a row 0.
 */
int store_tables_query(struct sqlite3 *db, const char *sql, const char *text, int64_t *out);

/* Whether table and view are what this version makes. */
int store_tables_complete(struct sqlite3 *db, bool *complete);

/* Whether a file with our version is ours: its table is as it should be, or gone and there is no other. */
int store_tables_are_ours(struct sqlite3 *db, bool *ours);

/*
 * Makes the table or view that somebody dropped while we used the file, inside a transaction of the caller's.
 * A table that has other columns stays under the name key_state_until_TIME.
 */
int store_tables_restore(struct sqlite3 *db);

/* Brings the tables to this version in one transaction. */
int store_tables_migrate(struct sqlite3 *db);

#endif
