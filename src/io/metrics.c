/*
 * metrics: the series in shared memory and the text that is made of them. Workers count, the admin process
 * writes the text. It must not lock or wait: a process may be killed between any two instructions.
 */
#include "io/metrics.h"

#include "base/hash.h"
#include "core/key.h"
#include "io/shared.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Static_assert((METRICS_SERIES_MAX & (METRICS_SERIES_MAX - 1)) == 0, "the table is probed with a mask");
_Static_assert(METRICS < 255, "a metric's number has 8 bits");

#define PROVIDER_OTHER (METRICS_PROVIDERS_MAX + 1)

/* ---- what there is */

struct info {
    const char *name;
    const char *help;
    enum metric_type type;
    enum metric_label labels[METRICS_LABELS];
};

#define LABELS(...)                                                                                          \
    {                                                                                                        \
        __VA_ARGS__                                                                                          \
    }

static const struct info infos[METRICS] = {
#define METRIC(id, type, name, labels, help) {name, help, METRIC_##type, labels},
#include "io/metrics.def"
#undef METRIC
};

static const char *const methods[] = {"other", "GET",    "HEAD",    "POST",    "PUT",
                                      "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"};
static const char *const outcomes[] = {"rate_limited", "rejected"};
static const char *const kinds[] = {"connect", "tls", "timeout", "malformed", "broken"};
static const char *const tokens[] = {"input", "output", "cached", "written", "reasoning"};
static const char *const connections[] = {"new", "reused"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Upper bounds of buckets; observations above the last one are in "+Inf". */
static const uint64_t times_ms[] = {5,    10,   25,    50,    100,   250,    500,    1000,
                                    2500, 5000, 10000, 30000, 60000, 120000, 300000, 600000};
static const uint64_t attempts[] = {0, 1, 2, 3, 4, 6, 8, 16, 32, 64};

_Static_assert(COUNT(times_ms) < METRICS_BUCKETS_MAX && COUNT(attempts) < METRICS_BUCKETS_MAX,
               "the last bucket has no bound");

#define BUCKET_SUM 0xffffU

static bool counts_time(enum metric metric)
{
    return metric != METRIC_ATTEMPTS;
}

static const uint64_t *bounds_of(enum metric metric, size_t *count)
{
    *count = counts_time(metric) ? COUNT(times_ms) : COUNT(attempts);
    return counts_time(metric) ? times_ms : attempts;
}

/* ---- counting */

/* The metric's number plus 1 in the highest byte, then 16 bits for each label: never 0. */
static uint64_t series_name(enum metric metric, const unsigned values[METRICS_LABELS])
{
    uint64_t name = (uint64_t)metric + 1;
    for (size_t i = 0; i < METRICS_LABELS; i++)
        name = name << 16 | (values[i] > 0xffff ? 0xffff : values[i]);
    return name;
}

static size_t label_count(enum metric metric)
{
    size_t count = 0;
    while (count < METRICS_LABELS && infos[metric].labels[count] != LABEL_NONE)
        count++;
    return count;
}

/* Takes a free place for the name. Whether the place is the name's: places are never freed, so whoever loses
 * the race for one sees the winner's name. */
static bool claim(_Atomic uint64_t *place, uint64_t name)
{
    uint64_t found = atomic_load_explicit(place, memory_order_relaxed);
    return found == name ||
           (found == 0 && (atomic_compare_exchange_strong(place, &found, name) || found == name));
}

static void add_series(struct metrics *metrics, uint64_t name, uint64_t n)
{
    uint64_t start = hash_word(name);
    for (size_t i = 0; i < METRICS_SERIES_MAX; i++) {
        struct metrics_series *series = &metrics->series[(start + i) & (METRICS_SERIES_MAX - 1)];
        if (!claim(&series->name, name))
            continue;
        atomic_fetch_add_explicit(&series->count, n, memory_order_relaxed);
        return;
    }
    atomic_fetch_add(&metrics->dropped, 1);
}

static void take_labels(enum metric metric, const struct metrics_labels *labels,
                        unsigned values[METRICS_LABELS])
{
    size_t count = label_count(metric);
    for (size_t i = 0; i < METRICS_LABELS; i++)
        values[i] = i < count ? labels->values[i] : 0;
}

void metrics_add(struct metrics *metrics, enum metric metric, const struct metrics_labels *labels, uint64_t n)
{
    unsigned values[METRICS_LABELS];
    take_labels(metric, labels, values);
    add_series(metrics, series_name(metric, values), n);
}

/* The bucket stands in the last label's place, which no histogram uses. */
void metrics_observe(struct metrics *metrics, enum metric metric, const struct metrics_labels *labels,
                     uint64_t value)
{
    unsigned values[METRICS_LABELS];
    size_t count;
    const uint64_t *bounds = bounds_of(metric, &count);
    size_t bucket = 0;
    while (bucket < count && value > bounds[bucket])
        bucket++;
    take_labels(metric, labels, values);
    values[METRICS_LABELS - 1] = (unsigned)bucket;
    add_series(metrics, series_name(metric, values), 1);
    if (value == 0)
        return;
    values[METRICS_LABELS - 1] = BUCKET_SUM;
    add_series(metrics, series_name(metric, values), value);
}

unsigned metrics_method(const char *method)
{
    for (size_t i = 1; i < COUNT(methods); i++)
        if (strcmp(method, methods[i]) == 0)
            return (unsigned)i;
    return 0;
}

/* Every process that asks writes the name: the one that took the place may have been killed before it did. */
static void write_name(struct metrics_provider *provider, const char *name)
{
    char bytes[sizeof provider->words] = {0};
    (void)strncpy(bytes, name, sizeof bytes - 1);
    for (size_t i = 0; i < COUNT(provider->words); i++) {
        uint64_t word;
        memcpy(&word, bytes + 8 * i, sizeof word);
        atomic_store_explicit(&provider->words[i], word, memory_order_relaxed);
    }
}

static void read_name(struct metrics_provider *provider, char out[sizeof provider->words])
{
    for (size_t i = 0; i < COUNT(provider->words); i++) {
        uint64_t word = atomic_load_explicit(&provider->words[i], memory_order_relaxed);
        memcpy(out + 8 * i, &word, sizeof word);
    }
}

unsigned metrics_provider(struct metrics *metrics, const char *name)
{
    if (name == NULL)
        return 0;
    uint64_t id = hash_text(HASH_START, name);
    for (unsigned i = 0; i < METRICS_PROVIDERS_MAX; i++) {
        if (!claim(&metrics->providers[i].id, id))
            continue;
        write_name(&metrics->providers[i], name);
        return i + 1;
    }
    return PROVIDER_OTHER;
}

/* ---- the text */

struct text {
    struct metrics *metrics;
    const char *version;
    struct buf *out;
};

/* One series or sample. */
struct row {
    enum metric metric;
    unsigned values[METRICS_LABELS];
    double value;
};

static const char *word_of(const char *const *words, size_t count, unsigned value)
{
    return value < count ? words[value] : "other";
}

#define WORD(words, value) word_of(words, COUNT(words), value)

static void put_provider(const struct text *text, unsigned value)
{
    char name[sizeof text->metrics->providers[0].words] = "...";
    if (value == 0)
        return;
    if (value <= METRICS_PROVIDERS_MAX)
        read_name(&text->metrics->providers[value - 1], name);
    buf_puts(text->out, name);
}

static const char *const label_names[] = {
    [LABEL_PROVIDER] = "provider",   [LABEL_METHOD] = "method",         [LABEL_STATUS] = "status",
    [LABEL_STATE] = "state",         [LABEL_REASON] = "reason",         [LABEL_OUTCOME] = "outcome",
    [LABEL_KIND] = "kind",           [LABEL_CONNECTION] = "connection", [LABEL_TOKENS] = "kind",
    [LABEL_CONDITION] = "condition", [LABEL_PHASE] = "phase",           [LABEL_WORKER] = "worker",
    [LABEL_VERSION] = "version",
};

/* None of these texts has a character that would have to be escaped. */
static void put_value(const struct text *text, enum metric_label label, unsigned value)
{
    switch (label) {
    case LABEL_PROVIDER:
        put_provider(text, value);
        break;
    case LABEL_STATUS:
    case LABEL_WORKER:
        buf_printf(text->out, "%u", value);
        break;
    case LABEL_METHOD:
        buf_puts(text->out, WORD(methods, value));
        break;
    case LABEL_STATE:
        buf_puts(text->out, key_status_name((enum key_status)value));
        break;
    case LABEL_REASON:
        buf_puts(text->out, key_mark_reason((int)value));
        break;
    case LABEL_OUTCOME:
        buf_puts(text->out, WORD(outcomes, value));
        break;
    case LABEL_KIND:
        buf_puts(text->out, WORD(kinds, value));
        break;
    case LABEL_CONNECTION:
        buf_puts(text->out, WORD(connections, value));
        break;
    case LABEL_TOKENS:
        buf_puts(text->out, WORD(tokens, value));
        break;
    case LABEL_CONDITION:
        buf_puts(text->out, shared_condition_name((int32_t)value));
        break;
    case LABEL_PHASE:
        buf_puts(text->out, shared_phase_name((int32_t)value));
        break;
    case LABEL_VERSION:
        buf_puts(text->out, text->version);
        break;
    case LABEL_NONE:
        break;
    }
}

/* A line: le is the bound of a bucket, or NULL. */
static void put_line(const struct text *text, const struct row *row, const char *suffix, const char *le,
                     double value)
{
    const struct info *info = &infos[row->metric];
    const char *separator = "{";
    buf_printf(text->out, "%s%s", info->name, suffix);
    for (size_t i = 0; i < label_count(row->metric); i++) {
        buf_printf(text->out, "%s%s=\"", separator, label_names[info->labels[i]]);
        put_value(text, info->labels[i], row->values[i]);
        buf_putc(text->out, '"');
        separator = ",";
    }
    if (le != NULL) {
        buf_printf(text->out, "%sle=\"%s\"", separator, le);
        separator = ",";
    }
    buf_printf(text->out, "%s %.15g\n", *separator == ',' ? "}" : "", value);
}

static bool same_labels(const struct row *a, const struct row *b)
{
    return memcmp(a->values, b->values, sizeof a->values - sizeof a->values[0]) == 0;
}

/* The rows of one histogram with the same labels; returns how many of the rows they are. */
static size_t put_histogram(const struct text *text, const struct row *rows, size_t count)
{
    size_t bounds_count;
    const uint64_t *bounds = bounds_of(rows->metric, &bounds_count);
    double divisor = counts_time(rows->metric) ? 1000 : 1;
    double total = 0;
    double sum = 0;
    size_t used = 0;
    for (size_t bucket = 0; bucket <= bounds_count; bucket++) {
        char le[32] = "+Inf";
        if (used < count && same_labels(rows, &rows[used]) && rows[used].values[METRICS_LABELS - 1] == bucket)
            total += rows[used++].value;
        if (bucket < bounds_count)
            (void)snprintf(le, sizeof le, "%.15g", (double)bounds[bucket] / divisor);
        put_line(text, rows, "_bucket", le, total);
    }
    if (used < count && same_labels(rows, &rows[used]) && rows[used].values[METRICS_LABELS - 1] == BUCKET_SUM)
        sum = rows[used++].value / divisor;
    put_line(text, rows, "_sum", NULL, sum);
    put_line(text, rows, "_count", NULL, total);
    return used;
}

/* A counter without labels is there from the begin, so that its first change is seen as one. */
static void put_metric(const struct text *text, enum metric metric, const struct row *rows, size_t count)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    const struct info *info = &infos[metric];
    const struct row zero = {.metric = metric};
    buf_printf(text->out, "# HELP %s %s\n# TYPE %s %s\n", info->name, info->help, info->name,
               types[info->type]);
    if (count == 0 && label_count(metric) == 0)
        put_line(text, &zero, "", NULL, 0);
    while (count > 0) {
        size_t used = 1;
        if (info->type == METRIC_HISTOGRAM)
            used = put_histogram(text, rows, count);
        else
            put_line(text, rows, "", NULL, rows->value);
        rows += used;
        count -= used;
    }
}

