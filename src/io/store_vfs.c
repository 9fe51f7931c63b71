/*
 * store_vfs: owns the two file systems whose connections do not sleep long. Called where a connection to the
 * state database is opened.
 */
#include "io/store_vfs.h"

#include <sqlite3.h>
#include <stddef.h>
#include <stdint.h>

#define NAP_MS 1

static int sleep_never(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    (void)us;
    return 0;
}

static int sleep_shortly(sqlite3_vfs *vfs, int us)
{
    (void)vfs;
    (void)us;
    return sqlite3_sleep(NAP_MS) * 1000;
}

const char *store_vfs_name(int busy_ms)
{
    static sqlite3_vfs never;
    static sqlite3_vfs shortly;
    const sqlite3_vfs *system;

    if (never.zName == NULL) {
        system = sqlite3_vfs_find(NULL);
        if (system == NULL)
            return NULL;
        shortly = *system;
        shortly.zName = "claviger-shortly";
        shortly.xSleep = sleep_shortly;
        never = *system;
        never.zName = "claviger-never";
        never.xSleep = sleep_never;
        if (sqlite3_vfs_register(&shortly, 0) != SQLITE_OK || sqlite3_vfs_register(&never, 0) != SQLITE_OK) {
            never.zName = NULL;
            return NULL;
        }
    }
    return busy_ms == 0 ? never.zName : shortly.zName;
}

/* SQLite asks this, and says how often it has asked before; 0 = give up. */
static int wait_a_little(void *busy_ms, int count)
{
    if (count >= (int)(intptr_t)busy_ms / NAP_MS)
        return 0;
    sqlite3_sleep(NAP_MS);
    return 1;
}

void store_vfs_wait(struct sqlite3 *db, int busy_ms)
{
    sqlite3_busy_handler(db, busy_ms > 0 ? wait_a_little : NULL, (void *)(intptr_t)busy_ms);
}
