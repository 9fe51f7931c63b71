/*
 * fault_walk_preload: see fault_walk.h. A library for LD_PRELOAD. Its functions stand before the C library's
 * (and before a sanitizer's, which own the allocations then: FAULTS_WITHOUT_ALLOCATIONS).
 *
 * A system call fails as it may in a bad hour: no descriptor, no memory, no space, an error of a device, a
 * peer that is gone. close(), and calls that cannot fail, are left alone.
 */
#include "e2e/fault_walk.h"

#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static struct faults *shared;
static bool trace; /* FAULTS_TRACE is set */
static enum faults_role role = FAULTS_MASTER;
static unsigned long counts[FAULTS_KINDS];

__attribute__((constructor)) static void find_shared(void)
{
    const char *path = getenv(FAULTS_VARIABLE);
    int fd = path != NULL ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *map = fd >= 0 ? mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    if (fd >= 0)
        close(fd);
    trace = getenv("FAULTS_TRACE") != NULL;
    memset(counts, 0, sizeof(counts));
    if (map != MAP_FAILED)
        shared = map;
}

/* Counts a call; whether it shall fail. */
static bool hit(enum faults_kind kind, const char *what)
{
    if (shared == NULL || (shared->only[0] != '\0' && strcmp(shared->only, what) != 0))
        return false;
    unsigned long count = ++counts[kind];
    if (atomic_load(&shared->counts[role][kind]) < count)
        atomic_store(&shared->counts[role][kind], count);
    if (shared->kind != (int)kind || shared->role != (int)role || shared->number != count ||
        atomic_exchange(&shared->fired, 1) != 0)
        return false;
    for (size_t i = 0; i < sizeof(shared->what) - 1 && what[i] != '\0'; i++)
        shared->what[i] = what[i];
    if (trace) { /* who called, in the daemon's log */
        void *frames[32];
        backtrace_symbols_fd(frames, backtrace(frames, 32), STDERR_FILENO);
    }
    return true;
}

static bool fails(const char *what, int error)
{
    if (!hit(FAULTS_CALL, what))
        return false;
    errno = error;
    return true;
}

/* ---- allocations */

#if !defined(FAULTS_WITHOUT_ALLOCATIONS)
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

/*
 * Whose allocations fail: those of the program, and of libraries that look at what they get. OpenSSL (in its
 * set-up) and libconfuse do not, and crash; what they do there is theirs.
 */
#define RANGES_MAX 32
static struct {
    uintptr_t begin;
    uintptr_t end;
} ranges[RANGES_MAX];
static size_t range_count;

static int add_ranges(struct dl_phdr_info *info, size_t size, void *arg)
{
    static const char *const names[] = {"libmicrohttpd", "libcurl", "libsqlite3", "libseccomp", "libz."};
    bool chosen = info->dlpi_name[0] == '\0'; /* the program */
    (void)size, (void)arg;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        chosen = chosen || strstr(info->dlpi_name, names[i]) != NULL;
    for (size_t i = 0; chosen && i < info->dlpi_phnum && range_count < RANGES_MAX; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        ranges[range_count].begin = info->dlpi_addr + part->p_vaddr;
        ranges[range_count++].end = info->dlpi_addr + part->p_vaddr + part->p_memsz;
    }
    return 0;
}

static bool no_memory(const char *what, const void *caller)
{
    bool chosen = false;
    if (shared != NULL && range_count == 0)
        dl_iterate_phdr(add_ranges, NULL);
    for (size_t i = 0; i < range_count && !chosen; i++)
        chosen = (uintptr_t)caller >= ranges[i].begin && (uintptr_t)caller < ranges[i].end;
    if (!chosen || !hit(FAULTS_ALLOCATION, what))
        return false;
    errno = ENOMEM;
    return true;
}

#define NO_MEMORY(what) no_memory(what, __builtin_return_address(0))

void *malloc(size_t size)
{
    return NO_MEMORY("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return NO_MEMORY("calloc") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return NO_MEMORY("realloc") ? NULL : __libc_realloc(p, size);
}

void *reallocarray(void *p, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || NO_MEMORY("reallocarray")) {
        errno = ENOMEM;
        return NULL;
    }
    return __libc_realloc(p, bytes);
}

int posix_memalign(void **p, size_t alignment, size_t size)
{
    void *block = NO_MEMORY("posix_memalign") ? NULL : __libc_memalign(alignment, size);
    if (block == NULL)
        return ENOMEM;
    *p = block;
    return 0;
}

static char *copy(const char *text, size_t len, bool fail)
{
    char *block = fail ? NULL : __libc_malloc(len + 1);
    if (block == NULL)
        return NULL;
    memcpy(block, text, len);
    block[len] = '\0';
    return block;
}

