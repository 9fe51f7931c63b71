/*
 * fake_conn: one connection of the fake provider: reads requests, plays the answers. Runs in a thread of its
 * own, made by fake.c; leaves the records' lock before it touches a socket.
 */
#include "e2e/fake_internal.h"
#include "e2e/util.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum outcome { GO_ON, END_CONNECTION };

/* Waits for events on the socket. Returns them, 0 after timeout_ms (-1 = for ever), or -1 when the fake
 * stops. */
static int wait_socket(struct fake_conn *conn, short events, int timeout_ms)
{
    struct pollfd fds[2] = {{.fd = conn->fd, .events = events},
                            {.fd = conn->fake->stop_fd, .events = POLLIN}};
    int n;

    do {
        n = poll(fds, 2, timeout_ms);
    } while (n < 0 && errno == EINTR);
    if (fds[1].revents != 0)
        return -1;
    return n == 0 ? 0 : fds[0].revents;
}

/* What the last TLS call wants to wait for; 0 when it failed. */
static short tls_wants(struct fake_conn *conn, int rc)
{
    int error = SSL_get_error(conn->ssl, rc);

    ERR_clear_error();
    if (error == SSL_ERROR_WANT_READ)
        return POLLIN;
    return error == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
}

/* One read into conn->in. The number of bytes, 0 at the end of the connection, -1 when it failed or the fake
 * stops. */
static ssize_t read_some(struct fake_conn *conn)
{
    char piece[65536];

    for (;;) {
        short wants = POLLIN;
        ssize_t n;

        if (conn->ssl != NULL) {
            int rc = SSL_read(conn->ssl, piece, sizeof(piece));

            wants = rc > 0 ? POLLIN : tls_wants(conn, rc);
            n = rc > 0 ? rc : wants != 0 ? -1 : 0;
        } else {
            n = recv(conn->fd, piece, sizeof(piece), 0);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                return -1;
        }
        if (n > 0)
            buf_append(&conn->in, piece, (size_t)n);
        if (n >= 0)
            return n;
        if (wait_socket(conn, wants, -1) < 0)
            return -1;
    }
}

/* 0, or -1 when the peer is gone or the fake stops. Counts what the socket took. */
static int write_all(struct fake_conn *conn, struct fake_entry *entry, const char *data, size_t len)
{
    while (len > 0) {
        short wants = POLLOUT;
        ssize_t n;

        if (conn->ssl != NULL) {
            int rc = SSL_write(conn->ssl, data, len > 16384 ? 16384 : (int)len);

            wants = rc > 0 ? POLLOUT : tls_wants(conn, rc);
            if (wants == 0)
                return -1;
            n = rc > 0 ? rc : -1;
        } else {
            n = send(conn->fd, data, len, MSG_NOSIGNAL);
            if (n < 0 && errno != EAGAIN && errno != EINTR)
                return -1;
        }
        if (n < 0) {
            int events = wait_socket(conn, (short)(wants | POLLRDHUP), -1);

            if (events < 0 || (events & (POLLERR | POLLHUP | POLLRDHUP)) != 0)
                return -1;
            continue;
        }
        data += n;
        len -= (size_t)n;
        pthread_mutex_lock(&conn->fake->lock);
        entry->progress.sent += (uint64_t)n;
        pthread_mutex_unlock(&conn->fake->lock);
    }
    return 0;
}

static void abandoned(struct fake_conn *conn, struct fake_entry *entry)
{
    pthread_mutex_lock(&conn->fake->lock);
    if (entry->progress.abandoned_us == 0)
        entry->progress.abandoned_us = util_now_us();
    pthread_cond_broadcast(&conn->fake->changed);
    pthread_mutex_unlock(&conn->fake->lock);
}

/* Lets time pass while the peer is watched; -1 when it left or the fake stops. */
static int pause_for(struct fake_conn *conn, struct fake_entry *entry, int timeout_ms)
{
    int64_t end = util_now_us() + (int64_t)timeout_ms * 1000;

    for (;;) {
        int64_t left = timeout_ms < 0 ? -1 : (end - util_now_us() + 999) / 1000;
        int events;

        if (timeout_ms >= 0 && left <= 0)
            return 0;
        events = wait_socket(conn, POLLRDHUP, (int)left);
        if (events < 0)
            return -1;
        if (events > 0) {
            abandoned(conn, entry);
            return -1;
        }
    }
}

