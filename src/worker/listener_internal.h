/*
 * listener_internal: what listener.c (connections), listener_exchange.c (requests), listener_head.c (reading
 * heads), listener_raw.c (early answers) and listener_tls.c share. For those only.
 */
#ifndef CLAVIGER_WORKER_LISTENER_INTERNAL_H
#define CLAVIGER_WORKER_LISTENER_INTERNAL_H

#include "worker/linger.h"
#include "worker/listener.h"
#include "worker/peers.h"

#include <microhttpd.h>

struct exchange;
struct connection_tls; /* of one connection */
struct listener_tls;   /* of all those of a worker */

/* A client's connection. */
struct connection {
    struct listener *listener;
    struct connection *prev;
    struct connection *next;
    struct connection *head_prev; /* in the list of those whose head is awaited, the oldest first */
    struct connection *head_next;
    bool head_awaited;
    int64_t head_due_ms;
    struct loop_watch watch; /* tells what the HTTP library does not: bytes while idle, a client that left */
    int fd;
    struct connection_tls *tls; /* NULL = plain */
    char peer[PEERS_TEXT_SIZE]; /* "" for a unix socket */
    struct exchange *exchange;  /* the request under way, NULL while idle */
    struct peer *counted;       /* its address, for connections_per_peer; NULL = not counted */
    bool served;                /* had a request before */
    uint64_t served_round;      /* the loop's, when the last one ended */
    bool left;                  /* the client closed, at least its sending side */
    int linger_fd;              /* -1 = none */
};

/* How fast a body comes. */
struct exchange_pace {
    struct loop_timer timer; /* the end of a window */
    int64_t bytes;           /* in it */
    bool held;               /* the client was held back in it */
};

/* An answer that is written past the library, because the request is still being read. */
struct exchange_raw {
    struct loop_watch watch;   /* the client takes more */
    struct loop_timer stalled; /* it takes nothing */
    struct buf out;            /* what waits for it */
    size_t at;
    bool begun;
    bool watching;
    bool chunked;
    bool ended;    /* all of it was fetched from the relay */
    bool cut;      /* the upstream broke off */
    bool finished; /* nothing more is written */
    bool broken;   /* and that was not the end */
};

/* A request and its answer. */
struct exchange {
    struct connection *connection;
    struct MHD_Connection *mhd;
    struct relay *relay;
    struct arena arena;
    char *target;           /* raw */
    const char *target_end; /* in the library's memory, where the target ends for a C string */
    struct header_list headers;
    struct loop_timer discard_timer; /* an answer waits for an upload to end */
    size_t discarded;
    bool begun; /* the head was read */
    bool ended; /* the body was read */
    bool close; /* the connection ends with this answer */
    bool http10;
    bool head;       /* HEAD: no body goes out whatever there is of it */
    bool open_ended; /* the answer's end is the connection's end */
    bool suspended;
    bool open_wait;             /* waits for its answer without being suspended */
    int64_t open_wait_since_ms; /* (then) */
    bool queued;                /* the library has the answer */
    struct exchange_raw raw;
    struct exchange_pace pace;
};

struct listen_watch {
    struct loop_watch watch;
    struct listener *listener;
    bool watching;
};

struct listener {
    struct listener_options options;
    struct loop *loop;
    struct MHD_Daemon *daemon;
    struct loop_timer tick; /* the library's own timeouts */
    struct loop_timer head_timer;
    struct loop_timer accept_timer; /* after a failure of accept() */
    struct loop_timer drain_timer;  /* idle connections may still be used until then */
    struct listen_watch *listens;
    size_t listen_count;
    struct lingers *lingers;
    struct peers *peers; /* NULL = no limit */
    int64_t refusal_said_ms;
    struct connection *connections;
    size_t connection_count;
    struct connection *head_first;
    struct connection *head_last;
    struct listener_tls *tls;     /* NULL = no address speaks TLS */
    struct connection *accepting; /* handed to the library right now */
    size_t open_waits;            /* exchanges that wait without being suspended */
    struct loop_timer look_timer; /* the library may have work that nobody can see */
    int dry_rounds;               /* of the library, without progress, while there are open waits */
    bool progress;                /* the library called us for more than an open wait */
    bool pending;                 /* the library has work */
    bool draining;
    bool accept_failed; /* logged already */
};

/* ---- listener.c */

/* The memory that the library has for a connection's heads. */
size_t listener_pool_bytes(const struct listener *listener);

