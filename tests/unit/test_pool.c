/* test_pool: order, finding a key by its id, and the summary. */
#include "core/pool.h"

#include "unit/suite.h"

#include <stdint.h>
#include <stdlib.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static const struct key keys[] = {
    {.id = "00000000000000aa", .hint = "a...a"},
    {.id = "00000000000000bb", .hint = "b...b"},
    {.id = "00000000000000cc", .hint = "c...c"},
    {.id = "00000000000000dd", .hint = "d...d"},
};

START_TEST(begins_valid)
{
    struct pool pool;
    struct pool_summary sum;

    ck_assert_int_eq(pool_init(&pool, "openai", keys, 4), 0);
    ck_assert_str_eq(pool.provider, "openai");
    ck_assert_ptr_eq(pool.keys, keys);
    pool_summarize(&pool, 0, &sum);
    ck_assert_uint_eq(sum.valid, 4);
    pool_fini(&pool);
    ck_assert_ptr_null(pool.states);
    ck_assert_uint_eq(pool.count, 0);
}
END_TEST

START_TEST(finds_by_id)
{
    struct pool pool;

    ck_assert_int_eq(pool_init(&pool, "openai", keys, 4), 0);
    ck_assert_int_eq(pool_find(&pool, "00000000000000aa"), 0);
    ck_assert_int_eq(pool_find(&pool, "00000000000000dd"), 3);
    ck_assert_int_eq(pool_find(&pool, "00000000000000ee"), -1);
    ck_assert_int_eq(pool_find(&pool, "00000000000000a"), -1);
    ck_assert_int_eq(pool_find(&pool, ""), -1);
    pool_fini(&pool);
}
END_TEST

START_TEST(may_be_empty)
{
    struct pool pool;
    struct pool_summary sum = {9, 9, 9, 9};

    ck_assert_int_eq(pool_init(&pool, "copilot", NULL, 0), 0);
    ck_assert_int_eq(pool_find(&pool, "00000000000000aa"), -1);
    pool_summarize(&pool, 5, &sum);
    ck_assert_uint_eq(sum.valid + sum.temporary + sum.permanent, 0);
    ck_assert_int_eq(sum.next_ms, 0);
    pool_fini(&pool);
}
END_TEST

START_TEST(out_of_memory)
{
    struct pool pool;

    ck_assert_int_eq(pool_init(&pool, "openai", keys, SIZE_MAX), -1);
    ck_assert_uint_eq(pool.count, 0);
    pool_fini(&pool);
}
END_TEST

static const struct {
    struct key_state states[4];
    int64_t now_ms;
    struct pool_summary sum;
} cases[] = {
    {{{false, 0}, {false, 900}, {true, 0}, {false, 1500}}, 1000, {2, 1, 1, 500}},
    {{{false, 9000}, {false, 3000}, {false, 5000}, {false, 4000}}, 1000, {0, 4, 0, 2000}},
    {{{false, 1001}, {false, 3000}, {false, 5000}, {false, 4000}}, 1000, {0, 4, 0, 1}},
    {{{false, 1000}, {false, 3000}, {false, 5000}, {false, 4000}}, 1000, {1, 3, 0, 2000}},
    {{{true, 1001}, {false, 3000}, {true, 0}, {true, 0}},
     1000,
     {0, 1, 3, 2000}}, /* a permanent one's rest is none */
    {{{true, 0}, {true, 0}, {true, 0}, {true, 9000}}, 1000, {0, 0, 4, 0}},
    {{{false, INT64_MAX}, {true, 0}, {true, 0}, {true, 0}}, 0, {0, 1, 3, INT64_MAX}},
};

START_TEST(summary)
{
    struct pool pool;
    struct pool_summary sum;

    ck_assert_int_eq(pool_init(&pool, "openai", keys, 4), 0);
    for (size_t i = 0; i < 4; i++)
        pool.states[i] = cases[_i].states[i];
    pool_summarize(&pool, cases[_i].now_ms, &sum);
    ck_assert_uint_eq(sum.valid, cases[_i].sum.valid);
    ck_assert_uint_eq(sum.temporary, cases[_i].sum.temporary);
    ck_assert_uint_eq(sum.permanent, cases[_i].sum.permanent);
    ck_assert_int_eq(sum.next_ms, cases[_i].sum.next_ms);
    pool_fini(&pool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pool");
    TCase *tc = tcase_create("pool");

    tcase_add_test(tc, begins_valid);
    tcase_add_test(tc, finds_by_id);
    tcase_add_test(tc, may_be_empty);
    tcase_add_test(tc, out_of_memory);
    tcase_add_loop_test(tc, summary, 0, COUNT(cases));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
