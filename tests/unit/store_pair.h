/*
 * store_pair: what the tests of store share: two processes of one daemon over one database, and what they say
 * of alpha's keys.
 */
#ifndef CLAVIGER_TESTS_STORE_PAIR_H
#define CLAVIGER_TESTS_STORE_PAIR_H

#include "store_fixture.h"

static struct fx_process one;
static struct fx_process two;

static inline void setup(void)
{
    fx_setup();
    fx_prepare();
    fx_process_init(&one);
    fx_process_init(&two);
}

static inline void teardown(void)
{
    fx_process_fini(&one);
    fx_process_fini(&two);
    fx_teardown();
}

static inline bool mark_429(struct fx_process *process, size_t index, int64_t cooldown_ms)
{
    return store_mark(process->store, ALPHA, index, false, cooldown_ms, 429, &fx_now);
}

static inline bool mark_401(struct fx_process *process, size_t index)
{
    return store_mark(process->store, ALPHA, index, true, 0, 401, &fx_now);
}

#endif
