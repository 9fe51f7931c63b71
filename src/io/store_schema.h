/*
 * store_schema: the state database as a file: made, migrated, checked, moved aside when damaged, and brought
 * in line with the configured keys. Used by the master before it forks, by the admin process when the file
 * has to be made anew, and by clavigerctl. <sqlite3.h> is included by the store family and
 * housekeeper only.
 *
 * Every connection of this project is opened by store_schema_connect(), or by store_schema_visit() for who
 * may meet a file that no daemon has made ready: WAL, synchronous=NORMAL, mmap_size=0, wal_autocheckpoint=0
 * (SQLite before 3.51.3 can lose committed rows when several connections checkpoint by themselves:
 * sqlite.org/wal.html#walresetbug), no checkpoint on close, no long sleep (store_vfs).
 */
#ifndef CLAVIGER_IO_STORE_SCHEMA_H
#define CLAVIGER_IO_STORE_SCHEMA_H

#include "base/buf.h"
#include "core/provider.h"

#include <stdbool.h>
#include <sys/types.h>

#define STORE_SCHEMA_VERSION 2

struct sqlite3;

/*
 * What the view `keys` shows, with the key_id: configured keys in walking order. State and seconds_left are
 * judged by the wall clock of the moment; `now` is the same in every row. julianday() counts days; 2440587.5
 * is 1970-01-01.
 */
#define STORE_SCHEMA_ROWS                                                                                    \
    "SELECT provider, position, key_id, hint,"                                                               \
    " CASE WHEN permanent <> 0 THEN 'permanent' WHEN cooldown_until > now THEN 'temporary' ELSE 'valid' "    \
    "END AS state,"                                                                                          \
    " CASE WHEN permanent = 0 AND cooldown_until > now THEN (cooldown_until - now + 999) / 1000 END AS "     \
    "seconds_left,"                                                                                          \
    " last_status AS status, reason, failures,"                                                              \
    " strftime('%Y-%m-%dT%H:%M:%fZ', updated_at / 1000.0, 'unixepoch') AS updated"                           \
    " FROM (SELECT *, CAST((julianday('now') - 2440587.5) * 86400000.0 + 0.5 AS INTEGER) AS now FROM "       \
    "key_state)"                                                                                             \
    " WHERE position IS NOT NULL"

/* Opens with the pragmas above. busy_ms is how long it waits for a lock, as store_vfs_wait(). With create, a
 * missing file is made with mode 0640. NULL on failure, *sqlite_code and *reason say why. */
struct sqlite3 *store_schema_connect(const char *path, bool create, int busy_ms, int *sqlite_code,
                                     struct buf *reason);

/* The same of a file that is there, which it leaves as it is: it may not be in WAL mode. */
struct sqlite3 *store_schema_visit(const char *path, int busy_ms, int *sqlite_code, struct buf *reason);

/*
 * Makes the database ready to serve: creates it (mode 0640) with its tables and view, migrates an older
 * user_version in one transaction, refuses a newer one, moves a damaged file aside as
 * PATH.damaged-YYYYMMDDTHHMMSSZ (its -wal and -shm too) and begins anew. owner/group: who the files belong to
 * when we are root, -1 = leave. Its directory must exist; under the packaged path it is made by the
 * installation. 0, or -1 and *reason says what and what to do. *damaged is set to the new name when a file
 * was moved (owned by the caller), else NULL.
 */
int store_schema_prepare(const char *path, uid_t owner, gid_t group, int busy_ms, char **damaged,
                         struct buf *reason);

/* The same for a file that somebody has found damaged: all of it is read, however large it is. */
int store_schema_repair(const char *path, int busy_ms, char **damaged, struct buf *reason);

/*
 * Whether store_schema_prepare() would make the database at PATH ready, by looking only: what is not there,
 * is empty or damaged it would make. 0, or -1 and *reason.
 */
int store_schema_check(const char *path, struct buf *reason);

/*
 * Brings the rows in line with the configuration in one transaction: every configured key has a row with its
 * hint and position; rows of other keys get position NULL and keep their state. Writes nothing when nothing
 * differs. 0, or -1 and *reason.
 */
int store_schema_sync(const char *path, const struct provider_list *providers, int busy_ms,
                      struct buf *reason);

/* The same inside a transaction of the caller's. An SQLite result code. */
int store_schema_place(struct sqlite3 *db, const struct provider_list *providers);

/* Whether the file at PATH has this version's number and not its tables. What cannot be read has them. */
bool store_schema_is_stripped(const char *path, int busy_ms);

/* What an SQLite result code (also an extended one) means for whoever has to decide. */
bool store_schema_is_busy(int sqlite_code);       /* somebody holds a lock: try again */
bool store_schema_is_damage(int sqlite_code);     /* the file is no sound database */
const char *store_schema_advice(int sqlite_code); /* what the operator can do, as static text */

/*
 * Writes the whole content that an open connection still reaches (its file or WAL may have lost its name)
 * into a new file and puts that at PATH; -wal and -shm there are removed. 0, or -1 with *sqlite_code and
 * *reason; then nothing at PATH changed.
 */
int store_schema_salvage(struct sqlite3 *db, const char *path, int *sqlite_code, struct buf *reason);

/* "SQLite/3.40.1" */
const char *store_schema_library_version(void);

#endif
