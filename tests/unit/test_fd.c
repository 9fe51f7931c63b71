/* test_fd: whole reads and whole writes, interrupted ones too. */
#include "base/fd.h"

#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

/* A file with that content and no name, read from its begin. */
static int file_with(const char *content, size_t len)
{
    FILE *f = tmpfile();

    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(content, 1, len, f), len);
    ck_assert_int_eq(fflush(f), 0);
    int fd = dup(fileno(f));
    fclose(f);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

START_TEST(closes_once)
{
    int fd = open("/dev/null", O_RDONLY);
    int same = fd;

    ck_assert_int_ge(fd, 0);
    errno = E2BIG;
    fd_close(&fd);
    ck_assert_int_eq(fd, -1);
    ck_assert_int_eq(fcntl(same, F_GETFD), -1);
    errno = E2BIG;
    fd_close(&fd);
    ck_assert_int_eq(errno, E2BIG);
    fd = same; /* closed already: the error of close() does not show */
    fd_close(&fd);
    ck_assert_int_eq(errno, E2BIG);
    ck_assert_int_eq(fd, -1);
}
END_TEST

START_TEST(sets_nonblock)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_int_eq(fd_set_nonblock(ends[0], true), 0);
    ck_assert_int_ne(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_eq(fd_set_nonblock(ends[0], true), 0);
    ck_assert_int_eq(fd_set_nonblock(ends[0], false), 0);
    ck_assert_int_eq(fcntl(ends[0], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    close(ends[1]);
    ck_assert_int_eq(fd_set_nonblock(ends[0], true), -1);
    ck_assert_int_eq(errno, EBADF);
}
END_TEST

static int go_fd; /* a byte for every alarm tells the reader to begin */

static void on_alarm(int sig)
{
    (void)sig;
    int saved = errno;
    if (write(go_fd, "!", 1) < 0)
        _exit(3);
    errno = saved;
}

/* The reader: waits for three alarms, so that the writer is interrupted on a full pipe, then sums up what
 * comes. */
static void read_after_alarms(int go, int data, int result)
{
    char bytes[4096];
    uint64_t sum = 0;
    ssize_t n;

    for (int i = 0; i < 3; i++)
        if (read(go, bytes, 1) != 1)
            _exit(1);
    while ((n = read(data, bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < n; i++)
            sum = sum * 31 + (unsigned char)bytes[i];
    _exit(n == 0 && write(result, &sum, sizeof(sum)) == sizeof(sum) ? 0 : 1);
}

START_TEST(writes_through_interruptions)
{
    enum { SIZE = 1 << 20 };
    int go[2], data[2], result[2];
    struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    struct itimerval often = {.it_interval = {.tv_usec = 2000}, .it_value = {.tv_usec = 2000}};
    struct itimerval never = {0};
    uint64_t expected = 0, sum = 0;
    int status;

    ck_assert(pipe(go) == 0 && pipe(data) == 0 && pipe(result) == 0);
    unsigned char *bytes = malloc(SIZE);
    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] = (unsigned char)(i * 7 + i / 251);
        expected = expected * 31 + bytes[i];
    }
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        close(data[1]);
        read_after_alarms(go[0], data[0], result[1]);
    }
    close(data[0]);
    go_fd = go[1];
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &often, NULL), 0);
    int written = fd_write_all(data[1], bytes, SIZE);
    setitimer(ITIMER_REAL, &never, NULL);
    ck_assert_int_eq(written, 0);
    close(data[1]);
    ck_assert_int_eq(read(result[0], &sum, sizeof(sum)), sizeof(sum));
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_uint_eq(sum, expected);
    free(bytes);
}
END_TEST

START_TEST(write_errors)
{
    int ends[2];
    char block[4096] = {0};

    ck_assert_int_eq(fd_write_all(-1, "", 0), 0);
    ck_assert_int_eq(fd_write_all(-1, "x", 1), -1);
    ck_assert_int_eq(errno, EBADF);

    int full = open("/dev/full", O_WRONLY);
    ck_assert_int_ge(full, 0);
    ck_assert_int_eq(fd_write_all(full, "x", 1), -1);
    ck_assert_int_eq(errno, ENOSPC);
    close(full);

    ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
    int rc;
    while ((rc = fd_write_all(ends[1], block, sizeof(block))) == 0)
        continue;
    ck_assert_int_eq(errno, EAGAIN);
    signal(SIGPIPE, SIG_IGN);
    close(ends[0]);
    ck_assert_int_eq(fd_write_all(ends[1], "x", 1), -1);
    ck_assert_int_eq(errno, EPIPE);
    close(ends[1]);
}
END_TEST

static const size_t lengths[] = {0, 1, 4094, 4095, 4096, 4097, 70000};

START_TEST(reads_files_of_any_length)
{
    size_t want = lengths[_i], len = 12345;
    char *content = malloc(want + 1);

    ck_assert_ptr_nonnull(content);
    for (size_t i = 0; i < want; i++)
        content[i] = (char)(i * 13 % 256);
    int fd = file_with(content, want);
    char *read_back = fd_read_file(fd, want, &len);
    ck_assert_ptr_nonnull(read_back);
    ck_assert_uint_eq(len, want);
    ck_assert(memcmp(read_back, content, want) == 0);
    ck_assert_int_eq(read_back[want], '\0');
    free(read_back);
    if (want > 0) {
        ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
        ck_assert_ptr_null(fd_read_file(fd, want - 1, &len));
        ck_assert_int_eq(errno, EFBIG);
    }
    close(fd);
    free(content);
}
END_TEST

