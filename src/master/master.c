/*
 * master: owns the daemon's life: start, the loop, the stop. Called by clavigerd. It serves no client, opens
 * SQLite only for a moment before it forks, and sleeps in one ppoll().
 */
#include "master/master.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/title.h"
#include "io/sandbox.h"
#include "io/store_schema.h"
#include "master/announce.h"
#include "master/notify.h"
#include "master/reload.h"
#include "master/signals.h"
#include "master/state.h"
#include "master/status.h"
#include "master/upgrade.h"
#include "master/upgrade_heir.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MASTER_BUSY_MS          5000 /* how long the start waits for a busy database */
#define MASTER_READY_MS         5    /* how often it is looked whether starting workers are ready */
#define MASTER_GAP_MS           1000 /* a sleep that is longer than asked for by this: we were stopped */
#define MASTER_LONGEST_SLEEP_MS (60 * 60 * 1000)

static const char STOPPING[] = "the daemon is stopping";

/* Says why the start failed. */
static void complain(const struct master *m, const char *reason)
{
    log_error("cannot start: %s", reason);
    upgrade_heir_refuse(m->options->heir, reason);
}

/* The log leaves stderr: until everything serves, errors reach whoever waits at a terminal all the same. */
static void leave_terminal(struct master *m)
{
    log_echo(m->parent.stderr_fd);
    m->parent.stderr_fd = -1;
}

static void event_status(void *arg, bool traffic, struct buf *json)
{
    status_json(arg, clock_mono_ms(), traffic ? clock_real_ms() : 0, json);
}

static const char *event_reload(void *arg)
{
    struct master *m = arg;
    if (m->stopping)
        return STOPPING;
    m->reload_wanted = true;
    return NULL;
}

/* Begins a stop, or makes one that has begun a stop at once. */
static void stop(struct master *m, bool at_once, int64_t now_ms)
{
    if (!m->stopping)
        log_info(at_once ? "stopping at once" : "stopping: requests in flight finish");
    m->stopping = true;
    m->reload_wanted = false;
    upgrade_abandon(m, STOPPING, at_once, now_ms);
    upgrade_heir_refuse(m->options->heir, "the new master was told to stop");
    if (at_once)
        upgrade_heir_signal(m, SIGQUIT);
    reload_abandon(m, STOPPING, now_ms);
    control_reload_begun(m->control); /* whoever asked for one that did not come to begin */
    control_reload_done(m->control, STOPPING, now_ms);
    if (m->owner) {
        m->context.shared->stopping = 1;
        notify_stopping();
    }
    if (m->serving) {
        /* The admin process goes last: it says meanwhile that no new requests are taken, and keeps the house.
         */
        generation_drain(m->serving, now_ms, m->serving->conf->limits.shutdown_timeout_ms, true);
        sockets_refuse_clients(&m->serving->sockets);
        if (at_once)
            generation_quit(m->serving, now_ms);
    }
    for (struct generation *g = m->draining; g && at_once; g = g->next)
        generation_quit(g, now_ms);
}

static void event_stop(void *arg)
{
    struct master *m = arg;
    if (!m->stopping)
        stop(m, false, clock_mono_ms());
}

static void reopen_logs(const struct master *m)
{
    if (log_reopen() < 0)
        log_error("cannot open the log again: %s; the old file is written on", strerror(errno));
    /* After our own: we make the new file, for the user that workers drop to. */
    if (m->serving)
        generation_signal(m->serving, SIGUSR1);
    if (m->next)
        generation_signal(m->next, SIGUSR1);
    for (const struct generation *g = m->draining; g; g = g->next)
        generation_signal(g, SIGUSR1);
    upgrade_heir_signal(m, SIGUSR1);
}

static void reap(struct master *m, int64_t now_ms)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        bool known = m->serving && generation_reaped(m->serving, &m->context, pid, status, now_ms);
        if (!known && m->next)
            known = generation_reaped(m->next, &m->context, pid, status, now_ms);
        for (struct generation *g = m->draining; g && !known; g = g->next)
            known = generation_reaped(g, &m->context, pid, status, now_ms);
        if (!known)
            upgrade_reaped(m, pid, status, now_ms);
    }
}

static void free_drained(struct master *m)
{
    struct generation **link = &m->draining;
    while (*link) {
        struct generation *g = *link;
        if (generation_alive(g) > 0) {
            link = &g->next;
            continue;
        }
        *link = g->next;
        log_debug("generation %u has ended", g->number);
        generation_free(&g, &m->context, NULL);
    }
}

