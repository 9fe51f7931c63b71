/*
 * secret: a key or token in memory. The type is opaque so that no printf takes it by accident; the
 * bytes are wiped when it is freed. They are in memory that is locked, where the limits
 * allow it, and is no part of a core. Only keyfile, digest, credential, upstream and listener_tls open
 * one.
 */
#ifndef CLAVIGER_BASE_SECRET_H
#define CLAVIGER_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

struct secret;

/* Copies len bytes (which may not contain NUL). NULL when out of memory. */
struct secret *secret_new(const char *bytes, size_t len);

/* Wipes and frees; *s becomes NULL. NULL is allowed. */
void secret_free(struct secret **s);

/* The bytes, NUL-terminated, borrowed until secret_free(). */
const char *secret_open(const struct secret *s);
size_t secret_len(const struct secret *s);

/* Whether every secret so far is in memory that is never swapped out: RLIMIT_MEMLOCK may forbid it. */
bool secret_is_locked(void);

/* In a child, which inherits the secrets of its parent, but no lock. */
void secret_lock_again(void);

/* Overwrites memory in a way that the compiler does not remove. */
void secret_wipe(void *p, size_t len);

#endif
