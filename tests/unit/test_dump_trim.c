/*
 * Tests of dump_trim: which files go, from the directory and from what is known of it, and the thread that
 * does it.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "io/dump.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 10000

static char base[64];

static void setup(void)
{
    snprintf(base, sizeof(base), "/tmp/claviger-trim.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
}

static void teardown(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    ck_assert_int_eq(system(command), 0);
}

static bool exists(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    return access(path, F_OK) == 0;
}

static void make_file(const char *name, size_t size)
{
    static char zeros[4096];
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", base, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, zeros, size), 0);
    close(fd);
}

static void make_dir(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static size_t trim_once(const char *dir, int64_t size)
{
    struct dump_trim *trim = dump_trim_new(dir, size, NULL);
    size_t removed;

    ck_assert_ptr_nonnull(trim);
    removed = dump_trim_run(trim, 0);
    dump_trim_free(&trim);
    return removed;
}

START_TEST(test_trim)
{
    make_dir("a");
    make_dir("a/passthrough");
    make_dir("b");
    make_dir("b/passthrough");
    make_file("a/passthrough/900-x-1-1.req.txt", 100);
    make_file("a/passthrough/1000-x-1-1.req.txt", 100);
    make_file("a/passthrough/1000-x-1-1.resp.txt", 100);
    make_file("b/passthrough/99-x-1-1.req.txt", 100);
    make_file("b/passthrough/2000-x-1-1.req_error.txt", 100);
    make_file("b/passthrough/1-none-of-ours.txt", 4000);
    make_file("b/passthrough/x.req.txt", 4000);
    make_file("b/1-x.req.txt", 4000);
    ck_assert_uint_eq(trim_once(base, 500), 0);
    ck_assert_uint_eq(trim_once(base, 499), 1);
    ck_assert(!exists("b/passthrough/99-x-1-1.req.txt"));
    ck_assert_uint_eq(trim_once(base, 250), 2);
    ck_assert(!exists("a/passthrough/900-x-1-1.req.txt"));
    ck_assert(!exists("a/passthrough/1000-x-1-1.req.txt"));
    ck_assert(exists("a/passthrough/1000-x-1-1.resp.txt"));
    ck_assert_uint_eq(trim_once(base, 0), 2);
    ck_assert(exists("b/passthrough/1-none-of-ours.txt"));
    ck_assert(exists("b/passthrough/x.req.txt"));
    ck_assert(exists("b/1-x.req.txt"));
    ck_assert_uint_eq(trim_once("/nonexistent", 0), 0);
}
END_TEST

/* Between two readings of the directory what is written is added up, and files go in the order that is known.
 */
START_TEST(test_trim_total)
{
    _Atomic uint64_t total = 0;
    struct dump_trim *trim = dump_trim_new(base, 1000, &total);
    char name[64];

    ck_assert_ptr_nonnull(trim);
    make_dir("a");
    make_dir("a/passthrough");
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "a/passthrough/%d-x-1-1.req.txt", 100 - i);
        make_file(name, 100);
    }
    ck_assert_uint_eq(dump_trim_run(trim, 1000), 0);
    /* At a time before that of the next reading. */
    make_file("a/passthrough/1-x-1-1.req.txt", 100);
    make_file("a/passthrough/200-x-1-1.req.txt", 100);
    ck_assert_uint_eq(dump_trim_run(trim, 1), 0);
    total += 150;
    ck_assert_uint_eq(dump_trim_run(trim, 2), 2);
    ck_assert(!exists("a/passthrough/91-x-1-1.req.txt"));
    ck_assert(!exists("a/passthrough/92-x-1-1.req.txt"));
    ck_assert(exists("a/passthrough/1-x-1-1.req.txt"));
    total += 1700; /* more than is known by name: it is read again */
    ck_assert_uint_eq(dump_trim_run(trim, 3), 8);
    ck_assert(exists("a/passthrough/1-x-1-1.req.txt"));
    dump_trim_free(&trim);
}
END_TEST

/* The thread does it by itself. */
START_TEST(test_trimmer)
{
    _Atomic uint64_t written = 0;
    int64_t end = clock_mono_ms() + WAIT_MS;
    struct dump_trimmer *trimmer;

    make_dir("a");
    make_dir("a/passthrough");
    make_file("a/passthrough/1-x-1-1.req.txt", 1000);
    make_file("a/passthrough/2-x-1-1.req.txt", 1000);
    trimmer = dump_trimmer_start(base, 1500, &written);
    ck_assert_ptr_nonnull(trimmer);
    while (dump_trimmer_removed(trimmer) == 0) {
        ck_assert_int_lt(clock_mono_ms(), end);
        poll(NULL, 0, 1);
    }
    dump_trimmer_stop(&trimmer);
    ck_assert(!exists("a/passthrough/1-x-1-1.req.txt"));
    ck_assert(exists("a/passthrough/2-x-1-1.req.txt"));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dump_trim");
    TCase *tc = tcase_create("dump_trim");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_trim);
    tcase_add_test(tc, test_trim_total);
    tcase_add_test(tc, test_trimmer);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
