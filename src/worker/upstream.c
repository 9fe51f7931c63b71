/*
 * upstream: the life of an attempt: it takes a connection (upstream_link.c), sends its request
 * (upstream_request.c), reads the answer (upstream_response.c), runs into its timeouts, and gives the
 * connection back. Called by the relay through its environment and by the worker's turn.
 *
 * Nothing is reported from inside a call of the relay: what there is to do at once waits for the turn.
 */
#include "worker/upstream_internal.h"

#include "base/log.h"
#include "base/recycle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists */

static void link_active(struct upstream *upstream, struct attempt *attempt)
{
    attempt->prev_active = NULL;
    attempt->next_active = upstream->active;
    if (upstream->active != NULL)
        upstream->active->prev_active = attempt;
    upstream->active = attempt;
}

static void unlink_active(struct upstream *upstream, struct attempt *attempt)
{
    if (attempt->prev_active != NULL)
        attempt->prev_active->next_active = attempt->next_active;
    else
        upstream->active = attempt->next_active;
    if (attempt->next_active != NULL)
        attempt->next_active->prev_active = attempt->prev_active;
}

void attempt_wake(struct attempt *attempt)
{
    struct upstream *upstream = attempt->upstream;
    if (attempt->ready)
        return;
    attempt->ready = true;
    attempt->next_ready = NULL;
    if (upstream->ready_last != NULL)
        upstream->ready_last->next_ready = attempt;
    else
        upstream->ready_first = attempt;
    upstream->ready_last = attempt;
}

static struct attempt *pop_ready(struct upstream *upstream)
{
    struct attempt *attempt = upstream->ready_first;
    upstream->ready_first = attempt->next_ready;
    if (upstream->ready_first == NULL)
        upstream->ready_last = NULL;
    attempt->ready = false;
    return attempt;
}

static void unlink_ready(struct upstream *upstream, struct attempt *attempt)
{
    struct attempt *before = NULL;
    if (!attempt->ready)
        return;
    for (struct attempt *at = upstream->ready_first; at != attempt; at = at->next_ready)
        before = at;
    if (before != NULL)
        before->next_ready = attempt->next_ready;
    else
        upstream->ready_first = attempt->next_ready;
    if (upstream->ready_last == attempt)
        upstream->ready_last = before;
}

/* ---- the end of an attempt */

/* Takes it out of everything and frees it. */
static void retire(struct attempt *attempt, bool reusable)
{
    struct upstream *upstream = attempt->upstream;
    if (upstream->counts != NULL && attempt->link != NULL && attempt->link->connected)
        counts_connection(upstream->counts, attempt->provider,
                          attempt->link->used ? CONNECTION_REUSED : CONNECTION_NEW);
    dump_end(&attempt->dump, NULL);
    if (attempt->link != NULL)
        link_release(attempt->link, reusable);
    loop_timer_cancel(upstream->loop, &attempt->timer);
    unlink_active(upstream, attempt);
    unlink_ready(upstream, attempt);
    response_head_fini(&attempt->head);
    buf_fini(&attempt->line);
    buf_fini(&attempt->held);
    attempt_free_request(attempt);
    recycle_free(attempt);
}

static void end(struct attempt *attempt, enum upstream_result result, const char *reason, bool reusable)
{
    const struct upstream_events events = attempt->events;
    void *arg = attempt->arg;
    bool discarding = attempt->discarding;
    attempt->upstream->links.progress = true;
    retire(attempt, reusable);
    if (!discarding)
        events.done(arg, result, reason);
}

void attempt_complete(struct attempt *attempt, bool reusable)
{
    end(attempt, UPSTREAM_COMPLETE, NULL, reusable);
}

void attempt_fail(struct attempt *attempt, enum metrics_kind kind, const char *reason)
{
    char text[CURL_ERROR_SIZE]; /* it may live in what is retired */
    (void)snprintf(text, sizeof text, "%s", reason);
    if (attempt->upstream->counts != NULL && !attempt->discarding)
        counts_failure(attempt->upstream->counts, attempt->provider, kind);
    end(attempt, kind == KIND_TIMEOUT ? UPSTREAM_TIMEOUT : UPSTREAM_FAILED, text, false);
}

/* ---- the connection */

void attempt_connected(struct attempt *attempt)
{
    attempt->active_ms = loop_now(attempt->upstream->loop);
    attempt_wake(attempt);
}

/* What the library's code says of where it failed. */
static enum metrics_kind kind_of(CURLcode code)
{
    switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
        return KIND_TIMEOUT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
        return KIND_CONNECT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
        return KIND_TLS;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return KIND_MALFORMED;
    default:
        return KIND_BROKEN;
    }
}

void attempt_not_connected(struct attempt *attempt, CURLcode code)
{
    const char *error = attempt->link->error;
    if (code == CURLE_OPERATION_TIMEDOUT)
        error = "no connection within connect_timeout";
    attempt_fail(attempt, kind_of(code), error[0] != '\0' ? error : curl_easy_strerror(code));
}

void attempt_lose(struct attempt *attempt, int error)
{
    log_error("a connection to a provider cannot be watched: %s", strerror(error));
    attempt->lost = true;
    attempt_wake(attempt);
}

/* ---- timeouts */

/* Whether a byte of the response is there; an interim one (1xx) is not it. */
static bool has_begun(const struct attempt *attempt)
{
    return attempt->head.complete || attempt->head.status >= 200 || attempt->line.len > 0;
}

