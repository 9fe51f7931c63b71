/*
 * shared: the memory that master, workers and admin share, made by the master before it forks.
 *
 * It holds what every process must know at once: the generation of the key states, marks that are not in the
 * database yet, who serves, how the database is; and what all of them count. Nothing in it needs a lock:
 * every field is one atomic word with one meaning, so a process that is killed in the middle of a change
 * leaves nothing half-done.
 *
 * The pages are a memfd, so that the master can pass them on to its successor, which may be another version:
 * they say which layout they have.
 */
#ifndef CLAVIGER_IO_SHARED_H
#define CLAVIGER_IO_SHARED_H

#include "core/key.h"
#include "io/history.h"
#include "io/metrics.h"
#include "io/usage_cells.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* To be raised with every change of struct shared or of what a field of it means. Its size is looked at too.
 */
#define SHARED_LAYOUT 5

#define SHARED_WORKERS_MAX 512  /* slots, old generations that still drain included */
#define SHARED_KEYS_MAX    4096 /* distinct keys over all providers and reloads */

enum worker_phase { WORKER_FREE, WORKER_STARTING, WORKER_READY, WORKER_DRAINING };

struct shared_worker {
    _Atomic int32_t pid;
    _Atomic int32_t phase;        /* enum worker_phase */
    _Atomic int32_t number;       /* N of "worker N" */
    _Atomic uint32_t generation;  /* of the configuration it runs */
    _Atomic int64_t started_ms;   /* monotonic */
    _Atomic int64_t beat_ms;      /* monotonic: when its loop last turned */
    _Atomic uint64_t connections; /* open client connections */
    _Atomic uint64_t requests;    /* requests begun since its start */
    _Atomic uint64_t in_flight;   /* requests that have not ended */
    _Atomic uint64_t streams;     /* of them: those whose answer has begun and is not complete */
    _Atomic int64_t lag_ms;       /* how late its last beat was */
};

/*
 * What is known of a key beside its row in the database: the newest mark, and whether it still has to be
 * written. One word, so that it changes in one step: until_ms (44 bits, Unix time), permanent (1), dirty (1),
 * status (10), and 8 bits that change with every mark.
 */
struct shared_key {
    _Atomic uint64_t id; /* hash of provider and key_id; 0 = free */
    _Atomic uint64_t word;
    _Atomic int64_t marked_ms; /* monotonic: when the newest mark was made */
    _Atomic int64_t lead_ms;   /* of the newest mark, see struct shared_mark */
};

enum database_condition { DATABASE_OK, DATABASE_BUSY, DATABASE_FAILING };

struct shared {
    uint32_t layout; /* SHARED_LAYOUT, and the size of all; these two stay the first words for ever */
    uint32_t size;
    _Atomic uint64_t key_generation;    /* raised by every change that claviger itself makes to a key state */
    _Atomic uint64_t database_epoch;    /* raised when the database file was replaced: reopen it */
    _Atomic int32_t database_condition; /* enum database_condition */
    _Atomic int32_t database_damaged;   /* a process met SQLITE_CORRUPT or SQLITE_NOTADB: replace it */
    _Atomic int64_t database_since_ms;  /* Unix time of the last change of the condition */
    _Atomic int64_t database_failed_ms; /* monotonic: when a process last met what the condition says */
    _Atomic uint64_t database_errors;
    _Atomic int32_t stopping;            /* a stop has begun: /readyz says 503 */
    _Atomic uint32_t serving_generation; /* the configuration generation that is in force */
    _Atomic uint64_t log_dropped;        /* log lines that the target did not take, of all processes */
    _Atomic uint64_t trace_dropped;      /* spans that no collector took */
    _Atomic uint64_t dump_skipped;       /* attempts whose dump was left out or cut */
    _Atomic uint64_t dump_written;       /* bytes of dumps that were written */
    struct metrics metrics;
    struct history history;
    struct shared_worker workers[SHARED_WORKERS_MAX];
    struct shared_key keys[SHARED_KEYS_MAX];
    struct usage_cells usage;
};

/* "ok", "busy", "failing"; "free", "starting", "ready", "draining": the words of every page, answer and
 * metric. */
const char *shared_condition_name(int32_t condition);
const char *shared_phase_name(int32_t phase);

/* Makes and maps pages, zeroed. NULL with errno. *fd is their descriptor (close-on-exec), the caller's to
 * close. */
struct shared *shared_make(int *fd);

/* The same for who passes them on to nobody. */
struct shared *shared_new(void);

/* Maps pages that another process has made; fd stays the caller's. NULL with errno: EPROTO when they have
 * another layout. */
struct shared *shared_map(int fd);

void shared_free(struct shared **shared);

/* The slot of a key, made when there is none. NULL only when all SHARED_KEYS_MAX are taken. provider and
 * key_id name it; the call hashes, so keep the pointer. */
struct shared_key *shared_key_slot(struct shared *shared, const char *provider, const char *key_id);

struct shared_mark {
    bool permanent;
    int64_t until_real_ms;
    int status;
    int64_t lead_ms; /* the wall clock's lead over the monotonic one when it was made; 0 = not known */
};

/* The mark's deadline in the Unix time of now, whatever the wall clock did since it was made. 0 stays 0. */
int64_t shared_mark_until(const struct shared_mark *mark, int64_t now_mono_ms, int64_t now_real_ms);

/* Merges a mark into the slot and makes it dirty: into a dirty one as key_mark() would, into a clean one as
 * new. */
void shared_key_mark(struct shared_key *slot, const struct shared_mark *mark, int64_t now_mono_ms);

/* Whether the slot holds a mark that is not in the database yet, and which. *seen is for
 * shared_key_written(). */
bool shared_key_dirty(const struct shared_key *slot, struct shared_mark *mark, uint64_t *seen);

/* The newest mark, written or not; false when there never was one. */
bool shared_key_last(const struct shared_key *slot, struct shared_mark *mark, int64_t *marked_mono_ms);

/* After the mark was committed: clean, unless another mark came meanwhile. */
void shared_key_written(struct shared_key *slot, uint64_t seen);

/* Makes a clean slot dirty again with what it holds (its row was lost with a replaced database). */
void shared_key_redo(struct shared_key *slot);

/* Notes how the database is and since when. DATABASE_BUSY never hides DATABASE_FAILING. Returns whether the
 * condition changed by this call: then the caller is the one who logs it. */
bool shared_database_is(struct shared *shared, enum database_condition condition, int64_t now_real_ms);

#endif
