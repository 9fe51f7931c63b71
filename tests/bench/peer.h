/*
 * peer: what the two sides of the benchmark program share: one epoll set, and connections that get its
 * events.
 */
#ifndef BENCH_PEER_H
#define BENCH_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded as the first member of whatever has a descriptor in the set. */
struct peer {
    void (*ready)(struct peer *peer, uint32_t events);
    int fd;
};

/* Says what failed and ends the program. */
void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Watches a descriptor; ends the program when that fails. */
void peer_watch(int epoll_fd, struct peer *peer, uint32_t events);
void peer_change(int epoll_fd, struct peer *peer, uint32_t events);

/* Waits up to timeout_ms (-1 = for ever) and hands the events out. Returns whether there were any. */
bool peer_turn(int epoll_fd, int timeout_ms);

/* Where the head ends that begins at data (behind its empty line), 0 = not complete yet. */
size_t head_end(const char *data, size_t len);

/* The value of Content-Length in a complete head; -1 = none. */
long head_content_length(const char *head, size_t len);

/* ---- provider.c: the fast fake provider
 *
 * GET or POST with Content-Length, keep-alive. A request that holds the word "limited" (in its key) gets 429
 * for a millisecond, one with "spent" 429 for ten minutes; so do every twentieth to .../twentieth and half of
 * those to .../half, for a millisecond. .../size/N gets N bytes; .../chat/completions a chat completion with
 * a report of its usage; .../refused the number of 429s so far; .../events a stream of server-sent events,
 * whose first comes at once and each further one with provider_event(); all else gets 1 KB.
 */

/* Listens on 127.0.0.1; port 0 = any. Returns the port. */
unsigned provider_listen(int epoll_fd, unsigned port);

/* Sends one more event to each open stream. */
void provider_event(void);

/* ---- client.c: requests in a closed loop */

struct client_plan {
    unsigned port;
    const char *target;
    size_t body;   /* bytes; 0 = GET */
    long requests; /* how many in all */
    long at_once;  /* over how many connections */
    int pause_ms;  /* between two requests; only with one connection */
};

/* Does the plan; each answer must be a 200. The connections stay open for the next plan. */
void client_run(int epoll_fd, const struct client_plan *plan);

/* Ends those connections. */
void client_hang_up(void);

/* Streams of events: opens them and waits for the first event of each; has count more sent to all of them,
 * each when the one before it has arrived; ends them. */
void client_streams_open(int epoll_fd, unsigned port, const char *target, long count);
void client_streams_events(int epoll_fd, long count);
void client_streams_close(int epoll_fd);

/* How long events took from the provider to the client: so many microseconds at most, of 50, 75, 90 and 99 %
 * of them. */
struct client_delays {
    int64_t us[4];
};

/* The same as client_streams_events(), a pause of 5 ms before each, and timed. */
void client_streams_timed(int epoll_fd, long count, struct client_delays *delays);

#endif
