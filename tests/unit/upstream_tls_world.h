/*
 * upstream_tls_world: where the attempts of test_upstream_tls live. Their provider, behind TLS, is a thread
 * with blocking sockets, so that it writes records and ends connections exactly as it is told to.
 */
#ifndef CLAVIGER_TESTS_UPSTREAM_TLS_WORLD_H
#define CLAVIGER_TESTS_UPSTREAM_TLS_WORLD_H

#include "worker/upstream_internal.h"

#include "base/clock.h"
#include "e2e/cert.h"
#include "unit/suite.h"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define LARGE       (3 * 1024 * 1024)
#define OK          "HTTP/1.1 200 OK\r\n"

#define WRONG OK "Content-Length: 5\r\n\r\nwrong"

/* What the provider does behind an answer. */
enum after {
    KEEP,
    NOTIFY,     /* ends TLS and closes */
    CUT,        /* closes without a word of TLS */
    RESET,      /* the connection is reset */
    KEY_UPDATE, /* new keys, and wants new ones (RFC 8446 section 4.6.3) */
    TICKET,     /* another session ticket */
    BYTES,      /* what nobody asked for */
};

struct deed {
    const char *answer;
    size_t len;    /* 0 = of the string */
    size_t record; /* bytes in each record; 0 = as many as fit */
    bool together; /* all records are sent at once */
    enum after after;
};

static struct {
    /* the provider's */
    const struct deed *deeds; /* one a request, over all connections */
    unsigned
        early; /* of this request, from 1 on, it reads the head, wants new keys and answers; 0 = of none */
    SSL_CTX *context;
    int listen_fd;
    pthread_t thread;
    atomic_uint connections;
    atomic_uint requests;
    atomic_uint left;  /* connections that the client has closed */
    atomic_uint ended; /* connections that are closed */

    struct loop *loop;
    struct upstream *upstream;
    struct provider provider;
    struct provider_list providers;
    struct arena arena;
    struct header_list headers;
    struct spool spool;
    char dir[32];
    char certificate[64];
    char key[64];
    int64_t give_up_ms;
    bool (*over)(void);

    struct attempt *attempt;
    int status;
    struct buf body;
    int refusals; /* so often body() says no */
    atomic_bool done;
    enum upstream_result result;
    char reason[256];
} world;

/* ---- calls of the library that are counted */

static unsigned library_calls;

CURLcode curl_easy_recv(CURL *easy, void *out, size_t max, size_t *got)
{
    static CURLcode (*real)(CURL *, void *, size_t, size_t *);
    if (real == NULL)
        *(void **)(&real) = dlsym(RTLD_NEXT, "curl_easy_recv");
    library_calls++;
    return real(easy, out, max, got);
}

/* ---- writing that can be stopped */

#define KEY_UPDATE_BYTES 64 /* a record with a KeyUpdate has less, one of a request more */

static atomic_int full_fd = -1; /* no room there for a KeyUpdate */
static atomic_uint refused;

ssize_t write(int fd, const void *data, size_t len)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (real == NULL)
        *(void **)(&real) = dlsym(RTLD_NEXT, "write");
    if (fd != full_fd || len > KEY_UPDATE_BYTES)
        return real(fd, data, len);
    refused++;
    errno = EAGAIN;
    return -1;
}

/* ---- the provider */

/* Reads a request to its end, which its head tells, or its head only. false when the client has left. */
static bool read_request(SSL *ssl, bool head_only)
{
    static char request[LARGE + 4096];
    size_t len = 0;
    for (;;) {
        int got = SSL_read(ssl, request + len, (int)(sizeof request - 1 - len));
        if (got <= 0)
            return false;
        len += (size_t)got;
        request[len] = '\0';
        const char *end = strstr(request, "\r\n\r\n");
        const char *length = end == NULL ? NULL : strcasestr(request, "Content-Length: ");
        if (end != NULL && head_only)
            return true;
        if (end != NULL &&
            len >= (size_t)(end + 4 - request) + (length == NULL ? 0 : strtoul(length + 16, NULL, 10)))
            return true;
    }
}

