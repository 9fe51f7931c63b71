/*
 * upstream_world: where the attempts of test_upstream_faults live: the real HTTP client library in a loop,
 * with a provider inside the same loop. The time, a name server and the kernel's willingness to watch a
 * descriptor are the test's: it replaces the C library's functions for everybody in its process.
 */
#ifndef CLAVIGER_TESTS_UPSTREAM_WORLD_H
#define CLAVIGER_TESTS_UPSTREAM_WORLD_H

#include "worker/upstream.h"

#include "base/buf.h"
#include "unit/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define HELD_S     10   /* how long a name server that does not answer is waited for at most */
#define PROMPT_MS  5000 /* what is at once, on a busy machine */
#define CLIENTS    4
#define BODY       "{\"a\":\"request body\"}"
#define ANSWER     "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define TIMEOUT_MS 60000

/* ---- the system, as the test plays it */

static int64_t skipped_ms; /* the clock is that much further */
static bool refuse_watch;  /* the next descriptor is not watched */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool answers;
    unsigned asked;
    unsigned waiting;
} names = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

int clock_gettime(clockid_t id, struct timespec *now)
{
    int rc = (int)syscall(SYS_clock_gettime, id, now);
    if (rc == 0 && id == CLOCK_MONOTONIC) {
        now->tv_sec += skipped_ms / 1000;
        now->tv_nsec += skipped_ms % 1000 * 1000000;
        if (now->tv_nsec >= 1000000000) {
            now->tv_nsec -= 1000000000;
            now->tv_sec++;
        }
    }
    return rc;
}

int epoll_ctl(int epoll_fd, int op, int fd, struct epoll_event *event)
{
    if (refuse_watch && op == EPOLL_CTL_ADD) {
        refuse_watch = false;
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll_fd, op, fd, event);
}

int getaddrinfo(const char *restrict node, const char *restrict service,
                const struct addrinfo *restrict hints, struct addrinfo **restrict result)
{
    struct timespec until;
    (void)node, (void)service, (void)hints, (void)result;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += HELD_S;
    (void)pthread_mutex_lock(&names.lock);
    names.asked++;
    names.waiting++;
    while (!names.answers && pthread_cond_timedwait(&names.changed, &names.lock, &until) == 0)
        continue;
    names.waiting--;
    (void)pthread_cond_broadcast(&names.changed);
    (void)pthread_mutex_unlock(&names.lock);
    return EAI_AGAIN;
}

