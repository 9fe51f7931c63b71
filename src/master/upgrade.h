/*
 * upgrade: to a new binary without refusing a connection, as the old master does it. It starts the program at
 * the path that it was itself started with, hands everything over (upgrade_handover.h) and waits. When the
 * new master (upgrade_heir.h) says that its workers serve, the old one lets go of all that is shared, drains
 * and ends. Until then nothing has changed for it, and whatever goes wrong is only told.
 */
#ifndef CLAVIGER_MASTER_UPGRADE_H
#define CLAVIGER_MASTER_UPGRADE_H

#include "master/state.h"

#define UPGRADE_START_TIMEOUT_MS 10000
#define UPGRADE_END_TIMEOUT_MS                                                                               \
    2000 /* for a program that knows nothing of upgrades, between TERM and KILL                              \
          */

/* The absolute path that this process was started with, symbolic links as they are: what an upgrade runs. To
 * be asked before the directory is changed. NULL when it cannot be known; the caller frees. */
char *upgrade_own_path(void);

/* Takes the variables that may hold keys out of the environment, also those that the configuration does not
 * ask for. */
void upgrade_remember_keys(void);

/* SIGUSR2: remembers the wish, or says in the log why it is ignored. */
void upgrade_wish(struct master *master);

/* Starts the new binary. Only when something serves, and nothing else begins or ends. */
void upgrade_begin(struct master *master, int64_t now_ms);

/* Whether a new master is on its way: then there is no reload. */
bool upgrade_under_way(const struct master *master);

/* Reads what the new master has to say. Commits, or gives up. */
void upgrade_handle(struct master *master, int64_t now_ms);

/* The time is over: gives up, or ends it by force. */
void upgrade_tick(struct master *master, int64_t now_ms);
int64_t upgrade_due(const struct master *master);

/* Takes note of its end. False when the process is not the one. */
bool upgrade_reaped(struct master *master, pid_t pid, int wait_status, int64_t now_ms);

/* We stop: so does it. */
void upgrade_abandon(struct master *master, const char *why, bool at_once, int64_t now_ms);

#endif
