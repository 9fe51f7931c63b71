/*
 * state: what the master knows. Private to master, reload, upgrade and status.
 */
#ifndef CLAVIGER_MASTER_STATE_H
#define CLAVIGER_MASTER_STATE_H

#include "master/control.h"
#include "master/generation.h"
#include "master/master.h"
#include "master/pidfile.h"

#include <stdbool.h>
#include <stdint.h>

/* How the last reload, or the last upgrade, ended. */
struct reload_record {
    int64_t real_ms; /* 0 = there was none */
    char *error;     /* owned; NULL = it serves */
};

/* Whose the database was before something was tried; a uid of -1 = not known. */
struct store_owner {
    uid_t uid;
    gid_t gid;
};

/* The way to a new binary, as the master sees it that is to be replaced. */
struct upgrade {
    bool wanted;
    pid_t pid;           /* the successor, a child of ours; 0 = none. After the commit it is none any more */
    int fd;              /* the channel to it; -1 = none */
    bool heard;          /* it has said something: it is no program that knows nothing of upgrades */
    bool given_up;       /* only its end is waited for */
    int64_t deadline_ms; /* until then it must be ready, or, when given up, gone */
    struct store_owner owner;
    uint32_t generation; /* that served when it began */
    struct reload_record last;
};

struct master {
    const struct master_options *options;
    struct daemon_parent parent; /* a copy of the options', closed when the start is over */
    bool owner; /* of pid file, control socket and the shared words: false for a successor before the commit,
                   and for the old master after it */
    struct generation_context context;
    int shared_fd;
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
    struct store_owner reload_owner;
    struct upgrade upgrade;
    bool stopping;
    bool term_seen;
    int exit_status;
};

#endif
