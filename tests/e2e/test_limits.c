/*
 * test_limits: clients that hold connections without making use of them: half a head, half a body, no
 * reading, too many from one address. The others are served as if they were not there.
 */
#include "e2e/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define PLAIN   "GET /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
#define STEP_US 100000 /* between two pieces of what trickles */
#define SIZE    (8 * 1024 * 1024)

/* ---- bodies that trickle */

/* Sends a piece of a body now and then until an answer comes, the end, or timeout_ms. */
struct trickle {
    struct http_client client;
    const char *piece;
    int64_t last_us;
    bool over; /* the connection takes no more */
};

static bool answer_comes(void *arg)
{
    struct trickle *t = arg;
    struct pollfd fd = {.fd = t->client.fd, .events = POLLIN};

    if (poll(&fd, 1, 10) > 0)
        return true;
    if (util_now_us() - t->last_us > STEP_US) {
        t->last_us = util_now_us();
        t->over = send(t->client.fd, t->piece, strlen(t->piece), MSG_NOSIGNAL) < 0 && errno != EAGAIN;
    }
    return t->over;
}

static void begin_upload(struct bench *b, struct http_client *client, bool byok)
{
    http_connect(client, b->daemon.port);
    http_print(client, "POST %s HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n", b->api->target,
               byok ? bench_auth(b, OWN_KEY) : "", SIZE);
}

static void open_with_rate(struct bench *b, const char *limits)
{
    bench_prepare(b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b->daemon.limits, "%s", limits);
    daemon_start(&b->daemon);
}

