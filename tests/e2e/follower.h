/*
 * follower: clavigerctl that shows something again and again on a pipe, as a script reads it.
 */
#ifndef E2E_FOLLOWER_H
#define E2E_FOLLOWER_H

#include "e2e/daemon.h"

#include <sys/types.h>

#define FOLLOWER_LIMIT_MS 15000

struct follower {
    pid_t pid;
    int fd;
    struct buf out; /* all that it wrote */
    size_t at;      /* follower_line() has returned what is before */
};

/* Runs clavigerctl with up to five arguments behind the configuration. */
void follower_start(struct follower *f, const struct daemon *d, const char *a0, const char *a1,
                    const char *a2, const char *a3, const char *a4);

/* Takes what it writes next; wanted is for the message when that does not come. */
void follower_read(struct follower *f, const char *wanted);

/* Its next whole line, with its end; the caller frees it. */
char *follower_line(struct follower *f, const char *wanted);

/* Interrupts it: its exit status is 0, and it has shown no key. */
void follower_end(struct follower *f);

#endif
