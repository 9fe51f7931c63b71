/*
 * pidfile: the file with the master's pid. It is locked while the master lives, so that a second one is
 * refused.
 */
#ifndef CLAVIGER_MASTER_PIDFILE_H
#define CLAVIGER_MASTER_PIDFILE_H

#include "base/buf.h"

struct pidfile {
    int fd;     /* -1 = none; the lock is on it */
    char *path; /* owned */
};

/* Creates (mode 0644), locks and writes it. -1 and *reason, which names the pid of who holds it. */
int pidfile_create(struct pidfile *file, const char *path, struct buf *reason);

/* Takes over a file that is open and locked already, with its descriptor; it is written by pidfile_write().
 * -1 when out of memory. */
int pidfile_adopt(struct pidfile *file, const char *path, int *fd);

/* Writes our pid into it. -1 with errno. */
int pidfile_write(const struct pidfile *file);

/* Frees; the file stays, locked for as long as another process has it open. */
void pidfile_leave(struct pidfile *file);

/* Removes the file (unless it is no longer ours) and frees. */
void pidfile_remove(struct pidfile *file);

#endif
