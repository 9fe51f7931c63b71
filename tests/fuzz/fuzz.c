/* fuzz: what the targets share. */
#include "fuzz/fuzz.h"

#include "base/fd.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

void fuzz_failed(const char *file, int line, const char *what)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

void fuzz_reader_init(struct fuzz_reader *reader, const uint8_t *data, size_t size)
{
    *reader = (struct fuzz_reader){.at = data, .left = size};
}

void fuzz_reader_fini(struct fuzz_reader *reader)
{
    for (size_t i = 0; i < reader->count; i++)
        free(reader->pieces[i]);
    free(reader->pieces);
}

unsigned fuzz_byte(struct fuzz_reader *reader)
{
    if (reader->left == 0)
        return 0;
    reader->left--;
    return *reader->at++;
}

static char *take(struct fuzz_reader *reader, size_t len, size_t skip)
{
    char **pieces = realloc(reader->pieces, (reader->count + 1) * sizeof(*pieces));
    char *piece = malloc(len + 1);
    if (pieces == NULL || piece == NULL)
        fuzz_failed(__FILE__, __LINE__, "memory");
    if (len > 0)
        memcpy(piece, reader->at, len);
    piece[len] = '\0';
    reader->pieces = pieces;
    reader->pieces[reader->count++] = piece;
    reader->at += len + skip;
    reader->left -= len + skip;
    return piece;
}

char *fuzz_line(struct fuzz_reader *reader)
{
    const uint8_t *end = reader->left > 0 ? memchr(reader->at, '\n', reader->left) : NULL;
    size_t whole = end != NULL ? (size_t)(end - reader->at) : reader->left;
    size_t len = whole > 0 ? strnlen((const char *)reader->at, whole) : 0;
    return take(reader, len, whole - len + (end != NULL ? 1 : 0));
}

char *fuzz_bytes(struct fuzz_reader *reader, size_t len, size_t *got)
{
    *got = len < reader->left ? len : reader->left;
    return take(reader, *got, 0);
}

char *fuzz_rest(struct fuzz_reader *reader, size_t *len)
{
    return fuzz_bytes(reader, SIZE_MAX, len);
}

void fuzz_headers(struct fuzz_reader *reader, struct header_list *list)
{
    for (;;) {
        char *name = fuzz_line(reader);
        if (name[0] == '\0')
            return;
        char *value = strchr(name, ':');
        if (value != NULL)
            *value++ = '\0';
        else
            value = name + strlen(name);
        FUZZ_MUST(header_add(list, name, strlen(name), value, strlen(value)) == 0);
    }
}

static struct provider make_provider(const char *name, const char *route, enum provider_type type,
                                     const char *header, const char *prefix, size_t keys)
{
    return (struct provider){
        .name = (char *)(uintptr_t)name,
        .type = type,
        .route = (char *)(uintptr_t)route,
        .auth_header = (char *)(uintptr_t)header,
        .auth_prefix = (char *)(uintptr_t)prefix,
        .key_count = keys,
        .byok = keys != 2,
    };
}

struct provider_list fuzz_providers(void)
{
    static struct provider items[5];
    items[0] = make_provider("anthropic", "/anthropic", PROVIDER_ANTHROPIC, "X-Api-Key", "", 1);
    items[1] = make_provider("openai", "/openai", PROVIDER_OPENAI, "Authorization", "Bearer ", 2);
    items[2] = make_provider("copilot", "/copilot", PROVIDER_COPILOT, "Authorization", "Bearer ", 0);
    items[3] = make_provider("other", "/openai/v2", PROVIDER_CUSTOM, "X-Other", "Key ", 1);
    items[4] = make_provider("rest", "/", PROVIDER_CUSTOM, "Api-Key", "", 0);
    return (struct provider_list){items, 5};
}

const char *fuzz_file(const void *data, size_t len)
{
    static char path[64];
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("input", MFD_CLOEXEC);
        FUZZ_MUST(fd >= 0 && fchmod(fd, 0600) == 0);
        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    }
    FUZZ_MUST(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    FUZZ_MUST(fd_write_all(fd, data, len) == 0);
    return path;
}