static bool a_name_is_asked_for(void)
{
    (void)pthread_mutex_lock(&names.lock);
    bool asked = names.waiting > 0;
    (void)pthread_mutex_unlock(&names.lock);
    return asked;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- the provider: reads what comes, says what it is told */

struct visitor {
    struct loop_watch watch;
    struct buf got;
    bool gone;
};

/* A request that the test makes. */
struct call {
    struct attempt *attempt;
    struct arena arena;
    struct buf body;
    const char *upload; /* of a streamed body: what the client has sent so far */
    bool upload_ended;
    bool done;
    enum upstream_result result;
    int status;
};

struct step {
    bool (*when)(void); /* waits for that; NULL ends the test */
    void (*then)(void);
};

static struct {
    struct loop *loop;
    struct upstream *upstream;
    struct provider providers[2]; /* one at the server, one whose name nobody knows */
    struct provider_list list;
    struct header_list headers;
    struct spool spool;
    int listen_fd;
    struct loop_watch listen;
    struct visitor visitors[CLIENTS];
    size_t visitor_count;
    struct call calls[2];
    const struct step *step;
    bool again; /* another turn at once */
    int64_t begin_ms;
} world;

static void on_visitor(struct loop_watch *watch, uint32_t events)
{
    struct visitor *visitor = LOOP_OWNER(watch, struct visitor, watch);
    char piece[4096];
    ssize_t n;
    (void)events;
    while ((n = recv(watch->fd, piece, sizeof piece, MSG_DONTWAIT)) > 0)
        buf_append(&visitor->got, piece, (size_t)n);
    if (n == 0 || errno != EAGAIN) {
        int fd = watch->fd;
        visitor->gone = true;
        loop_watch_remove(world.loop, watch);
        (void)close(fd);
    }
}

static void on_listen(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    int fd = accept4(watch->fd, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_uint_lt(world.visitor_count, CLIENTS);
    struct visitor *visitor = &world.visitors[world.visitor_count++];
    visitor->watch.fn = on_visitor;
    ck_assert_int_eq(loop_watch_add(world.loop, &visitor->watch, fd, EPOLLIN), 0);
}

static void say(size_t visitor, const char *text)
{
    ck_assert_int_eq(send(world.visitors[visitor].watch.fd, text, strlen(text), MSG_NOSIGNAL),
                     (ssize_t)strlen(text));
}

/* Nothing more comes from it. */
static void hang_up(size_t visitor)
{
    ck_assert_int_eq(shutdown(world.visitors[visitor].watch.fd, SHUT_WR), 0);
}

/* ---- requests */

static bool on_head(void *arg, const struct response_head *head)
{
    struct call *call = arg;
    call->status = head->status;
    return true;
}

static bool on_body(void *arg, const char *data, size_t len)
{
    struct call *call = arg;
    buf_append(&call->body, data, len);
    return true;
}

static ssize_t on_upload(void *arg, char *out, size_t max)
{
    struct call *call = arg;
    if (call->upload == NULL)
        return call->upload_ended ? 0 : UPSTREAM_UPLOAD_WAIT;
    size_t len = strlen(call->upload);
    ck_assert_uint_le(len, max);
    memcpy(out, call->upload, len);
    call->upload = NULL;
    return (ssize_t)len;
}

static void on_done(void *arg, enum upstream_result result, const char *reason)
{
    struct call *call = arg;
    ck_assert((reason == NULL) == (result == UPSTREAM_COMPLETE));
    call->done = true;
    call->result = result;
    call->attempt = NULL;
}

static const struct upstream_events events = {on_head, on_body, on_upload, on_done};

static void start(size_t call, size_t provider, const char *method, enum upstream_body body,
                  int64_t stream_length)
{
    const struct upstream_request request = {.provider = &world.providers[provider],
                                             .method = method,
                                             .target = "/x",
                                             .headers = &world.headers,
                                             .body = body,
                                             .spool = &world.spool,
                                             .stream_length = stream_length,
                                             .arena = &world.calls[call].arena};
    struct attempt *attempt = upstream_start(world.upstream, &request, &events, &world.calls[call]);
    ck_assert_ptr_nonnull(attempt);
    world.calls[call].attempt = attempt;
}

static bool turn(void *arg)
{
    bool any = upstream_turn(world.upstream);
    (void)arg;
    world.again = false;
    for (; world.step->when != NULL && world.step->when(); world.step++, any = true)
        if (world.step->then != NULL)
            world.step->then();
    if (world.step->when == NULL)
        loop_stop(world.loop);
    return any || world.again;
}

static void play(const struct step *steps)
{
    world.step = steps;
    loop_run(world.loop);
}

static void make_provider(struct provider *provider, const char *url)
{
    *provider = (struct provider){.name = (char *)(uintptr_t) "p",
                                  .auth_header = (char *)(uintptr_t) "Authorization",
                                  .auth_prefix = (char *)(uintptr_t) "",
                                  .connect_timeout_ms = TIMEOUT_MS,
                                  .header_timeout_ms = TIMEOUT_MS,
                                  .idle_timeout_ms = TIMEOUT_MS};
    ck_assert_int_eq(base_url_parse(url, &provider->base_url), 0);
}

static void setup(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    char url[64];
    world.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(world.listen_fd, (struct sockaddr *)(void *)&addr, len), 0);
    ck_assert_int_eq(listen(world.listen_fd, 16), 0);
    ck_assert_int_eq(getsockname(world.listen_fd, (struct sockaddr *)(void *)&addr, &len), 0);
    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u", (unsigned)ntohs(addr.sin_port));
    make_provider(&world.providers[0], url);
    make_provider(&world.providers[1], "http://nobody.invalid");
    world.list = (struct provider_list){world.providers, 2};
    spool_init(&world.spool, 1 << 20);
    ck_assert_int_eq(spool_append(&world.spool, BODY, strlen(BODY)), 0);
    world.loop = loop_new(turn, NULL);
    ck_assert_ptr_nonnull(world.loop);
    world.listen.fn = on_listen;
    ck_assert_int_eq(loop_watch_add(world.loop, &world.listen, world.listen_fd, EPOLLIN), 0);
    world.upstream = upstream_new(world.loop, &world.list, 16, NULL);
    ck_assert_ptr_nonnull(world.upstream);
    world.begin_ms = now_ms();
}

static void teardown(void)
{
    upstream_free(&world.upstream);
    for (size_t i = 0; i < world.visitor_count; i++) {
        if (!world.visitors[i].gone)
            (void)close(world.visitors[i].watch.fd);
        buf_fini(&world.visitors[i].got);
    }
    (void)close(world.listen_fd);
    loop_free(&world.loop);
    spool_fini(&world.spool);
    header_list_fini(&world.headers);
    for (size_t i = 0; i < 2; i++) {
        base_url_fini(&world.providers[i].base_url);
        arena_fini(&world.calls[i].arena);
        buf_fini(&world.calls[i].body);
    }
}

#endif
