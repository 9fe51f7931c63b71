/*
 * traffic: owns the form of the numbers in the answer to `top`. Called by status; reads only.
 */
#include "master/traffic.h"

#include <inttypes.h>
#include <string.h>

static void put_numbers(struct buf *out, const uint64_t *numbers, size_t count)
{
    buf_putc(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_putc(out, ',');
        buf_put_uint(out, numbers[i]);
    }
    buf_putc(out, ']');
}

static void put_now(const struct shared *shared, struct buf *out)
{
    uint64_t in_flight = 0;
    uint64_t streams = 0;
    for (size_t i = 0; i < SHARED_WORKERS_MAX; i++) {
        const struct shared_worker *slot = &shared->workers[i];
        if (slot->phase == WORKER_FREE)
            continue;
        in_flight += slot->in_flight;
        streams += slot->streams;
    }
    buf_printf(out, "\"in_flight\":%" PRIu64 ",\"streams\":%" PRIu64, in_flight, streams);
}

static void add_tokens(void *arg, const struct metrics_sample *series)
{
    uint64_t *tokens = arg;
    if (series->metric == METRIC_TOKENS && series->labels.values[1] <= TOKENS_OUTPUT)
        tokens[series->labels.values[1]] += (uint64_t)series->value;
}

static void put_totals(struct metrics *metrics, struct buf *out)
{
    struct history_minute total;
    uint64_t tokens[TOKENS_OUTPUT + 1] = {0};
    uint64_t counts[METRICS_BUCKETS_MAX];
    const uint64_t *bounds;
    history_totals(metrics, &total);
    metrics_each(metrics, add_tokens, tokens);
    buf_printf(out,
               ",\"requests\":%" PRIu64 ",\"failovers\":%" PRIu64 ",\"errors\":%" PRIu64
               ",\"duration_ms\":%" PRIu64 ",\"tokens\":{\"input\":%" PRIu64 ",\"output\":%" PRIu64
               "},\"duration\":{\"upper_ms\":",
               total.requests, total.failovers, total.errors, total.duration_ms, tokens[TOKENS_INPUT],
               tokens[TOKENS_OUTPUT]);
    size_t count = metrics_observed(metrics, METRIC_DURATION, &bounds, counts);
    put_numbers(out, bounds, count);
    buf_puts(out, ",\"counts\":");
    put_numbers(out, counts, count + 1);
    buf_putc(out, '}');
}

static void put_marks(const struct provider *provider, unsigned number, const struct history_minute *minutes,
                      struct buf *out)
{
    uint64_t marks[HISTORY_MINUTES];
    for (size_t i = 0; i < HISTORY_MINUTES; i++)
        marks[i] = minutes[i].marks[number - 1];
    buf_json(out, provider->name, strlen(provider->name));
    buf_putc(out, ':');
    put_numbers(out, marks, HISTORY_MINUTES);
}

static void put_hour(struct shared *shared, const struct provider_list *providers, int64_t now_real_ms,
                     struct buf *out)
{
    static const char *const names[] = {"requests", "failovers", "errors", "duration_ms"};
    struct history_minute minutes[HISTORY_MINUTES];
    uint64_t series[4][HISTORY_MINUTES];
    const char *separator = "";
    history_read(&shared->history, now_real_ms, minutes);
    for (size_t i = 0; i < HISTORY_MINUTES; i++) {
        series[0][i] = minutes[i].requests;
        series[1][i] = minutes[i].failovers;
        series[2][i] = minutes[i].errors;
        series[3][i] = minutes[i].duration_ms;
    }
    buf_puts(out, ",\"hour\":{");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        buf_printf(out, "\"%s\":", names[i]);
        put_numbers(out, series[i], HISTORY_MINUTES);
        buf_putc(out, ',');
    }
    buf_puts(out, "\"marks\":{");
    for (size_t i = 0; i < providers->count; i++) {
        unsigned number = metrics_provider(&shared->metrics, providers->items[i].name);
        /* Of a provider whose marks are not kept, none are shown: zeros would be untrue. */
        if (providers->items[i].key_count == 0 || number < 1 || number > HISTORY_PROVIDERS)
            continue;
        buf_puts(out, separator);
        put_marks(&providers->items[i], number, minutes, out);
        separator = ",";
    }
    buf_puts(out, "}}");
}

void traffic_json(struct shared *shared, const struct provider_list *providers, int64_t now_real_ms,
                  struct buf *out)
{
    buf_putc(out, '{');
    put_now(shared, out);
    put_totals(&shared->metrics, out);
    put_hour(shared, providers, now_real_ms, out);
    buf_putc(out, '}');
}
