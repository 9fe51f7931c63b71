/*
 * metrics: the counters that all processes of the daemon share, and their text for Prometheus.
 *
 * Counters live in shared memory, so that they outlive a worker, a reload and an upgrade. A series is one
 * word that names it (metric and label values) and one that counts, so whoever is killed in the middle of a
 * change leaves nothing half-done; nothing here locks, allocates (but for the text) or waits. Every label has
 * a bounded set of values: no client can make series without end.
 *
 * The text is that of https://prometheus.io/docs/instrumenting/exposition_formats/ (version 0.0.4).
 */
#ifndef CLAVIGER_IO_METRICS_H
#define CLAVIGER_IO_METRICS_H

#include "base/buf.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define METRICS_LABELS     3    /* of one metric, at most */
#define METRICS_SERIES_MAX 8192 /* a power of two */
#define METRICS_PROVIDERS_MAX                                                                                \
    254                          /* distinct names over all reloads; further ones count together, as "..."   \
                                  */
#define METRICS_PROVIDER_SIZE 65 /* name and NUL */

enum metric {
#define METRIC(id, type, name, labels, help) METRIC_##id,
#include "io/metrics.def"
#undef METRIC
    METRICS
};

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

enum metric_label {
    LABEL_NONE,
    LABEL_PROVIDER,   /* metrics_provider() */
    LABEL_METHOD,     /* metrics_method() */
    LABEL_STATUS,     /* an HTTP status */
    LABEL_STATE,      /* enum key_status */
    LABEL_REASON,     /* the HTTP status that marked the key */
    LABEL_OUTCOME,    /* enum metrics_outcome */
    LABEL_KIND,       /* enum metrics_kind */
    LABEL_CONNECTION, /* enum metrics_connection */
    LABEL_TOKENS,     /* enum metrics_tokens */
    LABEL_CONDITION,  /* enum database_condition */
    LABEL_PHASE,      /* enum worker_phase */
    LABEL_WORKER,     /* N of "worker N" */
    LABEL_VERSION,    /* of this program */
};

enum metrics_outcome { OUTCOME_RATE_LIMITED, OUTCOME_REJECTED };
enum metrics_kind { KIND_CONNECT, KIND_TLS, KIND_TIMEOUT, KIND_MALFORMED, KIND_BROKEN };
enum metrics_tokens { TOKENS_INPUT, TOKENS_OUTPUT, TOKENS_CACHED, TOKENS_WRITTEN, TOKENS_REASONING };
enum metrics_connection { CONNECTION_NEW, CONNECTION_REUSED };

struct metrics_series {
    _Atomic uint64_t name; /* metric and label values; 0 = free */
    _Atomic uint64_t count;
};

struct metrics_provider {
    _Atomic uint64_t words[(METRICS_PROVIDER_SIZE + 7) / 8]; /* the name, 8 bytes a word */
    _Atomic uint64_t id;                                     /* hash of the name; 0 = free */
};

/* In shared memory, zeroed at the begin. */
struct metrics {
    struct metrics_provider providers[METRICS_PROVIDERS_MAX];
    struct metrics_series series[METRICS_SERIES_MAX];
    _Atomic uint64_t dropped; /* changes that found no room */
};

/* The values of a metric's labels in their order; further ones are ignored. */
struct metrics_labels {
    unsigned values[METRICS_LABELS];
};

/* The number of a provider, made when there is none: for LABEL_PROVIDER. NULL is 0: no provider. */
unsigned metrics_provider(struct metrics *metrics, const char *name);

/* A method's number for LABEL_METHOD; every method that is not of RFC 9110 or RFC 5789 has the same. */
unsigned metrics_method(const char *method);

/* Adds to a counter. */
void metrics_add(struct metrics *metrics, enum metric metric, const struct metrics_labels *labels,
                 uint64_t n);

/* Adds an observation to a histogram: milliseconds where the metric's unit is seconds, else a number. */
void metrics_observe(struct metrics *metrics, enum metric metric, const struct metrics_labels *labels,
                     uint64_t value);

/* A value that is not among the series: of a gauge, or of a counter that is kept elsewhere. */
struct metrics_sample {
    enum metric metric;
    struct metrics_labels labels;
    double value;
};

/* Calls fn for each series of a counter. */
void metrics_each(struct metrics *metrics, void (*fn)(void *arg, const struct metrics_sample *series),
                  void *arg);

/* Of a histogram, over all labels: how many observations were above a bound of its buckets, and their sum. */
uint64_t metrics_observed_above(struct metrics *metrics, enum metric metric, uint64_t bound);
uint64_t metrics_observed_sum(struct metrics *metrics, enum metric metric);

#define METRICS_BUCKETS_MAX 17

/* A histogram's buckets over all labels: counts[i] observations are above bounds[i - 1] and not above
 * bounds[i], and the last of the bound_count + 1 counts above every bound. Returns bound_count; *bounds is
 * static. */
size_t metrics_observed(struct metrics *metrics, enum metric metric, const uint64_t **bounds,
                        uint64_t counts[METRICS_BUCKETS_MAX]);

/* Everything, as text: the series, and what the caller knows. version is the program's. */
void metrics_write(struct metrics *metrics, const struct metrics_sample *samples, size_t count,
                   const char *version, struct buf *out);

#endif