/* The first start has ended, one way or the other. */
static void after_first_start(struct master *m)
{
    if (m->serving) {
        upgrade_heir_take_over(m);
        if (!secret_is_locked())
            log_info("keys may be swapped out: their memory cannot be locked; raise the limit (LimitMEMLOCK= "
                     "of the "
                     "unit, ulimit -l)");
        announce_start(m->serving, m->options->version, m->options->conf_file);
        log_end_echo();
        daemon_ready(&m->parent);
        notify_ready();
        return;
    }
    if (m->stopping)
        return;
    complain(m, m->draining && m->draining->failure.len > 0 ? m->draining->failure.data : "out of memory");
    m->exit_status = 1;
    m->stopping = true;
}

static void act_on_signals(struct master *m, int64_t now_ms)
{
    if (signals_take(SIGNALS_QUIT))
        stop(m, true, now_ms);
    if (signals_take(SIGNALS_STOP)) {
        /* A master that was replaced is stopping already, and nobody has asked for haste. */
        stop(m, m->owner ? m->stopping : m->term_seen, now_ms);
        m->term_seen = true;
    }
    if (signals_take(SIGNALS_RELOAD) && !m->stopping)
        m->reload_wanted = true;
    if (signals_take(SIGNALS_UPGRADE))
        upgrade_wish(m);
    if (signals_take(SIGNALS_REOPEN))
        reopen_logs(m);
    if (signals_take(SIGNALS_CHILD))
        reap(m, now_ms);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t next_due(const struct master *m, int64_t now_ms)
{
    int64_t due = earlier(now_ms + MASTER_LONGEST_SLEEP_MS, control_due(m->control));
    due = earlier(due, upgrade_due(m));
    if (m->serving)
        due = earlier(due, generation_due(m->serving, &m->context));
    if (m->next)
        due = earlier(due, now_ms + MASTER_READY_MS);
    for (const struct generation *g = m->draining; g; g = g->next)
        due = earlier(due, generation_due(g, &m->context));
    return due > now_ms ? due : now_ms;
}

/* Begins what is wanted, one thing at a time. */
static void begin_wanted(struct master *m, int64_t now_ms)
{
    if (!m->serving || m->next || m->stopping || upgrade_under_way(m))
        return;
    if (m->upgrade.wanted) {
        upgrade_begin(m, now_ms);
    } else if (m->reload_wanted) {
        m->reload_wanted = false;
        reload_begin(m, now_ms);
    }
}

/* Sleeps and takes note of everything that has happened. */
static int64_t sleep_and_listen(struct master *m, const sigset_t *sleep_mask)
{
    struct pollfd fds[CONTROL_POLLFDS + 2];
    int64_t before_ms = clock_mono_ms();
    size_t count = control_prepare(m->control, fds, before_ms);
    fds[count] = (struct pollfd){.fd = upgrade_heir_fd(m), .events = POLLIN};
    fds[count + 1] = (struct pollfd){.fd = upgrade_under_way(m) ? m->upgrade.fd : -1, .events = POLLIN};
    int64_t due_ms = next_due(m, before_ms);
    int64_t sleep_ms = due_ms - before_ms;
    struct timespec timeout = {.tv_sec = sleep_ms / 1000, .tv_nsec = sleep_ms % 1000 * 1000000};
    if (ppoll(fds, (nfds_t)count + 2, &timeout, sleep_mask) <= 0) {
        for (size_t i = 0; i < count + 2; i++)
            fds[i].revents = 0;
    }
    int64_t now_ms = clock_mono_ms();
    if (now_ms - due_ms > MASTER_GAP_MS)
        m->context.awake_ms = now_ms;
    act_on_signals(m, now_ms);
    control_handle(m->control, fds, count, now_ms);
    if (fds[count].revents && !upgrade_heir_handle(m))
        stop(m, m->stopping, now_ms);
    if (fds[count + 1].revents)
        upgrade_handle(m, now_ms);
    return now_ms;
}

/* One turn: sleep, then act on everything that has happened. */
static void turn(struct master *m, const sigset_t *sleep_mask)
{
    bool starting = !m->serving && m->next;
    int64_t now_ms = sleep_and_listen(m, sleep_mask);
    reload_watch(m, now_ms);
    if (starting && !m->next)
        after_first_start(m);
    upgrade_tick(m, now_ms);
    begin_wanted(m, now_ms);
    if (m->serving)
        generation_tick(m->serving, &m->context, now_ms);
    for (struct generation *g = m->draining; g; g = g->next)
        generation_tick(g, &m->context, now_ms);
    free_drained(m);
}

static bool ended(const struct master *m)
{
    return m->stopping && !m->next && !m->draining && (!m->serving || generation_alive(m->serving) == 0) &&
           m->upgrade.pid == 0 && !upgrade_heir_waits(m);
}

/* What has to be there before a generation: lock, shared memory, lifeline, control. */
static int open_house(struct master *m, const struct conf *conf, struct buf *reason)
{
    static const struct control_events EVENTS = {.status = event_status,
                                                 .reload = event_reload,
                                                 .stop = event_stop};
    struct control_events events = EVENTS;
    int ends[2];
    events.arg = m;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        buf_printf(reason, "cannot make a pipe: %s", strerror(errno));
        return -1;
    }
    m->context.lifeline_fd = ends[0];
    m->lifeline_write_fd = ends[1];
    if (m->options->heir)
        return upgrade_heir_adopt(m, conf, &events, reason);
    if (pidfile_create(&m->pidfile, conf->pid_file, reason) < 0)
        return -1;
    m->context.shared = shared_make(&m->shared_fd);
    if (!m->context.shared) {
        buf_printf(reason, "cannot map shared memory: %s", strerror(errno));
        return -1;
    }
    m->control = control_new(conf->control, &events, reason);
    return m->control ? 0 : -1;
}

