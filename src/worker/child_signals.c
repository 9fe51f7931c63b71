/*
 * child_signals: reads the signals of a worker or the admin process from a descriptor, so that nothing ever
 * runs inside a signal handler.
 */
#include "worker/child_signals.h"

#include "base/fd.h"
#include "base/log.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

static void end_at_once(struct child_signals *signals)
{
    signals->at_once = true;
    loop_stop(signals->loop);
}

static void on_signal(struct loop_watch *watch, uint32_t events)
{
    struct child_signals *signals = LOOP_OWNER(watch, struct child_signals, signal_watch);
    struct signalfd_siginfo info;
    (void)events;
    while (read(watch->fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGQUIT)
            end_at_once(signals);
        else if (info.ssi_signo == SIGUSR1)
            (void)log_reopen();
        else if (info.ssi_signo == SIGCHLD && signals->child_ended != NULL)
            signals->child_ended(signals->arg);
        else if (info.ssi_signo == SIGTERM && !signals->draining) {
            signals->draining = true;
            signals->drain(signals->arg);
        }
    }
}

void child_signals_look(struct child_signals *signals)
{
    signals->draining = true;    /* there is nothing left to drain */
    signals->child_ended = NULL; /* and a process of its own ends because it was told to */
    on_signal(&signals->signal_watch, 0);
}

static void on_master_gone(struct loop_watch *watch, uint32_t events)
{
    struct child_signals *signals = LOOP_OWNER(watch, struct child_signals, lifeline_watch);
    (void)events;
    log_error("the master is gone; ending");
    end_at_once(signals);
}

int child_signals_init(struct child_signals *signals, struct loop *loop, int lifeline_fd,
                       void (*drain)(void *arg), void *arg)
{
    sigset_t set;
    *signals = (struct child_signals){.loop = loop, .drain = drain, .arg = arg};
    /* Where this fails, child_signals_look() and child_signals_fini() may come all the same. */
    signals->signal_watch = (struct loop_watch){.fn = on_signal, .fd = -1};
    signals->lifeline_watch = (struct loop_watch){.fn = on_master_gone, .fd = -1};
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGQUIT);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigaddset(&set, SIGCHLD);
    signals->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals->signal_fd < 0)
        return -1;
    if (loop_watch_add(loop, &signals->signal_watch, signals->signal_fd, EPOLLIN) != 0 ||
        loop_watch_add(loop, &signals->lifeline_watch, lifeline_fd, EPOLLIN | EPOLLRDHUP) != 0) {
        fd_close(&signals->signal_fd);
        return -1;
    }
    return 0;
}

void child_signals_fini(struct child_signals *signals)
{
    loop_watch_remove(signals->loop, &signals->signal_watch);
    loop_watch_remove(signals->loop, &signals->lifeline_watch);
    fd_close(&signals->signal_fd);
}