char *strdup(const char *text)
{
    return copy(text, strlen(text), NO_MEMORY("strdup"));
}

char *strndup(const char *text, size_t max)
{
    return copy(text, strnlen(text, max), NO_MEMORY("strndup"));
}
#endif

/* ---- system calls */

/* The function that ours hides. */
static void *next(void **at, const char *name)
{
    if (*at == NULL)
        *at = dlsym(RTLD_NEXT, name);
    return *at;
}

#define WRAP(error, type, name, parameters, arguments)                                                       \
    type name parameters;                                                                                    \
    type name parameters                                                                                     \
    {                                                                                                        \
        static void *at;                                                                                     \
        type(*real) parameters = (type(*) parameters)(uintptr_t)next(&at, #name);                            \
        return fails(#name, error) ? (type)-1 : real arguments;                                              \
    }

WRAP(EIO, ssize_t, read, (int fd, void *p, size_t n), (fd, p, n))
WRAP(EIO, ssize_t, pread, (int fd, void *p, size_t n, off_t o), (fd, p, n, o))
WRAP(EIO, ssize_t, pread64, (int fd, void *p, size_t n, off_t o), (fd, p, n, o))
WRAP(ENOSPC, ssize_t, write, (int fd, const void *p, size_t n), (fd, p, n))
WRAP(ENOSPC, ssize_t, pwrite, (int fd, const void *p, size_t n, off_t o), (fd, p, n, o))
WRAP(ENOSPC, ssize_t, pwrite64, (int fd, const void *p, size_t n, off_t o), (fd, p, n, o))
WRAP(ENOSPC, ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n))
WRAP(ECONNRESET, ssize_t, send, (int fd, const void *p, size_t n, int f), (fd, p, n, f))
WRAP(ECONNRESET, ssize_t, sendto,
     (int fd, const void *p, size_t n, int f, const struct sockaddr *a, socklen_t l), (fd, p, n, f, a, l))
WRAP(ECONNRESET, ssize_t, sendmsg, (int fd, const struct msghdr *m, int f), (fd, m, f))
WRAP(EIO, ssize_t, sendfile, (int to, int fd, off_t *o, size_t n), (to, fd, o, n))
WRAP(EIO, ssize_t, sendfile64, (int to, int fd, off_t *o, size_t n), (to, fd, o, n))
WRAP(ECONNRESET, ssize_t, recv, (int fd, void *p, size_t n, int f), (fd, p, n, f))
WRAP(ECONNRESET, ssize_t, recvfrom, (int fd, void *p, size_t n, int f, struct sockaddr *a, socklen_t *l),
     (fd, p, n, f, a, l))
WRAP(ECONNRESET, ssize_t, recvmsg, (int fd, struct msghdr *m, int f), (fd, m, f))
WRAP(EMFILE, int, socket, (int d, int t, int p), (d, t, p))
WRAP(EMFILE, int, socketpair, (int d, int t, int p, int v[2]), (d, t, p, v))
WRAP(EMFILE, int, accept4, (int fd, struct sockaddr *a, socklen_t *l, int f), (fd, a, l, f))
WRAP(ENETUNREACH, int, connect, (int fd, const struct sockaddr *a, socklen_t l), (fd, a, l))
WRAP(EADDRINUSE, int, bind, (int fd, const struct sockaddr *a, socklen_t l), (fd, a, l))
WRAP(EADDRINUSE, int, listen, (int fd, int n), (fd, n))
WRAP(ENOBUFS, int, setsockopt, (int fd, int l, int o, const void *p, socklen_t n), (fd, l, o, p, n))
WRAP(ENOBUFS, int, getsockopt, (int fd, int l, int o, void *p, socklen_t *n), (fd, l, o, p, n))
WRAP(ENOBUFS, int, getsockname, (int fd, struct sockaddr *a, socklen_t *l), (fd, a, l))
WRAP(EMFILE, int, epoll_create1, (int f), (f))
WRAP(EMFILE, int, signalfd, (int fd, const void *set, int f), (fd, set, f))
WRAP(EMFILE, int, eventfd, (unsigned v, int f), (v, f))
WRAP(EMFILE, int, pipe2, (int v[2], int f), (v, f))
WRAP(EMFILE, int, dup, (int fd), (fd))
WRAP(EMFILE, int, dup2, (int fd, int to), (fd, to))
WRAP(EMFILE, int, memfd_create, (const char *n, unsigned f), (n, f))
WRAP(ENOSPC, int, ftruncate, (int fd, off_t n), (fd, n))
WRAP(ENOSPC, int, ftruncate64, (int fd, off_t n), (fd, n))
WRAP(EIO, int, fsync, (int fd), (fd))
WRAP(EIO, int, fdatasync, (int fd), (fd))
WRAP(EPERM, int, unlink, (const char *p), (p))
WRAP(EPERM, int, fchmod, (int fd, mode_t m), (fd, m))
WRAP(EPERM, int, fchown, (int fd, uid_t u, gid_t g), (fd, u, g))
WRAP(EIO, int, fstat, (int fd, struct stat *s), (fd, s))
WRAP(EIO, int, stat, (const char *p, struct stat *s), (p, s))
WRAP(EIO, int, lstat, (const char *p, struct stat *s), (p, s))
WRAP(ENOLCK, int, flock, (int fd, int op), (fd, op))
WRAP(ENOMEM, void *, mmap, (void *p, size_t n, int pr, int f, int fd, off_t o), (p, n, pr, f, fd, o))
WRAP(ENOMEM, void *, mmap64, (void *p, size_t n, int pr, int f, int fd, off_t o), (p, n, pr, f, fd, o))
WRAP(ENOMEM, int, madvise, (void *p, size_t n, int a), (p, n, a))
WRAP(ENOMEM, int, mlock, (const void *p, size_t n), (p, n))

#define WRAP_OPEN(name)                                                                                      \
    int name(const char *path, int flags, ...);                                                              \
    int name(const char *path, int flags, ...)                                                               \
    {                                                                                                        \
        static void *at;                                                                                     \
        int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))(uintptr_t)next(&at, #name);  \
        va_list ap;                                                                                          \
        va_start(ap, flags);                                                                                 \
        mode_t mode = va_arg(ap, mode_t);                                                                    \
        va_end(ap);                                                                                          \
        return fails(#name, EMFILE) ? -1 : real(path, flags, mode);                                          \
    }

WRAP_OPEN(open)
WRAP_OPEN(open64)

/* Taking a lock and a new descriptor may fail; giving a lock back, and asking, may not. */
static bool may_fail(int command, const void *argument)
{
    if (command == F_SETLK || command == F_SETLKW)
        return ((const struct flock *)argument)->l_type != F_UNLCK;
    return command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == F_ADD_SEALS;
}

#define WRAP_FCNTL(name)                                                                                     \
    int name(int fd, int command, ...);                                                                      \
    int name(int fd, int command, ...)                                                                       \
    {                                                                                                        \
        static void *at;                                                                                     \
        int (*real)(int, int, ...) = (int (*)(int, int, ...))(uintptr_t)next(&at, #name);                    \
        va_list ap;                                                                                          \
        va_start(ap, command);                                                                               \
        void *argument = va_arg(ap, void *);                                                                 \
        va_end(ap);                                                                                          \
        return may_fail(command, argument) && fails(#name, ENOLCK) ? -1 : real(fd, command, argument);       \
    }

WRAP_FCNTL(fcntl)
WRAP_FCNTL(fcntl64)

int epoll_ctl(int fd, int op, int of, struct epoll_event *event)
{
    static void *at;
    int (*real)(int, int, int, struct epoll_event *) =
        (int (*)(int, int, int, struct epoll_event *))(uintptr_t)next(&at, "epoll_ctl");
    /* What is watched can always be let go. */
    return op != EPOLL_CTL_DEL && fails("epoll_ctl", ENOMEM) ? -1 : real(fd, op, of, event);
}

pid_t fork(void)
{
    static void *at;
    pid_t (*real)(void) = (pid_t(*)(void))(uintptr_t)next(&at, "fork");
    pid_t pid = fails("fork", EAGAIN) ? -1 : real();
    if (pid == 0) { /* a child counts from its first step on; as what, its title tells */
        role = FAULTS_WORKER;
        memset(counts, 0, sizeof(counts));
    }
    return pid;
}

int prctl(int option, ...)
{
    static void *at;
    int (*real)(int, ...) = (int (*)(int, ...))(uintptr_t)next(&at, "prctl");
    va_list ap;
    va_start(ap, option);
    unsigned long a = va_arg(ap, unsigned long);
    unsigned long b = va_arg(ap, unsigned long);
    unsigned long c = va_arg(ap, unsigned long);
    unsigned long d = va_arg(ap, unsigned long);
    va_end(ap);
    if (option == PR_SET_NAME && strncmp((const char *)(uintptr_t)a, "clavigerd: adm", 14) == 0)
        role = FAULTS_ADMIN;
    if (option == PR_SET_NAME && strncmp((const char *)(uintptr_t)a, "clavigerd: dum", 14) == 0)
        role = FAULTS_WRITER;
    return fails("prctl", EPERM) ? -1 : real(option, a, b, c, d);
}
