/*
 * relay: one request's way through the daemon, as named steps: receive its body, walk the pool, send an
 * attempt, judge its answer, commit, stream, finish. It knows neither the HTTP server library nor the HTTP
 * client library; both sides, the store and the clock come in as functions, so that tests can stand in for
 * them.
 *
 * The client side (listener) calls relay_*(); the relay calls back through relay_client. Callbacks are made
 * only from relays_run() and never from inside a relay_*() call that the client side makes; a walk through a
 * pool takes place in relays_run() too.
 */
#ifndef CLAVIGER_WORKER_RELAY_H
#define CLAVIGER_WORKER_RELAY_H

#include "base/arena.h"
#include "core/http_rules.h"
#include "core/pool.h"
#include "core/reply.h"
#include "core/trace.h"
#include "io/access.h"
#include "io/conf.h"
#include "io/dump.h"
#include "io/store.h"
#include "worker/upstream.h"

#include <stdbool.h>
#include <stdint.h>

struct relay;
struct relays; /* all of one worker */

/* Response bytes that wait for a slow client: over HIGH the upstream is paused, under LOW it goes on. */
#define RELAY_BUFFER_HIGH (64 * 1024)
#define RELAY_BUFFER_LOW  (16 * 1024)
/* Request bytes of a streamed (BYOK) body that wait for a slow upstream. */
#define RELAY_UPLOAD_MAX (64 * 1024)

/* What the relays of a worker need from outside. Every pointer is borrowed. */
struct relay_env {
    const struct conf *conf;
    struct pool *pools; /* pools[i] belongs to conf->providers.items[i] */
    void *upstream;
    struct attempt *(*start)(void *upstream, const struct upstream_request *request,
                             const struct upstream_events *events, void *arg);
    void (*resume)(struct attempt *attempt);
    bool (*has_sent)(const struct attempt *attempt);
    void (*abort)(struct attempt **attempt);
    void (*discard)(struct attempt **attempt, struct dump_attempt **dump);
    void *store;
    void (*refresh)(void *store, const struct store_clock *now);
    bool (*mark)(void *store, size_t provider, size_t index, bool permanent, int64_t cooldown_ms, int status,
                 const struct store_clock *now);
    void (*clock)(void *arg, struct store_clock *now);
    void *clock_arg;
    void (*log)(void *arg, const struct access_record *record); /* at a request's end; NULL = nobody cares */
    void *log_arg;
    struct dump *dump; /* NULL = off */
    void (*trace)(void *arg,
                  const struct trace_request *request); /* a traced request has ended; NULL = off */
    void *trace_arg;
};

/* What the relay tells the client side. */
struct relay_client {
    void (*answer)(void *client);   /* relay_answer() has the answer's head */
    void (*readable)(void *client); /* relay_read() has bytes, or the end */
    void (*writable)(void *client); /* relay_body() takes bytes again */
};

/* A request whose head was read. Strings are borrowed and must live as long as the relay. */
struct relay_request {
    const char *method;
    const char *target; /* raw */
    const struct header_list *headers;
    const char *peer; /* the peer's IP address as text; NULL = unix socket */
    const char *host; /* NULL = none sent */
    bool https;
    struct http_framing framing;
    struct arena *arena; /* for what lives as long as the relay */
};

struct relay_answer {
    int status;
    const struct header_list *headers; /* without hop-by-hop, Content-Length and Transfer-Encoding */
    int64_t content_length;            /* -1 = unknown: the body ends when relay_read() says so */
    bool bodiless;                     /* has no body by its nature: a HEAD request, a 304 */
    const char *body; /* the whole body when it is complete already, else NULL: relay_read() */
};

struct relays *relays_new(const struct relay_env *env);
void relays_free(struct relays **relays);

/* How many relays there are. */
size_t relays_count(const struct relays *relays);

/* How many of them pass an answer on as it comes. */
size_t relays_streams(const struct relays *relays);

/* Runs the relays that have something to do; called in the loop's turn. Returns whether there was any. */
bool relays_run(struct relays *relays);

/*
 * Begins a request: route, credential, limits. NULL when out of memory. The answer may be there at once (404,
 * 401, 413, 502 for a bad base URL): relay_answered().
 */
struct relay *relay_new(struct relays *relays, const struct relay_request *request,
                        const struct relay_client *ops, void *client);

/* Begins a request that the client side refuses itself, with that answer. */
struct relay *relay_refuse(struct relays *relays, const struct relay_request *request, enum reply_code code,
                           const char *message, const struct relay_client *ops, void *client);

/* Refuses a request whose body does not come as it should. What was begun upstream is broken off. Without
 * effect once the answer is decided. */
void relay_give_up(struct relay *relay, enum reply_code code, const char *message);

/* Whether the answer is decided: relay_answer() has it. */
bool relay_answered(const struct relay *relay);

/* Whether anybody still wants body bytes; if not, they are thrown away. */
bool relay_wants_body(const struct relay *relay);

/* Takes body bytes; returns how many, 0 to len. Less than len: wait for writable(). */
size_t relay_body(struct relay *relay, const char *data, size_t len);

/* The body is complete (also when there is none). Called once. */
void relay_body_end(struct relay *relay);

/* The answer's head; false as long as there is none. */
bool relay_answer(const struct relay *relay, struct relay_answer *answer);

#define RELAY_READ_WAIT 0    /* nothing now: wait for readable() */
#define RELAY_READ_END  (-1) /* the body is complete */
#define RELAY_READ_CUT  (-2) /* the upstream broke off: break the client's connection off */

/* Copies up to max bytes of the answer's body; > 0, or one of RELAY_READ_*. */
ssize_t relay_read(struct relay *relay, char *out, size_t max);

/* Counts body bytes that went to the client in another way than relay_read() (relay_answer.body). */
void relay_count_sent(struct relay *relay, size_t len);

/* Ends the relay, writes its log line, aborts what is under way. complete: the client got the whole answer.
 * The last call; *relay becomes NULL, NULL is allowed. */
void relay_finish(struct relay **relay, bool complete);

#endif
