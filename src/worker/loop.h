/*
 * loop: one epoll set, the timers, and nothing else. Every process that serves has exactly one.
 *
 * A turn is: wait for events or the next timer, call the watches that have events, call the timers that are
 * due, call the turn function. Within a turn `loop_now()` stands still. Watches and timers are embedded in
 * the structs of their owners; nothing is allocated per event.
 */
#ifndef CLAVIGER_WORKER_LOOP_H
#define CLAVIGER_WORKER_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct loop;
struct loop_watch;
struct loop_timer;

typedef void loop_watch_fn(struct loop_watch *watch, uint32_t events);
typedef void loop_timer_fn(struct loop_timer *timer);

/* A descriptor that is watched. The owner fills in fn before loop_watch_add(). */
struct loop_watch {
    loop_watch_fn *fn;
    int fd;
    uint32_t events; /* EPOLL* bits that are asked for */
};

/* A timer. A zeroed struct with fn set is a timer that is not running. */
struct loop_timer {
    loop_timer_fn *fn;
    int64_t due_ms; /* monotonic */
    size_t index;   /* 1 + place in the heap; 0 = not running */
};

/* Called at the end of each turn; returns whether it wants another turn at once. */
typedef bool loop_turn_fn(void *arg);

/* NULL with errno. */
struct loop *loop_new(loop_turn_fn *turn, void *arg);
void loop_free(struct loop **loop);

/* Turns until loop_stop(), and can do so again. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

/* Monotonic milliseconds at the begin of this turn. */
int64_t loop_now(const struct loop *loop);

/* The same as Unix time. */
int64_t loop_real(const struct loop *loop);

/* Counts the waits for events: those that are delivered now came with that one. */
uint64_t loop_round(const struct loop *loop);

/* For a watch that has produced something that should go on its way: after a few of these `pass_on` is called
 * (with the turn function's argument) before further events are delivered. */
void loop_hurry(struct loop *loop);
void loop_on_hurry(struct loop *loop, void (*pass_on)(void *arg));

/* 0, or -1 with errno. */
int loop_watch_add(struct loop *loop, struct loop_watch *watch, int fd, uint32_t events);
int loop_watch_change(struct loop *loop, struct loop_watch *watch, uint32_t events);

/* Stops watching; also withdraws an event of this turn that was not delivered yet, so the owner may be freed.
 * The descriptor must still be open. */
void loop_watch_remove(struct loop *loop, struct loop_watch *watch);

/* For an owner whose descriptor was closed by somebody else (the kernel has forgotten it already). */
void loop_watch_forget(struct loop *loop, struct loop_watch *watch);

/* Starts the timer, or moves it. 0, or -1 when out of memory. */
int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t due_ms);
void loop_timer_cancel(struct loop *loop, struct loop_timer *timer);

/* Whatever embeds a watch or a timer finds itself back from it. */
#define LOOP_OWNER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
