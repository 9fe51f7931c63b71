/*
 * reload: prepare, then commit or roll back. The first start goes the same way, with nothing to roll back to.
 */
#ifndef CLAVIGER_MASTER_RELOAD_H
#define CLAVIGER_MASTER_RELOAD_H

#include "master/state.h"

/* Points the log where the configuration says; detached: "stderr" means syslog, for there is none. 0, or -1
 * and *reason. */
int reload_open_log(const struct conf *conf, const struct child_user *user, bool detached,
                    struct buf *reason);

/* Whether the user may use the directory of the configuration's database: SQLite makes files there. 0, or -1
 * and *reason, a whole line with its place. */
int reload_check_store_user(const struct conf *conf, const struct child_user *user, struct buf *reason);

/* Makes the database of a configuration ready; a damaged one that was moved aside is told in the log. 0 or -1
 * and *reason. */
int reload_prepare_store(const struct generation *g, int busy_ms, struct buf *reason);

/* Reads the configuration again and starts its children beside those that serve. A refusal is recorded and
 * told. Only while there is no `next`. */
void reload_begin(struct master *master, int64_t now_ms);

/* Looks whether `next` is ready (then it becomes `serving`) or has failed (then it is taken back). */
void reload_watch(struct master *master, int64_t now_ms);

/* Takes `next` back because of something else. */
void reload_abandon(struct master *master, const char *why, int64_t now_ms);

#endif
