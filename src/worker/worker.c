/*
 * worker: puts a worker's parts together, turns its loop, and ends it: at once, or when the last connection
 * is served.
 */
#include "worker/worker.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/recycle.h"
#include "io/access.h"
#include "io/store.h"
#include "worker/child_signals.h"
#include "worker/confine.h"
#include "worker/counts.h"
#include "worker/listener.h"
#include "worker/loop.h"
#include "worker/relay.h"
#include "worker/tracer.h"
#include "worker/upstream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TURN_ROUNDS      16   /* rounds of the parts' turns before the loop looks at its descriptors again */
#define BEAT_LONGEST_MS  500  /* the loop turns at least this often, so that its beat shows that it lives */
#define RELOAD_GRACE_MS  1000 /* how long idle connections live on when a new generation took over */
#define DUMP_END_MS      2000 /* how long a worker that has drained waits for its dumps to be written */
#define DUMP_QUIT_MS     100  /* and one that ends at once */
#define DUMP_LOOK_MS     20   /* so long it does not look whether that is what it is told meanwhile */
#define UPSTREAM_RESERVE 1024 /* idle upstream connections beyond one per client */

struct worker {
    const struct heritage *heritage;
    struct shared_worker *slot;
    struct loop *loop;
    struct child_signals signals;
    struct pool *pools;
    struct store *store;
    struct upstream *upstream;
    struct counts counts;
    struct usage_counter usage;
    struct dump *dump;     /* NULL = off */
    struct tracer *tracer; /* NULL = off */
    struct relays *relays;
    struct listener *listener;
    struct loop_timer beat;
    struct loop_timer flush; /* the request log and the store have something to write */
    bool draining;
};

/* ---- the relays' environment */

static struct attempt *env_start(void *upstream, const struct upstream_request *request,
                                 const struct upstream_events *events, void *arg)
{
    return upstream_start(upstream, request, events, arg);
}

static void env_refresh(void *arg, const struct store_clock *now)
{
    struct worker *worker = arg;
    store_refresh(worker->store, now);
}

static bool env_mark(void *arg, size_t provider, size_t index, bool permanent, int64_t cooldown_ms,
                     int status, const struct store_clock *now)
{
    struct worker *worker = arg;
    if (!store_mark(worker->store, provider, index, permanent, cooldown_ms, status, now))
        return false;
    counts_mark(&worker->counts, provider, status);
    return true;
}

static void env_clock(void *arg, struct store_clock *now)
{
    const struct worker *worker = arg;
    now->mono_ms = loop_now(worker->loop);
    now->real_ms = loop_real(worker->loop);
}

static void count_usage(struct worker *worker, const struct access_record *record)
{
    struct usage_identity identity;
    usage_identify(&identity, record->time_real_ms + record->total_ms, record->provider, record->token_name,
                   record->key, record->usage->model);
    usage_counter_add(&worker->usage, &identity, record->usage);
}

static void env_log(void *arg, const struct access_record *record)
{
    struct worker *worker = arg;
    if (record->usage != NULL)
        count_usage(worker, record);
    counts_request(&worker->counts, record);
    if (worker->heritage->conf->log.access)
        access_log(record, loop_now(worker->loop));
}

static void env_trace(void *arg, const struct trace_request *request)
{
    struct worker *worker = arg;
    tracer_add(worker->tracer, request);
}

/* ---- the turn */

static void on_beat(struct loop_timer *timer)
{
    struct worker *worker = LOOP_OWNER(timer, struct worker, beat);
    int64_t beat_ms = worker->heritage->conf->watchdog_ms / 4;
    atomic_store_explicit(&worker->slot->lag_ms, loop_now(worker->loop) - timer->due_ms,
                          memory_order_relaxed);
    if (beat_ms > BEAT_LONGEST_MS)
        beat_ms = BEAT_LONGEST_MS;
    log_report();
    (void)loop_timer_set(worker->loop, timer, loop_now(worker->loop) + beat_ms);
}

static void on_flush(struct loop_timer *timer)
{
    (void)timer; /* the turn that follows does it */
}

