/*
 * store_tables: the tables key_state and usage and the views keys and usage_by_day inside an open state
 * database. Used by store_schema and housekeeper. Every function returns an SQLite result code.
 */
#ifndef CLAVIGER_IO_STORE_TABLES_H
#define CLAVIGER_IO_STORE_TABLES_H

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

/* The first column of the first row: as a number, or (text not NULL) whether it equals text. Without a row 0.
 */
int store_tables_query(struct sqlite3 *db, const char *sql, const char *text, int64_t *out);

/* Whether tables and views are what this version makes. */
int store_tables_complete(struct sqlite3 *db, bool *complete);

/* Whether a file with a version of ours is ours: its key states are as they should be, or gone and there is
 * no table of somebody else. */
int store_tables_are_ours(struct sqlite3 *db, bool *ours);

/*
 * Makes the tables and views that are missing, because somebody dropped them or an older version knew none,
 * inside a transaction of the caller's. A table that has other columns, and a view of somebody else, stays
 * under the name NAME_until_TIME.
 */
int store_tables_restore(struct sqlite3 *db);

/* Brings the tables to this version in one transaction. */
int store_tables_migrate(struct sqlite3 *db);

#endif
