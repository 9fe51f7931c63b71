/*
 * test_upstream_connections: which connections are kept for the next request, and which are not.
 */
#include "upstream_provider.h"

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

int main(void)
{
    Suite *suite = suite_create("upstream_connections");
    TCase *tc = tcase_create("upstream");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, a_connection_is_used_again);
    tcase_add_test(tc, an_idle_connection_that_was_closed);
    tcase_add_test(tc, bytes_behind_an_answer);
    tcase_add_loop_test(tc, a_discarded_answer, 0, 2);
    tcase_add_test(tc, an_aborted_request);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