static void write_out(struct worker *worker)
{
    struct store_clock now;
    env_clock(worker, &now);
    int64_t access_ms = access_flush(now.mono_ms, 0);
    int64_t store_ms = store_flush(worker->store, &now);
    int64_t due_ms = access_ms < store_ms ? access_ms : store_ms;
    if (due_ms == INT64_MAX)
        loop_timer_cancel(worker->loop, &worker->flush);
    else
        (void)loop_timer_set(worker->loop, &worker->flush, due_ms);
}

static bool turn(void *arg)
{
    struct worker *worker = arg;
    bool any = true;
    atomic_store_explicit(&worker->slot->beat_ms, loop_now(worker->loop), memory_order_relaxed);
    for (int round = 0; any && round < TURN_ROUNDS; round++) {
        any = upstream_turn(worker->upstream);
        any |= relays_run(worker->relays); /* what came from providers goes out in this round */
        any |= listener_turn(worker->listener);
        any |= relays_run(worker->relays);
        if (worker->tracer != NULL)
            any |= tracer_turn(worker->tracer);
    }
    write_out(worker);
    if (worker->dump != NULL)
        dump_turn(worker->dump, loop_now(worker->loop));
    atomic_store_explicit(&worker->slot->in_flight, relays_count(worker->relays), memory_order_relaxed);
    atomic_store_explicit(&worker->slot->streams, relays_streams(worker->relays), memory_order_relaxed);
    if (worker->draining && listener_connections(worker->listener) == 0 &&
        (worker->tracer == NULL || tracer_is_idle(worker->tracer)))
        loop_stop(worker->loop);
    return any;
}

/* An event of a stream need not wait until the others have been read. */
static void pass_on(void *arg)
{
    struct worker *worker = arg;
    (void)relays_run(worker->relays);
    /* The library takes the bytes in one round and sends them in the next. */
    for (int round = 0; round < 2; round++)
        (void)listener_turn(worker->listener);
}

static void drain(void *arg)
{
    struct worker *worker = arg;
    worker->draining = true;
    if (worker->tracer != NULL)
        tracer_drain(worker->tracer);
    atomic_store(&worker->slot->phase, WORKER_DRAINING);
    /* At a reload clients use their idle connections a while longer: a request that meets the close is lost.
     */
    bool stopping = atomic_load(&worker->heritage->shared->stopping) != 0;
    listener_drain(worker->listener, stopping ? 0 : RELOAD_GRACE_MS);
}

static void child_ended(void *arg)
{
    struct worker *worker = arg;
    if (worker->dump != NULL)
        dump_child_ended(worker->dump);
}

/* ---- begin and end */

static int make_pools(struct worker *worker)
{
    const struct provider_list *providers = &worker->heritage->conf->providers;
    worker->pools = calloc(providers->count + 1, sizeof *worker->pools);
    if (worker->pools == NULL)
        return -1;
    for (size_t i = 0; i < providers->count; i++) {
        const struct provider *provider = &providers->items[i];
        if (pool_init(&worker->pools[i], provider->name, provider->keys, provider->key_count) != 0)
            return -1;
    }
    return 0;
}

/* Forks, and so it comes first: a database and what libraries make do not live through that. */
static int make_dump(struct worker *worker)
{
    const struct heritage *heritage = worker->heritage;
    const struct conf *conf = heritage->conf;
    char title[64];
    if (conf->dump.dir[0] == '\0')
        return 0;
    (void)snprintf(title, sizeof title, "clavigerd: dumps of worker %u", heritage->number);
    const struct dump_options options = {
        .dir = conf->dump.dir,
        .file_size = conf->dump.file_size,
        .providers = &conf->providers,
        .written = &heritage->shared->dump_written,
        .skipped = &heritage->shared->dump_skipped,
        .title = title,
        .sandbox = conf->sandbox,
    };
    worker->dump = dump_new(&options);
    if (worker->dump != NULL)
        return 0;
    int error = errno;
    log_error("dump: the process that writes to %s cannot be started: %s", conf->dump.dir, strerror(error));
    errno = error;
    return -1;
}

