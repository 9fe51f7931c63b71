/*
 * generation: owns a configuration's children and sockets and the steps of their life. Called by master and
 * reload; knows nothing of control, signals to the master, or which generation serves.
 */
#include "master/generation.h"

#include "base/log.h"
#include "io/sandbox.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static int reserve_slot(struct generation_context *context)
{
    for (int i = 0; i < SHARED_WORKERS_MAX; i++) {
        /* A worker of another master may have a slot that we know nothing of. */
        if (!context->slots[i] && context->shared->workers[i].phase == WORKER_FREE) {
            context->slots[i] = true;
            return i;
        }
    }
    return -1;
}

static int make_children(struct generation *g, struct generation_context *context, struct buf *reason)
{
    unsigned workers = conf_worker_count(g->conf);
    g->children = calloc(workers + 1, sizeof(*g->children));
    if (!g->children) {
        buf_puts(reason, "out of memory");
        return -1;
    }
    for (unsigned i = 0; i < workers; i++) {
        int slot = reserve_slot(context);
        if (slot < 0) {
            buf_printf(reason,
                       "%u workers are too many: no more than %d processes at a time, those that still "
                       "drain included; configure fewer, or try again later",
                       workers, SHARED_WORKERS_MAX);
            return -1;
        }
        struct child *child = &g->children[g->child_count++];
        child->role = CHILD_WORKER;
        child->number = i;
        child->slot = (unsigned)slot;
    }
    g->children[g->child_count++].role = CHILD_ADMIN;
    return 0;
}

struct generation *generation_new(struct generation_context *context, uint32_t number, struct conf **conf,
                                  const struct generation *current, struct buf *reason)
{
    struct generation *g = calloc(1, sizeof(*g));
    if (!g) {
        conf_free(conf);
        buf_puts(reason, "out of memory");
        return NULL;
    }
    g->number = number;
    g->phase = GENERATION_STARTING;
    g->deadline_ms = INT64_MAX;
    g->conf = *conf;
    *conf = NULL;
    if (child_user_find(&g->user, g->conf->user, reason) < 0 || make_children(g, context, reason) < 0 ||
        sockets_open(&g->sockets, g->conf, current ? &current->sockets : NULL, reason) < 0)
        generation_free(&g, context, current);
    return g;
}

void generation_free(struct generation **generation, struct generation_context *context,
                     const struct generation *keep)
{
    struct generation *g = *generation;
    if (!g)
        return;
    generation_close(g, keep);
    for (size_t i = 0; i < g->child_count; i++) {
        if (g->children[i].role == CHILD_WORKER)
            context->slots[g->children[i].slot] = false;
    }
    free(g->children);
    child_user_fini(&g->user);
    conf_free(&g->conf);
    buf_fini(&g->failure);
    free(g);
    *generation = NULL;
}

/* Starts one child, or notes when to try again. */
static int start_child(struct generation *g, const struct generation_context *context, struct child *child,
                       int64_t now_ms)
{
    struct child_legacy legacy = {
        .programs = &context->programs,
        .heritage = {.conf = g->conf,
                     .shared = context->shared,
                     .listen_fds = g->sockets.fds,
                     .admin_fds = g->sockets.fds + g->sockets.listens,
                     .lifeline_fd = context->lifeline_fd,
                     .generation = g->number},
        .listen_count = g->sockets.listens,
        .admin_count = g->sockets.count - g->sockets.listens,
        .user = &g->user,
    };
    if (child_start(child, &legacy, now_ms) == 0)
        return 0;
    int error = errno;
    int64_t delay = child_count_death(&child->deaths, 0, now_ms);
    child->due_ms = now_ms + (delay > 0 ? delay : CHILD_FIRST_DELAY_MS);
    errno = error;
    return -1;
}