/* A head has begun to come, or may: its clock runs, if it does not yet. */
void connection_await_head(struct connection *connection);

/* Takes a second descriptor, by which the connection lingers when the library has closed it. false = none is
 * left. */
bool connection_keep_open(struct connection *connection);

/* After an answer: a listener that drains has no use for the connection any more. */
void listener_end_idle_soon(struct listener *listener);

/* The head of this connection's next request came, or is not awaited any more. */
void connection_head_done(struct connection *connection);

/* Starts the HTTP library with what all connections have in common; items ends with MHD_OPTION_END. NULL on
 * failure. */
struct MHD_Daemon *listener_start_daemon(struct listener *listener, unsigned flags,
                                         struct MHD_OptionItem *items);

/* ---- listener_tls.c */

/* Makes what the addresses that speak TLS need, if there are any. 0, or -1 with errno (and logged when it has
 * a reason of its own). */
int listener_tls_start(struct listener *listener);
void listener_tls_stop(struct listener *listener);
struct MHD_Daemon *listener_tls_daemon(struct listener_tls *tls);

/* As listener_turn(), and the tick for the library's timeouts; NULL is allowed. */
bool listener_tls_turn(struct listener_tls *tls);
void listener_tls_tick(struct listener_tls *tls);

/* A connection before it is handed to the library, when the library has it, and when that call has returned.
 * NULL when out of memory. */
struct connection_tls *connection_tls_new(struct connection *connection);
void connection_tls_opened(struct connection *connection, struct MHD_Connection *mhd);
void connection_tls_added(struct connection *connection);

/* Something happened on its socket. A plain one is left alone. */
void connection_tls_wake(struct connection *connection);

/* Before it lingers or is freed. A plain one is left alone. */
void connection_tls_closed(struct connection *connection);

/* Whether its client has shown the certificate that it needs, if it needs one. */
bool connection_tls_admits(const struct connection *connection);

/* The library has something to do for it. */
void connection_pend(struct connection *connection);

/* Writes past the library, as send() does: bytes taken, or -1 with errno. After EAGAIN the same bytes must
 * come first again. */
ssize_t connection_send(struct connection *connection, const void *data, size_t len);

/* Says that nothing more comes, where that is said in a way of its own. false = the client takes no more now.
 */
bool connection_end(struct connection *connection);

/* ---- listener_head.c */

/* Whether the library read the head as it stood on the wire: nothing folded, cut off or slipped in between.
 */
bool listener_head_is_plain(struct MHD_Connection *mhd, const char *target_end, const char *version);

/* About how much of the connection's memory the request's head takes up. */
size_t listener_head_memory(struct MHD_Connection *mhd, const char *target,
                            const struct header_list *headers);

/* Copies the header fields, in order, values trimmed. 0, or -1 when out of memory. */
int listener_read_headers(struct MHD_Connection *mhd, struct header_list *headers, struct arena *arena);

/* ---- listener_exchange.c */

/* The library's callbacks. */
void *exchange_on_target(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result exchange_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *data_len, void **con_cls);
void exchange_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                           enum MHD_RequestTerminationCode code);

/* What follows is no end: the client sees a reset where nothing else would tell it that bytes are missing,
 * and no word of the TLS session's end. */
void exchange_cut(const struct exchange *exchange);

/* Lets the library go on with it if it waits. */
void exchange_resume(struct exchange *exchange);

/* ---- listener_raw.c */

/* Writes the relay's answer past the library; called when it is there and the body is not read yet. */
void exchange_raw_begin(struct exchange *exchange);

/* The relay has more of it, or the client takes more. */
void exchange_raw_pump(struct exchange *exchange);

void exchange_raw_fini(struct exchange *exchange);

/* ---- listener_limits.c */

/* Counts a connection of that address. false = it has too many: connection_refuse(). */
bool connection_enter_peer(struct connection *connection, const struct sockaddr_storage *addr);
void connection_leave_peer(struct connection *connection);

/* Says why on a connection that the library does not have, and takes care of its descriptor. */
void connection_refuse(const struct connection *connection);

/* The body begins to be awaited; so many bytes of it came, and whether the client is held back now; it is
 * over. */
void exchange_pace_begin(struct exchange *exchange);
void exchange_pace_count(struct exchange *exchange, size_t len, bool held);
void exchange_pace_end(struct exchange *exchange);

#endif
