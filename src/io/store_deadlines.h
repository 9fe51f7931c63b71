/*
 * store_deadlines: keeps the deadlines in the database true to the states that a process holds by the
 * monotonic clock. Used by the housekeeper.
 *
 * A row's deadline is Unix time. When the wall clock jumps, it would end a cooldown early or prolong it for
 * everybody who reads the row from then on: new workers, the view, clavigerctl. The same goes for a deadline
 * that lies further ahead than the provider allows.
 */
#ifndef CLAVIGER_IO_STORE_DEADLINES_H
#define CLAVIGER_IO_STORE_DEADLINES_H

#include "io/store.h"

struct sqlite3;

/* All that is pointed at is borrowed; store keeps the pools fresh. */
struct store_deadlines {
    const struct provider_list *providers;
    const struct pool *pools;
    struct store *store;
    struct shared *shared;
    int64_t lead_ms; /* the wall clock's lead over the monotonic one at the last tick */
    int64_t version; /* data_version when all deadlines were right; -1 = they have to be looked at */
    bool begun;
};

void store_deadlines_init(struct store_deadlines *deadlines, const struct provider_list *providers,
                          const struct pool *pools, struct store *store, struct shared *shared);

/* After the database was opened anew. */
void store_deadlines_forget(struct store_deadlines *deadlines);

/*
 * Once a tick, after store_refresh() at that time. Looks when the wall clock has jumped or somebody has
 * written, and writes the deadline of each configured key whose row is more than a second off. db NULL:
 * somebody else does. What cannot be done now is done at the next tick.
 */
void store_deadlines_tick(struct store_deadlines *deadlines, struct sqlite3 *db,
                          const struct store_clock *now);

#endif
