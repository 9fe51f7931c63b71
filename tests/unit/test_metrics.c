/*
 * Tests of metrics: what is counted, by how many processes at once, and the text.
 */
#include "io/history.h"
#include "io/metrics.h"

#include "core/key.h"
#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct metrics *metrics;
static struct buf text;

static void setup(void)
{
    metrics = mmap(NULL, sizeof(*metrics), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(metrics, MAP_FAILED);
}

static void teardown(void)
{
    munmap(metrics, sizeof(*metrics));
    buf_fini(&text);
}

static void write_text(const struct metrics_sample *samples, size_t count)
{
    buf_clear(&text);
    metrics_write(metrics, samples, count, "1.2.3", &text);
    ck_assert(!text.failed);
}

static void expect(const char *line)
{
    char whole[512];

    snprintf(whole, sizeof(whole), "\n%s\n", line);
    ck_assert_msg(strstr(text.data, whole) != NULL, "no line %s in:\n%s", line, text.data);
}

static void expect_none(const char *part)
{
    ck_assert_msg(strstr(text.data, part) == NULL, "there is %s in:\n%s", part, text.data);
}

static void add(enum metric metric, unsigned a, unsigned b, unsigned c, uint64_t n)
{
    const struct metrics_labels labels = {{a, b, c}};

    metrics_add(metrics, metric, &labels, n);
}

START_TEST(test_nothing_counted)
{
    write_text(NULL, 0);
    expect("claviger_database_errors_total 0");
    expect("# TYPE claviger_passthrough_total counter");
    expect("# TYPE claviger_failover_attempts histogram");
    expect_none("\nclaviger_passthrough_total");
    expect_none("_bucket");
}
END_TEST

START_TEST(test_counters)
{
    unsigned openai = metrics_provider(metrics, "openai");
    unsigned other = metrics_provider(metrics, "anthropic");

    ck_assert_uint_ne(openai, other);
    ck_assert_uint_eq(metrics_provider(metrics, "openai"), openai);
    ck_assert_uint_eq(metrics_provider(metrics, NULL), 0);
    add(METRIC_PASSTHROUGH, openai, metrics_method("POST"), 200, 1);
    add(METRIC_PASSTHROUGH, openai, metrics_method("POST"), 200, 2);
    add(METRIC_PASSTHROUGH, other, metrics_method("GET"), 404, 1);
    add(METRIC_PASSTHROUGH, 0, metrics_method("BREW"), 400, 1);
    add(METRIC_PASSTHROUGH, 0, metrics_method("get"), 400, 1);
    /* Labels that a metric does not have make no series. */
    add(METRIC_SENT, openai, 7, 9, UINT64_C(1) << 40);
    add(METRIC_SENT, openai, 8, 10, 1);
    add(METRIC_TRANSITIONS, openai, 429, 0, 1);
    add(METRIC_TRANSITIONS, openai, 401, 0, 1);
    add(METRIC_EXHAUSTIONS, openai, OUTCOME_REJECTED, 0, 1);
    add(METRIC_UPSTREAM_ERRORS, openai, KIND_TIMEOUT, 0, 1);
    write_text(NULL, 0);
    expect("claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"200\"} 3");
    expect("claviger_passthrough_total{provider=\"anthropic\",method=\"GET\",status=\"404\"} 1");
    expect("claviger_passthrough_total{provider=\"\",method=\"other\",status=\"400\"} 2");
    expect("claviger_sent_bytes_total{provider=\"openai\"} 1099511627777");
    expect("claviger_key_pool_state_transitions_total{provider=\"openai\",reason=\"rate_limited\"} 1");
    expect("claviger_key_pool_state_transitions_total{provider=\"openai\",reason=\"unauthorized\"} 1");
    expect("claviger_key_pool_exhaustions_total{provider=\"openai\",outcome=\"rejected\"} 1");
    expect("claviger_upstream_errors_total{provider=\"openai\",kind=\"timeout\"} 1");
}
END_TEST

/* Every method of RFC 9110 section 9 and RFC 5789 has its own number. */
START_TEST(test_methods)
{
    static const char *const known[] = {"GET",    "HEAD",    "POST",    "PUT",  "PATCH",
                                        "DELETE", "OPTIONS", "CONNECT", "TRACE"};

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        ck_assert_uint_ne(metrics_method(known[i]), 0);
        for (size_t j = 0; j < i; j++)
            ck_assert_uint_ne(metrics_method(known[i]), metrics_method(known[j]));
    }
    ck_assert_uint_eq(metrics_method(""), 0);
    ck_assert_uint_eq(metrics_method("GETS"), 0);
}
END_TEST

