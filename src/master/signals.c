/*
 * signals: owns the flags and the handlers. Called by the master's loop and, after a fork, by child; must not
 * do anything in a handler but set a flag.
 */
#include "master/signals.h"

#include <stddef.h>
#include <string.h>

static const struct {
    int number;
    enum signals_flag flag;
} HANDLED[] = {
    {SIGCHLD, SIGNALS_CHILD}, {SIGTERM, SIGNALS_STOP},   {SIGINT, SIGNALS_STOP},     {SIGQUIT, SIGNALS_QUIT},
    {SIGHUP, SIGNALS_RELOAD}, {SIGUSR1, SIGNALS_REOPEN}, {SIGUSR2, SIGNALS_UPGRADE},
};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static volatile sig_atomic_t raised[SIGNALS_FLAGS];

static void on_signal(int number)
{
    for (size_t i = 0; i < COUNT(HANDLED); i++) {
        if (HANDLED[i].number == number)
            raised[HANDLED[i].flag] = 1;
    }
}

static void set_handler(int number, void (*handler)(int))
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = handler;
    sigfillset(&action.sa_mask);
    sigaction(number, &action, NULL);
}

void signals_init(sigset_t *sleep_mask)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    sigfillset(sleep_mask);
    for (size_t i = 0; i < COUNT(HANDLED); i++) {
        set_handler(HANDLED[i].number, on_signal);
        sigdelset(sleep_mask, HANDLED[i].number);
    }
    set_handler(SIGPIPE, SIG_IGN);
}

bool signals_take(enum signals_flag flag)
{
    /* The signals are blocked here, so nothing comes between the look and the clearing. */
    bool was = raised[flag] != 0;
    raised[flag] = 0;
    return was;
}

void signals_child(void)
{
    for (size_t i = 0; i < COUNT(HANDLED); i++) {
        set_handler(HANDLED[i].number, SIG_DFL);
        raised[HANDLED[i].flag] = 0;
    }
    set_handler(SIGPIPE, SIG_IGN);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
}