void generation_start(struct generation *g, const struct generation_context *context, int64_t now_ms)
{
    struct buf reason = {0};
    g->deadline_ms = now_ms + GENERATION_START_TIMEOUT_MS;
    if (g->conf->sandbox) /* without one, each child says so */
        (void)sandbox_prepare(&reason);
    buf_fini(&reason);
    for (size_t i = 0; i < g->child_count && g->failure.len == 0; i++) {
        if (start_child(g, context, &g->children[i], now_ms) < 0) {
            char name[CHILD_NAME_SIZE];
            child_name(&g->children[i], name);
            buf_printf(&g->failure, "cannot start %s: %s", name, strerror(errno));
        }
    }
}

bool generation_ready(struct generation *g, const struct generation_context *context, int64_t now_ms)
{
    size_t waiting = 0;
    if (g->failure.len > 0)
        return false;
    for (size_t i = 0; i < g->child_count; i++) {
        const struct child *child = &g->children[i];
        if (child->role == CHILD_WORKER && context->shared->workers[child->slot].phase != WORKER_READY)
            waiting++;
    }
    if (waiting == 0)
        return true;
    if (now_ms >= g->deadline_ms)
        buf_printf(&g->failure, "%zu of %zu workers were not ready after %d s", waiting, g->child_count - 1,
                   GENERATION_START_TIMEOUT_MS / 1000);
    return false;
}

void generation_serve(struct generation *g)
{
    g->phase = GENERATION_SERVING;
    g->deadline_ms = INT64_MAX;
}

void generation_close(struct generation *g, const struct generation *keep)
{
    sockets_release(&g->sockets, keep ? &keep->sockets : NULL);
}

void generation_signal(const struct generation *g, int signal_number)
{
    for (size_t i = 0; i < g->child_count; i++) {
        if (g->children[i].pid > 0)
            kill(g->children[i].pid, signal_number);
    }
}

static size_t workers_alive(const struct generation *g)
{
    size_t alive = 0;
    for (size_t i = 0; i < g->child_count; i++)
        alive += g->children[i].role == CHILD_WORKER && g->children[i].pid > 0;
    return alive;
}

static void signal_role(const struct generation *g, enum child_role role, int signal_number)
{
    for (size_t i = 0; i < g->child_count; i++) {
        if (g->children[i].role == role && g->children[i].pid > 0)
            kill(g->children[i].pid, signal_number);
    }
}

void generation_drain(struct generation *g, int64_t now_ms, int64_t timeout_ms, bool admin_last)
{
    if (g->phase >= GENERATION_DRAINING)
        return;
    g->phase = GENERATION_DRAINING;
    g->deadline_ms = now_ms + timeout_ms;
    g->admin_last = admin_last;
    signal_role(g, CHILD_WORKER, SIGTERM);
    if (!admin_last)
        signal_role(g, CHILD_ADMIN, SIGTERM);
}

void generation_quit(struct generation *g, int64_t now_ms)
{
    if (g->phase >= GENERATION_QUITTING)
        return;
    g->phase = GENERATION_QUITTING;
    g->deadline_ms = now_ms + GENERATION_QUIT_TIMEOUT_MS;
    generation_signal(g, SIGQUIT);
}

void generation_kill(struct generation *g)
{
    g->phase = GENERATION_KILLED;
    g->deadline_ms = INT64_MAX;
    generation_signal(g, SIGKILL);
}

/* What an end means for the child's generation, and what the log says of it. */
static void judge_end(struct generation *g, struct child *child, const char *how, bool clean, int64_t now_ms)
{
    char name[CHILD_NAME_SIZE];
    child_name(child, name);
    if (g->phase == GENERATION_STARTING) {
        if (g->failure.len == 0)
            buf_printf(&g->failure, "%s %s while it started (the log says why)", name, how);
        return;
    }
    if (g->phase == GENERATION_SERVING) {
        int64_t delay = child_count_death(&child->deaths, now_ms - child->started_ms, now_ms);
        child->due_ms = now_ms + delay;
        if (delay == 0)
            log_error("%s %s; it is replaced now", name, how);
        else
            log_error("%s %s, again and again; it is replaced in %lld s", name, how,
                      (long long)(delay / 1000));
        return;
    }
    if (!clean && g->phase != GENERATION_KILLED)
        log_warning("%s of generation %u %s while it drained", name, g->number, how);
}

