/*
 * reload: owns the way from one configuration to the next. Called by the master's loop; whatever fails before
 * the commit leaves the serving generation untouched.
 */
#include "master/reload.h"

#include "base/clock.h"
#include "base/log.h"
#include "io/store_schema.h"
#include "master/notify.h"
#include "master/upgrade_heir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RELOAD_BUSY_MS 500 /* how long a busy database may hold the master up */

int reload_open_log(const struct conf *conf, const struct child_user *user, bool detached, struct buf *reason)
{
    const char *why = NULL;
    bool elsewhere = detached && strcmp(conf->log.target, "stderr") == 0;
    struct log_options options = {.target = elsewhere ? "syslog" : conf->log.target,
                                  .format = conf->log.format,
                                  .level = conf->log.level};
    log_set_owner(user->set ? user->uid : (uid_t)-1, user->set ? user->gid : (gid_t)-1);
    if (log_open(&options, &why) == 0)
        return 0;
    buf_printf(reason, "log target %s: %s", options.target, why ? why : "cannot be opened");
    return -1;
}

int reload_check_store_user(const struct conf *conf, const struct child_user *user, struct buf *reason)
{
    const char *slash = strrchr(conf->state_db, '/');
    size_t len = slash && slash > conf->state_db ? (size_t)(slash - conf->state_db) : 1;
    char *dir = strndup(slash ? conf->state_db : ".", len);
    int rc = 0;
    /* What else may be wrong with it, store_schema tells. */
    if (dir && user->set && child_user_may_write(user, dir) < 0 && errno == EACCES) {
        conf_put_state_db_place(conf, reason);
        buf_printf(
            reason,
            "state_db: the user %s cannot write to %s, where the database is to be: run chown %s on it, "
            "or set another state_db or user",
            conf->user, dir, conf->user);
        rc = -1;
    }
    free(dir);
    return rc;
}

int reload_prepare_store(const struct generation *g, int busy_ms, struct buf *reason)
{
    struct buf why = {0};
    char *damaged = NULL;
    uid_t owner = g->user.set ? g->user.uid : (uid_t)-1;
    gid_t group = g->user.set ? g->user.gid : (gid_t)-1;
    if (reload_check_store_user(g->conf, &g->user, reason) < 0)
        return -1;
    conf_put_state_db_place(g->conf, &why);
    int rc = store_schema_prepare(g->conf->state_db, owner, group, busy_ms, &damaged, &why);
    if (rc < 0)
        buf_append(reason, why.data, why.len);
    buf_fini(&why);
    if (damaged)
        log_error("the state database %s was damaged; it was moved to %s and is begun anew",
                  g->conf->state_db, damaged);
    free(damaged);
    return rc;
}

/* What cannot change while the master lives. */
static int check_fixed(const struct conf *old, const struct conf *new, struct buf *reason)
{
    if (strcmp(old->pid_file, new->pid_file) != 0) {
        buf_puts(reason, "pid_file cannot change at a reload; restart for it");
        return -1;
    }
    if (strcmp(old->control, new->control) != 0) {
        buf_puts(reason, "control cannot change at a reload; restart for it");
        return -1;
    }
    return 0;
}

static bool store_differs(const struct generation *a, const struct generation *b)
{
    return strcmp(a->conf->state_db, b->conf->state_db) != 0 || a->user.set != b->user.set ||
           a->user.uid != b->user.uid || a->user.gid != b->user.gid;
}

/* Everything up to the fork. NULL and *reason. */
static struct generation *prepare(struct master *m, struct buf *reason)
{
    struct conf *conf = conf_load(m->options->conf_file, reason);
    if (!conf)
        return NULL;
    if (check_fixed(m->serving->conf, conf, reason) < 0) {
        conf_free(&conf);
        return NULL;
    }
    struct generation *g = generation_new(&m->context, ++m->last_number, &conf, m->serving, reason);
    if (!g)
        return NULL;
    if ((store_differs(g, m->serving) && reload_prepare_store(g, RELOAD_BUSY_MS, reason) < 0) ||
        reload_open_log(g->conf, &g->user, m->parent.detached, reason) < 0)
        generation_free(&g, &m->context, m->serving);
    return g;
}

