/*
 * test_upstream_tls: requests to a provider behind TLS, the first of each connection through libcurl and the
 * others past it: large, slow, cut and pipelined ones, and what TLS says on its own.
 */
#include "unit/upstream_tls_world.h"

#include <sys/epoll.h>

#define UPLOAD (64 * 1024 * 1024) /* more than any socket takes */

/* The library is not asked any more once an answer has come. */
START_TEST(past_the_library)
{
    static const struct deed deeds[] = {{.answer = HELLO}, {.answer = HELLO}, {.answer = HELLO}};
    start(deeds, versions[_i]);
    ask(0);
    expect(UPSTREAM_COMPLETE, 200, "hello");
    ck_assert_uint_gt(library_calls, 0);
    library_calls = 0;
    for (int i = 0; i < 2; i++) {
        ask(0);
        expect(UPSTREAM_COMPLETE, 200, "hello");
    }
    ck_assert((library_calls == 0) == link_may_go_direct());
    ck_assert_uint_eq(world.connections, 1);
}
END_TEST

static char large[LARGE + 128];

/* Of a known length or chunked; in records of all sizes; to a client that is slow. */
START_TEST(large_answers)
{
    static const size_t records[] = {0, 16384, 8191, 700, 16000};
    static struct deed deeds[6];
    size_t head = (size_t)snprintf(large, sizeof large, OK "Content-Length: %d\r\n\r\n", LARGE);
    for (size_t i = 0; i < LARGE; i++)
        large[head + i] = (char)('a' + i % 23);
    large[head + LARGE] = '\0';
    for (size_t i = 0; i < 6; i++)
        deeds[i] = (struct deed){.answer = large, .len = head + LARGE, .record = i < 1 ? 0 : records[i - 1]};
    deeds[5].together = true;
    start(deeds, versions[_i % 2]);
    for (size_t i = 0; i < 6; i++) {
        world.refusals = _i < 2 ? 0 : 7;
        ask(0);
        expect(UPSTREAM_COMPLETE, 200, large + head);
    }
    ck_assert_uint_eq(world.connections, 1);
}
END_TEST

/* From memory, and from a file with the end in memory. */
START_TEST(large_uploads)
{
    static const struct deed deeds[] = {{.answer = HELLO}, {.answer = HELLO}, {.answer = HELLO}};
    start(deeds, versions[_i % 2]);
    memset(large, 'x', LARGE);
    world.spool.memory_limit = _i < 2 ? LARGE : LARGE / 10;
    ck_assert_int_eq(spool_append(&world.spool, large, LARGE - LARGE / 20), 0);
    ck_assert_int_eq(spool_append(&world.spool, large, LARGE / 20), 0);
    ck_assert_int_eq(spool_file_len(&world.spool) > 0, _i >= 2);
    ck_assert_uint_gt(world.spool.mem_len, 0);
    for (int i = 0; i < 3; i++) {
        ask(LARGE);
        expect(UPSTREAM_COMPLETE, 200, "hello");
    }
    ck_assert_uint_eq(world.connections, 1);
}
END_TEST

/* Records of one byte, each on its own or all of them at once: nothing tells of those that were read ahead.
 */
START_TEST(small_records)
{
    static const char chunked[] =
        OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    static const struct deed deeds[] = {
        {.answer = chunked, .record = 1},
        {.answer = chunked, .record = 1},
        {.answer = chunked, .record = 1, .together = true},
        {.answer = chunked, .record = 7, .together = true},
        {.answer = HELLO, .record = 1, .together = true},
        {.answer = HELLO, .record = 40, .together = true},
    };
    start(deeds, versions[_i % 2]);
    for (int i = 0; i < 6; i++) {
        world.refusals = _i < 2 ? 0 : 3;
        ask(0);
        expect(UPSTREAM_COMPLETE, 200, i < 4 ? "hello world" : "hello");
    }
    ck_assert_uint_eq(world.connections, 1);
}
END_TEST

static const struct {
    const char *answer;
    enum after after;
    enum upstream_result result;
    int status;
    const char *body;
    const char *reason; /* a part of it */
} ends[] = {
    {OK "\r\nuntil the end", NOTIFY, UPSTREAM_COMPLETE, 200, "until the end", ""},
    {OK "\r\nuntil the end", CUT, UPSTREAM_FAILED, 200, "until the end", "in the middle of the TLS session"},
    {OK "Content-Length: 5\r\n\r\nhell", NOTIFY, UPSTREAM_FAILED, 200, "hell", "in the middle of its answer"},
    {OK "Content-Length: 5\r\n\r\nhell", CUT, UPSTREAM_FAILED, 200, "hell",
     "in the middle of the TLS session"},
    {OK "Content-Length: 5\r\n\r\nhello", CUT, UPSTREAM_COMPLETE, 200, "hello", ""},
    {OK "Content-Length: 5\r\n", CUT, UPSTREAM_FAILED, 0, "", "in the middle of the TLS session"},
    {OK "Content-Length: 5\r\n", NOTIFY, UPSTREAM_FAILED, 0, "", "malformed"},
    {"", NOTIFY, UPSTREAM_FAILED, 0, "", "before an answer came"},
    {"", CUT, UPSTREAM_FAILED, 0, "", "in the middle of the TLS session"},
    {"", RESET, UPSTREAM_FAILED, 0, "", "reset"},
};
#define ENDS ((int)(sizeof ends / sizeof ends[0]))

