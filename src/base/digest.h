/*
 * digest: SHA-256 (FIPS 180-4) through OpenSSL's libcrypto.
 */
#ifndef CLAVIGER_BASE_DIGEST_H
#define CLAVIGER_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

#define DIGEST_SIZE     32
#define DIGEST_HEX_SIZE 65 /* with the final NUL */

/* Has libcrypto, and with it TLS to providers, take its memory from recycle: two buffers of 16 KB come and go
 * with each answer. Without effect once libcrypto has taken some; to be called first in the program. */
void digest_begin(void);

/* 0, or -1 when libcrypto fails (out of memory). */
int digest_sha256(const void *data, size_t len, unsigned char out[DIGEST_SIZE]);

/* The same in lower-case hexadecimal. */
int digest_sha256_hex(const void *data, size_t len, char out[DIGEST_HEX_SIZE]);

/* Whether two of that size are the same, raw or hexadecimal. It takes as long whatever is in them: how much
 * of a guess is right cannot be measured. */
bool digest_is_same(const void *a, const void *b, size_t size);

#endif
