/*
 * heritage: what crosses the fork from the master to a worker or the admin process, and the two functions
 * that a child runs. The program (clavigerd.c) gives the functions to the master, so that master and worker
 * never include each other.
 */
#ifndef CLAVIGER_HERITAGE_H
#define CLAVIGER_HERITAGE_H

#include "io/conf.h"
#include "io/shared.h"

#include <stdint.h>

struct heritage {
    const struct conf *conf;
    struct shared *shared;
    const int *listen_fds; /* bound, listening, non-blocking; in the order of conf->listens; NULL for admin */
    const int *admin_fds;  /* the same for conf->admin_listens; NULL for a worker */
    int lifeline_fd;       /* reads end-of-file when the master is gone */
    uint32_t generation;   /* of the configuration; counts from 1 */
    unsigned slot;         /* a worker's index in shared->workers, prepared by the master; unused by admin */
    unsigned number;       /* N of "worker N" */
};

/*
 * Runs until told to end and returns the exit status. Signals on entry: all blocked, SIGPIPE ignored; the
 * child takes SIGTERM (drain: serve no new connection, finish what is in flight, then end), SIGQUIT (end at
 * once) and SIGUSR1 (reopen the log files) through a signalfd. It sets shared->workers[slot].phase to
 * WORKER_READY once it serves. Before the call the master has set the process title, dropped the user and
 * closed every descriptor that is not in the heritage.
 */
typedef int heritage_main(const struct heritage *heritage);

struct heritage_programs {
    heritage_main *worker;
    heritage_main *admin;
};

#endif
