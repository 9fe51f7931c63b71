/*
 * store_edit: an operator's changes and views of the key states, for clavigerctl and the admin listener.
 * Works with the daemon running or not.
 */
#ifndef CLAVIGER_IO_STORE_EDIT_H
#define CLAVIGER_IO_STORE_EDIT_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

struct sqlite3;

/* A row of the view `keys`. Strings are owned by the list. */
struct store_row {
    char *provider;
    char *key_id;
    char *hint;
    char *state;   /* valid, temporary, permanent */
    char *reason;  /* "" when never marked */
    char *updated; /* RFC 3339 in UTC, "" when never marked */
    int64_t position;
    int64_t seconds_left; /* of a temporary key, rounded up; else 0 */
    int64_t status;       /* the HTTP status that last marked it, 0 = none */
    int64_t failures;
};

struct store_rows {
    struct store_row *items;
    size_t count;
};

void store_rows_fini(struct store_rows *rows);

/* Configured keys in walking order, of one provider or (NULL) all. 0, or -1 and *reason. */
int store_edit_list(const char *path, const char *provider, struct store_rows *rows, struct buf *reason);

/* Forgets the rows of all other providers. */
void store_rows_keep(struct store_rows *rows, const char *provider);

/* The rows as a JSON array, what `clavigerctl --json keys` prints and GET /keys answers. */
void store_rows_json(const struct store_rows *rows, struct buf *out);

enum store_edit_action {
    STORE_EDIT_RESET,   /* valid again, whatever it was; failures start at 0 */
    STORE_EDIT_DISABLE, /* permanent, with the reason "disabled" */
    STORE_EDIT_ENABLE,  /* valid again */
};

/*
 * Changes one key, or with key NULL all configured keys of the provider. key is a position, a key_id or a
 * hint that names just one key (a position wins over the others). *changed says how many rows. 0, or -1 and
 * *reason: no such provider or key, more than one key with that hint (then they are listed), database locked
 * or unusable.
 */
int store_edit_apply(const char *path, enum store_edit_action action, const char *provider, const char *key,
                     int64_t now_real_ms, int *changed, struct buf *reason);

/* Opens a database whose schema this version knows, for store_edit and store_usage_list. NULL and *reason. */
struct sqlite3 *store_edit_open(const char *path, struct buf *reason);

#endif
