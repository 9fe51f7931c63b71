/* test_upstream_faults: attempts through the real HTTP client library: what must not hold the others up, and
 * deadlines. */
#include "upstream_world.h"

/* ---- conditions and deeds that several tests share */

static bool has(size_t visitor, const char *text)
{
    const struct buf *got = &world.visitors[visitor].got;
    return visitor < world.visitor_count && got->len >= strlen(text) &&
           memmem(got->data, got->len, text, strlen(text)) != NULL;
}

static bool always(void)
{
    return true;
}

static bool first_head_came(void)
{
    return has(0, "\r\n\r\n");
}

static bool second_is_done(void)
{
    return world.calls[1].done;
}

static bool first_is_done(void)
{
    return world.calls[0].done;
}

static void answer_first(void)
{
    say(0, ANSWER);
}

static void expect_result(size_t call, enum upstream_result result)
{
    ck_assert(world.calls[call].done);
    ck_assert_int_eq(world.calls[call].result, result);
}

/* ---- one descriptor that cannot be watched */

static void get_first(void)
{
    start(0, 0, "GET", UPSTREAM_BODY_NONE, -1);
}

static void get_second_unwatched(void)
{
    world.providers[0].header_timeout_ms = 300;
    refuse_watch = true;
    start(1, 0, "GET", UPSTREAM_BODY_NONE, -1);
}

/* It runs into a timeout of its own, and the others go on. */
START_TEST(one_socket_is_not_watched)
{
    static const struct step steps[] = {
        {always, get_first},
        {first_head_came, get_second_unwatched},
        {second_is_done, answer_first},
        {first_is_done, NULL},
        {NULL, NULL},
    };
    play(steps);
    ck_assert(!refuse_watch);
    ck_assert_int_ne(world.calls[1].result, UPSTREAM_COMPLETE);
    expect_result(0, UPSTREAM_COMPLETE);
    ck_assert_str_eq(world.calls[0].body.data, "ok");
}
END_TEST

/* ---- a name server that does not answer */

static void ask_for_a_name(void)
{
    start(0, 1, "GET", UPSTREAM_BODY_NONE, -1);
}

static void give_it_up(void)
{
    world.begin_ms = now_ms();
    upstream_abort(&world.calls[0].attempt);
    ck_assert_int_lt(now_ms() - world.begin_ms, PROMPT_MS);
    start(1, 0, "GET", UPSTREAM_BODY_NONE, -1);
}

static void let_names_go(void)
{
    (void)pthread_mutex_lock(&names.lock);
    names.answers = true;
    (void)pthread_cond_broadcast(&names.changed);
    while (names.waiting > 0)
        (void)pthread_cond_wait(&names.changed, &names.lock);
    (void)pthread_mutex_unlock(&names.lock);
}

/* A client that leaves meanwhile does not make everybody wait for it. */
START_TEST(a_name_that_is_given_up)
{
    static const struct step steps[] = {
        {always, ask_for_a_name},
        {a_name_is_asked_for, give_it_up},
        {first_head_came, answer_first},
        {second_is_done, NULL},
        {NULL, NULL},
    };
    play(steps);
    expect_result(1, UPSTREAM_COMPLETE);
    ck_assert_int_lt(now_ms() - world.begin_ms, PROMPT_MS);
    ck_assert(a_name_is_asked_for()); /* it hung all the time */
    let_names_go();
}
END_TEST

/* Neither does connect_timeout. */
START_TEST(a_name_that_takes_too_long)
{
    static const struct step steps[] = {
        {always, ask_for_a_name},
        {first_is_done, NULL},
        {NULL, NULL},
    };
    world.providers[1].connect_timeout_ms = 300;
    play(steps);
    expect_result(0, UPSTREAM_TIMEOUT);
    ck_assert_int_lt(now_ms() - world.begin_ms, PROMPT_MS);
    ck_assert(a_name_is_asked_for());
    let_names_go();
}
END_TEST

/* ---- header_timeout: from the request's last byte */

