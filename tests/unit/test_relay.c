/*
 * test_relay: a request's steps up to its answer, with a client, an upstream, a store and a clock that the
 * test plays: failover, failures, refusals.
 */
#include "unit/relay_words.h"

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* ---- failover */

START_TEST(whole_short_answer)
{
    struct relay *relay = begin("GET", "/openai/v1/x?q", -1, NULL);
    ck_assert(!relay_answered(relay));
    end_body(relay);
    ck_assert_int_eq(world.starts, 1);
    ck_assert_int_eq(world.refreshes, 1);
    ck_assert_str_eq(world.attempt->request.target, "/base/v1/x?q");
    ck_assert_ptr_eq(world.attempt->request.key, world.keys[0].secret);
    ck_assert_int_eq(world.attempt->request.body, UPSTREAM_BODY_NONE);
    head(200, "X-A", "b");
    ck_assert(body("hel", 3));
    ck_assert(body("lo", 2));
    done(UPSTREAM_COMPLETE, NULL);
    ck_assert_int_eq(world.answers, 0); /* only from the turn */
    ck_assert(relays_run(world.relays));
    ck_assert_int_eq(world.answers, 1);
    struct relay_answer answer = answer_of(relay);
    ck_assert_int_eq(answer.status, 200);
    ck_assert_int_eq(answer.content_length, 5);
    ck_assert_str_eq(answer.body, "hello");
    ck_assert_uint_eq(answer.headers->count, 1);
    relay_count_sent(relay, 5);
    finish(&relay, true);
    ck_assert_int_eq(world.logged_status, 200);
    ck_assert_str_eq(world.logged_key, "sk-k...0000");
    ck_assert_str_eq(world.logged_error, "-");
    ck_assert_uint_eq(world.logged_out, 5);
    ck_assert_int_eq(world.marks, 0);
}
END_TEST

START_TEST(fails_over_twice)
{
    struct relay *relay = begin("POST", "/openai/x", 4, "Bearer claviger");
    ck_assert_uint_eq(relay_body(relay, "body", 4), 4);
    ck_assert_int_eq(world.starts, 0);
    end_body(relay);
    head(429, "Retry-After", "5");
    ck_assert_int_eq(world.marks, 1);
    ck_assert_int_eq(world.cooldown_ms, 5000);
    relays_run(world.relays);
    ck_assert_int_eq(world.discards, 1); /* its body did not come yet */
    ck_assert_int_eq(world.starts, 2);
    ck_assert_ptr_eq(world.attempt->request.key, world.keys[1].secret);
    ck_assert_int_eq(world.attempt->request.spool->len, 4);
    ck_assert_int_eq(memcmp(spool_memory(world.attempt->request.spool), "body", 4), 0);
    head(401, NULL, NULL);
    ck_assert(body("no", 2));
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(world.discards, 1); /* this one was over */
    ck_assert_int_eq(world.starts, 3);
    ck_assert_int_eq(world.answers, 0);
    head(200, NULL, NULL);
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(answer_of(relay).status, 200);
    ck_assert_str_eq(answer_of(relay).body, ""); /* nothing of the refused answers */
    ck_assert_int_eq(key_status(&world.pool.states[0], world.now.mono_ms), KEY_TEMPORARY);
    ck_assert_int_eq(key_status(&world.pool.states[1], world.now.mono_ms), KEY_PERMANENT);
    finish(&relay, true);
    ck_assert_uint_eq(world.logged_attempts, 3);
    ck_assert_str_eq(world.logged_key, "sk-k...2222");
}
END_TEST

