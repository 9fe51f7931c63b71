/*
 * daemon: owns the process's standing in the system. Called by clavigerd and by the master at start.
 */
#include "master/daemon.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* LeakSanitizer attaches to the process, which one that may not be dumped refuses. */
#if defined(__SANITIZE_ADDRESS__)
#define DAEMON_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define DAEMON_SANITIZED 1
#endif
#endif

int daemon_open_standard(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* The lowest free number is given, and all below fd are in use. */
        if (open("/dev/null", O_RDWR | O_NOCTTY) != fd)
            return -1;
    }
    return 0;
}

static bool steers_libraries(const char *name, size_t len)
{
    static const char *const NAMES[] = {"SSLKEYLOGFILE",   "OPENSSL_CONF",    "OPENSSL_CONF_INCLUDE",
                                        "OPENSSL_MODULES", "OPENSSL_ENGINES", "CURL_SSL_BACKEND"};
    static const char PROXY[] = "_proxy";
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        if (strlen(NAMES[i]) == len && memcmp(NAMES[i], name, len) == 0)
            return true;
    }
    size_t tail = sizeof(PROXY) - 1;
    return len >= tail && strncasecmp(name + len - tail, PROXY, tail) == 0;
}

void daemon_clean_environment(void)
{
    size_t i = 0;
    while (environ && environ[i]) {
        size_t len = strcspn(environ[i], "=");
        char *name = steers_libraries(environ[i], len) ? strndup(environ[i], len) : NULL;
        /* unsetenv() closes the gap: the next variable is then at the same place. */
        if (!name || unsetenv(name) < 0)
            i++;
        free(name);
    }
}

void daemon_forbid_dump(void)
{
#if !defined(DAEMON_SANITIZED)
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

void daemon_set_limits(void)
{
    struct rlimit files;
    struct rlimit locked;
    struct rlimit core = {0, 0};
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    /* Keys shall not be swapped out. */
    if (getrlimit(RLIMIT_MEMLOCK, &locked) == 0 && locked.rlim_cur < locked.rlim_max) {
        locked.rlim_cur = locked.rlim_max;
        setrlimit(RLIMIT_MEMLOCK, &locked);
    }
    setrlimit(RLIMIT_CORE, &core);
    daemon_forbid_dump(); /* a core that is piped to a program ignores the limit */
}

/* In the starting process: waits for the word of the new one. */
static _Noreturn void await_ready(int fd, pid_t child)
{
    char word = 0;
    int status = 0;
    ssize_t n;
    do {
        n = read(fd, &word, 1);
    } while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(0);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    /* One that failed has said why; one that was ended has not. */
    if (WIFSIGNALED(status))
        dprintf(2, "clavigerd: killed by signal %d (%s) before it was ready\n", WTERMSIG(status),
                strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 0)
        dprintf(2, "clavigerd: told to stop before it was ready\n");
    _exit(1);
}

int daemon_detach(struct daemon_parent *parent, struct buf *reason)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) {
        buf_printf(reason, "cannot make a pipe: %s", strerror(errno));
        return -1;
    }
    parent->stderr_fd = fcntl(2, F_DUPFD_CLOEXEC, 3);
    pid_t child = fork();
    if (child < 0) {
        buf_printf(reason, "cannot fork: %s", strerror(errno));
        fd_close(&ends[0]);
        fd_close(&ends[1]);
        fd_close(&parent->stderr_fd);
        return -1;
    }
    if (child > 0) {
        fd_close(&ends[1]);
        await_ready(ends[0], child);
    }
    fd_close(&ends[0]);
    parent->detached = true;
    parent->ready_fd = ends[1];
    setsid();
    umask(022);
    if (chdir("/") < 0) {
        buf_printf(reason, "cannot change to /: %s", strerror(errno));
        return -1;
    }
    return 0;
}

void daemon_leave_standard(void)
{
    int null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd <= 2; fd++)
        dup2(null, fd);
    if (null > 2)
        fd_close(&null);
}

void daemon_ready(struct daemon_parent *parent)
{
    /* Whoever waited may have been interrupted; we serve all the same. */
    if (parent->ready_fd >= 0)
        (void)!write(parent->ready_fd, "R", 1);
    fd_close(&parent->ready_fd);
    fd_close(&parent->stderr_fd);
}
