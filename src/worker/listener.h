/*
 * listener: clients on their way in: an own accept loop, libmicrohttpd in external mode inside the worker's
 * loop, and the strict reading of what it hands over; each request becomes a relay. Only listener*.c and
 * admin.c include <microhttpd.h>.
 */
#ifndef CLAVIGER_WORKER_LISTENER_H
#define CLAVIGER_WORKER_LISTENER_H

#include "io/conf.h"
#include "io/shared.h"
#include "worker/loop.h"
#include "worker/relay.h"

struct listener;

struct listener_options {
    struct loop *loop;
    struct relays *relays;
    const struct conf *conf;
    const int *fds;             /* bound and listening, one per conf->listens; stay open */
    struct shared_worker *slot; /* where connections and requests are counted */
};

/* Everything in options is borrowed. Accepts from the next turn on. NULL on failure (logged). */
struct listener *listener_new(const struct listener_options *options);

/* Breaks off what is under way. */
void listener_free(struct listener **listener);

/* The loop's turn. Returns whether it did anything. */
bool listener_turn(struct listener *listener);

/* Accepts nothing more and lets requests in flight finish with `Connection: close`. Idle connections end at
 * once, or after grace_ms, in which their clients can still send a request; fresh ones get DRAIN_FRESH_MS for
 * their first. */
void listener_drain(struct listener *listener, int64_t grace_ms);

#define DRAIN_FRESH_MS 1000

/* Open connections, those included that only linger. */
size_t listener_connections(const struct listener *listener);

/* "libmicrohttpd/0.9.75", "GnuTLS/3.7.9" */
const char *listener_library_version(void);
const char *listener_tls_library_version(void);

#endif
