/*
 * linger: after an answer that came before the whole request was read, the rest is read and thrown away for a
 * while, so that the client sees the answer instead of a reset (RFC 9112 section 9.6).
 */
#ifndef CLAVIGER_WORKER_LINGER_H
#define CLAVIGER_WORKER_LINGER_H

#include "worker/loop.h"

#define LINGER_MS    5000
#define LINGER_BYTES (16 * 1024 * 1024)

struct lingers; /* all of one worker */

struct lingers *lingers_new(struct loop *loop);
void lingers_free(struct lingers **lingers);
size_t lingers_count(const struct lingers *lingers);

/* Takes a descriptor of a connection whose sending side is shut down, reads it for up to LINGER_MS or
 * LINGER_BYTES and closes it. */
void linger_begin(struct lingers *lingers, int fd);

#endif
