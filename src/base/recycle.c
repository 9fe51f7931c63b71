/*
 * recycle: owns the blocks that are free. Each block has a header with its size class, so that whoever frees
 * it need not know where it came from.
 */
#include "base/recycle.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Class 0 holds blocks of 32 bytes; from there on there are four sizes to each doubling: 40, 48, 56, 64, 80,
 * 96 and so on, up to 1 MB. */
#define SMALLEST      32
#define SMALLEST_LOG2 5
#define LARGEST       ((size_t)1024 * 1024)
#define CLASSES       (1 + 4 * 15)
#define UNCLASSIFIED  ((uint32_t)CLASSES) /* larger ones are never kept */

/* In front of each block; keeps its alignment. */
struct header {
    _Alignas(max_align_t) uint32_t class;
    uint32_t unused;
    union {
        size_t size;         /* of an unclassified block in use */
        struct header *next; /* of a free one */
    } u;
};

#if defined(__SANITIZE_ADDRESS__)
#define MAY_KEEP false
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MAY_KEEP false
#endif
#endif
#ifndef MAY_KEEP
#define MAY_KEEP true
#endif

struct kept {
    struct header *first;
    size_t bytes;
};

static _Thread_local struct {
    bool keeps;
    struct kept kept[CLASSES];
    size_t large_bytes; /* of kept blocks over RECYCLE_LARGE_BYTES */
} mine;

static uint32_t class_of(size_t size)
{
    if (size <= SMALLEST)
        return 0;
    if (size > LARGEST)
        return UNCLASSIFIED;
    uint32_t log2 = (uint32_t)(sizeof(unsigned long) * 8 - 1) - (uint32_t)__builtin_clzl(size - 1);
    uint32_t quarter = (uint32_t)((size - 1) >> (log2 - 2)) - 4;
    return 1 + (log2 - SMALLEST_LOG2) * 4 + quarter;
}

static size_t class_size(uint32_t class)
{
    if (class == 0)
        return SMALLEST;
    return (size_t)(5 + (class - 1) % 4) << ((class - 1) / 4 + SMALLEST_LOG2 - 2);
}

static size_t block_size(const struct header *header)
{
    return header->class < CLASSES ? class_size(header->class) : header->u.size;
}

static struct header *header_of(void *block)
{
    return (struct header *)block - 1;
}

void recycle_begin(void)
{
    mine.keeps = MAY_KEEP;
}

void recycle_end(void)
{
    mine.keeps = false;
    for (size_t i = 0; i < CLASSES; i++) {
        while (mine.kept[i].first != NULL) {
            struct header *header = mine.kept[i].first;
            mine.kept[i].first = header->u.next;
            free(header);
        }
        mine.kept[i].bytes = 0;
    }
    mine.large_bytes = 0;
}

static void count_large(size_t size, bool comes)
{
    if (size > RECYCLE_LARGE_BYTES)
        mine.large_bytes += comes ? size : 0 - size;
}

static bool has_room(const struct kept *kept, size_t size)
{
    return kept->bytes + size <= RECYCLE_KEEP_BYTES &&
           (size <= RECYCLE_LARGE_BYTES || mine.large_bytes + size <= RECYCLE_KEEP_LARGE_BYTES);
}

void *recycle_malloc(size_t size)
{
    uint32_t class = class_of(size);
    struct header *header;
    if (class < CLASSES) {
        struct kept *kept = &mine.kept[class];
        header = kept->first;
        if (header != NULL) {
            kept->first = header->u.next;
            kept->bytes -= class_size(class);
            count_large(class_size(class), false);
            return header + 1;
        }
        size = class_size(class);
    }
    if (size > SIZE_MAX - sizeof *header)
        return NULL;
    header = malloc(sizeof *header + size);
    if (header == NULL)
        return NULL;
    header->class = class;
    header->u.size = size;
    return header + 1;
}

void *recycle_calloc(size_t count, size_t size)
{
    if (size > 0 && count > SIZE_MAX / size)
        return NULL;
    void *block = recycle_malloc(count * size);
    if (block != NULL)
        memset(block, 0, count * size);
    return block;
}

void recycle_free(void *block)
{
    if (block == NULL)
        return;
    struct header *header = header_of(block);
    struct kept *kept = &mine.kept[header->class < CLASSES ? header->class : 0];
    size_t size = header->class < CLASSES ? class_size(header->class) : 0;
    if (!mine.keeps || size == 0 || !has_room(kept, size)) {
        free(header);
        return;
    }
    header->u.next = kept->first;
    kept->first = header;
    kept->bytes += size;
    count_large(size, true);
}

void *recycle_realloc(void *block, size_t size)
{
    if (block == NULL)
        return recycle_malloc(size);
    struct header *header = header_of(block);
    size_t old = block_size(header);
    if (size <= old && (size > old / 4 || old <= SMALLEST))
        return block;
    if (header->class == UNCLASSIFIED && class_of(size) == UNCLASSIFIED) {
        header = size > SIZE_MAX - sizeof *header ? NULL : realloc(header, sizeof *header + size);
        if (header == NULL)
            return NULL;
        header->u.size = size;
        return header + 1;
    }
    void *moved = recycle_malloc(size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, size < old ? size : old);
    recycle_free(block);
    return moved;
}

char *recycle_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = recycle_malloc(size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}
