/*
 * walk: one request's way through a pool. Called by the relay before every attempt; it reads the pool's
 * states and changes none.
 */
#include "core/walk.h"

void walk_start(struct walk *walk, const struct pool *pool)
{
    *walk = (struct walk){.pool = pool};
}

long walk_next(struct walk *walk, int64_t now_ms)
{
    while (walk->next < walk->pool->count) {
        size_t index = walk->next++;
        if (key_status(&walk->pool->states[index], now_ms) == KEY_VALID) {
            walk->attempts++;
            return (long)index;
        }
    }
    return -1;
}

void walk_exhausted(const struct walk *walk, int64_t now_ms, struct exhausted *out)
{
    *out = (struct exhausted){.kind = EXHAUSTED_REJECTED};
    pool_summarize(walk->pool, now_ms, &out->summary);
    if (out->summary.permanent == walk->pool->count)
        return;
    out->kind = EXHAUSTED_RATE_LIMITED;
    out->retry_after_s = 1;
    /* A valid key recovered behind the walk's back: the client may come again at once. */
    if (out->summary.valid == 0 && out->summary.next_ms > 1000)
        out->retry_after_s = out->summary.next_ms / 1000 + (out->summary.next_ms % 1000 > 0);
}
