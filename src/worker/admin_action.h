/*
 * admin_action: a change of a key that the status page's form asks for, and whether it may. Pure but for the
 * digest.
 */
#ifndef CLAVIGER_WORKER_ADMIN_ACTION_H
#define CLAVIGER_WORKER_ADMIN_ACTION_H

#include "core/key.h"
#include "io/store_edit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ADMIN_ACTION_BODY_MAX 1024 /* bytes of a form */
#define ADMIN_ACTION_TOKEN    128

struct admin_action {
    char token[ADMIN_ACTION_TOKEN]; /* to be wiped by the caller */
    enum store_edit_action action;
    char provider[65];
    char key_id[KEY_ID_SIZE];
};

/* Reads a form (application/x-www-form-urlencoded): token=TOKEN&do=reset+PROVIDER+KEY_ID, or disable, or
 * enable. False when it is anything else. */
bool admin_action_parse(const char *body, size_t len, struct admin_action *action);

/* Whether the token's SHA-256 is hash (lower-case hexadecimal); takes the same time whatever they are. */
bool admin_action_is_allowed(const struct admin_action *action, const char *hash);

#define ADMIN_ACTION_SAY_MS 60000

/* Wrong tokens, so that whoever tries them does not fill the log. */
struct admin_action_refusals {
    int64_t said_ms; /* monotonic; 0 = none was */
    unsigned unsaid; /* since then */
};

/* One more. Whether it is to be logged; *unsaid is how many before it were not. */
bool admin_action_say_refusal(struct admin_action_refusals *refusals, int64_t now_mono_ms, unsigned *unsaid);

/* Whether the request comes from the page itself and not from another site (Fetch Metadata,
 * www.w3.org/TR/fetch-metadata; Origin, RFC 6454). Fields that were not sent are NULL. */
bool admin_action_is_same_site(const char *sec_fetch_site, const char *origin, const char *host);

#endif
