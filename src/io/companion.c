/*
 * companion: owns the process, the socket between the two, and how long one outlives the other.
 *
 * A process in the sandbox may signal nobody. So it is the kernel that tells a companion of the death of its
 * parent (PR_SET_PDEATHSIG), in the middle of whatever it does: then its time runs, or is over, if the parent
 * has waited for it already.
 */
#include "io/companion.h"

#include "base/fd.h"
#include "base/secret.h"
#include "base/title.h"
#include "io/aside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* A sanitizer has something to say at times. */
#if defined(__SANITIZE_ADDRESS__)
#define QUIET_FDS 2
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define QUIET_FDS 2
#endif
#endif
#if !defined(QUIET_FDS)
#define QUIET_FDS 3
#endif

_Static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "processes share it, and a signal handler reads it");

struct companion {
    pid_t pid; /* 0 = reaped */
    int socket;
    _Atomic bool *given_up; /* shared */
};

/* ---- in the companion */

static struct {
    pid_t parent;
    const _Atomic bool *given_up;
    volatile sig_atomic_t late; /* the next signal is the end */
} self;

static void on_alarm(int number)
{
    (void)number;
    if (getppid() == self.parent) /* from somebody else */
        return;
    if (atomic_load(self.given_up))
        _exit(COMPANION_GIVEN_UP);
    if (self.late)
        _exit(COMPANION_LATE);
    self.late = 1;
    (void)alarm(COMPANION_ORPHAN_S);
}

static void take_the_alarm_only(void)
{
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigset_t set;
    (void)sigfillset(&set);
    action.sa_mask = set;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)sigdelset(&set, SIGALRM);
    (void)sigprocmask(SIG_SETMASK, &set, NULL);
}

/* Nobody shall wait in vain for the end of what this process has inherited. */
static void leave_descriptors(int socket, int keep_fd)
{
    int keep[] = {socket, keep_fd};
    int null = open("/dev/null", O_RDWR | O_NOCTTY | O_CLOEXEC);
    for (int fd = 0; null >= 0 && fd < QUIET_FDS; fd++)
        (void)dup2(null, fd);
    fd_close_others(keep, sizeof keep / sizeof keep[0]);
}

/* What the parent is, it is too: who it is, not to be dumped, without new privileges. */
static _Noreturn void be_companion(const struct companion_options *options, int socket, pid_t parent,
                                   const _Atomic bool *given_up)
{
    struct buf reason = {0};
    self.parent = parent;
    self.given_up = given_up;
    if (options->title != NULL)
        title_set("%s", options->title);
    take_the_alarm_only();
    leave_descriptors(socket, options->keep_fd);
    (void)prctl(PR_SET_PDEATHSIG, SIGALRM, 0, 0, 0);
    if (getppid() != parent) /* before that */
        on_alarm(SIGALRM);
    secret_lock_again();
    aside_step_back();
    if (options->confine != NULL)
        (void)options->confine(&reason); /* where that fails, the parent fails too, and says so */
    buf_fini(&reason);
    options->fn(options->arg, socket);
    _exit(0);
}

/* ---- in the parent */

static _Atomic bool *map_word(void)
{
    void *word = mmap(NULL, sizeof(_Atomic bool), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return word != MAP_FAILED ? word : NULL;
}

static void free_companion(struct companion *companion)
{
    if (companion->given_up != NULL)
        (void)munmap(companion->given_up, sizeof *companion->given_up);
    fd_close(&companion->socket);
    free(companion);
}

struct companion *companion_start(const struct companion_options *options)
{
    int ends[2] = {-1, -1};
    pid_t parent = getpid();
    struct companion *companion = calloc(1, sizeof *companion);
    if (companion == NULL)
        return NULL;
    companion->given_up = map_word();
    companion->pid = -1;
    if (companion->given_up != NULL &&
        socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0)
        companion->pid = fork();
    if (companion->pid == 0)
        be_companion(options, ends[1], parent, companion->given_up);
    int error = errno;
    companion->socket = ends[0];
    fd_close(&ends[1]);
    if (companion->pid < 0) {
        free_companion(companion);
        errno = error;
        return NULL;
    }
    return companion;
}

int companion_socket(const struct companion *companion)
{
    return companion->socket;
}

bool companion_has_ended(struct companion *companion, int *wait_status)
{
    if (companion->pid == 0 || waitpid(companion->pid, wait_status, WNOHANG) != companion->pid)
        return false;
    companion->pid = 0;
    return true;
}

/* Its end of the socket is closed with it. Every signal comes by a descriptor: nothing interrupts a wait. */
static bool await_end(const struct companion *companion, int timeout_ms)
{
    struct pollfd socket = {.fd = companion->socket};
    (void)shutdown(companion->socket, SHUT_WR);
    int n;
    do
        n = poll(&socket, 1, timeout_ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

bool companion_finish(struct companion *companion, int wait_ms)
{
    return companion->pid == 0 || await_end(companion, wait_ms);
}

bool companion_end(struct companion **companion, int timeout_ms)
{
    struct companion *c = *companion;
    *companion = NULL;
    if (c == NULL)
        return true;
    bool ended = companion_finish(c, timeout_ms);
    if (!ended)
        atomic_store(c->given_up, true);
    while (ended && c->pid > 0 && waitpid(c->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    free_companion(c);
    return ended;
}
