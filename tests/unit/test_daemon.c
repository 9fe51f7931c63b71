/* daemon: what it does to descriptors, environment and limits; each test runs in a process of its own. */
#include "base/fd.h"
#include "master/daemon.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static bool is_null(int fd)
{
    struct stat st;
    struct stat null;
    return fstat(fd, &st) == 0 && stat("/dev/null", &null) == 0 && st.st_rdev == null.st_rdev &&
           S_ISCHR(st.st_mode);
}

/* In a child, for Check itself needs these descriptors. */
static int status_of(int (*fn)(void))
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(fn());
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int close_and_open(void)
{
    close(0);
    close(2);
    struct stat before;
    struct stat after;
    fstat(1, &before);
    if (daemon_open_standard() < 0)
        return 1;
    fstat(1, &after);
    if (before.st_ino != after.st_ino || before.st_dev != after.st_dev)
        return 2;
    return is_null(0) && is_null(2) ? 0 : 3;
}

START_TEST(test_open_standard)
{
    ck_assert_int_eq(status_of(close_and_open), 0);
}
END_TEST

static int leave(void)
{
    daemon_leave_standard();
    return is_null(0) && is_null(1) && is_null(2) ? 0 : 1;
}

START_TEST(test_leave_standard)
{
    ck_assert_int_eq(status_of(leave), 0);
}
END_TEST

START_TEST(test_environment)
{
    static const char *const GONE[] = {"http_proxy", "https_proxy",   "HTTP_PROXY",  "HTTPS_PROXY",
                                       "All_Proxy",  "no_proxy",      "NO_PROXY",    "ftp_proxy",
                                       "_proxy",     "SSLKEYLOGFILE", "OPENSSL_CONF"};
    static const char *const KEPT[] = {"HOME",  "OPENAI_API_KEY", "MY_PROXY_X",
                                       "proxy", "SSLKEYLOGFILE2", "TZ"};
    clearenv();
    for (size_t i = 0; i < sizeof(GONE) / sizeof(GONE[0]); i++) {
        setenv(GONE[i], "http://127.0.0.1:1", 1);
        if (i < sizeof(KEPT) / sizeof(KEPT[0]))
            setenv(KEPT[i], "kept", 1);
    }
    daemon_clean_environment();
    for (size_t i = 0; i < sizeof(GONE) / sizeof(GONE[0]); i++)
        ck_assert_msg(!getenv(GONE[i]), "%s", GONE[i]);
    for (size_t i = 0; i < sizeof(KEPT) / sizeof(KEPT[0]); i++)
        ck_assert_msg(getenv(KEPT[i]), "%s", KEPT[i]);
    clearenv();
    daemon_clean_environment();
}
END_TEST

START_TEST(test_limits)
{
    struct rlimit limit;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    rlim_t hard = limit.rlim_max;
    limit.rlim_cur = 64;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    daemon_set_limits();
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert(limit.rlim_cur == hard);
    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &limit), 0);
    ck_assert(limit.rlim_cur == 0 && limit.rlim_max == 0);
}
END_TEST

/* The starting process ends with 0 only when the other one says that it is ready. */
static int detach_and_be_ready(void)
{
    struct daemon_parent parent = {.detached = false, .ready_fd = -1, .stderr_fd = -1};
    struct buf reason = {0};
    if (daemon_detach(&parent, &reason) < 0)
        return 7;
    if (getsid(0) != getpid() || !parent.detached || parent.stderr_fd < 3)
        _exit(1);
    daemon_ready(&parent);
    return parent.ready_fd == -1 && parent.stderr_fd == -1 ? 0 : 8;
}

static int detach_and_end(void)
{
    struct daemon_parent parent = {.detached = false, .ready_fd = -1, .stderr_fd = -1};
    struct buf reason = {0};
    return daemon_detach(&parent, &reason) < 0 ? 7 : 0;
}

START_TEST(test_detach)
{
    ck_assert_int_eq(status_of(detach_and_be_ready), 0);
    ck_assert_int_eq(status_of(detach_and_end), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("daemon");
    TCase *tc = tcase_create("daemon");
    tcase_add_test(tc, test_open_standard);
    tcase_add_test(tc, test_leave_standard);
    tcase_add_test(tc, test_environment);
    tcase_add_test(tc, test_limits);
    tcase_add_test(tc, test_detach);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
