/* test_recycle: blocks hold what they should, are kept by their size, and may be freed by any thread. */
#include "base/recycle.h"

#include "unit/suite.h"

#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
static const bool keeps = false; /* see recycle.h */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
static const bool keeps = false;
#else
static const bool keeps = true;
#endif
#else
static const bool keeps = true;
#endif

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

START_TEST(every_size_is_there_and_aligned)
{
    recycle_begin();
    for (size_t size = 0; size < 3 * 1024 * 1024; size = size < 600 ? size + 1 : size + size / 7) {
        for (int round = 0; round < 2; round++) { /* the second one gets the block of the first */
            unsigned char *a = recycle_malloc(size);
            unsigned char *b = recycle_malloc(size);
            ck_assert_ptr_nonnull(a);
            ck_assert_ptr_nonnull(b);
            ck_assert_uint_eq((uintptr_t)a % _Alignof(max_align_t), 0);
            memset(a, 1, size);
            memset(b, 2, size);
            size_t wrong = 0;
            for (size_t i = 0; i < size; i++)
                wrong += a[i] != 1 || b[i] != 2;
            ck_assert_uint_eq(wrong, 0);
            recycle_free(a);
            recycle_free(b);
        }
    }
    recycle_end();
}
END_TEST

START_TEST(a_freed_block_is_used_again)
{
    recycle_begin();
    void *first = recycle_malloc(100);
    recycle_free(first);
    void *second = recycle_malloc(112); /* of the same class */
    ck_assert(!keeps || first == second);
    void *third = recycle_malloc(113); /* not any more */
    ck_assert_ptr_ne(second, third);
    recycle_free(second);
    recycle_free(third);
    recycle_end();
}
END_TEST

START_TEST(calloc_clears_what_was_used)
{
    recycle_begin();
    void *used = recycle_malloc(300);
    memset(used, 0xff, 300);
    recycle_free(used);
    unsigned char *clear = recycle_calloc(3, 100);
    ck_assert_ptr_nonnull(clear);
    for (size_t i = 0; i < 300; i++)
        ck_assert_uint_eq(clear[i], 0);
    recycle_free(clear);
    ck_assert_ptr_null(recycle_calloc(SIZE_MAX / 2, 3));
    ck_assert_ptr_null(recycle_malloc(SIZE_MAX - 4));
    recycle_end();
}
END_TEST

START_TEST(realloc_keeps_the_content)
{
    recycle_begin();
    char *text = recycle_realloc(NULL, 1);
    ck_assert_ptr_nonnull(text);
    text[0] = 'a';
    for (size_t size = 1; size < 3 * 1024 * 1024; size *= 2) {
        text = recycle_realloc(text, size * 2);
        ck_assert_ptr_nonnull(text);
        memset(text + size, 'a' + (int)(size % 23), size);
        for (size_t at = 1; at <= size; at *= 2)
            ck_assert_int_eq(text[at], 'a' + (int)(at % 23));
    }
    ck_assert_ptr_null(recycle_realloc(text, SIZE_MAX - 4));
    ck_assert_int_eq(text[0], 'a'); /* still there */
    text = recycle_realloc(text, 2);
    ck_assert_int_eq(text[1], 'a' + 1);
    recycle_free(text);
    recycle_free(NULL);
    char *copy = recycle_strdup("some words");
    ck_assert_str_eq(copy, "some words");
    recycle_free(copy);
    recycle_end();
}
END_TEST

static void *swap(void *block)
{
    recycle_free(block);
    return recycle_malloc(100);
}

START_TEST(blocks_go_between_threads)
{
    pthread_t thread;
    void *back;
    recycle_begin();
    void *there = recycle_malloc(100);
    ck_assert_int_eq(pthread_create(&thread, NULL, swap, there), 0);
    ck_assert_int_eq(pthread_join(thread, &back), 0);
    ck_assert_ptr_nonnull(back);
    recycle_free(back);
    void *again = recycle_malloc(100);
    ck_assert(!keeps || back == again);
    recycle_free(again);
    recycle_end();
}
END_TEST

/* However much is freed at once, only so much is kept: the next ones come from elsewhere. */
START_TEST(what_is_kept_is_bounded)
{
    enum { COUNT = 400 };
    static void *blocks[COUNT];
    const size_t size = 16 * 1024;
    recycle_begin();
    for (size_t i = 0; i < COUNT; i++)
        ck_assert_ptr_nonnull(blocks[i] = recycle_malloc(size));
    for (size_t i = 0; i < COUNT; i++)
        recycle_free(blocks[i]);
    size_t kept = RECYCLE_KEEP_BYTES / size;
    ck_assert_uint_lt(kept, COUNT);
    for (size_t i = kept; i > 0 && keeps; i--) { /* those that were freed first, the last of them first */
        void *block = recycle_malloc(size);
        ck_assert_ptr_eq(block, blocks[i - 1]);
        blocks[i - 1] = block;
    }
    for (size_t i = 0; i < kept && keeps; i++)
        recycle_free(blocks[i]);
    recycle_end();
}
END_TEST

/* valgrind's allocator does not tell. */
static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
}

/* Large ones of all sizes together. */
START_TEST(what_is_kept_of_large_blocks_is_bounded)
{
    enum { SIZES = 6, COUNT = 64 };
    static void *blocks[SIZES][COUNT];
    const size_t slack = 64 * 1024;
    recycle_begin();
    size_t before = in_use();
    for (size_t i = 0; i < SIZES; i++)
        for (size_t k = 0; k < COUNT; k++)
            ck_assert_ptr_nonnull(blocks[i][k] = recycle_malloc(RECYCLE_LARGE_BYTES << (i + 1)));
    for (size_t i = 0; i < SIZES; i++)
        for (size_t k = 0; k < COUNT; k++)
            recycle_free(blocks[i][k]);
    size_t kept = in_use() - before;
    ck_assert_uint_lt(kept, RECYCLE_KEEP_LARGE_BYTES + slack);
    ck_assert(!keeps || in_use() == 0 || kept > RECYCLE_KEEP_LARGE_BYTES / 2);
    for (int i = 0; i < 100; i++) { /* what goes out makes room again */
        void *block = recycle_malloc(RECYCLE_LARGE_BYTES * 2);
        recycle_free(block);
    }
    ck_assert_uint_lt(in_use() - before, RECYCLE_KEEP_LARGE_BYTES + slack);
    recycle_end();
    ck_assert_uint_lt(in_use() - before, slack);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("recycle");
    TCase *tc = tcase_create("recycle");
    tcase_add_test(tc, every_size_is_there_and_aligned);
    tcase_add_test(tc, a_freed_block_is_used_again);
    tcase_add_test(tc, calloc_clears_what_was_used);
    tcase_add_test(tc, realloc_keeps_the_content);
    tcase_add_test(tc, blocks_go_between_threads);
    tcase_add_test(tc, what_is_kept_is_bounded);
    tcase_add_test(tc, what_is_kept_of_large_blocks_is_bounded);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
