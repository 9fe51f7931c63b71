/*
 * counts: which counters a finished request and a mark change. Called by the worker's side of the relays'
 * environment; it decides nothing.
 */
#include "worker/counts.h"

#include "core/reply.h"

#include <stdlib.h>
#include <string.h>

int counts_init(struct counts *counts, struct metrics *metrics, const struct provider_list *providers)
{
    counts->metrics = metrics;
    counts->providers = calloc(providers->count + 1, sizeof *counts->providers);
    if (counts->providers == NULL)
        return -1;
    for (size_t i = 0; i < providers->count; i++)
        counts->providers[i] = metrics_provider(metrics, providers->items[i].name);
    return 0;
}

void counts_fini(struct counts *counts)
{
    free(counts->providers);
    counts->providers = NULL;
}

static bool has_error(const struct access_record *record, enum reply_code code)
{
    return record->error != NULL && strcmp(record->error, reply_code_name(code)) == 0;
}

static void count_walk(const struct counts *counts, const struct access_record *record, unsigned provider)
{
    const struct metrics_labels labels = {{provider}};
    metrics_observe(counts->metrics, METRIC_ATTEMPTS, &labels, record->attempts);
    if (has_error(record, REPLY_KEYS_EXHAUSTED))
        metrics_add(counts->metrics, METRIC_EXHAUSTIONS,
                    &(const struct metrics_labels){{provider, OUTCOME_RATE_LIMITED}}, 1);
    else if (has_error(record, REPLY_KEYS_REJECTED))
        metrics_add(counts->metrics, METRIC_EXHAUSTIONS,
                    &(const struct metrics_labels){{provider, OUTCOME_REJECTED}}, 1);
}

static void count_tokens(const struct counts *counts, const struct usage *usage, unsigned provider)
{
    const uint64_t values[] = {[TOKENS_INPUT] = usage->input,
                               [TOKENS_OUTPUT] = usage->output,
                               [TOKENS_CACHED] = usage->cached,
                               [TOKENS_WRITTEN] = usage->written,
                               [TOKENS_REASONING] = usage->reasoning};
    for (unsigned i = 0; i < sizeof values / sizeof values[0]; i++)
        if (values[i] > 0)
            metrics_add(counts->metrics, METRIC_TOKENS, &(const struct metrics_labels){{provider, i}},
                        values[i]);
}

void counts_request(const struct counts *counts, const struct access_record *record)
{
    struct metrics *metrics = counts->metrics;
    unsigned provider = record->provider_index >= 0 ? counts->providers[record->provider_index] : 0;
    const struct metrics_labels labels = {
        {provider, metrics_method(record->method), (unsigned)record->status}};
    metrics_add(metrics, METRIC_PASSTHROUGH, &labels, 1);
    if (record->bytes_in > 0)
        metrics_add(metrics, METRIC_RECEIVED, &labels, record->bytes_in);
    if (record->bytes_out > 0)
        metrics_add(metrics, METRIC_SENT, &labels, record->bytes_out);
    if (record->first_byte_ms >= 0)
        metrics_observe(metrics, METRIC_FIRST_BYTE, &labels, (uint64_t)record->first_byte_ms);
    metrics_observe(metrics, METRIC_DURATION, &labels, record->total_ms > 0 ? (uint64_t)record->total_ms : 0);
    if (record->usage != NULL)
        count_tokens(counts, record->usage, provider);
    if (record->walked)
        count_walk(counts, record, provider);
}

static void add(const struct counts *counts, enum metric metric, size_t provider, unsigned label)
{
    const struct metrics_labels labels = {{counts->providers[provider], label}};
    metrics_add(counts->metrics, metric, &labels, 1);
}

void counts_mark(const struct counts *counts, size_t provider, int status)
{
    add(counts, METRIC_TRANSITIONS, provider, (unsigned)status);
}

void counts_connection(const struct counts *counts, size_t provider, enum metrics_connection connection)
{
    add(counts, METRIC_CONNECTIONS, provider, connection);
}

void counts_failure(const struct counts *counts, size_t provider, enum metrics_kind kind)
{
    add(counts, METRIC_UPSTREAM_ERRORS, provider, kind);
}
