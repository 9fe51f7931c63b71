/*
 * follower: a child process and the pipe from it.
 */
#include "e2e/follower.h"

#include "e2e/suite.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void follower_start(struct follower *f, const struct daemon *d, const char *a0, const char *a1,
                    const char *a2, const char *a3, const char *a4)
{
    int ends[2];

    memset(f, 0, sizeof(*f));
    ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
    f->pid = fork();
    ck_assert_int_ge(f->pid, 0);
    if (f->pid == 0) {
        sigset_t none;

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        dup2(ends[1], STDOUT_FILENO);
        execl(daemon_ctl_binary(), "clavigerctl", "-c", d->conf, a0, a1, a2, a3, a4, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    f->fd = ends[0];
}

void follower_read(struct follower *f, const char *wanted)
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    char piece[4096];
    ssize_t n = poll(&p, 1, FOLLOWER_LIMIT_MS) > 0 ? read(f->fd, piece, sizeof(piece)) : -1;

    ck_assert_msg(n > 0, "it %s without \"%s\": %s", n == 0 ? "ended" : "stays", wanted,
                  f->out.len > 0 ? f->out.data : "");
    buf_append(&f->out, piece, (size_t)n);
}

char *follower_line(struct follower *f, const char *wanted)
{
    for (;;) {
        const char *begin = f->out.len > f->at ? f->out.data + f->at : "";
        const char *end = strchr(begin, '\n');

        if (end != NULL) {
            f->at += (size_t)(end + 1 - begin);
            return strndup(begin, (size_t)(end + 1 - begin));
        }
        follower_read(f, wanted);
    }
}

void follower_end(struct follower *f)
{
    int status;

    ck_assert_int_eq(kill(f->pid, SIGINT), 0);
    ck_assert_int_eq(waitpid(f->pid, &status, 0), f->pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %d", status);
    ck_assert(f->out.len == 0 || strstr(f->out.data, SUITE_CANARY) == NULL);
    close(f->fd);
    buf_fini(&f->out);
}
