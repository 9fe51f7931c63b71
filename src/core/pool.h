/*
 * pool: the ordered keys of one provider with their states, as one process knows them.
 */
#ifndef CLAVIGER_CORE_POOL_H
#define CLAVIGER_CORE_POOL_H

#include "core/key.h"

struct pool {
    const char *provider;     /* borrowed name */
    const struct key *keys;   /* borrowed, in walking order */
    struct key_state *states; /* owned, one per key */
    size_t count;
};

/* All keys valid. keys and provider must outlive the pool. 0, or -1 when out of memory. */
int pool_init(struct pool *pool, const char *provider, const struct key *keys, size_t count);
void pool_fini(struct pool *pool);

/* The index of the key with that id, or -1. */
long pool_find(const struct pool *pool, const char *id);

struct pool_summary {
    size_t valid;
    size_t temporary;
    size_t permanent;
    int64_t next_ms; /* the smallest remaining cooldown in milliseconds, 0 when there is none */
};

void pool_summarize(const struct pool *pool, int64_t now_ms, struct pool_summary *out);

#endif
