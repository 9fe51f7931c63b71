/*
 * secret: owns the bytes of one key or token. Called by what reads keys and by what sends them; nothing here
 * may print or copy them elsewhere.
 *
 * The bytes live in pages of their own, which no other memory shares: a page is locked and left out of cores
 * as a whole. The struct is ordinary memory, so that tools that look for leaks see it.
 */
#include "base/secret.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK_SIZE                                                                                           \
    ((size_t)16 * 1024) /* some hundred keys; several pages of any machine's size or a part of one */

/* A mapping: this, and bytes of secrets behind it. */
struct chunk {
    struct chunk *next;
    size_t size; /* of the mapping */
    size_t used; /* bytes from the begin of the mapping on */
    size_t live; /* secrets */
};

struct secret {
    struct chunk *chunk;
    char *bytes;
    size_t len;
};

static struct chunk *chunks; /* the newest first */
static bool lock_failed;

static void protect(struct chunk *chunk)
{
    (void)madvise(chunk, chunk->size, MADV_DONTDUMP);
    if (mlock(chunk, chunk->size) < 0)
        lock_failed = true;
}

static struct chunk *map_chunk(size_t needed)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t size = sizeof(struct chunk) + needed;
    if (size < CHUNK_SIZE)
        size = CHUNK_SIZE;
    size = (size + page - 1) / page * page;
    struct chunk *chunk = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (chunk == MAP_FAILED)
        return NULL;
    chunk->size = size;
    chunk->used = sizeof(*chunk);
    protect(chunk);
    chunk->next = chunks;
    chunks = chunk;
    return chunk;
}

static void unmap_chunk(struct chunk *chunk)
{
    struct chunk **at = &chunks;
    while (*at != chunk)
        at = &(*at)->next;
    *at = chunk->next;
    munmap(chunk, chunk->size);
}

struct secret *secret_new(const char *bytes, size_t len)
{
    if (len > SIZE_MAX / 4)
        return NULL;
    struct secret *s = malloc(sizeof(*s));
    struct chunk *chunk = chunks;
    if (s == NULL)
        return NULL;
    if (chunk == NULL || chunk->size - chunk->used < len + 1)
        chunk = map_chunk(len + 1);
    if (chunk == NULL) {
        free(s);
        return NULL;
    }
    *s = (struct secret){.chunk = chunk, .bytes = (char *)chunk + chunk->used, .len = len};
    chunk->used += len + 1;
    chunk->live++;
    if (len > 0)
        memcpy(s->bytes, bytes, len);
    s->bytes[len] = '\0';
    return s;
}

void secret_free(struct secret **s)
{
    if (*s == NULL)
        return;
    struct chunk *chunk = (*s)->chunk;
    secret_wipe((*s)->bytes, (*s)->len);
    free(*s);
    *s = NULL;
    if (--chunk->live == 0)
        unmap_chunk(chunk);
}

bool secret_is_locked(void)
{
    return !lock_failed;
}

void secret_lock_again(void)
{
    for (struct chunk *chunk = chunks; chunk != NULL; chunk = chunk->next)
        protect(chunk);
}

const char *secret_open(const struct secret *s)
{
    return s->bytes;
}

size_t secret_len(const struct secret *s)
{
    return s->len;
}

void secret_wipe(void *p, size_t len)
{
    if (len > 0)
        explicit_bzero(p, len);
}