/* On the first request of a connection and on the second. What follows has a new connection. */
START_TEST(cut_answers)
{
    int end = _i % ENDS;
    bool second = _i / ENDS % 2 == 1;
    static struct deed deeds[3];
    struct deed ended = {.answer = ends[end].answer, .after = ends[end].after};
    struct deed hello = {.answer = HELLO};
    deeds[0] = second ? hello : ended;
    deeds[1] = second ? ended : hello;
    deeds[2] = hello;
    start(deeds, versions[_i / ENDS / 2]);
    if (second) {
        ask(0);
        expect(UPSTREAM_COMPLETE, 200, "hello");
    }
    ask(0);
    expect(ends[end].result, ends[end].status, ends[end].body);
    ck_assert_msg(strcasestr(world.reason, ends[end].reason) != NULL, "%s", world.reason);
    run(has_ended);
    ask(0);
    expect(UPSTREAM_COMPLETE, 200, "hello");
    ck_assert_uint_eq(world.connections, 2);
}
END_TEST

/* Bytes behind an answer are never the next one's: in the same record, in one sent with it, or later. */
START_TEST(bytes_behind_an_answer)
{
    static const char twice[] = HELLO WRONG;
    static const struct deed deeds[][3] = {
        {{.answer = HELLO}, {.answer = twice}, {.answer = HELLO}},
        {{.answer = HELLO},
         {.answer = twice, .record = sizeof HELLO - 1, .together = true},
         {.answer = HELLO}},
        {{.answer = HELLO}, {.answer = twice, .record = 1, .together = true}, {.answer = HELLO}},
        {{.answer = HELLO}, {.answer = HELLO, .after = BYTES}, {.answer = HELLO}},
    };
    start(deeds[_i % 4], versions[_i / 4]);
    for (int i = 0; i < 3; i++) {
        /* What the library has read ahead is found when the connection is to be used again. */
        if (i == 2 && (link_may_go_direct() || _i % 4 == 0 || _i % 4 == 3))
            run(has_left);
        ask(0);
        expect(UPSTREAM_COMPLETE, 200, "hello");
    }
    ck_assert_uint_eq(world.connections, 2);
}
END_TEST

/* What TLS has to say between two requests is no reason to end a connection. */
START_TEST(words_of_tls)
{
    static const struct deed deeds[] = {{.answer = HELLO, .after = TICKET},
                                        {.answer = HELLO, .after = KEY_UPDATE},
                                        {.answer = HELLO, .after = TICKET},
                                        {.answer = HELLO, .after = KEY_UPDATE},
                                        {.answer = HELLO}};
    start(deeds, TLS1_3_VERSION);
    for (int i = 0; i < 5; i++) {
        ask(0);
        expect(UPSTREAM_COMPLETE, 200, "hello");
    }
    ck_assert_uint_eq(world.connections, 1);
}
END_TEST

/* OpenSSL reads nothing while the new keys that a provider wants wait for room to be told. What it has read
 * by then goes on when there is room, though nothing more comes: told by the socket, or found by sending. */
START_TEST(new_keys_that_find_no_room)
{
    static const struct deed deeds[] = {{.answer = HELLO}, {.answer = HELLO, .record = 4, .together = true}};
    if (!link_may_go_direct())
        return;
    world.early = 2;
    start(deeds, TLS1_3_VERSION);
    ask(0);
    expect(UPSTREAM_COMPLETE, 200, "hello");
    begin(UPLOAD, UPSTREAM_BODY_STREAM);
    full_fd = world.attempt->link->fd;
    run(is_stuck);
    ck_assert(!world.done);
    full_fd = -1;
    if (_i == 0) {
        world.attempt->link->watch.fn(&world.attempt->link->watch, EPOLLOUT);
        ck_assert(world.done);
    }
    run(is_done);
    expect(UPSTREAM_COMPLETE, 200, "hello");
    ck_assert_uint_eq(world.connections, 1);
}
END_TEST

/* A provider that closes an idle connection is not asked over it. */
START_TEST(an_idle_end)
{
    static const struct deed deeds[] = {{.answer = HELLO},
                                        {.answer = HELLO, .after = NOTIFY},
                                        {.answer = HELLO}};
    start(deeds, versions[_i]);
    for (int i = 0; i < 3; i++) {
        if (i == 2)
            run(has_ended);
        ask(0);
        expect(UPSTREAM_COMPLETE, 200, "hello");
    }
    ck_assert_uint_eq(world.connections, 2);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("upstream_tls");
    TCase *tc = tcase_create("upstream_tls");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, past_the_library, 0, 2);
    tcase_add_loop_test(tc, large_answers, 0, 4);
    tcase_add_loop_test(tc, large_uploads, 0, 4);
    tcase_add_loop_test(tc, small_records, 0, 4);
    tcase_add_loop_test(tc, cut_answers, 0, 4 * ENDS);
    tcase_add_loop_test(tc, bytes_behind_an_answer, 0, 8);
    tcase_add_test(tc, words_of_tls);
    tcase_add_loop_test(tc, new_keys_that_find_no_room, 0, 2);
    tcase_add_loop_test(tc, an_idle_end, 0, 2);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
