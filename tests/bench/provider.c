/*
 * provider: the fast fake provider of the benchmarks: one thread, answers that were built before, nothing
 * else. Its client is clavigerd or a proxy beside it, so it reads what they send and no more.
 */
#include "bench/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 65536
#define CACHED   8

struct answer {
    char *data;
    size_t len;
    size_t body;
};

struct connection {
    struct peer peer;
    struct connection *next_stream;
    bool streaming;
    char in[HEAD_MAX];
    size_t in_len;
    size_t body_left; /* of the request */
    struct answer answer;
    size_t sent;
    bool answering;
};

struct service {
    struct peer peer;
    int epoll_fd;
};

static struct service service;
static struct connection *streams;
static struct answer cache[CACHED];
static size_t cached;

static const char limited[] = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
                              "Retry-After-Ms: 1\r\nContent-Length: 61\r\n\r\n"
                              "{\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down!!\"}}";
static const char stream_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
static const char event[] =
    "6e\r\nevent: content_block_delta\n"
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"text\":\"some more words\"}}"
    "\n\n\r\n";

static struct answer answer_of(size_t body)
{
    char head[256];
    for (size_t i = 0; i < cached; i++)
        if (cache[i].body == body)
            return cache[i];
    int head_len =
        snprintf(head, sizeof head,
                 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_0123456789abcdef\r\n"
                 "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: %zu\r\n\r\n",
                 body);
    struct answer answer = {.len = (size_t)head_len + body, .body = body};
    answer.data = malloc(answer.len);
    if (answer.data == NULL || cached == CACHED)
        die("too many sizes of answers");
    memcpy(answer.data, head, (size_t)head_len);
    memset(answer.data + head_len, 'x', body);
    if (body >= 32) { /* as JSON, whose text is one string */
        memcpy(answer.data + head_len, "{\"content\":\"", 12);
        memcpy(answer.data + answer.len - 2, "\"}", 2);
    }
    cache[cached++] = answer;
    return answer;
}

static void close_connection(struct connection *connection)
{
    for (struct connection **at = &streams; *at != NULL; at = &(*at)->next_stream)
        if (*at == connection) {
            *at = connection->next_stream;
            break;
        }
    (void)close(connection->peer.fd);
    free(connection);
}

static bool send_text(struct connection *connection, const char *text, size_t len)
{
    return send(connection->peer.fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Returns false when the connection is gone. */
static bool send_answer(struct connection *connection)
{
    while (connection->sent < connection->answer.len) {
        ssize_t sent = send(connection->peer.fd, connection->answer.data + connection->sent,
                            connection->answer.len - connection->sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            peer_change(service.epoll_fd, &connection->peer, EPOLLIN | EPOLLOUT);
            return true;
        }
        if (sent < 0) {
            close_connection(connection);
            return false;
        }
        connection->sent += (size_t)sent;
    }
    connection->answering = false;
    return true;
}

static bool holds(const char *head, size_t len, const char *word)
{
    return memmem(head, len, word, strlen(word)) != NULL;
}

/* The whole request is there, its head in connection->in. Returns false when the connection is gone. */
static bool answer_request(struct connection *connection, size_t head_len)
{
    const char *head = connection->in;
    const char *size;
    static unsigned count;
    bool twentieth = holds(head, strcspn(head, "\r"), "/twentieth") && ++count % 20 == 0;
    if (twentieth || holds(head, head_len, "limited")) {
        connection->answer = (struct answer){.data = (char *)limited, .len = sizeof limited - 1};
    } else if (holds(head, strcspn(head, "\r"), "/events")) {
        connection->streaming = true;
        connection->next_stream = streams;
        streams = connection;
        if (send_text(connection, stream_head, sizeof stream_head - 1) &&
            send_text(connection, event, sizeof event - 1))
            return true;
        close_connection(connection);
        return false;
    } else {
        size = memmem(head, strcspn(head, "\r"), "/size/", 6);
        connection->answer = answer_of(size != NULL ? strtoul(size + 6, NULL, 10) : 1024);
    }
    connection->sent = 0;
    connection->answering = true;
    return send_answer(connection);
}

/* Works through what came. Returns false when the connection is gone. */
static bool take(struct connection *connection)
{
    for (;;) {
        size_t head_len = head_end(connection->in, connection->in_len);
        if (head_len == 0 || connection->answering)
            return true;
        long length = head_content_length(connection->in, head_len);
        size_t body = length > 0 ? (size_t)length : 0;
        size_t have = connection->in_len - head_len;
        if (have < body) { /* the head stays, the body is thrown away */
            connection->body_left = body - have;
            connection->in_len = head_len;
            return true;
        }
        connection->body_left = 0;
        if (!answer_request(connection, head_len))
            return false;
        connection->in_len -= head_len + body;
        memmove(connection->in, connection->in + head_len + body, connection->in_len);
        connection->in[connection->in_len] = '\0';
    }
}

static void on_ready(struct peer *peer, uint32_t events)
{
    struct connection *connection = (struct connection *)peer;
    static char scratch[256 * 1024];
    if ((events & EPOLLOUT) && connection->answering) {
        if (!send_answer(connection))
            return;
        if (!connection->answering)
            peer_change(service.epoll_fd, peer, EPOLLIN);
    }
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return;
    if (connection->body_left > 0) {
        ssize_t got =
            recv(peer->fd, scratch,
                 connection->body_left < sizeof scratch ? connection->body_left : sizeof scratch, 0);
        if (got <= 0) {
            if (got == 0 || errno != EAGAIN)
                close_connection(connection);
            return;
        }
        connection->body_left -= (size_t)got;
        if (connection->body_left == 0) {
            size_t head_len = connection->in_len;
            connection->in_len = 0;
            (void)answer_request(connection, head_len);
        }
        return;
    }
    ssize_t got = recv(peer->fd, connection->in + connection->in_len, HEAD_MAX - 1 - connection->in_len, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            close_connection(connection);
        return;
    }
    connection->in_len += (size_t)got;
    connection->in[connection->in_len] = '\0';
    (void)take(connection);
}

static void on_accept(struct peer *peer, uint32_t events)
{
    (void)events;
    int fd = accept4(peer->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    const int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *connection = calloc(1, sizeof *connection);
    if (connection == NULL)
        die("out of memory");
    connection->peer = (struct peer){.ready = on_ready, .fd = fd};
    peer_watch(service.epoll_fd, &connection->peer, EPOLLIN);
}

unsigned provider_listen(int epoll_fd, unsigned port)
{
    struct sockaddr_in addr = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)port),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t addr_len = sizeof addr;
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&addr, sizeof addr) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &addr_len) != 0)
        die("the provider cannot listen on port %u: %s", port, strerror(errno));
    service.epoll_fd = epoll_fd;
    service.peer = (struct peer){.ready = on_accept, .fd = fd};
    peer_watch(epoll_fd, &service.peer, EPOLLIN);
    return ntohs(addr.sin_port);
}

void provider_event(void)
{
    for (struct connection *at = streams; at != NULL; at = at->next_stream)
        (void)send_text(at, event, sizeof event - 1);
}
