/*
 * walk: one request's way through a pool: the next key, or exhausted and why.
 *
 * A walk goes forward only: a key that it has passed is not tried again, even if its cooldown ends meanwhile.
 */
#ifndef CLAVIGER_CORE_WALK_H
#define CLAVIGER_CORE_WALK_H

#include "core/pool.h"

struct walk {
    const struct pool *pool; /* borrowed */
    size_t next;             /* the first index not looked at */
    size_t attempts;         /* keys handed out */
};

void walk_start(struct walk *walk, const struct pool *pool);

/* The index of the next key that is valid at now_ms, or -1: exhausted. */
long walk_next(struct walk *walk, int64_t now_ms);

enum exhausted_kind {
    EXHAUSTED_RATE_LIMITED, /* at least one key will recover by itself: 429 */
    EXHAUSTED_REJECTED,     /* every key is permanent: 502 */
};

struct exhausted {
    enum exhausted_kind kind;
    int64_t retry_after_s; /* >= 1, rounded up; 0 when rejected */
    struct pool_summary summary;
};

/* Why nothing is left to try. A key whose cooldown ended while the walk went on counts as recovering now
 * (retry_after_s 1). */
void walk_exhausted(const struct walk *walk, int64_t now_ms, struct exhausted *out);

#endif
