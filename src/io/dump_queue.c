/*
 * dump_queue: owns the ring. head and tail count bytes since the begin; each is written by one thread only.
 */
#include "io/dump_queue.h"

#include "base/fd.h"
#include "base/secret.h"

#include <poll.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define CACHE_LINE 64

/* In front of each record. */
struct frame {
    size_t room; /* this and the record, a multiple of DUMP_QUEUE_UNIT */
    size_t len;  /* of the record; SKIPPED = there is none */
};

#define SKIPPED SIZE_MAX

_Static_assert(sizeof(struct frame) <= DUMP_QUEUE_UNIT / 2, "a small record takes one unit");
_Static_assert(sizeof(struct frame) % alignof(max_align_t) == 0, "records are aligned");

struct dump_queue {
    alignas(CACHE_LINE) _Atomic size_t head; /* of who puts */
    char *ring;
    size_t size;
    bool full; /* something found no room: until half of it is free */
    int event_fd;
    _Atomic int sleeping;
    alignas(CACHE_LINE) _Atomic size_t tail; /* of who takes */
};

static size_t rounded(size_t len)
{
    return (sizeof(struct frame) + len + DUMP_QUEUE_UNIT - 1) & ~(size_t)(DUMP_QUEUE_UNIT - 1);
}

static struct frame *frame_at(const struct dump_queue *queue, size_t count)
{
    return (struct frame *)(void *)(queue->ring + count % queue->size);
}

struct dump_queue *dump_queue_new(size_t size)
{
    struct dump_queue *queue = aligned_alloc(CACHE_LINE, sizeof *queue);
    if (queue == NULL)
        return NULL;
    *queue = (struct dump_queue){.size = size, .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (queue->event_fd >= 0)
        queue->ring = calloc(1, size); /* pages that nobody has used yet cost nothing */
    if (queue->ring == NULL)
        dump_queue_free(&queue);
    return queue;
}

void dump_queue_free(struct dump_queue **queue)
{
    struct dump_queue *q = *queue;
    *queue = NULL;
    if (q == NULL)
        return;
    fd_close(&q->event_fd);
    free(q->ring);
    free(q);
}

size_t dump_queue_used(struct dump_queue *queue)
{
    size_t tail = atomic_load_explicit(&queue->tail, memory_order_acquire);
    size_t head = atomic_load_explicit(&queue->head, memory_order_acquire);
    return head - tail;
}

/* ---- the thread that puts */

static void set_head(struct dump_queue *queue, size_t head)
{
    atomic_store(&queue->head, head); /* sequentially consistent: see dump_queue_sleep() */
}

static void skip(struct dump_queue *queue, size_t head, size_t room)
{
    *frame_at(queue, head) = (struct frame){room, SKIPPED};
    set_head(queue, head + room);
}

bool dump_queue_takes(struct dump_queue *queue, size_t need)
{
    size_t used = dump_queue_used(queue);
    if (queue->full && used > queue->size / 2)
        return false;
    queue->full = used + need >= queue->size;
    return !queue->full;
}

static void *find_no_room(struct dump_queue *queue)
{
    queue->full = true;
    return NULL;
}

void *dump_queue_reserve(struct dump_queue *queue, size_t len, size_t spare)
{
    if (len > queue->size || spare > queue->size)
        return find_no_room(queue);
    size_t need = rounded(len);
    size_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    size_t free_room = queue->size - dump_queue_used(queue);
    size_t to_end = queue->size - head % queue->size;
    size_t skipped = to_end < need ? to_end : 0; /* a record is in one piece */
    if (skipped + need + spare > free_room)
        return find_no_room(queue);
    if (skipped > 0)
        skip(queue, head, skipped);
    head += skipped;
    struct frame *frame = frame_at(queue, head);
    frame->room = need;
    return frame + 1;
}

void dump_queue_put(struct dump_queue *queue, size_t len)
{
    size_t head = atomic_load_explicit(&queue->head, memory_order_relaxed);
    struct frame *frame = frame_at(queue, head);
    frame->room = rounded(len);
    frame->len = len;
    set_head(queue, head + frame->room);
}

void dump_queue_wake(struct dump_queue *queue)
{
    if (atomic_load(&queue->sleeping) != 0 && dump_queue_used(queue) > 0 &&
        atomic_exchange(&queue->sleeping, 0) != 0)
        dump_queue_alarm(queue);
}

void dump_queue_alarm(struct dump_queue *queue)
{
    (void)eventfd_write(queue->event_fd, 1);
}

/* ---- the thread that takes */

const void *dump_queue_peek(struct dump_queue *queue, size_t *len)
{
    while (dump_queue_used(queue) > 0) {
        const struct frame *frame = frame_at(queue, atomic_load_explicit(&queue->tail, memory_order_relaxed));
        if (frame->len != SKIPPED) {
            *len = frame->len;
            return frame + 1;
        }
        dump_queue_drop(queue);
    }
    return NULL;
}

void dump_queue_drop(struct dump_queue *queue)
{
    size_t tail = atomic_load_explicit(&queue->tail, memory_order_relaxed);
    struct frame *frame = frame_at(queue, tail);
    size_t room = frame->room;
    if (frame->len != SKIPPED)
        secret_wipe(frame, room);
    atomic_store_explicit(&queue->tail, tail + room, memory_order_release);
}

/* Who puts looks at `sleeping` after it has moved head, who takes at head after it has set `sleeping`: one of
 * them sees the other. */
void dump_queue_sleep(struct dump_queue *queue)
{
    struct pollfd event = {.fd = queue->event_fd, .events = POLLIN};
    eventfd_t count;
    atomic_store(&queue->sleeping, 1);
    if (atomic_load(&queue->head) == atomic_load_explicit(&queue->tail, memory_order_relaxed))
        (void)poll(&event, 1, -1);
    atomic_store(&queue->sleeping, 0);
    (void)eventfd_read(queue->event_fd, &count);
}
