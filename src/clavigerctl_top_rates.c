/*
 * clavigerctl_top_rates: makes rates and percentiles of the difference between two answers.
 */
#include "clavigerctl_top.h"

#include <string.h>

#define SHORT_MS 5000  /* what a rate per second looks back */
#define LONG_MS  60000 /* what tokens per minute and durations look back */
#define LEAST_MS 90    /* less says nothing: the window was resized */
#define KEEP_MS  900   /* samples that are nearer to each other are not kept: the ring must hold LONG_MS */

static const struct top_totals *sample(const struct top_samples *samples, size_t age, int64_t *mono_ms)
{
    size_t i = (samples->newest + TOP_SAMPLES - age) % TOP_SAMPLES;
    *mono_ms = samples->items[i].mono_ms;
    return &samples->items[i].totals;
}

/* The oldest sample of the last window_ms, or the newest that there is. */
static const struct top_totals *look_back(const struct top_samples *samples, int64_t now_mono_ms,
                                          int64_t window_ms, int64_t *mono_ms)
{
    size_t age = 0;
    while (age + 1 < samples->count) {
        (void)sample(samples, age + 1, mono_ms);
        if (now_mono_ms - *mono_ms > window_ms)
            break;
        age++;
    }
    return sample(samples, age, mono_ms);
}

static double rate(uint64_t now, uint64_t before, int64_t passed_ms, int64_t unit_ms)
{
    return (double)(now - before) * (double)unit_ms / (double)passed_ms;
}

/* As Prometheus reckons it: evenly spread within a bucket; above the last bound is shown as that bound. */
static double quantile(const struct top_totals *totals, const uint64_t *counts, double wanted)
{
    double below = 0;
    for (size_t i = 0; i < totals->bound_count; i++) {
        double here = (double)counts[i];
        double lower = i > 0 ? (double)totals->bounds_ms[i - 1] : 0;
        if (here > 0 && below + here >= wanted)
            return lower + ((double)totals->bounds_ms[i] - lower) * (wanted - below) / here;
        below += here;
    }
    return totals->bound_count > 0 ? (double)totals->bounds_ms[totals->bound_count - 1] : 0;
}

static void set_durations(struct top_rates *rates, const struct top_totals *now,
                          const struct top_totals *before)
{
    uint64_t counts[METRICS_BUCKETS_MAX] = {0};
    uint64_t total = 0;
    for (size_t i = 0; i <= now->bound_count && i < METRICS_BUCKETS_MAX; i++) {
        counts[i] = now->durations[i] - before->durations[i];
        total += counts[i];
    }
    rates->timed = total > 0;
    if (total == 0)
        return;
    rates->p50_ms = quantile(now, counts, 0.50 * (double)total);
    rates->p95_ms = quantile(now, counts, 0.95 * (double)total);
}

/* Whether every number is at least what it was. */
static bool has_grown(const struct top_totals *now, const struct top_totals *before)
{
    if (now->bound_count != before->bound_count || now->requests < before->requests ||
        now->failovers < before->failovers || now->errors < before->errors ||
        now->tokens_in < before->tokens_in || now->tokens_out < before->tokens_out)
        return false;
    for (size_t i = 0; i < METRICS_BUCKETS_MAX; i++) {
        if (now->durations[i] < before->durations[i])
            return false;
    }
    return true;
}

static void keep(struct top_samples *samples, const struct top_totals *totals, int64_t now_mono_ms)
{
    if (samples->count > 0 && now_mono_ms - samples->items[samples->newest].mono_ms < KEEP_MS)
        return;
    samples->newest = samples->count > 0 ? (samples->newest + 1) % TOP_SAMPLES : 0;
    samples->items[samples->newest].mono_ms = now_mono_ms;
    samples->items[samples->newest].totals = *totals;
    samples->count += samples->count < TOP_SAMPLES;
}

struct top_rates top_rates(struct top_samples *samples, const struct top_totals *totals, int64_t now_mono_ms)
{
    struct top_rates rates = {.known = false};
    int64_t then_ms = 0;
    if (samples->count > 0 && !has_grown(totals, &samples->items[samples->newest].totals))
        memset(samples, 0, sizeof(*samples));
    if (samples->count > 0) {
        const struct top_totals *before = look_back(samples, now_mono_ms, SHORT_MS, &then_ms);
        int64_t passed_ms = now_mono_ms - then_ms;
        rates.known = passed_ms >= LEAST_MS;
        if (rates.known) {
            rates.requests = rate(totals->requests, before->requests, passed_ms, 1000);
            rates.failovers = rate(totals->failovers, before->failovers, passed_ms, 1000);
            rates.errors = rate(totals->errors, before->errors, passed_ms, 1000);
            before = look_back(samples, now_mono_ms, LONG_MS, &then_ms);
            passed_ms = now_mono_ms - then_ms;
            rates.tokens_in = rate(totals->tokens_in, before->tokens_in, passed_ms, 60000);
            rates.tokens_out = rate(totals->tokens_out, before->tokens_out, passed_ms, 60000);
            set_durations(&rates, totals, before);
        }
    }
    keep(samples, totals, now_mono_ms);
    return rates;
}
