/* control: a real socket in a directory of the test's own, an injected clock, the loop's part played by the
 * test. */
#include "base/fd.h"
#include "master/control.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64];
static char path[80];
static struct control *control;
static int reloads;
static int stops;
static const char *refusal;
static size_t status_size;
static bool traffic_wanted;

static void on_status(void *arg, bool traffic, struct buf *json)
{
    ck_assert_ptr_eq(arg, &reloads);
    traffic_wanted = traffic;
    buf_puts(json, "{\"x\":\"");
    for (size_t i = 0; i < status_size; i++)
        buf_putc(json, 'y');
    buf_puts(json, "\"}");
}

static const char *on_reload(void *arg)
{
    (void)arg;
    reloads++;
    return refusal;
}

static void on_stop(void *arg)
{
    (void)arg;
    stops++;
}

static const struct control_events EVENTS = {on_status, on_reload, on_stop, &reloads};

static void setup(void)
{
    struct buf reason = {0};
    snprintf(dir, sizeof(dir), "/tmp/test_control.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/sock", dir);
    control = control_new(path, &EVENTS, &reason);
    ck_assert_ptr_nonnull(control);
    status_size = 3;
    buf_fini(&reason);
}

static void teardown(void)
{
    control_free(&control);
    ck_assert_int_eq(rmdir(dir), 0);
}

