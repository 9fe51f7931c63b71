/*
 * upstream: libcurl's multi handle inside the worker's loop: sockets, the timer, what is done, timeouts, and
 * the pool of handles. Called by the relay through its environment and by the worker's turn.
 */
#include "worker/upstream_internal.h"

#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#define IDLE_HANDLES_MAX 256 /* per provider */
#define LOOKS            8   /* at an upload's progress, within header_timeout */

struct idle_list {
    struct attempt *first;
    size_t count;
};

struct upstream {
    struct loop *loop;
    const struct provider_list *providers;
    CURLM *multi;
    struct loop_timer timer; /* the library's */
    bool kick;               /* the library wants to be called at once */
    bool progress;           /* something happened since the last turn */
    bool lost;               /* there are attempts to end */
    struct attempt *active;
    struct attempt *resume; /* to be resumed in the next turn */
    struct idle_list *idle; /* per provider */
    const struct counts *counts;
};

struct socket_watch {
    struct loop_watch watch;
    struct upstream *upstream;
};

struct loop *upstream_loop(const struct upstream *upstream)
{
    return upstream->loop;
}

/* ---- the library's sockets and timer */

static void on_socket_event(struct loop_watch *watch, uint32_t events)
{
    struct upstream *upstream = LOOP_OWNER(watch, struct socket_watch, watch)->upstream;
    int mask = 0;
    int running;
    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    upstream->progress = true;
    (void)curl_multi_socket_action(upstream->multi, watch->fd, mask, &running);
}

/* The library hides the end of an answer, whole or cut, until the request's end too; but it listens to the
 * socket no longer. When its client pauses the upload, that would be never: the upload ends then, and the
 * library tells which end it was. */
static void note_answer_over(CURL *easy)
{
    struct attempt *attempt = NULL;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &attempt);
    if (attempt == NULL || !attempt->upload_waits || !attempt->head.complete || attempt->paused)
        return;
    attempt->answer_over = true;
    upstream_resume(attempt);
}

/* A transfer whose socket cannot be watched would wait for ever: it is over at its next turn. */
static void lose(struct upstream *upstream, CURL *easy, int error)
{
    struct attempt *attempt = NULL;
    log_error("a connection to a provider cannot be watched: %s", strerror(error));
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &attempt);
    if (attempt == NULL)
        return;
    attempt->lost = true;
    upstream->lost = true;
    upstream->progress = true;
}

/* It always says 0: anything else ends every transfer of the worker. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct upstream *upstream = arg;
    struct socket_watch *socket = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        note_answer_over(easy);
        if (socket != NULL) {
            loop_watch_remove(upstream->loop, &socket->watch);
            free(socket);
            (void)curl_multi_assign(upstream->multi, fd, NULL);
        }
        return 0;
    }
    uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    if (socket != NULL) {
        if (loop_watch_change(upstream->loop, &socket->watch, events) != 0)
            lose(upstream, easy, errno);
        return 0;
    }
    socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        lose(upstream, easy, ENOMEM);
        return 0;
    }
    socket->upstream = upstream;
    socket->watch.fn = on_socket_event;
    if (loop_watch_add(upstream->loop, &socket->watch, fd, events) != 0) {
        lose(upstream, easy, errno);
        free(socket);
        return 0;
    }
    (void)curl_multi_assign(upstream->multi, fd, socket);
    return 0;
}

static void on_library_timer_due(struct loop_timer *timer)
{
    LOOP_OWNER(timer, struct upstream, timer)->kick = true;
}

static int on_library_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct upstream *upstream = arg;
    (void)multi;
    if (timeout_ms < 0) {
        loop_timer_cancel(upstream->loop, &upstream->timer);
        return 0;
    }
    if (timeout_ms == 0) {
        upstream->kick = true;
        return 0;
    }
    if (loop_timer_set(upstream->loop, &upstream->timer, loop_now(upstream->loop) + timeout_ms) != 0)
        upstream->kick = true;
    return 0;
}

/* ---- the life of an attempt */

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

static void unlink_resume(struct upstream *upstream, struct attempt *attempt)
{
    if (!attempt->resume)
        return;
    for (struct attempt **at = &upstream->resume; *at != NULL; at = &(*at)->next)
        if (*at == attempt) {
            *at = attempt->next;
            break;
        }
    attempt->resume = false;
}

static void destroy(struct attempt *attempt)
{
    if (attempt->easy != NULL)
        curl_easy_cleanup(attempt->easy);
    free(attempt);
}

static void count(const struct attempt *attempt)
{
    const struct counts *counts = attempt->upstream->counts;
    long connects = 0;
    if (counts == NULL)
        return;
    if (attempt->sends > 0 && curl_easy_getinfo(attempt->easy, CURLINFO_NUM_CONNECTS, &connects) == CURLE_OK)
        counts_connection(counts, attempt->provider, connects > 0 ? CONNECTION_NEW : CONNECTION_REUSED);
    if (attempt->failed && !attempt->discarding)
        counts_failure(counts, attempt->provider, attempt->kind);
}

