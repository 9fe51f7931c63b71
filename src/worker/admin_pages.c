/*
 * admin_pages: one function a page. Called by the HTTP library for the admin process.
 */
#include "worker/admin_pages.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "io/store_edit.h"
#include "worker/admin_clients.h"
#include "worker/admin_metrics.h"
#include "worker/admin_page.h"
#include "worker/peers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define NONCE_SIZE 33

struct page {
    unsigned status;
    const char *content_type;
    const char *location;   /* NULL = none */
    const char *allow;      /* NULL = none */
    char nonce[NONCE_SIZE]; /* of an HTML page; "" = it is none */
    struct buf body;
};

/* One request on its way in. */
struct visit {
    struct buf body;
    bool too_large;
};

static void clock_now(struct store_clock *now)
{
    now->mono_ms = clock_mono_ms();
    now->real_ms = clock_real_ms();
}

static void page_health(const struct admin_pages *admin, struct page *page)
{
    (void)admin;
    buf_puts(&page->body, "ok\n"); /* without a master this process would be gone */
}

static const char *database_word(const struct shared *shared)
{
    return shared_condition_name(atomic_load(&shared->database_condition));
}

static void page_ready(const struct admin_pages *admin, struct page *page)
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

static void page_keys(const struct admin_pages *admin, struct page *page)
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

static void page_metrics(const struct admin_pages *admin, struct page *page)
{
    struct store_clock now;
    clock_now(&now);
    store_refresh(admin->store, &now);
    page->content_type = "text/plain; version=0.0.4; charset=utf-8";
    admin_metrics_write(admin->heritage, admin->pools, now.mono_ms, &page->body);
}

