/*
 * benchload: both ends of a proxy under test in one process: the clients, and the provider behind it. So a
 * request, and each event of a stream, is begun when the one before it has arrived, and what the proxy does
 * for it does not depend on who was faster.
 *
 *     benchload --provider PORT
 *         only the provider, until it is ended
 *     benchload --port-file FILE
 *         both; the ports of the provider and of the proxy, which is to listen on it, are written into FILE.
 *         Commands come on stdin, the answer to each ends with "done" on stdout:
 *
 *     requests COUNT AT-ONCE BODY TARGET    COUNT requests with BODY bytes each (0 = GET)
 *     slowly COUNT MS TARGET                COUNT requests, MS milliseconds between two of them
 *     open COUNT TARGET, close              streams
 *     events COUNT                          events on each of them, one after the other
 *     timed COUNT                           the same, 5 ms between two; microseconds of 50, 75, 90, 99 %
 *     port PORT                             the proxy from now on
 */
#include "bench/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256

void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)fputs("benchload: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

void peer_watch(int epoll_fd, struct peer *peer, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, peer->fd, &event) != 0)
        die("a socket cannot be watched: %s", strerror(errno));
}

void peer_change(int epoll_fd, struct peer *peer, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = peer};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, peer->fd, &event) != 0)
        die("a socket cannot be watched: %s", strerror(errno));
}

bool peer_turn(int epoll_fd, int timeout_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll_fd, events, EVENTS, timeout_ms);
    if (count < 0 && errno != EINTR)
        die("epoll_wait: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct peer *peer = events[i].data.ptr;
        peer->ready(peer, events[i].events);
    }
    return count != 0;
}

size_t head_end(const char *data, size_t len)
{
    const char *end = len == 0 ? NULL : memmem(data, len, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - data) + 4;
}

long head_content_length(const char *head, size_t len)
{
    static const char name[] = "\ncontent-length:";
    for (size_t i = 0; i + sizeof name < len; i++)
        if (head[i] == '\n' && strncasecmp(head + i, name, sizeof name - 1) == 0)
            return strtol(head + i + sizeof name - 1, NULL, 10);
    return -1;
}

/* Below the range of ephemeral ports, so that no client takes it in between. */
static unsigned free_port(void)
{
    for (unsigned i = 0; i < 1000; i++) {
        unsigned port = 20000 + (unsigned)(getpid() * 7 + (int)i * 13) % 12000;
        struct sockaddr_in addr = {.sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool free = fd >= 0 && bind(fd, (const struct sockaddr *)&addr, sizeof addr) == 0;
        (void)close(fd);
        if (free)
            return port;
    }
    die("no port is free");
}

static void write_ports(const char *path, unsigned provider, unsigned proxy)
{
    FILE *file = fopen(path, "w");
    if (file == NULL || fprintf(file, "%u %u\n", provider, proxy) < 0 || fclose(file) != 0)
        die("%s: %s", path, strerror(errno));
}

static void obey(int epoll_fd, unsigned *port, const char *line)
{
    static char target[512];
    struct client_plan plan = {.port = *port, .target = target, .at_once = 1};
    long count;
    if (sscanf(line, "requests %ld %ld %zu %511s", &plan.requests, &plan.at_once, &plan.body, target) == 4 ||
        sscanf(line, "slowly %ld %d %511s", &plan.requests, &plan.pause_ms, target) == 3) {
        client_run(epoll_fd, &plan);
    } else if (sscanf(line, "port %ld", &count) == 1) {
        client_hang_up();
        *port = (unsigned)count;
    } else if (sscanf(line, "open %ld %511s", &count, target) == 2) {
        client_streams_open(epoll_fd, *port, target, count);
    } else if (sscanf(line, "events %ld", &count) == 1) {
        client_streams_events(epoll_fd, count);
    } else if (sscanf(line, "timed %ld", &count) == 1) {
        struct client_delays delays;
        client_streams_timed(epoll_fd, count, &delays);
        for (size_t i = 0; i < sizeof delays.us / sizeof *delays.us; i++)
            (void)printf(i == 0 ? "%lld" : " %lld", (long long)delays.us[i]);
        (void)putchar('\n');
    } else if (strcmp(line, "close\n") == 0) {
        client_streams_close(epoll_fd);
    } else {
        die("this command is not understood: %s", line);
    }
    (void)puts("done");
    (void)fflush(stdout);
}

int main(int argc, char **argv)
{
    char line[1024];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        die("epoll_create1: %s", strerror(errno));
    if (argc == 3 && strcmp(argv[1], "--provider") == 0) {
        (void)provider_listen(epoll_fd, (unsigned)strtoul(argv[2], NULL, 10));
        for (;;)
            (void)peer_turn(epoll_fd, -1);
    }
    if (argc != 3 || strcmp(argv[1], "--port-file") != 0)
        die("usage: benchload --provider PORT | --port-file FILE");
    unsigned port = free_port();
    write_ports(argv[2], provider_listen(epoll_fd, 0), port);
    while (fgets(line, sizeof line, stdin) != NULL)
        obey(epoll_fd, &port, line);
    return 0;
}
