/*
 * Tests of usage_cells: how cells are taken, used again and handed over, what happens when there are too few,
 * and that nothing is lost or mixed up while one process adds and another one writes.
 */
#include "io/shared.h"

#include "unit/suite.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOUR_MS (INT64_C(480000) * USAGE_HOUR_MS) /* some hour's begin */

static struct shared *shared;
static struct usage_cells *cells;
static struct usage_counter counter;

static void setup(void)
{
    shared = shared_new();
    ck_assert_ptr_nonnull(shared);
    cells = &shared->usage;
    usage_counter_init(&counter, cells, 3);
}

static void teardown(void)
{
    shared_free(&shared);
}

static void add_at(struct usage_counter *to, int64_t real_ms, const char *model, uint64_t input,
                   uint64_t output)
{
    const struct usage usage = {.input = input, .output = output};
    struct usage_identity identity;

    usage_identify(&identity, real_ms, "p", "c", "k", model);
    usage_counter_add(to, &identity, &usage);
}

static void add(const char *model, uint64_t input, uint64_t output)
{
    add_at(&counter, HOUR_MS, model, input, output);
}

/* What waits: how many cells, their sums, and the last one's identity. */
struct waiting {
    size_t cells;
    uint64_t sums[USAGE_COUNTS];
    struct usage_identity last;
};

static struct waiting look(bool write)
{
    struct usage_cursor cursor = {0};
    struct usage_pending pending;
    struct waiting waiting = {0};

    while (usage_cells_next(cells, &cursor, &pending)) {
        waiting.cells++;
        for (size_t i = 0; i < USAGE_COUNTS; i++)
            waiting.sums[i] += pending.counts[i];
        waiting.last = pending.cell->identity;
        if (write)
            usage_cells_written(&pending);
    }
    return waiting;
}

START_TEST(test_identify)
{
    char long_name[200];
    struct usage_identity identity;

    memset(long_name, 'x', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    usage_identify(&identity, HOUR_MS + 3599999, "anthropic", NULL, "sk-a...wxyz", long_name);
    ck_assert_int_eq(identity.hour, HOUR_MS / 1000);
    ck_assert_str_eq(identity.provider, "anthropic");
    ck_assert_str_eq(identity.client, "");
    ck_assert_str_eq(identity.key, "sk-a...wxyz");
    ck_assert_uint_eq(strlen(identity.model), USAGE_MODEL_SIZE - 1);
    usage_identify(&identity, HOUR_MS + USAGE_HOUR_MS, long_name, long_name, long_name, "");
    ck_assert_int_eq(identity.hour, HOUR_MS / 1000 + 3600);
    ck_assert_uint_eq(strlen(identity.provider), USAGE_NAME_SIZE - 1);
    ck_assert_uint_eq(strlen(identity.client), USAGE_NAME_SIZE - 1);
    ck_assert_uint_eq(strlen(identity.key), KEY_HINT_SIZE - 1);
    usage_identify(&identity, -5, "p", "c", "k", "m");
    ck_assert_int_eq(identity.hour, 0);
}
END_TEST

START_TEST(test_counts)
{
    const struct usage usage = {.input = 1, .output = 20, .cached = 300, .written = 4000, .reasoning = 50000};
    static const uint64_t sums[USAGE_COUNTS] = {2, 2, 40, 600, 8000, 100000};
    struct usage_identity identity;
    struct waiting waiting;

    ck_assert_uint_eq(look(true).cells, 0);
    usage_identify(&identity, HOUR_MS, "p", "c", "k", "m");
    usage_counter_add(&counter, &identity, &usage);
    usage_counter_add(&counter, &identity, &usage);
    waiting = look(false);
    ck_assert_uint_eq(waiting.cells, 1);
    ck_assert_int_eq(memcmp(waiting.sums, sums, sizeof(sums)), 0);
    ck_assert_int_eq(waiting.last.hour, identity.hour);
    ck_assert_str_eq(waiting.last.provider, "p");
    ck_assert_str_eq(waiting.last.client, "c");
    ck_assert_str_eq(waiting.last.key, "k");
    ck_assert_str_eq(waiting.last.model, "m");
    /* Looking takes nothing; writing takes what was seen. */
    waiting = look(true);
    ck_assert_int_eq(memcmp(waiting.sums, sums, sizeof(sums)), 0);
    ck_assert_uint_eq(look(true).cells, 0);
    /* An answer without a token is one all the same. */
    add("m", 0, 0);
    waiting = look(true);
    ck_assert_uint_eq(waiting.cells, 1);
    ck_assert_uint_eq(waiting.sums[USAGE_REQUESTS], 1);
    ck_assert_uint_eq(waiting.sums[USAGE_INPUT], 0);
}
END_TEST

START_TEST(test_what_comes_meanwhile)
{
    struct usage_cursor cursor = {0};
    struct usage_pending pending;

    add("m", 5, 0);
    ck_assert(usage_cells_next(cells, &cursor, &pending));
    add("m", 7, 1);
    usage_cells_written(&pending);
    ck_assert_uint_eq(pending.counts[USAGE_INPUT], 5);
    cursor = (struct usage_cursor){0};
    ck_assert(usage_cells_next(cells, &cursor, &pending));
    ck_assert_uint_eq(pending.counts[USAGE_INPUT], 7);
    ck_assert_uint_eq(pending.counts[USAGE_REQUESTS], 1);
}
END_TEST

/* Every part of the identity makes another cell. */
START_TEST(test_identities)
{
    static const char *const names[][4] = {{"p", "c", "k", "m"}, {"q", "c", "k", "m"}, {"p", "d", "k", "m"},
                                           {"p", "c", "l", "m"}, {"p", "c", "k", "n"}, {"p", "", "k", "m"}};
    const struct usage usage = {.input = 1};

    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            struct usage_identity identity;

            usage_identify(&identity, HOUR_MS, names[i][0], names[i][1], names[i][2], names[i][3]);
            usage_counter_add(&counter, &identity, &usage);
        }
    add_at(&counter, HOUR_MS + USAGE_HOUR_MS, "m", 1, 0);
    ck_assert_uint_eq(look(false).cells, 7);
    ck_assert_uint_eq(look(false).sums[USAGE_INPUT], 13);
}
END_TEST

