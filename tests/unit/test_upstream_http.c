/*
 * test_upstream_http: requests over real sockets to a provider inside this program that does one thing a
 * turn: answers whole and in pieces, broken ones, uploads, connections that are kept or not.
 */
#include "worker/upstream.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/secret.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define LARGE       (300 * 1024)

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

static bool on_head(void *arg, const struct response_head *head)
{
    (void)arg;
    world.status = head->status;
    return !world.refuse_head;
}

static bool on_body(void *arg, const char *data, size_t len)
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

static ssize_t on_upload(void *arg, char *out, size_t max)
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

static void on_done(void *arg, enum upstream_result result, const char *reason)
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

static void provider_step(void)
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

static bool turn(void *arg)
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

static bool is_done(void)
{
    return world.done;
}

static bool is_done_and_closed(void)
{
    return world.done && world.peer_closed;
}

/* ---- setup */

static void setup(void)
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

static void teardown(void)
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
static void run(bool (*over)(void))
{
    world.over = over;
    world.give_up_ms = clock_mono_ms() + PATIENCE_MS;
    loop_run(world.loop);
}

static void begin(const char *method, enum upstream_body body, int64_t length, const struct secret *key)
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

static void answer(const char *text)
{
    world.answer = text;
    world.answer_len = strlen(text);
}

/* ---- answers */

static const struct {
    const char *method;
    const char *answer;
    bool close; /* the provider closes behind it */
    enum upstream_result result;
    int status;
    const char *body;
    bool kept;
} answers[] = {
#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"
    {"GET", OK "Content-Length: 5\r\n\r\nhello", false, UPSTREAM_COMPLETE, 200, "hello", true},
    {"GET", OK "Content-Length: 0\r\n\r\n", false, UPSTREAM_COMPLETE, 200, "", true},
    {"GET", "HTTP/1.1 204 No Content\r\n\r\n", false, UPSTREAM_COMPLETE, 204, "", true},
    {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", false, UPSTREAM_COMPLETE, 304, "",
     true},
    {"HEAD", OK "Content-Length: 5\r\n\r\n", false, UPSTREAM_COMPLETE, 200, "", true},
    {"HEAD", OK "Transfer-Encoding: chunked\r\n\r\n", false, UPSTREAM_COMPLETE, 200, "", true},
    {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 H\r\nA: b\r\n\r\n" OK "Content-Length: 2\r\n\r\nok",
     false, UPSTREAM_COMPLETE, 200, "ok", true},
    {"GET", CHUNKED "5\r\nhello\r\n6;x=y\r\n world\r\n0\r\n\r\n", false, UPSTREAM_COMPLETE, 200,
     "hello world", true},
    {"GET", CHUNKED "5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n", false, UPSTREAM_COMPLETE, 200, "hello", true},
    {"GET", OK "Content-Length: 9\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", false,
     UPSTREAM_COMPLETE, 200, "ok", true},
    {"GET", OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello", false, UPSTREAM_COMPLETE, 200, "hello",
     false},
    {"GET", OK "Connection: x, Close\r\nContent-Length: 5\r\n\r\nhello", false, UPSTREAM_COMPLETE, 200,
     "hello", false},
    {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", false, UPSTREAM_COMPLETE, 200, "hello",
     false},
    {"GET", "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 5\r\n\r\nhello", false,
     UPSTREAM_COMPLETE, 200, "hello", true},
    {"GET", OK "\r\nuntil the end", true, UPSTREAM_COMPLETE, 200, "until the end", false},
    {"GET", OK "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false,
     UPSTREAM_COMPLETE, 200, "hello", false},
    {"GET", OK "Content-Length: 5\r\n\r\nhell", true, UPSTREAM_FAILED, 200, "hell", false},
    {"GET", CHUNKED "5\r\nhello\r\n", true, UPSTREAM_FAILED, 200, "hello", false},
    {"GET", CHUNKED "5\r\nhello\r\n0\r\n", true, UPSTREAM_FAILED, 200, "hello", false},
    {"GET", CHUNKED "5\r\nhelloX", false, UPSTREAM_FAILED, 200, "hello", false},
    {"GET", OK "Transfer-Encoding: gzip\r\n\r\n", false, UPSTREAM_FAILED, 0, "", false},
    {"GET", OK "Transfer-Encoding: gzip, chunked\r\n\r\n", false, UPSTREAM_FAILED, 0, "", false},
    {"GET", OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", false, UPSTREAM_FAILED, 0,
     "", false},
    {"GET", OK "Content-Length: 5\r\n", true, UPSTREAM_FAILED, 0, "", false},
    {"GET", "HTTP/1.1 100 Continue\r\n\r\n", true, UPSTREAM_FAILED, 0, "", false},
    {"GET", "SSH-2.0-x\r\n", false, UPSTREAM_FAILED, 0, "", false},
    {"GET", "", true, UPSTREAM_FAILED, 0, "", false},
};
#define ANSWERS ((int)(sizeof answers / sizeof answers[0]))
static const size_t pieces[] = {1, 2, 7, 65536};
#define PIECES ((int)(sizeof pieces / sizeof pieces[0]))

