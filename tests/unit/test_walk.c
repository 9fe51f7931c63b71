/* test_walk: in order, over valid keys, forward only; and why it ended. */
#include "core/walk.h"

#include "unit/suite.h"

#include <stdint.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const struct key keys[4];
static struct pool pool;

static void setup(void)
{
    ck_assert_int_eq(pool_init(&pool, "openai", keys, 4), 0);
}

static void teardown(void)
{
    pool_fini(&pool);
}

START_TEST(takes_keys_in_order)
{
    struct walk walk;

    walk_start(&walk, &pool);
    for (long i = 0; i < 4; i++)
        ck_assert_int_eq(walk_next(&walk, 1000), i);
    ck_assert_uint_eq(walk.attempts, 4);
    ck_assert_int_eq(walk_next(&walk, 1000), -1);
    ck_assert_int_eq(walk_next(&walk, 1000), -1);
    ck_assert_uint_eq(walk.attempts, 4);
}
END_TEST

START_TEST(begins_with_the_first_each_time)
{
    struct walk walk;

    walk_start(&walk, &pool);
    ck_assert_int_eq(walk_next(&walk, 1000), 0);
    ck_assert_int_eq(walk_next(&walk, 1000), 1);
    walk_start(&walk, &pool);
    ck_assert_int_eq(walk_next(&walk, 1000), 0);
    ck_assert_uint_eq(walk.attempts, 1);
}
END_TEST

START_TEST(skips_what_is_not_valid)
{
    struct walk walk;

    pool.states[0].until_ms = 1001;
    pool.states[1].until_ms = 1000; /* over */
    pool.states[2].permanent = true;
    walk_start(&walk, &pool);
    ck_assert_int_eq(walk_next(&walk, 1000), 1);
    ck_assert_int_eq(walk_next(&walk, 1000), 3);
    ck_assert_int_eq(walk_next(&walk, 1000), -1);
    ck_assert_uint_eq(walk.attempts, 2);
}
END_TEST

START_TEST(never_goes_back)
{
    struct walk walk;

    pool.states[0].until_ms = 2000;
    walk_start(&walk, &pool);
    ck_assert_int_eq(walk_next(&walk, 1000), 1);
    ck_assert_int_eq(walk_next(&walk, 9000), 2); /* 0 is valid by now */
    ck_assert_int_eq(walk_next(&walk, 9000), 3);
    ck_assert_int_eq(walk_next(&walk, 9000), -1);
}
END_TEST

/* What other processes mark while the walk goes on counts at once, and so does a recovery ahead. */
START_TEST(sees_changes_ahead)
{
    struct walk walk;

    pool.states[3].until_ms = 5000;
    walk_start(&walk, &pool);
    ck_assert_int_eq(walk_next(&walk, 1000), 0);
    pool.states[1].permanent = true;
    ck_assert_int_eq(walk_next(&walk, 1000), 2);
    ck_assert_int_eq(walk_next(&walk, 5000), 3);
}
END_TEST

START_TEST(empty_pool)
{
    struct pool none;
    struct walk walk;
    struct exhausted why;

    ck_assert_int_eq(pool_init(&none, "x", NULL, 0), 0);
    walk_start(&walk, &none);
    ck_assert_int_eq(walk_next(&walk, 0), -1);
    walk_exhausted(&walk, 0, &why);
    ck_assert_int_eq(why.kind, EXHAUSTED_REJECTED);
    pool_fini(&none);
}
END_TEST

static const struct {
    struct key_state states[4];
    int64_t now_ms;
    enum exhausted_kind kind;
    int64_t retry_after_s;
} ends[] = {
    {{{false, 4000}, {false, 9000}, {false, 9000}, {false, 9000}}, 1000, EXHAUSTED_RATE_LIMITED, 3},
    {{{false, 9000}, {false, 4001}, {false, 9000}, {false, 9000}}, 1000, EXHAUSTED_RATE_LIMITED, 4},
    {{{false, 9000}, {false, 9000}, {false, 3999}, {false, 9000}}, 1000, EXHAUSTED_RATE_LIMITED, 3},
    {{{false, 1001}, {false, 9000}, {false, 9000}, {false, 9000}}, 1000, EXHAUSTED_RATE_LIMITED, 1},
    {{{false, 2000}, {false, 9000}, {false, 9000}, {false, 9000}}, 1000, EXHAUSTED_RATE_LIMITED, 1},
    {{{false, 2001}, {false, 9000}, {false, 9000}, {false, 9000}}, 1000, EXHAUSTED_RATE_LIMITED, 2},
    {{{true, 0}, {true, 0}, {true, 0}, {false, 61000}}, 1000, EXHAUSTED_RATE_LIMITED, 60},
    {{{true, 0}, {true, 1500}, {true, 9000}, {true, 0}}, 1000, EXHAUSTED_REJECTED, 0},
    /* recovered behind the walk: come again at once, whatever the others say */
    {{{false, 1000}, {false, 9000}, {false, 9000}, {false, 9000}}, 1000, EXHAUSTED_RATE_LIMITED, 1},
    {{{false, 0}, {true, 0}, {true, 0}, {true, 0}}, 1000, EXHAUSTED_RATE_LIMITED, 1},
    {{{false, INT64_MAX}, {true, 0}, {true, 0}, {true, 0}}, 0, EXHAUSTED_RATE_LIMITED, INT64_MAX / 1000 + 1},
};

START_TEST(why_it_ended)
{
    struct walk walk;
    struct exhausted why;

    for (size_t i = 0; i < 4; i++)
        pool.states[i] = ends[_i].states[i];
    walk_start(&walk, &pool);
    walk_exhausted(&walk, ends[_i].now_ms, &why);
    ck_assert_int_eq(why.kind, ends[_i].kind);
    ck_assert_int_eq(why.retry_after_s, ends[_i].retry_after_s);
    ck_assert_uint_eq(why.summary.valid + why.summary.temporary + why.summary.permanent, 4);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("walk");
    TCase *tc = tcase_create("walk");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, takes_keys_in_order);
    tcase_add_test(tc, begins_with_the_first_each_time);
    tcase_add_test(tc, skips_what_is_not_valid);
    tcase_add_test(tc, never_goes_back);
    tcase_add_test(tc, sees_changes_ahead);
    tcase_add_test(tc, empty_pool);
    tcase_add_loop_test(tc, why_it_ended, 0, COUNT(ends));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
