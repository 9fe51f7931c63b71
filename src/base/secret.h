/*
 * secret: a key or token in memory. The type is opaque so that no printf takes it by accident; the
 * bytes are wiped when it is freed. Only keyfile, digest, credential, upstream and listener_tls open one.
 */
#ifndef CLAVIGER_BASE_SECRET_H
#define CLAVIGER_BASE_SECRET_H

#include <stddef.h>

struct secret;

/* Copies len bytes (which may not contain NUL). NULL when out of memory. */
struct secret *secret_new(const char *bytes, size_t len);

/* Wipes and frees; *s becomes NULL. NULL is allowed. */
void secret_free(struct secret **s);

/* The bytes, NUL-terminated, borrowed until secret_free(). */
const char *secret_open(const struct secret *s);
size_t secret_len(const struct secret *s);

/* Overwrites memory in a way that the compiler does not remove. */
void secret_wipe(void *p, size_t len);

#endif