static void answer_in_pieces(int at, size_t piece)
{
    answer(answers[at].answer);
    world.close = answers[at].close;
    world.piece = piece;
    begin(answers[at].method, UPSTREAM_BODY_NONE, 0, NULL);
    run(answers[at].kept || answers[at].close ? is_done : is_done_and_closed);
    ck_assert_msg(world.result == answers[at].result, "pieces of %zu of %s: %d %s", piece, answers[at].answer,
                  world.result, world.reason);
    ck_assert_int_eq(world.status, answers[at].status);
    ck_assert_str_eq(world.body.data != NULL ? world.body.data : "", answers[at].body);
    ck_assert((world.result == UPSTREAM_COMPLETE) == (world.reason[0] == '\0'));
    char byte;
    if (answers[at].kept)
        ck_assert(recv(world.fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

START_TEST(answers_in_pieces)
{
    for (int i = 0; i < PIECES; i++) {
        if (i > 0) {
            teardown();
            setup();
        }
        answer_in_pieces(_i, pieces[i]);
    }
}
END_TEST

/* Room comes and goes: not a byte is lost or comes twice. */
START_TEST(pauses)
{
    answer(_i % 2 == 0 ? CHUNKED "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
                       : OK "Content-Length: 11\r\n\r\nhello world");
    world.piece = pieces[_i / 2];
    world.refusals = 7;
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(is_done);
    ck_assert_int_eq(world.refused, 7);
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_str_eq(world.body.data, "hello world");
}
END_TEST

START_TEST(no_memory_for_a_head)
{
    answer(OK "Content-Length: 2\r\n\r\nok");
    world.refuse_head = true;
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_FAILED);
    ck_assert_ptr_null(world.body.data);
}
END_TEST

/* ---- requests */

START_TEST(head_as_it_is_sent)
{
    char expected[256];
    struct secret *key = secret_new("sk-1", 4);
    answer(OK "Content-Length: 0\r\n\r\n");
    begin("GET", UPSTREAM_BODY_NONE, 0, key);
    run(is_done);
    snprintf(expected, sizeof expected,
             "GET /base/x?q HTTP/1.1\r\nHost: %s\r\nX-A: b\r\nX-Empty:\r\nAuthorization: Bearer sk-1\r\n\r\n",
             world.provider.base_url.host);
    ck_assert_str_eq(world.request.data, expected);
    secret_free(&key);
}
END_TEST

START_TEST(body_from_memory)
{
    ck_assert_int_eq(spool_append(&world.spool, "{\"a\":1}", 7), 0);
    world.expect = "}";
    answer(OK "Content-Length: 2\r\n\r\nok");
    begin("POST", UPSTREAM_BODY_SPOOL, 0, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_ptr_nonnull(strstr(world.request.data, "Content-Length: 7\r\n\r\n{\"a\":1}"));
}
END_TEST

/* From memory in more than one go, and from a file. */
START_TEST(large_bodies)
{
    char *text = malloc(LARGE + 1);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < LARGE; i++)
        text[i] = (char)('a' + i % 23);
    text[LARGE - 1] = '!';
    text[LARGE] = '\0';
    spool_fini(&world.spool);
    spool_init(&world.spool, _i == 0 ? 2 * LARGE : 1024);
    ck_assert_int_eq(spool_append(&world.spool, text, LARGE), 0);
    ck_assert_int_eq(spool_memory(&world.spool) != NULL, _i == 0);
    world.expect = "!";
    answer(OK "Content-Length: 2\r\n\r\nok");
    begin("POST", UPSTREAM_BODY_SPOOL, 0, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_str_eq(strstr(world.request.data, "\r\n\r\n") + 4, text);
    free(text);
}
END_TEST

/* As it comes, with pauses: with a length and chunked. */
START_TEST(streamed_bodies)
{
    world.upload = "hello world";
    world.upload_waits = 3;
    world.expect = _i == 0 ? "hello world" : "0\r\n\r\n";
    answer(OK "Content-Length: 2\r\n\r\nok");
    begin("POST", UPSTREAM_BODY_STREAM, _i == 0 ? 11 : -1, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_ptr_nonnull(
        strstr(world.request.data,
               _i == 0
                   ? "Content-Length: 11\r\n\r\nhello world"
                   : "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\n worl\r\n1\r\nd\r\n0\r\n\r\n"));
}
END_TEST

/* A body that ends before the length that was announced is no request. */
START_TEST(a_streamed_body_that_is_too_short)
{
    world.upload = "short";
    world.expect = "never";
    begin("POST", UPSTREAM_BODY_STREAM, 11, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_FAILED);
}
END_TEST

/* A refusal before the body was read ends the upload; its connection is not used again. */
START_TEST(refused_in_the_middle)
{
    world.upload = "";
    world.upload_waits = 1000000;
    answer("HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\n\r\nno!");
    begin("POST", UPSTREAM_BODY_STREAM, 11, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_int_eq(world.status, 401);
    ck_assert_str_eq(world.body.data, "no!");
    char byte;
    ck_assert_int_eq(recv(world.fd, &byte, 1, MSG_DONTWAIT), 0);
}
END_TEST

/* ---- connections */

static int round_count;

static bool three_rounds(void)
{
    if (!world.done)
        return false;
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_str_eq(world.body.data, "ok");
    if (++round_count == 3)
        return true;
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    return false;
}

START_TEST(a_connection_is_used_again)
{
    round_count = 0;
    answer(OK "Content-Length: 2\r\n\r\nok");
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(three_rounds);
    ck_assert_uint_eq(world.connections, 1);
}
END_TEST

static bool three_rounds_with_closes(void)
{
    if (world.done && !world.peer_closed) /* until it has found out */
        return false;
    return three_rounds();
}

/* One that the provider closed while it was idle is not. */
START_TEST(an_idle_connection_that_was_closed)
{
    round_count = 0;
    answer(OK "Content-Length: 2\r\n\r\nok");
    world.close = true;
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(three_rounds_with_closes);
    ck_assert_uint_eq(world.connections, 3);
}
END_TEST

static bool forged_then_done(void)
{
    static const char forged[] = OK "Content-Length: 6\r\n\r\nforged";
    if (!world.done)
        return false;
    if (round_count++ > 0)
        return true;
    ck_assert_int_eq(send(world.fd, forged, sizeof forged - 1, MSG_NOSIGNAL), sizeof forged - 1);
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    return false;
}

/* What comes behind an answer, however late, is not the answer to the next request. */
START_TEST(bytes_behind_an_answer)
{
    round_count = 0;
    answer(OK "Content-Length: 2\r\n\r\nok");
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(forged_then_done);
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_str_eq(world.body.data, "ok");
    ck_assert_uint_eq(world.connections, 2);
}
END_TEST

static bool discarded_then_done(void)
{
    if (round_count == 0 && world.status == 429) { /* its head came */
        round_count = 1;
        struct dump_attempt *dump = NULL;
        upstream_discard(&world.attempt, &dump);
    }
    if (round_count > 0 && round_count < 100 && (world.sent == world.answer_len || world.peer_closed))
        round_count++;
    if (round_count == 100) { /* turns enough to read what was sent */
        round_count++;
        answer(OK "Content-Length: 2\r\n\r\nok");
        begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    }
    return world.done;
}

/* What is discarded is read to its end, when that is near, and leaves its connection to the next. */
START_TEST(a_discarded_answer)
{
    static char large[LARGE];
    round_count = 0;
    size_t len = _i == 0 ? 30000 : LARGE - 100;
    int head = snprintf(large, sizeof large, "HTTP/1.1 429 Slow Down\r\nContent-Length: %zu\r\n\r\n", len);
    memset(large + head, 'x', len);
    world.answer = large;
    world.answer_len = (size_t)head + len;
    world.piece = 5000;
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(discarded_then_done);
    ck_assert_int_eq(world.status, 200);
    ck_assert_str_eq(world.body.data, "ok");
    ck_assert_uint_eq(world.connections, _i == 0 ? 1 : 2);
}
END_TEST

static bool aborted_and_closed(void)
{
    if (world.status == 200 && world.attempt != NULL)
        upstream_abort(&world.attempt);
    return world.peer_closed;
}

START_TEST(an_aborted_request)
{
    answer(OK "Content-Length: 100\r\n\r\nbegun");
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(aborted_and_closed);
    ck_assert(!world.done);
}
END_TEST

/* ---- timeouts */

/* header_timeout up to the response's first byte (an interim one is not it), idle_timeout behind it. */
static const struct {
    const char *answer;
    const char *timeout;
} stalls[] = {
    {"", "header_timeout"},
    {"HTTP/1.1 103 Early Hints\r\n\r\n", "header_timeout"},
    {"HTTP/1.1 20", "idle_timeout"},
    {OK "Content-", "idle_timeout"},
    {OK "Content-Length: 5\r\n\r\nhell", "idle_timeout"},
};

START_TEST(timeouts)
{
    bool idle = strcmp(stalls[_i].timeout, "idle_timeout") == 0;

    world.provider.header_timeout_ms = idle ? 60000 : 100;
    world.provider.idle_timeout_ms = idle ? 100 : 60000;
    answer(stalls[_i].answer);
    begin("GET", UPSTREAM_BODY_NONE, 0, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_TIMEOUT);
    ck_assert_ptr_nonnull(strstr(world.reason, stalls[_i].timeout));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upstream_http");
    TCase *tc = tcase_create("upstream");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, answers_in_pieces, 0, ANSWERS);
    tcase_add_loop_test(tc, pauses, 0, 2 * PIECES);
    tcase_add_test(tc, no_memory_for_a_head);
    tcase_add_test(tc, head_as_it_is_sent);
    tcase_add_test(tc, body_from_memory);
    tcase_add_loop_test(tc, large_bodies, 0, 2);
    tcase_add_loop_test(tc, streamed_bodies, 0, 2);
    tcase_add_test(tc, a_streamed_body_that_is_too_short);
    tcase_add_test(tc, refused_in_the_middle);
    tcase_add_test(tc, a_connection_is_used_again);
    tcase_add_test(tc, an_idle_connection_that_was_closed);
    tcase_add_test(tc, bytes_behind_an_answer);
    tcase_add_loop_test(tc, a_discarded_answer, 0, 2);
    tcase_add_test(tc, an_aborted_request);
    tcase_add_loop_test(tc, timeouts, 0, (int)(sizeof stalls / sizeof stalls[0]));
    suite_add_tcase(suite, tc);
    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
