/*
 * secret: owns the bytes of one key or token. Called by what reads keys and by what sends them; nothing here
 * may print or copy them elsewhere.
 */
#include "base/secret.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct secret {
    size_t len;
    char bytes[];
};

struct secret *secret_new(const char *bytes, size_t len)
{
    if (len > SIZE_MAX - sizeof(struct secret) - 1)
        return NULL;
    struct secret *s = malloc(sizeof(*s) + len + 1);
    if (s == NULL)
        return NULL;
    s->len = len;
    if (len > 0)
        memcpy(s->bytes, bytes, len);
    s->bytes[len] = '\0';
    return s;
}

void secret_free(struct secret **s)
{
    if (*s == NULL)
        return;
    secret_wipe((*s)->bytes, (*s)->len);
    free(*s);
    *s = NULL;
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
