/*
 * degraded: a daemon whose state database is in trouble: what its clients must not notice and what its
 * operator must see. For the test programs about that.
 */
#ifndef E2E_DEGRADED_H
#define E2E_DEGRADED_H

#include "e2e/faults.h"
#include "e2e/suite.h"

#define DEGRADED_WORKERS 3
/* Enough new connections that each worker gets some. */
#define DEGRADED_ROUND   30
#define DEGRADED_SOON_MS 10000
/* A lock is held much longer than this; a worker that waited for it would be seen. */
#define DEGRADED_SLOWEST_MS 1500

struct trouble {
    struct bench bench;
    struct faults *faults; /* NULL = none are needed */
    pid_t locker;
    char mounted[128]; /* a file system of its own, "" = none */
    char fill[160];    /* the file that fills it */
    uid_t user;        /* whom the workers are */
    int64_t slowest_us;
};

extern const struct fake_answer degraded_429;
extern const struct fake_answer degraded_401;

/* Starts the prepared bench and sees it healthy. */
void degraded_open(struct trouble *t, bool with_faults);

/* Stops it and takes a mounted file system away. */
void degraded_close(struct trouble *t);

/* So many requests, each with a 200. */
void degraded_post(struct trouble *t, unsigned count);

/* So many requests; none of them asks the provider with a key that is marked. */
void degraded_expect_marks(struct trouble *t, unsigned count);

/* KEY0 becomes temporary and KEY1 permanent, while KEY2 works. */
void degraded_mark(struct trouble *t);

/* How often the log has the text. */
unsigned degraded_count(const struct daemon *d, const char *text);

/* /readyz, `clavigerctl status` and its JSON say soon that the database is ok, busy or failing. */
void degraded_expect(const struct daemon *d, const char *word);

#endif
