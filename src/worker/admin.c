/*
 * admin: the admin process: its listeners, whose answers are admin_pages', and the clock of housekeeper,
 * history and dumps. It serves no client of a provider.
 */
#include "worker/admin.h"

#include "base/clock.h"
#include "base/log.h"
#include "io/dump.h"
#include "io/housekeeper.h"
#include "io/store.h"
#include "worker/admin_clients.h"
#include "worker/admin_pages.h"
#include "worker/child_signals.h"
#include "worker/confine.h"
#include "worker/loop.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define DRAIN_MS          2000 /* how long a stopping admin process waits for its clients */
#define FRESH_MS          100  /* and for one that has not asked for anything yet */
#define RECORD_MS         1000
#define CONNECTIONS_MAX   512
#define CLIENT_TIMEOUT_S  10
#define LAST_WAIT_MS      2000 /* for a lock of the database */
#define HEAD_MEMORY_BYTES (16 * 1024)

struct admin;

/* The HTTP library takes one listening socket for each of its daemons. */
struct admin_listen {
    struct admin *admin;
    struct MHD_Daemon *daemon;
    struct loop_watch watch;
    bool pending;
};

struct admin {
    const struct heritage *heritage;
    struct loop *loop;
    struct child_signals signals;
    struct admin_pages pages;
    struct pool *pools;
    struct store *store;
    struct housekeeper *housekeeper;
    struct dump_trimmer *trimmer; /* NULL = nothing is dumped */
    struct loop_timer tick;
    int64_t record_ms; /* when the history is written next */
    struct loop_timer drain_timer;
    struct loop_timer fresh_timer;
    struct admin_clients clients;
    struct admin_listen *listens;
    size_t listen_count;
    bool draining;
    bool fresh_late; /* draining for FRESH_MS */
};

/* ---- the turn */

static void clock_now(struct store_clock *now)
{
    now->mono_ms = clock_mono_ms();
    now->real_ms = clock_real_ms();
    now->slept_ms = clock_slept_ms();
}

static void report_trimmer(struct admin *admin)
{
    size_t removed = admin->trimmer != NULL ? dump_trimmer_removed(admin->trimmer) : 0;
    if (removed > 0)
        log_debug("dump: the oldest %zu files were removed, over dump.dir_size", removed);
}

static void on_tick(struct loop_timer *timer)
{
    struct admin *admin = LOOP_OWNER(timer, struct admin, tick);
    struct store_clock now;
    clock_now(&now);
    housekeeper_tick(admin->housekeeper, &now);
    report_trimmer(admin);
    if (now.mono_ms >= admin->record_ms) {
        admin->record_ms = now.mono_ms + RECORD_MS;
        history_record(&admin->heritage->shared->history, &admin->heritage->shared->metrics, now.real_ms);
    }
    log_report();
    for (size_t i = 0; i < admin->listen_count; i++)
        admin->listens[i].pending = true; /* the library's own timeouts */
    (void)loop_timer_set(admin->loop, timer, loop_now(admin->loop) + HOUSEKEEPER_TICK_MS);
}

static void on_listen_event(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    LOOP_OWNER(watch, struct admin_listen, watch)->pending = true;
}

