/*
 * tree: an installed tree for one test: programs, init script, unit and logrotate's file as `make install`
 * places them, moved to the daemon's own directory. $E2E_BUILD is the build tree.
 */
#ifndef E2E_TREE_H
#define E2E_TREE_H

#include "e2e/daemon.h"

struct tree {
    char root[128];      /* DESTDIR of the installation, which the tests of a program share */
    char script[160];    /* the init script */
    char program[160];   /* sbin/clavigerd, a symbolic link */
    char defaults[160];  /* etc/default/claviger; not there yet */
    char unit[160];      /* the systemd unit */
    char logrotate[160]; /* the file for logrotate; log_dir stands in it */
    char log_dir[160];   /* what became of /var/log/claviger; it exists */
};

/*
 * Installs (once) and makes the tree of a daemon that is initialised: its configuration is
 * etc/claviger/claviger.conf then, and its log goes to a file in log_dir.
 */
void tree_make(struct tree *tree, struct daemon *d);

/* Writes the configuration and starts the daemon in the background. */
void tree_start(const struct tree *tree, struct daemon *d);

/* Runs `make TARGET` for the tree's root. */
void tree_run_make(const struct tree *tree, const char *target);

/* The pid in the pid file, 0 = none. */
pid_t tree_pid(const struct daemon *d);

#endif