START_TEST(test_histogram_of_times)
{
    unsigned provider = metrics_provider(metrics, "p");
    const struct metrics_labels labels = {{provider}};
    static const uint64_t values_ms[] = {0, 5, 6, 10, 600000, 600001};

    for (size_t i = 0; i < sizeof(values_ms) / sizeof(values_ms[0]); i++)
        metrics_observe(metrics, METRIC_DURATION, &labels, values_ms[i]);
    write_text(NULL, 0);
    expect("claviger_request_duration_seconds_bucket{provider=\"p\",le=\"0.005\"} 2");
    expect("claviger_request_duration_seconds_bucket{provider=\"p\",le=\"0.01\"} 4");
    expect("claviger_request_duration_seconds_bucket{provider=\"p\",le=\"0.025\"} 4");
    expect("claviger_request_duration_seconds_bucket{provider=\"p\",le=\"600\"} 5");
    expect("claviger_request_duration_seconds_bucket{provider=\"p\",le=\"+Inf\"} 6");
    expect("claviger_request_duration_seconds_sum{provider=\"p\"} 1200.022");
    expect("claviger_request_duration_seconds_count{provider=\"p\"} 6");
}
END_TEST

/* Two providers' histograms do not mix; a value of 0 adds nothing to the sum. */
START_TEST(test_histogram_of_numbers)
{
    const struct metrics_labels a = {{metrics_provider(metrics, "a")}};
    const struct metrics_labels b = {{metrics_provider(metrics, "b")}};

    metrics_observe(metrics, METRIC_ATTEMPTS, &a, 0);
    metrics_observe(metrics, METRIC_ATTEMPTS, &b, 2);
    metrics_observe(metrics, METRIC_ATTEMPTS, &b, 100);
    write_text(NULL, 0);
    expect("claviger_failover_attempts_bucket{provider=\"a\",le=\"0\"} 1");
    expect("claviger_failover_attempts_bucket{provider=\"a\",le=\"+Inf\"} 1");
    expect("claviger_failover_attempts_sum{provider=\"a\"} 0");
    expect("claviger_failover_attempts_bucket{provider=\"b\",le=\"1\"} 0");
    expect("claviger_failover_attempts_bucket{provider=\"b\",le=\"2\"} 1");
    expect("claviger_failover_attempts_bucket{provider=\"b\",le=\"64\"} 1");
    expect("claviger_failover_attempts_bucket{provider=\"b\",le=\"+Inf\"} 2");
    expect("claviger_failover_attempts_sum{provider=\"b\"} 102");
    expect("claviger_failover_attempts_count{provider=\"b\"} 2");
}
END_TEST

START_TEST(test_samples)
{
    unsigned provider = metrics_provider(metrics, "p");
    const struct metrics_sample samples[] = {
        {.metric = METRIC_BUILD, .value = 1},
        {.metric = METRIC_KEY_STATE, .labels = {{provider, KEY_PERMANENT}}, .value = 3},
        {.metric = METRIC_KEY_STATE, .labels = {{provider, KEY_VALID}}, .value = 0},
        {.metric = METRIC_LOOP_LAG, .labels = {{12}}, .value = 0.25},
        {.metric = METRIC_DATABASE_ERRORS, .value = 4},
    };

    write_text(samples, sizeof(samples) / sizeof(samples[0]));
    expect("claviger_build_info{version=\"1.2.3\"} 1");
    expect("claviger_key_pool_state{provider=\"p\",state=\"permanent\"} 3");
    expect("claviger_key_pool_state{provider=\"p\",state=\"valid\"} 0");
    expect("claviger_worker_loop_lag_seconds{worker=\"12\"} 0.25");
    expect("claviger_database_errors_total 4");
}
END_TEST