static void write_answer(SSL *ssl, const struct deed *deed)
{
    BIO *socket = SSL_get_wbio(ssl);
    BIO *gather = NULL;
    size_t len = deed->len > 0 ? deed->len : strlen(deed->answer);
    if (deed->together) {
        gather = BIO_new(BIO_f_buffer());
        (void)BIO_set_write_buffer_size(gather, 1024 * 1024);
        (void)BIO_up_ref(socket);
        SSL_set0_wbio(ssl, BIO_push(gather, socket));
    }
    for (size_t at = 0; at < len;) {
        size_t now = deed->record > 0 && deed->record < len - at ? deed->record : len - at;
        if (SSL_write(ssl, deed->answer + at, (int)now) <= 0)
            break;
        at += now;
    }
    if (deed->together) {
        (void)BIO_flush(gather);
        (void)BIO_pop(gather);
        SSL_set0_wbio(ssl, socket); /* frees the other one */
    }
}

/* Returns whether the connection goes on. */
static bool follow(SSL *ssl, int fd, enum after after)
{
    static const struct linger now = {.l_onoff = 1};
    switch (after) {
    case KEEP:
        return true;
    case NOTIFY:
        (void)SSL_shutdown(ssl);
        return false;
    case CUT:
        return false;
    case RESET:
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        return false;
    case KEY_UPDATE:
        return SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(ssl) == 1;
    case TICKET:
        return SSL_new_session_ticket(ssl) == 1 && SSL_do_handshake(ssl) == 1;
    case BYTES:
        (void)SSL_write(ssl, WRONG, sizeof WRONG - 1);
        return true;
    }
    return false;
}

static void serve(SSL *ssl, int fd)
{
    bool goes_on = SSL_set_fd(ssl, fd) == 1 && SSL_accept(ssl) == 1;
    while (goes_on) {
        bool early = world.requests + 1 == world.early;
        goes_on = read_request(ssl, early);
        if (!goes_on) {
            world.left++;
            return;
        }
        const struct deed *deed = &world.deeds[world.requests++];
        if (early)
            (void)follow(ssl, fd, KEY_UPDATE);
        write_answer(ssl, deed);
        while (early && !world.done)
            (void)sched_yield();
        goes_on = !early && follow(ssl, fd, deed->after);
    }
}