/* Cells whose counts are written are used for the next hour, others are not. */
START_TEST(test_reuse)
{
    char model[16];
    unsigned used;

    for (int i = 0; i < 10; i++) {
        snprintf(model, sizeof(model), "m%d", i);
        add(model, 1, 0);
    }
    used = atomic_load(&cells->used[3]);
    ck_assert_uint_eq(look(true).cells, 10);
    for (int hour = 1; hour < 50; hour++) {
        for (int i = 0; i < 10; i++) {
            snprintf(model, sizeof(model), "m%d", i);
            add_at(&counter, HOUR_MS + hour * USAGE_HOUR_MS, model, 1, 0);
        }
        ck_assert_uint_eq(look(true).sums[USAGE_INPUT], 10);
    }
    ck_assert_uint_eq(atomic_load(&cells->used[3]), used);
    add_at(&counter, HOUR_MS + 50 * USAGE_HOUR_MS, "m", 1, 0);
    add_at(&counter, HOUR_MS + 51 * USAGE_HOUR_MS, "m", 1, 0);
    ck_assert_uint_eq(look(true).cells, 2);
}
END_TEST

static uint64_t sum_of(const char *model, bool whole)
{
    struct usage_cursor cursor = {0};
    struct usage_pending pending;
    uint64_t sum = 0;

    while (usage_cells_next(cells, &cursor, &pending)) {
        const struct usage_identity *identity = &pending.cell->identity;

        if (strcmp(identity->model, model) == 0 &&
            whole == (strcmp(identity->client, USAGE_OTHER) == 0 && strcmp(identity->key, USAGE_OTHER) == 0 &&
                      strcmp(identity->provider, USAGE_OTHER) == 0))
            sum += pending.counts[USAGE_INPUT];
    }
    return sum;
}

