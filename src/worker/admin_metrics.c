/*
 * admin_metrics: gathers what is true at this moment (pools, workers, database) and has it written beside the
 * counters. Called by admin for each GET /metrics.
 */
#include "worker/admin_metrics.h"

#include "io/metrics.h"

#include <stdlib.h>

#define KEY_STATES    3
#define CONDITIONS    3
#define WORKER_PHASES 4
#define FIXED_SAMPLES (CONDITIONS + WORKER_PHASES + 16)

struct samples {
    struct metrics_sample *items;
    size_t count;
};

static void add(struct samples *samples, enum metric metric, unsigned first, unsigned second, double value)
{
    samples->items[samples->count++] =
        (struct metrics_sample){.metric = metric, .labels = {{first, second}}, .value = value};
}

static void add_pool(struct samples *samples, unsigned provider, const struct pool_summary *summary)
{
    add(samples, METRIC_KEY_STATE, provider, KEY_VALID, (double)summary->valid);
    add(samples, METRIC_KEY_STATE, provider, KEY_TEMPORARY, (double)summary->temporary);
    add(samples, METRIC_KEY_STATE, provider, KEY_PERMANENT, (double)summary->permanent);
}

/* Providers without a number of their own share a label: each of its values stands there once. */
static void add_pools(struct samples *samples, const struct heritage *heritage, const struct pool *pools,
                      int64_t now_mono_ms)
{
    struct pool_summary others = {0};
    unsigned other = 0;
    for (size_t i = 0; i < heritage->conf->providers.count; i++) {
        unsigned provider = metrics_provider(&heritage->shared->metrics, pools[i].provider);
        struct pool_summary summary;
        if (pools[i].count == 0)
            continue;
        pool_summarize(&pools[i], now_mono_ms, &summary);
        if (provider <= METRICS_PROVIDERS_MAX) {
            add_pool(samples, provider, &summary);
            continue;
        }
        other = provider;
        others.valid += summary.valid;
        others.temporary += summary.temporary;
        others.permanent += summary.permanent;
    }
    if (other != 0)
        add_pool(samples, other, &others);
}

/* Of two workers with the same number, while one of them drains, the younger one's lag is shown. */
static void add_workers(struct samples *samples, struct shared *shared)
{
    double in_flight = 0;
    double streams = 0;
    double connections = 0;
    double phases[WORKER_PHASES] = {0};
    for (size_t i = 0; i < SHARED_WORKERS_MAX; i++) {
        struct shared_worker *slot = &shared->workers[i];
        int32_t phase = atomic_load(&slot->phase);
        if (phase <= WORKER_FREE || phase >= WORKER_PHASES)
            continue;
        phases[phase]++;
        in_flight += (double)atomic_load(&slot->in_flight);
        streams += (double)atomic_load(&slot->streams);
        connections += (double)atomic_load(&slot->connections);
        if (phase == WORKER_READY &&
            atomic_load(&slot->generation) == atomic_load(&shared->serving_generation))
            add(samples, METRIC_LOOP_LAG, (unsigned)atomic_load(&slot->number), 0,
                (double)atomic_load(&slot->lag_ms) / 1000);
    }
    for (unsigned phase = WORKER_STARTING; phase < WORKER_PHASES; phase++)
        add(samples, METRIC_WORKERS, phase, 0, phases[phase]);
    add(samples, METRIC_IN_FLIGHT, 0, 0, in_flight);
    add(samples, METRIC_STREAMS, 0, 0, streams);
    add(samples, METRIC_CLIENTS, 0, 0, connections);
}

void admin_metrics_write(const struct heritage *heritage, const struct pool *pools, int64_t now_mono_ms,
                         struct buf *out)
{
    struct shared *shared = heritage->shared;
    struct samples samples = {0};
    samples.items = calloc(KEY_STATES * heritage->conf->providers.count + SHARED_WORKERS_MAX + FIXED_SAMPLES,
                           sizeof *samples.items);
    if (samples.items == NULL) {
        out->failed = true;
        return;
    }
    add_pools(&samples, heritage, pools, now_mono_ms);
    add_workers(&samples, shared);
    int32_t condition = atomic_load(&shared->database_condition);
    for (int i = 0; i < CONDITIONS; i++)
        add(&samples, METRIC_DATABASE, (unsigned)i, 0, i == condition);
    add(&samples, METRIC_DATABASE_ERRORS, 0, 0, (double)atomic_load(&shared->database_errors));
    add(&samples, METRIC_LOG_DROPPED, 0, 0, (double)atomic_load(&shared->log_dropped));
    add(&samples, METRIC_TRACE_DROPPED, 0, 0, (double)atomic_load(&shared->trace_dropped));
    add(&samples, METRIC_DUMPS_SKIPPED, 0, 0, (double)atomic_load(&shared->dump_skipped));
    add(&samples, METRIC_SERIES_DROPPED, 0, 0, (double)atomic_load(&shared->metrics.dropped));
    add(&samples, METRIC_GENERATION, 0, 0, (double)atomic_load(&shared->serving_generation));
    add(&samples, METRIC_BUILD, 0, 0, 1);
    metrics_write(&shared->metrics, samples.items, samples.count, PACKAGE_VERSION, out);
    free(samples.items);
}
