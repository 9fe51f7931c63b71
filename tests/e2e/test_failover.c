/*
 * test_failover: the walk through a pool, end to end: which keys are tried, what the client gets, what is
 * remembered.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_KEYS 3

static const char *const KEYS[MAX_KEYS] = {KEY0, KEY1, KEY2};

struct row {
    const char *keys;      /* of the pool, NULL = none */
    bool byok;             /* the client brings its own */
    int answers[MAX_KEYS]; /* status by key; for a client's own key the first */
    const char *retry_after[MAX_KEYS];
    unsigned requests;
    int status;
    const char *client_retry_after; /* NULL = the field must not be there */
    const char *code;               /* X-Claviger-Error, NULL = the answer is the provider's */
    const char *states;
};

static const struct row ROWS[] = {
    {KEY0, false, {200}, {NULL}, 1, 200, NULL, NULL, "valid"},
    {KEY0 " " KEY1, false, {429, 200}, {"5"}, 2, 200, NULL, NULL, "temporary valid"},
    {KEY0 " " KEY1, false, {401, 200}, {NULL}, 2, 200, NULL, NULL, "permanent valid"},
    {KEY0 " " KEY1, false, {403, 200}, {NULL}, 2, 200, NULL, NULL, "permanent valid"},
    {KEY0 " " KEY1 " " KEY2,
     false,
     {429, 429, 429},
     {"5", "3", "10"},
     3,
     429,
     "3",
     "keys_exhausted",
     "temporary temporary temporary"},
    {KEY0 " " KEY1, false, {401, 401}, {NULL}, 2, 502, NULL, "keys_rejected", "permanent permanent"},
    {KEY0 " " KEY1, false, {401, 429}, {NULL, "7"}, 2, 429, "7", "keys_exhausted", "permanent temporary"},
    {KEY0 " " KEY1, false, {500, 200}, {NULL}, 1, 500, NULL, NULL, "valid valid"},
    {NULL, true, {429}, {"5"}, 1, 429, "5", NULL, ""},
    {KEY0, true, {429}, {"5"}, 1, 429, "5", NULL, "valid"},
};

#define ROW_COUNT ((int)(sizeof(ROWS) / sizeof(ROWS[0])))

static void script_key(struct fake *fake, const char *key, int status, const char *retry_after)
{
    static char headers[MAX_KEYS + 1][64];
    static char bodies[MAX_KEYS + 1][32];
    static int used;
    struct fake_answer a = {.status = status};
    int i = used++ % (MAX_KEYS + 1);

    if (retry_after != NULL) {
        snprintf(headers[i], sizeof(headers[i]), "Retry-After: %s\r\n", retry_after);
        a.headers = headers[i];
    }
    snprintf(bodies[i], sizeof(bodies[i]), "{\"scripted\":%d}", status);
    a.body = bodies[i];
    fake_on_key(fake, key, &a);
}

static void expect_outcome(struct bench *b, const struct row *row, const struct http_response *r)
{
    char body[32];

    if (row->code == NULL) {
        snprintf(body, sizeof(body), "{\"scripted\":%d}", row->status);
        expect_answer(r, row->status, body);
    } else {
        bool limited = row->status == 429;

        expect_error(r, b->api, row->status, row->code,
                     limited ? b->api->error_rate_limited : b->api->error_api, b->api->name);
    }
    if (row->client_retry_after != NULL)
        ck_assert_str_eq(http_get(r, "Retry-After"), row->client_retry_after);
    else
        ck_assert_ptr_null(http_get(r, "Retry-After"));
}

