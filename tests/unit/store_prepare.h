/*
 * store_prepare: what the tests of store_schema and store_tables share: a directory without a database, and
 * what becomes of one that is made ready there.
 */
#ifndef CLAVIGER_TESTS_STORE_PREPARE_H
#define CLAVIGER_TESTS_STORE_PREPARE_H

#include "store_fixture.h"

static struct buf reason;
static char *damaged;

static inline void setup(void)
{
    fx_setup();
    reason = (struct buf){0};
    damaged = NULL;
}

static inline void teardown(void)
{
    buf_fini(&reason);
    free(damaged);
    fx_teardown();
}

static inline int prepare(void)
{
    buf_clear(&reason);
    free(damaged);
    return store_schema_prepare(fx_path, (uid_t)-1, (gid_t)-1, 0, &damaged, &reason);
}

#endif
