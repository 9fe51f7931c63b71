/*
 * signals: the master's signals as flags. Handlers only set flags; they run only while the master sleeps in
 * ppoll().
 */
#ifndef CLAVIGER_MASTER_SIGNALS_H
#define CLAVIGER_MASTER_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

enum signals_flag {
    SIGNALS_CHILD,   /* SIGCHLD: a child has ended */
    SIGNALS_STOP,    /* SIGTERM, SIGINT: graceful stop */
    SIGNALS_QUIT,    /* SIGQUIT: stop at once */
    SIGNALS_RELOAD,  /* SIGHUP */
    SIGNALS_REOPEN,  /* SIGUSR1: log files */
    SIGNALS_UPGRADE, /* SIGUSR2 */
    SIGNALS_FLAGS
};

/* Blocks every signal, installs the handlers and ignores SIGPIPE. *sleep_mask is what ppoll()
 * takes: the mask in which the flags' signals can arrive. */
void signals_init(sigset_t *sleep_mask);

/* Whether the flag was set since the last call; clears it. To be asked before acting on it. */
bool signals_take(enum signals_flag flag);

/* In a child: every handler back to its default, no flag set, all signals blocked, SIGPIPE still ignored (as
 * log needs it). */
void signals_child(void);

#endif
