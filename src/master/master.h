/*
 * master: the process that supervises: it binds, forks, watches, reloads and stops, and serves nothing
 * itself.
 */
#ifndef CLAVIGER_MASTER_MASTER_H
#define CLAVIGER_MASTER_MASTER_H

#include "heritage.h"
#include "master/daemon.h"

struct upgrade_heir;

struct master_options {
    struct heritage_programs programs;
    const char *version;         /* claviger's own */
    const char *conf_file;       /* read again at a reload; NULL = built-in defaults */
    const char *binary;          /* what an upgrade runs; NULL = it is not known */
    char *const *argv;           /* with these arguments */
    struct upgrade_heir *heir;   /* what the running master hands over; NULL = this is no upgrade */
    struct daemon_parent parent; /* whom to tell when everything serves; its descriptors are taken over */
};

/* Runs the daemon with the loaded configuration, which it takes over. Returns the exit status: 0 after a
 * stop, 1 when the start failed (the reason was logged, and written to stderr if that is elsewhere). */
int master_run(const struct master_options *options, struct conf **conf);

#endif
