/*
 * clavigerctl_token: makes a client's token. Called by clavigerctl before any configuration is looked at. The
 * token is printed once and written nowhere; only its hash is for keeping.
 */
#include "clavigerctl.h"

#include "base/digest.h"
#include "base/fd.h"
#include "base/secret.h"
#include "core/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define RANDOM_SIZE 32
#define TOKEN_SIZE  (sizeof(CLIENT_TOKEN_PREFIX) + 43) /* with the NUL; 32 bytes are 43 characters */

/* base64url without padding (RFC 4648 section 5); out has room for a NUL. */
static void put_base64url(const unsigned char *data, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | data[i];
        for (count += 8; count >= 6; count -= 6)
            *out++ = digits[bits >> (count - 6) & 63U];
    }
    if (count > 0)
        *out++ = digits[bits << (6 - count) & 63U];
    *out = '\0';
}

/* 0, or -1 with errno. */
static int make_token(char token[TOKEN_SIZE])
{
    unsigned char random[RANDOM_SIZE];

    /* As much comes whole once the kernel's generator is ready (random(7)). */
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return -1;
    memcpy(token, CLIENT_TOKEN_PREFIX, strlen(CLIENT_TOKEN_PREFIX));
    put_base64url(random, sizeof(random), token + strlen(CLIENT_TOKEN_PREFIX));
    secret_wipe(random, sizeof(random));
    return 0;
}

/* Writes past stdio, whose buffer nobody could wipe. */
static int print_token(const char *name, const char *token, const char *hash, bool json)
{
    static const char text[] = "The token of %s, shown only now:\n\n    %s\n\nThe line for the file that the "
                               "option clients names; \"clavigerctl reload\" puts it into force:\n\n"
                               "    %s:%s\n";
    char out[sizeof(text) + 2 * (size_t)CLIENT_NAME_MAX + TOKEN_SIZE + DIGEST_HEX_SIZE];
    int status = CTL_DONE;
    int len;

    /* No name and no token has a character that JSON would escape. */
    if (json)
        len = snprintf(out, sizeof(out), "{\"name\":\"%s\",\"token\":\"%s\",\"line\":\"%s:%s\"}\n", name,
                       token, name, hash);
    else
        len = snprintf(out, sizeof(out), text, name, token, name, hash);
    if (fd_write_all(STDOUT_FILENO, out, (size_t)len) < 0) {
        fprintf(stderr, "clavigerctl: cannot write: %s\n", strerror(errno));
        status = CTL_FAILED;
    }
    secret_wipe(out, sizeof(out));
    return status;
}

static int fail(const struct call *call, int status, const char *what, const char *why)
{
    struct buf reason = {0};

    buf_printf(&reason, "%s%s", what, why);
    status = clavigerctl_fail(call, status, &reason);
    buf_fini(&reason);
    return status;
}

int clavigerctl_token(const struct call *call)
{
    const char *name = call->arguments[0];
    const char *fault = client_name_fault(name, strlen(name));
    char token[TOKEN_SIZE];
    char hash[DIGEST_HEX_SIZE];
    int status;

    if (fault != NULL)
        return fail(call, CTL_USAGE, "the client's name ", fault);
    if (make_token(token) < 0)
        status = fail(call, CTL_FAILED, "the kernel gives no random bytes: ", strerror(errno));
    else if (digest_sha256_hex(token, strlen(token), hash) < 0)
        status = fail(call, CTL_FAILED, "out of memory", "");
    else
        status = print_token(name, token, hash, call->json);
    secret_wipe(token, sizeof(token));
    return status;
}
