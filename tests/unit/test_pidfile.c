/* pidfile: in a directory of the test's own. */
#include "base/fd.h"
#include "master/pidfile.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[64];
static char path[80];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_pidfile.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/pid", dir);
}

static void teardown(void)
{
    ck_assert_int_eq(rmdir(dir), 0);
}

static void put_file(const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    fd_close(&fd);
}

static void expect_content(void)
{
    char want[24];
    char text[24] = "";
    int fd = open(path, O_RDONLY);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    ck_assert_int_gt(n, 0);
    fd_close(&fd);
    snprintf(want, sizeof(want), "%d\n", (int)getpid());
    ck_assert_str_eq(text, want);
}

START_TEST(test_life)
{
    struct pidfile file;
    struct pidfile second;
    struct buf reason = {0};
    char want[24];
    ck_assert_int_eq(pidfile_create(&file, path, &reason), 0);
    expect_content();
    ck_assert_int_eq(pidfile_create(&second, path, &reason), -1);
    snprintf(want, sizeof(want), "pid %d ", (int)getpid());
    ck_assert_ptr_nonnull(strstr(reason.data, want));
    ck_assert_ptr_nonnull(strstr(reason.data, path));
    ck_assert_int_eq(second.fd, -1);
    pidfile_remove(&second);
    expect_content();
    pidfile_remove(&file);
    ck_assert_int_eq(access(path, F_OK), -1);
    ck_assert_int_eq(errno, ENOENT);
    buf_fini(&reason);
}
END_TEST

/* The successor writes its pid; the file stays locked, and there, when the first one lets go. */
START_TEST(test_handed_over)
{
    struct pidfile first;
    struct pidfile second = {.fd = -1};
    struct pidfile third;
    struct buf reason = {0};
    ck_assert_int_eq(pidfile_create(&first, path, &reason), 0);
    int fd = fcntl(first.fd, F_DUPFD_CLOEXEC, 3);
    ck_assert_int_eq(pidfile_adopt(&second, path, &fd), 0);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(pwrite(first.fd, "123456789\n", 10, 0), 10);
    pidfile_leave(&first);
    ck_assert_int_eq(pidfile_create(&third, path, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "pid 123456789 "));
    ck_assert_int_eq(pidfile_write(&second), 0);
    expect_content();
    pidfile_remove(&second);
    ck_assert_int_eq(access(path, F_OK), -1);
    buf_fini(&reason);
}
END_TEST

/* What a dead master left is taken over, whatever stands in it. */
START_TEST(test_left_behind)
{
    static const char *const TEXTS[] = {"", "1\n", "123456789012345678901234567890\n", "rubbish"};
    for (size_t i = 0; i < sizeof(TEXTS) / sizeof(TEXTS[0]); i++) {
        struct pidfile file;
        struct buf reason = {0};
        put_file(TEXTS[i]);
        ck_assert_int_eq(pidfile_create(&file, path, &reason), 0);
        expect_content();
        pidfile_remove(&file);
        buf_fini(&reason);
    }
}
END_TEST

START_TEST(test_not_ours_any_more)
{
    struct pidfile file;
    struct buf reason = {0};
    ck_assert_int_eq(pidfile_create(&file, path, &reason), 0);
    ck_assert_int_eq(unlink(path), 0);
    put_file("4711\n");
    pidfile_remove(&file);
    ck_assert_int_eq(unlink(path), 0);
    buf_fini(&reason);
}
END_TEST

START_TEST(test_refused)
{
    struct pidfile file;
    struct buf reason = {0};
    char target[80];
    char missing[100];
    snprintf(missing, sizeof(missing), "%s/no/pid", dir);
    ck_assert_int_eq(pidfile_create(&file, missing, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, missing));
    ck_assert_ptr_nonnull(strstr(reason.data, "set pid_file"));

    /* A link may be somebody's trap. */
    snprintf(target, sizeof(target), "%s/target", dir);
    ck_assert_int_eq(symlink(target, path), 0);
    buf_clear(&reason);
    ck_assert_int_eq(pidfile_create(&file, path, &reason), -1);
    ck_assert_int_eq(access(target, F_OK), -1);
    ck_assert_int_eq(unlink(path), 0);
    buf_fini(&reason);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pidfile");
    TCase *tc = tcase_create("pidfile");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_life);
    tcase_add_test(tc, test_handed_over);
    tcase_add_test(tc, test_left_behind);
    tcase_add_test(tc, test_not_ours_any_more);
    tcase_add_test(tc, test_refused);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
