/*
 * upgrading: what the tests of SIGUSR2 share: a daemon that runs a binary of its own, which can be replaced.
 */
#ifndef E2E_UPGRADING_H
#define E2E_UPGRADING_H

#include "e2e/suite.h"

#define TAKE_OVER_MS 20000

/* What was built; and what the daemon is started as, in its own directory. Valid after upgrading_prepare().
 */
const char *upgrading_real_binary(void);
const char *upgrading_binary(void);

/* Puts the built binary there anew, or a script that does something before it becomes the daemon: $REAL is
 * that. */
void upgrading_put_good(void);
void upgrading_put_script(const char *lines);

/* A daemon with such a binary, for anthropic; the second starts it, with three keys. */
void upgrading_prepare(struct bench *b, const char *keys);
void upgrading_open(struct bench *b, unsigned workers);

/* What the master says on the control socket must hold the text. */
void upgrading_expect_status(const struct daemon *d, const char *text);

/* Waits for the new master and makes it the daemon's; the pid of the old one. */
pid_t upgrading_await_master(struct daemon *d);

/* A child of the test, and how it ended; a condition for util_wait(). */
struct upgrading_end {
    pid_t pid;
    int status;
};

bool upgrading_is_over(void *end);

/* The old master ends by itself, with status 0, and leaves no child. */
void upgrading_await_end(pid_t old);

/* SIGUSR2, and all of it. */
void upgrading_do(struct bench *b);

#endif