#define HEADER_MS 80000
#define SKIP_MS   500
#define HALF      "the first half, "
#define REST      "and the rest"

static int64_t asked_ms; /* when the whole request was there */
static int64_t asked_at_skip_ms;
static bool chunked;

static void begin_upload(void)
{
    world.calls[0].upload = HALF;
    start(0, 0, "POST", UPSTREAM_BODY_STREAM, chunked ? -1 : (int64_t)strlen(HALF REST));
}

static void send_spool(void)
{
    start(0, 0, "POST", UPSTREAM_BODY_SPOOL, -1);
}

static bool half_came(void)
{
    return has(0, HALF);
}

static void skip_a_while(void)
{
    skipped_ms += SKIP_MS;
    world.again = true;
}

/* Lets a time pass in which nothing may end, a piece a turn. */
static bool skipped_to(int64_t ms)
{
    ck_assert(!world.calls[0].done);
    if (skipped_ms >= ms)
        return true;
    skip_a_while();
    return false;
}

static bool client_was_slow(void)
{
    return skipped_to(HEADER_MS * 2);
}

static void end_upload(void)
{
    world.calls[0].upload = REST;
    world.calls[0].upload_ended = true;
    upstream_resume(world.calls[0].attempt);
}

static bool whole_body_came(void)
{
    return has(0, REST) || has(0, BODY);
}

static void look_at_the_clock(void)
{
    asked_ms = now_ms();
    asked_at_skip_ms = skipped_ms;
}

static bool provider_was_slow(void)
{
    return skipped_to(asked_at_skip_ms + HEADER_MS - 5000);
}

static bool timed_out_at_last(void)
{
    if (!world.calls[0].done && skipped_ms < asked_at_skip_ms + HEADER_MS * 2)
        skip_a_while();
    return world.calls[0].done;
}

/* While the client is slow it does not run; from the last byte on it runs, and does not begin anew. */
START_TEST(header_timeout_runs_from_the_last_byte)
{
    static const struct step spooled[] = {
        {always, send_spool},
        {whole_body_came, look_at_the_clock},
        {provider_was_slow, NULL},
        {timed_out_at_last, NULL},
        {NULL, NULL},
    };
    static const struct step streamed[] = {
        {always, begin_upload},
        {half_came, NULL},
        {client_was_slow, end_upload},
        {whole_body_came, look_at_the_clock},
        {provider_was_slow, NULL},
        {timed_out_at_last, NULL},
        {NULL, NULL},
    };
    world.providers[0].header_timeout_ms = HEADER_MS;
    chunked = _i == 2;
    play(_i == 0 ? spooled : streamed);
    expect_result(0, UPSTREAM_TIMEOUT);
    /* Of a body without a length only a look, eight of them in that time, tells that it ended. */
    int64_t late_ms = now_ms() - asked_ms - HEADER_MS;
    ck_assert_int_ge(late_ms, 0 - (int64_t)SKIP_MS);
    ck_assert_int_lt(late_ms, SKIP_MS + PROMPT_MS + (chunked ? HEADER_MS / 8 : 0));
}
END_TEST

/* ---- an answer while the client pauses its upload */

static const struct {
    const char *answer;
    bool hang_up;
    enum upstream_result result;
    int status;
    const char *body;
} early[] = {
#define LENGTH(status, len) "HTTP/1.1 " status " Early\r\nContent-Length: " len "\r\n\r\nearly"
#define CHUNKS(status, end)                                                                                  \
    "HTTP/1.1 " status " Early\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n" end
#define TILL_CLOSE(status) "HTTP/1.1 " status " Early\r\nConnection: close\r\n\r\nearly"
#define KINDS(code, status)                                                                                  \
    {LENGTH(status, "5"), false, UPSTREAM_COMPLETE, code, "early"},                                          \
        {LENGTH(status, "5"), true, UPSTREAM_COMPLETE, code, "early"},                                       \
        {LENGTH(status, "9"), true, UPSTREAM_FAILED, code, "early"},                                         \
        {CHUNKS(status, "0\r\n\r\n"), false, UPSTREAM_COMPLETE, code, "early"},                              \
        {CHUNKS(status, "0\r\n\r\n"), true, UPSTREAM_COMPLETE, code, "early"},                               \
        {CHUNKS(status, "4\r\n"), true, UPSTREAM_FAILED, code, "early"},                                     \
        {TILL_CLOSE(status), true, UPSTREAM_COMPLETE, code, "early"},
    KINDS(200, "200") KINDS(303, "303") KINDS(400, "400") KINDS(429, "429") KINDS(503, "503")};