static int compare_rows(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    if (x->metric != y->metric)
        return x->metric < y->metric ? -1 : 1;
    for (size_t i = 0; i < METRICS_LABELS; i++)
        if (x->values[i] != y->values[i])
            return x->values[i] < y->values[i] ? -1 : 1;
    return 0;
}

static bool row_of_series(struct metrics_series *series, struct row *row)
{
    uint64_t name = atomic_load(&series->name);
    uint64_t metric = name >> 16 * METRICS_LABELS;
    if (metric == 0 || metric > METRICS) /* of a newer version that was replaced by this one */
        return false;
    row->metric = (enum metric)(metric - 1);
    for (size_t i = 0; i < METRICS_LABELS; i++)
        row->values[i] = name >> 16 * (METRICS_LABELS - 1 - i) & 0xffff;
    row->value = (double)atomic_load_explicit(&series->count, memory_order_relaxed);
    return true;
}

void metrics_write(struct metrics *metrics, const struct metrics_sample *samples, size_t count,
                   const char *version, struct buf *out)
{
    const struct text text = {metrics, version, out};
    struct row *rows = malloc((METRICS_SERIES_MAX + count) * sizeof *rows);
    size_t total = 0;
    if (rows == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < METRICS_SERIES_MAX; i++)
        total += row_of_series(&metrics->series[i], &rows[total]);
    for (size_t i = 0; i < count; i++) {
        struct row *row = &rows[total++];
        row->metric = samples[i].metric;
        take_labels(row->metric, &samples[i].labels, row->values);
        row->value = samples[i].value;
    }
    qsort(rows, total, sizeof *rows, compare_rows);
    for (size_t metric = 0, at = 0; metric < METRICS; metric++) {
        size_t first = at;
        while (at < total && rows[at].metric == metric)
            at++;
        put_metric(&text, (enum metric)metric, rows + first, at - first);
    }
    free(rows);
}

