/*
 * spool: owns one request's body. Called by the relay; the file it may need has no name, so nothing is left
 * behind however the process ends.
 */
#include "io/spool.h"

#include "base/fd.h"
#include "base/recycle.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_CAP     4096
#define BELIEVE_BYTES (16 * 1024) /* an announced length is believed when so many have come */

void spool_init(struct spool *spool, size_t memory_limit)
{
    *spool = (struct spool){.fd = -1, .memory_limit = memory_limit};
}

void spool_fini(struct spool *spool)
{
    recycle_free(spool->data);
    fd_close(&spool->fd);
    spool_init(spool, spool->memory_limit);
}

void spool_expect(struct spool *spool, int64_t len)
{
    spool->expected = len;
}

void spool_show(struct spool *spool, char *data, size_t len)
{
    *spool = (struct spool){.fd = -1, .data = data, .mem_len = len, .mem_cap = len, .len = (int64_t)len};
}

/* So much may be in memory now. */
static size_t memory_limit(const struct spool *spool)
{
    return spool->fd >= 0 && spool->memory_limit > SPOOL_PIECE ? SPOOL_PIECE : spool->memory_limit;
}

/* Room for mem_len + len bytes, which is within the limit. */
static int grow(struct spool *spool, size_t len)
{
    const size_t limit = memory_limit(spool);
    size_t need = spool->mem_len + len;
    if (need <= spool->mem_cap)
        return 0;
    size_t cap = spool->mem_cap < FIRST_CAP ? FIRST_CAP : spool->mem_cap;
    while (cap < need && cap <= limit / 2)
        cap *= 2;
    if (cap < need || cap > limit)
        cap = limit;
    /* What is announced, and no more than that, is taken at once: nothing has to be copied again. */
    int64_t all = spool->expected - spool_file_len(spool);
    if (spool->len >= BELIEVE_BYTES && all > 0 && need <= SPOOL_PIECE && need <= (uint64_t)all) {
        cap = (uint64_t)all < SPOOL_PIECE ? (size_t)all : SPOOL_PIECE;
        cap = cap < limit ? cap : limit;
    }
    char *data = recycle_realloc(spool->data, cap);
    if (data == NULL)
        return -1;
    spool->data = data;
    spool->mem_cap = cap;
    return 0;
}

/* A file that has no name (any more). -1 with errno. */
static int open_unnamed(void)
{
    const char *dir = getenv("TMPDIR");
    if (dir == NULL || dir[0] != '/')
        dir = "/tmp";
    int fd = open(dir, O_TMPFILE | O_RDWR | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;

    /* Not every file system has O_TMPFILE. */
    char name[PATH_MAX];
    int n = snprintf(name, sizeof(name), "%s/claviger.XXXXXX", dir);
    if (n < 0 || (size_t)n >= sizeof(name)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(name, O_CLOEXEC);
    if (fd >= 0 && unlink(name) < 0)
        fd_close(&fd);
    return fd;
}

/* At offsets, so that a write that failed half-way can be done again. */
static int write_at(int fd, const char *data, size_t len, int64_t offset)
{
    while (len > 0) {
        ssize_t n = pwrite(fd, data, len, (off_t)offset);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        data += n;
        len -= (size_t)n;
        offset += n;
    }
    return 0;
}

int64_t spool_file_len(const struct spool *spool)
{
    return spool->fd < 0 ? 0 : spool->len - (int64_t)spool->mem_len;
}

static void free_memory(struct spool *spool)
{
    recycle_free(spool->data);
    spool->data = NULL;
    spool->mem_len = 0;
    spool->mem_cap = 0;
}

/* Moves what is in memory to the file, with the last `fresh` bytes, which spool->len does not count yet. On
 * failure the others stay in memory. */
static int spill(struct spool *spool, size_t fresh)
{
    bool first = spool->fd < 0;
    spool->mem_len -= fresh;
    if (first && (spool->fd = open_unnamed()) < 0)
        return -1;
    if (write_at(spool->fd, spool->data, spool->mem_len + fresh, spool->len - (int64_t)spool->mem_len) < 0) {
        if (first)
            fd_close(&spool->fd);
        return -1;
    }
    spool->mem_len = 0;
    if (spool->mem_cap > memory_limit(spool))
        free_memory(spool);
    return 0;
}

static int keep(struct spool *spool, const char *data, size_t len)
{
    if (grow(spool, len) < 0)
        return -1;
    if (len > 0)
        memcpy(spool->data + spool->mem_len, data, len);
    spool->mem_len += len;
    return 0;
}

int spool_append(struct spool *spool, const void *data, size_t len)
{
    const char *rest = data;
    size_t left = len;
    size_t room = memory_limit(spool) - spool->mem_len;
    if (left > room) {
        /* Filled up first: large writes at even offsets cost the least, and so does reading them. */
        if (keep(spool, rest, room) < 0 || spill(spool, room) < 0)
            return -1;
        rest += room;
        left -= room;
    }
    if (left > memory_limit(spool)) {
        if (write_at(spool->fd, rest, left, spool->len + (int64_t)(len - left)) < 0)
            return -1;
    } else if (keep(spool, rest, left) < 0) {
        return -1;
    }
    spool->len += (int64_t)len;
    return 0;
}

int spool_settle(struct spool *spool)
{
    if (spool->fd < 0)
        return 0;
    if (spill(spool, 0) < 0)
        return -1;
    free_memory(spool);
    return 0;
}

const char *spool_memory(const struct spool *spool)
{
    if (spool->fd >= 0)
        return NULL;
    return spool->data == NULL ? "" : spool->data;
}

ssize_t spool_read(const struct spool *spool, int64_t offset, void *out, size_t len)
{
    if (offset < 0) {
        errno = EINVAL;
        return -1;
    }
    if (offset >= spool->len)
        return 0;
    if ((uint64_t)len > (uint64_t)(spool->len - offset))
        len = (size_t)(spool->len - offset);
    int64_t file_len = spool_file_len(spool);
    if (offset >= file_len) {
        memcpy(out, spool->data + (offset - file_len), len);
        return (ssize_t)len;
    }
    if ((uint64_t)len > (uint64_t)(file_len - offset))
        len = (size_t)(file_len - offset);
    ssize_t n;
    do
        n = pread(spool->fd, out, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    /* Fewer bytes than were written: somebody cut the file. A short body must not look like a whole one. */
    if (n == 0 && len > 0) {
        errno = EIO;
        return -1;
    }
    return n;
}