/* Before the first child: each inherits it. */
static void enter_sandbox(const struct conf *conf)
{
    struct buf reason = {0};
    if (conf->sandbox && sandbox_prepare(&reason) == 0 && sandbox_enter_master(&reason) < 0)
        log_warning("the master is not in a sandbox: %s", reason.failed ? "out of memory" : reason.data);
    buf_fini(&reason);
}

/* Binds, prepares the database, opens the log, forks. */
static int begin(struct master *m, struct conf **conf, struct buf *reason)
{
    struct generation *g =
        generation_new(&m->context, ++m->last_number, conf, upgrade_heir_sockets(m), reason);
    if (!g)
        return -1;
    m->next = g;
    if (reload_prepare_store(g, MASTER_BUSY_MS, reason) < 0)
        return -1;
    /* While another master serves, the database lists its keys. */
    if (m->owner && store_schema_sync(g->conf->state_db, &g->conf->providers, MASTER_BUSY_MS, reason) < 0)
        return -1;
    if (m->parent.detached) {
        leave_terminal(m);
        daemon_leave_standard();
    }
    if (reload_open_log(g->conf, &g->user, m->parent.detached, reason) < 0)
        return -1;
    if (!m->parent.detached && strcmp(g->conf->log.target, "stderr") != 0)
        leave_terminal(m);
    enter_sandbox(g->conf);
    log_set_dropped_counter(&m->context.shared->log_dropped);
    generation_start(g, &m->context, clock_mono_ms());
    return 0;
}

static void close_house(struct master *m)
{
    generation_free(&m->next, &m->context, upgrade_heir_sockets(m));
    generation_free(&m->serving, &m->context, NULL);
    upgrade_heir_leave(m);
    control_free(&m->control);
    fd_close(&m->context.lifeline_fd);
    fd_close(&m->lifeline_write_fd);
    log_set_dropped_counter(NULL);
    shared_free(&m->context.shared);
    fd_close(&m->shared_fd);
    pidfile_remove(&m->pidfile);
    fd_close(&m->parent.ready_fd);
    fd_close(&m->parent.stderr_fd);
    log_end_echo();
    free(m->reload.error);
    free(m->upgrade.last.error);
    fd_close(&m->upgrade.fd); /* last: it tells the new master of our end */
}

int master_run(const struct master_options *options, struct conf **conf)
{
    sigset_t sleep_mask;
    struct buf reason = {0};
    struct master m = {
        .options = options,
        .parent = options->parent,
        .owner = !options->heir,
        .shared_fd = -1,
        .upgrade = {.fd = -1},
        .context = {.programs = options->programs, .lifeline_fd = -1},
        .lifeline_write_fd = -1,
        .pidfile = {.fd = -1},
        .started_mono_ms = clock_mono_ms(),
    };
    title_set("clavigerd: master");
    log_set_process("master");
    upgrade_remember_keys();
    signals_init(&sleep_mask);
    if (open_house(&m, *conf, &reason) == 0 && begin(&m, conf, &reason) == 0) {
        while (!ended(&m))
            turn(&m, &sleep_mask);
        if (m.exit_status == 0)
            log_info(m.owner ? "stopped" : "stopped; another master serves");
    } else {
        complain(&m, reason.data ? reason.data : "out of memory");
        m.exit_status = 1;
    }
    buf_fini(&reason);
    conf_free(conf);
    close_house(&m);
    return m.exit_status;
}
