/*
 * arena: memory that lives as long as one request and is released in one go.
 *
 * A zeroed struct arena is empty. Every allocation is aligned for any type. NULL means out of memory.
 */
#ifndef CLAVIGER_BASE_ARENA_H
#define CLAVIGER_BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
};

void *arena_alloc(struct arena *a, size_t size);

/* A NUL-terminated copy of the len bytes at s. */
char *arena_strndup(struct arena *a, const char *s, size_t len);

char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Releases everything; the arena is empty and usable again. */
void arena_fini(struct arena *a);

#endif
