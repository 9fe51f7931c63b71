/*
 * relay_internal: the struct that relay.c (steps), relay_attempt.c (towards the upstream) and relay_answer.c
 * (towards the client) share. For those three only.
 */
#ifndef CLAVIGER_WORKER_RELAY_INTERNAL_H
#define CLAVIGER_WORKER_RELAY_INTERNAL_H

#include "base/buf.h"
#include "core/credential.h"
#include "core/route.h"
#include "core/walk.h"
#include "io/gunzip.h"
#include "worker/relay.h"

enum relay_step {
    RELAY_RECEIVE, /* the body is being kept */
    RELAY_WALK,    /* choose the next key */
    RELAY_SEND,    /* begin an attempt */
    RELAY_JUDGE,   /* wait for its head, then decide */
    RELAY_COMMIT,  /* tell the client side */
    RELAY_STREAM,  /* pass the body on */
};

struct relay {
    struct relays *relays;
    struct relay *next_ready; /* in the list of those with something to do */
    bool ready;
    enum relay_step step;
    bool in_call; /* inside a call of the client side: it looks for itself, no callback */
    struct relay_request request;
    const struct relay_client *ops;
    void *client;
    struct store_clock began;
    char id[24];

    const struct provider *provider; /* NULL = no route */
    size_t provider_index;
    const char *rest;                    /* the target behind the route */
    const struct client_entry *identity; /* whose token it carries; NULL = nobody's */
    bool centralized;
    struct header_list upstream_headers;
    const char *upstream_target;
    bool ask_gzip; /* the client did not say what it takes: we ask for gzip and decode it */

    struct spool spool; /* centralized: the whole body */
    struct buf upload;  /* streamed: what waits for the upstream */
    size_t upload_at;
    uint64_t bytes_in;
    bool body_ended;
    bool upload_full; /* writable() is owed */

    struct walk walk;
    long key; /* index in the pool; -1 = none */
    unsigned attempts;
    struct attempt *attempt;
    struct dump_attempt *dump; /* NULL = it is not dumped */
    struct relay_trace *trace; /* NULL = it is not traced */
    bool has_head;             /* the attempt's head came */
    bool refusal;              /* it is a key failure: its body is dropped */
    bool attempt_done;
    enum upstream_result result;
    char *reason; /* why it failed */

    bool answered;
    struct relay_answer answer;
    struct header_list answer_headers;
    struct buf body; /* what waits for the client */
    size_t body_at;
    bool hides_key;     /* the body is of a kind in which providers repeat what they got */
    size_t body_held;   /* at the end of `body`: may be the begin of the key */
    bool body_complete; /* nothing will be added */
    bool cut;           /* the upstream broke off behind the commit */
    bool upstream_paused;
    bool streaming;        /* the commit came before the body was complete */
    struct gunzip *gunzip; /* the answer is decoded on its way; NULL = as it comes */
    struct buf encoded;    /* what waits to be decoded because `body` is full */
    struct usage_scanner usage;
    struct gunzip *usage_gunzip; /* the body is decoded for the scanner; NULL = as it comes */
    bool reader_waits;           /* readable() is owed */
    uint64_t bytes_out;
    int64_t first_byte_ms;   /* -1 = none yet */
    const char *error;       /* for the log; static text */
    const char *upstream_id; /* of the last answer; lives in the arena */
};

struct relays {
    struct relay_env env;
    size_t count;
    size_t streams;
    uint64_t id_base;
    uint64_t id_next;
    uint64_t random; /* the state of a generator */
    struct relay *ready_first;
    struct relay *ready_last;
    bool fresh;             /* in this run the keys' states were read already, at: */
    struct store_clock now; /* (only then) */
};

/* Puts it into the list that relays_run() works through. */
void relay_wake(struct relay *relay);

/* ---- relay_attempt.c: towards the upstream */

/* The target and the header fields that every attempt of this request has in common. 0, or -1 when out of
 * memory. */
int relay_prepare_upstream(struct relay *relay);

/* Begins an attempt with the key that was chosen (or none). 0, or -1 when out of memory. */
int relay_send_attempt(struct relay *relay);

/* ---- relay_usage.c: what the provider reports */

/* Begins to look at the body of an answer. */
void relay_usage_begin(struct relay *relay, const struct response_head *head);

/* Looks at bytes as they came from the provider. */
void relay_usage_feed(struct relay *relay, const char *data, size_t len);
bool relay_usage_result(const struct relay *relay, struct usage *usage);

void relay_usage_fini(struct relay *relay);

/* ---- relay_trace.c: what a collector is told */

/* Decides whether the request is traced. */
void relay_trace_begin(struct relay *relay);

/* Begins an attempt, and sets its traceparent. 0, or -1 when out of memory. */
int relay_trace_send(struct relay *relay);

/* The attempt's answer has begun; mark is static text, NULL = its key was not marked. */
void relay_trace_head(struct relay *relay, int status, const char *mark);

/* The attempt is over; failure lives in the arena, NULL = it did not fail. */
void relay_trace_attempt_done(struct relay *relay, const char *failure);

/* The request is over. */
void relay_trace_end(struct relay *relay, const struct access_record *record);

/* ---- relay_answer.c: towards the client */

/* Answers by ourselves. extra: the value of Retry-After in seconds, 0 = none. */
void relay_reply(struct relay *relay, enum reply_code code, int64_t retry_after_s, const char *message);
void relay_replyf(struct relay *relay, enum reply_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Answers that the pool is exhausted. */
void relay_reply_exhausted(struct relay *relay, int64_t now_mono_ms);

/* Keeps what the client gets of an upstream's head. 0, or -1 when out of memory. */
int relay_keep_head(struct relay *relay, const struct response_head *head);

/* The upstream's answer, whose head was kept, becomes ours. */
void relay_take_answer(struct relay *relay);

/* Takes bytes of the upstream's body, decodes them if need be. false: no room now. */
bool relay_add_body(struct relay *relay, const char *data, size_t len);

/* Decodes what waits, as far as there is room. */
void relay_pump_body(struct relay *relay);

/* The upstream's body is complete; the client's is when all of it is decoded. */
void relay_end_body(struct relay *relay);

#endif
