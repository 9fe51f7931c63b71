/*
 * spool: a request's body, kept once so that every attempt sends the same bytes: in memory up to a limit,
 * beyond that in an unlinked temporary file ($TMPDIR or /tmp; O_TMPFILE where the file system has it).
 */
#ifndef CLAVIGER_IO_SPOOL_H
#define CLAVIGER_IO_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct spool {
    char *data; /* owned; the whole body while it fits */
    size_t mem_len;
    size_t mem_cap;
    int64_t len; /* bytes in all */
    int fd;      /* -1 while the body is in memory */
    size_t memory_limit;
};

void spool_init(struct spool *spool, size_t memory_limit);
void spool_fini(struct spool *spool);

/* Makes it a body that stands in somebody else's memory: to be read only, and spool_fini() is not needed. */
void spool_show(struct spool *spool, char *data, size_t len);

/* 0, or -1 with errno (ENOMEM, or what the file system said). */
int spool_append(struct spool *spool, const void *data, size_t len);

/* The bytes when they are all in memory, else NULL; "" for an empty body. */
const char *spool_memory(const struct spool *spool);

/* Reads up to len bytes at offset; 0 at the end, -1 with errno. Attempts read at offsets of their own. */
ssize_t spool_read(const struct spool *spool, int64_t offset, void *out, size_t len);

#endif
