/*
 * pool: owns the states of one provider's keys in one process. Called by walk, store and the relay; what a
 * mark does is key's business.
 */
#include "core/pool.h"

#include <stdlib.h>
#include <string.h>

int pool_init(struct pool *pool, const char *provider, const struct key *keys, size_t count)
{
    *pool = (struct pool){.provider = provider, .keys = keys, .count = count};
    if (count == 0)
        return 0;
    pool->states = calloc(count, sizeof(*pool->states));
    if (pool->states == NULL) {
        pool->count = 0;
        return -1;
    }
    return 0;
}

void pool_fini(struct pool *pool)
{
    free(pool->states);
    *pool = (struct pool){0};
}

long pool_find(const struct pool *pool, const char *id)
{
    for (size_t i = 0; i < pool->count; i++)
        if (strcmp(pool->keys[i].id, id) == 0)
            return (long)i;
    return -1;
}

void pool_summarize(const struct pool *pool, int64_t now_ms, struct pool_summary *out)
{
    *out = (struct pool_summary){0};
    for (size_t i = 0; i < pool->count; i++) {
        switch (key_status(&pool->states[i], now_ms)) {
        case KEY_VALID:
            out->valid++;
            break;
        case KEY_PERMANENT:
            out->permanent++;
            break;
        case KEY_TEMPORARY: {
            int64_t left = pool->states[i].until_ms - now_ms;
            if (out->temporary == 0 || left < out->next_ms)
                out->next_ms = left;
            out->temporary++;
            break;
        }
        }
    }
}
