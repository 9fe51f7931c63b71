/*
 * upstream_internal: what upstream.c (the attempts' life), upstream_link.c (connections), upstream_request.c
 * (the way out) and upstream_response.c (the way in) share; upstream_tls.c helps upstream_link.c. For those
 * only.
 */
#ifndef CLAVIGER_WORKER_UPSTREAM_INTERNAL_H
#define CLAVIGER_WORKER_UPSTREAM_INTERNAL_H

#include "base/buf.h"
#include "core/chunked.h"
#include "worker/upstream.h"

#include <curl/curl.h>

/* A connection to a provider. */
struct link {
    struct links *links;
    struct link *prev; /* in the list of all, or of the idle ones of its provider */
    struct link *next;
    struct attempt *attempt; /* whose request is on it; NULL while idle */
    size_t provider;         /* index */
    bool tls;
    bool connected;
    bool used; /* had a request before */
    bool idle;
    bool watched;
    bool drained; /* the last read took all that was there */
    bool ending;  /* the provider has closed, or it broke; what came before may still be there */
    bool holds;   /* idle: its TLS session may have read more than it gave out */
    int fd;
    struct loop_watch watch;
    int64_t idle_since_ms;
    CURL *easy;                  /* NULL once a plain connection is there */
    struct ssl_st *session;      /* OpenSSL's, once it is used directly; the handle owns it */
    char error[CURL_ERROR_SIZE]; /* what the library or the system said last */
};

struct link_list {
    struct link *first;
};

/* All connections of a worker. */
struct links {
    struct loop *loop;
    const struct provider_list *providers;
    CURLM *multi;
    CURLSH *share;           /* TLS sessions */
    struct loop_timer timer; /* the library's */
    bool kick;               /* the library wants to be called at once */
    bool progress;           /* something happened since it was cleared */
    struct link_list busy;
    struct link_list *idle; /* per provider; the one used last is the first */
    size_t idle_count;
    size_t idle_max;
};

struct attempt {
    struct upstream *upstream;
    struct link *link;
    struct attempt *prev_active;
    struct attempt *next_active;
    struct attempt *next_ready; /* in the list of those with something to do in the next turn */
    bool ready;
    size_t provider; /* index */
    const struct provider *conf;
    struct upstream_events events;
    void *arg;
    struct loop_timer timer;
    int64_t active_ms; /* when something last moved */

    char *block; /* the request's head, and inside TLS a short body; holds a key, so it is wiped */
    size_t head_len;
    const char *out; /* what goes out now */
    size_t out_len;
    size_t out_at;
    const char *tail; /* and what goes out with it, or behind the file: a body in memory, or its end */
    size_t tail_len;
    size_t file_out; /* bytes of the file that go out now, past `out` */
    enum upstream_body body;
    const struct spool *spool;
    int64_t body_at;   /* bytes of the spool's file that were handed out */
    int64_t body_left; /* of the file; of a streamed body, -1 = until the upload event says so */
    bool pieces;       /* the file cannot be sent as it is */
    char *piece;       /* of a body that does not lie in memory */
    bool sent;         /* all of it */
    bool upload_waits; /* upload() had nothing */

    struct arena *arena; /* NULL once discarded */
    struct response_head head;
    struct buf line; /* the begin of a head line */
    struct chunked chunked;
    int64_t left;      /* of a body of known length; -1 = until the connection ends */
    struct buf held;   /* what came while body() had no room */
    bool head_request; /* its answer has no body */
    bool keep;         /* the connection may be used again */
    bool more;         /* there may be more to read, and nothing will tell */
    bool paused;       /* body() had no room */
    bool discarding;
    bool lost; /* its connection cannot be watched */
    size_t discard_left;
    struct dump_attempt *dump; /* owned; while discarding */
};

struct upstream {
    struct loop *loop;
    const struct provider_list *providers;
    const struct counts *counts; /* NULL = nothing is counted */
    struct links links;
    struct attempt *active;
    struct attempt *ready_first;
    struct attempt *ready_last;
    char scratch[32 * 1024]; /* what was read last */
};

/* ---- upstream.c */

