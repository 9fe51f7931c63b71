/*
 * forwarded: the X-Forwarded-* fields of a request to an upstream.
 */
#ifndef CLAVIGER_CORE_FORWARDED_H
#define CLAVIGER_CORE_FORWARDED_H

#include "base/arena.h"
#include "core/header.h"

struct forwarded_peer {
    const char *address; /* the peer's IP address as text, IPv6 without brackets; NULL for a unix socket */
    const char *host;    /* the client's Host, NULL when it sent none */
    bool https;          /* how the client connected */
};

/*
 * Replaces what `out` (the fields that travel) holds of X-Forwarded-Host, -Proto and -For, and drops
 * Forwarded. X-Forwarded-For becomes all values of the client's X-Forwarded-For fields joined by ", " and the
 * peer's address at the end; it is dropped when the peer has no address. Strings come from the arena. 0, or
 * -1 when out of memory.
 */
int forwarded_set(struct header_list *out, const struct forwarded_peer *peer, struct arena *arena);

#endif
