/*
 * upstream_internal: what upstream.c (the multi handle and its loop) and upstream_attempt.c (one request's
 * options and callbacks) share. For those two only.
 */
#ifndef CLAVIGER_WORKER_UPSTREAM_INTERNAL_H
#define CLAVIGER_WORKER_UPSTREAM_INTERNAL_H

#include "worker/upstream.h"

#include <curl/curl.h>

struct attempt {
    struct upstream *upstream;
    struct attempt *next; /* in a list of idle ones, or of those to resume */
    struct attempt *prev_active;
    struct attempt *next_active;
    CURL *easy;      /* kept with its provider's options when the attempt is over */
    size_t provider; /* index */
    const struct provider *conf;
    struct upstream_events events;
    void *arg;
    struct loop_timer timer;
    int64_t active_ms;   /* when something last moved */
    curl_off_t uploaded; /* as of the last look */
    void *block;         /* header lines and their list; holds a key, so it is wiped */
    size_t block_size;
    struct arena *arena; /* NULL once discarded */
    const struct spool *spool;
    int64_t upload_offset;
    int64_t body_length; /* -1 = chunked */
    enum upstream_body body;
    struct response_head head;
    const char *malformed; /* why the response was given up; static text */
    size_t discard_left;
    struct dump_attempt *dump; /* owned; while discarding */
    unsigned sends;            /* how often the library began to send it */
    bool head_only;            /* a HEAD request that carries a body: over when its head is complete */
    bool discarding;
    bool resume;       /* in the list of those to resume */
    bool paused;       /* body() had no room */
    bool upload_waits; /* upload() had nothing */
    bool refused;      /* head() said no */
    bool lost;         /* its socket is not watched */
    bool failed;       /* in the way that `kind` says */
    enum metrics_kind kind;
    bool answer_over; /* nothing more of the answer comes, and the upload waits */
    char error[CURL_ERROR_SIZE];
};

/* The loop that the attempts live in. */
struct loop *upstream_loop(const struct upstream *upstream);

/* A handle with everything that does not change from request to request. NULL when out of memory. */
CURL *upstream_attempt_handle(struct attempt *attempt);

/* Everything that does. 0, or -1 when out of memory. */
int upstream_attempt_prepare(struct attempt *attempt, const struct upstream_request *request);

/* Whether the request's body has gone out whole. */
bool upstream_attempt_sent(struct attempt *attempt);

#endif
