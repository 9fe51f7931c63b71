/*
 * listener: client connections: accepted here, watched for what libmicrohttpd does not see (a client that
 * leaves while it waits, a head that trickles), counted, drained. Requests are listener_exchange.c's
 * business.
 */
#include "worker/listener_internal.h"

#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT_BATCH    8   /* connections taken at one event: the other workers want some too */
#define ACCEPT_RETRY_MS 100 /* after accept() failed for want of something */
#define TICK_MS         500 /* how often the library looks at its own timeouts */
#define DRY_ROUNDS      1   /* of the library without progress; then it most likely has nothing to do */
#define LOOK_MS         10  /* until it is asked again all the same */
#define POOL_EXTRA_BYTES                                                                                     \
    (8 * 1024) /* beside a request's head: its fields' table, and a usual answer's head */

/* The library refuses most of what we refuse from 1.0 on; before that listener_head.c looks for it. */
#if MHD_VERSION >= 0x00097701
#define STRICTNESS MHD_OPTION_CLIENT_DISCIPLINE_LVL, 1
#else
#define STRICTNESS MHD_OPTION_STRICT_FOR_CLIENT, 0
#endif

/* ---- heads that are awaited */

void connection_await_head(struct connection *connection)
{
    struct listener *listener = connection->listener;
    if (connection->head_awaited)
        return;
    connection->head_awaited = true;
    connection->head_due_ms = loop_now(listener->loop) + listener->options.conf->limits.head_timeout_ms;
    connection->head_next = NULL;
    connection->head_prev = listener->head_last;
    if (listener->head_last != NULL)
        listener->head_last->head_next = connection;
    else
        listener->head_first = connection;
    listener->head_last = connection;
    if (listener->head_timer.index == 0)
        (void)loop_timer_set(listener->loop, &listener->head_timer, connection->head_due_ms);
}

void connection_head_done(struct connection *connection)
{
    struct listener *listener = connection->listener;
    if (!connection->head_awaited)
        return;
    connection->head_awaited = false;
    if (connection->head_prev != NULL)
        connection->head_prev->head_next = connection->head_next;
    else
        listener->head_first = connection->head_next;
    if (connection->head_next != NULL)
        connection->head_next->head_prev = connection->head_prev;
    else
        listener->head_last = connection->head_prev;
}

static void on_head_due(struct loop_timer *timer)
{
    struct listener *listener = LOOP_OWNER(timer, struct listener, head_timer);
    while (listener->head_first != NULL && listener->head_first->head_due_ms <= loop_now(listener->loop)) {
        struct connection *connection = listener->head_first;
        connection_head_done(connection);
        (void)shutdown(connection->fd, SHUT_RDWR); /* the library finds the end and closes */
    }
    if (listener->head_first != NULL)
        (void)loop_timer_set(listener->loop, timer, listener->head_first->head_due_ms);
}

/* ---- a connection's life */

bool connection_keep_open(struct connection *connection)
{
    if (connection->linger_fd < 0)
        connection->linger_fd = dup(connection->fd);
    return connection->linger_fd >= 0;
}

/* Bytes may be those of a request that was answered between two events: it was known of before. An event of a
 * later round tells of no such bytes: the kernel looks at the socket when it hands the event out. */
static bool head_begins(const struct connection *connection)
{
    char byte;
    return connection->exchange == NULL &&
           (connection->served_round != loop_round(connection->listener->loop) ||
            recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0);
}

/* A connection without TLS is watched for all that the library has in its own epoll set, whose descriptor
 * would only tell of it a second time. */
static void on_connection_event(struct loop_watch *watch, uint32_t events)
{
    struct connection *connection = LOOP_OWNER(watch, struct connection, watch);
    if (connection->tls == NULL)
        connection->listener->pending = true;
    else
        connection_tls_wake(connection);
    if ((events & EPOLLIN) && head_begins(connection))
        connection_await_head(connection);
    if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) && !connection->left) {
        connection->left = true;
        if (connection->exchange != NULL)
            exchange_resume(connection->exchange);
        /* The library, edge-triggered, overlooks an end that came together with the last bytes; this it sees.
         */
        (void)shutdown(connection->fd, SHUT_RDWR);
    }
}

static void count_connections(const struct listener *listener)
{
    atomic_store_explicit(&listener->options.slot->connections, listener->connection_count,
                          memory_order_relaxed);
}