START_TEST(a_row_of_the_table)
{
    const struct row *row = &ROWS[_i / SUITE_API_COUNT];
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i % SUITE_API_COUNT], row->keys, NULL);
    for (int i = 0; i < MAX_KEYS && row->answers[i] != 0; i++)
        script_key(b.fake, row->byok ? OWN_KEY : KEYS[i], row->answers[i], row->retry_after[i]);
    daemon_start(&b.daemon);

    bench_post(&b, row->byok ? bench_auth(&b, OWN_KEY) : NULL, &r);
    expect_outcome(&b, row, &r);
    http_response_fini(&r);
    expect_requests(&b, row->requests);
    for (unsigned i = 0; i < row->requests; i++)
        ck_assert_str_eq(fake_request(b.fake, i + 1)->key, row->byok ? OWN_KEY : KEYS[i]);
    daemon_expect_states(&b.daemon, b.api->name, row->states);

    if (row->code != NULL) {
        /* Nothing is valid at the start now: no request goes upstream, nothing changes. */
        bench_post(&b, NULL, &r);
        ck_assert_int_eq(r.status, row->status);
        ck_assert_str_eq(http_get(&r, "X-Claviger-Error"), row->code);
        if (row->client_retry_after != NULL) {
            long left = strtol(http_get(&r, "Retry-After"), NULL, 10);

            ck_assert_int_ge(left, 1);
            ck_assert_int_le(left, strtol(row->client_retry_after, NULL, 10));
        } else {
            ck_assert_ptr_null(http_get(&r, "Retry-After"));
        }
        http_response_fini(&r);
        expect_requests(&b, row->requests);
        daemon_expect_states(&b.daemon, b.api->name, row->states);
    }
    bench_close(&b);
}
END_TEST

/* on_401 and on_403: cooldown makes the key temporary for default_cooldown, pass touches nothing. */
START_TEST(on_401_and_on_403)
{
    static const struct {
        const char *option;
        int refusal;
        unsigned requests;
        int status;
        const char *states;
    } cases[] = {
        {"    on_401 = cooldown", 401, 2, 200, "temporary valid"},
        {"    on_403 = cooldown", 403, 2, 200, "temporary valid"},
        {"    on_401 = pass", 401, 1, 401, "valid valid"},
        {"    on_403 = pass", 403, 1, 403, "valid valid"},
        {"    on_401 = pass", 403, 2, 200, "permanent valid"},
        {"    on_403 = cooldown", 401, 2, 200, "permanent valid"},
    };
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0 " " KEY1, cases[_i / SUITE_API_COUNT].option);
    script_key(b.fake, KEY0, cases[_i / SUITE_API_COUNT].refusal, NULL);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, cases[_i / SUITE_API_COUNT].status);
    ck_assert_ptr_null(http_get(&r, "X-Claviger-Error"));
    http_response_fini(&r);
    expect_requests(&b, cases[_i / SUITE_API_COUNT].requests);
    daemon_expect_states(&b.daemon, b.api->name, cases[_i / SUITE_API_COUNT].states);
    bench_close(&b);
}
END_TEST

