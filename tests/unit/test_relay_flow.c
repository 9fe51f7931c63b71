/*
 * test_relay_flow: bytes on their way through a relay, in the same world: a slow side holds the other, and no
 * key comes back with an answer.
 */
#include "unit/relay_words.h"

/* ---- flow */

START_TEST(slow_client_holds_the_upstream)
{
    static char block[16384];
    char out[8192];
    size_t taken = 0;
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(200, NULL, NULL);
    relays_run(world.relays);
    while (body(block, sizeof block))
        taken += sizeof block;
    ck_assert_uint_le(taken, RELAY_BUFFER_HIGH + sizeof block);
    ck_assert(!body(block, 1));
    size_t left = taken;
    while (left > RELAY_BUFFER_LOW + sizeof out) {
        ck_assert_int_eq(relay_read(relay, out, sizeof out), (ssize_t)sizeof out);
        left -= sizeof out;
        ck_assert_int_eq(world.resumes, 0);
    }
    ck_assert_int_eq(relay_read(relay, out, sizeof out), (ssize_t)sizeof out);
    ck_assert_int_eq(world.resumes, 1);
    ck_assert(body(block, sizeof block));
    finish(&relay, false);
}
END_TEST

START_TEST(reader_is_called_when_bytes_come)
{
    char out[16];
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(200, NULL, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(relay_read(relay, out, sizeof out), RELAY_READ_WAIT);
    relays_run(world.relays);
    ck_assert_int_eq(world.readables, 0);
    ck_assert(body("one", 3));
    relays_run(world.relays);
    ck_assert_int_eq(world.readables, 1);
    ck_assert_int_eq(relay_read(relay, out, sizeof out), 3);
    ck_assert_int_eq(relay_read(relay, out, sizeof out), RELAY_READ_WAIT);
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(world.readables, 2);
    ck_assert_int_eq(relay_read(relay, out, sizeof out), RELAY_READ_END);
    finish(&relay, true);
    ck_assert_uint_eq(world.logged_out, 3);
}
END_TEST

START_TEST(slow_upstream_holds_the_client)
{
    static char block[RELAY_UPLOAD_MAX + 1000];
    char out[4096];
    struct relay *relay = begin("POST", "/openai/x", -2, "Bearer own");
    ck_assert_uint_eq(relay_body(relay, block, sizeof block), RELAY_UPLOAD_MAX);
    ck_assert_uint_eq(relay_body(relay, block, 1000), 0);
    ck_assert_int_eq(world.attempt->request.stream_length, -1);
    size_t sent = 0;
    while (world.writables == 0 && sent < RELAY_UPLOAD_MAX) {
        ck_assert_int_eq(world.attempt->events.upload(world.attempt->arg, out, sizeof out),
                         (ssize_t)sizeof out);
        sent += sizeof out;
        relays_run(world.relays);
    }
    ck_assert_int_eq(world.writables, 1);
    ck_assert_uint_eq(sent, RELAY_UPLOAD_MAX / 2);
    ck_assert_uint_eq(relay_body(relay, block, 1000), 1000);
    end_body(relay);
    while (sent < RELAY_UPLOAD_MAX + 1000)
        sent += (size_t)world.attempt->events.upload(world.attempt->arg, out, sizeof out);
    ck_assert_int_eq(world.attempt->events.upload(world.attempt->arg, out, sizeof out), 0);
    finish(&relay, false);
    ck_assert_uint_eq(world.logged_in, RELAY_UPLOAD_MAX + 1000);
}
END_TEST

START_TEST(upload_waits_for_the_client)
{
    char out[16];
    struct relay *relay = begin("POST", "/openai/x", 8, "Bearer own");
    ck_assert_uint_eq(relay_body(relay, "half", 4), 4);
    ck_assert_int_eq(world.attempt->events.upload(world.attempt->arg, out, sizeof out), 4);
    ck_assert_int_eq(world.attempt->events.upload(world.attempt->arg, out, sizeof out), UPSTREAM_UPLOAD_WAIT);
    world.resumes = 0;
    ck_assert_uint_eq(relay_body(relay, "half", 4), 4);
    ck_assert_int_eq(world.resumes, 1);
    ck_assert_int_eq(world.attempt->events.upload(world.attempt->arg, out, sizeof out), 4);
    end_body(relay);
    ck_assert_int_eq(world.attempt->events.upload(world.attempt->arg, out, sizeof out), 0);
    finish(&relay, false);
}
END_TEST

START_TEST(early_answer_frees_a_held_client)
{
    static char block[RELAY_UPLOAD_MAX + 1000];
    struct relay *relay = begin("POST", "/openai/x", -2, "Bearer own");
    ck_assert_uint_eq(relay_body(relay, block, sizeof block), RELAY_UPLOAD_MAX);
    head(413, NULL, NULL);
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_int_eq(world.answers, 1);
    ck_assert_int_eq(world.writables, 1);
    ck_assert_uint_eq(relay_body(relay, block, sizeof block), sizeof block);
    end_body(relay);
    ck_assert_int_eq(answer_of(relay).status, 413);
    finish(&relay, true);
}
END_TEST

/* ---- an answer that repeats the key */

#define KEY_TEXT "sk-key-number-zero-0000"
#define KEY_LEN  (sizeof KEY_TEXT - 1)
#define HIDDEN   "***********************"

/* What the client got of the body so far. */
static void read_all(struct relay *relay, char *out, size_t max)
{
    ssize_t got;
    size_t len = strlen(out);
    while ((got = relay_read(relay, out + len, max - len - 1)) > 0)
        len += (size_t)got;
    out[len] = '\0';
}

START_TEST(error_that_repeats_the_key)
{
    char out[256] = "";
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(302, "Location", "https://x/?k=" KEY_TEXT);
    relays_run(world.relays);
    ck_assert_uint_eq(answer_of(relay).headers->count, 0);
    ck_assert(body("<" KEY_TEXT "> sk-key", 8 + KEY_LEN + 1));
    read_all(relay, out, sizeof out);
    ck_assert_str_eq(out, "<" HIDDEN "> "); /* the rest may begin a key */
    ck_assert(body("-number-zero-0000!", 18));
    relays_run(world.relays);
    read_all(relay, out, sizeof out);
    ck_assert_str_eq(out, "<" HIDDEN "> " HIDDEN "!");
    ck_assert(body("sk-k", 4));
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    read_all(relay, out, sizeof out);
    ck_assert_str_eq(out, "<" HIDDEN "> " HIDDEN "!sk-k");
    ck_assert_int_eq(relay_read(relay, out, 1), RELAY_READ_END);
    finish(&relay, true);
}
END_TEST

/* Nearly a key at the end, and one in a body that was whole before the commit. */
START_TEST(short_error_that_repeats_the_key)
{
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(404, NULL, NULL);
    ck_assert(body("no " KEY_TEXT, 3 + KEY_LEN));
    ck_assert(body(" " KEY_TEXT, KEY_LEN));
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_str_eq(answer_of(relay).body, "no " HIDDEN " **********************");
    ck_assert_int_eq(answer_of(relay).content_length, 3 + 2 * (int)KEY_LEN);
    finish(&relay, true);
}
END_TEST

/* A success and a BYOK answer are passed on as they come. */
START_TEST(answers_that_are_not_looked_at)
{
    struct relay *relay = begin("GET", "/openai/x", -1, _i == 0 ? NULL : "Bearer own");
    end_body(relay);
    head(_i == 0 ? 200 : 401, NULL, NULL);
    ck_assert(body(KEY_TEXT " sk-key", KEY_LEN + 7));
    done(UPSTREAM_COMPLETE, NULL);
    relays_run(world.relays);
    ck_assert_str_eq(answer_of(relay).body, KEY_TEXT " sk-key");
    finish(&relay, true);
}
END_TEST

/* A cut answer ends where its last whole part ends. */
START_TEST(cut_error_with_half_a_key)
{
    char out[256] = "";
    struct relay *relay = begin("GET", "/openai/x", -1, NULL);
    end_body(relay);
    head(500, NULL, NULL);
    relays_run(world.relays);
    ck_assert(body("<" KEY_TEXT, KEY_LEN));
    done(UPSTREAM_FAILED, "cut");
    relays_run(world.relays);
    read_all(relay, out, sizeof out);
    ck_assert_str_eq(out, "<");
    ck_assert_int_eq(relay_read(relay, out, 1), RELAY_READ_CUT);
    finish(&relay, false);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("relay_flow");
    TCase *tcase = tcase_create("relay_flow");
    tcase_add_checked_fixture(tcase, world_init, world_fini);
    tcase_add_test(tcase, slow_client_holds_the_upstream);
    tcase_add_test(tcase, reader_is_called_when_bytes_come);
    tcase_add_test(tcase, slow_upstream_holds_the_client);
    tcase_add_test(tcase, upload_waits_for_the_client);
    tcase_add_test(tcase, early_answer_frees_a_held_client);
    tcase_add_test(tcase, error_that_repeats_the_key);
    tcase_add_test(tcase, short_error_that_repeats_the_key);
    tcase_add_loop_test(tcase, answers_that_are_not_looked_at, 0, 2);
    tcase_add_test(tcase, cut_error_with_half_a_key);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