/* Takes the attempt out of everything and keeps its handle for the next one. */
static void retire(struct attempt *attempt)
{
    struct upstream *upstream = attempt->upstream;
    struct idle_list *idle = &upstream->idle[attempt->provider];
    count(attempt);
    dump_end(&attempt->dump, NULL);
    (void)curl_multi_remove_handle(upstream->multi, attempt->easy);
    loop_timer_cancel(upstream->loop, &attempt->timer);
    unlink_active(upstream, attempt);
    unlink_resume(upstream, attempt);
    response_head_fini(&attempt->head);
    if (attempt->block != NULL)
        secret_wipe(attempt->block, attempt->block_size);
    free(attempt->block);
    attempt->block = NULL;
    attempt->arena = NULL;
    if (idle->count >= IDLE_HANDLES_MAX) {
        destroy(attempt);
        return;
    }
    attempt->next = idle->first;
    idle->first = attempt;
    idle->count++;
}

static void report(struct attempt *attempt, enum upstream_result result, const char *reason)
{
    struct upstream_events events = attempt->events;
    void *arg = attempt->arg;
    bool discarding = attempt->discarding;
    char text[CURL_ERROR_SIZE + 64];
    if (reason != NULL) { /* it may live in what is retired */
        (void)snprintf(text, sizeof text, "%s", reason);
        reason = text;
    }
    retire(attempt);
    if (!discarding)
        events.done(arg, result, reason);
}

static void report_failure(struct attempt *attempt, enum metrics_kind kind, const char *reason)
{
    attempt->failed = true;
    attempt->kind = kind;
    report(attempt, kind == KIND_TIMEOUT ? UPSTREAM_TIMEOUT : UPSTREAM_FAILED, reason);
}

