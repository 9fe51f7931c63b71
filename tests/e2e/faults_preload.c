/*
 * faults_preload: the library that faults.h is about. It stands between a program and the C library; what it
 * is not told to spoil goes through as it came.
 */
#include "e2e/faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct faults none;
static struct faults *faults = &none;

/* The system calls are made directly: this runs before any other library is ready. */
__attribute__((constructor)) static void begin(void)
{
    const char *file = getenv(FAULTS_PAGE_ENV);
    int fd = file != NULL ? open(file, O_RDWR | O_CLOEXEC) : -1;
    void *page =
        fd >= 0 ? mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;

    if (fd >= 0)
        close(fd);
    if (page != MAP_FAILED)
        faults = page;
}

static bool is_meant(int fd)
{
    char link[64];
    char path[512];
    ssize_t n;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, path, sizeof(path) - 1);
    if (n <= 0)
        return false;
    path[n] = '\0';
    return strstr(path, faults->path) != NULL;
}

/* Whether this call has to fail; errno is set then. */
static bool fails(int fd)
{
    int error = atomic_load(&faults->error);
    int saved = errno;

    if (error == 0)
        return false;
    if (!is_meant(fd) || atomic_fetch_sub(&faults->after, 1) > 0) {
        errno = saved;
        return false;
    }
    atomic_fetch_add(&faults->failed, 1);
    errno = error;
    return true;
}

/* A disk that hangs. */
static void hold(int fd)
{
    int saved = errno;

    if (atomic_load(&faults->hold) != 0 && is_meant(fd))
        while (atomic_load(&faults->hold) != 0)
            (void)poll(NULL, 0, 1);
    errno = saved;
}

ssize_t write(int fd, const void *data, size_t len)
{
    hold(fd);
    return fails(fd) ? -1 : syscall(SYS_write, fd, data, len);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

int ftruncate(int fd, off_t len)
{
    return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate64(int fd, off64_t len)
{
    return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int fsync(int fd)
{
    return fails(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return fails(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* ---- the system's log */

int connect(int fd, const struct sockaddr *to, socklen_t len)
{
    struct sockaddr_un other = {.sun_family = AF_UNIX};

    if (faults->syslog[0] == '\0' || to->sa_family != AF_UNIX ||
        strcmp(((const struct sockaddr_un *)(const void *)to)->sun_path, "/dev/log") != 0)
        return (int)syscall(SYS_connect, fd, to, len);
    memcpy(other.sun_path, faults->syslog, sizeof(other.sun_path) - 1);
    return (int)syscall(SYS_connect, fd, &other, sizeof(other));
}

/* ---- the wall clock */

static void shift(struct timespec *ts)
{
    int64_t ms = atomic_load(&faults->clock_ms);

    ts->tv_sec += (time_t)(ms / 1000);
    ts->tv_nsec += (long)(ms % 1000) * 1000000;
    if (ts->tv_nsec >= 1000000000) {
        ts->tv_nsec -= 1000000000;
        ts->tv_sec++;
    } else if (ts->tv_nsec < 0) {
        ts->tv_nsec += 1000000000;
        ts->tv_sec--;
    }
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int rc = (int)syscall(SYS_clock_gettime, id, ts);

    if (rc == 0 && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE))
        shift(ts);
    return rc;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone)
{
    struct timespec ts;

    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
        return -1;
    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_REALTIME, &ts) != 0)
        return (time_t)-1;
    if (out != NULL)
        *out = ts.tv_sec;
    return ts.tv_sec;
}