static void *provide(void *unused)
{
    for (int fd; (fd = accept4(world.listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0;) {
        SSL *ssl = SSL_new(world.context);
        world.connections++;
        serve(ssl, fd);
        SSL_free(ssl);
        (void)close(fd);
        world.ended++;
    }
    return unused;
}

/* ---- the client */

static bool on_head(void *arg, const struct response_head *head)
{
    (void)arg;
    world.status = head->status;
    return true;
}

static bool on_body(void *arg, const char *data, size_t len)
{
    (void)arg;
    if (world.refusals > 0) {
        world.refusals--;
        return false;
    }
    buf_append(&world.body, data, len);
    return true;
}

/* Begins to send when a part of the answer was read and another part waits inside TLS. */
static ssize_t on_upload(void *arg, char *out, size_t max)
{
    (void)arg;
    if (refused == 0 && !link_has_read_more(world.attempt->link))
        return UPSTREAM_UPLOAD_WAIT;
    memset(out, 'x', max);
    return (ssize_t)max;
}

static void on_done(void *arg, enum upstream_result result, const char *reason)
{
    (void)arg;
    world.done = true;
    world.attempt = NULL;
    world.result = result;
    (void)snprintf(world.reason, sizeof world.reason, "%s", reason != NULL ? reason : "");
}

static const struct upstream_events events = {.head = on_head,
                                              .body = on_body,
                                              .upload = on_upload,
                                              .done = on_done};

static bool turn(void *arg)
{
    (void)arg;
    bool any = upstream_turn(world.upstream);
    if (world.attempt != NULL && world.refusals >= 0) {
        upstream_resume(world.attempt); /* who could not take it can now */
        any |= world.refusals > 0;
    }
    ck_assert_msg(clock_mono_ms() < world.give_up_ms, "not over within %d ms", PATIENCE_MS);
    if (world.over())
        loop_stop(world.loop);
    return any;
}

/* So that what the provider's thread did is looked at. */
static void on_look(struct loop_timer *timer)
{
    (void)loop_timer_set(world.loop, timer, loop_now(world.loop) + 20);
}

static struct loop_timer look = {.fn = on_look};

static bool is_done(void)
{
    return world.done;
}

static bool is_stuck(void)
{
    return refused > 0;
}

static bool has_left(void)
{
    return world.left > 0;
}

static bool has_ended(void)
{
    return world.ended > 0;
}

static void run(bool (*over)(void))
{
    world.over = over;
    world.give_up_ms = clock_mono_ms() + PATIENCE_MS;
    loop_run(world.loop);
}

/* A request; length 0 = without a body. */
static void begin(size_t length, enum upstream_body body)
{
    const struct upstream_request request = {
        .provider = &world.provider,
        .method = length > 0 ? "POST" : "GET",
        .target = "/x",
        .headers = &world.headers,
        .body = body,
        .spool = &world.spool,
        .stream_length = (int64_t)length,
        .arena = &world.arena,
    };
    world.done = false;
    world.status = 0;
    buf_clear(&world.body);
    world.attempt = upstream_start(world.upstream, &request, &events, NULL);
    ck_assert_ptr_nonnull(world.attempt);
}

static void ask(size_t length)
{
    begin(length, length > 0 ? UPSTREAM_BODY_SPOOL : UPSTREAM_BODY_NONE);
    run(is_done);
}

static void expect(enum upstream_result result, int status, const char *body)
{
    ck_assert_msg(world.result == result, "%d, not %d: %s", world.result, result, world.reason);
    ck_assert_int_eq(world.status, status);
    ck_assert_str_eq(world.body.data != NULL ? world.body.data : "", body);
}

/* ---- setup */

static void start(const struct deed *deeds, int tls_version)
{
    world.deeds = deeds;
    ck_assert_int_eq(SSL_CTX_set_min_proto_version(world.context, tls_version), 1);
    ck_assert_int_eq(SSL_CTX_set_max_proto_version(world.context, tls_version), 1);
    ck_assert_int_eq(pthread_create(&world.thread, NULL, provide, NULL), 0);
}

static void setup(void)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t addr_len = sizeof addr;
    char url[64];
    (void)signal(SIGPIPE, SIG_IGN); /* as in a worker */
    (void)snprintf(world.dir, sizeof world.dir, "/tmp/claviger-tls.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(world.dir));
    (void)snprintf(world.certificate, sizeof world.certificate, "%s/cert.pem", world.dir);
    (void)snprintf(world.key, sizeof world.key, "%s/key.pem", world.dir);
    cert_make("IP:127.0.0.1", 30, world.certificate, world.key);
    world.context = SSL_CTX_new(TLS_server_method());
    ck_assert_int_eq(SSL_CTX_use_certificate_file(world.context, world.certificate, SSL_FILETYPE_PEM), 1);
    ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(world.context, world.key, SSL_FILETYPE_PEM), 1);
    world.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(world.listen_fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    ck_assert_int_eq(listen(world.listen_fd, 16), 0);
    ck_assert_int_eq(getsockname(world.listen_fd, (struct sockaddr *)&addr, &addr_len), 0);
    (void)snprintf(url, sizeof url, "https://127.0.0.1:%u", ntohs(addr.sin_port));
    ck_assert_int_eq(base_url_parse(url, &world.provider.base_url), 0);
    world.provider.name = (char *)(uintptr_t) "openai";
    world.provider.auth_header = (char *)(uintptr_t) "Authorization";
    world.provider.auth_prefix = (char *)(uintptr_t) "Bearer ";
    world.provider.ca_file = world.certificate;
    world.provider.connect_timeout_ms = PATIENCE_MS;
    world.provider.header_timeout_ms = PATIENCE_MS;
    world.provider.idle_timeout_ms = PATIENCE_MS;
    world.providers = (struct provider_list){&world.provider, 1};
    world.loop = loop_new(turn, NULL);
    ck_assert_ptr_nonnull(world.loop);
    ck_assert_int_eq(loop_timer_set(world.loop, &look, 0), 0);
    world.upstream = upstream_new(world.loop, &world.providers, 100, NULL);
    ck_assert_ptr_nonnull(world.upstream);
    spool_init(&world.spool, LARGE + 1);
}

static void teardown(void)
{
    upstream_free(&world.upstream);
    (void)shutdown(world.listen_fd, SHUT_RDWR);
    ck_assert_int_eq(pthread_join(world.thread, NULL), 0);
    (void)close(world.listen_fd);
    SSL_CTX_free(world.context);
    loop_timer_cancel(world.loop, &look);
    loop_free(&world.loop);
    header_list_fini(&world.headers);
    spool_fini(&world.spool);
    arena_fini(&world.arena);
    base_url_fini(&world.provider.base_url);
    buf_fini(&world.body);
    (void)unlink(world.certificate);
    (void)unlink(world.key);
    (void)rmdir(world.dir);
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

#define HELLO OK "Content-Length: 5\r\n\r\nhello"

#endif
