/*
 * upstream: requests to providers, inside the worker's loop. libcurl makes the connections (names, TCP, TLS
 * with its checks), HTTP/1.1 is spoken here. Only upstream*.c include <curl/curl.h>.
 *
 * An attempt is one upstream request, and is sent once, whatever becomes of its connection. Events come from
 * the loop and from upstream_turn(), never from inside another function of this header; they must not call
 * any function of this header but upstream_resume().
 */
#ifndef CLAVIGER_WORKER_UPSTREAM_H
#define CLAVIGER_WORKER_UPSTREAM_H

#include "base/arena.h"
#include "core/provider.h"
#include "core/response_head.h"
#include "io/dump.h"
#include "io/spool.h"
#include "worker/counts.h"
#include "worker/loop.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct upstream;
struct attempt;

enum upstream_body {
    UPSTREAM_BODY_NONE,   /* no body and no Content-Length */
    UPSTREAM_BODY_SPOOL,  /* from request.spool, with Content-Length (0 included) */
    UPSTREAM_BODY_STREAM, /* from the upload event, with Content-Length or chunked */
};

struct upstream_request {
    const struct provider *provider;
    const char *method;
    const char *target;                /* path and query, sent as they are */
    const struct header_list *headers; /* everything but Host, framing and the pool's key */
    const struct secret *key;          /* goes into the provider's auth_header; NULL = none */
    enum upstream_body body;
    const struct spool *spool; /* borrowed until done, abort or discard */
    int64_t stream_length;     /* bytes; -1 = chunked */
    struct arena *arena;       /* response headers are stored here */
};

enum upstream_result {
    UPSTREAM_COMPLETE, /* the response came whole */
    UPSTREAM_FAILED,   /* connect, TLS, reset, malformed, cut */
    UPSTREAM_TIMEOUT,  /* connect_timeout, header_timeout or idle_timeout */
};

#define UPSTREAM_UPLOAD_WAIT   (-1) /* nothing now: upstream_resume() when there is */
#define UPSTREAM_UPLOAD_BROKEN (-2) /* the client is gone: break the request off */

struct upstream_events {
    /* The final response head. false gives the response up. The head lives as long as the request's arena and
     * this attempt. */
    bool (*head)(void *arg, const struct response_head *head);
    /* Body bytes. false: no room now, the same bytes come again after upstream_resume(). */
    bool (*body)(void *arg, const char *data, size_t len);
    /* Up to max bytes for a streamed request body: > 0, 0 at its end, or one of UPSTREAM_UPLOAD_*. */
    ssize_t (*upload)(void *arg, char *out, size_t max);
    /* The last event; the attempt is gone afterwards. reason is NULL when complete, else says what happened
     * in words that hold no secret; it lives during the call. */
    void (*done)(void *arg, enum upstream_result result, const char *reason);
};

/* One per worker, after the fork. max_connections: an upper bound of idle and active upstream connections.
 * counts must outlive it, NULL = nothing is counted. NULL on failure. */
struct upstream *upstream_new(struct loop *loop, const struct provider_list *providers, long max_connections,
                              const struct counts *counts);

/* Aborts what is under way (without events) and closes every connection. */
void upstream_free(struct upstream **upstream);

/* Starts an attempt; NULL when out of memory. The strings of the request are copied, but for spool and arena.
 */
struct attempt *upstream_start(struct upstream *upstream, const struct upstream_request *request,
                               const struct upstream_events *events, void *arg);

/* There is room for body bytes again, or there are upload bytes again. */
void upstream_resume(struct attempt *attempt);

/* Whether it needs the request's body no more: all of it was sent, or no more of it will be. */
bool upstream_has_sent(const struct attempt *attempt);

/* Ends the attempt without further events and closes its connection. *attempt becomes NULL; NULL is allowed.
 */
void upstream_abort(struct attempt **attempt);

/* Like upstream_abort(), but reads up to UPSTREAM_DISCARD_BYTES of the rest for up to UPSTREAM_DISCARD_MS, so
 * that the connection can be used again. What is read goes to *dump, which is ended then; it becomes NULL. */
void upstream_discard(struct attempt **attempt, struct dump_attempt **dump);

#define UPSTREAM_DISCARD_BYTES (64 * 1024)
#define UPSTREAM_DISCARD_MS    1000

/* The loop's turn: starts what is new and reports what is done. Returns whether anything happened. */
bool upstream_turn(struct upstream *upstream);

/* "libcurl/7.88.1 OpenSSL/3.0.15 …" */
const char *upstream_library_version(void);

#endif
