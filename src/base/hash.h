/*
 * hash: FNV-1a in 64 bits (Fowler, Noll, Vo; www.isthe.com/chongo/tech/comp/fnv). For tables of names that
 * nobody attacks.
 */
#ifndef CLAVIGER_BASE_HASH_H
#define CLAVIGER_BASE_HASH_H

#include <stdint.h>

#define HASH_START UINT64_C(0xcbf29ce484222325)
#define HASH_PRIME UINT64_C(0x100000001b3)

/* Goes on from `hash` (HASH_START at first) over the text and its NUL. */
static inline uint64_t hash_text(uint64_t hash, const char *text)
{
    do {
        hash ^= (unsigned char)*text;
        hash *= HASH_PRIME;
    } while (*text++ != '\0');
    return hash;
}

/* The same over the bytes of a word; the high bits, which are the better mixed, come down. */
static inline uint64_t hash_word(uint64_t word)
{
    uint64_t hash = HASH_START;
    for (unsigned i = 0; i < 8; i++) {
        hash ^= word >> (8 * i) & 0xff;
        hash *= HASH_PRIME;
    }
    return hash ^ hash >> 32;
}

#endif
