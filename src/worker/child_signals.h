/*
 * child_signals: what the master tells a child, as events of the child's loop: TERM (drain), QUIT (end at
 * once), USR1 (reopen the log files), and the end of the lifeline (the master is gone: end at once). And what
 * the kernel tells it of a process of its own: CHLD.
 */
#ifndef CLAVIGER_WORKER_CHILD_SIGNALS_H
#define CLAVIGER_WORKER_CHILD_SIGNALS_H

#include "worker/loop.h"

struct child_signals {
    struct loop *loop;
    struct loop_watch signal_watch;
    struct loop_watch lifeline_watch;
    void (*drain)(void *arg);       /* called once, on the first TERM */
    void (*child_ended)(void *arg); /* on CHLD; NULL = there will be none. For who owns this to set. */
    void *arg;
    int signal_fd;
    bool draining;
    bool at_once; /* QUIT came, or the master is gone */
};

/* Signals are blocked already. 0, or -1 with errno. */
int child_signals_init(struct child_signals *signals, struct loop *loop, int lifeline_fd,
                       void (*drain)(void *arg), void *arg);
void child_signals_fini(struct child_signals *signals);

/* For a child that ends and whose loop turns no more: takes what has come meanwhile, at_once above all. */
void child_signals_look(struct child_signals *signals);

#endif
