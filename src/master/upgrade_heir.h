/*
 * upgrade_heir: an upgrade as the new master does it. It takes over what the old one (upgrade.h) hands over,
 * starts its own workers beside the old ones, asks, and is the master when the old one agrees, or is gone.
 * Before that it changes nothing that others see; if it fails, it lets its workers finish and ends.
 */
#ifndef CLAVIGER_MASTER_UPGRADE_HEIR_H
#define CLAVIGER_MASTER_UPGRADE_HEIR_H

#include "base/buf.h"
#include "master/state.h"

#include <stdbool.h>

struct upgrade_heir;

/* ---- for the program, before there is a master */

/*
 * Whether this process is started by an upgrade, and with what: *heir is NULL when it is not. The variables
 * that hold keys are known to keyfile_env afterwards. -1 and *reason: it is, but the handover cannot be used;
 * the old master knows.
 */
int upgrade_heir_new(struct upgrade_heir **heir, struct buf *reason);
void upgrade_heir_free(struct upgrade_heir **heir);

/* The path that the old master was started with: it counts, whatever this process was run through. */
const char *upgrade_heir_binary(const struct upgrade_heir *heir);

/* What the old master reads, NULL = built-in defaults; whether it is in the background. */
const char *upgrade_heir_conf_file(const struct upgrade_heir *heir);
bool upgrade_heir_detached(const struct upgrade_heir *heir);

/* Tells the old master why it has to go on. Only the first reason is told; none after the commit. heir may be
 * NULL. */
void upgrade_heir_refuse(struct upgrade_heir *heir, const char *reason);

/* ---- for the master. Without an heir each does what a first start needs: mostly nothing. */

/* Takes over pid file, control socket and shared memory; conf must name the same ones. -1 and *reason. */
int upgrade_heir_adopt(struct master *master, const struct conf *conf, const struct control_events *events,
                       struct buf *reason);

/* The sockets that were handed over, as a generation that has nothing else; NULL = none. */
const struct generation *upgrade_heir_sockets(const struct master *master);

/* Every worker serves: whether this is the master from here on. Otherwise the answer is waited for. */
bool upgrade_heir_may_serve(struct master *master);

/* It is: pid file, control socket, database. */
void upgrade_heir_take_over(struct master *master);

/* What to poll for; -1 = nothing. */
int upgrade_heir_fd(const struct master *master);

/* Reads what the old master has to say, and notices its end. False when it says to end. */
bool upgrade_heir_handle(struct master *master);

/* Whether the old master still drains: then we do not end before it. */
bool upgrade_heir_waits(const struct master *master);

/* Passes a signal on to the old master that still drains. */
void upgrade_heir_signal(const struct master *master, int signal_number);

/* At our own end. */
void upgrade_heir_leave(struct master *master);

#endif
