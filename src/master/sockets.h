/*
 * sockets: the listening sockets of one configuration. They belong to the master for as long as a
 * configuration names them, so that a worker that dies or is replaced loses no connection that waits in a
 * queue.
 */
#ifndef CLAVIGER_MASTER_SOCKETS_H
#define CLAVIGER_MASTER_SOCKETS_H

#include "base/buf.h"
#include "io/conf.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define SOCKETS_BACKLOG     4096 /* the kernel cuts it to net.core.somaxconn */
#define SOCKETS_CLIENT_MODE 0666 /* of a unix socket for clients */

struct sockets_entry {
    struct sockaddr_storage addr; /* as configured */
    socklen_t addr_len;
    char *text; /* where it listens; with port 0 the port that the kernel gave */
    dev_t dev;  /* of a unix socket's file, to remove no other than our own */
    ino_t ino;
};

/* A zeroed struct is an empty set. */
struct sockets {
    int *fds; /* one per entry: first the listens, then the admin_listens */
    struct sockets_entry *entries;
    size_t count;
    size_t listens; /* how many of them are for clients */
};

/*
 * Opens one listening socket: non-blocking, close-on-exec, SO_REUSEADDR, IPV6_V6ONLY. A unix socket gets
 * `mode`; its file is removed first when it is a socket on which nobody answers. -1 and *reason (what failed
 * and what to do).
 */
int sockets_listen(const struct sockaddr *addr, socklen_t len, mode_t mode, struct buf *reason);

/*
 * Opens every address of conf, taking over the descriptors of `current` (NULL = none) whose address is the
 * same. On failure set is empty and what was opened is closed: -1 and *reason.
 */
int sockets_open(struct sockets *set, const struct conf *conf, const struct sockets *current,
                 struct buf *reason);

/*
 * Nobody can connect to the clients' addresses any more, whoever still has the descriptors open. The admin
 * listener is left alone: it tells of the stop.
 */
void sockets_refuse_clients(const struct sockets *set);

/* Ends (also in processes that hold the descriptor too) what `keep` (NULL = nothing) does not hold, removes
 * the files of unix sockets that were closed, frees. */
void sockets_release(struct sockets *set, const struct sockets *keep);

/* Closes and frees; other processes go on listening there, and no file is removed. */
void sockets_leave(struct sockets *set);

/* In a child: closes without removing anything. The set stays as it is, for the copy in the child is its own.
 */
void sockets_close_in_child(const struct sockets *set, const struct sockets *keep);

bool sockets_same_address(const struct sockaddr *a, const struct sockaddr *b);

#endif
