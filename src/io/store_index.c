/*
 * store_index: owns nothing: the header is SQLite's as long as the connection is open. Called by store at
 * every refresh.
 */
#include "io/store_index.h"

#include <sqlite3.h>
#include <stddef.h>
#include <string.h>

#define REGION_BYTES 32768   /* of the index, each of its parts */
#define FORMAT       3007000 /* the first word: of SQLite 3.7.0, and of all since */
#define IS_INIT_WORD 3       /* its first byte in memory says whether the header is one */

static bool is_header(const volatile uint32_t *header)
{
    const volatile unsigned char *is_init = (const volatile unsigned char *)(header + IS_INIT_WORD);
    return header[0] == FORMAT && *is_init == 1;
}

/* Elsewhere there is no index, and SQLite would not let go of one that it is asked for. */
static bool has_wal(struct sqlite3 *db)
{
    sqlite3_stmt *stmt = NULL;
    bool has = sqlite3_prepare_v2(db, "PRAGMA journal_mode", -1, &stmt, NULL) == SQLITE_OK &&
               sqlite3_step(stmt) == SQLITE_ROW &&
               strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
    sqlite3_finalize(stmt);
    return has;
}

void store_index_open(struct store_index *index, struct sqlite3 *db)
{
    sqlite3_file *file = NULL;
    void volatile *region = NULL;
    if (index->header != NULL || !has_wal(db) ||
        sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || file == NULL ||
        file->pMethods == NULL || file->pMethods->iVersion < 2 || file->pMethods->xShmMap == NULL ||
        file->pMethods->xShmMap(file, 0, REGION_BYTES, 0, &region) != SQLITE_OK || region == NULL)
        return;
    index->header = region;
    index->noted = false;
}

void store_index_close(struct store_index *index)
{
    *index = (struct store_index){0};
}

void store_index_note(struct store_index *index)
{
    if (index->header == NULL)
        return;
    index->noted = is_header(index->header);
    for (size_t i = 0; i < STORE_INDEX_WORDS; i++)
        index->seen[i] = index->header[i];
}

bool store_index_is_same(const struct store_index *index)
{
    if (!index->noted)
        return false;
    for (size_t i = 0; i < STORE_INDEX_WORDS; i++)
        if (index->seen[i] != index->header[i])
            return false;
    return true;
}
