/* test_secret: what comes out is what went in, and what is wiped is gone. */
#include "base/secret.h"

#include "unit/suite.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

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

/* What was freed is clean, though its page lives on with another secret in it. */
START_TEST(freed_memory_is_clean)
{
    struct secret *s = secret_new("sk-test-0123456789abcdef-0123456789abcdef", 41);
    struct secret *other = secret_new("sk-other", 8);
    const char *bytes = secret_open(s);

    secret_free(&s);
    ck_assert_str_eq(secret_open(other), "sk-other");
    for (size_t i = 0; i < 41; i++)
        ck_assert_int_eq(bytes[i], 0);
    secret_free(&other);
}
END_TEST

/* AddressSanitizer and valgrind take mlock() and lock nothing. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static bool can_lock(void)
{
    return !SANITIZED && getenv("LD_PRELOAD") == NULL;
}

/* The kernel's flags of the mapping that an address is in: " dd " in it: not for cores, " lo ": locked. */
static void find_flags(const void *address, char *flags, size_t size)
{
    FILE *maps = fopen("/proc/self/smaps", "r");
    bool inside = false;
    char line[256];

    ck_assert_ptr_nonnull(maps);
    flags[0] = '\0';
    while (fgets(line, sizeof(line), maps) != NULL) {
        unsigned long begin;
        unsigned long end;

        if (sscanf(line, "%lx-%lx ", &begin, &end) == 2)
            inside = (uintptr_t)address >= begin && (uintptr_t)address < end;
        if (inside && strncmp(line, "VmFlags:", 8) == 0)
            snprintf(flags, size, "%s", line + 8);
    }
    fclose(maps);
}

static void expect_protected(const struct secret *s)
{
    char flags[256];

    find_flags(secret_open(s), flags, sizeof(flags));
    ck_assert_msg(strstr(flags, " dd ") != NULL, "%s", flags);
    if (secret_is_locked() && can_lock())
        ck_assert_msg(strstr(flags, " lo ") != NULL, "%s", flags);
}

START_TEST(is_locked_and_not_for_cores)
{
    struct secret *s = secret_new("sk-test", 7);
    int status;

    expect_protected(s);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        char flags[256];

        secret_lock_again();
        find_flags(secret_open(s), flags, sizeof(flags));
        _exit(strstr(flags, " dd ") != NULL &&
                      (!secret_is_locked() || !can_lock() || strstr(flags, " lo ") != NULL)
                  ? 0
                  : 1);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    secret_free(&s);
}
END_TEST

START_TEST(limit_of_locked_memory_is_no_error)
{
    struct secret *s;
    struct rlimit none = {0, 0};

    ck_assert(secret_is_locked());
    ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &none), 0);
    if (geteuid() == 0) /* root has no limit */
        ck_assert_int_eq(setresuid(12345, 12345, 12345), 0);
    s = secret_new("sk-test", 7);
    ck_assert_str_eq(secret_open(s), "sk-test");
    ck_assert(!secret_is_locked() || !can_lock());
    secret_free(&s);
}
END_TEST

/* More than one page has room for, in several sizes, freed in another order. */
START_TEST(many)
{
    static char text[40000];
    struct secret *all[200];

    memset(text, 'k', sizeof(text));
    for (size_t i = 0; i < 200; i++) {
        all[i] = secret_new(text, i * i);
        ck_assert_uint_eq(strlen(secret_open(all[i])), i * i);
    }
    for (size_t i = 0; i < 200; i += 3)
        secret_free(&all[i]);
    for (size_t i = 0; i < 200; i += 3)
        all[i] = secret_new("again", 5);
    for (size_t i = 200; i-- > 0;) {
        ck_assert_uint_eq(strlen(secret_open(all[i])), i % 3 == 0 ? 5 : i * i);
        secret_free(&all[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("secret");
    TCase *tc = tcase_create("secret");

    tcase_add_test(tc, keeps_a_copy);
    tcase_add_test(tc, may_be_empty);
    tcase_add_test(tc, too_long_is_null);
    tcase_add_test(tc, wipes);
    tcase_add_test(tc, freed_memory_is_clean);
    tcase_add_test(tc, is_locked_and_not_for_cores);
    tcase_add_test(tc, limit_of_locked_memory_is_no_error);
    tcase_add_test(tc, many);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
