/*
 * history: owns the ring of totals. Written by the admin process's clock, read by its status page and by the
 * master for clavigerctl.
 */
#include "io/history.h"

#include <string.h>

#define POINTS (HISTORY_MINUTES + 1)

/* ---- totals of the counters */

static void add_series(void *arg, const struct metrics_sample *series)
{
    struct history_minute *total = arg;
    uint64_t count = (uint64_t)series->value;
    unsigned first = series->labels.values[0];
    switch (series->metric) {
    case METRIC_PASSTHROUGH:
        total->requests += count;
        if (series->labels.values[2] == 429 || series->labels.values[2] >= 500)
            total->errors += count;
        break;
    case METRIC_TRANSITIONS:
        if (first >= 1 && first <= HISTORY_PROVIDERS)
            total->marks[first - 1] += count;
        break;
    default:
        break;
    }
}

void history_totals(struct metrics *metrics, struct history_minute *total)
{
    memset(total, 0, sizeof *total);
    metrics_each(metrics, add_series, total);
    total->failovers = metrics_observed_above(metrics, METRIC_ATTEMPTS, 1);
    total->duration_ms = metrics_observed_sum(metrics, METRIC_DURATION);
}

void history_record(struct history *history, struct metrics *metrics, int64_t now_real_ms)
{
    struct history_minute total;
    int64_t minute = now_real_ms / 60000;
    if (minute <= 0)
        return;
    struct history_point *point = &history->points[minute % POINTS];
    history_totals(metrics, &total);
    atomic_store(&point->requests, total.requests);
    atomic_store(&point->failovers, total.failovers);
    atomic_store(&point->errors, total.errors);
    atomic_store(&point->duration_ms, total.duration_ms);
    for (size_t i = 0; i < HISTORY_PROVIDERS; i++)
        atomic_store(&point->marks[i], total.marks[i]);
    atomic_store(&point->minute, minute);
}

/* ---- differences */

static void load(const struct history_point *point, struct history_minute *out)
{
    out->requests = atomic_load(&point->requests);
    out->failovers = atomic_load(&point->failovers);
    out->errors = atomic_load(&point->errors);
    out->duration_ms = atomic_load(&point->duration_ms);
    for (size_t i = 0; i < HISTORY_PROVIDERS; i++)
        out->marks[i] = atomic_load(&point->marks[i]);
}

static uint64_t less(uint64_t now, uint64_t before)
{
    return now > before ? now - before : 0;
}

static void subtract(struct history_minute *from, const struct history_minute *before)
{
    from->requests = less(from->requests, before->requests);
    from->failovers = less(from->failovers, before->failovers);
    from->errors = less(from->errors, before->errors);
    from->duration_ms = less(from->duration_ms, before->duration_ms);
    for (size_t i = 0; i < HISTORY_PROVIDERS; i++)
        from->marks[i] = less(from->marks[i], before->marks[i]);
}

/* Counters begin at 0: what stands in the oldest point without one before it happened in its minute. A minute
 * in which nobody wrote (a suspended machine) is empty, and the next one has what came meanwhile. */
void history_read(const struct history *history, int64_t now_real_ms,
                  struct history_minute out[HISTORY_MINUTES])
{
    int64_t last = now_real_ms / 60000;
    struct history_minute before = {0};
    memset(out, 0, HISTORY_MINUTES * sizeof(*out));
    for (int64_t minute = last - HISTORY_MINUTES; minute <= last; minute++) {
        const struct history_point *point = &history->points[minute > 0 ? minute % POINTS : 0];
        struct history_minute total;
        if (minute <= 0 || atomic_load(&point->minute) != minute)
            continue;
        load(point, &total);
        if (minute > last - HISTORY_MINUTES) {
            struct history_minute *slot = &out[minute - (last - HISTORY_MINUTES) - 1];
            *slot = total;
            subtract(slot, &before);
        }
        before = total;
    }
}
