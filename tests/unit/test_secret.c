/* test_secret: what comes out is what went in, and what is wiped is gone. */
#include "base/secret.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

START_TEST(keeps_a_copy)
{
    char source[] = "sk-test-0123456789";
    struct secret *s = secret_new(source, 7);

    ck_assert_ptr_nonnull(s);
    memset(source, 'x', sizeof(source) - 1);
    ck_assert_str_eq(secret_open(s), "sk-test");
    ck_assert_uint_eq(secret_len(s), 7);
    secret_free(&s);
    ck_assert_ptr_null(s);
    secret_free(&s);
}
END_TEST

START_TEST(may_be_empty)
{
    struct secret *s = secret_new(NULL, 0);

    ck_assert_ptr_nonnull(s);
    ck_assert_str_eq(secret_open(s), "");
    ck_assert_uint_eq(secret_len(s), 0);
    secret_free(&s);
}
END_TEST

START_TEST(too_long_is_null)
{
    ck_assert_ptr_null(secret_new("x", SIZE_MAX));
    ck_assert_ptr_null(secret_new("x", SIZE_MAX - sizeof(size_t)));
    ck_assert_ptr_null(secret_new("x", SIZE_MAX / 2 + 100));
}
END_TEST

START_TEST(wipes)
{
    char memory[] = "before SECRET after";

    secret_wipe(memory + 7, 6);
    ck_assert_mem_eq(memory, "before \0\0\0\0\0\0 after", sizeof(memory));
    secret_wipe(memory, 0);
    ck_assert_int_eq(memory[0], 'b');
    secret_wipe(NULL, 0);
}
END_TEST

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1 /* clang's way to say it */
#endif
#endif

#if !defined(__SANITIZE_ADDRESS__)
/*
 * Replaces the C library's free() in this program to see what a freed block still holds. Under
 * AddressSanitizer free() belongs to the sanitizer.
 */
void __libc_free(void *p);

static const char *watched;
static size_t watched_len;
static int watched_left = -1; /* bytes of the secret that were left when its block was freed */

void free(void *p)
{
    if (p != NULL && watched != NULL && (uintptr_t)watched > (uintptr_t)p &&
        (uintptr_t)watched - (uintptr_t)p <= 2 * sizeof(size_t)) {
        watched_left = 0;
        for (size_t i = 0; i < watched_len; i++)
            watched_left += watched[i] != '\0';
        watched = NULL;
    }
    __libc_free(p);
}

START_TEST(freed_memory_is_clean)
{
    struct secret *s = secret_new("sk-test-0123456789abcdef-0123456789abcdef", 41);

    ck_assert_ptr_nonnull(s);
    watched_len = secret_len(s);
    watched = secret_open(s);
    secret_free(&s);
    ck_assert_int_eq(watched_left, 0);
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("secret");
    TCase *tc = tcase_create("secret");

    tcase_add_test(tc, keeps_a_copy);
    tcase_add_test(tc, may_be_empty);
    tcase_add_test(tc, too_long_is_null);
    tcase_add_test(tc, wipes);
#if !defined(__SANITIZE_ADDRESS__)
    tcase_add_test(tc, freed_memory_is_clean);
#endif
    suite_add_tcase(suite, tc);

    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
