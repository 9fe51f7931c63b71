/*
 * loop: the epoll loop of a worker and of the admin process. It knows descriptors and times, and calls
 * whoever asked; it knows no HTTP. It must never block anywhere but in epoll_wait().
 */
#include "worker/loop.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>

#define LOOP_EVENTS 128
#define HURRIES     8 /* that wait for each other: the first of many is not held up by the last */

struct loop {
    int epoll_fd;
    bool stopped;
    int64_t now_ms;
    int64_t real_ms;
    uint64_t round;
    loop_turn_fn *turn;
    void *turn_arg;
    struct loop_timer **heap; /* binary heap by due_ms */
    size_t heap_count;
    size_t heap_cap;
    struct epoll_event events[LOOP_EVENTS]; /* of this turn */
    int event_count;
    int event_next;             /* the first one not delivered yet */
    void (*pass_on)(void *arg); /* NULL = nobody hurries */
    int hurries;                /* calls of loop_hurry() since it was called */
};

static void look_at_clocks(struct loop *loop)
{
    loop->now_ms = clock_mono_ms();
    loop->real_ms = clock_real_ms();
}

struct loop *loop_new(loop_turn_fn *turn, void *arg)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        return NULL;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        free(loop);
        return NULL;
    }
    loop->turn = turn;
    loop->turn_arg = arg;
    look_at_clocks(loop);
    return loop;
}

void loop_free(struct loop **loop)
{
    if (*loop == NULL)
        return;
    fd_close(&(*loop)->epoll_fd);
    free((*loop)->heap);
    free(*loop);
    *loop = NULL;
}

int64_t loop_now(const struct loop *loop)
{
    return loop->now_ms;
}

int64_t loop_real(const struct loop *loop)
{
    return loop->real_ms;
}

uint64_t loop_round(const struct loop *loop)
{
    return loop->round;
}

void loop_hurry(struct loop *loop)
{
    loop->hurries += loop->pass_on != NULL;
}

void loop_on_hurry(struct loop *loop, void (*pass_on)(void *arg))
{
    loop->pass_on = pass_on;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

int loop_watch_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    watch->fd = fd;
    watch->events = events;
    return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int loop_watch_change(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (watch->events == events)
        return 0;
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) != 0)
        return -1;
    watch->events = events;
    return 0;
}

void loop_watch_forget(struct loop *loop, struct loop_watch *watch)
{
    for (int i = loop->event_next; i < loop->event_count; i++)
        if (loop->events[i].data.ptr == watch)
            loop->events[i].data.ptr = NULL;
    watch->fd = -1;
}

void loop_watch_remove(struct loop *loop, struct loop_watch *watch)
{
    if (watch->fd >= 0)
        (void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    loop_watch_forget(loop, watch);
}

/* ---- timers: a binary heap */

static void heap_put(struct loop *loop, size_t at, struct loop_timer *timer)
{
    loop->heap[at] = timer;
    timer->index = at + 1;
}

static void heap_up(struct loop *loop, size_t at, struct loop_timer *timer)
{
    while (at > 0) {
        size_t parent = (at - 1) / 2;
        if (loop->heap[parent]->due_ms <= timer->due_ms)
            break;
        heap_put(loop, at, loop->heap[parent]);
        at = parent;
    }
    heap_put(loop, at, timer);
}

static void heap_down(struct loop *loop, size_t at, struct loop_timer *timer)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= loop->heap_count)
            break;
        if (child + 1 < loop->heap_count && loop->heap[child + 1]->due_ms < loop->heap[child]->due_ms)
            child++;
        if (loop->heap[child]->due_ms >= timer->due_ms)
            break;
        heap_put(loop, at, loop->heap[child]);
        at = child;
    }
    heap_put(loop, at, timer);
}

int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_ms)
{
    if (timer->index != 0) {
        int64_t old_ms = timer->due_ms;
        timer->due_ms = due_ms;
        if (due_ms < old_ms)
            heap_up(loop, timer->index - 1, timer);
        else if (due_ms > old_ms)
            heap_down(loop, timer->index - 1, timer);
        return 0;
    }
    if (loop->heap_count == loop->heap_cap) {
        size_t cap = loop->heap_cap == 0 ? 64 : loop->heap_cap * 2;
        struct loop_timer **heap = realloc(loop->heap, cap * sizeof(*heap));
        if (heap == NULL)
            return -1;
        loop->heap = heap;
        loop->heap_cap = cap;
    }
    timer->due_ms = due_ms;
    heap_up(loop, loop->heap_count++, timer);
    return 0;
}

void loop_timer_cancel(struct loop *loop, struct loop_timer *timer)
{
    if (timer->index == 0)
        return;
    size_t at = timer->index - 1;
    struct loop_timer *last = loop->heap[--loop->heap_count];
    timer->index = 0;
    if (last == timer)
        return;
    heap_put(loop, at, last);
    heap_up(loop, at, last);
    heap_down(loop, last->index - 1, last);
}

static void run_timers(struct loop *loop)
{
    /* A timer that is set again from its own function to a time that is due waits for the next turn. */
    size_t budget = loop->heap_count;
    while (budget-- > 0 && loop->heap_count > 0 && loop->heap[0]->due_ms <= loop->now_ms) {
        struct loop_timer *timer = loop->heap[0];
        loop_timer_cancel(loop, timer);
        timer->fn(timer);
    }
}

static int wait_ms(const struct loop *loop, bool again)
{
    if (again)
        return 0;
    if (loop->heap_count == 0)
        return -1;
    int64_t left_ms = loop->heap[0]->due_ms - clock_mono_ms();
    if (left_ms <= 0)
        return 0;
    return left_ms > INT_MAX ? INT_MAX : (int)left_ms;
}

void loop_run(struct loop *loop)
{
    bool again = true;
    while (!loop->stopped) {
        int count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS, wait_ms(loop, again));
        look_at_clocks(loop);
        loop->round++;
        loop->event_count = count < 0 ? 0 : count; /* EINTR: an empty turn */
        for (loop->event_next = 0; loop->event_next < loop->event_count;) {
            const struct epoll_event *event = &loop->events[loop->event_next++];
            struct loop_watch *watch = event->data.ptr;
            if (watch != NULL)
                watch->fn(watch, event->events);
            if (loop->hurries >= HURRIES) {
                loop->hurries = 0;
                loop->pass_on(loop->turn_arg);
            }
        }
        run_timers(loop);
        loop->hurries = 0;
        again = loop->turn(loop->turn_arg);
    }
    loop->stopped = false;
}
