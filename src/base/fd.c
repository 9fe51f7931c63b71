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
#include <sys/stat.h>
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
