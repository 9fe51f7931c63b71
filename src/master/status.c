/*
 * status: owns the form of the status answer. Called by the master when control asks; reads only.
 */
#include "master/status.h"

#include "base/clock.h"
#include "master/traffic.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static void put_string(struct buf *out, const char *s)
{
    if (s)
        buf_json(out, s, strlen(s));
    else
        buf_puts(out, "null");
}

static void put_time(struct buf *out, int64_t real_ms)
{
    char text[CLOCK_RFC3339_SIZE];
    clock_rfc3339(real_ms, text);
    put_string(out, real_ms > 0 ? text : NULL);
}

static void put_reload(struct buf *out, const struct reload_record *reload)
{
    if (reload->real_ms == 0) {
        buf_puts(out, "null");
        return;
    }
    buf_puts(out, "{\"time\":");
    put_time(out, reload->real_ms);
    buf_printf(out, ",\"ok\":%s,\"error\":", reload->error ? "false" : "true");
    put_string(out, reload->error);
    buf_putc(out, '}');
}

static void put_addresses(struct buf *out, const struct sockets *set, size_t from, size_t to)
{
    buf_putc(out, '[');
    for (size_t i = from; i < to; i++) {
        if (i > from)
            buf_putc(out, ',');
        put_string(out, set->entries[i].text);
    }
    buf_putc(out, ']');
}

static const char *phase_word(const struct generation *g, const struct child *child,
                              const struct shared_worker *slot)
{
    if (child->pid == 0)
        return "waiting"; /* for its turn to be replaced */
    if (g->phase >= GENERATION_DRAINING || slot->phase == WORKER_DRAINING)
        return "draining";
    return slot->phase == WORKER_READY ? "ready" : "starting";
}

static void put_workers(struct buf *out, const struct generation *g, const struct shared *shared,
                        int64_t now_mono_ms, bool *first)
{
    for (size_t i = 0; g && i < g->child_count; i++) {
        const struct child *child = &g->children[i];
        if (child->role != CHILD_WORKER || (child->pid == 0 && g->phase != GENERATION_SERVING))
            continue;
        const struct shared_worker *slot = &shared->workers[child->slot];
        int64_t uptime_ms = child->pid ? now_mono_ms - child->started_ms : 0;
        buf_printf(out,
                   "%s{\"number\":%u,\"pid\":%d,\"phase\":\"%s\",\"generation\":%" PRIu32
                   ",\"uptime_s\":%" PRId64 ",\"connections\":%" PRIu64 ",\"requests\":%" PRIu64
                   ",\"in_flight\":%" PRIu64 ",\"streams\":%" PRIu64 ",\"lag_ms\":%" PRId64 "}",
                   *first ? "" : ",", child->number, (int)child->pid, phase_word(g, child, slot), g->number,
                   uptime_ms / 1000, (uint64_t)slot->connections, (uint64_t)slot->requests,
                   (uint64_t)slot->in_flight, (uint64_t)slot->streams, (int64_t)slot->lag_ms);
        *first = false;
    }
}

static int admin_pid(const struct generation *g)
{
    return g && g->child_count > 0 ? (int)g->children[g->child_count - 1].pid : 0;
}

static void put_database(struct buf *out, const char *path, const struct shared *shared)
{
    buf_puts(out, ",\"database\":{\"path\":");
    put_string(out, path);
    buf_printf(out, ",\"condition\":\"%s\",\"since\":", shared_condition_name(shared->database_condition));
    put_time(out, shared->database_since_ms);
    buf_printf(out, ",\"errors\":%" PRIu64 "}", (uint64_t)shared->database_errors);
}

void status_json(const struct master *m, int64_t now_mono_ms, int64_t now_real_ms, struct buf *out)
{
    const struct generation *g = m->serving ? m->serving : m->next;
    const struct shared *shared = m->context.shared;
    const char *phase = m->serving ? "serving" : "starting";
    bool first = true;

    buf_puts(out, "{\"version\":");
    put_string(out, m->options->version);
    buf_printf(out, ",\"pid\":%d,\"uptime_s\":%" PRId64 ",\"phase\":\"%s\",\"generation\":%" PRIu32,
               (int)getpid(), (now_mono_ms - m->started_mono_ms) / 1000, m->stopping ? "stopping" : phase,
               g ? g->number : 0);
    buf_puts(out, ",\"configuration\":");
    put_string(out, m->options->conf_file);
    buf_puts(out, ",\"last_reload\":");
    put_reload(out, &m->reload);
    buf_puts(out, ",\"last_upgrade\":");
    put_reload(out, &m->upgrade.last);
    buf_puts(out, ",\"listen\":");
    put_addresses(out, g ? &g->sockets : NULL, 0, g ? g->sockets.listens : 0);
    buf_puts(out, ",\"admin_listen\":");
    put_addresses(out, g ? &g->sockets : NULL, g ? g->sockets.listens : 0, g ? g->sockets.count : 0);
    buf_puts(out, ",\"workers\":[");
    put_workers(out, m->serving, shared, now_mono_ms, &first);
    put_workers(out, m->next, shared, now_mono_ms, &first);
    for (const struct generation *old = m->draining; old; old = old->next)
        put_workers(out, old, shared, now_mono_ms, &first);
    buf_printf(out, "],\"admin_pid\":%d", admin_pid(g));
    put_database(out, g ? g->conf->state_db : NULL, shared);
    if (now_real_ms != 0 && g) {
        buf_puts(out, ",\"traffic\":");
        traffic_json(m->context.shared, &g->conf->providers, now_real_ms, out);
    }
    buf_putc(out, '}');
}
