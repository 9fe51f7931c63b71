/*
 * upstream_link: connections to providers. libcurl makes them (names, TCP, TLS with its checks); what goes
 * over them is the attempts' business. Idle ones are kept for the next request to the same provider.
 */
#include "worker/upstream_internal.h"

#include "base/recycle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define IDLE_MAX_MS (118 * 1000) /* many servers and balancers close after 120 s */

/* ---- lists */

static void push(struct link_list *list, struct link *link)
{
    link->prev = NULL;
    link->next = list->first;
    if (list->first != NULL)
        list->first->prev = link;
    list->first = link;
}

static void unlink_from(struct link_list *list, struct link *link)
{
    if (link->prev != NULL)
        link->prev->next = link->next;
    else
        list->first = link->next;
    if (link->next != NULL)
        link->next->prev = link->prev;
}

/* Closes the connection with it, unless its socket was taken over. */
static void forget_handle(struct link *link)
{
    (void)curl_multi_remove_handle(link->links->multi, link->easy);
    curl_easy_cleanup(link->easy);
    link->easy = NULL;
}

/* The library closes a socket: not the one that was taken over. */
static int on_close(void *arg, curl_socket_t fd)
{
    const struct link *link = arg;
    return !link->tls && link->connected && fd == link->fd ? 0 : close(fd);
}

static void close_link(struct link *link)
{
    struct links *links = link->links;
    unlink_from(link->idle ? &links->idle[link->provider] : &links->busy, link);
    if (link->idle)
        links->idle_count--;
    if (link->watched)
        loop_watch_remove(links->loop, &link->watch);
    if (link->easy != NULL)
        forget_handle(link);
    if (!link->tls && link->fd >= 0)
        (void)close(link->fd);
    free(link);
}

/* ---- bytes */

ssize_t link_broken(struct link *link, const char *why)
{
    (void)snprintf(link->error, sizeof link->error, "%s", why);
    return LINK_BROKEN;
}

ssize_t link_send(struct link *link, const char *data, size_t len, const char *tail, size_t tail_len,
                  bool more)
{
    if (link->tls)
        return link_send_tls(link, data, len);
    struct iovec parts[2] = {{(void *)(uintptr_t)data, len}, {(void *)(uintptr_t)tail, tail_len}};
    const struct msghdr message = {.msg_iov = parts, .msg_iovlen = tail_len > 0 ? 2 : 1};
    const int flags = MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0);
    for (;;) {
        ssize_t sent = sendmsg(link->fd, &message, flags);
        if (sent >= 0)
            return sent;
        if (errno == EAGAIN)
            return LINK_AGAIN;
        if (errno != EINTR)
            return link_broken(link, strerror(errno));
    }
}

ssize_t link_send_file(struct link *link, int fd, int64_t at, size_t len)
{
    for (;;) {
        off_t offset = (off_t)at;
        ssize_t sent = sendfile(link->fd, fd, &offset, len);
        if (sent > 0)
            return sent;
        if (sent < 0 && errno == EAGAIN)
            return LINK_AGAIN;
        /* Of other errors nobody knows whose they are; a read, or the next send, tells. */
        if (sent < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ETIMEDOUT))
            return link_broken(link, strerror(errno));
        if (sent == 0 || errno != EINTR)
            return LINK_NO_FILE;
    }
}

ssize_t link_receive(struct link *link, char *out, size_t max)
{
    if (link->tls)
        return link_receive_tls(link, out, max);
    for (;;) {
        ssize_t got = recv(link->fd, out, max, MSG_DONTWAIT);
        link->drained = got < (ssize_t)max;
        if (got >= 0)
            return got;
        if (errno == EAGAIN)
            return LINK_AGAIN;
        if (errno != EINTR)
            return link_broken(link, strerror(errno));
    }
}

/* Inside TLS nobody can see it: it is read on until there is nothing. */
bool link_is_drained(const struct link *link)
{
    return !link->tls && link->drained && !link->ending;
}

/* On an idle connection there is nothing to come but its end; inside TLS there may be a word between the two
 * TLS layers, though. */
static void on_idle_event(struct link *link)
{
    char byte;
    link->holds = link->tls;
    if (!link->tls || link_receive(link, &byte, 1) != LINK_AGAIN)
        close_link(link);
}

static void on_event(struct loop_watch *watch, uint32_t events)
{
    struct link *link = LOOP_OWNER(watch, struct link, watch);
    struct attempt *attempt = link->attempt;
    link->links->progress = true;
    link->ending |= (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
    if (attempt == NULL) {
        on_idle_event(link);
        return;
    }
    if ((events & EPOLLOUT) && !attempt_pump(attempt))
        return;
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || attempt->more)
        attempt_receive(attempt);
}

