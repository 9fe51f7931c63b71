/*
 * generation: one configuration with its sockets and the children that serve it. A reload makes a new one
 * beside the old; the old one drains.
 */
#ifndef CLAVIGER_MASTER_GENERATION_H
#define CLAVIGER_MASTER_GENERATION_H

#include "base/buf.h"
#include "heritage.h"
#include "master/child.h"
#include "master/sockets.h"

#include <stdbool.h>
#include <stdint.h>

#define GENERATION_START_TIMEOUT_MS 10000
#define GENERATION_QUIT_TIMEOUT_MS  2000 /* between SIGQUIT and SIGKILL */

enum generation_phase {
    GENERATION_STARTING, /* until every worker is ready; a child that dies is not replaced */
    GENERATION_SERVING,  /* children that die are replaced */
    GENERATION_DRAINING, /* told by SIGTERM to finish */
    GENERATION_QUITTING, /* told by SIGQUIT to end at once */
    GENERATION_KILLED    /* by SIGKILL */
};

struct generation {
    struct generation *next; /* in the list of those that drain */
    uint32_t number;
    enum generation_phase phase;
    struct conf *conf; /* owned */
    struct child_user user;
    struct sockets sockets;
    struct child *children; /* the workers, then the admin process */
    size_t child_count;
    bool admin_last;     /* DRAINING: the admin process is told when the workers are gone */
    int64_t deadline_ms; /* monotonic: of the phase; INT64_MAX = none */
    struct buf failure;  /* STARTING: why it cannot be; empty while nothing went wrong */
};

/* What all generations share; owned by the master. */
struct generation_context {
    struct heritage_programs programs;
    struct shared *shared;
    int lifeline_fd;                /* the reading end */
    bool slots[SHARED_WORKERS_MAX]; /* taken ones */
    int64_t
        awake_ms; /* monotonic: since when this process has run without a gap; beats before it are no sign */
};

/*
 * Takes the configuration, finds its user, opens its sockets (those of `current`, if any, are taken over) and
 * reserves the workers' slots. Starts nothing. NULL and *reason on failure; *conf is consumed in any case.
 */
struct generation *generation_new(struct generation_context *context, uint32_t number, struct conf **conf,
                                  const struct generation *current, struct buf *reason);

/* Every child must be gone. Sockets that `keep` (NULL = none) does not use are closed. */
void generation_free(struct generation **generation, struct generation_context *context,
                     const struct generation *keep);

/* Starts every child. A child that cannot be started is noted as `failure`. */
void generation_start(struct generation *g, const struct generation_context *context, int64_t now_ms);

/* Whether every worker serves; false and g->failure set when that will not happen any more. */
bool generation_ready(struct generation *g, const struct generation_context *context, int64_t now_ms);

/* From STARTING to SERVING. */
void generation_serve(struct generation *g);

/* Ends the sockets that `keep` (NULL = none) does not use; no child is started afterwards. */
void generation_close(struct generation *g, const struct generation *keep);

/* SIGTERM to every child (with admin_last to the admin process only after the workers), after timeout_ms
 * SIGQUIT, after GENERATION_QUIT_TIMEOUT_MS SIGKILL; the other two begin there. Each does nothing when the
 * generation is that far. */
void generation_drain(struct generation *g, int64_t now_ms, int64_t timeout_ms, bool admin_last);
void generation_quit(struct generation *g, int64_t now_ms);
void generation_kill(struct generation *g);

void generation_signal(const struct generation *g, int signal_number);

/* Takes note that the child with that pid has ended. False when it is none of this generation's. */
bool generation_reaped(struct generation *g, const struct generation_context *context, pid_t pid,
                       int wait_status, int64_t now_ms);

/* Replaces children that are due, kills workers whose loop stands still for conf->watchdog_ms or that do not
 * get ready, takes the next step of the end when its time is over. */
void generation_tick(struct generation *g, const struct generation_context *context, int64_t now_ms);

/* When generation_tick() has something to do; INT64_MAX = only after a signal. */
int64_t generation_due(const struct generation *g, const struct generation_context *context);

size_t generation_alive(const struct generation *g);

#endif
