/*
 * keyfile: reads keys and makes them secrets. Called by conf while it loads. Every copy that it makes is
 * wiped; no message of it repeats a key.
 */
#include "io/keyfile.h"

#include "base/digest.h"
#include "base/fd.h"
#include "core/credential.h"
#include "io/keyfile_env.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_PREFIX   "file:"
#define ENV_PREFIX    "env:"
#define FILE_SIZE_MAX (1024 * 1024)
#define KEY_LEN_MAX   4096

void key_array_fini(struct key_array *keys)
{
    for (size_t i = 0; i < keys->count; i++)
        secret_free(&keys->items[i].secret);
    free(keys->items);
    *keys = (struct key_array){0};
}

/* What is wrong with a key as such; NULL = nothing. */
static const char *find_fault(const char *key, size_t len)
{
    if (len == 0)
        return "is empty: remove it";
    if (len > KEY_LEN_MAX)
        return "is longer than 4096 characters: is it a key?";
    for (size_t i = 0; i < len; i++) {
        if (key[i] == ',')
            return "has a comma, which no key has: write each key by itself";
        if (key[i] < 0x21 || key[i] > 0x7e)
            return "has white space, or a character that is not printable ASCII: remove it";
    }
    if (len == strlen(CREDENTIAL_PLACEHOLDER) && strncasecmp(key, CREDENTIAL_PLACEHOLDER, len) == 0)
        return "is the word \"" CREDENTIAL_PLACEHOLDER
               "\", a placeholder for clients: write the provider's key";
    if (strncmp(key, CREDENTIAL_TOKEN_PREFIX, strlen(CREDENTIAL_TOKEN_PREFIX)) == 0)
        return "is a gateway token (" CREDENTIAL_TOKEN_PREFIX "...): write the provider's key";
    return NULL;
}

static bool is_known(const struct key_array *keys, const char *key, size_t len)
{
    for (size_t i = 0; i < keys->count; i++) {
        const struct secret *s = keys->items[i].secret;

        if (secret_len(s) == len && memcmp(secret_open(s), key, len) == 0)
            return true;
    }
    return false;
}

/* Adds one key. 0, or -1 and *fault says what is wrong with it. */
static int add(struct key_array *keys, const char *key, size_t len, const char **fault)
{
    char hex[DIGEST_HEX_SIZE];
    struct key *k;

    *fault = find_fault(key, len);
    if (*fault == NULL && is_known(keys, key, len))
        *fault = "is the same as one before it: remove one of the two";
    if (*fault != NULL)
        return -1;

    *fault = "finds no memory: free some and try again";
    if (keys->count == keys->cap) {
        size_t cap = keys->cap == 0 ? 8 : keys->cap * 2;
        struct key *items = reallocarray(keys->items, cap, sizeof(*items));

        if (items == NULL)
            return -1;
        keys->items = items;
        keys->cap = cap;
    }
    k = &keys->items[keys->count];
    if (digest_sha256_hex(key, len, hex) < 0)
        return -1;
    k->secret = secret_new(key, len);
    if (k->secret == NULL)
        return -1;
    memcpy(k->id, hex, KEY_ID_SIZE - 1);
    k->id[KEY_ID_SIZE - 1] = '\0';
    key_hint(key, len, k->hint);
    keys->count++;
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f';
}

/* Cuts white space off both ends. */
static void trim(const char **start, size_t *len)
{
    while (*len > 0 && is_space(**start)) {
        (*start)++;
        (*len)--;
    }
    while (*len > 0 && is_space((*start)[*len - 1]))
        (*len)--;
}

static int add_lines(struct key_array *keys, const char *path, const char *data, size_t len,
                     struct buf *reason)
{
    const char *end = data + len;
    size_t before = keys->count;
    unsigned line = 0;

    for (const char *p = data; p < end; p++) {
        const char *start = p;
        const char *fault;
        size_t size;

        p = memchr(start, '\n', (size_t)(end - start));
        if (p == NULL)
            p = end;
        size = (size_t)(p - start);
        line++;
        trim(&start, &size);
        if (size == 0 || *start == '#')
            continue;
        if (add(keys, start, size, &fault) < 0) {
            buf_printf(reason, "key file %s, line %u: the key %s", path, line, fault);
            return -1;
        }
    }
    if (keys->count > before)
        return 0;
    buf_printf(reason, "key file %s holds no key: write one a line", path);
    return -1;
}

int keyfile_open(const char *path, struct buf *reason)
{
    struct stat st;
    int fd;

    if (path[0] != '/') {
        buf_puts(reason, "a key file needs an absolute path: write file:/path/to/file");
        return -1;
    }
    /* O_NONBLOCK: the open of a FIFO would wait for a writer. */
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 || fstat(fd, &st) < 0) {
        buf_printf(reason, "key file %s cannot be read (%s): correct the path or its permissions", path,
                   strerror(errno));
    } else if (!S_ISREG(st.st_mode)) {
        buf_printf(reason, "key file %s is no regular file: name one", path);
    } else if ((st.st_mode & (S_IROTH | S_IWOTH)) != 0) {
        buf_printf(
            reason,
            "key file %s is open to others than its owner and group (mode %04o): run chmod o-rwx on it", path,
            (unsigned)st.st_mode & 07777U);
    } else {
        return fd;
    }
    fd_close(&fd);
    return -1;
}

static int add_file(struct key_array *keys, const char *path, struct buf *reason)
{
    size_t len;
    char *data;
    int result;
    int fd = keyfile_open(path, reason);

    if (fd < 0)
        return -1;
    data = fd_read_file(fd, FILE_SIZE_MAX, &len);
    if (data == NULL) {
        if (errno == EFBIG)
            buf_printf(reason, "key file %s is over 1 MiB: is it a key file?", path);
        else
            buf_printf(reason, "key file %s cannot be read: %s", path, strerror(errno));
        fd_close(&fd);
        return -1;
    }
    fd_close(&fd);
    result = add_lines(keys, path, data, len, reason);
    secret_wipe(data, len);
    free(data);
    return result;
}

static int add_variable(struct key_array *keys, const char *name, struct buf *reason)
{
    const char *p = keyfile_env_get(name);
    unsigned number = 0;

    if (p == NULL || *p == '\0') {
        buf_printf(reason,
                   "environment variable %s is %s: set it before the daemon starts, or remove the entry",
                   name, p == NULL ? "not set" : "empty");
        return -1;
    }
    for (;;) {
        const char *start = p;
        size_t size = strcspn(p, ",");
        const char *fault;

        p += size;
        number++;
        trim(&start, &size);
        if (add(keys, start, size, &fault) < 0) {
            buf_printf(reason, "environment variable %s: key %u %s", name, number, fault);
            return -1;
        }
        if (*p++ == '\0')
            return 0;
    }
}

int keyfile_add(struct key_array *keys, const char *entry, struct buf *reason)
{
    const char *fault;

    if (strncmp(entry, FILE_PREFIX, strlen(FILE_PREFIX)) == 0)
        return add_file(keys, entry + strlen(FILE_PREFIX), reason);
    if (strncmp(entry, ENV_PREFIX, strlen(ENV_PREFIX)) == 0) {
        const char *name = entry + strlen(ENV_PREFIX);

        if (name[0] == '\0' || strpbrk(name, "= \t") != NULL) {
            buf_puts(reason, "env: needs the name of an environment variable: write env:NAME");
            return -1;
        }
        return add_variable(keys, name, reason);
    }
    if (add(keys, entry, strlen(entry), &fault) == 0)
        return 0;
    buf_printf(reason, "the key %s", fault);
    return -1;
}
