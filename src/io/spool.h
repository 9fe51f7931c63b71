/*
 * spool: a request's body, kept once so that every attempt sends the same bytes: in memory up to a limit,
 * beyond that in an unlinked temporary file ($TMPDIR or /tmp; O_TMPFILE where the file system has it). What
 * comes behind a full memory is collected there again and goes into the file in large pieces: so the file has
 * the body's begin, and memory its end, of at most SPOOL_PIECE bytes.
 */
#ifndef CLAVIGER_IO_SPOOL_H
#define CLAVIGER_IO_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SPOOL_PIECE ((size_t)256 * 1024)

struct spool {
    char *data; /* owned; the whole body while it fits, otherwise what is behind the file's bytes */
    size_t mem_len;
    size_t mem_cap;
    int64_t len; /* bytes in all */
    int fd;      /* -1 while the body is in memory */
    size_t memory_limit;
    int64_t expected; /* bytes that were announced; 0 = not known */
};

void spool_init(struct spool *spool, size_t memory_limit);
void spool_fini(struct spool *spool);

/* So much was announced. Memory for it, up to SPOOL_PIECE, is taken at once when a begin of it has come. */
void spool_expect(struct spool *spool, int64_t len);

/* Makes it a body that stands in somebody else's memory: to be read only, and spool_fini() is not needed. */
void spool_show(struct spool *spool, char *data, size_t len);

/* 0, or -1 with errno (ENOMEM, or what the file system said). */
int spool_append(struct spool *spool, const void *data, size_t len);

/* How many of the bytes are in the file. */
int64_t spool_file_len(const struct spool *spool);

/* If there is a file, moves what is in memory there too, for somebody who reads it past us. 0, or -1 with
 * errno. */
int spool_settle(struct spool *spool);

/* The bytes when they are all in memory, else NULL; "" for an empty body. */
const char *spool_memory(const struct spool *spool);

/* Reads up to len bytes at offset; 0 at the end, -1 with errno. Attempts read at offsets of their own. */
ssize_t spool_read(const struct spool *spool, int64_t offset, void *out, size_t len);

#endif
