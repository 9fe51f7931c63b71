/*
 * client: requests in a closed loop, each answer read to its end before the next request goes out. What is
 * wrong with an answer ends the program: a benchmark of refusals would be a fast one.
 */
#include "bench/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_MAX  (4 * 1024 * 1024)
#define PATIENCE_MS 60000 /* for one answer, under valgrind */

struct client {
    struct peer peer;
    bool busy;
    char *in;
    size_t in_len;
    size_t in_cap;
};

static struct client *clients;
static long client_count;
static char *request;
static size_t request_len;
static long left;    /* requests to begin */
static long waiting; /* answers to come */

static int connect_to(unsigned port)
{
    const struct sockaddr_in addr = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&addr, sizeof addr) != 0)
        die("no connection to port %u: %s", port, strerror(errno));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

/* The fields that an SDK sends, so that the work is that of real requests. */
static void build_request(const char *target, size_t body)
{
    static const char fields[] =
        "Host: 127.0.0.1\r\nAccept: application/json\r\nAccept-Encoding: gzip, deflate\r\n"
        "User-Agent: Anthropic/JS 0.60.0\r\nX-Stainless-Lang: js\r\nX-Stainless-Runtime: node\r\n"
        "anthropic-version: 2023-06-01\r\n";
    size_t size = sizeof fields + strlen(target) + 256;
    free(request);
    request = malloc(size + body);
    if (request == NULL)
        die("out of memory");
    int len = body == 0 ? snprintf(request, size, "GET %s HTTP/1.1\r\n%s\r\n", target, fields)
                        : snprintf(request, size,
                                   "POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\n"
                                   "Content-Length: %zu\r\n\r\n",
                                   target, fields, body);
    memset(request + len, 'y', body);
    request_len = (size_t)len + body;
}

static void send_request(struct client *client)
{
    size_t at = 0;
    client->in_len = 0;
    client->busy = true;
    while (at < request_len) {
        ssize_t sent = send(client->peer.fd, request + at, request_len - at, MSG_NOSIGNAL);
        if (sent < 0)
            die("a request cannot be sent: %s", strerror(errno));
        at += (size_t)sent;
    }
}

/* Whether the answer in client->in is complete. */
static bool is_whole(const struct client *client)
{
    size_t head = head_end(client->in, client->in_len);
    if (head == 0)
        return false;
    if (strncmp(client->in, "HTTP/1.1 200 ", 13) != 0)
        die("an answer is not what it should be: %.*s", (int)client->in_len, client->in);
    long length = head_content_length(client->in, head);
    if (length >= 0)
        return client->in_len >= head + (size_t)length;
    return client->in_len - head >= 5 && memcmp(client->in + client->in_len - 5, "0\r\n\r\n", 5) == 0;
}

static void receive(struct client *client)
{
    if (client->in_cap - client->in_len < client->in_cap / 2 + 1) {
        client->in_cap = client->in_cap == 0 ? 8 * 1024 : client->in_cap * 2;
        client->in = client->in_cap > ANSWER_MAX ? NULL : realloc(client->in, client->in_cap);
        if (client->in == NULL)
            die("an answer is too large");
    }
    ssize_t got =
        recv(client->peer.fd, client->in + client->in_len, client->in_cap - client->in_len - 1, MSG_DONTWAIT);
    if (got == 0)
        die("the connection was closed in the middle of an answer");
    if (got < 0 && errno != EAGAIN)
        die("an answer did not come: %s", strerror(errno));
    if (got > 0)
        client->in_len += (size_t)got;
    client->in[client->in_len] = '\0';
}

static void on_answer(struct peer *peer, uint32_t events)
{
    struct client *client = (struct client *)peer;
    (void)events;
    receive(client);
    if (!client->busy)
        die("bytes came that nobody asked for");
    if (!is_whole(client))
        return;
    client->busy = false;
    waiting--;
    if (left > 0) {
        left--;
        waiting++;
        send_request(client);
    }
}

static void need_clients(int epoll_fd, long count, unsigned port)
{
    if (clients == NULL && (clients = calloc(4096, sizeof *clients)) == NULL)
        die("out of memory");
    if (count > 4096)
        die("too many connections");
    for (; client_count < count; client_count++) {
        struct client *client = &clients[client_count];
        client->peer = (struct peer){.ready = on_answer, .fd = connect_to(port)};
        peer_watch(epoll_fd, &client->peer, EPOLLIN);
    }
}

void client_hang_up(void)
{
    for (long i = 0; i < client_count; i++) {
        (void)close(clients[i].peer.fd);
        free(clients[i].in);
        clients[i] = (struct client){0};
    }
    client_count = 0;
}

