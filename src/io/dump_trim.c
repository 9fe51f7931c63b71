/*
 * dump_trim: knows how much is in the directory, and the oldest files in their order, from the last time that
 * it read the directory. What was written since then is added up by the writers; so a directory of many files
 * is read rarely, and a small one often. It touches only files that are named as dump names them. It must not
 * log: it runs in a thread.
 */
#include "base/clock.h"
#include "base/fd.h"
#include "core/ascii.h"
#include "io/aside.h"
#include "io/dump.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLDEST_MAX   65536 /* files that are known by name */
#define READ_SHARE   100
#define RUN_MS       2000
#define STOP_WAIT_MS 1000

struct file {
    char *path; /* owned */
    int64_t made_ms;
    int64_t size;
};

struct dump_trim {
    const char *dir;
    int64_t dir_size;
    _Atomic uint64_t *written;
    _Atomic bool stop;
    int64_t size;        /* of all files */
    uint64_t written_at; /* what of *written is in it */
    int64_t read_ms;     /* when the directory is read next */
    struct file *oldest; /* a heap with the newest on top while the directory is read, then in order */
    size_t count;
    size_t cap;
    size_t at; /* those before it are removed */
};

/* ---- the oldest */

static int compare_files(const void *a, const void *b)
{
    const struct file *x = a;
    const struct file *y = b;
    if (x->made_ms != y->made_ms)
        return x->made_ms < y->made_ms ? -1 : 1;
    return strcmp(x->path, y->path);
}

static void swap(struct file *a, struct file *b)
{
    struct file c = *a;
    *a = *b;
    *b = c;
}

static void sift_up(struct file *heap, size_t at)
{
    for (; at > 0 && compare_files(&heap[at], &heap[(at - 1) / 2]) > 0; at = (at - 1) / 2)
        swap(&heap[at], &heap[(at - 1) / 2]);
}

static void sift_down(struct file *heap, size_t count)
{
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < count && compare_files(&heap[child + 1], &heap[child]) > 0)
            child++;
        if (child >= count || compare_files(&heap[at], &heap[child]) >= 0)
            return;
        swap(&heap[at], &heap[child]);
        at = child;
    }
}

static bool has_room(struct dump_trim *trim)
{
    if (trim->count < trim->cap)
        return true;
    size_t cap = trim->cap == 0 ? 256 : 2 * trim->cap;
    struct file *oldest = cap > OLDEST_MAX ? NULL : realloc(trim->oldest, cap * sizeof(*oldest));
    if (oldest == NULL)
        return false;
    trim->oldest = oldest;
    trim->cap = cap;
    return true;
}

/* Among the oldest, or not. */
static void note_file(struct dump_trim *trim, const char *dir, const char *name, int64_t made_ms,
                      int64_t size)
{
    struct file file = {.made_ms = made_ms, .size = size};
    bool room = has_room(trim);
    if ((!room && (trim->count == 0 || made_ms >= trim->oldest[0].made_ms)) ||
        asprintf(&file.path, "%s/%s", dir, name) < 0)
        return;
    if (room) {
        trim->oldest[trim->count] = file;
        sift_up(trim->oldest, trim->count++);
    } else {
        free(trim->oldest[0].path);
        trim->oldest[0] = file;
        sift_down(trim->oldest, trim->count);
    }
}

static void forget(struct dump_trim *trim)
{
    for (size_t i = trim->at; i < trim->count; i++)
        free(trim->oldest[i].path);
    trim->count = trim->at = 0;
}

/* ---- reading the directory */

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

static void read_file(struct dump_trim *trim, int dir_fd, const char *dir, const char *name)
{
    struct stat st;
    int64_t made = made_ms(name);
    if (made < 0 || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return;
    trim->size += st.st_size;
    note_file(trim, dir, name, made, st.st_size);
}

static void read_files(struct dump_trim *trim, const char *path)
{
    const struct dirent *entry;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    while (!atomic_load_explicit(&trim->stop, memory_order_relaxed) && (entry = readdir(dir)) != NULL)
        read_file(trim, dirfd(dir), path, entry->d_name);
    closedir(dir);
}

/* A file that is written meanwhile may be counted twice, until the next time. */
static void read_directory(struct dump_trim *trim, int64_t now_mono_ms)
{
    int64_t began_ms = clock_mono_ms();
    const struct dirent *entry;
    DIR *dir = opendir(trim->dir);
    forget(trim);
    trim->size = 0;
    if (trim->written != NULL)
        trim->written_at = atomic_load(trim->written);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[PATH_MAX];
        int len = snprintf(path, sizeof path, "%s/%s/passthrough", trim->dir, entry->d_name);
        if (entry->d_name[0] != '.' && len > 0 && (size_t)len < sizeof path)
            read_files(trim, path);
    }
    if (dir != NULL)
        closedir(dir);
    if (trim->count > 0)
        qsort(trim->oldest, trim->count, sizeof(*trim->oldest), compare_files);
    /* Reading it takes a hundredth of the time at most, unless there is need. */
    trim->read_ms = now_mono_ms + READ_SHARE * (clock_mono_ms() - began_ms);
}

