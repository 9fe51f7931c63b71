/*
 * tty: a pseudo terminal, and clavigerctl as its only process.
 */
#include "e2e/tty.h"

#include "e2e/suite.h"
#include "e2e/util.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

void tty_resize(struct tty *t, unsigned columns, unsigned rows)
{
    struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = (unsigned short)rows};

    ck_assert_int_eq(ioctl(t->fd, TIOCSWINSZ, &size), 0);
}

static void exec_on_tty(const struct tty *t, char **argv)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    ioctl(t->slave, TIOCSCTTY, 0);
    for (int fd = 0; fd <= 2; fd++)
        dup2(t->slave, fd);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(argv[0], argv);
    _exit(127);
}

void tty_start(struct tty *t, const struct daemon *d, unsigned columns, unsigned rows, const char *a0,
               const char *a1, const char *a2, const char *a3)
{
    char *argv[] = {(char *)(uintptr_t)daemon_ctl_binary(),
                    (char *)(uintptr_t) "-c",
                    (char *)(uintptr_t)d->conf,
                    (char *)(uintptr_t)a0,
                    (char *)(uintptr_t)a1,
                    (char *)(uintptr_t)a2,
                    (char *)(uintptr_t)a3,
                    NULL};

    memset(t, 0, sizeof(*t));
    t->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(t->fd, 0);
    ck_assert_int_eq(grantpt(t->fd), 0);
    ck_assert_int_eq(unlockpt(t->fd), 0);
    t->slave = open(ptsname(t->fd), O_RDWR | O_NOCTTY | O_CLOEXEC);
    ck_assert_int_ge(t->slave, 0);
    tty_resize(t, columns, rows);
    ck_assert_int_eq(tcgetattr(t->slave, &t->before), 0);
    t->pid = fork();
    ck_assert_int_ge(t->pid, 0);
    if (t->pid == 0)
        exec_on_tty(t, argv);
}

void tty_read(struct tty *t, int timeout_ms)
{
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    char piece[4096];

    while (poll(&p, 1, timeout_ms) > 0 && p.revents & POLLIN) {
        ssize_t n = read(t->fd, piece, sizeof(piece));

        if (n <= 0)
            return;
        buf_append(&t->out, piece, (size_t)n);
        timeout_ms = 0;
    }
}

static const char *last_of(const struct tty *t)
{
    return t->out.len == 0 ? "" : t->out.data + (t->out.len > 2000 ? t->out.len - 2000 : 0);
}

size_t tty_expect(struct tty *t, size_t from, const char *text)
{
    int64_t end_us = util_now_us() + TTY_LIMIT_MS * 1000LL;

    for (;;) {
        const char *found = t->out.len > from ? strstr(t->out.data + from, text) : NULL;

        if (found != NULL)
            return (size_t)(found - t->out.data) + strlen(text);
        ck_assert_msg(util_now_us() < end_us, "no \"%s\" behind %zu, at last: %s", text, from, last_of(t));
        tty_read(t, 50);
    }
}

static bool has_ended(void *arg)
{
    struct tty *t = arg;

    tty_read(t, 0);
    return waitpid(t->pid, &t->status, WNOHANG) == t->pid;
}

void tty_wait(struct tty *t, int status)
{
    ck_assert_msg(util_wait(has_ended, t, TTY_LIMIT_MS), "it does not end");
    tty_read(t, 0);
    ck_assert_msg(WIFEXITED(t->status) && WEXITSTATUS(t->status) == status, "wait status %d: %s", t->status,
                  last_of(t));
    ck_assert(t->out.len == 0 || strstr(t->out.data, SUITE_CANARY) == NULL);
}

void tty_close(struct tty *t)
{
    close(t->fd);
    close(t->slave);
    buf_fini(&t->out);
}

size_t tty_longest_line(const struct tty *t)
{
    size_t longest = 0;
    size_t len = 0;

    for (size_t i = 0; i < t->out.len; i++) {
        char c = t->out.data[i];

        if (c == '\033') {
            while (i + 1 < t->out.len && t->out.data[i] != 'm')
                i++;
        } else if (c == '\n') {
            longest = len > longest ? len : longest;
            len = 0;
        } else if (c != '\r') {
            len++;
        }
    }
    return longest;
}

bool tty_has(const struct tty *t, const char *text)
{
    return t->out.len > 0 && strstr(t->out.data, text) != NULL;
}

void tty_expect_restored(const struct tty *t)
{
    struct termios now;

    ck_assert_int_eq(tcgetattr(t->slave, &now), 0);
    ck_assert_uint_eq(now.c_lflag, t->before.c_lflag);
    ck_assert_uint_eq(now.c_iflag, t->before.c_iflag);
    ck_assert_uint_eq(now.c_oflag, t->before.c_oflag);
    ck_assert_msg(tty_has(t, "\033[?7h\033[?25h\033[?1049l"), "the window is not given back");
}