static int connect_client(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    memcpy(addr.sun_path, path, strlen(path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

/* Turns until nothing happens any more at that moment. */
static void turn(int64_t now_ms)
{
    struct pollfd fds[CONTROL_POLLFDS];
    for (;;) {
        size_t count = control_prepare(control, fds, now_ms);
        ck_assert_uint_le(count, CONTROL_POLLFDS);
        int n = poll(fds, (nfds_t)count, 0);
        control_handle(control, fds, count, now_ms);
        if (n == 0)
            return;
    }
}

static void say(int fd, const char *text)
{
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
}

/* What has come so far; *closed says whether the connection is at its end. */
static void hear(int fd, struct buf *out, bool *closed)
{
    char part[4096];
    ssize_t n;
    buf_clear(out);
    buf_puts(out, "");
    while ((n = read(fd, part, sizeof(part))) > 0)
        buf_append(out, part, (size_t)n);
    *closed = n == 0 || errno != EAGAIN;
}

static void expect(int fd, const char *text, bool closed)
{
    struct buf heard = {0};
    bool was_closed;
    hear(fd, &heard, &was_closed);
    ck_assert_str_eq(heard.data, text);
    ck_assert_int_eq(was_closed, closed);
    buf_fini(&heard);
}

START_TEST(test_mode)
{
    struct stat st;
    ck_assert_int_eq(lstat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
}
END_TEST

START_TEST(test_status)
{
    static const char *const REQUESTS[] = {"status\n", "status\r\n", "status\nmore", "top\n"};
    for (size_t i = 0; i < 4; i++) {
        int fd = connect_client();
        say(fd, REQUESTS[i]);
        turn(0);
        expect(fd, "ok\n{\"x\":\"yyy\"}\n", true);
        ck_assert(traffic_wanted == (i == 3));
        fd_close(&fd);
    }
    /* In pieces, and ended by closing instead of a newline. */
    int fd = connect_client();
    say(fd, "sta");
    turn(0);
    expect(fd, "", false);
    say(fd, "tus");
    shutdown(fd, SHUT_WR);
    turn(0);
    expect(fd, "ok\n{\"x\":\"yyy\"}\n", true);
    fd_close(&fd);
}
END_TEST

START_TEST(test_unknown)
{
    char longer[CONTROL_REQUEST_MAX + 10];
    memset(longer, 'a', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    const char *const requests[] = {"\n", "STATUS\n", "statusx\n", "status \n", "topx\n", longer};
    for (size_t i = 0; i < 6; i++) {
        struct buf heard = {0};
        bool closed;
        int fd = connect_client();
        say(fd, requests[i]);
        turn(0);
        hear(fd, &heard, &closed);
        ck_assert_int_eq(strncmp(heard.data, "error unknown request", 21), 0);
        ck_assert(closed);
        buf_fini(&heard);
        fd_close(&fd);
    }
    ck_assert_int_eq(reloads + stops, 0);
}
END_TEST

/* Each is answered by the first reload that began after it asked. */
START_TEST(test_reload)
{
    int first = connect_client();
    say(first, "reload\n");
    turn(0);
    ck_assert_int_eq(reloads, 1);
    expect(first, "", false);
    control_reload_begun(control);
    int second = connect_client();
    say(second, "reload\n");
    turn(CONTROL_IDLE_TIMEOUT_MS * 2); /* one that waits is not idle */
    ck_assert_int_eq(reloads, 2);
    control_reload_done(control, "line 3: no", 0);
    expect(first, "error line 3: no\n", true);
    expect(second, "", false);
    control_reload_begun(control);
    control_reload_done(control, NULL, 0);
    expect(second, "ok\n", true);
    fd_close(&first);
    fd_close(&second);

    refusal = "not now";
    int third = connect_client();
    say(third, "reload\n");
    turn(0);
    expect(third, "error not now\n", true);
    fd_close(&third);
    refusal = NULL;

    /* One that has left is forgotten. */
    int fourth = connect_client();
    say(fourth, "reload\n");
    turn(0);
    fd_close(&fourth);
    turn(0);
    control_reload_begun(control);
    control_reload_done(control, NULL, 0);
    ck_assert_int_eq(control_due(control), INT64_MAX);
}
END_TEST

START_TEST(test_stop)
{
    int fd = connect_client();
    say(fd, "stop\n");
    turn(0);
    ck_assert_int_eq(stops, 1);
    expect(fd, "ok\n", false);
    turn(CONTROL_IDLE_TIMEOUT_MS * 10);
    expect(fd, "", false);
    control_free(&control);
    expect(fd, "", true);
    fd_close(&fd);
}
END_TEST

START_TEST(test_idle)
{
    int fd = connect_client();
    turn(1000);
    ck_assert_int_eq(control_due(control), 1000 + CONTROL_IDLE_TIMEOUT_MS);
    say(fd, "sta"); /* a trickle is no reprieve */
    turn(1000 + CONTROL_IDLE_TIMEOUT_MS - 1);
    expect(fd, "", false);
    turn(1000 + CONTROL_IDLE_TIMEOUT_MS);
    expect(fd, "", true);
    ck_assert_int_eq(control_due(control), INT64_MAX);
    fd_close(&fd);
}
END_TEST

START_TEST(test_bounded)
{
    int fds[CONTROL_CLIENTS + 1];
    for (size_t i = 0; i <= CONTROL_CLIENTS; i++)
        fds[i] = connect_client();
    turn(0);
    say(fds[CONTROL_CLIENTS], "status\n");
    turn(0);
    expect(fds[CONTROL_CLIENTS], "", false); /* waits in the queue */
    fd_close(&fds[3]);
    turn(0);
    expect(fds[CONTROL_CLIENTS], "ok\n{\"x\":\"yyy\"}\n", true);
    for (size_t i = 0; i <= CONTROL_CLIENTS; i++)
        fd_close(&fds[i]);
}
END_TEST

/* An answer that does not go at once goes in pieces, and is given up when nobody takes it. */
START_TEST(test_large)
{
    struct buf heard = {0};
    bool closed = false;
    size_t total = 0;
    status_size = 4 * 1024 * 1024;
    int fd = connect_client();
    say(fd, "status\n");
    turn(0);
    while (!closed) {
        hear(fd, &heard, &closed);
        total += heard.len;
        ck_assert(closed || heard.len > 0);
        turn(0);
    }
    ck_assert_uint_eq(total, 3 + 6 + status_size + 3);
    fd_close(&fd);

    fd = connect_client();
    say(fd, "status\n");
    turn(0);
    ck_assert_int_eq(control_due(control), CONTROL_IDLE_TIMEOUT_MS);
    turn(CONTROL_IDLE_TIMEOUT_MS);
    ck_assert_int_eq(control_due(control), INT64_MAX);
    fd_close(&fd);
    buf_fini(&heard);
}
END_TEST

/* From one process to the next: who connects meanwhile waits and is served by the second one. */
START_TEST(test_handed_over)
{
    int fd = fcntl(control_fd(control), F_DUPFD_CLOEXEC, 3);
    struct control *second = control_adopt(path, &fd, &EVENTS);
    struct control *first = control;
    ck_assert_ptr_nonnull(second);
    ck_assert_int_eq(fd, -1);
    int early = connect_client();
    say(early, "status\n");
    control = second;
    turn(0); /* not yet */
    expect(early, "", false);
    ck_assert_int_eq(control_due(second), INT64_MAX);
    control_leave(first);
    ck_assert_int_eq(control_fd(first), -1);
    control = first;
    turn(0);
    expect(early, "", false);
    control_begin(second);
    control_free(&first);
    ck_assert_int_eq(access(path, F_OK), 0);
    control = second;
    turn(0);
    expect(early, "ok\n{\"x\":\"yyy\"}\n", true);
    fd_close(&early);
}
END_TEST

START_TEST(test_refused)
{
    struct buf reason = {0};
    char longer[200];
    ck_assert_ptr_null(control_new(path, &EVENTS, &reason));
    ck_assert_ptr_nonnull(strstr(reason.data, path));
    buf_clear(&reason);
    memset(longer, 'a', sizeof(longer));
    longer[0] = '/';
    longer[sizeof(longer) - 1] = '\0';
    ck_assert_ptr_null(control_new(longer, &EVENTS, &reason));
    ck_assert_ptr_nonnull(strstr(reason.data, "longer than"));
    buf_fini(&reason);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("control");
    TCase *tc = tcase_create("control");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_mode);
    tcase_add_test(tc, test_status);
    tcase_add_test(tc, test_unknown);
    tcase_add_test(tc, test_reload);
    tcase_add_test(tc, test_stop);
    tcase_add_test(tc, test_idle);
    tcase_add_test(tc, test_bounded);
    tcase_add_test(tc, test_large);
    tcase_add_test(tc, test_handed_over);
    tcase_add_test(tc, test_refused);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
