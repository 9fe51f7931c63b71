/*
 * daemon: what makes a process fit to be one: descriptors 0 to 2, the environment, limits, leaving the
 * terminal.
 */
#ifndef CLAVIGER_MASTER_DAEMON_H
#define CLAVIGER_MASTER_DAEMON_H

#include "base/buf.h"

#include <stdbool.h>

/* Opens /dev/null for each of 0 to 2 that is closed, so that no socket becomes "stderr". 0, or -1 with errno.
 */
int daemon_open_standard(void);

/* Removes the variables that steer libcurl and OpenSSL from outside: *_proxy in any case, SSLKEYLOGFILE,
 * OPENSSL_CONF, and the like. */
void daemon_clean_environment(void);

/* Raises RLIMIT_NOFILE and RLIMIT_MEMLOCK to their hard limits; forbids core dumps, which would hold keys. */
void daemon_set_limits(void);

/* Neither a core dump nor another process of the same user sees this process's memory. A change of user
 * undoes it: then it is due again. */
void daemon_forbid_dump(void);

/* The way back to the command that started us. */
struct daemon_parent {
    bool detached; /* false = we stay in the foreground */
    int ready_fd;  /* -1 = nobody waits */
    int stderr_fd; /* where to say why the start failed; -1 = none */
};

/*
 * Goes into the background. The starting process does not return from this: it waits, and exits with 0 once
 * daemon_ready() is called, with 1 when the new process ends before. In the new process 0, or -1 and *reason
 * (then still in the old one).
 */
int daemon_detach(struct daemon_parent *parent, struct buf *reason);

/* Points 0 to 2 at /dev/null; stderr_fd still reaches the starting command. */
void daemon_leave_standard(void);

/* Lets the starting command return with 0. Does nothing in the foreground. */
void daemon_ready(struct daemon_parent *parent);

#endif
