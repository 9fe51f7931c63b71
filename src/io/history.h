/*
 * history: what the last hour was like, minute by minute, for the status page. A ring in shared memory, so
 * that it outlives a reload; the admin process alone writes it, and what it writes are the counters' totals.
 */
#ifndef CLAVIGER_IO_HISTORY_H
#define CLAVIGER_IO_HISTORY_H

#include "io/metrics.h"

#include <stdint.h>

#define HISTORY_MINUTES   60
#define HISTORY_PROVIDERS 32 /* the first ones; of further ones no marks are kept */

/* The totals at the end of a minute (or now). */
struct history_point {
    _Atomic int64_t minute; /* Unix time in minutes; 0 = none */
    _Atomic uint64_t requests;
    _Atomic uint64_t failovers;
    _Atomic uint64_t errors;
    _Atomic uint64_t duration_ms;
    _Atomic uint64_t marks[HISTORY_PROVIDERS]; /* by metrics_provider() - 1 */
};

/* In shared memory, zeroed at the begin. */
struct history {
    struct history_point points[HISTORY_MINUTES + 1];
};

/* What happened in one minute, or since the begin. */
struct history_minute {
    uint64_t requests;  /* that ended */
    uint64_t failovers; /* of them: with more than one attempt */
    uint64_t errors;    /* of them: answered with 429 or 500 and above */
    uint64_t duration_ms;
    uint64_t marks[HISTORY_PROVIDERS];
};

/* The totals of now. */
void history_totals(struct metrics *metrics, struct history_minute *total);

/* Notes the totals of this minute; called now and then. */
void history_record(struct history *history, struct metrics *metrics, int64_t now_real_ms);

/* The last hour, oldest minute first, the running one last. */
void history_read(const struct history *history, int64_t now_real_ms,
                  struct history_minute out[HISTORY_MINUTES]);

#endif