/* Too many names while nothing can be written: first the model is lost, then all names, never a count. */
START_TEST(test_full)
{
    char name[16];
    struct usage_identity identity;
    const struct usage usage = {.input = 1};
    uint64_t others;

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "m%d", i);
        add(name, 1, 0);
    }
    ck_assert_uint_eq(look(false).sums[USAGE_INPUT], 1000);
    ck_assert_uint_eq(sum_of("m0", false), 1);
    others = sum_of(USAGE_OTHER, false);
    ck_assert_uint_gt(others, 800);
    ck_assert_uint_eq(sum_of(USAGE_OTHER, true), 0);
    ck_assert_str_eq(look(false).last.client, "c");
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        usage_identify(&identity, HOUR_MS, "p", name, "k", "m");
        usage_counter_add(&counter, &identity, &usage);
    }
    ck_assert_uint_eq(look(false).sums[USAGE_INPUT], 2000);
    ck_assert_uint_gt(sum_of(USAGE_OTHER, true), 900);
    /* Of the next hour, too, and those that have a cell keep it. */
    add_at(&counter, HOUR_MS + USAGE_HOUR_MS, "m0", 1, 0);
    add("m0", 1, 0);
    ck_assert_uint_eq(look(false).sums[USAGE_INPUT], 2002);
    ck_assert_uint_eq(sum_of("m0", false), 2);
    ck_assert_uint_eq(look(false).cells, USAGE_CELLS);
    ck_assert_uint_eq(look(true).sums[USAGE_REQUESTS], 2002);
    add_at(&counter, HOUR_MS + USAGE_HOUR_MS, "m0", 1, 0);
    ck_assert_uint_eq(look(false).cells, 1);
    ck_assert_str_eq(look(false).last.model, "m0");
    ck_assert_int_eq(look(true).last.hour, HOUR_MS / 1000 + 3600);
}
END_TEST

/* The next worker of the slot goes on with what the one before has left, and half an identity is none. */
START_TEST(test_next_worker)
{
    struct usage_counter next;

    add("a", 1, 0);
    add("b", 1, 0);
    add("c", 1, 0);
    look(true);
    add("b", 1, 0);
    memset(&cells->cells[3][1].identity, 'x', 100);
    usage_counter_init(&next, cells, 3);
    add_at(&next, HOUR_MS, "b", 10, 0);
    add_at(&next, HOUR_MS, "d", 100, 0);
    ck_assert_uint_eq(look(false).cells, 2);
    ck_assert_uint_eq(sum_of("b", false), 11);
    ck_assert_uint_eq(sum_of("d", false), 100);
    ck_assert_uint_eq(atomic_load(&cells->used[3]), 4);
}
END_TEST

START_TEST(test_slots)
{
    struct usage_counter other;

    usage_counter_init(&other, cells, USAGE_SLOTS - 1);
    add("m", 1, 0);
    add_at(&other, HOUR_MS, "m", 2, 0);
    ck_assert_uint_eq(look(false).cells, 2);
    ck_assert_uint_eq(look(true).sums[USAGE_INPUT], 3);
}
END_TEST

/* Pages of cells that nobody used are not made by looking for some. */
START_TEST(test_memory)
{
    struct stat st;
    int fd;
    struct shared *pages = shared_make(&fd);

    ck_assert_ptr_nonnull(pages);
    usage_counter_init(&counter, &pages->usage, 300);
    add("m", 1, 0);
    cells = &pages->usage;
    ck_assert_uint_eq(look(true).cells, 1);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_gt(st.st_size, 10 * 1024 * 1024);
    ck_assert_int_lt(st.st_blocks * 512, 64 * 1024);
    shared_free(&pages);
    close(fd);
}
END_TEST

START_TEST(test_one_writer)
{
    ck_assert(usage_cells_hold(cells, 10, 5000));
    ck_assert(usage_cells_hold(cells, 10, 5000));
    ck_assert(!usage_cells_hold(cells, 11, 5000));
    usage_cells_let_go(cells, 11);
    ck_assert(!usage_cells_hold(cells, 11, 6000));
    usage_cells_let_go(cells, 10);
    ck_assert(usage_cells_hold(cells, 11, 6000));
    /* One that says nothing for long is gone; one that is late finds that out. */
    ck_assert(usage_cells_hold(cells, 11, 50000));
    ck_assert(!usage_cells_hold(cells, 12, 50000 + USAGE_LEASE_S * 1000 - 1000));
    ck_assert(usage_cells_hold(cells, 12, 50000 + USAGE_LEASE_S * 1000));
    ck_assert(!usage_cells_hold(cells, 11, 50000 + USAGE_LEASE_S * 1000));
    usage_cells_let_go(cells, 11);
    ck_assert(!usage_cells_hold(cells, 11, 50000 + USAGE_LEASE_S * 1000));
}
END_TEST

#define MODELS 40
#define ROUNDS 100000

