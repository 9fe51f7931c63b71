/*
 * store_checkpoint: empties the WAL of the state database, and says so when it cannot for long. Called by the
 * housekeeper with its connection.
 */
#include "io/store_checkpoint.h"

#include "base/log.h"
#include "io/housekeeper.h"
#include "io/store_file.h"
#include "io/store_schema.h"

#include <sqlite3.h>

/* Pauses after a checkpoint that a reader or writer stood in the way of: it keeps writers waiting while it
 * waits. */
#define PAUSE_MAX_MS 5000
/* A WAL that could not be emptied for so long is worth a word. */
#define BLOCKED_MS 60000
/* The database's pages are of SQLite's default size; each frame of the WAL has a header of 24 bytes. */
#define FRAME_BYTES (4096 + 24)

void store_checkpoint_init(struct store_checkpoint *checkpoint, const char *path)
{
    *checkpoint = (struct store_checkpoint){.path = path,
                                            .due_ms = INT64_MIN,
                                            .pause_ms = HOUSEKEEPER_TICK_MS,
                                            .blocked_since = INT64_MAX};
}

int store_checkpoint_tick(struct store_checkpoint *checkpoint, struct sqlite3 *db,
                          const struct store_clock *now)
{
    off_t size = 0;
    int code;

    if (store_file_beside(checkpoint->path, "-wal", &size) == 0 ||
        size < (off_t)HOUSEKEEPER_WAL_FRAMES * FRAME_BYTES || now->mono_ms < checkpoint->due_ms)
        return SQLITE_OK;
    code = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (!store_schema_is_busy(code)) {
        checkpoint->pause_ms = HOUSEKEEPER_TICK_MS;
        checkpoint->blocked_since = INT64_MAX;
        checkpoint->blocked_said = false;
        return code;
    }
    checkpoint->due_ms = now->mono_ms + checkpoint->pause_ms;
    checkpoint->pause_ms = checkpoint->pause_ms * 2 < PAUSE_MAX_MS ? checkpoint->pause_ms * 2 : PAUSE_MAX_MS;
    if (checkpoint->blocked_since == INT64_MAX)
        checkpoint->blocked_since = now->mono_ms;
    if (!checkpoint->blocked_said && now->mono_ms - checkpoint->blocked_since >= BLOCKED_MS) {
        log_warning(
            "state database %s: another process reads it for over a minute, so that its WAL only grows; "
            "fuser(1) shows which, end that one",
            checkpoint->path);
        checkpoint->blocked_said = true;
    }
    return SQLITE_OK;
}
