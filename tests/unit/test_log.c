/* test_log: the two formats, every target, and that a reader who does not read costs lines but never time. */
#include "base/log.h"

#include "base/fd.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

static char dir[] = "/tmp/test_log.XXXXXX";
static char path[64], renamed[64];
static int real_stderr = -1;

static void setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "/tmp/test_log.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(renamed, sizeof(renamed), "%s/log.1", dir);
    real_stderr = dup(STDERR_FILENO);
    log_set_process("worker 0");
}

static void teardown(void)
{
    dup2(real_stderr, STDERR_FILENO);
    fd_close(&real_stderr);
    unlink(path);
    unlink(renamed);
    rmdir(dir);
}

static void open_log(const char *target, enum log_format format, enum log_level level)
{
    const char *reason = NULL;
    struct log_options options = {.target = target, .format = format, .level = level};

    if (log_open(&options, &reason) < 0)
        ck_abort_msg("%s: %s", target, reason);
}

static char *content(const char *name)
{
    size_t len;
    int fd = open(name, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    char *text = fd_read_file(fd, 1 << 24, &len);
    ck_assert_ptr_nonnull(text);
    close(fd);
    return text;
}

static void expect_match(const char *text, const char *pattern)
{
    regex_t re;

    ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    ck_assert_msg(found, "'%s' does not match '%s'", text, pattern);
}

static void expect_file(const char *name, const char *pattern)
{
    char *text = content(name);
    expect_match(text, pattern);
    free(text);
}

/* Everything that waits in a pipe or socket now, in a static block. */
static const char *drain(int fd)
{
    static char text[1 << 20];
    size_t len = 0;
    struct pollfd p = {.fd = fd, .events = POLLIN};

    while (poll(&p, 1, 0) > 0 && len < sizeof(text) - 1) {
        ssize_t n = read(fd, text + len, sizeof(text) - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
    }
    text[len] = '\0';
    return text;
}

#define PIPE_HOLDS 8192

/* stderr becomes a pipe that holds two pages; returns the reading end. */
static int stderr_to_pipe(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETPIPE_SZ, PIPE_HOLDS), PIPE_HOLDS);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    return ends[0];
}

START_TEST(before_open_text_on_stderr)
{
    int reader = stderr_to_pipe();

    log_set_process("");
    errno = ENOENT;
    log_info("opening %s: %m", "x");
    ck_assert_int_eq(errno, ENOENT);
    log_debug("never seen");
    expect_match(drain(reader),
                 "^" TIME " info [^ ]*test_log\\[[0-9]+\\]: opening x: No such file or directory\n$");
    ck_assert_int_eq(log_get_format(), LOG_FORMAT_TEXT);
    close(reader);
}
END_TEST

START_TEST(text_lines)
{
    char expected[512];

    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG);
    log_error("e");
    log_warning("w");
    log_info("i %d", 1);
    log_debug("d");
    log_raw("raw 1\nraw 2\n", 12);
    snprintf(expected, sizeof(expected),
             "^" TIME " error worker 0\\[%ld\\]: e\n" TIME " warning worker 0\\[%ld\\]: w\n" TIME
             " info worker 0\\[%ld\\]: i 1\n" TIME " debug worker 0\\[%ld\\]: d\nraw 1\nraw 2\n$",
             (long)getpid(), (long)getpid(), (long)getpid(), (long)getpid());
    expect_file(path, expected);
}
END_TEST

START_TEST(json_lines)
{
    char expected[512];

    open_log(path, LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    ck_assert_int_eq(log_get_format(), LOG_FORMAT_JSON);
    log_set_process("a\"b");
    log_warning("say \"%s\"\n\x01\xff", "hi");
    snprintf(expected, sizeof(expected),
             "^\\{\"time\":\"" TIME
             "\",\"level\":\"warning\",\"process\":\"a\\\\\"b\",\"pid\":%ld,\"message\":"
             "\"say \\\\\"hi\\\\\"\\\\n\\\\u0001\xef\xbf\xbd\"\\}\n$",
             (long)getpid());
    expect_file(path, expected);
}
END_TEST

START_TEST(levels)
{
    static const char *const seen[] = {"e", "ew", "ewi", "ewid"};
    char letters[8] = "";

    open_log(path, LOG_FORMAT_TEXT, (enum log_level)_i);
    log_error("~e");
    log_warning("~w");
    log_info("~i");
    log_debug("~d");
    char *text = content(path);
    for (const char *p = text; (p = strchr(p, '~')) != NULL; p++)
        letters[strlen(letters)] = p[1];
    ck_assert_str_eq(letters, seen[_i]);
    free(text);
}
END_TEST

START_TEST(control_bytes_are_escaped)
{
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_set_process("a\nb");
    log_info("x\r\n2026 error forged\x1b[31m\x7f\xc2\x9b\xff\xc3\xa4");
    expect_file(path, "info a\\\\x0ab\\[[0-9]+\\]: x\\\\x0d\\\\x0a2026 error "
                      "forged\\\\x1b\\[31m\\\\x7f\\\\xc2\\\\x9b\\\\xff\xc3\xa4\n$");
}
END_TEST

START_TEST(long_messages_are_cut)
{
    static const int sizes[] = {LOG_MESSAGE_MAX, LOG_MESSAGE_MAX + 1, LOG_MESSAGE_MAX * 4};

    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        for (size_t i = 0; i < 3; i++) {
            open_log(path, (enum log_format)format, LOG_LEVEL_INFO);
            log_info("%*s", sizes[i], "\x02"); /* the last byte grows when it is escaped */
            char *text = content(path);
            const char *blanks = strstr(text, "  ");
            size_t n = strspn(blanks, " ") - (format == LOG_FORMAT_TEXT);
            if (i == 0) {
                ck_assert_uint_eq(n, LOG_MESSAGE_MAX - 1);
                ck_assert_ptr_nonnull(strstr(text, format == LOG_FORMAT_TEXT ? " \\x02\n" : " \\u0002\"}\n"));
            } else {
                ck_assert_uint_eq(n, LOG_MESSAGE_MAX - 3);
                ck_assert_ptr_nonnull(strstr(text, format == LOG_FORMAT_TEXT ? " ...\n" : " ...\"}\n"));
            }
            free(text);
            unlink(path);
        }
    }
}
END_TEST

