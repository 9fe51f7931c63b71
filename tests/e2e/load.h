/*
 * load: a steady load of requests, each on a new connection, while a test does something to the daemon.
 */
#ifndef E2E_LOAD_H
#define E2E_LOAD_H

#include "e2e/suite.h"

#include <pthread.h>
#include <stdatomic.h>

#define LOAD_THREADS 6

struct load {
    const struct bench *bench;
    pthread_t threads[LOAD_THREADS];
    atomic_uint done;       /* whole answers with status 200 */
    atomic_uint failed;     /* everything else */
    atomic_uint slowest_ms; /* of those that were done */
    atomic_bool stop;
};

void load_begin(struct load *load, const struct bench *bench);

/* Waits until so many more requests were done; fails the test when more than `lost` in all were lost. */
void load_await(struct load *load, unsigned more, unsigned lost);

/* Ends the threads; fails the test when more than `lost` were lost. */
void load_end(struct load *load, unsigned lost);

#endif
