/*
 * sandbox: owns the compiled filters. Called by a child once it has all that it was started for, and by
 * the master before its first child; must not be called where a program still has to be started.
 */
#include "io/sandbox.h"

#if defined(HAVE_SECCOMP)

#include "base/fd.h"
#include "io/sandbox_rules.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COMPILE_S  2                   /* of CPU; it takes some milliseconds */
#define FILTER_MAX ((size_t)64 * 1024) /* bytes: the kernel takes 4096 instructions of 8 */

/* ---- compiling */

/* The kernel's form of the filters; kept for as long as the process lives. */
static struct sock_fprog programs[SANDBOX_KINDS];

/* Writes a filter to a file. 0 or -1. */
static int compile(enum sandbox_kind kind, int fd)
{
    scmp_filter_ctx filter = sandbox_rules_make(kind);
    if (filter == NULL)
        return -1;
    bool good = ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0 && seccomp_export_bpf(filter, fd) == 0;
    seccomp_release(filter);
    return good ? 0 : -1;
}

/* In a process of its own: when memory runs out in the wrong place, the library crashes or turns in circles.
 */
static bool compile_apart(enum sandbox_kind kind, int fd)
{
    static const struct rlimit seconds = {COMPILE_S, COMPILE_S};
    int status;
    pid_t pid = fork();
    if (pid == 0)
        _exit(setrlimit(RLIMIT_CPU, &seconds) == 0 && compile(kind, fd) == 0 ? 0 : 1);
    while (pid > 0 && waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return false;
    }
    return pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static int prepare(enum sandbox_kind kind)
{
    static const size_t instruction = sizeof(struct sock_filter);
    size_t len[2] = {0, 0};
    char *text[2] = {NULL, NULL};
    int fd = memfd_create("claviger-sandbox", MFD_CLOEXEC);
    /* Twice: in other places it makes a wrong filter of too little memory, and says nothing. */
    for (int i = 0; fd >= 0 && i < 2; i++)
        text[i] = compile_apart(kind, fd) && lseek(fd, 0, SEEK_SET) == 0
                      ? fd_read_file(fd, FILTER_MAX, &len[i])
                      : NULL;
    bool good = text[0] != NULL && text[1] != NULL && len[0] == len[1] && len[0] > 0 &&
                len[0] % instruction == 0 && memcmp(text[0], text[1], len[0]) == 0;
    if (good)
        programs[kind] = (struct sock_fprog){.len = (unsigned short)(len[0] / instruction),
                                             .filter = (struct sock_filter *)(void *)text[0]};
    else
        free(text[0]);
    free(text[1]);
    fd_close(&fd);
    return good ? 0 : -1;
}

static int enter(enum sandbox_kind kind, struct buf *reason)
{
    if (programs[kind].filter == NULL) {
        buf_puts(reason, "the filter of system calls could not be made");
        return -1;
    }
    /* The threads of a library are filtered too. */
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &programs[kind]) == 0)
        return 0;
    buf_printf(reason, "the kernel takes no filter of system calls: %s", strerror(errno));
    return -1;
}

/* ---- what others call */

bool sandbox_is_built_in(void)
{
    return true;
}

const char *sandbox_library_version(void)
{
    static char text[64];
    const struct scmp_version *version = seccomp_version();
    snprintf(text, sizeof(text), "libseccomp/%u.%u.%u", version->major, version->minor, version->micro);
    return text;
}

int sandbox_prepare(struct buf *reason)
{
    for (enum sandbox_kind kind = 0; kind < SANDBOX_KINDS; kind++) {
        if (programs[kind].filter != NULL || prepare(kind) == 0)
            continue;
        buf_puts(reason, "libseccomp makes no filter of system calls; is memory short?");
        return -1;
    }
    return 0;
}

static int enter_for_good(enum sandbox_kind kind, struct buf *reason)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        buf_printf(reason, "new privileges cannot be given up: %s", strerror(errno));
        return -1;
    }
    return enter(kind, reason);
}

int sandbox_enter_child(struct buf *reason)
{
    return enter_for_good(SANDBOX_CHILD, reason);
}

int sandbox_enter_writer(struct buf *reason)
{
    return enter_for_good(SANDBOX_WRITER, reason);
}

int sandbox_enter_master(struct buf *reason)
{
    /* Two filters say no more than one, and each is asked at every call. */
    if (geteuid() != 0 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0)
        return 0;
    return enter(SANDBOX_MASTER, reason);
}

#else

bool sandbox_is_built_in(void)
{
    return false;
}

const char *sandbox_library_version(void)
{
    return NULL;
}

int sandbox_prepare(struct buf *reason)
{
    buf_puts(reason, "this clavigerd is built without libseccomp");
    return -1;
}

int sandbox_enter_child(struct buf *reason)
{
    return sandbox_prepare(reason);
}

int sandbox_enter_writer(struct buf *reason)
{
    return sandbox_prepare(reason);
}

int sandbox_enter_master(struct buf *reason)
{
    return sandbox_prepare(reason);
}

#endif
