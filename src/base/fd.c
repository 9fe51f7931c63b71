/*
 * fd: owns no descriptor; helps those who do. It never logs: errno tells.
 */
#include "base/fd.h"

#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_STEP 4096

void fd_close(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    /* Not repeated on EINTR: Linux has closed it by then, and the number may be someone else's. */
    close(*fd);
    *fd = -1;
    errno = saved;
}

int fd_set_nonblock(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return -1;
    int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
    return wanted == flags ? 0 : fcntl(fd, F_SETFL, wanted);
}

int fd_write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

/* realloc() would leave the old block, and a key in it, behind unwiped. */
static char *grow(char *data, size_t used, size_t cap)
{
    char *bigger = malloc(cap);
    if (bigger != NULL)
        memcpy(bigger, data, used);
    secret_wipe(data, used);
    free(data);
    return bigger;
}

char *fd_read_file(int fd, size_t max, size_t *len)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return NULL;
    if (!S_ISREG(st.st_mode)) {
        errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
        return NULL;
    }
    if (max > SIZE_MAX / 4)
        max = SIZE_MAX / 4;
    if ((uintmax_t)st.st_size > max) {
        errno = EFBIG;
        return NULL;
    }
    /* The size is only a first guess: the file may grow meanwhile, and files of /proc say 0. */
    size_t cap = (size_t)st.st_size + READ_STEP;
    size_t used = 0;
    char *data = malloc(cap);
    while (data != NULL) {
        ssize_t n = read(fd, data + used, cap - used - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0) {
            data[used] = '\0';
            *len = used;
            return data;
        }
        used += n > 0 ? (size_t)n : 0;
        if (n < 0 || used > max) {
            int saved = n < 0 ? errno : EFBIG;
            secret_wipe(data, used);
            free(data);
            errno = saved;
            return NULL;
        }
        if (used == cap - 1) {
            cap *= 2;
            data = grow(data, used, cap);
        }
    }
    return NULL;
}

/* ---- descriptors on their way to another process */

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a;
    int y = *(const int *)b;
    return (x > y) - (x < y);
}

void fd_close_others(int *keep, size_t count)
{
    unsigned next = 3;
    if (count > 0)
        qsort(keep, count, sizeof(*keep), compare_ints);
    for (size_t i = 0; i < count; i++) {
        if (keep[i] < (int)next)
            continue;
        if (keep[i] > (int)next)
            close_range(next, (unsigned)keep[i] - 1, 0);
        next = (unsigned)keep[i] + 1;
    }
    close_range(next, ~0U, 0);
}

/* One descriptor, aligned as cmsg(3) wants it. */
union passed {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int))];
};

int fd_send(int socket, int fd, uint32_t number)
{
    union passed passed = {
        .header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
    struct iovec data = {&number, sizeof(number)};
    const struct msghdr message = {.msg_iov = &data,
                                   .msg_iovlen = 1,
                                   .msg_control = &passed,
                                   .msg_controllen = sizeof(passed.room)};
    memcpy(CMSG_DATA(&passed.header), &fd, sizeof(fd));
    return sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

int fd_receive(int socket, uint32_t *number)
{
    union passed passed;
    struct iovec data = {number, sizeof(*number)};
    struct msghdr message = {.msg_iov = &data,
                             .msg_iovlen = 1,
                             .msg_control = &passed,
                             .msg_controllen = sizeof(passed.room)};
    ssize_t n = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    const struct cmsghdr *header = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    int fd;
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int))) {
        memcpy(&fd, CMSG_DATA(header), sizeof(fd));
        return fd;
    }
    if (n >= 0)
        errno = n == 0 ? EPIPE : EBADF;
    return -1;
}