/* Names of every length are kept whole; more of them than there is room for count together. */
START_TEST(test_many_providers)
{
    char name[METRICS_PROVIDER_SIZE];

    for (unsigned i = 0; i < METRICS_PROVIDERS_MAX; i++) {
        snprintf(name, sizeof(name), "%0*u", (int)(3 + i % (METRICS_PROVIDER_SIZE - 3)), i);
        add(METRIC_SENT, metrics_provider(metrics, name), 0, 0, i + 1);
    }
    add(METRIC_SENT, metrics_provider(metrics, "one too many"), 0, 0, 7);
    add(METRIC_SENT, metrics_provider(metrics, "and another"), 0, 0, 7);
    write_text(NULL, 0);
    for (unsigned i = 0; i < METRICS_PROVIDERS_MAX; i++) {
        char line[160];

        snprintf(line, sizeof(line), "claviger_sent_bytes_total{provider=\"%0*u\"} %u",
                 (int)(3 + i % (METRICS_PROVIDER_SIZE - 3)), i, i + 1);
        expect(line);
    }
    expect("claviger_sent_bytes_total{provider=\"...\"} 14");
}
END_TEST

/* A full table drops what finds no room, counts it, and keeps what it has. */
START_TEST(test_full_table)
{
    for (unsigned i = 0; i < METRICS_SERIES_MAX; i++)
        add(METRIC_PASSTHROUGH, i >> 8, 1, i & 0xff, 1);
    ck_assert_uint_eq(atomic_load(&metrics->dropped), 0);
    add(METRIC_TRANSITIONS, 1, 429, 0, 1);
    ck_assert_uint_eq(atomic_load(&metrics->dropped), 1);
    add(METRIC_PASSTHROUGH, 0, 1, 5, 1);
    ck_assert_uint_eq(atomic_load(&metrics->dropped), 1);
    write_text(NULL, 0);
    expect("claviger_passthrough_total{provider=\"\",method=\"GET\",status=\"5\"} 2");
    expect_none("\nclaviger_key_pool_state_transitions_total{");
}
END_TEST

#define PROCESSES 8
#define ROUNDS    20000

/* Several processes that make the same series at once lose nothing. */
START_TEST(test_processes)
{
    pid_t pids[PROCESSES];

    for (int p = 0; p < PROCESSES; p++) {
        pids[p] = fork();
        ck_assert_int_ge(pids[p], 0);
        if (pids[p] == 0) {
            unsigned provider = metrics_provider(metrics, "shared");

            for (unsigned i = 0; i < ROUNDS; i++)
                add(METRIC_PASSTHROUGH, provider, 1, 200 + i % 50, 1);
            _exit(0);
        }
    }
    for (int p = 0; p < PROCESSES; p++) {
        int status;

        ck_assert_int_eq(waitpid(pids[p], &status, 0), pids[p]);
        ck_assert_int_eq(status, 0);
    }
    write_text(NULL, 0);
    for (unsigned i = 0; i < 50; i++) {
        char line[160];

        snprintf(line, sizeof(line),
                 "claviger_passthrough_total{provider=\"shared\",method=\"GET\",status=\"%u\"} %d", 200 + i,
                 PROCESSES * ROUNDS / 50);
        expect(line);
    }
}
END_TEST

/* ---- history */

#define MINUTE 60000
#define NOW    (INT64_C(1000000) * MINUTE)

static struct history history;

static void pass(unsigned provider, unsigned status, unsigned attempts, uint64_t ms)
{
    const struct metrics_labels labels = {{provider, 1, status}};

    metrics_add(metrics, METRIC_PASSTHROUGH, &labels, 1);
    metrics_observe(metrics, METRIC_ATTEMPTS, &labels, attempts);
    metrics_observe(metrics, METRIC_DURATION, &labels, ms);
}

static void expect_minute(const struct history_minute *m, uint64_t requests, uint64_t failovers,
                          uint64_t errors, uint64_t duration_ms)
{
    ck_assert_uint_eq(m->requests, requests);
    ck_assert_uint_eq(m->failovers, failovers);
    ck_assert_uint_eq(m->errors, errors);
    ck_assert_uint_eq(m->duration_ms, duration_ms);
}