static int make_parts(struct worker *worker)
{
    const struct heritage *heritage = worker->heritage;
    const struct conf *conf = heritage->conf;
    if (make_dump(worker) != 0)
        return -1;
    worker->loop = loop_new(turn, worker);
    if (worker->loop == NULL ||
        child_signals_init(&worker->signals, worker->loop, heritage->lifeline_fd, drain, worker) != 0 ||
        make_pools(worker) != 0 ||
        counts_init(&worker->counts, &heritage->shared->metrics, &conf->providers) != 0)
        return -1;
    worker->signals.child_ended = child_ended;
    usage_counter_init(&worker->usage, &heritage->shared->usage, heritage->slot);
    worker->store = store_new(conf->state_db, &conf->providers, worker->pools, heritage->shared);
    worker->upstream = upstream_new(worker->loop, &conf->providers,
                                    (long)conf->limits.connections + UPSTREAM_RESERVE, &worker->counts);
    if (conf->trace.endpoint[0] != '\0' &&
        (worker->tracer = tracer_new(worker->loop, conf, heritage->shared)) == NULL)
        return -1;
    const struct relay_env env = {
        .conf = conf,
        .pools = worker->pools,
        .upstream = worker->upstream,
        .start = env_start,
        .resume = upstream_resume,
        .has_sent = upstream_has_sent,
        .abort = upstream_abort,
        .discard = upstream_discard,
        .store = worker,
        .refresh = env_refresh,
        .mark = env_mark,
        .clock = env_clock,
        .clock_arg = worker,
        .log = env_log,
        .log_arg = worker,
        .dump = worker->dump,
        .trace = worker->tracer != NULL ? env_trace : NULL,
        .trace_arg = worker,
    };
    worker->relays = relays_new(&env);
    if (worker->store == NULL || worker->upstream == NULL || worker->relays == NULL)
        return -1;
    const struct listener_options options = {
        .loop = worker->loop,
        .relays = worker->relays,
        .conf = conf,
        .fds = heritage->listen_fds,
        .slot = worker->slot,
    };
    worker->listener = listener_new(&options);
    loop_on_hurry(worker->loop, pass_on);
    worker->beat.fn = on_beat;
    worker->flush.fn = on_flush;
    return worker->listener != NULL &&
                   loop_timer_set(worker->loop, &worker->beat, loop_now(worker->loop)) == 0
               ? 0
               : -1;
}

/* A worker whose loop stands still for longer than the watchdog allows would be killed. */
static int dump_end_ms(const struct worker *worker)
{
    int64_t half_ms = worker->heritage->conf->watchdog_ms / 2;
    if (!worker->draining || worker->signals.at_once) /* a stop at once begins with TERM too */
        return DUMP_QUIT_MS;
    return half_ms < DUMP_END_MS ? (int)half_ms : DUMP_END_MS;
}

static void await_dumps(struct worker *worker)
{
    int64_t begin_ms = clock_mono_ms();
    while (!dump_finish(worker->dump, DUMP_LOOK_MS) && clock_mono_ms() - begin_ms < dump_end_ms(worker))
        if (worker->signals.loop != NULL)
            child_signals_look(&worker->signals);
}

static void free_parts(struct worker *worker)
{
    const size_t count = worker->heritage->conf->providers.count;
    listener_free(&worker->listener); /* finishes the relays, and they their attempts */
    relays_free(&worker->relays);
    upstream_free(&worker->upstream);
    tracer_free(&worker->tracer);
    store_free(&worker->store);
    counts_fini(&worker->counts);
    if (worker->dump != NULL)
        await_dumps(worker);
    dump_free(&worker->dump, 0);
    for (size_t i = 0; worker->pools != NULL && i < count; i++)
        pool_fini(&worker->pools[i]);
    free(worker->pools);
    if (worker->loop != NULL && worker->signals.loop != NULL)
        child_signals_fini(&worker->signals);
    loop_free(&worker->loop);
    (void)access_flush(clock_mono_ms(), 1);
}

int worker_main(const struct heritage *heritage)
{
    struct worker worker = {.heritage = heritage, .slot = &heritage->shared->workers[heritage->slot]};
    recycle_begin(); /* a request is some hundred allocations, nearly all of the same few sizes */
    if (make_parts(&worker) != 0) {
        log_error("worker %u could not be started: %s", heritage->number, strerror(errno));
        free_parts(&worker);
        return 1;
    }
    confine(heritage->conf);
    log_end_echo();
    atomic_store(&worker.slot->phase, WORKER_READY);
    loop_run(worker.loop);
    free_parts(&worker);
    return 0;
}
