/*
 * key: one API key, what is known about it, and the rules by which marks change that.
 *
 * Times are milliseconds of the caller's monotonic clock.
 */
#ifndef CLAVIGER_CORE_KEY_H
#define CLAVIGER_CORE_KEY_H

#include "base/secret.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KEY_ID_SIZE   17 /* 16 hexadecimal digits and NUL */
#define KEY_HINT_SIZE 12 /* "sk-a...wxyz" and NUL */

/* Who a key is; never changes. */
struct key {
    struct secret *secret;    /* owned by the configuration */
    char id[KEY_ID_SIZE];     /* the first 16 hexadecimal digits of its SHA-256 */
    char hint[KEY_HINT_SIZE]; /* for people: see key_hint() */
};

enum key_status { KEY_VALID, KEY_TEMPORARY, KEY_PERMANENT };

/* What is known about it. A zeroed state is a valid key. */
struct key_state {
    bool permanent;
    int64_t until_ms; /* end of the cooldown; in the past or 0 = none */
};

/* A mark: what an answer says about a key. */
struct mark {
    bool permanent;
    int64_t until_ms; /* when not permanent */
    int status;       /* the HTTP status that caused it */
};

enum key_status key_status(const struct key_state *state, int64_t now_ms);

/* "valid", "temporary", "permanent": the words of the view, the log and the man pages. */
const char *key_status_name(enum key_status status);

/*
 * Applies a mark: permanent is final, and a cooldown is never shortened. Returns whether the state changed;
 * what changes nothing is no mark (it is neither counted nor logged).
 */
bool key_mark(struct key_state *state, const struct mark *mark);

/* What the database's `reason` says for a status: "rate_limited" (429), "unauthorized" (401), "forbidden"
 * (403), otherwise "refused". */
const char *key_mark_reason(int status);

/* The first and last 4 characters with "..." between, from 20 characters on; 2 and 2 from 10; 1 and 1 from 5;
 * otherwise "...". */
void key_hint(const char *key, size_t len, char out[KEY_HINT_SIZE]);

#endif