static void set_accepting(struct listener *listener, bool on);

static void on_opened(struct listener *listener, struct MHD_Connection *mhd, void **context)
{
    struct connection *connection = listener->accepting;
    *context = connection;
    listener->accepting = NULL;
    connection->next = listener->connections;
    if (listener->connections != NULL)
        listener->connections->prev = connection;
    listener->connections = connection;
    listener->connection_count++;
    count_connections(listener);
    connection_await_head(connection);
    if (connection->tls != NULL)
        connection_tls_opened(connection, mhd);
}

static void on_closed(struct listener *listener, struct connection *connection)
{
    connection_head_done(connection);
    loop_watch_remove(listener->loop, &connection->watch);
    if (connection->prev != NULL)
        connection->prev->next = connection->next;
    else
        listener->connections = connection->next;
    if (connection->next != NULL)
        connection->next->prev = connection->prev;
    listener->connection_count--;
    count_connections(listener);
    connection_leave_peer(connection);
    connection_tls_closed(connection);
    if (connection->linger_fd >= 0)
        linger_begin(listener->lingers, connection->linger_fd);
    free(connection);
    if (!listener->draining && listener->accept_timer.index == 0)
        set_accepting(listener, true);
}

static void on_notify(void *cls, struct MHD_Connection *mhd, void **context,
                      enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        on_opened(cls, mhd, context);
    else if (*context != NULL)
        on_closed(cls, *context);
}

/* ---- accepting */

static void set_accepting(struct listener *listener, bool on)
{
    for (size_t i = 0; i < listener->listen_count; i++) {
        struct listen_watch *listen = &listener->listens[i];
        if (on == listen->watching)
            continue;
        if (!on)
            loop_watch_remove(listener->loop, &listen->watch);
        else if (loop_watch_add(listener->loop, &listen->watch, listener->options.fds[i],
                                EPOLLIN | EPOLLEXCLUSIVE) != 0) {
            (void)loop_timer_set(listener->loop, &listener->accept_timer,
                                 loop_now(listener->loop) + ACCEPT_RETRY_MS);
            continue;
        }
        listen->watching = on;
    }
}

static void on_accept_retry(struct loop_timer *timer)
{
    struct listener *listener = LOOP_OWNER(timer, struct listener, accept_timer);
    if (!listener->draining)
        set_accepting(listener, true);
}

/* Out of descriptors or memory: wait a little instead of spinning on what cannot be accepted. */
static void pause_accepting(struct listener *listener, int error)
{
    if (!listener->accept_failed)
        log_error(
            "connections cannot be accepted: %s; trying again every %d ms (raise the limit of open files, or "
            "lower limits.connections)",
            strerror(error), ACCEPT_RETRY_MS);
    listener->accept_failed = true;
    set_accepting(listener, false);
    (void)loop_timer_set(listener->loop, &listener->accept_timer, loop_now(listener->loop) + ACCEPT_RETRY_MS);
}

static void add_connection(struct listener *listener, bool tls, int fd, const struct sockaddr_storage *addr,
                           socklen_t addr_len)
{
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL || (tls && (connection->tls = connection_tls_new(connection)) == NULL)) {
        (void)close(fd);
        free(connection);
        return;
    }
    connection->listener = listener;
    connection->fd = fd;
    connection->linger_fd = -1;
    connection->watch.fn = on_connection_event;
    peers_text((const struct sockaddr *)(const void *)addr, connection->peer);
    if (!connection_enter_peer(connection, addr)) {
        connection_refuse(connection);
        free(connection->tls);
        free(connection);
        return;
    }
    if (loop_watch_add(listener->loop, &connection->watch, fd,
                       EPOLLIN | EPOLLRDHUP | EPOLLET | (tls ? 0 : (uint32_t)EPOLLOUT)) != 0) {
        connection_leave_peer(connection);
        (void)close(fd);
        free(connection->tls);
        free(connection);
        return;
    }
    struct MHD_Daemon *daemon = tls ? listener_tls_daemon(listener->tls) : listener->daemon;
    listener->accepting = connection;
    if (MHD_add_connection(daemon, fd, (const struct sockaddr *)(const void *)addr, addr_len) == MHD_YES) {
        if (tls)
            connection_tls_added(connection);
        else
            listener->pending = true;
    } else if (listener->accepting != NULL) { /* the library has closed the descriptor */
        loop_watch_forget(listener->loop, &connection->watch);
        connection_leave_peer(connection);
        free(connection->tls);
        free(connection);
    }
    listener->accepting = NULL;
}

