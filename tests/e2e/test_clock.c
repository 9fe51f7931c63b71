/*
 * test_clock: the wall clock jumps under a running daemon. Cooldowns go on as they were, for the workers that
 * saw them begin, for one that comes later, and for everybody who looks at the database.
 */
#include "e2e/degraded.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHORT_S 120
#define LONG_S  300
#define WAIT_MS 10000

struct cooldowns {
    struct bench bench;
    struct faults *faults;
    int64_t begin_us;
};

static long passed_s(const struct cooldowns *c)
{
    return (long)((util_now_us() - c->begin_us) / 1000000);
}

/* Whether that is what is left of so many seconds. The row may be a second off; the rest is rounding. */
static bool is_left(const struct cooldowns *c, long left_s, long of_s)
{
    return left_s <= of_s + 1 && left_s >= of_s - passed_s(c) - 2;
}

/* Every key is cooling down: 429, with what is left of the shorter cooldown. */
static void expect_exhausted(struct cooldowns *c, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct http_response r;
        const char *after;

        bench_post(&c->bench, NULL, &r);
        after = http_get(&r, "Retry-After");
        ck_assert_msg(r.status == 429 && after != NULL, "status %d: %s", r.status, http_body(&r));
        ck_assert_msg(is_left(c, strtol(after, NULL, 10), SHORT_S), "Retry-After: %s after %ld s of %d",
                      after, passed_s(c), SHORT_S);
        http_response_fini(&r);
    }
}

/* Both keys' seconds_left in a JSON list of keys. */
static bool json_is_right(const struct cooldowns *c, const char *text)
{
    json_t *list = json_loads(text, 0, NULL);
    const json_t *first = json_array_get(list, 0);
    const json_t *second = json_array_get(list, 1);
    bool right = json_is_integer(json_object_get(first, "seconds_left")) &&
                 is_left(c, (long)json_integer_value(json_object_get(first, "seconds_left")), SHORT_S) &&
                 json_is_integer(json_object_get(second, "seconds_left")) &&
                 is_left(c, (long)json_integer_value(json_object_get(second, "seconds_left")), LONG_S);

    json_decref(list);
    return right;
}

static bool page_is_right(void *arg)
{
    const struct cooldowns *c = arg;
    struct http_request request = {.method = "GET", .target = "/keys"};
    struct http_response r;
    bool right;

    http_fetch(c->bench.daemon.admin_port, &request, &r);
    right = r.status == 200 && json_is_right(c, http_body(&r));
    http_response_fini(&r);
    return right;
}

static bool ctl_is_right(void *arg)
{
    const struct cooldowns *c = arg;
    struct run run;
    bool right;

    run_program(&run, NULL, daemon_ctl_binary(), "-c", c->bench.daemon.conf, "--json", "keys", NULL);
    right = run.status == 0 && json_is_right(c, run_out(&run));
    run_fini(&run);
    return right;
}

static bool view_is_right(void *arg)
{
    const struct cooldowns *c = arg;
    struct run run;
    char *rest = NULL;
    bool right;

    run_program(&run, NULL, "sqlite3", c->bench.daemon.db, "SELECT seconds_left FROM keys", NULL);
    right = run.status == 0 && is_left(c, strtol(run_out(&run), &rest, 10), SHORT_S) &&
            is_left(c, strtol(rest, NULL, 10), LONG_S);
    run_fini(&run);
    return right;
}

static void expect_everywhere(struct cooldowns *c)
{
    ck_assert_msg(util_wait(page_is_right, c, WAIT_MS), "/keys has other deadlines");
    ck_assert_msg(util_wait(ctl_is_right, c, WAIT_MS), "clavigerctl keys has other deadlines");
    ck_assert_msg(util_wait(view_is_right, c, WAIT_MS), "the view has other deadlines");
}

static void open_cooldowns(struct cooldowns *c, const char *more)
{
    static const struct fake_answer answers[] = {{.status = 429, .headers = "Retry-After: 120\r\n"},
                                                 {.status = 429, .headers = "Retry-After: 300\r\n"}};

    bench_prepare(&c->bench, &SUITE_APIS[0], KEY0 " " KEY1, more);
    c->faults = faults_begin(c->bench.daemon.dir, "state.db");
    c->bench.daemon.workers = 2;
    daemon_start(&c->bench.daemon);
    fake_on_key(c->bench.fake, KEY0, &answers[0]);
    fake_on_key(c->bench.fake, KEY1, &answers[1]);
    c->begin_us = util_now_us();
}

static const int64_t jumps_ms[] = {86400000, -86400000, 3600000, -3600000};

START_TEST(the_wall_clock_jumps)
{
    struct cooldowns c = {0};
    struct daemon *d = &c.bench.daemon;
    pid_t pids[2];

    open_cooldowns(&c, NULL);
    expect_exhausted(&c, 20);
    expect_requests(&c.bench, 2);
    expect_everywhere(&c);
    atomic_store(&c.faults->clock_ms, jumps_ms[_i]);
    expect_everywhere(&c);
    expect_exhausted(&c, 20);
    /* Who has read nothing before the jump. */
    ck_assert_uint_eq(daemon_children(d, "worker", pids, 2), 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
        ck_assert(daemon_wait_workers(d, 2, pids[i], WAIT_MS));
    }
    expect_exhausted(&c, 20);
    /* And back again, and over a restart. */
    atomic_store(&c.faults->clock_ms, 0);
    expect_everywhere(&c);
    expect_exhausted(&c, 10);
    daemon_stop(d);
    daemon_start(d);
    expect_exhausted(&c, 10);
    expect_everywhere(&c);
    expect_requests(&c.bench, 2);
    bench_close(&c.bench);
}
END_TEST

/* A new mark after the jump lasts as long as its answer says. */
START_TEST(a_mark_after_the_jump)
{
    struct cooldowns c = {0};

    open_cooldowns(&c, NULL);
    atomic_store(&c.faults->clock_ms, jumps_ms[_i]);
    expect_exhausted(&c, 10);
    expect_requests(&c.bench, 2);
    expect_everywhere(&c);
    bench_close(&c.bench);
}
END_TEST

/* A deadline that somebody wrote years ahead is max_cooldown away. */
START_TEST(a_deadline_years_ahead)
{
    struct cooldowns c = {0};
    char out[8];

    open_cooldowns(&c, "    max_cooldown = 300s");
    expect_exhausted(&c, 10);
    daemon_sql(&c.bench.daemon, "UPDATE key_state SET cooldown_until = 4102444800000 WHERE position = 1", out,
               sizeof(out));
    expect_exhausted(&c, 10);
    expect_everywhere(&c);
    expect_requests(&c.bench, 2);
    bench_close(&c.bench);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("clock");
    TCase *tc = suite_case(s, "clock", 90);

    tcase_add_loop_test(tc, the_wall_clock_jumps, 0, 4);
    tcase_add_loop_test(tc, a_mark_after_the_jump, 0, 4);
    tcase_add_test(tc, a_deadline_years_ahead);
    return suite_run(s);
}
