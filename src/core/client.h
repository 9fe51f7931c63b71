/*
 * client: who may use the pools: the table of clients, each known by the SHA-256 of its token.
 */
#ifndef CLAVIGER_CORE_CLIENT_H
#define CLAVIGER_CORE_CLIENT_H

#include "base/digest.h"
#include "core/provider.h"

#include <stdbool.h>
#include <stddef.h>

#define CLIENT_NAME_MAX     64
#define CLIENT_TOKEN_PREFIX "clv_" /* of every token */

/* One line of the clients file. */
struct client_entry {
    char *name;                        /* owned */
    unsigned char hash[DIGEST_SIZE];   /* of the token */
    const struct provider **providers; /* owned array of borrowed entries; NULL = may use all */
    size_t provider_count;
    bool byok; /* may bring an own credential beside the token */
};

/* A zeroed struct is an empty table: nobody has a token. */
struct client_list {
    struct client_entry *items; /* owned */
    size_t count;
};

void client_list_fini(struct client_list *list);

/* What is wrong with a client's name, as the rest of a sentence; NULL = nothing. 1 to 64 letters, digits and
 * `.`, `_`, `-`, `@`, the first one a letter, so that it is no address; not the word `unix`, which the
 * request log has for another thing; and nothing that could be a token. */
const char *client_name_fault(const char *name, size_t len);

/* The client who has that token, or NULL. How long it takes depends on the length of the list and of the
 * token, not on what is in them. */
const struct client_entry *client_find(const struct client_list *list, const char *token, size_t len);

bool client_may_use(const struct client_entry *client, const struct provider *provider);

#endif