#define EARLY_COUNT ((int)(sizeof early / sizeof early[0]))

static int early_case;

static void answer_early(void)
{
    world.begin_ms = now_ms();
    say(0, early[early_case].answer);
    if (early[early_case].hang_up)
        hang_up(0);
}

/* The answer's end, whole or cut, is told at once and does not wait for the upload. */
START_TEST(early_answers_end)
{
    static const struct step steps[] = {
        {always, begin_upload},
        {half_came, answer_early},
        {first_is_done, NULL},
        {NULL, NULL},
    };
    chunked = _i >= EARLY_COUNT;
    early_case = _i % EARLY_COUNT;
    play(steps);
    expect_result(0, early[early_case].result);
    ck_assert_int_eq(world.calls[0].status, early[early_case].status);
    ck_assert_str_eq(world.calls[0].body.data, early[early_case].body);
    ck_assert_int_lt(now_ms() - world.begin_ms, PROMPT_MS);
}
END_TEST

/* ---- idle_timeout, while the client pauses its upload */

static void answer_half(void)
{
    asked_ms = now_ms();
    say(0, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nearly");
}

static bool half_an_answer_came(void)
{
    return world.calls[0].body.len == strlen("early");
}

/* It runs all the same: nobody knows whether the client will ever go on. */
START_TEST(idle_timeout_runs_beside_a_paused_upload)
{
    static const struct step steps[] = {
        {always, begin_upload},
        {half_came, answer_half},
        {half_an_answer_came, NULL},
        {timed_out_at_last, NULL},
        {NULL, NULL},
    };
    world.providers[0].idle_timeout_ms = HEADER_MS;
    chunked = _i == 1;
    play(steps);
    expect_result(0, UPSTREAM_TIMEOUT);
    ck_assert_int_ge(now_ms() - asked_ms, HEADER_MS - SKIP_MS);
}
END_TEST

/* ---- more than is read at a time */

#define MUCH 150000 /* some reads, and less than what the socket takes at once */

static void answer_much(void)
{
    static char text[MUCH + 64];
    int head = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", MUCH);
    memset(text + head, 'x', MUCH);
    say(0, text);
}

static void answer_much_and_hang_up(void)
{
    answer_much();
    hang_up(0);
}

/* It is all there at once, and nothing comes after it that would tell of it again. */
START_TEST(an_answer_of_many_reads)
{
    static const struct step steps[][4] = {
        {{always, get_first}, {first_head_came, answer_much}, {first_is_done, NULL}, {NULL, NULL}},
        {{always, get_first},
         {first_head_came, answer_much_and_hang_up},
         {first_is_done, NULL},
         {NULL, NULL}},
    };
    play(steps[_i]);
    expect_result(0, UPSTREAM_COMPLETE);
    ck_assert_uint_eq(world.calls[0].body.len, MUCH);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upstream_faults");
    TCase *tcase = tcase_create("upstream_faults");
    tcase_set_timeout(tcase, 20);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, one_socket_is_not_watched);
    tcase_add_test(tcase, a_name_that_is_given_up);
    tcase_add_test(tcase, a_name_that_takes_too_long);
    tcase_add_loop_test(tcase, header_timeout_runs_from_the_last_byte, 0, 3);
    tcase_add_loop_test(tcase, idle_timeout_runs_beside_a_paused_upload, 0, 2);
    tcase_add_loop_test(tcase, an_answer_of_many_reads, 0, 2);
    tcase_add_loop_test(tcase, early_answers_end, 0, 2 * EARLY_COUNT);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