/* ---- totals */

void metrics_each(struct metrics *metrics, void (*fn)(void *arg, const struct metrics_sample *series),
                  void *arg)
{
    for (size_t i = 0; i < METRICS_SERIES_MAX; i++) {
        struct row row;
        if (!row_of_series(&metrics->series[i], &row) || infos[row.metric].type != METRIC_COUNTER)
            continue;
        struct metrics_sample sample = {.metric = row.metric, .value = row.value};
        memcpy(sample.labels.values, row.values, sizeof row.values);
        fn(arg, &sample);
    }
}

/* Of the buckets from..to. */
static uint64_t sum_buckets(struct metrics *metrics, enum metric metric, size_t from, size_t to)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < METRICS_SERIES_MAX; i++) {
        struct row row;
        if (row_of_series(&metrics->series[i], &row) && row.metric == metric &&
            row.values[METRICS_LABELS - 1] >= from && row.values[METRICS_LABELS - 1] <= to)
            sum += (uint64_t)row.value;
    }
    return sum;
}

uint64_t metrics_observed_above(struct metrics *metrics, enum metric metric, uint64_t bound)
{
    size_t count;
    const uint64_t *bounds = bounds_of(metric, &count);
    size_t bucket = 0;
    while (bucket < count && bounds[bucket] <= bound)
        bucket++;
    return sum_buckets(metrics, metric, bucket, count);
}

uint64_t metrics_observed_sum(struct metrics *metrics, enum metric metric)
{
    return sum_buckets(metrics, metric, BUCKET_SUM, BUCKET_SUM);
}

size_t metrics_observed(struct metrics *metrics, enum metric metric, const uint64_t **bounds,
                        uint64_t counts[METRICS_BUCKETS_MAX])
{
    size_t count;
    *bounds = bounds_of(metric, &count);
    memset(counts, 0, METRICS_BUCKETS_MAX * sizeof *counts);
    for (size_t i = 0; i < METRICS_SERIES_MAX; i++) {
        struct row row;
        if (row_of_series(&metrics->series[i], &row) && row.metric == metric &&
            row.values[METRICS_LABELS - 1] <= count)
            counts[row.values[METRICS_LABELS - 1]] += (uint64_t)row.value;
    }
    return count;
}