/* The longest line there can be: every byte of it escaped. */
START_TEST(worst_message_is_whole)
{
    char message[LOG_MESSAGE_MAX + 1];

    memset(message, 1, LOG_MESSAGE_MAX);
    message[LOG_MESSAGE_MAX] = '\0';
    open_log(path, LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    log_info("%s", message);
    char *text = content(path);
    ck_assert_uint_gt(strlen(text), LOG_MESSAGE_MAX * 6);
    ck_assert_str_eq(text + strlen(text) - 9, "\\u0001\"}\n");
    free(text);
}
END_TEST

START_TEST(bad_targets_change_nothing)
{
    static const char *const bad[] = {"relative.log", "", "STDERR", "/", "/no-such-directory/log"};
    const char *reason;

    open_log(path, LOG_FORMAT_JSON, LOG_LEVEL_ERROR);
    int fd = log_fd();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct log_options options = {.target = bad[i], .format = LOG_FORMAT_TEXT, .level = LOG_LEVEL_DEBUG};
        reason = NULL;
        ck_assert_int_eq(log_open(&options, &reason), -1);
        ck_assert_ptr_nonnull(reason);
        ck_assert_int_eq(log_fd(), fd);
    }
    ck_assert_str_eq(reason, "No such file or directory");
    log_debug("below the level");
    log_error("still here");
    expect_file(path, "^\\{.*still here\"\\}\n$");
}
END_TEST

START_TEST(file_mode_and_flags)
{
    struct stat st;

    umask(0);
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_ge(log_fd(), 0);
    ck_assert_int_ne(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(log_fd(), F_GETFL) & O_APPEND, 0);
    log_info("first");
    ck_assert_int_eq(truncate(path, 0), 0); /* as `> log` does: the next line begins the file */
    log_info("second");
    expect_file(path, "^" TIME " info worker 0\\[[0-9]+\\]: second\n$");
}
END_TEST

START_TEST(reopens_after_rename)
{
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("one");
    ck_assert_int_eq(rename(path, renamed), 0);
    log_info("two");
    ck_assert_int_eq(log_reopen(), 0);
    log_info("three");
    expect_file(renamed, "^[^\n]*one\n[^\n]*two\n$");
    expect_file(path, "^[^\n]*three\n$");
}
END_TEST

START_TEST(reopen_failure_keeps_the_file)
{
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(rename(path, renamed), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    int rc = log_reopen();
    int error = errno;
    log_info("kept");
    rmdir(path);
    ck_assert_int_eq(rc, -1);
    ck_assert_int_eq(error, EISDIR);
    expect_file(renamed, "kept\n$");
}
END_TEST

START_TEST(owner_of_new_files)
{
    struct stat st;

    log_set_owner(12345, 23456);
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_uid, geteuid() == 0 ? 12345 : geteuid());
    ck_assert_uint_eq(st.st_gid, geteuid() == 0 ? 23456 : getegid());
    log_set_owner(54321, (gid_t)-1); /* the one that is open, too */
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_uid, geteuid() == 0 ? 54321 : geteuid());
    ck_assert_uint_eq(st.st_gid, geteuid() == 0 ? 23456 : getegid());

    ck_assert_int_eq(stat("/dev/null", &st), 0);
    uid_t before = st.st_uid;
    open_log("/dev/null", LOG_FORMAT_TEXT, LOG_LEVEL_INFO); /* a device is nobody's log file */
    ck_assert_int_eq(stat("/dev/null", &st), 0);
    ck_assert_uint_eq(st.st_uid, before);
    log_set_owner((uid_t)-1, (gid_t)-1);
}
END_TEST

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

#define SYSLOG_HEAD "[A-Z][a-z]{2} [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [^ ]*test_log\\[[0-9]+\\]: "

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

START_TEST(process_name_is_cut)
{
    char name[200];

    memset(name, 'p', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_set_process(name);
    log_info("m");
    expect_file(path, " info p{63}\\[");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("log");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, before_open_text_on_stderr);
    tcase_add_test(tc, text_lines);
    tcase_add_test(tc, json_lines);
    tcase_add_loop_test(tc, levels, LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG + 1);
    tcase_add_test(tc, control_bytes_are_escaped);
    tcase_add_test(tc, long_messages_are_cut);
    tcase_add_test(tc, worst_message_is_whole);
    tcase_add_test(tc, bad_targets_change_nothing);
    tcase_add_test(tc, file_mode_and_flags);
    tcase_add_test(tc, reopens_after_rename);
    tcase_add_test(tc, reopen_failure_keeps_the_file);
    tcase_add_test(tc, owner_of_new_files);
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
    tcase_add_test(tc, process_name_is_cut);
    suite_add_tcase(suite, tc);

    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