/* Files of /proc say that they are empty. */
START_TEST(reads_files_that_hide_their_size)
{
    size_t len = 0;
    int fd = open("/proc/self/smaps", O_RDONLY);

    ck_assert_int_ge(fd, 0);
    char *text = fd_read_file(fd, SIZE_MAX, &len);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_gt(len, 4096);
    ck_assert_uint_eq(strlen(text), len);
    free(text);
    ck_assert_int_eq(lseek(fd, 0, SEEK_SET), 0);
    ck_assert_ptr_null(fd_read_file(fd, 10, &len));
    ck_assert_int_eq(errno, EFBIG);
    close(fd);
}
END_TEST

START_TEST(read_errors)
{
    size_t len;
    int ends[2];

    ck_assert_ptr_null(fd_read_file(-1, 100, &len));
    ck_assert_int_eq(errno, EBADF);

    int dir = open("/", O_RDONLY | O_DIRECTORY);
    ck_assert_ptr_null(fd_read_file(dir, 100, &len));
    ck_assert_int_eq(errno, EISDIR);
    close(dir);

    ck_assert_int_eq(pipe(ends), 0);
    ck_assert_ptr_null(fd_read_file(ends[0], 100, &len));
    ck_assert_int_eq(errno, EINVAL);
    close(ends[0]);
    close(ends[1]);

    char name[] = "/tmp/test_fd.XXXXXX";
    int fd = mkstemp(name);
    ck_assert_int_ge(fd, 0);
    close(fd);
    fd = open(name, O_WRONLY);
    unlink(name);
    ck_assert_ptr_null(fd_read_file(fd, 100, &len));
    ck_assert_int_eq(errno, EBADF);
    close(fd);
}
END_TEST

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* In a process of its own, as it is meant. */
START_TEST(closes_all_others)
{
    int keep[] = {-1, 40, 2, 30, 41, -1};
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        for (int fd = 29; fd <= 43; fd++)
            if (dup2(STDERR_FILENO, fd) != fd)
                _exit(1);
        fd_close_others(keep, sizeof(keep) / sizeof(keep[0]));
        for (int fd = 0; fd <= 60; fd++)
            if (is_open(fd) != (fd <= 2 || fd == 30 || fd == 40 || fd == 41))
                _exit(2);
        fd_close_others(NULL, 0);
        for (int fd = 0; fd <= 60; fd++)
            if (is_open(fd) != (fd <= 2))
                _exit(3);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST

static bool same_file(int a, int b)
{
    struct stat x;
    struct stat y;

    ck_assert_int_eq(fstat(a, &x), 0);
    ck_assert_int_eq(fstat(b, &y), 0);
    return x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* In order; after the other end is gone too. */
START_TEST(passes_descriptors_on)
{
    int ends[2];
    int files[2] = {file_with("a", 1), file_with("b", 1)};
    uint32_t number;
    int got;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    ck_assert_int_eq(fd_receive(ends[1], &number), -1);
    ck_assert_int_eq(errno, EAGAIN);
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(fd_send(ends[0], files[i], 7 + (unsigned)i), 0);
    ck_assert_int_eq(send(ends[0], "x", 1, 0), 1);
    close(ends[0]);
    for (int i = 0; i < 2; i++) {
        got = fd_receive(ends[1], &number);
        ck_assert_int_ge(got, 0);
        ck_assert(same_file(got, files[i]));
        ck_assert_uint_eq(number, 7 + (unsigned)i);
        ck_assert_int_eq(fcntl(got, F_GETFD), FD_CLOEXEC);
        close(got);
        close(files[i]);
    }
    ck_assert_int_eq(fd_receive(ends[1], &number), -1);
    ck_assert_int_eq(errno, EBADF);
    ck_assert_int_eq(fd_receive(ends[1], &number), -1);
    ck_assert_int_eq(errno, EPIPE);
    ck_assert_int_eq(fd_send(ends[1], ends[1], 0), -1);
    ck_assert_int_eq(errno, EPIPE); /* SIGPIPE would have ended us */
    close(ends[1]);
}
END_TEST

/* A socket that nobody reads takes some, and then says so. */
START_TEST(passes_no_more_than_fit)
{
    int ends[2];
    int count = 0;

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    while (count < 100000 && fd_send(ends[0], ends[0], 0) == 0)
        count++;
    ck_assert(errno == EAGAIN || errno == ETOOMANYREFS);
    ck_assert_int_ge(count, 10);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fd");
    TCase *tc = tcase_create("fd");

    tcase_add_test(tc, closes_once);
    tcase_add_test(tc, sets_nonblock);
    tcase_add_test(tc, writes_through_interruptions);
    tcase_add_test(tc, write_errors);
    tcase_add_loop_test(tc, reads_files_of_any_length, 0, (int)(sizeof(lengths) / sizeof(lengths[0])));
    tcase_add_test(tc, reads_files_that_hide_their_size);
    tcase_add_test(tc, read_errors);
    tcase_add_test(tc, closes_all_others);
    tcase_add_test(tc, passes_descriptors_on);
    tcase_add_test(tc, passes_no_more_than_fit);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
