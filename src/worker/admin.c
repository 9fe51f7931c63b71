/*
 * admin: the admin listener's answers (health, readiness, key states) and the housekeeper's clock. It serves
 * no client of a provider and reads nothing but the shared memory and the database.
 */
#include "worker/admin.h"

#include "base/clock.h"
#include "base/log.h"
#include "io/housekeeper.h"
#include "io/store.h"
#include "io/store_edit.h"
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
#define CONNECTIONS_MAX   512
#define CLIENT_TIMEOUT_S  10
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
    struct pool *pools;
    struct store *store;
    struct housekeeper *housekeeper;
    struct loop_timer tick;
    struct loop_timer drain_timer;
    struct admin_listen *listens;
    size_t listen_count;
    bool draining;
};

/* ---- answers */

struct page {
    unsigned status;
    const char *content_type;
    struct buf body;
};

static void page_health(struct admin *admin, struct page *page)
{
    (void)admin;
    buf_puts(&page->body, "ok\n"); /* without a master this process would be gone */
}

static const char *database_word(const struct shared *shared)
{
    switch (atomic_load(&shared->database_condition)) {
    case DATABASE_OK:
        return "ok";
    case DATABASE_BUSY:
        return "busy";
    default:
        return "failing";
    }
}

static void page_ready(struct admin *admin, struct page *page)
{
    const struct shared *shared = admin->heritage->shared;
    unsigned wanted = conf_worker_count(admin->heritage->conf);
    unsigned ready = 0;
    for (size_t i = 0; i < SHARED_WORKERS_MAX; i++)
        if (atomic_load_explicit(&shared->workers[i].phase, memory_order_relaxed) == WORKER_READY)
            ready++;
    if (ready > wanted) /* in the middle of a reload both generations are ready */
        ready = wanted;
    bool stopping = atomic_load(&shared->stopping) != 0;
    if (atomic_load(&shared->serving_generation) == 0) /* the master has not seen them all ready yet */
        ready = 0;
    if (ready == 0 || stopping)
        page->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    buf_printf(&page->body, "%u of %u workers serve%s\ndatabase %s\n", ready, wanted,
               stopping ? ", stopping" : "", database_word(shared));
}

static void page_keys(struct admin *admin, struct page *page)
{
    struct store_rows rows = {0};
    struct buf reason = {0};
    page->content_type = "application/json";
    if (store_edit_list(admin->heritage->conf->state_db, NULL, &rows, &reason) == 0) {
        store_rows_json(&rows, &page->body);
        buf_putc(&page->body, '\n');
    } else {
        page->status = MHD_HTTP_SERVICE_UNAVAILABLE;
        buf_puts(&page->body, "{\"error\":");
        buf_json(&page->body, reason.data != NULL ? reason.data : "", reason.len);
        buf_puts(&page->body, "}\n");
    }
    store_rows_fini(&rows);
    buf_fini(&reason);
}

static const struct {
    const char *path;
    void (*write)(struct admin *admin, struct page *page);
} pages[] = {
    {"/healthz", page_health},
    {"/readyz", page_ready},
    {"/keys", page_keys},
};

static void write_page(struct admin *admin, const char *path, const char *method, struct page *page)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(path, pages[i].path) != 0)
            continue;
        if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0) {
            pages[i].write(admin, page);
        } else {
            page->status = MHD_HTTP_METHOD_NOT_ALLOWED;
            buf_puts(&page->body, "only GET and HEAD\n");
        }
        return;
    }
    page->status = MHD_HTTP_NOT_FOUND;
    buf_puts(&page->body, "there are /healthz, /readyz and /keys\n");
}

static enum MHD_Result queue_page(struct MHD_Connection *mhd, const struct page *page)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(page->body.len,
                                        page->body.data != NULL ? page->body.data : (void *)(uintptr_t) "",
                                        MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page->content_type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (page->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    enum MHD_Result result = MHD_queue_response(mhd, page->status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                                  const char *version, const char *data, size_t *data_len, void **con_cls)
{
    static char seen;
    struct page page = {.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
    (void)version, (void)data;
    if (*con_cls == NULL) { /* answering the first call would cost the keep-alive */
        *con_cls = &seen;
        return MHD_YES;
    }
    if (*data_len > 0) { /* nothing here takes a body */
        *data_len = 0;
        return MHD_YES;
    }
    write_page(cls, url, method, &page);
    enum MHD_Result result = page.body.failed ? MHD_NO : queue_page(mhd, &page);
    buf_fini(&page.body);
    return result;
}

/* ---- the turn */

static void clock_now(struct store_clock *now)
{
    now->mono_ms = clock_mono_ms();
    now->real_ms = clock_real_ms();
}

static void on_tick(struct loop_timer *timer)
{
    struct admin *admin = LOOP_OWNER(timer, struct admin, tick);
    struct store_clock now;
    clock_now(&now);
    housekeeper_tick(admin->housekeeper, &now);
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
    if (admin->draining && !has_connections(admin))
        loop_stop(admin->loop);
    return again;
}

static void on_drained(struct loop_timer *timer)
{
    loop_stop(LOOP_OWNER(timer, struct admin, drain_timer)->loop);
}

static void drain(void *arg)
{
    struct admin *admin = arg;
    admin->draining = true;
    for (size_t i = 0; i < admin->listen_count; i++) {
        (void)MHD_quiesce_daemon(admin->listens[i].daemon);
        admin->listens[i].pending = true;
    }
    (void)loop_timer_set(admin->loop, &admin->drain_timer, loop_now(admin->loop) + DRAIN_MS);
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
        listen->daemon =
            MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, admin, MHD_OPTION_LISTEN_SOCKET,
                             admin->heritage->admin_fds[i], MHD_OPTION_CONNECTION_LIMIT,
                             (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
                             (unsigned)CLIENT_TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                             (size_t)HEAD_MEMORY_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
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
    const struct housekeeper_options options = {
        .path = conf->state_db,
        .providers = providers,
        .pools = admin->pools,
        .store = admin->store,
        .shared = admin->heritage->shared,
    };
    admin->housekeeper = housekeeper_new(&options);
    admin->tick.fn = on_tick;
    admin->drain_timer.fn = on_drained;
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
    loop_run(admin.loop);
    free_parts(&admin);
    return 0;
}
