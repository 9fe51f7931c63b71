/*
 * peers: how many connections each client address has open, for a limit on them. An IPv6 client has a whole
 * network: its /64 counts as one. One per worker; it does no I/O.
 */
#ifndef CLAVIGER_WORKER_PEERS_H
#define CLAVIGER_WORKER_PEERS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#define PEERS_TEXT_SIZE INET6_ADDRSTRLEN

struct peers;
struct peer;

/* limit: connections of one address, at least 1. NULL when out of memory. */
struct peers *peers_new(int64_t limit);
void peers_free(struct peers **peers);

/*
 * Counts a connection from there. false = it is one too many, and is not counted. *peer is what peers_leave()
 * needs; NULL for a client without an address (a unix socket) and when memory ran out: those are not counted.
 */
bool peers_enter(struct peers *peers, const struct sockaddr_storage *addr, struct peer **peer);

/* That connection is closed. *peer becomes NULL; NULL is allowed. */
void peers_leave(struct peers *peers, struct peer **peer);

/* How many addresses have a connection. */
size_t peers_count(const struct peers *peers);

/* An address without its port; "" for a unix socket. */
void peers_text(const struct sockaddr *addr, char out[PEERS_TEXT_SIZE]);

#endif
