/*
 * test_log_targets: stderr, syslog and a full disk as targets, and that a reader who does not read costs
 * lines but never time.
 */
#include "log_files.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

START_TEST(full_disk_counts_lines)
{
    open_log("/dev/full", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_error("lost");
    log_raw("lost\nlost\n", 10);
    log_error("lost");
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_ERROR);
    log_raw("a request\n", 10);
    log_error("after");
    expect_file(path, "^" TIME " warning worker 0\\[[0-9]+\\]: 4 log lines were dropped\na request\n" TIME
                      " error worker 0\\[[0-9]+\\]: after\n$");
}
END_TEST

/* Logs until the pipe takes no more, then empties it. The test's timeout tells whether anything waited. */
static void expect_drops(int reader)
{
    char all[200][64], expected[128];
    int seen = 0;

    for (int i = 0; i < 200; i++) {
        snprintf(all[i], sizeof(all[i]), "]: number %d%.40s\n", i,
                 "........................................");
        log_info("number %d%.40s", i, "........................................");
    }
    const char *text = drain(reader);
    while (seen < 200 && strstr(text, all[seen]) != NULL)
        seen++;
    ck_assert_int_gt(seen, 10);
    ck_assert_int_lt(seen, 180);
    log_info("after");
    snprintf(expected, sizeof(expected),
             "warning worker 0\\[[0-9]+\\]: %d log lines were dropped\n.*: after\n$", 200 - seen);
    expect_match(drain(reader), expected);
    log_info("again");
    expect_match(drain(reader), "^" TIME " info worker 0\\[[0-9]+\\]: again\n$");
}

START_TEST(full_pipe_drops)
{
    int reader = stderr_to_pipe();

    open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_ge(log_fd(), 0);
    ck_assert_int_eq(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0); /* what others use stays as it was */
    ck_assert_int_ne(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC, 0);
    expect_drops(reader);
    close(reader);
}
END_TEST

/* Without a description of its own (no descriptor left) the log asks before it writes. */
static void open_stderr_without_descriptor(void)
{
    struct rlimit old, none = {.rlim_cur = 0, .rlim_max = 0};

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    none.rlim_max = old.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    ck_assert_int_eq(log_fd(), -1);
}

START_TEST(full_pipe_drops_when_shared)
{
    int reader = stderr_to_pipe();

    open_stderr_without_descriptor();
    expect_drops(reader);
    close(reader);
}
END_TEST

START_TEST(full_socket_drops)
{
    int ends[2], small = 1;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    for (int i = 0; i < 500; i++)
        log_info("number %d.", i);
    ck_assert_ptr_null(strstr(drain(ends[0]), "number 499."));
    log_info("after");
    expect_match(drain(ends[0]), "[0-9]+ log lines were dropped\n.*after\n$");
    close(ends[0]);
    dup2(real_stderr, STDERR_FILENO);
}
END_TEST

/* A line that was cut in the middle ends before the next one begins, and counts as lost. */
START_TEST(torn_line_is_ended)
{
    int reader = stderr_to_pipe();
    char lines[10001];

    if (_i == 0)
        open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    else
        open_stderr_without_descriptor();
    memset(lines, 'x', 10000);
    lines[10000] = '\0';
    log_info("%s", lines);
    log_info("lost");
    size_t n = strlen(drain(reader));
    ck_assert_uint_eq(n, PIPE_HOLDS);
    log_info("after");
    expect_match(drain(reader),
                 "^\n" TIME " warning [^\n]* 2 log lines were dropped\n" TIME " info [^\n]*after\n$");

    /* Raw lines: the first arrives, the second is cut, the third does not begin. */
    lines[1999] = lines[8999] = lines[9999] = '\n';
    log_raw(lines, 10000);
    const char *text = drain(reader);
    ck_assert_uint_eq(strlen(text), PIPE_HOLDS);
    ck_assert_ptr_eq(strrchr(text, '\n'), text + 1999);
    log_raw("next\n", 5);
    expect_match(drain(reader), "^\n[^\n]*2 log lines were dropped\nnext\n$");
    close(reader);
}
END_TEST

START_TEST(one_line_is_singular)
{
    open_log("/dev/full", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("lost");
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("after");
    expect_file(path, ": 1 log line was dropped\n");
}
END_TEST

START_TEST(reader_gone)
{
    int reader = stderr_to_pipe();

    open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    close(reader);
    log_info("lost");
    close(STDERR_FILENO);
    open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO); /* none at all */
    log_info("lost");
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_gt(log_fd(),
                     STDERR_FILENO); /* whoever points stderr elsewhere does not take the log along */
    ck_assert_int_ne(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC, 0);
    log_info("after");
    expect_file(path, ": 2 log lines were dropped\n");
}
END_TEST

START_TEST(stderr_as_a_file)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);

    ck_assert_int_ge(dup2(fd, STDERR_FILENO), 0);
    open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(log_fd(), -1);
    log_info("here");
    close(fd);
    expect_file(path, "here\n$");
}
END_TEST