static bool has_connections(const struct admin *admin)
{
    for (size_t i = 0; i < admin->listen_count; i++) {
        const union MHD_DaemonInfo *info =
            MHD_get_daemon_info(admin->listens[i].daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        if (info != NULL && info->num_connections > 0)
            return true;
    }
    return false;
}

static bool turn(void *arg)
{
    struct admin *admin = arg;
    bool again = false;
    for (size_t i = 0; i < admin->listen_count; i++) {
        struct admin_listen *listen = &admin->listens[i];
        MHD_UNSIGNED_LONG_LONG timeout_ms;
        if (!listen->pending)
            continue;
        listen->pending = false;
        (void)MHD_run(listen->daemon);
        if (MHD_get_timeout(listen->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0)
            listen->pending = again = true;
    }
    if (admin->draining)
        admin_clients_end_idle(&admin->clients, admin->fresh_late);
    if (admin->draining && !has_connections(admin))
        loop_stop(admin->loop);
    return again;
}

static void on_drained(struct loop_timer *timer)
{
    loop_stop(LOOP_OWNER(timer, struct admin, drain_timer)->loop);
}

static void on_fresh_late(struct loop_timer *timer)
{
    LOOP_OWNER(timer, struct admin, fresh_timer)->fresh_late = true; /* the turn that follows ends them */
}

static void drain(void *arg)
{
    struct admin *admin = arg;
    admin->draining = true;
    admin->pages.draining = true;
    for (size_t i = 0; i < admin->listen_count; i++) {
        (void)MHD_quiesce_daemon(admin->listens[i].daemon);
        admin->listens[i].pending = true;
    }
    (void)loop_timer_set(admin->loop, &admin->drain_timer, loop_now(admin->loop) + DRAIN_MS);
    (void)loop_timer_set(admin->loop, &admin->fresh_timer, loop_now(admin->loop) + FRESH_MS);
}

/* ---- begin and end */

static int start_listens(struct admin *admin)
{
    const struct conf_listens *conf = &admin->heritage->conf->admin_listens;
    admin->listens = calloc(conf->count + 1, sizeof *admin->listens);
    if (admin->listens == NULL)
        return -1;
    for (size_t i = 0; i < conf->count; i++) {
        struct admin_listen *listen = &admin->listens[i];
        listen->admin = admin;
        listen->watch.fn = on_listen_event;
        listen->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, admin_pages_request, &admin->pages,
                                          MHD_OPTION_LISTEN_SOCKET, admin->heritage->admin_fds[i],
                                          MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                          MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)CLIENT_TIMEOUT_S,
                                          MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_MEMORY_BYTES,
                                          MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_NOTIFY_COMPLETED,
                                          admin_pages_completed, NULL, MHD_OPTION_NOTIFY_CONNECTION,
                                          admin_clients_notify, &admin->clients, MHD_OPTION_END);
        if (listen->daemon == NULL)
            return -1;
        admin->listen_count++;
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(listen->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (info == NULL || loop_watch_add(admin->loop, &listen->watch, info->epoll_fd, EPOLLIN) != 0)
            return -1;
        listen->pending = true;
    }
    return 0;
}

static int make_parts(struct admin *admin)
{
    const struct conf *conf = admin->heritage->conf;
    const struct provider_list *providers = &conf->providers;
    admin->loop = loop_new(turn, admin);
    admin->pools = calloc(providers->count + 1, sizeof *admin->pools);
    if (admin->loop == NULL || admin->pools == NULL ||
        child_signals_init(&admin->signals, admin->loop, admin->heritage->lifeline_fd, drain, admin) != 0)
        return -1;
    for (size_t i = 0; i < providers->count; i++)
        if (pool_init(&admin->pools[i], providers->items[i].name, providers->items[i].keys,
                      providers->items[i].key_count) != 0)
            return -1;
    admin->store = store_new(conf->state_db, providers, admin->pools, admin->heritage->shared);
    if (admin->store == NULL)
        return -1;
    admin->pages =
        (struct admin_pages){.heritage = admin->heritage, .store = admin->store, .pools = admin->pools};
    const struct housekeeper_options options = {
        .path = conf->state_db,
        .providers = providers,
        .pools = admin->pools,
        .store = admin->store,
        .shared = admin->heritage->shared,
        .usage_days = conf->usage_days,
    };
    admin->housekeeper = housekeeper_new(&options);
    if (conf->dump.dir[0] != '\0' &&
        (admin->trimmer = dump_trimmer_start(conf->dump.dir, conf->dump.dir_size,
                                             &admin->heritage->shared->dump_written)) == NULL)
        return -1;
    admin->tick.fn = on_tick;
    admin->drain_timer.fn = on_drained;
    admin->fresh_timer.fn = on_fresh_late;
    return admin->housekeeper != NULL && start_listens(admin) == 0 &&
                   loop_timer_set(admin->loop, &admin->tick, loop_now(admin->loop)) == 0
               ? 0
               : -1;
}

static void free_parts(struct admin *admin)
{
    for (size_t i = 0; i < admin->listen_count; i++) {
        loop_watch_forget(admin->loop, &admin->listens[i].watch);
        MHD_stop_daemon(admin->listens[i].daemon);
    }
    free(admin->listens);
    /* At a stop all workers have ended. */
    if (admin->store != NULL) {
        struct store_clock now;
        clock_now(&now);
        if (!store_finish(admin->store, LAST_WAIT_MS, &now) &&
            atomic_load(&admin->heritage->shared->stopping) != 0)
            log_error("the newest key marks could not be written to %s and are forgotten",
                      admin->heritage->conf->state_db);
    }
    dump_trimmer_stop(&admin->trimmer);
    housekeeper_free(&admin->housekeeper);
    store_free(&admin->store);
    for (size_t i = 0; admin->pools != NULL && i < admin->heritage->conf->providers.count; i++)
        pool_fini(&admin->pools[i]);
    free(admin->pools);
    if (admin->loop != NULL && admin->signals.loop != NULL)
        child_signals_fini(&admin->signals);
    loop_free(&admin->loop);
}

int admin_main(const struct heritage *heritage)
{
    struct admin admin = {.heritage = heritage};
    if (make_parts(&admin) != 0) {
        log_error("the admin process could not be started: %s", strerror(errno));
        free_parts(&admin);
        return 1;
    }
    confine(heritage->conf);
    log_end_echo();
    loop_run(admin.loop);
    free_parts(&admin);
    return 0;
}