/* Ends a reload: for the record, the log and whoever waits. *reason (NULL = it serves) is made one line. */
static void finish(struct master *m, struct buf *reason, int64_t now_ms)
{
    char *error = NULL;
    if (reason) {
        while (reason->len > 0 && reason->data[reason->len - 1] == '\n')
            reason->data[--reason->len] = '\0';
        for (size_t i = 0; i < reason->len; i++) {
            if (reason->data[i] == '\n')
                reason->data[i] = ';';
        }
        error = buf_take(reason);
        if (!error)
            error = strdup("out of memory");
        log_error("reload refused, generation %u goes on serving: %s", m->serving->number,
                  error ? error : "");
    }
    free(m->reload.error);
    m->reload.error = error;
    m->reload.real_ms = clock_real_ms();
    notify_ready();
    control_reload_done(m->control, reason ? (error ? error : "out of memory") : NULL, now_ms);
}

void reload_begin(struct master *m, int64_t now_ms)
{
    struct buf reason = {0};
    log_info("reloading %s", m->options->conf_file ? m->options->conf_file : "the built-in defaults");
    notify_reloading(clock_mono_us());
    control_reload_begun(m->control);
    m->next = prepare(m, &reason);
    if (m->next)
        generation_start(m->next, &m->context, now_ms);
    else
        finish(m, &reason, now_ms);
    buf_fini(&reason);
}

static void push_draining(struct master *m, struct generation *g)
{
    g->next = m->draining;
    m->draining = g;
}

/* The point of no return: the new configuration serves, the old one drains. */
static void commit(struct master *m, int64_t now_ms)
{
    struct generation *old = m->serving;
    struct generation *new = m->next;
    struct buf reason = {0};
    m->next = NULL;
    m->serving = new;
    generation_serve(new);
    m->context.shared->serving_generation = new->number;
    if (!old)
        return;
    if (store_schema_sync(new->conf->state_db, &new->conf->providers, RELOAD_BUSY_MS, &reason) < 0)
        log_warning("the state database does not list the new keys yet: %s", reason.data ? reason.data : "");
    buf_fini(&reason);
    m->context.shared->key_generation++;
    generation_drain(old, now_ms, old->conf->limits.shutdown_timeout_ms, false);
    generation_close(old, new);
    push_draining(m, old);
    log_info("reloaded: generation %u serves, generation %u drains", new->number, old->number);
    finish(m, NULL, now_ms);
}

static void roll_back(struct master *m, int64_t now_ms)
{
    struct generation *failed = m->next;
    m->next = NULL;
    /* Its workers may serve already; beside another master there is time to let them finish. */
    if (m->owner)
        generation_kill(failed);
    else
        generation_drain(failed, now_ms, failed->conf->limits.shutdown_timeout_ms, false);
    generation_close(failed, m->serving ? m->serving : upgrade_heir_sockets(m));
    push_draining(m, failed);
    if (!m->serving)
        return;
    struct buf reason = {0};
    struct buf ignored = {0};
    buf_append(&reason, failed->failure.data, failed->failure.len);
    if (reload_open_log(m->serving->conf, &m->serving->user, m->parent.detached, &ignored) < 0)
        log_warning("the log stays where the refused configuration put it: %s",
                    ignored.data ? ignored.data : "");
    buf_fini(&ignored);
    finish(m, &reason, now_ms);
    buf_fini(&reason);
}

void reload_watch(struct master *m, int64_t now_ms)
{
    if (!m->next)
        return;
    if (generation_ready(m->next, &m->context, now_ms)) {
        if (upgrade_heir_may_serve(m))
            commit(m, now_ms);
    } else if (m->next->failure.len > 0) {
        roll_back(m, now_ms);
    }
}

void reload_abandon(struct master *m, const char *why, int64_t now_ms)
{
    if (!m->next)
        return;
    if (m->next->failure.len == 0)
        buf_puts(&m->next->failure, why);
    roll_back(m, now_ms);
}
