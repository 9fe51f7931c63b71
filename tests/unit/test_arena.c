/* test_arena: alignment, blocks that do not overlap, release in one go. */
#include "base/arena.h"

#include "unit/suite.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* Around nothing, the alignment, a quarter of a chunk, a chunk and beyond. */
static const size_t sizes[] = {1,    0,    7,    15,   16,   17,   64, 990,  1000,  1001,  1008, 3,  3980,
                               3984, 3990, 3999, 4000, 4001, 4096, 5,  5000, 10000, 70000, 1,    24, 33};
#define SIZES (sizeof(sizes) / sizeof(sizes[0]))

START_TEST(blocks_are_aligned_and_apart)
{
    struct arena a = {0};
    unsigned char *blocks[40][SIZES];

    for (size_t round = 0; round < 40; round++) {
        for (size_t i = 0; i < SIZES; i++) {
            blocks[round][i] = arena_alloc(&a, sizes[i]);
            ck_assert_ptr_nonnull(blocks[round][i]);
            ck_assert_uint_eq((uintptr_t)blocks[round][i] % _Alignof(max_align_t), 0);
            memset(blocks[round][i], (int)(round * SIZES + i) % 251, sizes[i]);
        }
    }
    size_t wrong = 0;
    for (size_t round = 0; round < 40; round++)
        for (size_t i = 0; i < SIZES; i++)
            for (size_t k = 0; k < sizes[i]; k++)
                wrong += blocks[round][i][k] != (round * SIZES + i) % 251;
    ck_assert_uint_eq(wrong, 0);
    arena_fini(&a);
    ck_assert_ptr_null(a.chunks);
}
END_TEST

START_TEST(usable_after_fini)
{
    struct arena a = {0};

    arena_fini(&a);
    ck_assert_str_eq(arena_strndup(&a, "one", 3), "one");
    arena_fini(&a);
    ck_assert_str_eq(arena_strndup(&a, "two", 3), "two");
    arena_fini(&a);
}
END_TEST

START_TEST(copies)
{
    struct arena a = {0};

    ck_assert_str_eq(arena_strndup(&a, "abcdef", 3), "abc");
    ck_assert_str_eq(arena_strndup(&a, NULL, 0), "");
    char *whole = arena_strndup(&a, "a\0b", 3);
    ck_assert_mem_eq(whole, "a\0b", 4);
    arena_fini(&a);
}
END_TEST

START_TEST(prints)
{
    struct arena a = {0};

    ck_assert_str_eq(arena_printf(&a, "%s-%d", "x", 7), "x-7");
    ck_assert_str_eq(arena_printf(&a, "%s", ""), "");
    char *wide = arena_printf(&a, "%20000d", 1);
    ck_assert_uint_eq(strlen(wide), 20000);
    ck_assert_int_eq(wide[19999], '1');
    arena_fini(&a);
}
END_TEST

/* A large block does not waste the rest of the chunk in use. */
START_TEST(large_blocks_stand_aside)
{
    struct arena a = {0};
    char *before = arena_alloc(&a, 16);
    struct arena_chunk *head = a.chunks;

    ck_assert_ptr_nonnull(arena_alloc(&a, 50000));
    ck_assert_ptr_eq(a.chunks, head);
    char *after = arena_alloc(&a, 16);
    ck_assert_ptr_eq(after, before + 16);
    arena_fini(&a);
}
END_TEST

static const size_t impossible[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 16, SIZE_MAX - 40, SIZE_MAX / 2 + 100};

START_TEST(too_much_is_null)
{
    struct arena a = {0};

    ck_assert_ptr_null(arena_alloc(&a, impossible[_i]));
    ck_assert_ptr_null(arena_strndup(&a, "x", SIZE_MAX));
    ck_assert_str_eq(arena_strndup(&a, "fine", 4), "fine");
    ck_assert_ptr_null(arena_alloc(&a, impossible[_i]));
    arena_fini(&a);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("arena");
    TCase *tc = tcase_create("arena");

    tcase_add_test(tc, blocks_are_aligned_and_apart);
    tcase_add_test(tc, usable_after_fini);
    tcase_add_test(tc, copies);
    tcase_add_test(tc, prints);
    tcase_add_test(tc, large_blocks_stand_aside);
    tcase_add_loop_test(tc, too_much_is_null, 0, (int)(sizeof(impossible) / sizeof(impossible[0])));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