/* Has the attempt looked at in the next turn. */
void attempt_wake(struct attempt *attempt);

/* Ends it: its answer came whole. reusable: another request may follow on its connection. */
void attempt_complete(struct attempt *attempt, bool reusable);

/* Ends it and tells its owner why, in words that may live in the attempt. */
void attempt_fail(struct attempt *attempt, enum metrics_kind kind, const char *reason);

/* Begins the timeout anew that runs now. */
void attempt_set_timer(struct attempt *attempt);

/* Its connection cannot be watched: it would wait for ever, so it ends in the next turn. */
void attempt_lose(struct attempt *attempt, int error);

/* The connection of this attempt is there, or did not come about. */
void attempt_connected(struct attempt *attempt);
void attempt_not_connected(struct attempt *attempt, CURLcode code);

/* ---- upstream_link.c */

int links_init(struct links *links, struct loop *loop, const struct provider_list *providers, long max);
void links_fini(struct links *links);

/* Lets the library work when it wants to, and hands out connections that are there. */
void links_turn(struct links *links);

/* A connection for the attempt: an idle one, or a new one that attempt_connected() tells of. NULL when out of
 * memory. */
struct link *link_take(struct links *links, struct attempt *attempt);

/* The attempt needs it no more. */
void link_release(struct link *link, bool reusable);

/* Sends a part of the bytes at data and, in a plain connection, of those of tail behind them. more: others
 * follow at once. > 0, LINK_AGAIN or LINK_BROKEN. After LINK_AGAIN the same bytes must come again. */
ssize_t link_send(struct link *link, const char *data, size_t len, const char *tail, size_t tail_len,
                  bool more);

/* The same in a plain connection with bytes of a file; LINK_NO_FILE: they could not be read in this way. */
ssize_t link_send_file(struct link *link, int fd, int64_t at, size_t len);

/* > 0, 0 at the end, LINK_AGAIN or LINK_BROKEN (link->error says why). */
ssize_t link_receive(struct link *link, char *out, size_t max);

#define LINK_AGAIN   (-1)
#define LINK_BROKEN  (-2)
#define LINK_NO_FILE (-3)

/* Notes why in link->error. LINK_BROKEN. */
ssize_t link_broken(struct link *link, const char *why);

/* What attempt_receive() and attempt_pump() are called for: EPOLLIN, EPOLLOUT, both or 0. Each change is told
 * of once: what there is to read has to be read until link_is_drained() or LINK_AGAIN. */
void link_watch(struct link *link, uint32_t events);

/* After link_receive(): whether attempt_receive() will be called when there is more. */
bool link_is_drained(const struct link *link);

/* ---- upstream_tls.c */

/* As link_send() and link_receive(), of a connection that has TLS. */
ssize_t link_send_tls(struct link *link, const char *data, size_t len);
ssize_t link_receive_tls(struct link *link, char *out, size_t max);

/* Whether this build, with the library that it meets, uses connections without it. */
bool link_may_go_direct(void);

/* Between two requests: false when there is more than the last answer. From now on the connection is used
 * without the library, where that is possible. */
bool link_rest_tls(struct link *link);

/* Whether bytes may have been read off the socket that link_receive() did not hand out. */
bool link_has_read_more(const struct link *link);

/* ---- upstream_request.c */

/* Builds the head. 0, or -1 when out of memory. */
int attempt_prepare(struct attempt *attempt, const struct upstream_request *request);

/* What the connection is to be watched for, so that the sending goes on: EPOLLOUT or 0. */
uint32_t attempt_sends(const struct attempt *attempt);

/* Sends what can be sent. Returns false when that was the attempt's end. */
bool attempt_pump(struct attempt *attempt);

/* Wipes and frees what was kept to be sent. */
void attempt_free_request(struct attempt *attempt);

/* Sends no more of it; its connection cannot be used again. */
void attempt_stop_sending(struct attempt *attempt);

/* ---- upstream_response.c */

/* There may be something to read. */
void attempt_receive(struct attempt *attempt);

/* Goes on with what was held back. */
void attempt_unhold(struct attempt *attempt);

#endif
