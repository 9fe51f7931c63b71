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

enum kind { PLAIN, CHAT };

struct answer {
    char *data;
    size_t len;
    size_t body;
    enum kind kind;
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

static unsigned long refused; /* requests that got a 429 */

static const char limited[] = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
                              "Retry-After-Ms: 1\r\nContent-Length: 61\r\n\r\n"
                              "{\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down!!\"}}";
static const char spent[] = "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
                            "Retry-After: 600\r\nContent-Length: 61\r\n\r\n"
                            "{\"error\":{\"type\":\"rate_limit_error\",\"message\":\"slow down!!\"}}";
static const char stream_head[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";
static const char event[] =
    "6e\r\nevent: content_block_delta\n"
    "data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"text\":\"some more words\"}}"
    "\n\n\r\n";

/* What stands around the text of a JSON answer: nothing else, or what a chat completion has with its usage.
 */
static const char *const begins[] = {
    [PLAIN] = "{\"content\":\"",
    [CHAT] = "{\"id\":\"chatcmpl-0123456789abcdef\",\"object\":\"chat.completion\",\"created\":1767225600,"
             "\"model\":\"gpt-bench\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
             "\"content\":\""};
static const char *const ends[] = {
    [PLAIN] = "\"}",
    [CHAT] = "\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":2103,\"completion_tokens\":242,"
             "\"total_tokens\":2345,\"prompt_tokens_details\":{\"cached_tokens\":1024},"
             "\"completion_tokens_details\":{\"reasoning_tokens\":64}}}"};

static struct answer answer_of(enum kind kind, size_t body)
{
    char head[256];
    for (size_t i = 0; i < cached; i++)
        if (cache[i].body == body && cache[i].kind == kind)
            return cache[i];
    int head_len =
        snprintf(head, sizeof head,
                 "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_0123456789abcdef\r\n"
                 "Date: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Length: %zu\r\n\r\n",
                 body);
    struct answer answer = {.len = (size_t)head_len + body, .body = body, .kind = kind};
    answer.data = malloc(answer.len);
    if (answer.data == NULL || cached == CACHED)
        die("too many sizes of answers");
    memcpy(answer.data, head, (size_t)head_len);
    memset(answer.data + head_len, 'x', body);
    size_t begin = strlen(begins[kind]);
    size_t end = strlen(ends[kind]);
    if (body >= begin + end) {
        memcpy(answer.data + head_len, begins[kind], begin);
        memcpy(answer.data + answer.len - end, ends[kind], end);
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

/* Adds the connection to the streams. Returns false when it is gone. */
static bool begin_stream(struct connection *connection)
{
    connection->streaming = true;
    connection->next_stream = streams;
    streams = connection;
    if (send_text(connection, stream_head, sizeof stream_head - 1) &&
        send_text(connection, event, sizeof event - 1))
        return true;
    close_connection(connection);
    return false;
}

/* How many requests were refused, as an answer whose text lasts until the next one. */
static struct answer count_answer(void)
{
    static char text[128];
    char number[32];
    int digits = snprintf(number, sizeof number, "%lu\n", refused);
    int len = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", digits, number);
    return (struct answer){.data = text, .len = (size_t)len};
}

/* Half of all times, in no order: were it every second time, some requests would always come at that time. */
static bool toss(void)
{
    static uint32_t state = 1;
    state = state * 1664525U + 1013904223U; /* Numerical Recipes, 7.1 */
    return (state & 0x80000000U) != 0;
}

/* The 429 that a request gets, if it gets one. */
static const char *refusal(const char *head, size_t head_len, size_t line_len)
{
    static unsigned twentieth;
    if (holds(head, head_len, "spent"))
        return spent;
    if (holds(head, head_len, "limited") || (holds(head, line_len, "/twentieth") && ++twentieth % 20 == 0) ||
        (holds(head, line_len, "/half") && toss()))
        return limited;
    return NULL;
}

/* The whole request is there, its head in connection->in. Returns false when the connection is gone. */
static bool answer_request(struct connection *connection, size_t head_len)
{
    const char *head = connection->in;
    size_t line_len = strcspn(head, "\r");
    const char *no = refusal(head, head_len, line_len);
    if (no != NULL) {
        refused++;
        connection->answer = (struct answer){.data = (char *)no, .len = strlen(no)};
    } else if (holds(head, line_len, "/events")) {
        return begin_stream(connection);
    } else if (holds(head, line_len, "/refused")) {
        connection->answer = count_answer();
    } else {
        const char *size = memmem(head, line_len, "/size/", 6);
        enum kind kind = holds(head, line_len, "/chat/completions") ? CHAT : PLAIN;
        connection->answer = answer_of(kind, size != NULL ? strtoul(size + 6, NULL, 10) : 1024);
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
