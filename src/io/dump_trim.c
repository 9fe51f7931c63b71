/*
 * dump_trim: keeps the directory of dumps under its limit. Called by the admin process. It touches only files
 * that are named as dump names them.
 */
#include "core/ascii.h"
#include "io/dump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct file {
    char *path; /* owned */
    int64_t made_ms;
    int64_t size;
};

struct files {
    struct file *items;
    size_t count;
    size_t cap;
    int64_t size;
};

/* When the file was made; -1 for what is none of ours. */
static int64_t made_ms(const char *name)
{
    static const char *const suffixes[] = {".req.txt", ".resp.txt", ".req_error.txt"};
    char *end;
    size_t len = strlen(name);
    if (!ascii_is_digit(name[0]))
        return -1;
    errno = 0;
    long long made = strtoll(name, &end, 10);
    if (errno != 0 || *end != '-')
        return -1;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
        size_t suffix_len = strlen(suffixes[i]);
        if (len > suffix_len && strcmp(name + len - suffix_len, suffixes[i]) == 0)
            return made;
    }
    return -1;
}

static void add_file(struct files *files, int dir_fd, const char *dir, const char *name)
{
    struct stat st;
    int64_t made = made_ms(name);
    if (made < 0 || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return;
    if (files->count == files->cap) {
        size_t cap = files->cap == 0 ? 256 : 2 * files->cap;
        struct file *items = realloc(files->items, cap * sizeof(*items));
        if (items == NULL)
            return;
        files->items = items;
        files->cap = cap;
    }
    struct file *file = &files->items[files->count];
    if (asprintf(&file->path, "%s/%s", dir, name) < 0)
        return;
    file->made_ms = made;
    file->size = st.st_size;
    files->size += st.st_size;
    files->count++;
}

static void add_directory(struct files *files, const char *path)
{
    const struct dirent *entry;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    while ((entry = readdir(dir)) != NULL)
        add_file(files, dirfd(dir), path, entry->d_name);
    closedir(dir);
}

static int compare_files(const void *a, const void *b)
{
    const struct file *x = a;
    const struct file *y = b;
    if (x->made_ms != y->made_ms)
        return x->made_ms < y->made_ms ? -1 : 1;
    return strcmp(x->path, y->path);
}

static size_t remove_oldest(struct files *files, int64_t dir_size)
{
    size_t removed = 0;
    if (files->count == 0 || files->size <= dir_size)
        return 0;
    qsort(files->items, files->count, sizeof(*files->items), compare_files);
    for (size_t i = 0; i < files->count && files->size > dir_size; i++) {
        if (remove(files->items[i].path) < 0)
            continue;
        files->size -= files->items[i].size;
        removed++;
    }
    return removed;
}

size_t dump_trim(const char *dir_path, int64_t dir_size)
{
    struct files files = {0};
    const struct dirent *entry;
    DIR *dir = opendir(dir_path);
    if (dir == NULL)
        return 0;
    while ((entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        int len = snprintf(path, sizeof path, "%s/%s/passthrough", dir_path, entry->d_name);
        if (entry->d_name[0] != '.' && len > 0 && (size_t)len < sizeof path)
            add_directory(&files, path);
    }
    closedir(dir);
    size_t removed = remove_oldest(&files, dir_size);
    for (size_t i = 0; i < files.count; i++)
        free(files.items[i].path);
    free(files.items);
    return removed;
}
