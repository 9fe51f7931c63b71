/*
 * test_upstream_http: answers whole and in pieces, broken ones and late ones; requests with every kind of
 * body.
 */
#include "upstream_provider.h"

#include "base/secret.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

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

/* The system's, which does as the test says. */
static struct {
    size_t most; /* bytes at once */
    off_t until; /* from there on it refuses, as file systems do that know nothing of it */
    int waits;   /* so often the socket takes nothing */
    off_t sent;
} files = {SIZE_MAX, LONG_MAX, 0, 0};

ssize_t sendfile(int out, int in, off_t *at, size_t len)
{
    if (*at >= files.until) {
        errno = EINVAL;
        return -1;
    }
    if (*at > 0 && files.waits > 0) {
        files.waits--;
        errno = EAGAIN;
        return -1;
    }
    size_t max = len < files.most ? len : files.most;
    if (files.until - *at < (off_t)max)
        max = (size_t)(files.until - *at);
#if defined(SYS_sendfile64)
    ssize_t n = syscall(SYS_sendfile64, out, in, at, max);
#else
    ssize_t n = syscall(SYS_sendfile, out, in, at, max);
#endif
    files.sent += n > 0 ? n : 0;
    return n;
}

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

/* From memory in more than one go, from a file, and from both; whatever becomes of sendfile(). */
static const struct {
    size_t limit;
    size_t last; /* bytes that are appended alone */
    size_t sendfile_most;
    size_t sendfile_until;
    int sendfile_waits;
} bodies[] = {
    {2 * LARGE, 0, LARGE, LARGE, 0}, {1024, 0, LARGE, LARGE, 0}, {1024, 500, LARGE, LARGE, 0},
    {1024, 500, 5000, LARGE, 5},     {1024, 500, 0, 0, 0},       {1024, 0, 5000, 100000, 0},
};

START_TEST(large_bodies)
{
    char *text = malloc(LARGE + 1);
    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < LARGE; i++)
        text[i] = (char)('a' + i % 23);
    text[LARGE - 1] = '!';
    text[LARGE] = '\0';
    spool_fini(&world.spool);
    spool_init(&world.spool, bodies[_i].limit);
    const size_t first = LARGE - bodies[_i].last;
    ck_assert_int_eq(spool_append(&world.spool, text, first), 0);
    ck_assert_int_eq(spool_append(&world.spool, text + first, bodies[_i].last), 0);
    ck_assert_int_eq(spool_memory(&world.spool) != NULL, bodies[_i].limit > LARGE);
    files.most = bodies[_i].sendfile_most;
    files.until = (off_t)bodies[_i].sendfile_until;
    files.waits = bodies[_i].sendfile_waits;
    world.expect = "!";
    answer(OK "Content-Length: 2\r\n\r\nok");
    begin("POST", UPSTREAM_BODY_SPOOL, 0, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_COMPLETE);
    ck_assert_str_eq(strstr(world.request.data, "\r\n\r\n") + 4, text);
    ck_assert_int_eq(files.waits, 0);
    int64_t file_len = spool_file_len(&world.spool);
    ck_assert_int_eq(files.sent, file_len < files.until ? file_len : files.until);
    free(text);
}
END_TEST

/* Somebody has cut it: a short body must not look like a whole one. */
START_TEST(a_file_that_was_cut)
{
    char *text = calloc(1, LARGE);
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(spool_append(&world.spool, text, LARGE), 0);
    ck_assert_int_eq(ftruncate(world.spool.fd, LARGE / 2), 0);
    free(text);
    world.expect = "never";
    begin("POST", UPSTREAM_BODY_SPOOL, 0, NULL);
    run(is_done);
    ck_assert_int_eq(world.result, UPSTREAM_FAILED);
    ck_assert_str_eq(world.reason, "the request's body could not be read");
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
    tcase_add_loop_test(tc, large_bodies, 0, (int)(sizeof bodies / sizeof bodies[0]));
    tcase_add_test(tc, a_file_that_was_cut);
    tcase_add_loop_test(tc, streamed_bodies, 0, 2);
    tcase_add_test(tc, a_streamed_body_that_is_too_short);
    tcase_add_test(tc, refused_in_the_middle);
    tcase_add_loop_test(tc, timeouts, 0, (int)(sizeof stalls / sizeof stalls[0]));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
