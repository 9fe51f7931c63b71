/*
 * Tests of shared: the slots of newest marks, and what several processes may do to them at once.
 */
#include "io/shared.h"

#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static struct shared *shared;

static void setup(void)
{
    shared = shared_new();
    ck_assert_ptr_nonnull(shared);
}

static void teardown(void)
{
    shared_free(&shared);
    ck_assert_ptr_null(shared);
}

START_TEST(test_pages_are_zeroed)
{
    ck_assert_uint_eq(atomic_load(&shared->key_generation), 0);
    ck_assert_int_eq(atomic_load(&shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(atomic_load(&shared->workers[SHARED_WORKERS_MAX - 1].phase), WORKER_FREE);
    ck_assert_uint_eq(atomic_load(&shared->keys[SHARED_KEYS_MAX - 1].id), 0);
}
END_TEST

/* A second mapping sees what the first one writes, also after the descriptor is closed. */
START_TEST(test_passed_on)
{
    int fd;
    struct shared *first = shared_make(&fd);
    struct shared *second;

    ck_assert_ptr_nonnull(first);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    second = shared_map(fd);
    ck_assert_ptr_nonnull(second);
    close(fd);
    atomic_store(&first->key_generation, 42);
    ck_assert_uint_eq(atomic_load(&second->key_generation), 42);
    shared_free(&first);
    shared_free(&second);
}
END_TEST

/* Pages of another version are refused, whatever differs. */
START_TEST(test_other_layout)
{
    int fd;
    struct shared *pages = shared_make(&fd);

    ck_assert_ptr_nonnull(pages);
    pages->layout = SHARED_LAYOUT + 1;
    ck_assert_ptr_null(shared_map(fd));
    ck_assert_int_eq(errno, EPROTO);
    pages->layout = SHARED_LAYOUT;
    pages->size--;
    ck_assert_ptr_null(shared_map(fd));
    ck_assert_int_eq(errno, EPROTO);
    /* No process can take pages away from the others. */
    ck_assert_int_eq(ftruncate(fd, 4096), -1);
    shared_free(&pages);
    close(fd);

    fd = memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    ck_assert_int_eq(ftruncate(fd, 4096), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    ck_assert_ptr_null(shared_map(fd));
    ck_assert_int_eq(errno, EPROTO);
    close(fd);
    ck_assert_ptr_null(shared_map(-1));
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

START_TEST(test_slot_belongs_to_both_names)
{
    struct shared_key *slot = shared_key_slot(shared, "openai", "0123456789abcdef");

    ck_assert_ptr_nonnull(slot);
    ck_assert_ptr_eq(slot, shared_key_slot(shared, "openai", "0123456789abcdef"));
    ck_assert_ptr_ne(slot, shared_key_slot(shared, "anthropic", "0123456789abcdef"));
    ck_assert_ptr_ne(slot, shared_key_slot(shared, "openai", "0123456789abcdee"));
    ck_assert_ptr_ne(shared_key_slot(shared, "ab", "c"), shared_key_slot(shared, "a", "bc"));
}
END_TEST

START_TEST(test_slots_come_to_an_end)
{
    char id[17];

    for (unsigned i = 0; i < SHARED_KEYS_MAX; i++) {
        snprintf(id, sizeof(id), "%016x", i);
        ck_assert_ptr_nonnull(shared_key_slot(shared, "p", id));
    }
    ck_assert_ptr_null(shared_key_slot(shared, "p", "one too many"));
    ck_assert_ptr_nonnull(shared_key_slot(shared, "p", "0000000000000007"));
}
END_TEST

/* A first mark, then a second one; the first one written before the second or not. */
static const struct {
    struct shared_mark first;
    bool written;
    struct shared_mark second;
    struct shared_mark result;
} marks[] = {
    {{false, 1000, 429, 0}, false, {false, 2000, 429, 0}, {false, 2000, 429, 0}},
    {{false, 2000, 429, 0}, false, {false, 1000, 403, 0}, {false, 2000, 429, 0}},
    {{false, 2000, 429, 0}, false, {true, 0, 401, 0}, {true, 2000, 401, 0}},
    {{true, 0, 401, 0}, false, {false, 5000, 429, 0}, {true, 5000, 401, 0}},
    {{true, 0, 401, 0}, false, {true, 0, 403, 0}, {true, 0, 401, 0}},
    {{false, 2000, 429, 0}, true, {false, 1000, 403, 0}, {false, 1000, 403, 0}},
    {{true, 0, 401, 0}, true, {false, 1000, 429, 0}, {false, 1000, 429, 0}},
    {{false, 1, 1023, 0},
     true,
     {false, INT64_C(17592186044415), 599, 0},
     {false, INT64_C(17592186044415), 599, 0}},
    {{false, 1, 429, 0}, true, {false, INT64_MAX, 4096, 0}, {false, INT64_C(17592186044415), 0, 0}},
    {{false, 1, 429, 0}, true, {false, -5, -1, 0}, {false, 0, 0, 0}},
    /* The wall clock was set back by a day in between: the first still ends after the second. */
    {{false, 1000060000, 429, 1000000000},
     false,
     {false, 913630000, 403, 913600000},
     {false, 913660000, 429, 913600000}},
};

START_TEST(test_marks_merge)
{
    struct shared_key *slot = shared_key_slot(shared, "p", "k");
    struct shared_mark mark;
    uint64_t seen;
    int64_t when;

    ck_assert(!shared_key_dirty(slot, &mark, &seen));
    ck_assert(!shared_key_last(slot, &mark, &when));
    shared_key_mark(slot, &marks[_i].first, 10);
    ck_assert(shared_key_dirty(slot, &mark, &seen));
    if (marks[_i].written) {
        shared_key_written(slot, seen);
        ck_assert(!shared_key_dirty(slot, &mark, &seen));
        ck_assert(shared_key_last(slot, &mark, &when));
        ck_assert_int_eq(mark.until_real_ms, marks[_i].first.until_real_ms);
    }
    shared_key_mark(slot, &marks[_i].second, 20);
    ck_assert(shared_key_dirty(slot, &mark, &seen));
    ck_assert_int_eq(mark.permanent, marks[_i].result.permanent);
    ck_assert_int_eq(mark.until_real_ms, marks[_i].result.until_real_ms);
    ck_assert_int_eq(mark.status, marks[_i].result.status);
    ck_assert(shared_key_last(slot, &mark, &when));
    ck_assert_int_eq(when, 20);
}
END_TEST

START_TEST(test_deadline_after_a_jump)
{
    static const struct {
        int64_t until;
        int64_t lead;
        int64_t real; /* now; the monotonic clock says 5000 */
        int64_t result;
    } cases[] = {
        {1060000, 1000000, 1005000, 1060000},     {1060000, 1000000, 1005010, 1060000},
        {1060000, 1000000, 1005011, 1060011},     {1060000, 1000000, 87405000, 87460000},
        {1060000, 1000000, 705000, 760000},       {0, 1000000, 705000, 0},
        {1060000, 0 /* not known */, 5, 1060000},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct shared_mark mark = {.until_real_ms = cases[i].until, .lead_ms = cases[i].lead};

        ck_assert_int_eq(shared_mark_until(&mark, 5000, cases[i].real), cases[i].result);
    }
}
END_TEST

START_TEST(test_written_only_what_was_seen)
{
    struct shared_key *slot = shared_key_slot(shared, "p", "k");
    struct shared_mark mark = {.until_real_ms = 1000, .status = 429};
    struct shared_mark out;
    uint64_t first;
    uint64_t second;

    shared_key_mark(slot, &mark, 1);
    ck_assert(shared_key_dirty(slot, &out, &first));
    /* The same mark once more is another one. */
    shared_key_mark(slot, &mark, 2);
    shared_key_written(slot, first);
    ck_assert(shared_key_dirty(slot, &out, &second));
    ck_assert_uint_ne(first, second);
    shared_key_written(slot, second);
    ck_assert(!shared_key_dirty(slot, &out, &second));
}
END_TEST

START_TEST(test_count_comes_around)
{
    struct shared_key *slot = shared_key_slot(shared, "p", "k");
    struct shared_mark mark = {0};
    struct shared_mark out;
    int64_t when;
    uint64_t seen;

    /* A mark of nothing but zeros is a mark too, however often it is made. */
    for (int i = 0; i < 600; i++) {
        shared_key_mark(slot, &mark, i);
        ck_assert(shared_key_dirty(slot, &out, &seen));
        shared_key_written(slot, seen);
        ck_assert(shared_key_last(slot, &out, &when));
    }
}
END_TEST

START_TEST(test_redo)
{
    struct shared_key *slot = shared_key_slot(shared, "p", "k");
    struct shared_mark mark = {.permanent = true, .status = 401};
    struct shared_mark out;
    uint64_t seen;
    uint64_t again;

    shared_key_redo(slot);
    ck_assert(!shared_key_dirty(slot, &out, &seen));
    shared_key_mark(slot, &mark, 1);
    ck_assert(shared_key_dirty(slot, &out, &seen));
    shared_key_redo(slot);
    ck_assert(shared_key_dirty(slot, &out, &again));
    ck_assert_uint_eq(seen, again);
    shared_key_written(slot, seen);
    shared_key_redo(slot);
    ck_assert(shared_key_dirty(slot, &out, &again));
    ck_assert(out.permanent);
    ck_assert_int_eq(out.status, 401);
    /* Who still holds the old word cannot clean it. */
    shared_key_written(slot, seen);
    ck_assert(shared_key_dirty(slot, &out, &again));
}
END_TEST

START_TEST(test_condition)
{
    ck_assert(!shared_database_is(shared, DATABASE_OK, 1));
    ck_assert(shared_database_is(shared, DATABASE_BUSY, 2));
    ck_assert(!shared_database_is(shared, DATABASE_BUSY, 3));
    ck_assert_int_eq(atomic_load(&shared->database_since_ms), 2);
    ck_assert(shared_database_is(shared, DATABASE_FAILING, 4));
    ck_assert(!shared_database_is(shared, DATABASE_BUSY, 5));
    ck_assert_int_eq(atomic_load(&shared->database_condition), DATABASE_FAILING);
    ck_assert(shared_database_is(shared, DATABASE_OK, 6));
    ck_assert_int_eq(atomic_load(&shared->database_since_ms), 6);
}
END_TEST

#define MARKERS 4
#define ROUNDS  20000

/* Marks and cleans one slot; each deadline is above all that this process made before. */
static void hammer(int number)
{
    struct shared_key *slot = shared_key_slot(shared, "p", "contended");
    struct shared_mark out;
    uint64_t seen;

    for (int i = 1; i <= ROUNDS; i++) {
        struct shared_mark mark = {.until_real_ms = i * MARKERS + number, .status = 429};

        shared_key_mark(slot, &mark, i);
        if (!shared_key_dirty(slot, &out, &seen) || out.until_real_ms < mark.until_real_ms)
            _exit(1);
    }
}

START_TEST(test_processes_at_once)
{
    struct shared_key *slot;
    struct shared_mark out;
    uint64_t seen;

    for (int i = 0; i < MARKERS; i++) {
        pid_t pid = fork();

        ck_assert_int_ge(pid, 0);
        if (pid == 0) {
            hammer(i);
            _exit(0);
        }
    }
    for (int i = 0; i < MARKERS; i++) {
        int status = 0;

        ck_assert_int_gt(wait(&status), 0);
        ck_assert_int_eq(status, 0);
    }
    slot = shared_key_slot(shared, "p", "contended");
    ck_assert(shared_key_dirty(slot, &out, &seen));
    ck_assert_int_eq(out.until_real_ms, ROUNDS * MARKERS + MARKERS - 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("shared");
    TCase *tcase = tcase_create("shared");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_pages_are_zeroed);
    tcase_add_test(tcase, test_passed_on);
    tcase_add_test(tcase, test_other_layout);
    tcase_add_test(tcase, test_slot_belongs_to_both_names);
    tcase_add_test(tcase, test_slots_come_to_an_end);
    tcase_add_loop_test(tcase, test_marks_merge, 0, (int)(sizeof(marks) / sizeof(marks[0])));
    tcase_add_test(tcase, test_written_only_what_was_seen);
    tcase_add_test(tcase, test_deadline_after_a_jump);
    tcase_add_test(tcase, test_count_comes_around);
    tcase_add_test(tcase, test_redo);
    tcase_add_test(tcase, test_condition);
    tcase_add_test(tcase, test_processes_at_once);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
