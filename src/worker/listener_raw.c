/*
 * listener_raw: an answer that is there before the client has sent its whole body. The HTTP library takes no
 * answer in the middle of an upload, so this one is written past it, on a second descriptor of the same
 * connection, while the library goes on reading. The connection ends behind it.
 */
#include "worker/listener_internal.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define PIECE_BYTES (16 * 1024)

static struct loop *loop_of(const struct exchange *exchange)
{
    return exchange->connection->listener->loop;
}

/* Nothing more is written. What the client still sends is read for a while, then the connection ends. */
static void stop_writing(struct exchange *exchange)
{
    struct loop *loop = loop_of(exchange);
    exchange->raw.finished = true;
    loop_timer_cancel(loop, &exchange->raw.stalled);
    if (exchange->raw.watching)
        loop_watch_remove(loop, &exchange->raw.watch);
    exchange->raw.watching = false;
    buf_fini(&exchange->raw.out);
    (void)shutdown(exchange->connection->fd, SHUT_WR);
    if (!exchange->ended)
        (void)loop_timer_set(loop, &exchange->discard_timer, loop_now(loop) + LINGER_MS);
    exchange_resume(exchange);
}

/* An end that does not look like one. */
static void break_off(struct exchange *exchange)
{
    exchange_cut(exchange);
    exchange->raw.broken = true;
    stop_writing(exchange);
    (void)shutdown(exchange->connection->fd, SHUT_RDWR);
}

static void add_piece(struct exchange *exchange, const char *data, size_t len)
{
    struct buf *out = &exchange->raw.out;
    if (exchange->raw.chunked)
        buf_printf(out, "%zx\r\n", len);
    buf_append(out, data, len);
    if (exchange->raw.chunked)
        buf_puts(out, "\r\n");
}

/* Takes what the relay has, as long as not much waits for the client. */
static void fetch(struct exchange *exchange)
{
    struct exchange_raw *raw = &exchange->raw;
    char piece[PIECE_BYTES];
    while (!raw->ended && !raw->cut && raw->out.len - raw->at < RELAY_BUFFER_LOW) {
        ssize_t got = relay_read(exchange->relay, piece, sizeof piece);
        if (got == RELAY_READ_WAIT)
            return;
        if (got > 0) {
            add_piece(exchange, piece, (size_t)got);
        } else if (got == RELAY_READ_END) {
            raw->ended = true;
            if (raw->chunked)
                buf_puts(&raw->out, "0\r\n\r\n");
        } else {
            raw->cut = true;
        }
    }
}

/* Nothing of it was taken for client_timeout. */
static void on_stalled(struct loop_timer *timer)
{
    break_off(LOOP_OWNER(timer, struct exchange, raw.stalled));
}

static void await_reader(struct exchange *exchange)
{
    struct loop *loop = loop_of(exchange);
    int64_t timeout_ms = exchange->connection->listener->options.conf->limits.client_timeout_ms;
    (void)loop_timer_set(loop, &exchange->raw.stalled, loop_now(loop) + timeout_ms);
}

/* Sends what waits. Returns false when the client takes no more now, or is gone. */
static bool send_out(struct exchange *exchange)
{
    struct exchange_raw *raw = &exchange->raw;
    while (raw->at < raw->out.len) {
        ssize_t sent = connection_send(exchange->connection, raw->out.data + raw->at, raw->out.len - raw->at);
        if (sent >= 0) {
            raw->at += (size_t)sent;
            if (raw->stalled.index != 0)
                await_reader(exchange);
            continue;
        }
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            break_off(exchange);
        return false;
    }
    buf_clear(&raw->out);
    raw->at = 0;
    return true;
}

void exchange_raw_pump(struct exchange *exchange)
{
    struct exchange_raw *raw = &exchange->raw;
    while (!raw->finished) {
        fetch(exchange);
        if (raw->out.failed) {
            break_off(exchange);
            return;
        }
        bool idle = raw->out.len == raw->at;
        if (!send_out(exchange) || (raw->ended && !connection_end(exchange->connection))) {
            if (raw->finished)
                return;
            if (raw->stalled.index == 0)
                await_reader(exchange);
            if (!raw->watching)
                raw->watching = loop_watch_add(loop_of(exchange), &raw->watch,
                                               exchange->connection->linger_fd, EPOLLOUT) == 0;
            return;
        }
        if (raw->cut) {
            break_off(exchange);
        } else if (raw->ended) {
            stop_writing(exchange);
        } else if (idle) {
            if (raw->watching) /* nothing to send: the relay tells when there is */
                loop_watch_remove(loop_of(exchange), &raw->watch);
            raw->watching = false;
            loop_timer_cancel(loop_of(exchange), &raw->stalled);
            return;
        }
    }
}

static void on_writable(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    exchange_raw_pump(LOOP_OWNER(watch, struct exchange, raw.watch));
}

static void write_head(struct exchange *exchange, const struct relay_answer *answer)
{
    struct exchange_raw *raw = &exchange->raw;
    bool open = answer->content_length < 0 && !answer->bodiless && answer->status != MHD_HTTP_NO_CONTENT;
    raw->chunked = open && !exchange->http10;
    exchange->open_ended = open && exchange->http10;
    buf_printf(&raw->out, "HTTP/1.1 %d %s\r\n", answer->status,
               MHD_get_reason_phrase_for((unsigned)answer->status));
    for (size_t i = 0; i < answer->headers->count; i++)
        buf_printf(&raw->out, "%s: %s\r\n", answer->headers->items[i].name, answer->headers->items[i].value);
    if (raw->chunked)
        buf_puts(&raw->out, "Transfer-Encoding: chunked\r\n");
    else if (answer->content_length >= 0 && answer->status != MHD_HTTP_NO_CONTENT)
        buf_printf(&raw->out, "Content-Length: %lld\r\n", (long long)answer->content_length);
    buf_puts(&raw->out, "Connection: close\r\n\r\n");
}

void exchange_raw_begin(struct exchange *exchange)
{
    struct relay_answer answer;
    if (exchange->raw.begun || !relay_answer(exchange->relay, &answer))
        return;
    exchange->raw.begun = true;
    exchange->raw.watch.fn = on_writable;
    exchange->raw.watch.fd = -1;
    exchange->raw.stalled.fn = on_stalled;
    if (!connection_keep_open(exchange->connection)) {
        break_off(exchange);
        return;
    }
    /* The library's clock sees only the request. From here on those of the answer run: idle_timeout upstream,
     * `stalled` while it waits for the client, the discard timer behind it. */
    (void)MHD_set_connection_option(exchange->mhd, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
    write_head(exchange, &answer);
    exchange->raw.ended = exchange->head;
    exchange_raw_pump(exchange);
}

void exchange_raw_fini(struct exchange *exchange)
{
    loop_timer_cancel(loop_of(exchange), &exchange->raw.stalled);
    if (exchange->raw.watching)
        loop_watch_remove(loop_of(exchange), &exchange->raw.watch);
    buf_fini(&exchange->raw.out);
}