void link_watch(struct link *link, uint32_t events)
{
    struct loop *loop = link->links->loop;
    int failed = 0;
    if (events == 0) {
        if (link->watched)
            loop_watch_remove(loop, &link->watch);
        link->watched = false;
        return;
    }
    events |= EPOLLET | (events & EPOLLIN ? (uint32_t)EPOLLRDHUP : 0);
    if (link->watched)
        failed = loop_watch_change(loop, &link->watch, events);
    else
        failed = loop_watch_add(loop, &link->watch, link->fd, events);
    if (failed == 0)
        link->watched = true;
    else if (link->attempt != NULL)
        attempt_lose(link->attempt, errno);
}

/* ---- opening */

static CURL *make_handle(struct link *link)
{
    const struct provider *conf = &link->links->providers->items[link->provider];
    CURL *easy = curl_easy_init();
    if (easy == NULL)
        return NULL;
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad != CURLE_OK ? bad : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_CONNECT_ONLY, 1L);
    SET(CURLOPT_PRIVATE, link);
    SET(CURLOPT_ERRORBUFFER, link->error);
    SET(CURLOPT_URL, conf->base_url.origin);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* or ending an attempt waits for a name server that does not answer */
#endif
    SET(CURLOPT_NOPROGRESS, 1L);
    SET(CURLOPT_BUFFERSIZE,
        32L * 1024); /* what a call reads at most; the buffer itself goes after connecting */
    SET(CURLOPT_MAXAGE_CONN, 365L * 24 * 3600);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)conf->connect_timeout_ms);
    SET(CURLOPT_SHARE, link->links->share);
    SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
    SET(CURLOPT_CLOSESOCKETDATA, link);
    if (conf->ca_file != NULL && conf->ca_file[0] != '\0')
        SET(CURLOPT_CAINFO, conf->ca_file);
#undef SET
    if (bad != CURLE_OK) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    return easy;
}

static struct link *link_open(struct links *links, size_t provider)
{
    struct link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return NULL;
    link->links = links;
    link->provider = provider;
    link->tls = links->providers->items[provider].base_url.https;
    link->fd = -1;
    link->watch.fn = on_event;
    link->easy = make_handle(link);
    if (link->easy == NULL || curl_multi_add_handle(links->multi, link->easy) != CURLM_OK) {
        curl_easy_cleanup(link->easy);
        free(link);
        return NULL;
    }
    push(&links->busy, link);
    return link;
}

/* Binds handle and connection together: from then on the library keeps its hands off it. */
static CURLcode hold_tls(struct link *link)
{
    char byte;
    size_t got;
    CURLcode code = curl_easy_recv(link->easy, &byte, 1, &got);
    if (code == CURLE_AGAIN)
        return CURLE_OK;
    if (code == CURLE_OK) { /* it ended, or said something before it was asked */
        (void)snprintf(link->error, sizeof link->error, "its answer is malformed");
        code = CURLE_WEIRD_SERVER_REPLY;
    }
    return code;
}

/* The library reports that it has connected, or why not. Without TLS it is not needed any more then. */
static void on_done(struct link *link, CURLcode code)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (code == CURLE_OK)
        (void)curl_easy_getinfo(link->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (code == CURLE_OK && fd == CURL_SOCKET_BAD)
        code = CURLE_COULDNT_CONNECT;
    if (code == CURLE_OK && link->tls)
        code = hold_tls(link);
    if (code != CURLE_OK) {
        attempt_not_connected(link->attempt, code);
        return;
    }
    link->fd = fd;
    link->connected = true;
    if (!link->tls)
        forget_handle(link);
    attempt_connected(link->attempt);
}

/* ---- taking and giving back */

/* Whether nothing has come behind the last answer. What did would be taken for the answer to the next
 * request. */