bool generation_reaped(struct generation *g, const struct generation_context *context, pid_t pid,
                       int wait_status, int64_t now_ms)
{
    for (size_t i = 0; i < g->child_count; i++) {
        struct child *child = &g->children[i];
        if (child->pid != pid)
            continue;
        struct buf how = {0};
        child_describe_end(wait_status, &how);
        child->pid = 0;
        child_clear_slot(child, context->shared);
        usage_cells_let_go(&context->shared->usage, (int32_t)pid);
        judge_end(g, child, how.data ? how.data : "ended", wait_status == 0, now_ms);
        buf_fini(&how);
        return true;
    }
    return false;
}

/* When a worker has to be killed if it does not turn its loop (or get ready) before; INT64_MAX = it is not
 * watched. */
static int64_t watch_deadline(const struct generation *g, const struct generation_context *context,
                              const struct child *child)
{
    if (child->role != CHILD_WORKER || child->pid <= 0 || g->phase == GENERATION_STARTING ||
        g->phase > GENERATION_DRAINING)
        return INT64_MAX;
    const struct shared_worker *slot = &context->shared->workers[child->slot];
    if (slot->phase == WORKER_STARTING)
        return child->started_ms + GENERATION_START_TIMEOUT_MS;
    int64_t beat = slot->beat_ms;
    if (beat == 0 || g->conf->watchdog_ms <= 0)
        return INT64_MAX;
    return (beat > context->awake_ms ? beat : context->awake_ms) + g->conf->watchdog_ms;
}

static void watch(const struct generation *g, const struct generation_context *context, struct child *child,
                  int64_t now_ms)
{
    if (now_ms <= watch_deadline(g, context, child))
        return;
    bool starting = context->shared->workers[child->slot].phase == WORKER_STARTING;
    log_error("worker %u (pid %d) %s; it is killed", child->number, (int)child->pid,
              starting ? "does not get ready" : "has stopped turning its loop");
    kill(child->pid, SIGKILL);
    /* Its end is on the way; the slot's beat is cleared so that it is not killed twice. */
    context->shared->workers[child->slot].phase = WORKER_DRAINING;
    context->shared->workers[child->slot].beat_ms = 0;
}

void generation_tick(struct generation *g, const struct generation_context *context, int64_t now_ms)
{
    for (size_t i = 0; i < g->child_count; i++) {
        struct child *child = &g->children[i];
        watch(g, context, child, now_ms);
        if (g->phase == GENERATION_SERVING && child->pid == 0 && now_ms >= child->due_ms &&
            start_child(g, context, child, now_ms) < 0)
            log_error("cannot start a process: %s; it is tried again in %lld ms", strerror(errno),
                      (long long)(child->due_ms - now_ms));
    }
    if (g->phase == GENERATION_DRAINING && g->admin_last && workers_alive(g) == 0) {
        g->admin_last = false;
        signal_role(g, CHILD_ADMIN, SIGTERM);
    }
    if (now_ms < g->deadline_ms)
        return;
    if (g->phase == GENERATION_DRAINING) {
        if (generation_alive(g) > 0)
            log_warning("generation %u has not drained in time: what is left is cut off", g->number);
        generation_quit(g, now_ms);
    } else if (g->phase == GENERATION_QUITTING) {
        generation_kill(g);
    }
}

int64_t generation_due(const struct generation *g, const struct generation_context *context)
{
    int64_t due = g->deadline_ms;
    for (size_t i = 0; i < g->child_count; i++) {
        const struct child *child = &g->children[i];
        int64_t watched = watch_deadline(g, context, child);
        if (watched < due)
            due = watched + 1;
        if (g->phase == GENERATION_SERVING && child->pid == 0 && child->due_ms < due)
            due = child->due_ms;
    }
    return due;
}

size_t generation_alive(const struct generation *g)
{
    size_t alive = 0;
    for (size_t i = 0; i < g->child_count; i++)
        alive += g->children[i].pid > 0;
    return alive;
}
