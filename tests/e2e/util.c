/*
 * util: time, waiting, ports and files. Called by every other file of the end-to-end tests. Must not include
 * anything of the daemon but base/buf.h.
 */
#include "e2e/util.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define WAIT_STEP_MS 2

int64_t util_now_us(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

bool util_wait(util_condition *cond, void *arg, int timeout_ms)
{
    int64_t end = util_now_us() + (int64_t)timeout_ms * 1000;

    while (!cond(arg)) {
        if (util_now_us() > end)
            return cond(arg);
        poll(NULL, 0, WAIT_STEP_MS);
    }
    return true;
}

void util_random(void *data, size_t len)
{
    char *p = data;

    while (len > 0) {
        ssize_t n = getrandom(p, len < 256 ? len : 256, 0);

        if (n <= 0)
            abort();
        p += n;
        len -= (size_t)n;
    }
}

static void loopback(struct sockaddr_in *addr, unsigned port)
{
    memset(addr, 0, sizeof(*addr));
    addr->sin_family = AF_INET;
    addr->sin_port = htons((uint16_t)port);
    addr->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
}

/* Tests run beside each other, and a port is free again between its choice and its use, and during a restart.
 * So whoever chooses one holds a name for it until his process ends. */
static bool reserve(unsigned port)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int len = snprintf(addr.sun_path + 1, sizeof(addr.sun_path) - 1, "claviger-test-port-%u", port);

    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr,
                       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len)) == 0)
        return true;
    close(fd);
    return false;
}

unsigned util_free_port(void)
{
    for (int i = 0; i < 1000; i++) {
        struct sockaddr_in addr;
        uint16_t random;
        unsigned port;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        int rc;

        util_random(&random, sizeof(random));
        port = 10000u + random % 22000u;
        loopback(&addr, port);
        rc = bind(fd, (const struct sockaddr *)&addr, sizeof(addr));
        close(fd);
        if (rc == 0 && reserve(port))
            return port;
    }
    abort();
}

/* Bound to a port that the kernel chooses; not listening. */
static int bound_socket(unsigned *port)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    loopback(&addr, 0);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
        abort();
    *port = ntohs(addr.sin_port);
    return fd;
}

unsigned util_refusing_port(int *fd)
{
    unsigned port;

    *fd = bound_socket(&port);
    return port;
}

unsigned util_full_port(int fds[UTIL_FULL_FDS])
{
    unsigned port;
    int i;

    fds[0] = bound_socket(&port);
    if (listen(fds[0], 0) != 0)
        abort();
    for (i = 1; i < UTIL_FULL_FDS; i++) {
        struct sockaddr_in addr;

        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        loopback(&addr, port);
        if (connect(fds[i], (const struct sockaddr *)&addr, sizeof(addr)) != 0 && errno != EINPROGRESS)
            abort();
    }
    return port;
}

int util_connect_tcp(unsigned port)
{
    struct sockaddr_in addr;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    loopback(&addr, port);
    if (fd >= 0 && (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
                    fcntl(fd, F_SETFL, O_NONBLOCK) != 0)) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int util_connect_unix(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    if (fd >= 0 && (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
                    fcntl(fd, F_SETFL, O_NONBLOCK) != 0)) {
        int saved = errno;

        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

char *util_read_file(const char *path, size_t *len)
{
    struct buf content = {0};
    char piece[65536];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    ssize_t n;

    if (fd >= 0 && (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))) { /* a pipe or /dev/full has no end */
        close(fd);
        return NULL;
    }
    if (fd < 0)
        return NULL;
    buf_append(&content, "", 0);
    buf_reserve(&content, 1);
    while ((n = read(fd, piece, sizeof(piece))) > 0)
        buf_append(&content, piece, (size_t)n);
    close(fd);
    if (len != NULL)
        *len = content.len;
    buf_putc(&content, '\0');
    return buf_take(&content);
}

int util_write_file(const char *path, const void *data, size_t len, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    const char *p = data;

    if (fd < 0)
        return -1;
    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n <= 0) {
            close(fd);
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    if (fchmod(fd, mode) != 0) {
        close(fd);
        return -1;
    }
    return close(fd);
}

bool util_contains(const void *data, size_t len, const char *text)
{
    return data != NULL && memmem(data, len, text, strlen(text)) != NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void util_remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

long util_rss_kib(pid_t pid)
{
    char path[64];
    char *text;
    const char *line;
    long kib = -1;

    snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    text = util_read_file(path, NULL);
    if (text == NULL)
        return -1;
    line = strstr(text, "VmRSS:");
    if (line != NULL)
        kib = strtol(line + strlen("VmRSS:"), NULL, 10);
    free(text);
    return kib;
}

int util_open_fds(pid_t pid)
{
    char path[64];
    DIR *dir;
    int n = 0;

    snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
    dir = opendir(path);
    if (dir == NULL)
        return -1;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    return n;
}

long util_cpu_ticks(pid_t pid)
{
    char path[64];
    char *text;
    char *p;
    long ticks = -1;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    text = util_read_file(path, NULL);
    p = text != NULL ? strrchr(text, ')') : NULL;
    /* Behind the name, utime and stime are the 12th and 13th field (proc(5)). */
    for (int i = 0; p != NULL && i < 12; i++)
        p = strchr(p + 1, ' ');
    if (p != NULL) {
        ticks = strtol(p, &p, 10);
        ticks += strtol(p, NULL, 10);
    }
    free(text);
    return ticks;
}

int util_compare_i64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;

    return (x > y) - (x < y);
}
