/*
 * tty: clavigerctl on a terminal of its own, as somebody sees it who sits there.
 */
#ifndef E2E_TTY_H
#define E2E_TTY_H

#include "e2e/daemon.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

#define TTY_LIMIT_MS 15000

/* A program on a terminal of its own. */
struct tty {
    int fd;    /* the terminal's other side */
    int slave; /* open here too, so that its settings can be looked at */
    pid_t pid;
    struct termios before; /* the terminal's settings before it was started */
    int status;            /* wait status */
    struct buf out;        /* all that it wrote */
};

/* Runs clavigerctl with up to four arguments behind the configuration. */
void tty_start(struct tty *t, const struct daemon *d, unsigned columns, unsigned rows, const char *a0,
               const char *a1, const char *a2, const char *a3);

void tty_resize(struct tty *t, unsigned columns, unsigned rows);

/* Takes what has been written. */
void tty_read(struct tty *t, int timeout_ms);

/* Reads until the text has come behind byte `from`; where it ends. */
size_t tty_expect(struct tty *t, size_t from, const char *text);

/* Waits for its end with that exit status; it has shown no key. */
void tty_wait(struct tty *t, int status);

void tty_close(struct tty *t);

/* Of all that it wrote: the longest line without its escape sequences, and whether a text is there. */
size_t tty_longest_line(const struct tty *t);
bool tty_has(const struct tty *t, const char *text);

/* The terminal is as it was before. */
void tty_expect_restored(const struct tty *t);

#endif