/* Slower than body_rate: 408, of the pool and of BYOK. */
START_TEST(a_body_that_trickles)
{
    static const char *const types[] = {"timeout_error", NULL};
    struct trickle t = {.piece = "x"};
    struct http_response r;
    struct bench b;

    open_with_rate(&b, "body_rate = 1000\nbody_window = 500ms");
    begin_upload(&b, &t.client, _i == 1);
    ck_assert(util_wait(answer_comes, &t, 20000));
    http_read(&t.client, &r);
    expect_error(&r, b.api, 408, "request_timeout", types, "slowly");
    ck_assert_str_eq(http_get(&r, "Connection"), "close");
    http_response_fini(&r);
    ck_assert(http_wait_end(&t.client, 10000));
    http_close(&t.client);
    if (_i == 1)
        ck_assert(fake_wait_abandoned(b.fake, 1, 10000));
    expect_requests(&b, _i == 1 ? 1 : 0);
    ck_assert(daemon_wait_log(&b.daemon, "request_timeout", 5000));
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

/* Fast enough, or no rate asked for: over several windows nothing happens to it. */
START_TEST(a_body_that_comes_fast_enough)
{
    static const char *const limits[] = {"body_rate = 1\nbody_window = 1s",
                                         "body_rate = 0\nbody_window = 200ms"};
    struct trickle t = {.piece = "ten bytes."};
    struct bench b;

    open_with_rate(&b, limits[_i]);
    begin_upload(&b, &t.client, false);
    ck_assert(!util_wait(answer_comes, &t, 2500));
    http_close(&t.client);
    bench_close(&b);
}
END_TEST

/* A client that sends as fast as it may is not slow because its upstream is. */
START_TEST(a_body_that_is_held_back)
{
    static char piece[65536];
    struct fake_answer deaf = {.action = FAKE_HANG, .reading = FAKE_READ_NEVER};
    struct trickle t = {.piece = ""};
    struct bench b;
    int64_t begin;

    open_with_rate(&b, "body_rate = 1M\nbody_window = 300ms");
    fake_on_any(b.fake, &deaf);
    begin_upload(&b, &t.client, true);
    for (size_t sent = 0; sent < SIZE - sizeof(piece);) {
        struct pollfd fd = {.fd = t.client.fd, .events = POLLOUT};
        ssize_t n = send(t.client.fd, piece, sizeof(piece), MSG_NOSIGNAL);

        if (n < 0 && poll(&fd, 1, 500) == 0)
            break; /* everything is full */
        sent += n > 0 ? (size_t)n : 0;
    }
    begin = util_now_us();
    ck_assert(!util_wait(answer_comes, &t, 2000));
    ck_assert_int_ge(util_now_us() - begin, 1900000);
    ck_assert(!t.over);
    http_reset(&t.client); /* an end would wait behind what was sent */
    bench_close(&b);
}
END_TEST

/* ---- answers that nobody reads */

/* A client that takes no byte of its answer for client_timeout is cut, and its upstream request ends. */
START_TEST(a_reader_that_stopped)
{
    struct fake_answer endless = {.framing = FAKE_CHUNKED, .endless = true};
    struct http_client client;
    struct bench b;

    open_with_rate(&b, "client_timeout = 1s");
    fake_on_any(b.fake, &endless);
    http_connect(&client, b.daemon.port);
    http_send(&client, PLAIN, strlen(PLAIN));
    ck_assert(fake_wait_abandoned(b.fake, 1, 15000));
    http_close(&client);
    bench_close(&b);
}
END_TEST

struct unread {
    struct bench *b;
    int fd;
    int64_t last_us;
};

/* Sends on, so that only its not reading can be what ends it. */
static bool upstream_was_left(void *arg)
{
    struct unread *u = arg;
    struct fake_progress progress;

    if (util_now_us() - u->last_us > STEP_US) {
        u->last_us = util_now_us();
        (void)send(u->fd, "x", 1, MSG_NOSIGNAL);
    }
    return fake_progress(u->b->fake, 1, &progress) == 0 && progress.abandoned_us != 0;
}

/* The same for an answer that came before the request's end, while the request trickles on. */
START_TEST(an_early_answer_that_nobody_reads)
{
    struct fake_answer endless = {.framing = FAKE_CHUNKED, .endless = true, .reading = FAKE_READ_AFTER};
    struct http_client client;
    struct unread u = {0};
    struct bench b;

    open_with_rate(&b, "client_timeout = 1s");
    fake_on_any(b.fake, &endless);
    begin_upload(&b, &client, true);
    http_send(&client, "begin", 5);
    u.b = &b;
    u.fd = client.fd;
    ck_assert(util_wait(upstream_was_left, &u, 15000));
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* A provider that is silent for longer than client_timeout does not cost the client its stream, nor its
 * answer. */
START_TEST(a_silent_provider)
{
    static const struct fake_answer answers[] = {
        {.framing = FAKE_CHUNKED, .events = 2, .interval_ms = 3000},
        {.delay_ms = 3000, .body = "late"},
    };
    struct http_client client;
    struct http_response r;
    struct bench b;

    open_with_rate(&b, "client_timeout = 1s");
    fake_on_any(b.fake, &answers[_i]);
    http_connect(&client, b.daemon.port);
    http_send(&client, PLAIN, strlen(PLAIN));
    http_read(&client, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    if (_i == 0)
        ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":1,"));
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* Nor when the answer is there before the request's end and both pause. */
START_TEST(a_silent_provider_and_a_paused_request)
{
    struct fake_answer events = {.framing = FAKE_CHUNKED,
                                 .events = 2,
                                 .interval_ms = 3000,
                                 .reading = FAKE_READ_AFTER};
    struct http_client client;
    struct http_response r;
    struct bench b;

    open_with_rate(&b, "client_timeout = 1s");
    fake_on_any(b.fake, &events);
    begin_upload(&b, &client, true);
    http_send(&client, "begin", 5);
    http_read(&client, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert(r.clean);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":1,"));
    http_response_fini(&r);
    ck_assert(http_wait_end(&client, 15000));
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* ---- heads */

/* The begin of a second head that came together with the first request has its clock too. */
START_TEST(half_a_head_behind_a_request)
{
    struct http_client client;
    struct http_response r;
    struct bench b;

    open_with_rate(&b, "head_timeout = 1s"); /* client_timeout is 75 s */
    http_connect(&client, b.daemon.port);
    http_print(&client, PLAIN "GET /anthropic/y HTTP/1.1\r\nHost: gate");
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    ck_assert(http_wait_end(&client, 15000));
    http_close(&client);
    expect_requests(&b, 1);
    bench_close(&b);
}
END_TEST

/* ---- connections of one address */

#define PEER_LIMIT 3

static void expect_served(struct http_client *client)
{
    struct http_response r;

    http_send(client, PLAIN, strlen(PLAIN));
    http_read(client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
}

/* From 127.0.0.2, which is another client. */
static void connect_from_elsewhere(struct http_client *client, unsigned port)
{
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    memset(client, 0, sizeof(*client));
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(client->fd, (struct sockaddr *)(void *)&from, sizeof(from)), 0);
    ck_assert_int_eq(connect(client->fd, (struct sockaddr *)(void *)&to, sizeof(to)), 0);
    ck_assert_int_eq(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
}

static bool is_let_in(void *arg)
{
    struct bench *b = arg;
    struct http_client client;
    struct http_response r;
    bool in;

    http_connect(&client, b->daemon.port);
    http_send(&client, PLAIN, strlen(PLAIN));
    http_read(&client, &r);
    in = r.status == 200;
    http_response_fini(&r);
    http_close(&client);
    return in;
}

START_TEST(too_many_of_one_address)
{
    static const char *const types[] = {"api_error", "server_error"};
    struct http_request ready = {.method = "GET", .target = "/readyz"};
    struct http_client held[PEER_LIMIT];
    struct http_client other;
    struct http_response r;
    struct bench b;

    open_with_rate(&b, "connections_per_peer = 3");
    for (int i = 0; i < PEER_LIMIT; i++) {
        http_connect(&held[i], b.daemon.port);
        expect_served(&held[i]);
    }
    for (int i = 0; i < 2; i++) {
        http_connect(&other, b.daemon.port);
        http_send(&other, PLAIN, strlen(PLAIN));
        http_read(&other, &r);
        expect_error(&r, NULL, 503, "overloaded", types, "address");
        http_response_fini(&r);
        ck_assert(http_wait_end(&other, 10000));
        http_close(&other);
    }
    ck_assert(daemon_wait_log(&b.daemon, "more than 3 connections from 127.0.0.1", 5000));
    connect_from_elsewhere(&other, b.daemon.port);
    expect_served(&other);
    http_close(&other);
    http_connect_unix(&other, b.daemon.unix_path);
    expect_served(&other);
    http_close(&other);
    http_fetch(b.daemon.admin_port, &ready, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    for (int i = 0; i < PEER_LIMIT; i++)
        expect_served(&held[i]);
    http_close(&held[0]);
    ck_assert(util_wait(is_let_in, &b, 10000));
    for (int i = 1; i < PEER_LIMIT; i++)
        http_close(&held[i]);
    bench_close(&b);
}
END_TEST

/* ---- a crowd */

#define CROWD   2000 /* of each kind */
#define HEAD_MS 6000
#define OTHERS  50

static void allow_descriptors(void)
{
    struct rlimit files;

    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &files), 0);
    files.rlim_cur = files.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &files), 0);
    ck_assert_msg(files.rlim_max >= 2 * CROWD + 200, "this test needs %d open files (ulimit -Hn)",
                  2 * CROWD + 200);
}

