/*
 * digest: the only place that includes OpenSSL's EVP. Called for key ids and client tokens; keeps nothing.
 */
#include "base/digest.h"

#include "base/recycle.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdint.h>
#include <string.h>

static void *take(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return recycle_malloc(size);
}

static void *resize(void *block, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    return recycle_realloc(block, size);
}

static void give_back(void *block, const char *file, int line)
{
    (void)file, (void)line;
    recycle_free(block);
}

void digest_begin(void)
{
    (void)CRYPTO_set_mem_functions(take, resize, give_back);
}

int digest_sha256(const void *data, size_t len, unsigned char out[DIGEST_SIZE])
{
    unsigned size = 0;

    if (EVP_Digest(len > 0 ? data : "", len, out, &size, EVP_sha256(), NULL) != 1 || size != DIGEST_SIZE)
        return -1;
    return 0;
}

int digest_sha256_hex(const void *data, size_t len, char out[DIGEST_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    unsigned char raw[DIGEST_SIZE];

    if (digest_sha256(data, len, raw) < 0)
        return -1;
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[DIGEST_HEX_SIZE - 1] = '\0';
    return 0;
}

bool digest_is_same(const void *a, const void *b, size_t size)
{
    const unsigned char *left = a;
    const unsigned char *right = b;
    uint64_t difference = 0;
    size_t at = 0;

    for (; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
        uint64_t x;
        uint64_t y;

        memcpy(&x, left + at, sizeof(x));
        memcpy(&y, right + at, sizeof(y));
        difference |= x ^ y;
    }
    for (; at < size; at++)
        difference |= left[at] ^ right[at];
    return difference == 0;
}