static bool make_nonce(char nonce[NONCE_SIZE])
{
    unsigned char bytes[(NONCE_SIZE - 1) / 2];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return false;
    for (size_t i = 0; i < sizeof bytes; i++)
        (void)snprintf(nonce + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

static void page_status(const struct admin_pages *admin, struct page *page)
{
    const struct heritage *heritage = admin->heritage;
    struct history_minute minutes[HISTORY_MINUTES];
    struct store_rows rows = {0};
    struct buf reason = {0};
    struct store_clock now;
    clock_now(&now);
    if (!make_nonce(page->nonce)) {
        page->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        return;
    }
    history_record(&heritage->shared->history, &heritage->shared->metrics, now.real_ms);
    history_read(&heritage->shared->history, now.real_ms, minutes);
    bool readable = store_edit_list(heritage->conf->state_db, NULL, &rows, &reason) == 0;
    const struct admin_page input = {
        .version = PACKAGE_VERSION,
        .conf = heritage->conf,
        .shared = heritage->shared,
        .rows = readable ? &rows : NULL,
        .database = database_word(heritage->shared),
        .minutes = minutes,
        .now_mono_ms = now.mono_ms,
        .now_real_ms = now.real_ms,
        .nonce = page->nonce,
        .actions = heritage->conf->admin_token[0] != '\0',
    };
    page->content_type = "text/html; charset=utf-8";
    admin_page_write(&input, &page->body);
    store_rows_fini(&rows);
    buf_fini(&reason);
}

static const char *field(struct MHD_Connection *mhd, const char *name)
{
    return MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, name);
}

static void refuse(struct page *page, unsigned status, const char *why)
{
    page->status = status;
    buf_puts(&page->body, why);
}

static void refuse_method(struct page *page, bool takes_post)
{
    page->allow = takes_post ? "GET, HEAD, POST" : "GET, HEAD";
    refuse(page, MHD_HTTP_METHOD_NOT_ALLOWED,
           takes_post ? "only GET, HEAD and POST\n" : "only GET and HEAD\n");
}

static void say_wrong_token(struct admin_pages *admin, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char peer[PEERS_TEXT_SIZE] = "";
    char more[64] = "";
    struct store_clock now;
    unsigned unsaid;
    clock_now(&now);
    if (!admin_action_say_refusal(&admin->refusals, now.mono_ms, &unsaid))
        return;
    if (info != NULL && info->client_addr != NULL)
        peers_text(info->client_addr, peer);
    if (unsaid > 0)
        (void)snprintf(more, sizeof more, " (and %u more since this was last said)", unsaid);
    log_warning("a wrong admin token came from %s%s: no key was changed",
                peer[0] != '\0' ? peer : "a unix socket", more);
}

/* The status page's form. */
static void change_key(struct admin_pages *admin, struct MHD_Connection *mhd, const struct visit *visit,
                       struct page *page)
{
    const struct conf *conf = admin->heritage->conf;
    struct admin_action action;
    struct buf reason = {0};
    int changed = 0;
    bool parsed = !visit->too_large && admin_action_parse(visit->body.data, visit->body.len, &action);
    if (conf->admin_token[0] == '\0')
        refuse(page, MHD_HTTP_FORBIDDEN, "no admin_token is configured: keys are changed with clavigerctl\n");
    else if (!admin_action_is_same_site(field(mhd, "Sec-Fetch-Site"), field(mhd, "Origin"),
                                        field(mhd, "Host")))
        refuse(page, MHD_HTTP_FORBIDDEN, "the request comes from another site\n");
    else if (!parsed)
        refuse(page, MHD_HTTP_BAD_REQUEST,
               "send token and do (\"reset PROVIDER KEY_ID\", disable, enable) as a form\n");
    else if (!admin_action_is_allowed(&action, conf->admin_token)) {
        say_wrong_token(admin, mhd);
        refuse(page, MHD_HTTP_FORBIDDEN, "the token is wrong\n");
    } else if (store_edit_apply(conf->state_db, action.action, action.provider, action.key_id,
                                clock_real_ms(), &changed, &reason) != 0)
        refuse(page, MHD_HTTP_CONFLICT, reason.data != NULL ? reason.data : "out of memory");
    else
        log_info("a key of provider %s (%s) was changed on the status page", action.provider, action.key_id);
    if (page->status == MHD_HTTP_OK) {
        page->status = MHD_HTTP_SEE_OTHER;
        page->location = "/";
    }
    secret_wipe(&action, sizeof action);
    buf_fini(&reason);
}

static const struct {
    const char *path;
    void (*write)(const struct admin_pages *admin, struct page *page);
    void (*change)(struct admin_pages *admin, struct MHD_Connection *mhd, const struct visit *visit,
                   struct page *page); /* POST; NULL = cannot */
} pages[] = {
    {"/", page_status, NULL},         {"/healthz", page_health, NULL},  {"/readyz", page_ready, NULL},
    {"/keys", page_keys, change_key}, {"/metrics", page_metrics, NULL},
};

static void write_page(struct admin_pages *admin, struct MHD_Connection *mhd, const char *path,
                       const char *method, const struct visit *visit, struct page *page)
{
    for (size_t i = 0; i < sizeof pages / sizeof pages[0]; i++) {
        if (strcmp(path, pages[i].path) != 0)
            continue;
        if (strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0)
            pages[i].write(admin, page);
        else if (strcmp(method, MHD_HTTP_METHOD_POST) == 0 && pages[i].change != NULL)
            pages[i].change(admin, mhd, visit, page);
        else
            refuse_method(page, pages[i].change != NULL);
        return;
    }
    refuse(page, MHD_HTTP_NOT_FOUND, "there are /, /healthz, /readyz, /metrics and /keys\n");
}

/* Nothing but the page's own style and script is run, and nobody puts it into a frame. */
static void add_policy(struct MHD_Response *response, const char *nonce)
{
    char policy[256];
    (void)snprintf(policy, sizeof policy,
                   "default-src 'none'; style-src 'nonce-%s'; script-src 'nonce-%s'; connect-src 'self'; "
                   "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
                   nonce, nonce);
    (void)MHD_add_response_header(response, "Content-Security-Policy", policy);
    /* Not no-referrer: then the page's own form comes with "Origin: null" (Fetch, section 3.2). */
    (void)MHD_add_response_header(response, "Referrer-Policy", "same-origin");
}

static enum MHD_Result queue_page(struct MHD_Connection *mhd, const struct page *page, bool last)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(page->body.len,
                                        page->body.data != NULL ? page->body.data : (void *)(uintptr_t) "",
                                        MHD_RESPMEM_MUST_COPY);
    if (response == NULL)
        return MHD_NO;
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, page->content_type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (page->location != NULL)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_LOCATION, page->location);
    if (page->nonce[0] != '\0')
        add_policy(response, page->nonce);
    if (last)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    if (page->allow != NULL)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, page->allow);
    enum MHD_Result result = MHD_queue_response(mhd, page->status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result admin_pages_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *data_len, void **con_cls)
{
    struct admin_pages *admin = cls;
    struct visit *visit = *con_cls;
    struct page page = {.status = MHD_HTTP_OK, .content_type = "text/plain; charset=utf-8"};
    (void)version;
    if (visit == NULL) { /* answering the first call would cost the keep-alive */
        *con_cls = calloc(1, sizeof *visit);
        admin_clients_set_busy(mhd, true);
        return *con_cls != NULL ? MHD_YES : MHD_NO;
    }
    if (*data_len > 0) { /* what is too large is thrown away */
        visit->too_large = visit->too_large || *data_len > ADMIN_ACTION_BODY_MAX - visit->body.len;
        if (!visit->too_large)
            buf_append(&visit->body, data, *data_len);
        *data_len = 0;
        return MHD_YES;
    }
    write_page(admin, mhd, url, method, visit, &page);
    enum MHD_Result result = page.body.failed ? MHD_NO : queue_page(mhd, &page, admin->draining);
    buf_fini(&page.body);
    return result;
}

void admin_pages_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                           enum MHD_RequestTerminationCode code)
{
    struct visit *visit = *con_cls;
    (void)cls, (void)code;
    if (visit == NULL)
        return;
    admin_clients_set_busy(mhd, false);
    if (visit->body.data != NULL)
        secret_wipe(visit->body.data, visit->body.cap); /* a token may be in it */
    buf_fini(&visit->body);
    free(visit);
    *con_cls = NULL;
}
