/*
 * companion: a process beside this one, for what may block, or shall not share this one's threads,
 * descriptors and rights. It is forked from it, so it has a copy of all memory (secrets too), but no
 * descriptor other than it is told to keep and one end of a socket; the other end is here. It takes no
 * signal, the scheduler prefers everyone else to it, and it has no log: it leaves word in memory that both
 * share.
 *
 * It ends when its function returns. When this process dies, however that happens, the other end of its
 * socket is closed, and it has COMPANION_ORPHAN_S from there on.
 */
#ifndef CLAVIGER_IO_COMPANION_H
#define CLAVIGER_IO_COMPANION_H

#include "base/buf.h"

#include <stdbool.h>

#define COMPANION_ORPHAN_S 2

/* Exit statuses of one that did not end by itself: it used up that time, or its parent had waited already. */
#define COMPANION_LATE     1
#define COMPANION_GIVEN_UP 2

struct companion;

struct companion_options {
    /* What it does. socket: its end, which reads as ended (POLLRDHUP) once it is to finish. */
    void (*fn)(void *arg, int socket);
    void *arg;
    int keep_fd;                        /* -1 = none */
    const char *title;                  /* what ps shows; NULL = as this process */
    int (*confine)(struct buf *reason); /* sandbox_enter_...; NULL = not */
};

/* Forks; so it has to come before whatever does not live through that (a database, threads), and before this
 * process confines itself. NULL with errno. */
struct companion *companion_start(const struct companion_options *options);

/* The end of the socket that is here: SOCK_SEQPACKET, which never waits. */
int companion_socket(const struct companion *companion);

/* Whether it has ended by itself, which SIGCHLD tells; then *wait_status is how, and its process is reaped.
 */
bool companion_has_ended(struct companion *companion, int *wait_status);

/* Has it finish, and waits for that. Whether it did within wait_ms; it may be asked again. */
bool companion_finish(struct companion *companion, int wait_ms);

/* The same, and frees. False when it did not within timeout_ms: then it is killed when
 * this process ends. */
bool companion_end(struct companion **companion, int timeout_ms);

#endif
