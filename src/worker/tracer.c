/*
 * tracer: owns the spans that wait and the one message that is under way. Called by the worker. The collector
 * is to the upstream module a provider like any other, with a multi handle of its own.
 */
#include "worker/tracer.h"

#include "base/log.h"
#include "worker/upstream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_BYTES (2 * TRACER_BATCH) /* memory of a message that the next one gets */

struct tracer {
    struct loop *loop;
    struct shared *shared;
    struct provider collector;
    struct provider_list list;
    struct header_list headers;
    struct upstream *upstream;
    struct loop_timer timer;
    struct buf waiting; /* the next message but for its end; empty = no spans */
    unsigned waiting_count;
    bool full; /* something found no room behind a whole batch: nothing more is added before that has left */
    bool due;  /* they have waited long enough */
    bool draining;
    /* the message under way */
    struct attempt *attempt;
    struct buf sent;
    struct spool spool; /* shows it */
    struct arena arena;
    unsigned sent_count;
    int status;
    bool failing; /* and said so */
};

static void on_timer(struct loop_timer *timer)
{
    LOOP_OWNER(timer, struct tracer, timer)->due = true;
}

static void drop(struct tracer *tracer, unsigned count)
{
    atomic_fetch_add(&tracer->shared->trace_dropped, count);
}

/* ---- the message under way */

static bool on_head(void *arg, const struct response_head *head)
{
    struct tracer *tracer = arg;
    tracer->status = head->status;
    return true;
}

static bool on_body(void *arg, const char *data, size_t len)
{
    (void)arg, (void)data, (void)len;
    return true;
}

static ssize_t on_upload(void *arg, char *out, size_t max)
{
    (void)arg, (void)out, (void)max;
    return 0;
}

static void end_message(struct tracer *tracer)
{
    tracer->attempt = NULL;
    if (tracer->sent.cap > KEPT_BYTES)
        buf_fini(&tracer->sent);
    buf_clear(&tracer->sent);
    arena_fini(&tracer->arena);
}

static void on_done(void *arg, enum upstream_result result, const char *reason)
{
    struct tracer *tracer = arg;
    bool good = result == UPSTREAM_COMPLETE && tracer->status >= 200 && tracer->status < 300;
    if (!good) {
        drop(tracer, tracer->sent_count);
        if (!tracer->failing && reason != NULL)
            log_warning("trace: the collector does not take spans: %s; they are dropped", reason);
        else if (!tracer->failing)
            log_warning("trace: the collector does not take spans: it answered %d; they are dropped",
                        tracer->status);
    } else if (tracer->failing) {
        log_info("trace: the collector takes spans again");
    }
    tracer->failing = !good;
    end_message(tracer);
}

static const struct upstream_events events = {
    .head = on_head,
    .body = on_body,
    .upload = on_upload,
    .done = on_done,
};

/* What waits becomes what is sent, and the other way round: their memory is used again. */
static void swap(struct tracer *tracer)
{
    struct buf empty = tracer->sent;
    tracer->sent = tracer->waiting;
    tracer->waiting = empty;
    tracer->sent_count = tracer->waiting_count;
    tracer->waiting_count = 0;
    tracer->full = false;
    trace_put_end(&tracer->sent);
}

static void start_message(struct tracer *tracer)
{
    struct upstream_request request = {
        .provider = &tracer->collector,
        .method = "POST",
        .target = base_url_join(&tracer->collector.base_url, "", &tracer->arena),
        .headers = &tracer->headers,
        .body = UPSTREAM_BODY_SPOOL,
        .spool = &tracer->spool,
        .arena = &tracer->arena,
    };
    swap(tracer);
    tracer->status = 0;
    if (request.target != NULL && !tracer->sent.failed) {
        request.target += strlen(tracer->collector.base_url.origin);
        spool_show(&tracer->spool, tracer->sent.data, tracer->sent.len);
        tracer->attempt = upstream_start(tracer->upstream, &request, &events, tracer);
    }
    if (tracer->attempt == NULL) {
        drop(tracer, tracer->sent_count);
        end_message(tracer);
    }
}

