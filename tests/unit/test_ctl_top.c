/* clavigerctl top: what is read, reckoned, shared out and composed, without a terminal or a daemon. */
#include "clavigerctl_top.h"

#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_NAME "a_provider_whose_name_is_as_long_as_a_name_of_a_provider_can_be"
#define KEYS_MOST 64

static struct buf out;

static void setup(void)
{
    memset(&out, 0, sizeof(out));
}

static void teardown(void)
{
    buf_fini(&out);
}

/* ---- pictures */

START_TEST(test_picture_width)
{
    static const unsigned cases[][2] = {{0, 0},   {5, 0},   {6, 6},   {9, 6},   {11, 10}, {14, 12},
                                        {19, 15}, {29, 20}, {30, 30}, {59, 30}, {60, 60}, {1000, 60}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_uint_eq(top_picture_width(cases[i][0]), cases[i][1]);
}
END_TEST

/* Minutes 0 to 9 have 1, the last one has 700. */
START_TEST(test_picture)
{
    uint64_t values[HISTORY_MINUTES] = {0};
    uint64_t by[HISTORY_MINUTES] = {0};

    top_picture(&out, values, NULL, 6, true);
    ck_assert_str_eq(out.data, "▁▁▁▁▁▁");
    buf_clear(&out);
    for (size_t i = 0; i < 10; i++) {
        values[i] = 1;
        by[i] = 1;
    }
    values[HISTORY_MINUTES - 1] = 700;
    by[HISTORY_MINUTES - 1] = 350;
    top_picture(&out, values, NULL, 6, true);
    ck_assert_str_eq(out.data, "▂▁▁▁▁█");
    buf_clear(&out);
    top_picture(&out, values, NULL, 6, false);
    ck_assert_str_eq(out.data, ".____#");
    buf_clear(&out);
    /* Divided: 1 and 2; where nothing is to divide by, there is nothing. */
    values[30] = 1000;
    top_picture(&out, values, by, 6, false);
    ck_assert_str_eq(out.data, "=____#");
    buf_clear(&out);
    top_picture(&out, values, NULL, 60, false);
    ck_assert_uint_eq(out.len, 60);
    ck_assert_int_eq(out.data[30], '#');
    ck_assert_int_eq(out.data[59], '+');
    buf_clear(&out);
    top_picture(&out, values, NULL, 0, false);
    ck_assert_uint_eq(out.len, 0);
    /* Counts that are as large as they come do not run over. */
    values[30] = UINT64_MAX;
    top_picture(&out, values, NULL, 60, false);
    ck_assert_int_eq(out.data[30], '#');
}
END_TEST

/* ---- rates */

static struct top_totals totals_of(uint64_t requests, uint64_t fast, uint64_t slow)
{
    return (struct top_totals){.requests = requests,
                               .failovers = requests / 10,
                               .errors = requests / 100,
                               .tokens_in = requests * 2,
                               .tokens_out = requests,
                               .bound_count = 3,
                               .bounds_ms = {100, 200, 1000},
                               .durations = {0, fast, slow, 0}};
}

START_TEST(test_rates)
{
    static struct top_samples samples;
    struct top_totals totals = totals_of(1000, 1000, 0);
    struct top_rates rates = top_rates(&samples, &totals, 50000);

    ck_assert(!rates.known && !rates.timed);
    /* At once again (the window was resized): still nothing to compare with. */
    rates = top_rates(&samples, &totals, 50005);
    ck_assert(!rates.known);
    totals = totals_of(1200, 1100, 100);
    rates = top_rates(&samples, &totals, 52000);
    ck_assert(rates.known && rates.timed);
    ck_assert_double_eq_tol(rates.requests, 100, 0.01);
    ck_assert_double_eq_tol(rates.failovers, 10, 0.01);
    ck_assert_double_eq_tol(rates.errors, 1, 0.01);
    ck_assert_double_eq_tol(rates.tokens_in, 12000, 0.01);
    ck_assert_double_eq_tol(rates.tokens_out, 6000, 0.01);
    /* Of 100 between 100 and 200 ms and 100 between 200 and 1000 ms. */
    ck_assert_double_eq_tol(rates.p50_ms, 200, 0.01);
    ck_assert_double_eq_tol(rates.p95_ms, 920, 0.01);
    /* Nothing more happens: after five seconds nothing did, but within the minute it has. */
    for (int64_t now = 53000; now <= 60000; now += 1000)
        rates = top_rates(&samples, &totals, now);
    ck_assert_double_eq_tol(rates.requests, 0, 0.01);
    ck_assert_double_eq_tol(rates.tokens_out, 1200, 0.01);
    ck_assert(rates.timed);
    for (int64_t now = 61000; now <= 150000; now += 1000)
        rates = top_rates(&samples, &totals, now);
    ck_assert(rates.known && !rates.timed);
    ck_assert_double_eq_tol(rates.tokens_out, 0, 0.01);
    /* Another daemon, that begins at 0. */
    totals = totals_of(5, 5, 0);
    rates = top_rates(&samples, &totals, 151000);
    ck_assert(!rates.known);
    totals = totals_of(6, 6, 0);
    rates = top_rates(&samples, &totals, 152000);
    ck_assert_double_eq_tol(rates.requests, 1, 0.01);
}
END_TEST

/* Looks that are further apart than the windows compare with the one before; many within a second too. */
START_TEST(test_rates_at_any_interval)
{
    static const int64_t intervals[] = {100, 1000, 30000, 3600000};

    for (size_t i = 0; i < sizeof(intervals) / sizeof(intervals[0]); i++) {
        struct top_samples *samples = calloc(1, sizeof(*samples));
        int64_t now = 1000;

        for (uint64_t look = 0; look < 200; look++, now += intervals[i]) {
            struct top_totals totals = totals_of(look * (uint64_t)intervals[i] / 100, look, 0);
            struct top_rates rates = top_rates(samples, &totals, now);

            ck_assert(rates.known == (look > 0));
            if (look > 0)
                ck_assert_double_eq_tol(rates.requests, 10, 0.01);
            if (look > 0)
                ck_assert_double_eq_tol(rates.tokens_out, 600, 0.01);
        }
        free(samples);
    }
}
END_TEST

/* ---- reading */

static const char ANSWER[] =
    "{\"version\":\"1.2\",\"pid\":77,\"uptime_s\":3700,\"phase\":\"serving\",\"generation\":3,"
    "\"workers\":[{\"number\":1,\"pid\":78,\"phase\":\"ready\",\"generation\":3,\"uptime_s\":60,"
    "\"connections\":5,\"requests\":600,\"in_flight\":4,\"streams\":1,\"lag_ms\":2},"
    "{\"number\":2,\"pid\":0,\"phase\":\"waiting\",\"generation\":3,\"uptime_s\":0,\"connections\":0,"
    "\"requests\":0,\"in_flight\":0,\"streams\":0,\"lag_ms\":0}],"
    "\"database\":{\"path\":\"/"
    "x\",\"condition\":\"failing\",\"since\":\"2026-01-01T00:00:00.000Z\",\"errors\":3},"
    "\"traffic\":{\"in_flight\":4,\"streams\":1,\"requests\":601,\"failovers\":7,\"errors\":2,"
    "\"duration_ms\":9000,\"tokens\":{\"input\":11,\"output\":12},"
    "\"duration\":{\"upper_ms\":[5,10],\"counts\":[1,2,3]},"
    "\"hour\":{\"requests\":[600,1],\"failovers\":[7],\"errors\":[2],\"duration_ms\":[8000,1000],"
    "\"marks\":{\"first\":[1,2],\"second\":[]}}}}";

START_TEST(test_read)
{
    struct top_answer answer;

    ck_assert_int_eq(top_read(ANSWER, &answer), 0);
    ck_assert_str_eq(answer.version, "1.2");
    ck_assert_int_eq(answer.uptime_s, 3700);
    ck_assert_str_eq(answer.database, "failing");
    ck_assert_uint_eq(answer.in_flight, 4);
    ck_assert_uint_eq(answer.totals.requests, 601);
    ck_assert_uint_eq(answer.totals.tokens_out, 12);
    ck_assert_uint_eq(answer.totals.bound_count, 2);
    ck_assert_uint_eq(answer.totals.durations[2], 3);
    ck_assert_uint_eq(answer.worker_count, 2);
    ck_assert_int_eq(answer.workers[0].lag_ms, 2);
    ck_assert_str_eq(answer.workers[1].phase, "waiting");
    ck_assert_uint_eq(answer.hour.requests[1], 1);
    ck_assert_uint_eq(answer.hour.marks_count, 2);
    ck_assert_str_eq(answer.hour.marks[0].provider, "first");
    ck_assert_uint_eq(answer.hour.marks[0].minutes[1], 2);
    top_answer_fini(&answer);
}
END_TEST

/* Another version's answer, or none at all: nothing that is not there is looked at. */
START_TEST(test_read_other)
{
    static const struct {
        const char *text;
        int result;
    } cases[] = {
        {"", -1},
        {"no", -1},
        {"[]", -1},
        {"{", -1},
        {"{}", -1},
        {"{\"version\":1}", -1},
        {"{\"version\":\"\"}", 0},
        {"{\"version\":\"1\",\"traffic\":7,\"workers\":{},\"database\":[]}", 0},
        {"{\"version\":\"1\",\"traffic\":{\"requests\":-1,\"hour\":{\"marks\":[1],\"requests\":{}},"
         "\"duration\":{\"upper_ms\":"
         "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20],\"counts\":[]}}}",
         0},
        {"{\"version\":\"a version with a name that is longer than any version has been so far\"}", 0},
        {"{\"version\":\"1\",\"workers\":[1,null,{\"phase\":\"a phase with a very long name\"}]}", 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct top_answer answer;

        ck_assert_msg(top_read(cases[i].text, &answer) == cases[i].result, "%s", cases[i].text);
        ck_assert_uint_eq(answer.totals.requests, 0);
        ck_assert_uint_lt(answer.totals.bound_count, METRICS_BUCKETS_MAX);
        top_answer_fini(&answer);
    }
}
END_TEST

/* What would steer a terminal does not get that far. */
START_TEST(test_read_control_bytes)
{
    struct top_answer answer;

    ck_assert_int_eq(top_read("{\"version\":\"1\\u001b[2J\\u007f\",\"phase\":\"a\\nb\",\"database\":"
                              "{\"condition\":\"\\u001b]0;x\\u0007\"},\"workers\":[{\"phase\":\"\\rc\"}],"
                              "\"traffic\":{\"hour\":{\"marks\":{\"\\u009b\\u001bd\":[1]}}}}",
                              &answer),
                     0);
    ck_assert_str_eq(answer.version, "1?[2J?");
    ck_assert_str_eq(answer.phase, "a?b");
    ck_assert_str_eq(answer.database, "?]0;x?");
    ck_assert_str_eq(answer.workers[0].phase, "?c");
    ck_assert_uint_eq(answer.hour.marks_count, 1);
    ck_assert_str_eq(answer.hour.marks[0].provider, "???d");
    top_answer_fini(&answer);
}
END_TEST

/* ---- sharing */

START_TEST(test_share)
{
    static const struct {
        size_t rows;
        size_t wanted[TOP_SECTIONS]; /* daemon, traffic, pools, workers, keys */
        size_t given[TOP_SECTIONS];
    } cases[] = {
        {100, {2, 5, 4, 3, 20}, {2, 5, 4, 3, 20}},
        {34, {2, 5, 4, 3, 20}, {2, 5, 4, 3, 20}},
        {33, {2, 5, 4, 3, 20}, {2, 5, 4, 3, 19}},
        {20, {2, 5, 4, 3, 20}, {2, 5, 4, 3, 6}},
        {14, {2, 5, 4, 3, 20}, {2, 5, 3, 0, 4}},
        {10, {2, 5, 4, 3, 20}, {1, 5, 0, 0, 4}},
        {3, {2, 5, 4, 3, 20}, {1, 0, 0, 0, 2}},
        {1, {2, 5, 4, 3, 20}, {1, 0, 0, 0, 0}},
        /* Long lists of pools and workers do not drive out the keys; short ones leave them all. */
        {50, {2, 5, 90, 90, 90}, {2, 5, 10, 10, 23}},
        {50, {2, 5, 90, 3, 6}, {2, 5, 34, 3, 6}},
        {20, {1, 0, 4, 0, 20}, {1, 0, 4, 0, 15}},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t given[TOP_SECTIONS];
        size_t all = 0;

        top_share(cases[i].wanted, cases[i].rows, given);
        for (size_t k = 0; k < TOP_SECTIONS; k++) {
            all += given[k];
            ck_assert_msg(given[k] <= cases[i].wanted[k], "case %zu, section %zu", i, k);
        }
        ck_assert_uint_le(all, cases[i].rows);
        for (size_t k = 0; k < TOP_SECTIONS; k++)
            ck_assert_msg(given[k] == cases[i].given[k], "case %zu, section %zu: %zu", i, k, given[k]);
    }
}
END_TEST

/* ---- the view */

/* Two providers with `count` keys, of which some are marked. */
struct world {
    struct provider providers[2];
    struct provider_list list;
    struct store_row items[KEYS_MOST];
    struct store_rows rows;
    char hints[KEYS_MOST][16];
    struct top_answer answer;
    struct top_view view;
};

static void world_make(struct world *w, const char *name, size_t count)
{
    memset(w, 0, sizeof(*w));
    w->providers[0].name = (char *)(uintptr_t)name;
    w->providers[1].name = (char *)(uintptr_t) "second";
    w->list.items = w->providers;
    w->list.count = 2;
    for (size_t i = 0; i < count; i++) {
        struct store_row *row = &w->items[i];

        snprintf(w->hints[i], sizeof(w->hints[i]), "sk-k%u...x", (unsigned)i % 10000);
        row->provider = w->providers[i % 2].name;
        row->key_id = (char *)(uintptr_t) "0123456789abcdef";
        row->hint = w->hints[i];
        row->state = (char *)(uintptr_t) "valid";
        row->reason = (char *)(uintptr_t) "";
        row->updated = (char *)(uintptr_t) "";
        row->position = (int64_t)i / 2;
    }
    w->rows.items = w->items;
    w->rows.count = count;
    ck_assert_int_eq(top_read(ANSWER, &w->answer), 0);
    w->view = (struct top_view){.providers = &w->list,
                                .answer = &w->answer,
                                .rows = &w->rows,
                                .unicode = true,
                                .rates = {.known = true, .requests = 12.34, .timed = true, .p95_ms = 1500}};
}

static void mark(struct world *w, size_t key, const char *state, const char *reason)
{
    struct store_row *row = &w->items[key];

    row->state = (char *)(uintptr_t)state;
    row->reason = (char *)(uintptr_t)reason;
    row->status = strcmp(state, "temporary") == 0 ? 429 : 401;
    row->seconds_left = strcmp(state, "temporary") == 0 ? 125 : 0;
    row->failures = 1;
}

static void world_end(struct world *w)
{
    top_answer_fini(&w->answer);
    buf_clear(&out);
}

static void compose(struct world *w, unsigned columns, unsigned rows)
{
    buf_clear(&out);
    top_compose(&w->view, (struct terminal_size){columns, rows}, &out);
    ck_assert(!out.failed);
}

static bool shows(const char *text)
{
    return out.len > 0 && strstr(out.data, text) != NULL;
}

static void expect_fits(unsigned columns, unsigned rows)
{
    unsigned lines = 0;

    for (const char *line = out.data; *line != '\0'; line += strcspn(line, "\n") + 1, lines++) {
        size_t width = 0;

        for (const char *p = line; *p != '\n'; p++) {
            ck_assert_int_ne(*p, '\0');
            if (*p == '\033')
                p += strcspn(p, "m");
            else
                width += ((unsigned char)*p & 0xc0) != 0x80;
        }
        ck_assert_msg(columns == 0 || width <= columns, "%ux%u, a line of %zu: %s", columns, rows, width,
                      out.data);
    }
    ck_assert_msg(rows == 0 || lines <= rows, "%ux%u, %u lines: %s", columns, rows, lines, out.data);
}

/* Whatever the window, the names and the number of keys: no line too wide and none too many, the state of
 * things on top. */
START_TEST(test_fits)
{
    static const unsigned columns[] = {0, 1, 9, 20, 40, 58, 79, 80, 100, 132, 250};
    static const unsigned rows[] = {0, 1, 2, 3, 5, 8, 13, 20, 22, 24, 50, 200};
    static const char *const names[] = {"p", LONG_NAME};
    static const size_t counts[] = {0, 1, 5, KEYS_MOST};

    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        for (size_t k = 0; k < sizeof(rows) / sizeof(rows[0]); k++)
            for (size_t n = 0; n < 2 * sizeof(counts) / sizeof(counts[0]); n++) {
                struct world w;

                world_make(&w, names[n % 2], counts[n / 2]);
                w.view.colours = n % 2 == 1;
                for (size_t key = 0; key < counts[n / 2]; key += 3)
                    mark(&w, key, key % 2 ? "temporary" : "permanent", "rate_limited");
                compose(&w, columns[i], rows[k]);
                expect_fits(columns[i], rows[k]);
                ck_assert_int_eq(out.data[0], 'c');
                w.view.answer = NULL;
                w.view.daemon_error = "clavigerd is not running";
                compose(&w, columns[i], rows[k]);
                expect_fits(columns[i], rows[k]);
                world_end(&w);
            }
}
END_TEST

START_TEST(test_everything)
{
    static const char EXPECTED[] =
        "clavigerd 1.2 is serving, database failing since 2026-01-01T00:00:00.000Z, pid 77, generat\n"
        "in flight 4, streams 1, connections 5; tokens per minute 0 in, 0 out\n"
        "\n"
        "traffic                    now   last hour\n"
        "requests                12.3/s         601  █▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁\n"
        "failovers                0.0/s           7  █▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁\n"
        "errors                   0.0/s           2  █▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁\n"
        "duration   p50 0 ms, p95 1.5 s  mean 15 ms  █▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁\n"
        "\n"
        "pool    valid  temporary  permanent  marks\n"
        "first       1          1          0      3  █▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁\n"
        "second      1          0          1      0  ▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁▁\n"
        "\n"
        "worker  pid  phase           up  connections  in flight  requests   lag\n"
        "     1   78  ready    1 min 0 s            5          4       600  2 ms\n"
        "     2    -  waiting          -            -          -         -     -\n"
        "\n"
        "key of  #  hint       state           left  last mark     status  marks\n"
        "first   0  sk-k0...x  temporary  2 min 5 s  rate_limited     429      1\n"
        "second  0  sk-k1...x  permanent          -  unauthorized     401      1\n"
        "first   1  sk-k2...x  valid              -  -                  -      0\n"
        "second  1  sk-k3...x  valid              -  -                  -      0\n";
    struct world w;

    world_make(&w, "first", 4);
    mark(&w, 0, "temporary", "rate_limited");
    mark(&w, 1, "permanent", "unauthorized");
    compose(&w, 90, 0);
    ck_assert_str_eq(out.data, EXPECTED);
    world_end(&w);
}
END_TEST

/* When not all keys fit, the marked ones are there, in the order of the walk, and the rest is counted. */
START_TEST(test_marked_first)
{
    struct world w;

    world_make(&w, "first", 40);
    mark(&w, 33, "temporary", "rate_limited");
    mark(&w, 38, "permanent", "unauthorized");
    compose(&w, 100, 24);
    ck_assert(shows("sk-k33...x") && shows("sk-k38...x") && shows("2 min 5 s"));
    ck_assert(strstr(out.data, "sk-k33...x") < strstr(out.data, "sk-k38...x"));
    ck_assert(shows(" more keys, all valid\n"));
    for (size_t i = 0; i < 40; i++)
        mark(&w, i, "permanent", "disabled");
    compose(&w, 100, 24);
    ck_assert(shows("sk-k0...x") && !shows("sk-k38...x"));
    ck_assert(shows(" more keys, ") && shows(" of them not valid\n"));
    /* All fit: their order is the walk's. */
    compose(&w, 100, 100);
    ck_assert(!shows("more keys"));
    ck_assert(strstr(out.data, "sk-k2...x") < strstr(out.data, "sk-k33...x"));
    world_end(&w);
}
END_TEST

/* What is missing is said in its place, and the rest is shown. */
START_TEST(test_missing)
{
    struct world w;

    world_make(&w, "first", 2);
    w.view.answer = NULL;
    w.view.daemon_error = "clavigerd is not running (nobody answers on /x)";
    compose(&w, 80, 24);
    ck_assert_int_eq(strncmp(out.data, "clavigerd is not running", 24), 0);
    ck_assert(shows("sk-k0...x") && shows("first") && !shows("traffic") && !shows("worker"));
    w.view.answer = &w.answer;
    w.view.rows = NULL;
    w.view.database_error = "no such file";
    compose(&w, 80, 24);
    ck_assert(shows("keys: no such file\n") && shows("traffic") && shows("worker") && !shows("temporary"));
    w.view.rates.known = false;
    compose(&w, 80, 24);
    ck_assert(shows("tokens per minute -\n") && !shows("/s "));
    world_end(&w);
}
END_TEST

START_TEST(test_colours_and_ascii)
{
    struct world w;

    world_make(&w, "first", 2);
    mark(&w, 0, "permanent", "unauthorized");
    compose(&w, 120, 40);
    ck_assert(!shows("\033") && shows("█"));
    w.view.colours = true;
    w.view.unicode = false;
    compose(&w, 120, 40);
    ck_assert(shows("\033[31mpermanent\033[0m") && shows("\033[31mfailing") && shows("\033[32mready") &&
              shows("\033[33mwaiting"));
    for (size_t i = 0; i < out.len; i++)
        ck_assert_int_ge(out.data[i], 0);
    ck_assert(shows("#.____"));
    world_end(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctl_top");
    TCase *tc = tcase_create("ctl_top");

    tcase_set_timeout(tc, 60);

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_picture_width);
    tcase_add_test(tc, test_picture);
    tcase_add_test(tc, test_rates);
    tcase_add_test(tc, test_rates_at_any_interval);
    tcase_add_test(tc, test_read);
    tcase_add_test(tc, test_read_other);
    tcase_add_test(tc, test_read_control_bytes);
    tcase_add_test(tc, test_share);
    tcase_add_test(tc, test_fits);
    tcase_add_test(tc, test_everything);
    tcase_add_test(tc, test_marked_first);
    tcase_add_test(tc, test_missing);
    tcase_add_test(tc, test_colours_and_ascii);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
