/*
 * aside: owns the thread and the descriptor by which its end is seen.
 */
#include "io/aside.h"

#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NICE 19

struct aside {
    pthread_t thread;
    sem_t begun;
    int ended_fd;
    void (*fn)(void *arg);
    void *arg;
};

/* On Linux both are a thread's own. SCHED_BATCH: it does not push others aside when it wakes up. Where it is
 * not permitted, it goes without. */
void aside_step_back(void)
{
    static const struct sched_param none = {0};
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), NICE);
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
}

static void *run(void *arg)
{
    struct aside *aside = arg;
    aside_step_back();
    (void)sem_post(&aside->begun);
    aside->fn(aside->arg);
    (void)eventfd_write(aside->ended_fd, 1);
    return NULL;
}

static int create(struct aside *aside)
{
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&aside->thread, NULL, run, aside);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

struct aside *aside_start(void (*fn)(void *arg), void *arg)
{
    struct aside *aside = calloc(1, sizeof *aside);
    if (aside == NULL)
        return NULL;
    aside->fn = fn;
    aside->arg = arg;
    aside->ended_fd = eventfd(0, EFD_CLOEXEC);
    int error = aside->ended_fd < 0 ? errno : 0;
    (void)sem_init(&aside->begun, 0, 0);
    if (error == 0)
        error = create(aside);
    if (error != 0) {
        (void)sem_destroy(&aside->begun);
        fd_close(&aside->ended_fd);
        free(aside);
        errno = error;
        return NULL;
    }
    /* A sandbox does not allow what aside_step_back() does. */
    while (sem_wait(&aside->begun) < 0 && errno == EINTR)
        continue;
    return aside;
}

bool aside_end(struct aside **aside, int timeout_ms)
{
    struct aside *a = *aside;
    if (a == NULL)
        return true;
    struct pollfd ended = {.fd = a->ended_fd, .events = POLLIN};
    int n;
    do
        n = poll(&ended, 1, timeout_ms); /* every signal comes by a descriptor: nothing interrupts it */
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    (void)pthread_join(a->thread, NULL);
    (void)sem_destroy(&a->begun);
    fd_close(&a->ended_fd);
    free(a);
    *aside = NULL;
    return true;
}