static void on_listen_event(struct loop_watch *watch, uint32_t events)
{
    struct listen_watch *listen = LOOP_OWNER(watch, struct listen_watch, watch);
    struct listener *listener = listen->listener;
    bool tls = listener->options.conf->listens.items[listen - listener->listens].tls;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage addr;
        socklen_t addr_len = sizeof addr;
        if ((int64_t)listener->connection_count >= listener->options.conf->limits.connections) {
            set_accepting(listener, false); /* on again when one closes */
            return;
        }
        int fd =
            accept4(watch->fd, (struct sockaddr *)(void *)&addr, &addr_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->accept_failed = false;
            add_connection(listener, tls, fd, &addr, addr_len);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(listener, errno);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else that one connection is gone already: the next */
    }
}

/* ---- turn, drain */

static void on_tick(struct loop_timer *timer)
{
    struct listener *listener = LOOP_OWNER(timer, struct listener, tick);
    listener->pending = true;
    listener_tls_tick(listener->tls);
    (void)loop_timer_set(listener->loop, timer, loop_now(listener->loop) + TICK_MS);
}

static void on_look(struct loop_timer *timer)
{
    LOOP_OWNER(timer, struct listener, look_timer)->pending = true;
}

/* The library says that it has work at once. While exchanges wait open (listener_exchange.c) it always says
 * so: then it has some after a round with progress, and for a few rounds more, in which it may send what it
 * was given before; for anything that does not fit into this, it is asked again a little later. */
static void look_for_work(struct listener *listener)
{
    if (listener->open_waits == 0 || listener->progress)
        listener->dry_rounds = 0;
    else
        listener->dry_rounds++;
    if (listener->dry_rounds <= DRY_ROUNDS)
        listener->pending = true;
    else if (listener->look_timer.index == 0)
        (void)loop_timer_set(listener->loop, &listener->look_timer, loop_now(listener->loop) + LOOK_MS);
}

bool listener_turn(struct listener *listener)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    bool any = listener_tls_turn(listener->tls);
    if (!listener->pending)
        return any;
    listener->pending = false;
    listener->progress = false;
    (void)MHD_run(listener->daemon);
    if (MHD_get_timeout(listener->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0)
        look_for_work(listener);
    return true;
}

static void end_idle(struct loop_timer *timer)
{
    struct listener *listener = LOOP_OWNER(timer, struct listener, drain_timer);
    for (struct connection *connection = listener->connections; connection != NULL;
         connection = connection->next) {
        char byte;
        /* One with bytes under way has begun its next request. */
        if (connection->exchange != NULL || !connection->served || connection->head_awaited)
            continue;
        if (recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0) {
            (void)connection_end(connection);
            (void)shutdown(connection->fd, SHUT_RDWR);
        }
    }
}

/* One that has never had a request is about to send it, or never will. */
static void hurry_fresh(struct listener *listener)
{
    int64_t due_ms = loop_now(listener->loop) + DRAIN_FRESH_MS;
    for (struct connection *connection = listener->head_first; connection != NULL;
         connection = connection->head_next)
        if (connection->head_due_ms > due_ms)
            connection->head_due_ms = due_ms;
    if (listener->head_first != NULL)
        (void)loop_timer_set(listener->loop, &listener->head_timer, listener->head_first->head_due_ms);
}

void listener_drain(struct listener *listener, int64_t grace_ms)
{
    listener->draining = true;
    loop_timer_cancel(listener->loop, &listener->accept_timer);
    set_accepting(listener, false);
    hurry_fresh(listener);
    if (grace_ms > 0)
        (void)loop_timer_set(listener->loop, &listener->drain_timer, loop_now(listener->loop) + grace_ms);
    else
        end_idle(&listener->drain_timer);
}

void listener_end_idle_soon(struct listener *listener)
{
    if (listener->draining && listener->drain_timer.index == 0)
        (void)loop_timer_set(listener->loop, &listener->drain_timer, loop_now(listener->loop));
}

size_t listener_connections(const struct listener *listener)
{
    return listener->connection_count + lingers_count(listener->lingers);
}

/* ---- setup */

