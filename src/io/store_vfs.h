/*
 * store_vfs: how long a connection to the state database may sleep. Used by store_schema and housekeeper.
 *
 * SQLite itself sleeps, up to ten seconds in all and whatever busy_timeout says, while another process holds
 * the locks of a WAL's readers: one that was stopped in the middle of a recovery or a checkpoint. A worker's
 * loop would stand still. So every connection is opened through one of two file systems (VFS) that are the
 * system's own but for their sleep.
 */
#ifndef CLAVIGER_IO_STORE_VFS_H
#define CLAVIGER_IO_STORE_VFS_H

struct sqlite3;

/* The name of the VFS for sqlite3_open_v2(): with busy_ms 0 it never sleeps, else 1 ms at a time. NULL when
 * it cannot be had. */
const char *store_vfs_name(int busy_ms);

/* What sqlite3_busy_timeout() is for other connections. */
void store_vfs_wait(struct sqlite3 *db, int busy_ms);

#endif
