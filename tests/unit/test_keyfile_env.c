/*
 * Tests of keyfile_env: what is remembered, and what comes out at the other end.
 */
#include "io/keyfile_env.h"

#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>

static void setup(void)
{
    ck_assert_int_eq(setenv("KEYS_A", "one,two", 1), 0);
    ck_assert_int_eq(setenv("KEYS_B", "three", 1), 0);
    ck_assert_int_eq(setenv("OTHER", "no key", 1), 0);
    unsetenv("KEYS_C");
}

static void teardown(void)
{
    keyfile_env_fini();
}

START_TEST(test_remembers_what_was_asked_for)
{
    ck_assert(!keyfile_env_holds("KEYS_A=one,two"));
    ck_assert_str_eq(keyfile_env_get("KEYS_A"), "one,two");
    ck_assert_ptr_null(keyfile_env_get("KEYS_C"));
    ck_assert(keyfile_env_holds("KEYS_A=one,two"));
    ck_assert(keyfile_env_holds("KEYS_A="));
    ck_assert(!keyfile_env_holds("KEYS_AB=x"));
    ck_assert(!keyfile_env_holds("KEYS_=x"));
    ck_assert(!keyfile_env_holds("KEYS_C=x"));
    ck_assert(!keyfile_env_holds("OTHER=no key"));
}
END_TEST

/* Nothing of it is left where libraries and children look. */
START_TEST(test_leaves_the_environment)
{
    const char *before = getenv("KEYS_A");

    ck_assert_str_eq(keyfile_env_get("KEYS_A"), "one,two");
    ck_assert_ptr_null(getenv("KEYS_A"));
    ck_assert_str_eq(getenv("OTHER"), "no key");
    for (size_t i = 0; i < strlen("one,two"); i++)
        ck_assert_int_eq(before[i], '\0');
    ck_assert_str_eq(keyfile_env_get("KEYS_A"), "one,two");
}
END_TEST

START_TEST(test_round_trip)
{
    static const char want[] = "KEYS_A\0one,two\0KEYS_B\0three";
    struct buf packed = {0};

    keyfile_env_get("KEYS_A");
    keyfile_env_get("KEYS_B");
    keyfile_env_get("KEYS_A");
    keyfile_env_pack(&packed);
    ck_assert_uint_eq(packed.len, sizeof(want));
    ck_assert_mem_eq(packed.data, want, sizeof(want));

    keyfile_env_fini();
    unsetenv("KEYS_A");
    ck_assert_ptr_null(keyfile_env_get("KEYS_A"));
    ck_assert_int_eq(setenv("KEYS_B", "newer", 1), 0);
    ck_assert_int_eq(keyfile_env_unpack(packed.data, packed.len), 0);
    ck_assert_str_eq(keyfile_env_get("KEYS_A"), "one,two");
    ck_assert_str_eq(keyfile_env_get("KEYS_B"), "newer");
    ck_assert(keyfile_env_holds("KEYS_A=one,two"));

    /* And on to the next one. */
    buf_clear(&packed);
    keyfile_env_pack(&packed);
    keyfile_env_fini();
    unsetenv("KEYS_B");
    ck_assert_int_eq(keyfile_env_unpack(packed.data, packed.len), 0);
    ck_assert_str_eq(keyfile_env_get("KEYS_A"), "one,two");
    ck_assert_str_eq(keyfile_env_get("KEYS_B"), "newer");
    buf_fini(&packed);
}
END_TEST

START_TEST(test_nothing)
{
    struct buf packed = {0};

    keyfile_env_pack(&packed);
    ck_assert_uint_eq(packed.len, 0);
    ck_assert_int_eq(keyfile_env_unpack("", 0), 0);
    buf_fini(&packed);
}
END_TEST

#define BAD(text)                                                                                            \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }

static const struct {
    const char *data;
    size_t len;
} bad[] = {
    BAD("A"), BAD("A\0"), BAD("A\0value"), BAD("A\0value\0B\0"), BAD("\0value\0"), BAD("A=B\0value\0"),
};

START_TEST(test_malformed)
{
    ck_assert_int_eq(keyfile_env_unpack(bad[_i].data, bad[_i].len), -1);
    ck_assert(!keyfile_env_holds("A=value"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keyfile_env");
    TCase *tcase = tcase_create("keyfile_env");

    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_remembers_what_was_asked_for);
    tcase_add_test(tcase, test_leaves_the_environment);
    tcase_add_test(tcase, test_round_trip);
    tcase_add_test(tcase, test_nothing);
    tcase_add_loop_test(tcase, test_malformed, 0, (int)(sizeof(bad) / sizeof(bad[0])));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
