/*
 * recycle: a general allocator for one thread that allocates and frees the same few sizes over and over:
 * freed blocks are kept by their size and handed out again. Made for libraries that let their allocator be
 * replaced.
 *
 * The functions follow malloc() and its family. Any thread may call them, for blocks of any thread, but only
 * the one that called recycle_begin() keeps blocks; for others they are malloc() and free(). What is kept is
 * bounded: RECYCLE_KEEP_BYTES for each size, and RECYCLE_KEEP_LARGE_BYTES for all that are over
 * RECYCLE_LARGE_BYTES. With AddressSanitizer nothing is kept: it would hide errors.
 */
#ifndef CLAVIGER_BASE_RECYCLE_H
#define CLAVIGER_BASE_RECYCLE_H

#include <stddef.h>

/* From here on the calling thread keeps blocks. */
void recycle_begin(void);

/* The calling thread keeps none any more; those it kept are freed. */
void recycle_end(void);

void *recycle_malloc(size_t size);
void *recycle_calloc(size_t count, size_t size);
void *recycle_realloc(void *block, size_t size);
char *recycle_strdup(const char *text);
void recycle_free(void *block);

#define RECYCLE_KEEP_BYTES       (1024UL * 1024)
#define RECYCLE_LARGE_BYTES      (16UL * 1024)
#define RECYCLE_KEEP_LARGE_BYTES (4096UL * 1024)

#endif