/* ---- what waits */

void tracer_add(struct tracer *tracer, const struct trace_request *request)
{
    size_t before = tracer->waiting.len;
    unsigned count = 1 + request->attempt_count;
    if (tracer->full) {
        drop(tracer, count);
        return;
    }
    if (before == 0) {
        (void)loop_timer_set(tracer->loop, &tracer->timer, loop_now(tracer->loop) + TRACER_DELAY_MS);
        trace_put_begin(&tracer->waiting, PACKAGE_VERSION);
    } else {
        buf_putc(&tracer->waiting, ',');
    }
    trace_put_spans(&tracer->waiting, request);
    if (!tracer->waiting.failed && tracer->waiting.len <= TRACER_WAITING) {
        tracer->waiting_count += count;
        return;
    }
    tracer->waiting.failed = false;
    tracer->waiting.len = before;
    tracer->full = before >= TRACER_BATCH; /* with less it was large itself, or memory was short */
    drop(tracer, count);
}

bool tracer_turn(struct tracer *tracer)
{
    bool any = upstream_turn(tracer->upstream);
    bool ready = tracer->due || tracer->draining || tracer->waiting.len >= TRACER_BATCH;
    if (tracer->attempt != NULL || tracer->waiting.len == 0 || !ready)
        return any;
    tracer->due = false;
    loop_timer_cancel(tracer->loop, &tracer->timer);
    start_message(tracer);
    return true;
}

void tracer_drain(struct tracer *tracer)
{
    tracer->draining = true;
}

bool tracer_is_idle(const struct tracer *tracer)
{
    return tracer->attempt == NULL && tracer->waiting.len == 0;
}

/* ---- begin and end */

static int make_collector(struct tracer *tracer, const char *endpoint)
{
    static char name[] = "trace";
    static char none[] = "";
    tracer->collector = (struct provider){
        .name = name,
        .type = PROVIDER_CUSTOM,
        .auth_header = none,
        .auth_prefix = none,
        .ca_file = none,
        .connect_timeout_ms = TRACER_TIMEOUT_MS,
        .header_timeout_ms = TRACER_TIMEOUT_MS,
        .idle_timeout_ms = TRACER_TIMEOUT_MS,
    };
    tracer->list = (struct provider_list){&tracer->collector, 1};
    return base_url_parse(endpoint, &tracer->collector.base_url) == 0 && tracer->collector.base_url.valid &&
                   header_add(&tracer->headers, "Content-Type", strlen("Content-Type"), "application/json",
                              strlen("application/json")) == 0
               ? 0
               : -1;
}

struct tracer *tracer_new(struct loop *loop, const struct conf *conf, struct shared *shared)
{
    struct tracer *tracer = calloc(1, sizeof *tracer);
    if (tracer == NULL)
        return NULL;
    tracer->loop = loop;
    tracer->shared = shared;
    tracer->timer.fn = on_timer;
    if (make_collector(tracer, conf->trace.endpoint) == 0)
        tracer->upstream = upstream_new(loop, &tracer->list, 4, NULL);
    if (tracer->upstream == NULL)
        tracer_free(&tracer);
    return tracer;
}

void tracer_free(struct tracer **tracer)
{
    struct tracer *t = *tracer;
    *tracer = NULL;
    if (t == NULL)
        return;
    if (t->waiting_count > 0 || t->attempt != NULL)
        drop(t, t->waiting_count + (t->attempt != NULL ? t->sent_count : 0));
    upstream_free(&t->upstream);
    loop_timer_cancel(t->loop, &t->timer);
    end_message(t);
    buf_fini(&t->waiting);
    buf_fini(&t->sent);
    header_list_fini(&t->headers);
    base_url_fini(&t->collector.base_url);
    free(t);
}
