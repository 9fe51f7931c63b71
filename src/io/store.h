/*
 * store: a worker's view of the key states. The truth is the database; the hot path does not pay for it.
 *
 * A worker keeps a copy of the states in its pools. store_refresh() compares the shared key generation and
 * SQLite's data_version with what it saw last and reads the rows again only when one of them changed. A mark
 * goes to shared memory first (every process sees it at once), then to the database in one short transaction
 * that takes the later deadline and never lowers permanent; when the database is busy or broken the mark
 * stays in shared memory and store_flush() tries again, from whatever process comes first. Nothing but
 * store_finish() waits for a lock.
 */
#ifndef CLAVIGER_IO_STORE_H
#define CLAVIGER_IO_STORE_H

#include "core/pool.h"
#include "core/provider.h"
#include "io/shared.h"

#include <stdint.h>

struct store;

struct store_clock {
    int64_t mono_ms;  /* clock_mono_ms() */
    int64_t real_ms;  /* clock_real_ms() */
    int64_t slept_ms; /* clock_slept_ms(); only the housekeeper looks at it */
};

/*
 * Opens the database for a worker or the admin process; a database that cannot be opened now is no failure
 * (see store_flush). pools[i] belongs to providers->items[i]; both and shared must outlive the store. NULL
 * when out of memory or when SHARED_KEYS_MAX is exceeded.
 */
struct store *store_new(const char *path, const struct provider_list *providers, struct pool *pools,
                        struct shared *shared);
void store_free(struct store **store);

/*
 * Brings the pools' states up to date; called at the start of every centralized request and before every
 * further attempt. Deadlines are turned into the monotonic clock once, when their row is first seen, and are
 * never more than the provider's max_cooldown away, so a jump of the wall clock changes nothing.
 */
void store_refresh(struct store *store, const struct store_clock *now);

/*
 * Marks key `index` of pools[provider]: cooldown_ms from now (or permanent, cooldown_ms ignored). Returns
 * whether that changed the key's state, here or for anyone else; the caller logs then.
 */
bool store_mark(struct store *store, size_t provider, size_t index, bool permanent, int64_t cooldown_ms,
                int status, const struct store_clock *now);

/* Tries again what is due: writes dirty marks, opens the database again after an error. Returns the monotonic
 * time when it wants to be called next, INT64_MAX when nothing is pending. Cheap when nothing is due. */
int64_t store_flush(struct store *store, const struct store_clock *now);

/* Before the last process ends: writes what is dirty, of whatever process, and waits up to wait_ms for a
 * lock. Returns whether nothing is left. */
bool store_finish(struct store *store, int wait_ms, const struct store_clock *now);

/* For the housekeeper, once a tick and before store_flush(): takes over dirty marks whose process may have
 * died and, with settle, looks whether a trouble that another process reported is over. */
void store_tend(struct store *store, bool settle, const struct store_clock *now);

/* Closes the connection; the next access opens it anew. What is known stays known. */
void store_let_go(struct store *store);

/* The monotonic time at which the pools' states were last known to be what the database holds; INT64_MIN =
 * never. */
int64_t store_read_ms(const struct store *store);

#endif
