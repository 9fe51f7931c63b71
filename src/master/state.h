/*
 * state: what the master knows. Private to master, reload and status.
 */
#ifndef CLAVIGER_MASTER_STATE_H
#define CLAVIGER_MASTER_STATE_H

#include "master/control.h"
#include "master/generation.h"
#include "master/master.h"
#include "master/pidfile.h"

#include <stdbool.h>
#include <stdint.h>

/* How the last reload ended. */
struct reload_record {
    int64_t real_ms; /* 0 = there was none */
    char *error;     /* owned; NULL = it serves */
};

struct master {
    const struct master_options *options;
    struct daemon_parent parent; /* a copy of the options', closed when the start is over */
    bool log_elsewhere;          /* the log has left stderr */
    struct generation_context context;
    int lifeline_write_fd; /* never written to; closes with the master */
    struct pidfile pidfile;
    struct control *control;
    struct generation *serving;  /* NULL until the first one is ready */
    struct generation *next;     /* starts; to become `serving` */
    struct generation *draining; /* a list */
    uint32_t last_number;
    int64_t started_mono_ms;
    bool reload_wanted;
    struct reload_record reload;
    bool stopping;
    int exit_status;
};

#endif
