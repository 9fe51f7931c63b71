/*
 * listener_limits: clients that hold a connection without making use of it: too many from one address, a body
 * that trickles, an early answer that nobody reads. (Heads have their clock in listener.c; an answer that the
 * library writes has its own, client_timeout.) Called by the other listener files.
 */
#include "worker/listener_internal.h"

#include "base/log.h"

#include <sys/socket.h>
#include <unistd.h>

#define TOO_SLOW "the request body comes too slowly"
#define TOO_MANY "too many connections from this address"

#define SAY_AGAIN_MS 60000 /* a client that is refused again and again is worth a line now and then */
#define LINGERS_MAX  256   /* with so many connections lingering a refused one gets no answer */

/* ---- connections of one address */

bool connection_enter_peer(struct connection *connection, const struct sockaddr_storage *addr)
{
    struct listener *listener = connection->listener;
    return listener->peers == NULL || peers_enter(listener->peers, addr, &connection->counted);
}

void connection_leave_peer(struct connection *connection)
{
    if (connection->counted != NULL)
        peers_leave(connection->listener->peers, &connection->counted);
}

static void say_refused(struct listener *listener, const char *peer)
{
    int64_t now_ms = loop_now(listener->loop);
    if (listener->refusal_said_ms != 0 && now_ms - listener->refusal_said_ms < SAY_AGAIN_MS)
        return;
    listener->refusal_said_ms = now_ms;
    log_warning("more than %lld connections from %s: further ones get 503 (limits.connections_per_peer)",
                (long long)listener->options.conf->limits.connections_per_peer, peer);
}

void connection_refuse(const struct connection *connection)
{
    struct listener *listener = connection->listener;
    struct buf out = {0};
    struct buf body = {0};
    say_refused(listener, connection->peer);
    /* Nothing can be said before a handshake. */
    if (connection->tls != NULL || lingers_count(listener->lingers) >= LINGERS_MAX) {
        (void)close(connection->fd);
        return;
    }
    reply_body(&body, REPLY_OVERLOADED, ERROR_SHAPE_OPENAI, TOO_MANY);
    buf_printf(&out,
               "HTTP/1.1 %d Service Unavailable\r\nContent-Type: application/json\r\n" REPLY_ERROR_HEADER
               ": %s\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
               reply_status(REPLY_OVERLOADED), reply_code_name(REPLY_OVERLOADED), body.len);
    buf_append(&out, body.data, body.len);
    if (!out.failed && !body.failed) /* a fresh socket has room for it */
        (void)send(connection->fd, out.data, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    buf_fini(&out);
    buf_fini(&body);
    (void)shutdown(connection->fd, SHUT_WR);
    linger_begin(listener->lingers, connection->fd);
}

/* ---- a body that trickles */

static void begin_window(struct exchange *exchange)
{
    struct listener *listener = exchange->connection->listener;
    exchange->pace.bytes = 0;
    exchange->pace.held = exchange->suspended;
    (void)loop_timer_set(listener->loop, &exchange->pace.timer,
                         loop_now(listener->loop) + listener->options.conf->limits.body_window_ms);
}

/* An answer that is under way already has clocks of its own, and a client that we hold back is not slow. */
static void on_window_end(struct loop_timer *timer)
{
    struct exchange *exchange = LOOP_OWNER(timer, struct exchange, pace.timer);
    const struct conf *conf = exchange->connection->listener->options.conf;
    if (exchange->ended || relay_answered(exchange->relay))
        return;
    if (exchange->pace.held ||
        exchange->pace.bytes * 1000 >= conf->limits.body_rate * conf->limits.body_window_ms) {
        begin_window(exchange);
        return;
    }
    relay_give_up(exchange->relay, REPLY_REQUEST_TIMEOUT, TOO_SLOW);
    exchange_raw_begin(exchange);
}

void exchange_pace_begin(struct exchange *exchange)
{
    exchange->pace.timer.fn = on_window_end;
    if (exchange->connection->listener->options.conf->limits.body_rate > 0)
        begin_window(exchange);
}

void exchange_pace_count(struct exchange *exchange, size_t len, bool held)
{
    exchange->pace.bytes += (int64_t)len;
    exchange->pace.held |= held;
}

void exchange_pace_end(struct exchange *exchange)
{
    loop_timer_cancel(exchange->connection->listener->loop, &exchange->pace.timer);
}