/* What the library's code says of where it failed. */
static enum metrics_kind kind_of(CURLcode code)
{
    switch (code) {
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

static void on_done(struct attempt *attempt, CURLcode code)
{
    if (code == CURLE_OK || (attempt->head_only && attempt->head.complete && !attempt->refused)) {
        /* A whole transfer without a head: the library was content with less than we are. */
        if (attempt->head.complete || attempt->discarding)
            report(attempt, UPSTREAM_COMPLETE, NULL);
        else
            report_failure(attempt, KIND_MALFORMED, "its answer is malformed");
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        report_failure(attempt, KIND_TIMEOUT, "no connection within connect_timeout");
    } else if (attempt->malformed != NULL) {
        report_failure(attempt, KIND_MALFORMED, attempt->malformed);
    } else if (attempt->sends > 1 || code == CURLE_SEND_FAIL_REWIND) {
        report_failure(attempt, KIND_BROKEN, "the connection broke before an answer came");
    } else {
        report_failure(attempt, kind_of(code),
                       attempt->error[0] != '\0' ? attempt->error : curl_easy_strerror(code));
    }
}

/* While a body goes out, nobody tells when its last byte went: look now and then. */
static int64_t next_look(struct attempt *attempt, int64_t now_ms, int64_t limit_ms)
{
    int64_t due_ms = attempt->active_ms + limit_ms;
    int64_t soon_ms = now_ms + limit_ms / LOOKS + 1;
    bool watch_upload = !attempt->head.complete && !upstream_attempt_sent(attempt);
    return watch_upload && soon_ms < due_ms ? soon_ms : due_ms;
}

/* The attempt's own clock: header_timeout before the head, idle_timeout behind it, a short one while
 * discarding. */
static void on_attempt_timer(struct loop_timer *timer)
{
    struct attempt *attempt = LOOP_OWNER(timer, struct attempt, timer);
    struct upstream *upstream = attempt->upstream;
    int64_t now_ms = loop_now(upstream->loop);
    bool head = attempt->head.complete;
    curl_off_t uploaded = 0;
    if (attempt->discarding) {
        retire(attempt);
        return;
    }
    (void)curl_easy_getinfo(attempt->easy, CURLINFO_SIZE_UPLOAD_T, &uploaded);
    /* While the client is slow, nothing is the provider's fault; while bytes go out, it is working. An answer
     * that has begun goes on or ends, whatever the client still wants to send. */
    if (attempt->paused || (attempt->upload_waits && !head) || attempt->sends == 0 ||
        (!head && uploaded != attempt->uploaded && !upstream_attempt_sent(attempt)))
        attempt->active_ms = now_ms;
    attempt->uploaded = uploaded;
    int64_t limit_ms = head ? attempt->conf->idle_timeout_ms : attempt->conf->header_timeout_ms;
    if (now_ms - attempt->active_ms >= limit_ms) {
        report_failure(attempt, KIND_TIMEOUT,
                       head ? "no byte of its answer within idle_timeout"
                            : "no answer within header_timeout");
        upstream->progress = true;
        return;
    }
    (void)loop_timer_set(upstream->loop, timer, next_look(attempt, now_ms, limit_ms));
}

static struct attempt *take_handle(struct upstream *upstream, size_t provider)
{
    struct idle_list *idle = &upstream->idle[provider];
    struct attempt *attempt = idle->first;
    if (attempt != NULL) {
        idle->first = attempt->next;
        idle->count--;
        CURL *easy = attempt->easy;
        memset(attempt, 0, sizeof *attempt);
        attempt->easy = easy;
    } else {
        attempt = calloc(1, sizeof *attempt);
        if (attempt == NULL)
            return NULL;
    }
    attempt->upstream = upstream;
    attempt->provider = provider;
    attempt->conf = &upstream->providers->items[provider];
    attempt->timer.fn = on_attempt_timer;
    if (attempt->easy == NULL)
        attempt->easy = upstream_attempt_handle(attempt);
    if (attempt->easy == NULL) {
        free(attempt);
        return NULL;
    }
    return attempt;
}

struct attempt *upstream_start(struct upstream *upstream, const struct upstream_request *request,
                               const struct upstream_events *events, void *arg)
{
    struct attempt *attempt = take_handle(upstream, (size_t)(request->provider - upstream->providers->items));
    if (attempt == NULL)
        return NULL;
    attempt->events = *events;
    attempt->arg = arg;
    attempt->active_ms = loop_now(upstream->loop);
    link_active(upstream, attempt);
    if (upstream_attempt_prepare(attempt, request) != 0 ||
        loop_timer_set(upstream->loop, &attempt->timer,
                       next_look(attempt, attempt->active_ms, attempt->conf->header_timeout_ms)) != 0 ||
        curl_multi_add_handle(upstream->multi, attempt->easy) != CURLM_OK) {
        retire(attempt);
        return NULL;
    }
    return attempt;
}

void upstream_resume(struct attempt *attempt)
{
    if (attempt->resume)
        return;
    attempt->resume = true;
    attempt->next = attempt->upstream->resume;
    attempt->upstream->resume = attempt;
}

void upstream_abort(struct attempt **attempt)
{
    if (*attempt == NULL)
        return;
    retire(*attempt);
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
    if (!upstream_attempt_sent(
            a)) { /* its body is borrowed, and a broken-off upload spoils the connection anyway */
        retire(a);
        return;
    }
    a->discarding = true;
    a->arena = NULL;
    a->spool = NULL;
    a->discard_left = UPSTREAM_DISCARD_BYTES;
    if (a->paused)
        upstream_resume(a);
    (void)loop_timer_set(a->upstream->loop, &a->timer, loop_now(a->upstream->loop) + UPSTREAM_DISCARD_MS);
}

/* ---- turn and setup */

static void end_lost(struct upstream *upstream)
{
    struct attempt *next;
    if (!upstream->lost)
        return;
    upstream->lost = false;
    for (struct attempt *attempt = upstream->active; attempt != NULL; attempt = next) {
        next = attempt->next_active;
        if (attempt->lost)
            report_failure(attempt, KIND_BROKEN,
                           "its connection could not be watched: out of memory or descriptors");
    }
}

bool upstream_turn(struct upstream *upstream)
{
    bool progress = upstream->progress;
    int running;
    int left;
    upstream->progress = false;
    while (upstream->resume != NULL) {
        struct attempt *attempt = upstream->resume;
        upstream->resume = attempt->next;
        attempt->resume = false;
        attempt->paused = false;
        attempt->upload_waits = false;
        progress = true;
        (void)curl_easy_pause(attempt->easy, CURLPAUSE_CONT);
    }
    if (upstream->kick) {
        upstream->kick = false;
        progress = true;
        (void)curl_multi_socket_action(upstream->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    for (CURLMsg *msg; (msg = curl_multi_info_read(upstream->multi, &left)) != NULL;) {
        struct attempt *attempt = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result;
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &attempt);
        progress = true;
        on_done(attempt, code);
    }
    end_lost(upstream);
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
    upstream->timer.fn = on_library_timer_due;
    upstream->idle = calloc(providers->count + 1, sizeof *upstream->idle);
    if (upstream->idle == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK ||
        (upstream->multi = curl_multi_init()) == NULL) {
        free(upstream->idle);
        free(upstream);
        return NULL;
    }
    (void)curl_multi_setopt(upstream->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(upstream->multi, CURLMOPT_SOCKETDATA, upstream);
    (void)curl_multi_setopt(upstream->multi, CURLMOPT_TIMERFUNCTION, on_library_timer);
    (void)curl_multi_setopt(upstream->multi, CURLMOPT_TIMERDATA, upstream);
    (void)curl_multi_setopt(upstream->multi, CURLMOPT_MAXCONNECTS, max_connections);
    (void)curl_multi_setopt(upstream->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    return upstream;
}

void upstream_free(struct upstream **upstream)
{
    struct upstream *u = *upstream;
    if (u == NULL)
        return;
    while (u->active != NULL)
        retire(u->active);
    for (size_t i = 0; i < u->providers->count; i++)
        while (u->idle[i].first != NULL) {
            struct attempt *attempt = u->idle[i].first;
            u->idle[i].first = attempt->next;
            destroy(attempt);
        }
    (void)curl_multi_cleanup(u->multi); /* closes the idle connections through on_socket() */
    loop_timer_cancel(u->loop, &u->timer);
    curl_global_cleanup();
    free(u->idle);
    free(u);
    *upstream = NULL;
}

const char *upstream_library_version(void)
{
    return curl_version();
}