/* How many of them the daemon has ended. */
static int ended(const struct pollfd *all, int count)
{
    int n = 0;

    for (int i = 0; i < count; i++)
        n += (all[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
    return n;
}

static bool all_are_gone(void *arg)
{
    struct pollfd *all = arg;

    if (poll(all, 2 * CROWD, 100) < 0)
        return false;
    return ended(all, 2 * CROWD) == 2 * CROWD;
}

/* 2,000 half-sent requests and 2,000 silent connections: the others are served as before, and within
 * head_timeout those are gone. */
START_TEST(a_crowd_that_sends_nothing)
{
    static const char half[] = "POST /anthropic/x HTTP/1.1\r\nHost: gateway.test\r\nX-Half: ";
    struct pollfd *all = calloc(2 * CROWD, sizeof(*all));
    struct bench b;
    int64_t begin;

    ck_assert_ptr_nonnull(all);
    allow_descriptors();
    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, "head_timeout = %dms", HEAD_MS);
    daemon_start(&b.daemon);
    begin = util_now_us();
    for (int i = 0; i < 2 * CROWD; i++) {
        int fd = util_connect_tcp(b.daemon.port);

        ck_assert_int_ge(fd, 0);
        all[i] = (struct pollfd){.fd = fd, .events = POLLRDHUP};
        if (i % 2 == 0)
            ck_assert_int_eq(send(fd, half, strlen(half), MSG_NOSIGNAL), (ssize_t)strlen(half));
    }
    for (int i = 0; i < OTHERS; i++) {
        struct http_response r;
        int64_t start = util_now_us();

        bench_post(&b, NULL, &r);
        expect_answer(&r, 200, "ok");
        http_response_fini(&r);
        ck_assert_int_lt(util_now_us() - start, 2000000);
    }
    ck_assert_int_ge(poll(all, 2 * CROWD, 0), 0);
    if (util_now_us() - begin < HEAD_MS * 1000)
        ck_assert_int_eq(ended(all, 2 * CROWD), 0); /* so they were there all the time */
    ck_assert(util_wait(all_are_gone, all, HEAD_MS + 10000));
    for (int i = 0; i < 2 * CROWD; i++)
        close(all[i].fd);
    free(all);
    expect_requests(&b, OTHERS);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("limits");
    TCase *tc = suite_case(s, "limits", 60);

    tcase_add_loop_test(tc, a_body_that_trickles, 0, 2);
    tcase_add_loop_test(tc, a_body_that_comes_fast_enough, 0, 2);
    tcase_add_test(tc, a_body_that_is_held_back);
    tcase_add_test(tc, a_reader_that_stopped);
    tcase_add_test(tc, an_early_answer_that_nobody_reads);
    tcase_add_loop_test(tc, a_silent_provider, 0, 2);
    tcase_add_test(tc, a_silent_provider_and_a_paused_request);
    tcase_add_test(tc, half_a_head_behind_a_request);
    tcase_add_test(tc, too_many_of_one_address);
    tcase_add_test(tc, a_crowd_that_sends_nothing);
    return suite_run(s);
}