static bool is_silent(struct link *link)
{
    char byte;
    if (!link->holds && recv(link->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN)
        return true;
    return link->tls && link_receive(link, &byte, 1) == LINK_AGAIN;
}

struct link *link_take(struct links *links, struct attempt *attempt)
{
    struct link_list *idle = &links->idle[attempt->provider];
    int64_t now_ms = loop_now(links->loop);
    while (idle->first != NULL &&
           (now_ms - idle->first->idle_since_ms > IDLE_MAX_MS || !is_silent(idle->first)))
        close_link(idle->first);
    struct link *link = idle->first;
    if (link != NULL) {
        unlink_from(idle, link);
        links->idle_count--;
        link->idle = false;
        link->used = true;
        push(&links->busy, link);
    } else {
        link = link_open(links, attempt->provider);
        if (link == NULL)
            return NULL;
    }
    link->attempt = attempt;
    return link;
}

/* Of all idle connections; each provider's list ends with its oldest. */
static void close_oldest(struct links *links)
{
    struct link *oldest = NULL;
    for (size_t i = 0; i < links->providers->count; i++) {
        struct link *last = links->idle[i].first;
        while (last != NULL && last->next != NULL)
            last = last->next;
        if (last != NULL && (oldest == NULL || last->idle_since_ms < oldest->idle_since_ms))
            oldest = last;
    }
    if (oldest != NULL)
        close_link(oldest);
}

void link_release(struct link *link, bool reusable)
{
    struct links *links = link->links;
    link->attempt = NULL;
    if (!reusable || !link->connected || link->ending || (link->tls && !link_rest_tls(link))) {
        close_link(link);
        return;
    }
    if (links->idle_count >= links->idle_max)
        close_oldest(links);
    link_watch(link, EPOLLIN);
    unlink_from(&links->busy, link);
    link->idle = true;
    link->idle_since_ms = loop_now(links->loop);
    push(&links->idle[link->provider], link);
    links->idle_count++;
}

/* ---- the library's sockets and timer, while it connects */

struct socket_watch {
    struct loop_watch watch;
    struct links *links;
};

static void on_socket_event(struct loop_watch *watch, uint32_t events)
{
    struct links *links = LOOP_OWNER(watch, struct socket_watch, watch)->links;
    int mask = 0;
    int running;
    if (events & (EPOLLIN | EPOLLHUP))
        mask |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        mask |= CURL_CSELECT_OUT;
    if (events & EPOLLERR)
        mask |= CURL_CSELECT_ERR;
    links->progress = true;
    (void)curl_multi_socket_action(links->multi, watch->fd, mask, &running);
}

/* It would wait for ever. */
static void lose(CURL *easy, int error)
{
    struct link *link = NULL;
    (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, &link);
    if (link != NULL && link->attempt != NULL)
        attempt_lose(link->attempt, error);
}

/* It always says 0: anything else ends all that the library does for this worker. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct links *links = arg;
    struct socket_watch *socket = socket_arg;
    if (what == CURL_POLL_REMOVE) {
        if (socket != NULL) {
            loop_watch_remove(links->loop, &socket->watch);
            free(socket);
            (void)curl_multi_assign(links->multi, fd, NULL);
        }
        return 0;
    }
    uint32_t events = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        events |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        events |= EPOLLOUT;
    if (socket != NULL) {
        if (loop_watch_change(links->loop, &socket->watch, events) != 0)
            lose(easy, errno);
        return 0;
    }
    socket = calloc(1, sizeof *socket);
    if (socket == NULL) {
        lose(easy, ENOMEM);
        return 0;
    }
    socket->links = links;
    socket->watch.fn = on_socket_event;
    if (loop_watch_add(links->loop, &socket->watch, fd, events) != 0) {
        lose(easy, errno);
        free(socket);
        return 0;
    }
    (void)curl_multi_assign(links->multi, fd, socket);
    return 0;
}

static void on_library_timer_due(struct loop_timer *timer)
{
    LOOP_OWNER(timer, struct links, timer)->kick = true;
}

static int on_library_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct links *links = arg;
    (void)multi;
    if (timeout_ms < 0) {
        loop_timer_cancel(links->loop, &links->timer);
        return 0;
    }
    if (timeout_ms == 0) {
        links->kick = true;
        return 0;
    }
    if (loop_timer_set(links->loop, &links->timer, loop_now(links->loop) + timeout_ms) != 0)
        links->kick = true;
    return 0;
}

void links_turn(struct links *links)
{
    int running;
    int left;
    if (links->kick) {
        links->kick = false;
        links->progress = true;
        (void)curl_multi_socket_action(links->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    if (!links->progress)
        return;
    for (CURLMsg *msg; (msg = curl_multi_info_read(links->multi, &left)) != NULL;) {
        struct link *link = NULL;
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode code = msg->data.result;
        (void)curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &link);
        on_done(link, code);
    }
}

int links_init(struct links *links, struct loop *loop, const struct provider_list *providers, long max)
{
    *links = (struct links){.loop = loop, .providers = providers, .idle_max = (size_t)max};
    links->timer.fn = on_library_timer_due;
    links->idle = calloc(providers->count + 1, sizeof *links->idle);
    if (links->idle == NULL ||
        curl_global_init_mem(CURL_GLOBAL_DEFAULT, recycle_malloc, recycle_free, recycle_realloc,
                             recycle_strdup, recycle_calloc) != CURLE_OK)
        return -1;
    links->multi = curl_multi_init();
    links->share = curl_share_init();
    if (links->multi == NULL || links->share == NULL)
        return -1;
    (void)curl_share_setopt(links->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    (void)curl_multi_setopt(links->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    (void)curl_multi_setopt(links->multi, CURLMOPT_SOCKETDATA, links);
    (void)curl_multi_setopt(links->multi, CURLMOPT_TIMERFUNCTION, on_library_timer);
    (void)curl_multi_setopt(links->multi, CURLMOPT_TIMERDATA, links);
    (void)curl_multi_setopt(links->multi, CURLMOPT_MAXCONNECTS, max);
    (void)curl_multi_setopt(links->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    return 0;
}

void links_fini(struct links *links)
{
    while (links->busy.first != NULL)
        close_link(links->busy.first);
    for (size_t i = 0; links->idle != NULL && i < links->providers->count; i++)
        while (links->idle[i].first != NULL)
            close_link(links->idle[i].first);
    if (links->multi != NULL)
        (void)curl_multi_cleanup(links->multi);
    if (links->share != NULL)
        (void)curl_share_cleanup(links->share);
    loop_timer_cancel(links->loop, &links->timer);
    curl_global_cleanup();
    free(links->idle);
}