static void wait_for_answers(int epoll_fd)
{
    while (waiting > 0)
        if (!peer_turn(epoll_fd, PATIENCE_MS))
            die("no answer within %d s", PATIENCE_MS / 1000);
}

void client_run(int epoll_fd, const struct client_plan *plan)
{
    build_request(plan->target, plan->body);
    need_clients(epoll_fd, plan->at_once, plan->port);
    if (plan->pause_ms > 0) {
        for (long i = 0; i < plan->requests; i++) {
            (void)poll(NULL, 0, plan->pause_ms);
            waiting = 1;
            send_request(&clients[0]);
            wait_for_answers(epoll_fd);
        }
        return;
    }
    long begin = plan->requests < plan->at_once ? plan->requests : plan->at_once;
    left = plan->requests - begin;
    waiting = begin;
    for (long i = 0; i < begin; i++)
        send_request(&clients[i]);
    wait_for_answers(epoll_fd);
}

/* ---- streams */

struct stream {
    struct client client;
    int64_t arrived_us; /* when the event that was sent last was whole; 0 = not yet */
};

static struct stream *streams;
static long stream_count;
static long events_waiting;

static int64_t now_us(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

/* An event ends with an empty line. Only one of a stream is under way at a time. */
static void on_stream(struct peer *peer, uint32_t events)
{
    struct stream *stream = (struct stream *)peer;
    struct client *client = &stream->client;
    (void)events;
    receive(client);
    size_t head = client->busy ? head_end(client->in, client->in_len) : 0;
    if (stream->arrived_us != 0 || (client->busy && head == 0))
        return;
    if (memmem(client->in + head, client->in_len - head, "\n\n", 2) == NULL)
        return;
    if (client->busy && strncmp(client->in, "HTTP/1.1 200 ", 13) != 0)
        die("a stream does not begin as it should: %s", client->in);
    client->busy = false; /* its head is there */
    stream->arrived_us = now_us();
    events_waiting--;
}

static void wait_for_events(int epoll_fd)
{
    while (events_waiting > 0)
        if (!peer_turn(epoll_fd, PATIENCE_MS))
            die("no event within %d s", PATIENCE_MS / 1000);
}

void client_streams_open(int epoll_fd, unsigned port, const char *target, long count)
{
    build_request(target, 0);
    streams = calloc((size_t)count, sizeof *streams);
    if (streams == NULL)
        die("out of memory");
    for (stream_count = 0; stream_count < count; stream_count++) {
        struct stream *stream = &streams[stream_count];
        stream->client.peer = (struct peer){.ready = on_stream, .fd = connect_to(port)};
        peer_watch(epoll_fd, &stream->client.peer, EPOLLIN);
        events_waiting++;
        send_request(&stream->client);
        if (stream_count % 64 == 63)
            wait_for_events(epoll_fd);
    }
    wait_for_events(epoll_fd);
}

static void send_event(int epoll_fd)
{
    for (long i = 0; i < stream_count; i++) {
        streams[i].client.in_len = 0;
        streams[i].arrived_us = 0;
    }
    events_waiting = stream_count;
    provider_event();
    wait_for_events(epoll_fd);
}

void client_streams_events(int epoll_fd, long count)
{
    for (long i = 0; i < count; i++)
        send_event(epoll_fd);
}

static int compare_us(const void *first, const void *second)
{
    const int64_t *a = first;
    const int64_t *b = second;
    return *a < *b ? -1 : *a > *b;
}

void client_streams_timed(int epoll_fd, long count, struct client_delays *out)
{
    size_t total = (size_t)count * (size_t)stream_count;
    int64_t *delays = calloc(total, sizeof *delays);
    if (delays == NULL || total == 0)
        die("no streams to time");
    for (long i = 0; i < count; i++) {
        (void)poll(NULL, 0, 5); /* as events come: not in a row */
        int64_t begin_us = now_us();
        send_event(epoll_fd);
        for (long k = 0; k < stream_count; k++)
            delays[i * stream_count + k] = streams[k].arrived_us - begin_us;
    }
    qsort(delays, total, sizeof *delays, compare_us);
    static const size_t percent[] = {50, 75, 90, 99};
    for (size_t i = 0; i < sizeof percent / sizeof *percent; i++)
        out->us[i] = delays[(total - 1) * percent[i] / 100];
    free(delays);
}

void client_streams_close(int epoll_fd)
{
    for (long i = 0; i < stream_count; i++) {
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, streams[i].client.peer.fd, NULL);
        (void)close(streams[i].client.peer.fd);
        free(streams[i].client.in);
    }
    free(streams);
    streams = NULL;
    stream_count = 0;
}
