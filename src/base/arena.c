/*
 * arena: owns a chain of chunks. Called by whoever serves one request; it never shrinks and frees nothing
 * singly.
 */
#include "base/arena.h"

#include "base/recycle.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define CHUNK_SIZE 3000 /* a usual request's worth */
#define ALIGNMENT  _Alignof(max_align_t)

struct arena_chunk {
    struct arena_chunk *next;
    size_t used;
    size_t size;
    max_align_t data[];
};

static struct arena_chunk *chunk_new(size_t size)
{
    if (size > SIZE_MAX - sizeof(struct arena_chunk))
        return NULL;
    struct arena_chunk *chunk = recycle_malloc(sizeof(struct arena_chunk) + size);
    if (chunk == NULL)
        return NULL;
    *chunk = (struct arena_chunk){.size = size};
    return chunk;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_MAX - ALIGNMENT)
        return NULL;
    size = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    struct arena_chunk *head = a->chunks;
    if (head == NULL || head->size - head->used < size) {
        size_t room = CHUNK_SIZE - CHUNK_SIZE % ALIGNMENT;
        struct arena_chunk *chunk = chunk_new(size > room / 4 ? size : room);
        if (chunk == NULL)
            return NULL;
        if (head != NULL && chunk->size == size) {
            /* A large block has a chunk of its own; what is left of the newest one stays in use. */
            chunk->next = head->next;
            head->next = chunk;
        } else {
            chunk->next = head;
            a->chunks = chunk;
        }
        head = chunk;
    }
    void *p = (char *)head->data + head->used;
    head->used += size;
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *copy = len == SIZE_MAX ? NULL : arena_alloc(a, len + 1);
    if (copy == NULL)
        return NULL;
    if (len > 0)
        memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *text = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (text == NULL)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(text, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return text;
}

void arena_fini(struct arena *a)
{
    while (a->chunks != NULL) {
        struct arena_chunk *chunk = a->chunks;
        a->chunks = chunk->next;
        recycle_free(chunk);
    }
}