/* A body is kept until no attempt needs it any more, and not longer. */
START_TEST(body_goes_with_the_answer)
{
    bool sent = _i != 0;
    struct relay *relay = begin("POST", "/openai/x", 4, "Bearer claviger");
    ck_assert_uint_eq(relay_body(relay, "body", 4), 4);
    end_body(relay);
    const struct spool *spool = world.attempt->request.spool;
    world.attempt->sent_all = true;
    head(429, NULL, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(spool->len, 4); /* for the next key */
    world.attempt->sent_all = sent;
    head(200, NULL, NULL);
    relays_run(world.relays);
    ck_assert(relay_answered(relay));
    ck_assert_int_eq(spool->len, sent ? 0 : 4);
    ck_assert(sent == (spool->data == NULL));
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    finish(&relay, true);
    ck_assert_uint_eq(world.logged_in, 4);
}
END_TEST

START_TEST(exhausted_after_the_last)
{
    static const char *const seconds[] = {"5", "3", "10"};
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    for (int i = 0; i < 3; i++) {
        head(429, "Retry-After", seconds[i]);
        done(UPSTREAM_COMPLETE, NULL);
        relays_run(world.relays);
    }
    ck_assert_int_eq(world.starts, 3);
    expect_error(relay, 429, "keys_exhausted", "all 3 keys of provider openai");
    ck_assert_str_eq(header_find(answer_of(relay).headers, "Retry-After")->value, "3");
    finish(&relay, true);
    ck_assert_str_eq(world.logged_error, "keys_exhausted");
}
END_TEST

/* Each sees what was marked before it, but those of one turn are content with one look. */
START_TEST(one_look_at_the_keys_a_turn)
{
    struct relay *relays[3];
    for (int i = 0; i < 3; i++)
        world.pool.states[i].permanent = true;
    for (int i = 0; i < 2; i++) {
        relays[i] = begin("GET", "/openai/x", -1, NULL);
        relay_body_end(relays[i]);
        ck_assert(!relay_answered(relays[i]));
    }
    ck_assert_int_eq(world.refreshes, 0);
    ck_assert(relays_run(world.relays));
    ck_assert_int_eq(world.refreshes, 1);
    relays[2] = begin("GET", "/openai/x", -1, NULL);
    end_body(relays[2]);
    ck_assert_int_eq(world.refreshes, 2);
    for (int i = 0; i < 3; i++) {
        expect_error(relays[i], 502, "keys_rejected", "openai");
        relay_finish(&relays[i], true);
    }
    header_list_fini(&request_headers);
}
END_TEST

START_TEST(exhausted_at_the_start)
{
    for (int i = 0; i < 3; i++)
        world.pool.states[i].permanent = true;
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    ck_assert_int_eq(world.starts, 0);
    ck_assert(relay_answered(relay));
    ck_assert_int_eq(world.answers, 1);
    expect_error(relay, 502, "keys_rejected", "openai");
    ck_assert_ptr_null(header_find(answer_of(relay).headers, "Retry-After"));
    finish(&relay, true);
    ck_assert_uint_eq(world.logged_attempts, 0);
    ck_assert_str_eq(world.logged_key, "-");
}
END_TEST

static const struct {
    int status;
    enum key_action action;
    bool marked;
    enum key_status state;
    bool next;
} actions[] = {
    {401, KEY_ACTION_PERMANENT, true, KEY_PERMANENT, true},
    {401, KEY_ACTION_COOLDOWN, true, KEY_TEMPORARY, true},
    {401, KEY_ACTION_PASS, false, KEY_VALID, false},
    {403, KEY_ACTION_PERMANENT, true, KEY_PERMANENT, true},
    {403, KEY_ACTION_COOLDOWN, true, KEY_TEMPORARY, true},
    {403, KEY_ACTION_PASS, false, KEY_VALID, false},
    {400, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
    {402, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
    {404, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
    {413, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
    {422, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
    {500, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
    {503, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
    {529, KEY_ACTION_PERMANENT, false, KEY_VALID, false},
};

START_TEST(what_a_status_does)
{
    world.provider.on_401 = world.provider.on_403 = actions[_i].action;
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(actions[_i].status, "Retry-After", "7");
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(world.marks, actions[_i].marked);
    ck_assert_int_eq(key_status(&world.pool.states[0], world.now.mono_ms), actions[_i].state);
    ck_assert_int_eq(world.starts, actions[_i].next ? 2 : 1);
    ck_assert_int_eq(relay_answered(relay), !actions[_i].next);
    if (actions[_i].state == KEY_TEMPORARY)
        ck_assert_int_eq(world.cooldown_ms, 60000); /* the default: Retry-After belongs to 429 */
    finish(&relay, false);
}
END_TEST

START_TEST(byok_marks_nothing)
{
    static const int statuses[] = {200, 401, 403, 429};
    struct relay *relay = begin("POST", "/openai/x", 4, "Bearer own");
    ck_assert_uint_eq(relay_body(relay, "body", 4), 4);
    ck_assert_int_eq(world.starts, 1); /* before the body's end */
    ck_assert_int_eq(world.attempt->request.body, UPSTREAM_BODY_STREAM);
    ck_assert_ptr_null(world.attempt->request.key);
    end_body(relay);
    head(statuses[_i], "X-Claviger-Error", "forged");
    ck_assert(body("as it came", 10));
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(world.starts, 1);
    ck_assert_int_eq(world.marks + world.refreshes, 0);
    ck_assert_int_eq(answer_of(relay).status, statuses[_i]);
    ck_assert_str_eq(answer_of(relay).body, "as it came");
    ck_assert_ptr_null(header_find(answer_of(relay).headers, "X-Claviger-Error"));
    finish(&relay, true);
    ck_assert_str_eq(world.logged_key, "byok");
}
END_TEST

/* ---- failures */

START_TEST(failure_before_the_commit)
{
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    if (_i >= 2) /* its head came in the same turn */
        head(200, NULL, NULL);
    done(_i % 2 ? UPSTREAM_TIMEOUT : UPSTREAM_FAILED, "it went away");
    relays_run(world.relays);
    expect_error(relay, _i % 2 ? 504 : 502, _i % 2 ? "upstream_timeout" : "upstream_error",
                 "upstream proxy error");
    ck_assert_ptr_nonnull(strstr(answer_of(relay).body, "it went away"));
    ck_assert_int_eq(world.marks, 0);
    ck_assert_int_eq(world.starts, 1);
    finish(&relay, true);
}
END_TEST

START_TEST(failure_behind_the_commit)
{
    char out[64];
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(200, NULL, NULL);
    ck_assert(body("half", 4));
    relays_run(world.relays);
    ck_assert_int_eq(world.answers, 1);
    ck_assert_ptr_null(answer_of(relay).body);
    done(UPSTREAM_FAILED, "reset");
    relays_run(world.relays);
    ck_assert_int_eq(relay_read(relay, out, sizeof out), 4); /* what came is passed on */
    ck_assert_int_eq(relay_read(relay, out, sizeof out), RELAY_READ_CUT);
    finish(&relay, false);
    ck_assert_str_eq(world.logged_error, "upstream_cut");
}
END_TEST

START_TEST(no_memory_for_an_attempt)
{
    world.refuse_start = true;
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    expect_error(relay, 500, "internal_error", "memory");
    finish(&relay, true);
}
END_TEST

START_TEST(client_leaves_while_waiting)
{
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    finish(&relay, false);
    ck_assert_int_eq(world.aborts, 1);
    ck_assert_int_eq(world.logged_status, 499);
    ck_assert_str_eq(world.logged_error, "client_closed");
}
END_TEST

START_TEST(client_leaves_between_two_attempts)
{
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(429, NULL, NULL);
    finish(&relay, false); /* it was in the list of those with something to do */
    ck_assert(!relays_run(world.relays));
    ck_assert_int_eq(world.starts, 1);
}
END_TEST

static const struct {
    const char *target;
    int64_t length;
    const char *authorization;
    const char *base_url;
    int status;
    const char *code;
    const char *text;
} refusals[] = {
    {"/other/x", -1, NULL, NULL, 404, "no_route", "no provider"},
    {"/openaix", -1, NULL, NULL, 404, "no_route", "no provider"},
    {"/openai/x", -1, NULL, "http://h/%zz", 502, "invalid_base_url", "invalid provider base URL"},
    {"/openai/x", -1, "Bearer own", "ftp://h", 502, "invalid_base_url", "invalid provider base URL"},
    {"/openai/x", -1, "Bearer clv_unknown", NULL, 401, "unauthorized", "token"},
    {"/openai/x", 1000001, NULL, NULL, 413, "body_too_large", "1000000"},
    {"/openai/x", 1000001, "Bearer own", NULL, 413, "body_too_large", "1000000"},
};

START_TEST(refused_at_the_door)
{
    if (refusals[_i].base_url != NULL) {
        base_url_fini(&world.provider.base_url);
        ck_assert_int_eq(base_url_parse(refusals[_i].base_url, &world.provider.base_url), 0);
    }
    struct relay *relay = begin("POST", refusals[_i].target, refusals[_i].length, refusals[_i].authorization);
    ck_assert(relay_answered(relay));
    ck_assert(!relay_wants_body(relay));
    expect_error(relay, refusals[_i].status, refusals[_i].code, refusals[_i].text);
    ck_assert_uint_eq(relay_body(relay, "rest", 4), 4); /* thrown away */
    end_body(relay);
    ck_assert_int_eq(world.starts, 0);
    finish(&relay, true);
    ck_assert_str_eq(world.logged_error, refusals[_i].code);
}
END_TEST

START_TEST(body_grows_too_large)
{
    static char block[400000];
    struct relay *relay = begin("POST", "/openai/x", -2, _i ? "Bearer own" : NULL);
    ck_assert_uint_gt(relay_body(relay, block, 60000), 0);
    for (int i = 0; i < 3 && !relay_answered(relay); i++)
        if (_i) /* a stream takes what fits; ask for all at once */
            relay_body(relay, block, 1000001);
        else
            relay_body(relay, block, sizeof block);
    expect_error(relay, 413, "body_too_large", "1000000");
    ck_assert_int_eq(world.starts, _i);
    ck_assert_int_eq(world.aborts, _i); /* the stream is broken off */
    ck_assert_uint_eq(relay_body(relay, block, sizeof block), sizeof block);
    finish(&relay, true);
}
END_TEST

/* Whoever receives the body refuses it: what was begun ends, and a second word comes too late. */
START_TEST(body_is_given_up)
{
    struct relay *relay = begin("POST", "/openai/x", 100, _i ? "Bearer own" : NULL);
    ck_assert_uint_eq(relay_body(relay, "begin", 5), 5);
    ck_assert_int_eq(world.starts, _i);
    relay_give_up(relay, REPLY_REQUEST_TIMEOUT, "too slow");
    ck_assert_int_eq(world.aborts, _i);
    expect_error(relay, 408, "request_timeout", "too slow");
    relay_give_up(relay, REPLY_BAD_REQUEST, "too late");
    expect_error(relay, 408, "request_timeout", "too slow");
    ck_assert(!relay_wants_body(relay));
    ck_assert_uint_eq(relay_body(relay, "rest", 4), 4);
    finish(&relay, true);
    ck_assert_int_eq(world.marks, 0);
    ck_assert_str_eq(world.logged_error, "request_timeout");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("relay");
    TCase *tcase = tcase_create("relay");
    tcase_add_checked_fixture(tcase, world_init, world_fini);
    tcase_add_test(tcase, whole_short_answer);
    tcase_add_test(tcase, fails_over_twice);
    tcase_add_loop_test(tcase, body_goes_with_the_answer, 0, 2);
    tcase_add_test(tcase, exhausted_after_the_last);
    tcase_add_test(tcase, one_look_at_the_keys_a_turn);
    tcase_add_test(tcase, exhausted_at_the_start);
    tcase_add_loop_test(tcase, what_a_status_does, 0, COUNT(actions));
    tcase_add_loop_test(tcase, byok_marks_nothing, 0, 4);
    tcase_add_loop_test(tcase, failure_before_the_commit, 0, 4);
    tcase_add_test(tcase, failure_behind_the_commit);
    tcase_add_test(tcase, no_memory_for_an_attempt);
    tcase_add_test(tcase, client_leaves_while_waiting);
    tcase_add_test(tcase, client_leaves_between_two_attempts);
    tcase_add_loop_test(tcase, refused_at_the_door, 0, COUNT(refusals));
    tcase_add_loop_test(tcase, body_grows_too_large, 0, 2);
    tcase_add_loop_test(tcase, body_is_given_up, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