static void http_date(char *out, size_t size, int seconds_ahead)
{
    time_t at = time(NULL) + seconds_ahead;
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(out, size, "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
}

/* The forms of a cooldown, seen through what the client of an exhausted pool is told. */
START_TEST(forms_of_retry_after)
{
    static const struct {
        const char *headers; /* NULL = an HTTP-date, 40 s ahead */
        long at_least;
        long at_most;
    } cases[] = {
        {"Retry-After: 7\r\n", 7, 7},
        {"retry-after-ms: 2500.5\r\nRetry-After: 30\r\n", 3, 3},
        {NULL, 38, 40},
        {"Retry-After: soon\r\n", 20, 20},
        {"retry-after-ms: -1\r\nRetry-After: 0\r\n", 20, 20},
        {"Retry-After: 99999\r\n", 50, 50},
        {"", 20, 20},
    };
    struct fake_answer a = {.status = 429, .headers = cases[_i].headers};
    char date[80];
    struct http_response r;
    struct bench b;
    long told;

    bench_open(&b, &SUITE_APIS[_i % SUITE_API_COUNT], KEY0,
               "    default_cooldown = 20s\n    max_cooldown = 50s");
    http_date(date, sizeof(date), 40);
    if (a.headers == NULL)
        a.headers = date;
    fake_on_any(b.fake, &a);
    bench_post(&b, NULL, &r);
    expect_error(&r, b.api, 429, "keys_exhausted", b.api->error_rate_limited, b.api->name);
    told = strtol(http_get(&r, "Retry-After"), NULL, 10);
    ck_assert_int_ge(told, cases[_i].at_least);
    ck_assert_int_le(told, cases[_i].at_most);
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* A key whose cooldown is over is valid again by itself. */
static bool answers_200(void *arg)
{
    struct bench *b = arg;
    struct http_response r;
    bool ok;

    bench_post(b, NULL, &r);
    ok = r.status == 200;
    http_response_fini(&r);
    return ok;
}

START_TEST(a_cooldown_ends)
{
    struct fake_answer limited = {.status = 429, .headers = "retry-after-ms: 400\r\n"};
    struct http_response r;
    struct bench b;
    int64_t start;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    fake_on_number(b.fake, 1, &limited);
    start = util_now_us();
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 429);
    ck_assert_str_eq(http_get(&r, "Retry-After"), "1");
    http_response_fini(&r);
    ck_assert(util_wait(answers_200, &b, 10000));
    ck_assert_int_ge(util_now_us() - start, 400000);
    expect_requests(&b, 2);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

/* A request that was under way when its key turned permanent cannot make it temporary by a late 429. */
START_TEST(permanent_is_final)
{
    struct fake_answer late = {.status = 429, .headers = "Retry-After: 1\r\n", .delay_ms = 600};
    struct fake_answer refused = {.status = 401};
    struct http_client slow;
    struct http_request request = {.body = "{}"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1, NULL);
    fake_on_number(b.fake, 1, &late);
    fake_on_key(b.fake, KEY0, &refused);
    request.target = b.api->target;
    http_connect(&slow, b.daemon.port);
    http_write_request(&slow, &request);
    ck_assert(fake_wait_requests(b.fake, 1, 10000));

    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "permanent valid");
    http_read(&slow, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    http_close(&slow);
    daemon_expect_states(&b.daemon, b.api->name, "permanent valid");
    expect_requests(&b, 4);
    bench_close(&b);
}
END_TEST

/* A shorter cooldown that comes later does not shorten the longer one. */
START_TEST(a_cooldown_is_never_shortened)
{
    struct fake_answer late = {.status = 429, .headers = "Retry-After: 2\r\n", .delay_ms = 600};
    struct fake_answer limited = {.status = 429, .headers = "Retry-After: 100\r\n"};
    struct http_client slow;
    struct http_request request = {.body = "{}"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    fake_on_number(b.fake, 1, &late);
    fake_on_number(b.fake, 2, &limited);
    request.target = b.api->target;
    http_connect(&slow, b.daemon.port);
    http_write_request(&slow, &request);
    ck_assert(fake_wait_requests(b.fake, 1, 10000));
    bench_post(&b, NULL, &r);
    ck_assert_str_eq(http_get(&r, "Retry-After"), "100");
    http_response_fini(&r);
    http_read(&slow, &r);
    ck_assert_int_eq(r.status, 429);
    ck_assert_int_ge(strtol(http_get(&r, "Retry-After"), NULL, 10), 90);
    http_response_fini(&r);
    http_close(&slow);
    bench_close(&b);
}
END_TEST

/* What the row of a marked key says. */
START_TEST(the_row_of_a_mark)
{
    static const struct {
        int status;
        const char *row;
    } cases[] = {
        {429, HINT0 "|temporary|429|rate_limited|1"},
        {401, HINT0 "|permanent|401|unauthorized|1"},
        {403, HINT0 "|permanent|403|forbidden|1"},
    };
    struct http_response r;
    struct bench b;
    char row[128];

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    script_key(b.fake, KEY0, cases[_i].status, NULL);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name,
                         cases[_i].status == 429 ? "temporary valid" : "permanent valid");
    daemon_sql(&b.daemon,
               "SELECT hint || '|' || state || '|' || status || '|' || reason || '|' || failures FROM keys "
               "ORDER BY position LIMIT 1",
               row, sizeof(row));
    ck_assert_str_eq(row, cases[_i].row);
    /* The mark is in the log, with the hint and without the key. */
    ck_assert(daemon_wait_log(&b.daemon, HINT0, 3000));
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("failover");
    TCase *tc = suite_case(s, "walk", 60);

    tcase_add_loop_test(tc, a_row_of_the_table, 0, ROW_COUNT * SUITE_API_COUNT);
    tcase_add_loop_test(tc, on_401_and_on_403, 0, 6 * SUITE_API_COUNT);
    tcase_add_loop_test(tc, forms_of_retry_after, 0, 7);
    tcase_add_loop_test(tc, a_cooldown_ends, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, permanent_is_final, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_cooldown_is_never_shortened, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, the_row_of_a_mark, 0, 3);
    return suite_run(s);
}