/* ---- trimming */

/* A file that is not there any more is still counted, until the next time. */
static bool remove_oldest(struct dump_trim *trim)
{
    struct file *file = &trim->oldest[trim->at++];
    bool removed = unlink(file->path) == 0;
    if (removed)
        trim->size -= file->size;
    free(file->path);
    return removed;
}

static size_t remove_over(struct dump_trim *trim)
{
    size_t removed = 0;
    while (trim->size > trim->dir_size && trim->at < trim->count &&
           !atomic_load_explicit(&trim->stop, memory_order_relaxed))
        removed += remove_oldest(trim);
    return removed;
}

size_t dump_trim_run(struct dump_trim *trim, int64_t now_mono_ms)
{
    size_t removed = 0;
    bool is_fresh = trim->written == NULL || now_mono_ms >= trim->read_ms;
    if (is_fresh) {
        read_directory(trim, now_mono_ms);
    } else {
        uint64_t written = atomic_load(trim->written);
        trim->size += (int64_t)(written - trim->written_at);
        trim->written_at = written;
    }
    for (;;) {
        size_t now = remove_over(trim);
        removed += now;
        if (trim->size <= trim->dir_size || (is_fresh && now == 0) || atomic_load(&trim->stop))
            return removed;
        read_directory(trim, now_mono_ms); /* those whose names are known were not enough */
        is_fresh = true;
    }
}

struct dump_trim *dump_trim_new(const char *dir, int64_t dir_size, _Atomic uint64_t *written)
{
    struct dump_trim *trim = calloc(1, sizeof *trim);
    if (trim == NULL)
        return NULL;
    trim->dir = dir;
    trim->dir_size = dir_size;
    trim->written = written;
    return trim;
}

void dump_trim_free(struct dump_trim **trim)
{
    if (*trim == NULL)
        return;
    forget(*trim);
    free((*trim)->oldest);
    free(*trim);
    *trim = NULL;
}

/* ---- the thread */

struct dump_trimmer {
    struct dump_trim *trim;
    struct aside *aside;
    _Atomic size_t removed;
    int stop_fd;
};

static void run(void *arg)
{
    struct dump_trimmer *trimmer = arg;
    struct pollfd stop = {.fd = trimmer->stop_fd, .events = POLLIN};
    do
        atomic_fetch_add(&trimmer->removed, dump_trim_run(trimmer->trim, clock_mono_ms()));
    while (poll(&stop, 1, RUN_MS) == 0);
}

struct dump_trimmer *dump_trimmer_start(const char *dir, int64_t dir_size, _Atomic uint64_t *written)
{
    struct dump_trimmer *trimmer = calloc(1, sizeof *trimmer);
    if (trimmer == NULL)
        return NULL;
    trimmer->stop_fd = eventfd(0, EFD_CLOEXEC);
    trimmer->trim = dump_trim_new(dir, dir_size, written);
    if (trimmer->stop_fd >= 0 && trimmer->trim != NULL)
        trimmer->aside = aside_start(run, trimmer);
    if (trimmer->aside == NULL)
        dump_trimmer_stop(&trimmer);
    return trimmer;
}

void dump_trimmer_stop(struct dump_trimmer **trimmer)
{
    struct dump_trimmer *t = *trimmer;
    *trimmer = NULL;
    if (t == NULL)
        return;
    if (t->aside != NULL) {
        atomic_store(&t->trim->stop, true);
        (void)eventfd_write(t->stop_fd, 1);
        if (!aside_end(&t->aside, STOP_WAIT_MS))
            return; /* it lives on until the process ends, and so does what it uses */
    }
    dump_trim_free(&t->trim);
    fd_close(&t->stop_fd);
    free(t);
}

size_t dump_trimmer_removed(struct dump_trimmer *trimmer)
{
    return atomic_exchange(&trimmer->removed, 0);
}
