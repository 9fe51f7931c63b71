/*
 * upstream_socket: libcurl's sockets in the worker's loop. Called by libcurl whenever it opens or closes one,
 * or begins or ceases to wait for it.
 *
 * Between two requests on a kept connection the library takes its socket out of its set and puts it back.
 * That would be two system calls a request, so a socket that it is not interested in just stays in the loop's
 * set: an event that comes all the same (the provider closes the connection) takes it out. For that we must
 * know when a descriptor is closed, so this is done for sockets that were opened here; the name resolver's
 * are its own.
 */
#include "worker/upstream_internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct socket_watch {
    struct loop_watch watch;
    struct upstream_sockets *sockets;
    bool wanted; /* the library waits for it */
    bool in_set; /* of the loop */
};

static void on_event(struct loop_watch *watch, uint32_t events)
{
    struct socket_watch *socket = LOOP_OWNER(watch, struct socket_watch, watch);
    struct upstream_sockets *sockets = socket->sockets;
    int mask = 0;
    int running;
    if (!socket->wanted) {
        loop_watch_remove(sockets->loop, watch);
        socket->in_set = false;
        return;
    }
    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    sockets->progress = true;
    (void)curl_multi_socket_action(sockets->multi, watch->fd, mask, &running);
}

static struct socket_watch *socket_new(struct upstream_sockets *sockets)
{
    struct socket_watch *socket = calloc(1, sizeof *socket);
    if (socket == NULL)
        return NULL;
    socket->sockets = sockets;
    socket->watch.fn = on_event;
    return socket;
}

static void want(struct socket_watch *socket, int fd, int what)
{
    struct loop *loop = socket->sockets->loop;
    uint32_t events = 0;
    int failed;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    socket->wanted = true;
    if (socket->in_set)
        failed = loop_watch_change(loop, &socket->watch, events);
    else
        failed = loop_watch_add(loop, &socket->watch, fd, events);
    if (failed)
        log_error("a connection to a provider cannot be watched: %s", strerror(errno));
    else
        socket->in_set = true;
}

/* ---- sockets that were opened here */

static struct socket_watch *find_opened(const struct upstream_sockets *sockets, int fd)
{
    return fd >= 0 && (size_t)fd < sockets->opened_size ? sockets->opened[fd] : NULL;
}

static int remember(struct upstream_sockets *sockets, int fd)
{
    size_t need = (size_t)fd + 1;
    if (need > sockets->opened_size) {
        size_t size = sockets->opened_size == 0 ? 64 : sockets->opened_size;
        while (size < need)
            size *= 2;
        struct socket_watch **opened = realloc(sockets->opened, size * sizeof(*opened));
        if (opened == NULL)
            return -1;
        memset(opened + sockets->opened_size, 0, (size - sockets->opened_size) * sizeof(*opened));
        sockets->opened = opened;
        sockets->opened_size = size;
    }
    sockets->opened[fd] = socket_new(sockets);
    return sockets->opened[fd] != NULL ? 0 : -1;
}

static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *addr)
{
    (void)purpose;
    int fd = socket(addr->family, addr->socktype | SOCK_CLOEXEC, addr->protocol);
    if (fd >= 0 && remember(arg, fd) != 0) {
        (void)close(fd);
        errno = ENOMEM;
        return CURL_SOCKET_BAD;
    }
    return fd;
}

static int on_close(void *arg, curl_socket_t fd)
{
    struct upstream_sockets *sockets = arg;
    struct socket_watch *socket = find_opened(sockets, fd);
    int failed = close(fd); /* takes it out of the loop's set */
    if (socket != NULL) {
        loop_watch_forget(sockets->loop, &socket->watch);
        sockets->opened[fd] = NULL;
        free(socket);
    }
    return failed;
}

/* ---- what the library waits for */

/* It always says 0: anything else ends every transfer of the worker. A transfer whose socket cannot be
 * watched runs into its own timeout. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct upstream_sockets *sockets = arg;
    struct socket_watch *opened = find_opened(sockets, fd);
    struct socket_watch *other = socket_arg;
    (void)easy;
    if (opened != NULL) {
        if (what == CURL_POLL_REMOVE)
            opened->wanted = false;
        else
            want(opened, fd, what);
        return 0;
    }
    if (what == CURL_POLL_REMOVE) {
        if (other != NULL) {
            if (other->in_set)
                loop_watch_remove(sockets->loop, &other->watch);
            free(other);
            (void)curl_multi_assign(sockets->multi, fd, NULL);
        }
        return 0;
    }
    if (other == NULL) {
        other = socket_new(sockets);
        if (other == NULL)
            return 0;
        (void)curl_multi_assign(sockets->multi, fd, other);
    }
    want(other, fd, what);
    return 0;
}

void upstream_sockets_init(struct upstream_sockets *sockets, struct loop *loop, CURLM *multi)
{
    *sockets = (struct upstream_sockets){.loop = loop, .multi = multi};
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, sockets);
}

CURLcode upstream_sockets_use(struct upstream_sockets *sockets, CURL *easy)
{
    CURLcode bad = curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open);
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, sockets);
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close);
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, sockets);
    return bad;
}

void upstream_sockets_fini(struct upstream_sockets *sockets)
{
    free(sockets->opened);
    sockets->opened = NULL;
    sockets->opened_size = 0;
}
