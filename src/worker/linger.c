/*
 * linger: reads and throws away what a client still sends, then closes. Called by the listener when the HTTP
 * library has closed its side.
 */
#include "worker/linger.h"

#include "base/fd.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct linger_entry {
    struct lingers *lingers;
    struct linger_entry *next;
    struct linger_entry *prev;
    struct loop_watch watch;
    struct loop_timer timer;
    size_t left;
};

struct lingers {
    struct loop *loop;
    struct linger_entry *first;
    size_t count;
};

static void end(struct linger_entry *entry)
{
    struct lingers *lingers = entry->lingers;
    int fd = entry->watch.fd;
    loop_watch_remove(lingers->loop, &entry->watch);
    loop_timer_cancel(lingers->loop, &entry->timer);
    fd_close(&fd);
    if (entry->prev != NULL)
        entry->prev->next = entry->next;
    else
        lingers->first = entry->next;
    if (entry->next != NULL)
        entry->next->prev = entry->prev;
    lingers->count--;
    free(entry);
}

static void on_readable(struct loop_watch *watch, uint32_t events)
{
    struct linger_entry *entry = LOOP_OWNER(watch, struct linger_entry, watch);
    char scratch[16 * 1024];
    (void)events;
    for (int rounds = 0; rounds < 16; rounds++) { /* others want their turn too */
        ssize_t got = recv(watch->fd, scratch, sizeof scratch, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0 || (size_t)got >= entry->left) {
            end(entry);
            return;
        }
        entry->left -= (size_t)got;
    }
}

static void on_due(struct loop_timer *timer)
{
    end(LOOP_OWNER(timer, struct linger_entry, timer));
}

void linger_begin(struct lingers *lingers, int fd)
{
    struct linger_entry *entry = calloc(1, sizeof *entry);
    if (entry == NULL) {
        (void)close(fd);
        return;
    }
    entry->lingers = lingers;
    entry->watch.fn = on_readable;
    entry->timer.fn = on_due;
    entry->left = LINGER_BYTES;
    entry->next = lingers->first;
    if (lingers->first != NULL)
        lingers->first->prev = entry;
    lingers->first = entry;
    lingers->count++;
    if (loop_watch_add(lingers->loop, &entry->watch, fd, EPOLLIN | EPOLLRDHUP) != 0 ||
        loop_timer_set(lingers->loop, &entry->timer, loop_now(lingers->loop) + LINGER_MS) != 0)
        end(entry);
}

struct lingers *lingers_new(struct loop *loop)
{
    struct lingers *lingers = calloc(1, sizeof *lingers);
    if (lingers != NULL)
        lingers->loop = loop;
    return lingers;
}

void lingers_free(struct lingers **lingers)
{
    if (*lingers == NULL)
        return;
    while ((*lingers)->first != NULL)
        end((*lingers)->first);
    free(*lingers);
    *lingers = NULL;
}

size_t lingers_count(const struct lingers *lingers)
{
    return lingers->count;
}