static void reset_connection(struct fake_conn *conn)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

static int read_head(struct fake_conn *conn, struct message_head *head)
{
    size_t len;

    while ((len = message_head_length(conn->in.data, conn->in.len)) == 0) {
        if (read_some(conn) <= 0)
            return -1;
    }
    message_head_parse(head, conn->in.data, len);
    buf_consume(&conn->in, len);
    return 0;
}

/* Reads the rest of the request's body; 0 when it came whole. */
static int read_body(struct fake_conn *conn, struct fake_entry *entry)
{
    const char *length = message_get(&entry->request.head, "Content-Length");
    struct buf piece = {0};
    struct body body;
    int rc = 0;

    body_start(&body,
               entry->request.chunked ? BODY_CHUNKED
               : length != NULL       ? BODY_LENGTH
                                      : BODY_NONE,
               length != NULL ? strtoull(length, NULL, 10) : 0);
    while (!body.done && !body.broken && rc == 0) {
        if (conn->in.len == 0 && read_some(conn) <= 0) {
            rc = -1;
            break;
        }
        buf_consume(&conn->in, body_feed(&body, conn->in.data, conn->in.len, &piece));
        pthread_mutex_lock(&conn->fake->lock);
        buf_append(&entry->body, piece.data, piece.len);
        entry->progress.body_len += piece.len;
        pthread_mutex_unlock(&conn->fake->lock);
        buf_clear(&piece);
    }
    if (body.broken)
        rc = -1;
    if (rc == 0) {
        pthread_mutex_lock(&conn->fake->lock);
        entry->progress.complete = true;
        pthread_cond_broadcast(&conn->fake->changed);
        pthread_mutex_unlock(&conn->fake->lock);
    } else {
        abandoned(conn, entry);
    }
    body_fini(&body);
    buf_fini(&piece);
    return rc;
}

static int write_content(struct fake_conn *conn, struct fake_entry *entry, const struct fake_answer *a,
                         const char *data, size_t len)
{
    struct buf chunk = {0};
    int rc;

    if (a->framing != FAKE_CHUNKED)
        return write_all(conn, entry, data, len);
    buf_printf(&chunk, "%zx\r\n", len);
    buf_append(&chunk, data, len);
    buf_puts(&chunk, "\r\n");
    rc = write_all(conn, entry, chunk.data, chunk.len);
    buf_fini(&chunk);
    return rc;
}

static int write_events(struct fake_conn *conn, struct fake_entry *entry, const struct fake_answer *a)
{
    unsigned count = a->cut != FAKE_WHOLE && a->cut_after < a->events ? (unsigned)a->cut_after : a->events;

    for (unsigned i = 0; i < count; i++) {
        char event[96];
        int len;

        if (i > 0 && pause_for(conn, entry, a->interval_ms) != 0)
            return -1;
        len = snprintf(event, sizeof(event), FAKE_EVENT, i, (long long)util_now_us());
        if (write_content(conn, entry, a, event, (size_t)len) != 0)
            return -1;
    }
    return 0;
}

static int write_endless(struct fake_conn *conn, struct fake_entry *entry, const struct fake_answer *a)
{
    static char piece[16384];

    for (;;) {
        if (write_content(conn, entry, a, piece, sizeof(piece)) != 0)
            return -1;
    }
}

static int write_body(struct fake_conn *conn, struct fake_entry *entry, const struct fake_answer *a)
{
    const char *data = a->body;
    size_t len = a->body_len;

    if (a->endless)
        return write_endless(conn, entry, a);
    if (a->events > 0)
        return write_events(conn, entry, a);
    if (len == 0 && data != NULL)
        len = strlen(data);
    if (a->cut != FAKE_WHOLE && a->cut_after < len)
        len = a->cut_after;
    return len > 0 ? write_content(conn, entry, a, data, len) : 0;
}

static int write_head(struct fake_conn *conn, struct fake_entry *entry, const struct fake_answer *a)
{
    size_t body_len = a->body_len == 0 && a->body != NULL ? strlen(a->body) : a->body_len;
    struct buf head = {0};
    int rc;

    if (a->interim != NULL)
        buf_puts(&head, a->interim);
    buf_printf(&head, "HTTP/1.1 %d Scripted\r\n", a->status != 0 ? a->status : 200);
    if (a->headers != NULL)
        buf_puts(&head, a->headers);
    if (a->framing == FAKE_CHUNKED)
        buf_puts(&head, "Transfer-Encoding: chunked\r\n");
    else if (a->framing == FAKE_LENGTH)
        buf_printf(&head, "Content-Length: %zu\r\n", body_len);
    buf_puts(&head, "\r\n");
    rc = write_all(conn, entry, head.data, head.len);
    buf_fini(&head);
    return rc;
}

