/*
 * clavigerctl_watch: owns the loop of `keys --watch`: waits, composes, shows. Knows nothing of keys.
 */
#include "clavigerctl.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum event { EVENT_TIME, EVENT_REDRAW, EVENT_SUSPEND, EVENT_END };

struct watch {
    bool in_place;
    int signal_fd;
    int input_fd; /* -1 = nothing is typed */
};

/* The signals that end, suspend or resize come through the descriptor. -1 with errno. */
static int open_signals(void)
{
    static const int NUMBERS[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++)
        sigaddset(&set, NUMBERS[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static enum event read_signal(const struct watch *watch)
{
    struct signalfd_siginfo info;
    if (read(watch->signal_fd, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return EVENT_REDRAW;
    if (info.ssi_signo == SIGWINCH)
        return EVENT_REDRAW;
    return info.ssi_signo == SIGTSTP ? EVENT_SUSPEND : EVENT_END;
}

/* What was typed; the end of it is no reason to end. */
static enum event read_input(struct watch *watch)
{
    char typed[64];
    ssize_t n = read(watch->input_fd, typed, sizeof(typed));
    if (n <= 0 && !(n < 0 && errno == EINTR))
        watch->input_fd = -1;
    return n > 0 && memchr(typed, 'q', (size_t)n) ? EVENT_END : EVENT_REDRAW;
}

static enum event await(struct watch *watch, int64_t due_ms)
{
    struct pollfd fds[] = {{.fd = watch->signal_fd, .events = POLLIN},
                           {.fd = watch->input_fd, .events = POLLIN}};
    int64_t left_ms = due_ms - clock_mono_ms();
    if (left_ms <= 0 || poll(fds, 2, (int)left_ms) <= 0)
        left_ms = 0;
    if (fds[0].revents)
        return read_signal(watch);
    if (fds[1].revents)
        return read_input(watch);
    return left_ms == 0 ? EVENT_TIME : EVENT_REDRAW;
}

/* Above what is shown: when that was. */
static void put_head(const struct call *call, bool in_place, struct buf *text)
{
    char now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_real_ms(), now);
    buf_puts(text, now);
    if (in_place)
        buf_printf(text, "   every %g s; q ends", (double)call->interval_ms / 1000);
    buf_puts(text, in_place ? "\n\n" : "\n");
}

static void stop_here(void)
{
    terminal_leave();
    raise(SIGSTOP);
    terminal_enter();
}

static int loop(const struct call *call, struct watch *watch, struct buf *text,
                int (*compose)(const struct call *, unsigned, struct buf *))
{
    for (bool first = true;; first = false) {
        int64_t due_ms = clock_mono_ms() + call->interval_ms;
        enum event event = EVENT_REDRAW;
        buf_clear(text);
        if (!first && !watch->in_place && !call->json)
            buf_putc(text, '\n');
        if (!call->json)
            put_head(call, watch->in_place, text);
        /* A database that cannot be read now may be back at the next look. */
        (void)compose(call, terminal_size().columns, text);
        if (watch->in_place && !text->failed)
            terminal_draw(text);
        else if (clavigerctl_print(call, text) != CTL_DONE)
            return CTL_FAILED;
        do {
            event = await(watch, due_ms);
        } while (event == EVENT_REDRAW && !watch->in_place);
        if (event == EVENT_END)
            return CTL_DONE;
        if (event == EVENT_SUSPEND && watch->in_place)
            stop_here();
        else if (event == EVENT_SUSPEND)
            raise(SIGSTOP);
    }
}

int clavigerctl_watch(const struct call *call, int (*compose)(const struct call *, unsigned, struct buf *))
{
    struct watch watch = {.in_place = isatty(STDOUT_FILENO) && !call->json, .signal_fd = -1, .input_fd = -1};
    struct buf text = {0};
    int status;
    /* What fails at the first look will go on failing. */
    if (compose(call, 0, &text) < 0) {
        status = clavigerctl_fail(call, CTL_FAILED, &text);
        goto out;
    }
    watch.signal_fd = open_signals();
    if (watch.signal_fd < 0) {
        buf_clear(&text);
        buf_printf(&text, "cannot wait for signals: %s", strerror(errno));
        status = clavigerctl_fail(call, CTL_FAILED, &text);
        goto out;
    }
    if (watch.in_place) {
        watch.input_fd = isatty(STDIN_FILENO) ? STDIN_FILENO : -1;
        terminal_enter();
    }
    status = loop(call, &watch, &text, compose);
    if (watch.in_place)
        terminal_leave();

out:
    fd_close(&watch.signal_fd);
    buf_fini(&text);
    return status;
}