static void log_library(void *cls, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void log_library(void *cls, const char *fmt, va_list ap)
{
    char text[512];
    (void)cls;
    (void)vsnprintf(text, sizeof text, fmt, ap);
    text[strcspn(text, "\r\n")] = '\0';
    log_debug("libmicrohttpd: %s", text);
}

/* The library's decoded URL is of no use to us; leave it as it is. */
static size_t leave_escaped(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls, (void)mhd;
    return strlen(text);
}

size_t listener_pool_bytes(const struct listener *listener)
{
    return (size_t)listener->options.conf->limits.header_size + POOL_EXTRA_BYTES;
}

struct MHD_Daemon *listener_start_daemon(struct listener *listener, unsigned flags,
                                         struct MHD_OptionItem *items)
{
    const struct conf *conf = listener->options.conf;
    return MHD_start_daemon(flags | MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
                                MHD_USE_ERROR_LOG,
                            0, NULL, NULL, exchange_on_request, listener, MHD_OPTION_EXTERNAL_LOGGER,
                            log_library, NULL, MHD_OPTION_URI_LOG_CALLBACK, exchange_on_target, listener,
                            MHD_OPTION_NOTIFY_COMPLETED, exchange_on_completed, listener,
                            MHD_OPTION_NOTIFY_CONNECTION, on_notify, listener, MHD_OPTION_UNESCAPE_CALLBACK,
                            leave_escaped, NULL, STRICTNESS, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)conf->limits.connections + 1, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                            listener_pool_bytes(listener), MHD_OPTION_CONNECTION_TIMEOUT,
                            (unsigned)((conf->limits.client_timeout_ms + 999) / 1000), MHD_OPTION_ARRAY,
                            items, MHD_OPTION_END);
}

struct listener *listener_new(const struct listener_options *options)
{
    struct MHD_OptionItem no_items[] = {{MHD_OPTION_END, 0, NULL}};
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return NULL;
    listener->options = *options;
    listener->loop = options->loop;
    listener->listen_count = options->conf->listens.count;
    listener->tick.fn = on_tick;
    listener->head_timer.fn = on_head_due;
    listener->accept_timer.fn = on_accept_retry;
    listener->drain_timer.fn = end_idle;
    listener->look_timer.fn = on_look;
    listener->lingers = lingers_new(options->loop);
    if (options->conf->limits.connections_per_peer > 0)
        listener->peers = peers_new(options->conf->limits.connections_per_peer);
    listener->listens = calloc(listener->listen_count + 1, sizeof *listener->listens);
    if (listener->lingers == NULL || listener->listens == NULL ||
        (options->conf->limits.connections_per_peer > 0 && listener->peers == NULL) ||
        (listener->daemon = listener_start_daemon(listener, 0, no_items)) == NULL ||
        listener_tls_start(listener) != 0 ||
        loop_timer_set(listener->loop, &listener->tick, loop_now(listener->loop) + TICK_MS) != 0) {
        log_error("the HTTP server library could not be started: %s", strerror(errno));
        listener_free(&listener);
        return NULL;
    }
    for (size_t i = 0; i < listener->listen_count; i++) {
        listener->listens[i].listener = listener;
        listener->listens[i].watch.fn = on_listen_event;
    }
    set_accepting(listener, true);
    return listener;
}

void listener_free(struct listener **listener)
{
    struct listener *l = *listener;
    if (l == NULL)
        return;
    l->draining = true;
    set_accepting(l, false);
    loop_timer_cancel(l->loop, &l->tick);
    loop_timer_cancel(l->loop, &l->accept_timer);
    loop_timer_cancel(l->loop, &l->drain_timer);
    loop_timer_cancel(l->loop, &l->look_timer);
    if (l->daemon != NULL) {
        /* The library must not be stopped with a connection suspended. */
        for (struct connection *connection = l->connections; connection != NULL;
             connection = connection->next) {
            connection->left = true;
            if (connection->exchange != NULL)
                exchange_resume(connection->exchange);
        }
        (void)MHD_run(l->daemon);
        MHD_stop_daemon(l->daemon);
    }
    listener_tls_stop(l);
    loop_timer_cancel(l->loop, &l->head_timer);
    lingers_free(&l->lingers);
    peers_free(&l->peers);
    free(l->listens);
    free(l);
    *listener = NULL;
}

const char *listener_library_version(void)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "libmicrohttpd/%s", MHD_get_version());
    return text;
}
