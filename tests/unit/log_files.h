/*
 * log_files: what the tests of log share: a directory of their own, a log opened in it, stderr as a pipe, and
 * what came out.
 */
#ifndef CLAVIGER_TESTS_LOG_FILES_H
#define CLAVIGER_TESTS_LOG_FILES_H

#include "base/log.h"

#include "base/fd.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TIME "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"

static char dir[] = "/tmp/test_log.XXXXXX";
static char path[64], renamed[64];
static int real_stderr = -1;

static inline void setup(void)
{
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof(dir), "/tmp/test_log.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/log", dir);
    snprintf(renamed, sizeof(renamed), "%s/log.1", dir);
    real_stderr = dup(STDERR_FILENO);
    log_set_process("worker 0");
}

static inline void teardown(void)
{
    dup2(real_stderr, STDERR_FILENO);
    fd_close(&real_stderr);
    unlink(path);
    unlink(renamed);
    rmdir(dir);
}

static inline void open_log(const char *target, enum log_format format, enum log_level level)
{
    const char *reason = NULL;
    struct log_options options = {.target = target, .format = format, .level = level};

    if (log_open(&options, &reason) < 0)
        ck_abort_msg("%s: %s", target, reason);
}

static inline char *content(const char *name)
{
    size_t len;
    int fd = open(name, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    char *text = fd_read_file(fd, 1 << 24, &len);
    ck_assert_ptr_nonnull(text);
    close(fd);
    return text;
}

static inline void expect_match(const char *text, const char *pattern)
{
    regex_t re;

    ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool found = regexec(&re, text, 0, NULL, 0) == 0;
    regfree(&re);
    ck_assert_msg(found, "'%s' does not match '%s'", text, pattern);
}

static inline void expect_file(const char *name, const char *pattern)
{
    char *text = content(name);
    expect_match(text, pattern);
    free(text);
}

/* Everything that waits in a pipe or socket now, in a static block. */
static inline const char *drain(int fd)
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
static inline int stderr_to_pipe(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETPIPE_SZ, PIPE_HOLDS), PIPE_HOLDS);
    ck_assert_int_ge(dup2(ends[1], STDERR_FILENO), 0);
    close(ends[1]);
    return ends[0];
}

#endif