static enum outcome answer(struct fake_conn *conn, struct fake_entry *entry, const struct fake_answer *a)
{
    bool headless = strcmp(entry->request.method, "HEAD") == 0;

    if (a->delay_ms > 0 && pause_for(conn, entry, a->delay_ms) != 0)
        return END_CONNECTION;
    switch (a->action) {
    case FAKE_HANG:
        pause_for(conn, entry, -1);
        return END_CONNECTION;
    case FAKE_RESET:
        reset_connection(conn);
        return END_CONNECTION;
    case FAKE_CLOSE:
        return END_CONNECTION;
    case FAKE_RAW:
        write_all(conn, entry, a->body, a->body_len > 0 ? a->body_len : strlen(a->body));
        return END_CONNECTION;
    default:
        break;
    }
    if (write_head(conn, entry, a) != 0 || (!headless && write_body(conn, entry, a) != 0)) {
        abandoned(conn, entry);
        return END_CONNECTION;
    }
    if (a->cut == FAKE_CUT_STALL)
        pause_for(conn, entry, -1);
    else if (a->cut == FAKE_CUT_RST)
        reset_connection(conn);
    if (a->cut != FAKE_WHOLE)
        return END_CONNECTION;
    if (a->framing == FAKE_CHUNKED && !headless && write_all(conn, entry, "0\r\n\r\n", 5) != 0) {
        abandoned(conn, entry);
        return END_CONNECTION;
    }
    if (!a->close && a->framing != FAKE_UNTIL_CLOSE)
        return GO_ON;
    if (conn->ssl != NULL) /* a whole answer ends with the session's own end */
        (void)SSL_shutdown(conn->ssl);
    return END_CONNECTION;
}

static enum outcome serve_one(struct fake_conn *conn)
{
    struct message_head head;
    struct fake_entry *entry;
    struct fake_answer a;
    struct buf made = {0};
    enum outcome outcome;

    if (read_head(conn, &head) != 0)
        return END_CONNECTION;
    entry = fake_record(conn, &head);
    fake_choose(conn->fake, entry, &a);
    if (a.reading == FAKE_READ_FIRST && read_body(conn, entry) != 0)
        return END_CONNECTION;
    if (a.action == FAKE_API)
        fake_api_answer(&a, entry, &made);
    fake_log(conn->fake, entry, a.status != 0 ? a.status : 200);
    outcome = answer(conn, entry, &a);
    pthread_mutex_lock(&conn->fake->lock);
    entry->progress.answered = true;
    pthread_cond_broadcast(&conn->fake->changed);
    pthread_mutex_unlock(&conn->fake->lock);
    buf_fini(&made);
    if (outcome == GO_ON && a.reading == FAKE_READ_AFTER && read_body(conn, entry) != 0)
        outcome = END_CONNECTION;
    if (a.reading == FAKE_READ_NEVER && a.cut != FAKE_CUT_RST) {
        if (outcome == END_CONNECTION) /* close() would reset it: not all was read */
            shutdown(conn->fd, SHUT_WR);
        pause_for(conn, entry, -1);
        outcome = END_CONNECTION;
    }
    return outcome;
}

static int open_tls(struct fake_conn *conn)
{
    int rc;

    if (conn->fake->tls == NULL)
        return 0;
    conn->ssl = SSL_new(conn->fake->tls);
    if (conn->ssl == NULL || SSL_set_fd(conn->ssl, conn->fd) != 1)
        return -1;
    while ((rc = SSL_accept(conn->ssl)) != 1) {
        short wants = tls_wants(conn, rc);

        if (wants == 0 || wait_socket(conn, wants, -1) < 0)
            return -1;
    }
    return 0;
}

void *fake_conn_main(void *arg)
{
    struct fake_conn *conn = arg;
    int one = 1;

    setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (open_tls(conn) == 0) {
        while (serve_one(conn) == GO_ON)
            continue;
    }
    SSL_free(conn->ssl);
    close(conn->fd);
    return NULL;
}
