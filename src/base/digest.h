/*
 * digest: SHA-256 (FIPS 180-4) through OpenSSL's libcrypto.
 */
#ifndef CLAVIGER_BASE_DIGEST_H
#define CLAVIGER_BASE_DIGEST_H

#include <stddef.h>

#define DIGEST_SIZE     32
#define DIGEST_HEX_SIZE 65 /* with the final NUL */

/* 0, or -1 when libcrypto fails (out of memory). */
int digest_sha256(const void *data, size_t len, unsigned char out[DIGEST_SIZE]);

/* The same in lower-case hexadecimal. */
int digest_sha256_hex(const void *data, size_t len, char out[DIGEST_HEX_SIZE]);

#endif
