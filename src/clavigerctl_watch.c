/*
 * clavigerctl_watch: owns the loop of `keys --watch` and `top`: waits, composes, shows. Knows nothing of
 * keys.
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

/* The lines of put_head() on a terminal. */
#define HEAD_ROWS 2

/* The room below the head. */
static struct terminal_size room(const struct watch *watch)
{
    struct terminal_size size = {0, 0};
    if (watch->in_place)
        size = terminal_size();
    if (size.rows > 0)
        size.rows = size.rows > HEAD_ROWS ? size.rows - HEAD_ROWS : 1;
    return size;
}

/* Shows what was composed. CTL_DONE, or CTL_FAILED, which was told then. */
static int show(const struct call *call, const struct watch *watch, bool first, const struct buf *seen)
{
    struct buf text = {0};
    int status = CTL_DONE;
    if (!first && !watch->in_place && !call->json)
        buf_putc(&text, '\n');
    if (!call->json)
        put_head(call, watch->in_place, &text);
    buf_append(&text, seen->data, seen->len);
    text.failed |= seen->failed;
    if (watch->in_place && !text.failed)
        terminal_draw(&text);
    else
        status = clavigerctl_print(call, &text);
    buf_fini(&text);
    return status;
}

/* Begins with what was seen at the first look. */
static int loop(const struct call *call, struct watch *watch, const struct watched *watched, struct buf *seen)
{
    int64_t due_ms = clock_mono_ms() + call->interval_ms;
    for (bool first = true;; first = false) {
        enum event event;
        if (show(call, watch, first, seen) != CTL_DONE)
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
        due_ms = clock_mono_ms() + call->interval_ms;
        buf_clear(seen);
        /* What is missing now may be back at the next look. */
        (void)watched->compose(call, room(watch), watched->arg, seen);
    }
}

int clavigerctl_watch(const struct call *call, const struct watched *watched)
{
    struct watch watch = {.in_place = isatty(STDOUT_FILENO) && !call->json, .signal_fd = -1, .input_fd = -1};
    struct buf seen = {0};
    /* What fails at the first look will go on failing. */
    int status = watched->compose(call, room(&watch), watched->arg, &seen);
    if (status != CTL_DONE) {
        status = clavigerctl_fail(call, status, &seen);
        goto out;
    }
    watch.signal_fd = open_signals();
    if (watch.signal_fd < 0) {
        buf_clear(&seen);
        buf_printf(&seen, "cannot wait for signals: %s", strerror(errno));
        status = clavigerctl_fail(call, CTL_FAILED, &seen);
        goto out;
    }
    if (watch.in_place) {
        watch.input_fd = isatty(STDIN_FILENO) ? STDIN_FILENO : -1;
        terminal_enter();
    }
    status = loop(call, &watch, watched, &seen);
    if (watch.in_place)
        terminal_leave();

out:
    fd_close(&watch.signal_fd);
    buf_fini(&seen);
    return status;
}