static int64_t deadline(const struct attempt *attempt)
{
    return attempt->active_ms +
           (has_begun(attempt) ? attempt->conf->idle_timeout_ms : attempt->conf->header_timeout_ms);
}

void attempt_set_timer(struct attempt *attempt)
{
    (void)loop_timer_set(attempt->upstream->loop, &attempt->timer, deadline(attempt));
}

/* The attempt's own clock: header_timeout from the last byte sent to the response's first, idle_timeout
 * behind it, a short one while discarding. */
static void on_attempt_timer(struct loop_timer *timer)
{
    struct attempt *attempt = LOOP_OWNER(timer, struct attempt, timer);
    int64_t now_ms = loop_now(attempt->upstream->loop);
    bool head = attempt->head.complete;
    if (attempt->discarding) {
        retire(attempt, false);
        return;
    }
    /* While the client is slow, nothing is the provider's fault; but an answer that has begun goes on or
     * ends, whatever the client still wants to send. connect_timeout is the library's. */
    if (attempt->paused || (attempt->upload_waits && !head) || !attempt->link->connected)
        attempt->active_ms = now_ms;
    if (now_ms >= deadline(attempt))
        attempt_fail(attempt, KIND_TIMEOUT,
                     has_begun(attempt) ? "no byte of its answer within idle_timeout"
                                        : "no answer within header_timeout");
    else
        attempt_set_timer(attempt);
}

/* ---- what the relay calls */

struct attempt *upstream_start(struct upstream *upstream, const struct upstream_request *request,
                               const struct upstream_events *events, void *arg)
{
    struct attempt *attempt = recycle_calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return NULL;
    attempt->upstream = upstream;
    attempt->provider = (size_t)(request->provider - upstream->providers->items);
    attempt->conf = request->provider;
    attempt->events = *events;
    attempt->arg = arg;
    attempt->timer.fn = on_attempt_timer;
    attempt->active_ms = loop_now(upstream->loop);
    link_active(upstream, attempt);
    if (attempt_prepare(attempt, request) != 0 ||
        loop_timer_set(upstream->loop, &attempt->timer,
                       attempt->active_ms + attempt->conf->header_timeout_ms) != 0 ||
        (attempt->link = link_take(&upstream->links, attempt)) == NULL) {
        retire(attempt, false);
        return NULL;
    }
    if (attempt->link->connected)
        attempt_wake(attempt);
    return attempt;
}

void upstream_resume(struct attempt *attempt)
{
    attempt_wake(attempt);
}

bool upstream_has_sent(const struct attempt *attempt)
{
    return attempt->sent;
}

void upstream_abort(struct attempt **attempt)
{
    if (*attempt == NULL)
        return;
    retire(*attempt, false);
    *attempt = NULL;
}

void upstream_discard(struct attempt **attempt, struct dump_attempt **dump)
{
    struct attempt *a = *attempt;
    *attempt = NULL;
    if (a == NULL) {
        dump_end(dump, NULL);
        return;
    }
    a->dump = *dump;
    *dump = NULL;
    if (!a->sent) { /* its body is borrowed, and a broken-off upload spoils the connection anyway */
        retire(a, false);
        return;
    }
    a->discarding = true;
    a->arena = NULL;
    a->spool = NULL;
    a->discard_left = UPSTREAM_DISCARD_BYTES;
    if (a->paused)
        attempt_wake(a);
    (void)loop_timer_set(a->upstream->loop, &a->timer, loop_now(a->upstream->loop) + UPSTREAM_DISCARD_MS);
}

/* ---- turn and setup */

static void look_at(struct attempt *attempt)
{
    if (attempt->lost) {
        attempt_fail(attempt, KIND_BROKEN,
                     "its connection could not be watched: out of memory or descriptors");
        return;
    }
    if (!attempt->link->connected)
        return;
    if (!attempt->sent && !attempt_pump(attempt))
        return;
    if (attempt->paused)
        attempt_unhold(attempt);
    else if (attempt->more)
        attempt_receive(attempt);
}

bool upstream_turn(struct upstream *upstream)
{
    struct links *links = &upstream->links;
    links_turn(links);
    bool progress = links->progress || upstream->ready_first != NULL;
    links->progress = false;
    /* Those that become ready meanwhile wait for the next turn. */
    struct attempt *last = upstream->ready_last;
    for (bool more = last != NULL; more && upstream->ready_first != NULL;) {
        struct attempt *attempt = pop_ready(upstream);
        more = attempt != last;
        look_at(attempt);
    }
    return progress;
}

struct upstream *upstream_new(struct loop *loop, const struct provider_list *providers, long max_connections,
                              const struct counts *counts)
{
    struct upstream *upstream = calloc(1, sizeof *upstream);
    if (upstream == NULL)
        return NULL;
    upstream->loop = loop;
    upstream->providers = providers;
    upstream->counts = counts;
    if (links_init(&upstream->links, loop, providers, max_connections) != 0) {
        links_fini(&upstream->links);
        free(upstream);
        return NULL;
    }
    return upstream;
}

void upstream_free(struct upstream **upstream)
{
    struct upstream *u = *upstream;
    if (u == NULL)
        return;
    while (u->active != NULL)
        retire(u->active, false);
    links_fini(&u->links);
    free(u);
    *upstream = NULL;
}

const char *upstream_library_version(void)
{
    return curl_version();
}