/* Every observation is in one bucket, whatever its provider; a bound belongs to the bucket below it. */
START_TEST(test_observed)
{
    const uint64_t *bounds;
    uint64_t counts[METRICS_BUCKETS_MAX];
    uint64_t expected[METRICS_BUCKETS_MAX] = {[0] = 2, [1] = 1, [16] = 1};
    unsigned provider = metrics_provider(metrics, "p");

    pass(provider, 200, 1, 0);
    pass(0, 200, 1, 5);
    pass(provider, 200, 1, 6);
    pass(0, 502, 0, 600001);
    ck_assert_uint_eq(metrics_observed(metrics, METRIC_DURATION, &bounds, counts), 16);
    ck_assert_uint_eq(bounds[0], 5);
    ck_assert_uint_eq(bounds[15], 600000);
    ck_assert_mem_eq(counts, expected, sizeof counts);
    ck_assert_uint_eq(metrics_observed(metrics, METRIC_ATTEMPTS, &bounds, counts), 10);
    ck_assert_uint_eq(counts[0], 1);
    ck_assert_uint_eq(counts[1], 3);
    ck_assert_uint_eq(counts[11], 0);
}
END_TEST

START_TEST(test_history)
{
    struct history_minute minutes[HISTORY_MINUTES];
    unsigned provider = metrics_provider(metrics, "p");

    history_read(&history, NOW, minutes);
    expect_minute(&minutes[HISTORY_MINUTES - 1], 0, 0, 0, 0);
    pass(provider, 200, 1, 100);
    pass(provider, 429, 2, 50);
    add(METRIC_TRANSITIONS, provider, 429, 0, 2);
    history_record(&history, metrics, NOW);
    pass(provider, 502, 0, 1);
    history_record(&history, metrics, NOW + 59999);
    history_read(&history, NOW + 59999, minutes);
    expect_minute(&minutes[HISTORY_MINUTES - 1], 3, 1, 2, 151);
    ck_assert_uint_eq(minutes[HISTORY_MINUTES - 1].marks[provider - 1], 2);
    expect_minute(&minutes[HISTORY_MINUTES - 2], 0, 0, 0, 0);

    /* The next minute has only what is new; one in which nobody wrote is empty. */
    pass(0, 200, 3, 7);
    history_record(&history, metrics, NOW + MINUTE);
    pass(0, 200, 1, 9);
    history_record(&history, metrics, NOW + 3 * MINUTE);
    history_read(&history, NOW + 3 * MINUTE, minutes);
    expect_minute(&minutes[HISTORY_MINUTES - 4], 3, 1, 2, 151);
    expect_minute(&minutes[HISTORY_MINUTES - 3], 1, 1, 0, 7);
    expect_minute(&minutes[HISTORY_MINUTES - 2], 0, 0, 0, 0);
    expect_minute(&minutes[HISTORY_MINUTES - 1], 1, 0, 0, 9);

    /* An hour later nothing of it is left, but it still counts as before. */
    for (int i = 4; i <= 64; i++)
        history_record(&history, metrics, NOW + i * MINUTE);
    pass(0, 200, 1, 11);
    history_record(&history, metrics, NOW + 65 * MINUTE);
    history_read(&history, NOW + 65 * MINUTE, minutes);
    for (int i = 0; i < HISTORY_MINUTES - 1; i++)
        expect_minute(&minutes[i], 0, 0, 0, 0);
    expect_minute(&minutes[HISTORY_MINUTES - 1], 1, 0, 0, 11);
    /* A clock that was wrong is no matter. */
    history_read(&history, 0, minutes);
    history_record(&history, metrics, -5);
    history_read(&history, INT64_C(5) * MINUTE, minutes);
    expect_minute(&minutes[HISTORY_MINUTES - 1], 0, 0, 0, 0);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = tcase_create("metrics");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_nothing_counted);
    tcase_add_test(tc, test_counters);
    tcase_add_test(tc, test_methods);
    tcase_add_test(tc, test_histogram_of_times);
    tcase_add_test(tc, test_histogram_of_numbers);
    tcase_add_test(tc, test_samples);
    tcase_add_test(tc, test_many_providers);
    tcase_add_test(tc, test_full_table);
    tcase_add_test(tc, test_processes);
    tcase_add_test(tc, test_observed);
    tcase_add_test(tc, test_history);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
