/*
 * pidfile: owns the pid file and its lock. Called by the master at start and end; a child never holds the
 * descriptor.
 */
#include "master/pidfile.h"

#include "base/fd.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIDFILE_TRIES 10

/* Whether the path still names the file that is open: its last owner may have removed it before we got the
 * lock. */
static bool is_current(int fd, const char *path)
{
    struct stat ours;
    struct stat there;
    return fstat(fd, &ours) == 0 && stat(path, &there) == 0 && ours.st_dev == there.st_dev &&
           ours.st_ino == there.st_ino;
}

static void explain_held(int fd, const char *path, struct buf *reason)
{
    char text[24];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    size_t digits = 0;
    while (n > 0 && digits < (size_t)n && isdigit((unsigned char)text[digits]))
        digits++;
    if (digits == 0)
        buf_printf(reason, "already running: another process holds the lock on %s", path);
    else
        buf_printf(reason,
                   "already running as pid %.*s (%s is locked): stop it first, or set another pid_file",
                   (int)digits, text, path);
}

/* The locked descriptor, -1 with *reason, or -2 when the file was replaced meanwhile. */
static int open_locked(const char *path, struct buf *reason)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NOFOLLOW, 0644);
    if (fd < 0) {
        buf_printf(reason, "cannot write pid file %s: %s; check its directory, or set pid_file", path,
                   strerror(errno));
        return -1;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            explain_held(fd, path, reason);
        else
            buf_printf(reason, "cannot lock pid file %s: %s", path, strerror(errno));
        fd_close(&fd);
        return -1;
    }
    if (is_current(fd, path))
        return fd;
    fd_close(&fd);
    return -2;
}

int pidfile_write(const struct pidfile *file)
{
    char text[24];
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    /* In this order its first line is a pid at every moment, the last owner's or ours. */
    if (pwrite(file->fd, text, (size_t)n, 0) != n)
        return -1;
    return ftruncate(file->fd, n);
}

int pidfile_create(struct pidfile *file, const char *path, struct buf *reason)
{
    file->fd = -2;
    file->path = strdup(path);
    for (int i = 0; file->path && file->fd == -2 && i < PIDFILE_TRIES; i++)
        file->fd = open_locked(path, reason);
    if (file->fd >= 0) {
        if (pidfile_write(file) == 0)
            return 0;
        buf_printf(reason, "cannot write pid file %s: %s", path, strerror(errno));
        pidfile_remove(file);
        return -1;
    }
    if (reason->len == 0)
        buf_printf(reason, "cannot lock pid file %s: it is replaced again and again", path);
    file->fd = -1;
    free(file->path);
    file->path = NULL;
    return -1;
}

int pidfile_adopt(struct pidfile *file, const char *path, int *fd)
{
    file->path = strdup(path);
    if (!file->path)
        return -1;
    file->fd = *fd;
    *fd = -1;
    return 0;
}

void pidfile_leave(struct pidfile *file)
{
    fd_close(&file->fd);
    free(file->path);
    file->path = NULL;
}

void pidfile_remove(struct pidfile *file)
{
    if (file->fd >= 0 && is_current(file->fd, file->path))
        unlink(file->path);
    fd_close(&file->fd);
    free(file->path);
    file->path = NULL;
}
