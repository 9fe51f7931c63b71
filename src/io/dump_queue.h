/*
 * dump_queue: records on their way from one process to another that was forked from it, in a ring of fixed
 * size that both share. Neither ever waits for the other, nor holds a lock that the other wants: one that is
 * preempted, or killed, in the middle stops nobody, and leaves whole records only. Who takes can do who puts
 * no harm by what it writes into the shared memory.
 *
 * A record is as long as who puts it there says, its bytes are aligned for any type, and it is wiped when it
 * was taken. The ring is no part of a core.
 */
#ifndef CLAVIGER_IO_DUMP_QUEUE_H
#define CLAVIGER_IO_DUMP_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

struct dump_queue;

#define DUMP_QUEUE_UNIT 32 /* a record of up to half of this many bytes takes so much room */

/* size: bytes, a multiple of DUMP_QUEUE_UNIT. NULL with errno. */
struct dump_queue *dump_queue_new(size_t size);

/* Each process frees its own view; records that nobody has taken are lost with the last one. */
void dump_queue_free(struct dump_queue **queue);

/* The one descriptor that it needs in either process. */
int dump_queue_fd(const struct dump_queue *queue);

/* Bytes that are in the queue, their headers included. Either side. */
size_t dump_queue_used(const struct dump_queue *queue);

/* ---- who puts */

/* Whether to begin something that needs so many bytes. Once it did not get them, or a record found no room,
 * it is better not to begin anything before half of the queue is free: what is begun then is whole, and what
 * is not costs next to nothing. */
bool dump_queue_takes(struct dump_queue *queue, size_t need);

/* Room for a record of len bytes, such that `spare` more bytes stay free behind it. NULL when there is not so
 * much. What was reserved and not put is forgotten. Once a quarter of the queue is used it wakes the other
 * side by itself: more may follow than the queue has room for before anybody calls dump_queue_wake(). */
void *dump_queue_reserve(struct dump_queue *queue, size_t len, size_t spare);

/* The record is there; len: as reserved, or shorter. */
void dump_queue_put(struct dump_queue *queue, size_t len);

/* Wakes the other side when it sleeps and there is something for it. */
void dump_queue_wake(struct dump_queue *queue);

/* ---- who takes */

/* The oldest record, until dump_queue_drop(). NULL when there is none. */
const void *dump_queue_peek(struct dump_queue *queue, size_t *len);
void dump_queue_drop(struct dump_queue *queue);

/* Sleeps until there is a record, or a signal came; with doze_ms >= 0 for that long, or until a quarter of
 * the queue is used: so who puts has to wake nobody for each record. peer_fd: a socket to who puts. False
 * when the other end of it has been closed or shut down: then all that was ever put is in the queue. */
bool dump_queue_sleep(struct dump_queue *queue, int peer_fd, int doze_ms);

#endif
