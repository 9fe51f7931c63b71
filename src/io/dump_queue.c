/*
 * dump_queue: owns the ring. head and tail count bytes since the begin; each is written by one side only.
 */
#include "io/dump_queue.h"

#include "base/fd.h"
#include "base/secret.h"

#include <poll.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define CACHE_LINE 64

/* In front of each record. */
struct frame {
    size_t room; /* this and the record, a multiple of DUMP_QUEUE_UNIT */
    size_t len;  /* of the record; SKIPPED = there is none */
};

#define SKIPPED SIZE_MAX

_Static_assert(sizeof(struct frame) <= DUMP_QUEUE_UNIT / 2, "a small record takes one unit");
_Static_assert(sizeof(struct frame) % alignof(max_align_t) == 0, "records are aligned");

_Static_assert(ATOMIC_LONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "processes share these words");

enum sleep { AWAKE, ASLEEP, DOZING };

/* What both sides see. */
struct shared_ring {
    alignas(CACHE_LINE) _Atomic size_t head; /* of who puts */
    _Atomic int sleeping;                    /* enum sleep */
    alignas(CACHE_LINE) _Atomic size_t tail; /* of who takes */
    alignas(CACHE_LINE) char bytes[];
};

/* Each side has its own: whatever one does to the shared part, the other stays within it. */
struct dump_queue {
    struct shared_ring *ring;
    size_t size;
    int event_fd;
    size_t head; /* of who puts, as it was set last */
    bool full;   /* something found no room: until half of it is free */
};

static size_t rounded(size_t len)
{
    return (sizeof(struct frame) + len + DUMP_QUEUE_UNIT - 1) & ~(size_t)(DUMP_QUEUE_UNIT - 1);
}

static struct frame *frame_at(const struct dump_queue *queue, size_t count)
{
    return (struct frame *)(void *)(queue->ring->bytes + count % queue->size);
}

static size_t mapped_size(size_t size)
{
    return sizeof(struct shared_ring) + size;
}

/* Pages that nobody has used yet cost nothing. */
static struct shared_ring *map_ring(size_t size)
{
    void *ring = mmap(NULL, mapped_size(size), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (ring == MAP_FAILED)
        return NULL;
    (void)madvise(ring, mapped_size(size), MADV_DONTDUMP);
    return ring;
}

struct dump_queue *dump_queue_new(size_t size)
{
    struct dump_queue *queue = malloc(sizeof *queue);
    if (queue == NULL)
        return NULL;
    *queue = (struct dump_queue){.size = size, .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (queue->event_fd >= 0)
        queue->ring = map_ring(size);
    if (queue->ring == NULL) {
        fd_close(&queue->event_fd);
        free(queue);
        return NULL;
    }
    return queue;
}

void dump_queue_free(struct dump_queue **queue)
{
    struct dump_queue *q = *queue;
    *queue = NULL;
    if (q == NULL)
        return;
    (void)munmap(q->ring, mapped_size(q->size));
    fd_close(&q->event_fd);
    free(q);
}

int dump_queue_fd(const struct dump_queue *queue)
{
    return queue->event_fd;
}

size_t dump_queue_used(const struct dump_queue *queue)
{
    size_t tail = atomic_load_explicit(&queue->ring->tail, memory_order_acquire);
    size_t head = atomic_load_explicit(&queue->ring->head, memory_order_acquire);
    return head - tail;
}

/* ---- who puts */

static size_t free_room(const struct dump_queue *queue)
{
    size_t used = queue->head - atomic_load_explicit(&queue->ring->tail, memory_order_acquire);
    return used < queue->size ? queue->size - used : 0;
}

static void set_head(struct dump_queue *queue, size_t head)
{
    queue->head = head;
    atomic_store(&queue->ring->head, head); /* sequentially consistent: see dump_queue_sleep() */
}

static void skip(struct dump_queue *queue, size_t room)
{
    *frame_at(queue, queue->head) = (struct frame){room, SKIPPED};
    set_head(queue, queue->head + room);
}

bool dump_queue_takes(struct dump_queue *queue, size_t need)
{
    size_t room = free_room(queue);
    if (queue->full && room < queue->size / 2)
        return false;
    queue->full = need >= room;
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
    size_t to_end = queue->size - queue->head % queue->size;
    size_t skipped = to_end < need ? to_end : 0; /* a record is in one piece */
    size_t room = free_room(queue);
    if (room < queue->size - queue->size / 4)
        dump_queue_wake(queue);
    if (skipped + need + spare > room)
        return find_no_room(queue);
    if (skipped > 0)
        skip(queue, skipped);
    struct frame *frame = frame_at(queue, queue->head);
    frame->room = need;
    return frame + 1;
}

void dump_queue_put(struct dump_queue *queue, size_t len)
{
    struct frame *frame = frame_at(queue, queue->head);
    size_t room = rounded(len);
    *frame = (struct frame){room, len};
    set_head(queue, queue->head + room);
}

void dump_queue_wake(struct dump_queue *queue)
{
    int sleeping = atomic_load(&queue->ring->sleeping);
    if (sleeping != AWAKE && dump_queue_used(queue) > (sleeping == DOZING ? queue->size / 4 : 0) &&
        atomic_exchange(&queue->ring->sleeping, AWAKE) != AWAKE)
        (void)eventfd_write(queue->event_fd, 1);
}

/* ---- who takes */

const void *dump_queue_peek(struct dump_queue *queue, size_t *len)
{
    while (dump_queue_used(queue) > 0) {
        const struct frame *frame =
            frame_at(queue, atomic_load_explicit(&queue->ring->tail, memory_order_relaxed));
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
    size_t tail = atomic_load_explicit(&queue->ring->tail, memory_order_relaxed);
    struct frame *frame = frame_at(queue, tail);
    size_t room = frame->room;
    if (frame->len != SKIPPED)
        secret_wipe(frame, room);
    atomic_store_explicit(&queue->ring->tail, tail + room, memory_order_release);
}

/* Who puts looks at `sleeping` after it has moved head, who takes at head after it has set `sleeping`: one of
 * them sees the other. */
bool dump_queue_sleep(struct dump_queue *queue, int peer_fd, int doze_ms)
{
    struct pollfd fds[] = {{.fd = queue->event_fd, .events = POLLIN}, {.fd = peer_fd, .events = POLLRDHUP}};
    eventfd_t count;
    int n = 0;
    atomic_store(&queue->ring->sleeping, doze_ms >= 0 ? DOZING : ASLEEP);
    size_t used =
        atomic_load(&queue->ring->head) - atomic_load_explicit(&queue->ring->tail, memory_order_relaxed);
    if (used <= (doze_ms >= 0 ? queue->size / 4 : 0))
        n = poll(fds, 2, doze_ms);
    atomic_store(&queue->ring->sleeping, AWAKE);
    (void)eventfd_read(queue->event_fd, &count);
    return n <= 0 || fds[1].revents == 0;
}