/* stderr was pointed elsewhere, as a daemon does: reopening follows it and lets go of the old one. */
START_TEST(reopen_follows_stderr)
{
    int first = stderr_to_pipe();

    open_log("stderr", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("one");
    int second = stderr_to_pipe();
    ck_assert_int_eq(log_reopen(), 0);
    log_info("two");
    char rest[4096];
    ssize_t n = read(first, rest, sizeof(rest) - 1);
    ck_assert_int_gt(n, 0);
    rest[n] = '\0';
    expect_match(rest, "one\n$");
    ck_assert_int_eq(read(first, rest, sizeof(rest)), 0); /* end of file: nobody holds it open */
    expect_match(drain(second), "^[^\n]*two\n$");
    close(first);
    close(second);
}
END_TEST

static int syslog_listen(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);

    ck_assert_int_ge(fd, 0);
    memcpy(addr.sun_path, path, strlen(path));
    unlink(path);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    log_syslog_path = path;
    return fd;
}

static void expect_datagram(int fd, const char *pattern)
{
    char text[65536];
    ssize_t n = recv(fd, text, sizeof(text) - 1, MSG_DONTWAIT);

    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    expect_match(text, pattern);
}

#define SYSLOG_HEAD "[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [^ ]*test_log_targets\\[[0-9]+\\]: "

START_TEST(syslog_messages)
{
    int fd = syslog_listen();

    open_log("syslog", LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG);
    ck_assert_int_ge(log_fd(), 0);
    log_error("e\n");
    log_warning("w");
    log_info("i");
    log_debug("d");
    log_raw("line 1\nline 2\n", 14);
    expect_datagram(fd, "^<27>" SYSLOG_HEAD "error worker 0\\[[0-9]+\\]: e\\\\x0a$");
    expect_datagram(fd, "^<28>" SYSLOG_HEAD "warning worker 0\\[[0-9]+\\]: w$");
    expect_datagram(fd, "^<30>" SYSLOG_HEAD "info worker 0\\[[0-9]+\\]: i$");
    expect_datagram(fd, "^<31>" SYSLOG_HEAD "debug worker 0\\[[0-9]+\\]: d$");
    expect_datagram(fd, "^<30>" SYSLOG_HEAD "line 1$");
    expect_datagram(fd, "^<30>" SYSLOG_HEAD "line 2$");
    open_log("syslog", LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    log_info("i");
    expect_datagram(fd,
                    "^<30>" SYSLOG_HEAD "\\{\"time\":\"" TIME "\",\"level\":\"info\".*\"message\":\"i\"\\}$");
    close(fd);
}
END_TEST

START_TEST(syslog_comes_and_goes)
{
    log_syslog_path = path;
    open_log("syslog", LOG_FORMAT_TEXT, LOG_LEVEL_INFO); /* nobody there: no failure */
    ck_assert_int_eq(log_fd(), -1);
    log_info("lost");

    int fd = syslog_listen();
    log_info("one");
    expect_datagram(fd, ": one$");
    expect_datagram(fd, "^<28>.*: 1 log line was dropped$");

    close(fd);
    fd = syslog_listen(); /* started again: another socket by the same name */
    log_info("two");
    expect_datagram(fd, ": two$");
    ck_assert_int_eq(log_reopen(), 0);
    log_info("three");
    expect_datagram(fd, ": three$");
    close(fd);
}
END_TEST

START_TEST(syslog_full)
{
    int fd = syslog_listen(), seen = 0;
    char expected[128], text[65536];

    open_log("syslog", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    for (int i = 0; i < 2000; i++)
        log_info("number %d", i);
    while (recv(fd, text, sizeof(text), MSG_DONTWAIT) > 0)
        seen++;
    ck_assert_int_gt(seen, 0);
    ck_assert_int_lt(seen, 2000);
    log_info("after");
    expect_datagram(fd, ": after$");
    snprintf(expected, sizeof(expected), ": %d log lines were dropped$", 2000 - seen);
    expect_datagram(fd, expected);
    close(fd);
}
END_TEST

START_TEST(syslog_path_too_long)
{
    char name[200];

    memset(name, 'x', sizeof(name) - 1);
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    log_syslog_path = name;
    open_log("syslog", LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("lost");
    ck_assert_int_eq(log_fd(), -1);
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("after");
    expect_file(path, "1 log line was dropped");
    log_syslog_path = "/dev/log";
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log_targets");
    TCase *tc = tcase_create("log_targets");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, full_disk_counts_lines);
    tcase_add_test(tc, full_pipe_drops);
    tcase_add_test(tc, full_pipe_drops_when_shared);
    tcase_add_test(tc, full_socket_drops);
    tcase_add_loop_test(tc, torn_line_is_ended, 0, 2);
    tcase_add_test(tc, one_line_is_singular);
    tcase_add_test(tc, reader_gone);
    tcase_add_test(tc, stderr_as_a_file);
    tcase_add_test(tc, reopen_follows_stderr);
    tcase_add_test(tc, syslog_messages);
    tcase_add_test(tc, syslog_comes_and_goes);
    tcase_add_test(tc, syslog_full);
    tcase_add_test(tc, syslog_path_too_long);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
