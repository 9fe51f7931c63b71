/*
 * store_usage_list: the token counts of the table `usage`, summed up, for clavigerctl. Reads only; works with
 * the daemon running or not.
 */
#ifndef CLAVIGER_IO_STORE_USAGE_LIST_H
#define CLAVIGER_IO_STORE_USAGE_LIST_H

#include "base/buf.h"
#include "io/usage_cells.h"

#include <stddef.h>
#include <stdint.h>

enum store_usage_by { STORE_USAGE_BY_MODEL, STORE_USAGE_BY_CLIENT, STORE_USAGE_BY_KEY };

struct store_usage_row {
    char *provider; /* owned */
    char *name;     /* owned: model, client or hint; "" = none */
    int64_t counts[USAGE_COUNTS];
};

struct store_usage_rows {
    struct store_usage_row *items; /* owned */
    size_t count;
    int64_t total[USAGE_COUNTS];
};

void store_usage_rows_fini(struct store_usage_rows *rows);

/*
 * A row for each provider and model (or client, or key) that was used in the hours that began between from_s
 * and to_s (Unix time in seconds, both included), of one provider or (NULL) all: by provider, then those with
 * the most tokens first. 0, or -1 and *reason: the database cannot be used.
 */
int store_usage_list(const char *path, enum store_usage_by by, int64_t from_s, int64_t to_s,
                     const char *provider, struct store_usage_rows *rows, struct buf *reason);

#endif
