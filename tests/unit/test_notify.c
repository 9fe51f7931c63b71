/* notify: against a datagram socket of the test's own. */
#include "base/fd.h"
#include "master/notify.h"
#include "unit/suite.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64];
static char path[80];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_notify.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/socket", dir);
}

static void teardown(void)
{
    unlink(path);
    ck_assert_int_eq(rmdir(dir), 0);
}

/* Binds to the name as NOTIFY_SOCKET has it. */
static int listen_on(const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(name);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    memcpy(addr.sun_path, name, len);
    if (name[0] == '@')
        addr.sun_path[0] = '\0';
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)),
                     0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", name, 1), 0);
    return fd;
}

static void expect(int fd, const char *want)
{
    char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    ck_assert_str_eq(text, want);
}

static void expect_nothing(int fd)
{
    char text[8];
    ck_assert_int_eq(recv(fd, text, sizeof(text), 0), -1);
    ck_assert_int_eq(errno, EAGAIN);
}

START_TEST(test_words)
{
    int fd = listen_on(path);
    notify_ready();
    expect(fd, "READY=1");
    notify_reloading(INT64_C(1234567890123));
    expect(fd, "RELOADING=1\nMONOTONIC_USEC=1234567890123");
    notify_stopping();
    expect(fd, "STOPPING=1");
    notify_main_pid(4711);
    expect(fd, "MAINPID=4711");
    expect_nothing(fd);
    fd_close(&fd);
}
END_TEST

START_TEST(test_abstract_name)
{
    char name[64];
    snprintf(name, sizeof(name), "@claviger-test-%ld", (long)getpid());
    int fd = listen_on(name);
    notify_ready();
    expect(fd, "READY=1");
    fd_close(&fd);
}
END_TEST

/* Nobody is told, and nothing else happens. */
START_TEST(test_nobody)
{
    static const char *const NAMES[] = {"", "/", "relative", "/nonexistent/socket", "vsock:2:1"};
    char longer[256];
    int fd = listen_on(path);
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        ck_assert_int_eq(setenv("NOTIFY_SOCKET", NAMES[i], 1), 0);
        notify_ready();
    }
    memset(longer, 'x', sizeof(longer) - 1);
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", longer, 1), 0);
    notify_ready();
    ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
    notify_ready();
    expect_nothing(fd);
    fd_close(&fd);
}
END_TEST

/* A manager that does not read does not hold the daemon up. */
START_TEST(test_full)
{
    int fd = listen_on(path);
    for (int i = 0; i < 5000; i++)
        notify_ready();
    expect(fd, "READY=1");
    fd_close(&fd);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("notify");
    TCase *tc = tcase_create("notify");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_words);
    tcase_add_test(tc, test_abstract_name);
    tcase_add_test(tc, test_nobody);
    tcase_add_test(tc, test_full);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
