/*
 * upstream_provider: requests over real sockets to a provider inside the test's program that does one thing a
 * turn. For the tests of upstream that play with neither time nor the system (those have upstream_world).
 */
#ifndef CLAVIGER_TESTS_UPSTREAM_PROVIDER_H
#define CLAVIGER_TESTS_UPSTREAM_PROVIDER_H

#include "worker/upstream.h"

#include "base/buf.h"
#include "base/clock.h"
#include "unit/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define LARGE       (300 * 1024)
#define OK          "HTTP/1.1 200 OK\r\n"

/* What the provider does with a connection, and what the test saw. */
static struct {
    struct loop *loop;
    struct upstream *upstream;
    struct provider provider;
    struct provider_list providers;
    struct arena arena;
    struct header_list headers;
    struct spool spool;
    int listen_fd;
    int64_t give_up_ms;

    /* the provider */
    int fd; /* the connection it serves, -1 = none yet */
    unsigned connections;
    struct buf request; /* what came */
    const char *expect; /* it answers when this has come */
    const char *answer;
    size_t answer_len;
    size_t sent;
    size_t piece; /* bytes sent in one turn */
    bool close;   /* behind the answer */
    bool closed;  /* by it */
    bool peer_closed;

    /* the attempt */
    struct attempt *attempt;
    int status;
    bool refuse_head;
    struct buf body;
    int refusals; /* so often body() says no */
    int refused;
    const char *upload;
    size_t upload_at;
    int upload_waits; /* so often upload() has nothing */
    bool done;
    enum upstream_result result;
    char reason[256];
    bool (*over)(void); /* ends the run */
} world;

static inline bool on_head(void *arg, const struct response_head *head)
{
    (void)arg;
    world.status = head->status;
    return !world.refuse_head;
}

static inline bool on_body(void *arg, const char *data, size_t len)
{
    (void)arg;
    if (world.refusals > 0) {
        world.refusals--;
        world.refused++;
        return false;
    }
    buf_append(&world.body, data, len);
    return true;
}

static inline ssize_t on_upload(void *arg, char *out, size_t max)
{
    (void)arg;
    size_t left = strlen(world.upload) - world.upload_at;
    if (world.upload_waits > 0) {
        world.upload_waits--;
        return UPSTREAM_UPLOAD_WAIT;
    }
    if (left > 5)
        left = 5;
    if (left > max)
        left = max;
    memcpy(out, world.upload + world.upload_at, left);
    world.upload_at += left;
    return (ssize_t)left;
}

static inline void on_done(void *arg, enum upstream_result result, const char *reason)
{
    (void)arg;
    world.done = true;
    world.attempt = NULL;
    world.result = result;
    snprintf(world.reason, sizeof world.reason, "%s", reason != NULL ? reason : "");
}

static const struct upstream_events events = {.head = on_head,
                                              .body = on_body,
                                              .upload = on_upload,
                                              .done = on_done};

/* ---- the provider, one step a turn */

static inline void provider_step(void)
{
    char scratch[65536];
    int fd = accept4(world.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (world.fd >= 0)
            close(world.fd);
        world.fd = fd;
        world.connections++;
        world.closed = world.peer_closed = false;
    }
    if (world.fd < 0)
        return;
    ssize_t got = recv(world.fd, scratch, sizeof scratch, 0);
    if (got > 0)
        buf_append(&world.request, scratch, (size_t)got);
    else if (got == 0 || errno != EAGAIN)
        world.peer_closed = true;
    if (world.request.len == 0 || strstr(world.request.data, world.expect) == NULL)
        return;
    if (world.sent < world.answer_len) {
        size_t left = world.answer_len - world.sent;
        ssize_t sent =
            send(world.fd, world.answer + world.sent, left < world.piece ? left : world.piece, MSG_NOSIGNAL);
        if (sent > 0)
            world.sent += (size_t)sent;
    } else if (world.close && !world.closed) {
        world.closed = true;
        shutdown(world.fd, SHUT_RDWR);
    }
}

static inline bool turn(void *arg)
{
    (void)arg;
    (void)upstream_turn(world.upstream);
    /* Who could not take it, or had nothing, can now. */
    if (world.attempt != NULL && !world.done)
        upstream_resume(world.attempt);
    provider_step();
    ck_assert_msg(clock_mono_ms() < world.give_up_ms, "not over within %d ms", PATIENCE_MS);
    if (world.over())
        loop_stop(world.loop);
    return true;
}

static inline bool is_done(void)
{
    return world.done;
}

static inline bool is_done_and_closed(void)
{
    return world.done && world.peer_closed;
}

/* ---- setup */

static inline void setup(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t addr_len = sizeof addr;
    char url[64];
    memset(&world, 0, sizeof world);
    world.fd = -1;
    world.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(world.listen_fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    ck_assert_int_eq(listen(world.listen_fd, 16), 0);
    ck_assert_int_eq(getsockname(world.listen_fd, (struct sockaddr *)&addr, &addr_len), 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%u/base", ntohs(addr.sin_port));
    ck_assert_int_eq(base_url_parse(url, &world.provider.base_url), 0);
    world.provider.name = (char *)(uintptr_t) "openai";
    world.provider.auth_header = (char *)(uintptr_t) "Authorization";
    world.provider.auth_prefix = (char *)(uintptr_t) "Bearer ";
    world.provider.connect_timeout_ms = 10000;
    world.provider.header_timeout_ms = 10000;
    world.provider.idle_timeout_ms = 10000;
    world.providers = (struct provider_list){&world.provider, 1};
    world.loop = loop_new(turn, NULL);
    ck_assert_ptr_nonnull(world.loop);
    world.upstream = upstream_new(world.loop, &world.providers, 100, NULL);
    ck_assert_ptr_nonnull(world.upstream);
    ck_assert_int_eq(header_add(&world.headers, "X-A", 3, "b", 1), 0);
    ck_assert_int_eq(header_add(&world.headers, "X-Empty", 7, "", 0), 0);
    spool_init(&world.spool, 1024);
    world.expect = "\r\n\r\n";
    world.piece = 65536;
    world.over = is_done;
}

static inline void teardown(void)
{
    upstream_free(&world.upstream);
    loop_free(&world.loop);
    header_list_fini(&world.headers);
    spool_fini(&world.spool);
    arena_fini(&world.arena);
    base_url_fini(&world.provider.base_url);
    buf_fini(&world.request);
    buf_fini(&world.body);
    if (world.fd >= 0)
        close(world.fd);
    close(world.listen_fd);
}

/* Runs until over() says so; it is asked in every turn and may begin what comes next. */
static inline void run(bool (*over)(void))
{
    world.over = over;
    world.give_up_ms = clock_mono_ms() + PATIENCE_MS;
    loop_run(world.loop);
}

static inline void begin(const char *method, enum upstream_body body, int64_t length,
                         const struct secret *key)
{
    const struct upstream_request request = {
        .provider = &world.provider,
        .method = method,
        .target = "/base/x?q",
        .headers = &world.headers,
        .key = key,
        .body = body,
        .spool = &world.spool,
        .stream_length = length,
        .arena = &world.arena,
    };
    world.done = false;
    buf_clear(&world.body);
    buf_clear(&world.request);
    world.sent = 0;
    world.attempt = upstream_start(world.upstream, &request, &events, NULL);
    ck_assert_ptr_nonnull(world.attempt);
}

static inline void answer(const char *text)
{
    world.answer = text;
    world.answer_len = strlen(text);
}

#endif
