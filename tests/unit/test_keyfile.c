/*
 * test_keyfile: keys from files, variables and text, and what is refused. No reason may show a key: those
 * here that are refused hold the word SECRET.
 */
#include "io/keyfile.h"

#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char dir[] = "/tmp/test_keyfile.XXXXXX";
static char path[64];
static char entry[80];

static void setup(void)
{
    strncpy(dir, "/tmp/test_keyfile.XXXXXX", sizeof(dir));
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/keys", dir);
    snprintf(entry, sizeof(entry), "file:%s", path);
}

static void teardown(void)
{
    unlink(path);
    rmdir(dir);
}

static void write_file(const char *text, size_t len, mode_t mode)
{
    FILE *f;

    unlink(path);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void check_refused(const char *from, const char *words)
{
    struct key_array keys = {0};
    struct buf reason = {0};

    ck_assert_msg(keyfile_add(&keys, from, &reason) == -1, "taken: %s", from);
    ck_assert_ptr_nonnull(reason.data);
    ck_assert_msg(strstr(reason.data, words) != NULL, "wanted \"%s\", got \"%s\"", words, reason.data);
    ck_assert_msg(strstr(reason.data, "SECRET") == NULL, "shows a key: %s", reason.data);
    key_array_fini(&keys);
    ck_assert_uint_eq(keys.count, 0);
    ck_assert_ptr_null(keys.items);
    buf_fini(&reason);
}

static void check_taken(const char *from, const char *const *wanted, size_t count)
{
    struct key_array keys = {0};
    struct buf reason = {0};

    ck_assert_msg(keyfile_add(&keys, from, &reason) == 0, "%s", reason.data);
    ck_assert_uint_eq(keys.count, count);
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(secret_open(keys.items[i].secret), wanted[i]);
    key_array_fini(&keys);
    buf_fini(&reason);
}

START_TEST(test_literal)
{
    struct key_array keys = {0};
    struct buf reason = {0};

    ck_assert_int_eq(keyfile_add(&keys, "sk-ant-0123456789abcdef", &reason), 0);
    ck_assert_int_eq(keyfile_add(&keys, "abc", &reason), 0);
    ck_assert_uint_eq(keys.count, 2);
    ck_assert_str_eq(secret_open(keys.items[0].secret), "sk-ant-0123456789abcdef");
    ck_assert_str_eq(keys.items[0].hint, "sk-a...cdef");
    /* SHA-256 of "abc" as FIPS 180-4's examples give it */
    ck_assert_str_eq(keys.items[1].id, "ba7816bf8f01cfea");
    ck_assert_str_eq(keys.items[1].hint, "...");
    ck_assert_uint_eq(reason.len, 0);
    key_array_fini(&keys);
    buf_fini(&reason);
}
END_TEST

START_TEST(test_literal_refused)
{
    static const struct {
        const char *entry;
        const char *words;
    } rows[] = {
        {"", "is empty"},
        {"SECRET key", "white space"},
        {" SECRET", "white space"},
        {"SECRET\n", "white space"},
        {"SECRET\x7f", "not printable ASCII"},
        {"SECRET\xc3\xa9", "not printable ASCII"},
        {"SECRET,SECRET", "comma"},
        {"claviger", "placeholder"},
        {"Claviger", "placeholder"},
        {"clv_SECRET", "gateway token"},
        {"env:", "env:NAME"},
        {"env:A=B", "env:NAME"},
        {"env:TEST_KEYFILE_UNSET", "TEST_KEYFILE_UNSET is not set"},
        {"env:TEST_KEYFILE_EMPTY", "TEST_KEYFILE_EMPTY is empty"},
        {"env:TEST_KEYFILE_HOLE", "key 2 is empty"},
        {"env:TEST_KEYFILE_END", "key 2 is empty"},
        {"env:TEST_KEYFILE_TWICE", "key 3 is the same"},
        {"env:TEST_KEYFILE_WORD", "key 1 is the word"},
        {"file:", "absolute path"},
        {"file:keys", "absolute path"},
        {"file:/nonexistent/keys", "No such file"},
        {"file:/dev/null", "no regular file"},
        {"file:/", "no regular file"},
    };

    unsetenv("TEST_KEYFILE_UNSET");
    setenv("TEST_KEYFILE_EMPTY", "", 1);
    setenv("TEST_KEYFILE_HOLE", "SECRET1,,SECRET2", 1);
    setenv("TEST_KEYFILE_END", "SECRET1, ", 1);
    setenv("TEST_KEYFILE_TWICE", "SECRET1,SECRET2,SECRET1", 1);
    setenv("TEST_KEYFILE_WORD", "claviger", 1);
    for (size_t i = 0; i < COUNT(rows); i++)
        check_refused(rows[i].entry, rows[i].words);
}
END_TEST

START_TEST(test_length)
{
    struct key_array keys = {0};
    struct buf reason = {0};
    char key[4098];

    memset(key, 'k', sizeof(key));
    key[4096] = '\0';
    ck_assert_int_eq(keyfile_add(&keys, key, &reason), 0);
    ck_assert_uint_eq(secret_len(keys.items[0].secret), 4096);
    key[4096] = 'k';
    key[4097] = '\0';
    ck_assert_int_eq(keyfile_add(&keys, key, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "4096"));
    ck_assert_uint_eq(keys.count, 1);
    key_array_fini(&keys);
    buf_fini(&reason);
}
END_TEST

START_TEST(test_variable)
{
    static const char *const wanted[] = {"one", "two", "#three"};

    setenv("TEST_KEYFILE", "one, two\t,#three", 1);
    check_taken("env:TEST_KEYFILE", wanted, COUNT(wanted));
    setenv("TEST_KEYFILE", "one", 1);
    check_taken("env:TEST_KEYFILE", wanted, 1);
}
END_TEST

START_TEST(test_file)
{
    static const char *const wanted[] = {"one", "two#2", "three"};
    static const char text[] = "# a comment\n\none\n \t\n  two#2  \r\n#two\n\tthree";

    for (mode_t mode = 0600; mode <= 0660; mode += 020) {
        write_file(text, strlen(text), mode);
        check_taken(entry, wanted, COUNT(wanted));
    }
    /* What others may do with a program is no matter; reading and writing is. */
    write_file(text, strlen(text), 0601);
    check_taken(entry, wanted, COUNT(wanted));
}
END_TEST

START_TEST(test_file_refused)
{
    static const struct {
        const char *text;
        size_t len;
        const char *words;
    } rows[] = {
        {"", 0, "holds no key"},
        {"# SECRET\n\n  \n", 13, "holds no key"},
        {"one\n\n# c\nSECRET key\n", 20, "line 4: the key has white space"},
        {"one\ntwo,SECRET\n", 15, "line 2: the key has a comma"},
        {"one\ntwo\none\n", 12, "line 3: the key is the same"},
        {"one\nSEC\0RET", 11, "line 2: the key has white space"},
        {"\xef\xbb\xbfone\n", 7, "line 1: the key has white space"},
        {"claviger\n", 9, "line 1: the key is the word"},
        {"one\nclv_SECRET\n", 15, "line 2: the key is a gateway token"},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        write_file(rows[i].text, rows[i].len, 0600);
        check_refused(entry, rows[i].words);
        check_refused(entry, path);
    }
}
END_TEST

START_TEST(test_file_kind)
{
    static const mode_t open_modes[] = {0604, 0602, 0606, 0644, 0666};
    size_t size = 1024 * 1024 + 1;
    char *large = malloc(size);

    for (size_t i = 0; i < COUNT(open_modes); i++) {
        write_file("SECRET\n", 7, open_modes[i]);
        check_refused(entry, "chmod o-rwx");
    }
    memset(large, '\n', size);
    write_file(large, size, 0600);
    check_refused(entry, "over 1 MiB");
    large[0] = 'k';
    write_file(large, size - 1, 0600);
    check_taken(entry, (const char *const[]){"k"}, 1);
    free(large);

    /* Must not wait for a writer. */
    unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    check_refused(entry, "no regular file");
}
END_TEST

/* Order and duplicates over several entries, as a `keys` list has them. */
START_TEST(test_several)
{
    static const char *const wanted[] = {"zero", "one", "two", "three"};
    struct key_array keys = {0};
    struct buf reason = {0};

    write_file("one\ntwo\n", 8, 0600);
    setenv("TEST_KEYFILE", "three", 1);
    ck_assert_int_eq(keyfile_add(&keys, "zero", &reason), 0);
    ck_assert_int_eq(keyfile_add(&keys, entry, &reason), 0);
    ck_assert_int_eq(keyfile_add(&keys, "env:TEST_KEYFILE", &reason), 0);
    ck_assert_uint_eq(keys.count, COUNT(wanted));
    for (size_t i = 0; i < COUNT(wanted); i++)
        ck_assert_str_eq(secret_open(keys.items[i].secret), wanted[i]);
    ck_assert_int_eq(keyfile_add(&keys, "two", &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "the same"));
    ck_assert_uint_eq(keys.count, COUNT(wanted));
    key_array_fini(&keys);
    buf_fini(&reason);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("keyfile");
    TCase *tc = tcase_create("keyfile");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_literal);
    tcase_add_test(tc, test_literal_refused);
    tcase_add_test(tc, test_length);
    tcase_add_test(tc, test_variable);
    tcase_add_test(tc, test_file);
    tcase_add_test(tc, test_file_refused);
    tcase_add_test(tc, test_file_kind);
    tcase_add_test(tc, test_several);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