/* The model's number is what each of its answers has as output, so that a count under a wrong name shows. */
static void add_many(unsigned slot)
{
    struct usage_counter mine;
    char model[16];

    usage_counter_init(&mine, cells, slot);
    for (unsigned i = 0; i < ROUNDS; i++) {
        snprintf(model, sizeof(model), "%u", i % MODELS);
        add_at(&mine, HOUR_MS + i / 500 * USAGE_HOUR_MS, model, 1, i % MODELS);
    }
}

static void take(struct usage_pending *pending, uint64_t requests[MODELS + 1], uint64_t outputs[MODELS + 1])
{
    const char *model = pending->cell->identity.model;
    size_t i = strcmp(model, USAGE_OTHER) == 0 ? MODELS : strtoul(model, NULL, 10);

    ck_assert_uint_le(i, MODELS);
    requests[i] += pending->counts[USAGE_INPUT];
    outputs[i] += pending->counts[USAGE_OUTPUT];
    usage_cells_written(pending);
}

START_TEST(test_at_once)
{
    uint64_t requests[MODELS + 1] = {0};
    uint64_t outputs[MODELS + 1] = {0};
    uint64_t total = 0;
    uint64_t output = 0;
    pid_t pids[2];
    int alive = 2;

    for (unsigned i = 0; i < 2; i++) {
        pids[i] = fork();
        ck_assert_int_ge(pids[i], 0);
        if (pids[i] == 0) {
            add_many(i * 7);
            _exit(0);
        }
    }
    for (bool last = false; !last;) {
        struct usage_cursor cursor = {0};
        struct usage_pending pending;
        int status;

        last = alive == 0;
        while (usage_cells_next(cells, &cursor, &pending))
            take(&pending, requests, outputs);
        if (alive > 0 && waitpid(-1, &status, WNOHANG) > 0) {
            ck_assert_int_eq(status, 0);
            alive--;
        }
    }
    for (size_t i = 0; i <= MODELS; i++) {
        if (i < MODELS)
            ck_assert_msg(outputs[i] == i * requests[i], "model %zu: %llu of %llu", i,
                          (unsigned long long)outputs[i], (unsigned long long)requests[i]);
        total += requests[i];
        output += outputs[i];
    }
    ck_assert_uint_eq(total, 2 * ROUNDS);
    ck_assert_uint_eq(output, 2 * (uint64_t)ROUNDS / MODELS * (MODELS * (MODELS - 1) / 2));
    ck_assert_uint_lt(requests[MODELS], total); /* some cells were used again */
}
END_TEST

/* A worker that is killed at any point loses nothing that it has counted. */
START_TEST(test_killed)
{
    uint64_t total = 0;
    unsigned done = 0;

    for (int round = 0; round < 20; round++) {
        int says[2];
        char byte;
        pid_t pid;
        unsigned told = 0;

        ck_assert_int_eq(pipe(says), 0);
        pid = fork();
        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            usage_counter_init(&counter, cells, 3);
            for (unsigned i = 0;; i++) {
                char model[16];

                snprintf(model, sizeof(model), "%u", i % 60);
                add(model, 1, 0);
                if (write(says[1], "x", 1) != 1)
                    _exit(1);
            }
        }
        close(says[1]);
        while (told < 100 + (unsigned)round * 13 && read(says[0], &byte, 1) == 1)
            told++;
        kill(pid, SIGKILL);
        ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
        while (read(says[0], &byte, 1) == 1)
            told++;
        close(says[0]);
        done += told;
        total += look(true).sums[USAGE_INPUT];
        /* One more may be counted and not told. */
        ck_assert_uint_ge(total, done);
        ck_assert_uint_le(total, done + (unsigned)round + 1);
    }
    usage_counter_init(&counter, cells, 3);
    add("m", 1, 0);
    ck_assert_uint_eq(look(true).cells, 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("usage_cells");
    TCase *tcase = tcase_create("usage_cells");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_identify);
    tcase_add_test(tcase, test_counts);
    tcase_add_test(tcase, test_what_comes_meanwhile);
    tcase_add_test(tcase, test_identities);
    tcase_add_test(tcase, test_reuse);
    tcase_add_test(tcase, test_full);
    tcase_add_test(tcase, test_next_worker);
    tcase_add_test(tcase, test_slots);
    tcase_add_test(tcase, test_memory);
    tcase_add_test(tcase, test_one_writer);
    tcase_add_test(tcase, test_at_once);
    tcase_add_test(tcase, test_killed);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
