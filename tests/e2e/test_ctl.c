/*
 * test_ctl: clavigerctl against a running daemon and against a database alone.
 */
#include "e2e/suite.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DONE = 0, FAILED = 1, USAGE = 2, NOT_RUNNING = 3 };

/* clavigerctl -c CONF and up to four more arguments; fails the test when the exit status is another. */
static void ctl(struct bench *b, struct run *run, int status, const char *a0, const char *a1, const char *a2,
                const char *a3)
{
    run_program(run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, a0, a1, a2, a3, NULL);
    ck_assert_msg(run->status == status, "%s %s %s: status %d, not %d\n%s%s", a0, a1 ? a1 : "", a2 ? a2 : "",
                  run->status, status, run_out(run), run_err(run));
    ck_assert_ptr_null(strstr(run_out(run), SUITE_CANARY));
    ck_assert_ptr_null(strstr(run_err(run), SUITE_CANARY));
    if (status != DONE && status != NOT_RUNNING)
        ck_assert_uint_gt(run->err.len, 0);
}

static void ctl_only(struct bench *b, int status, const char *a0, const char *a1, const char *a2)
{
    struct run run;

    ctl(b, &run, status, a0, a1, a2, NULL);
    run_fini(&run);
}

static void post_and_expect(struct bench *b, int status)
{
    struct http_response r;

    bench_post(b, NULL, &r);
    ck_assert_int_eq(r.status, status);
    http_response_fini(&r);
}

static void script(struct bench *b)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const struct fake_answer refused = {.status = 401};

    fake_on_key(b->fake, KEY0, &limited);
    fake_on_key(b->fake, KEY1, &refused);
}

START_TEST(keys_and_status)
{
    struct run run;
    struct bench b;
    json_t *root;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    script(&b);
    post_and_expect(&b, 200);
    daemon_expect_states(&b.daemon, b.api->name, "temporary permanent valid");

    ctl(&b, &run, DONE, "keys", NULL, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), HINT0));
    ck_assert_ptr_nonnull(strstr(run_out(&run), HINT2));
    ck_assert_ptr_nonnull(strstr(run_out(&run), "rate_limited"));
    ck_assert_ptr_nonnull(strstr(run_out(&run), "unauthorized"));
    run_fini(&run);
    ctl(&b, &run, DONE, "keys", b.api->name, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), HINT1));
    run_fini(&run);
    ctl(&b, &run, DONE, "--json", "keys", b.api->name, NULL);
    root = json_loads(run_out(&run), 0, NULL);
    ck_assert_uint_eq(json_array_size(root), 3);
    ck_assert_str_eq(json_string_value(json_object_get(json_array_get(root, 1), "state")), "permanent");
    json_decref(root);
    run_fini(&run);
    ctl_only(&b, FAILED, "keys", "nobody", NULL);

    ctl(&b, &run, DONE, "status", NULL, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), b.api->name));
    run_fini(&run);
    ctl(&b, &run, DONE, "--json", "status", NULL, NULL);
    root = json_loads(run_out(&run), 0, NULL);
    ck_assert(json_is_object(root));
    ck_assert(json_is_true(json_object_get(root, "running")));
    ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(root, "daemon"), "pid")),
                     b.daemon.pid);
    json_decref(root);
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* What is changed with clavigerctl holds for the next request. */
START_TEST(edits_on_a_running_daemon)
{
    struct bench b;
    const char *name;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    name = b.api->name;
    script(&b);
    post_and_expect(&b, 200);
    daemon_expect_states(&b.daemon, name, "temporary permanent valid");
    fake_forget_rules(b.fake);

    ctl_only(&b, DONE, "reset", name, "1");
    daemon_expect_states(&b.daemon, name, "temporary valid valid");
    post_and_expect(&b, 200);
    ck_assert_str_eq(fake_request(b.fake, 4)->key, KEY1);
    ctl_only(&b, DONE, "reset", name, HINT0);
    post_and_expect(&b, 200);
    ck_assert_str_eq(fake_request(b.fake, 5)->key, KEY0);
    ctl_only(&b, DONE, "disable", name, "0");
    daemon_expect_states(&b.daemon, name, "permanent valid valid");
    post_and_expect(&b, 200);
    ck_assert_str_eq(fake_request(b.fake, 6)->key, KEY1);
    ctl_only(&b, DONE, "enable", name, "0");
    post_and_expect(&b, 200);
    ck_assert_str_eq(fake_request(b.fake, 7)->key, KEY0);
    ctl_only(&b, DONE, "disable", name, "0");
    ctl_only(&b, DONE, "disable", name, "1");
    ctl_only(&b, DONE, "disable", name, "2");
    post_and_expect(&b, 502);
    expect_requests(&b, 7);
    ctl_only(&b, DONE, "reset", name, NULL);
    daemon_expect_states(&b.daemon, name, "valid valid valid");
    post_and_expect(&b, 200);
    expect_requests(&b, 8);
    bench_close(&b);
}
END_TEST

START_TEST(a_key_by_its_id)
{
    struct bench b;
    char id[32];
    char reason[32];

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1, NULL);
    daemon_sql(&b.daemon, "SELECT key_id FROM key_state WHERE position = 1", id, sizeof(id));
    ck_assert_uint_eq(strlen(id), 16);
    ctl_only(&b, DONE, "disable", b.api->name, id);
    daemon_expect_states(&b.daemon, b.api->name, "valid permanent");
    daemon_sql(&b.daemon, "SELECT reason FROM key_state WHERE position = 1", reason, sizeof(reason));
    ck_assert_str_eq(reason, "disabled");
    bench_close(&b);
}
END_TEST

/* Wrong words, wrong keys. */
START_TEST(exit_statuses)
{
    struct bench b;
    struct run run;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    ctl_only(&b, USAGE, "no-such-command", NULL, NULL);
    ctl_only(&b, USAGE, "disable", "anthropic", NULL);
    ctl_only(&b, USAGE, "reset", NULL, NULL);
    ctl_only(&b, USAGE, "reload", "now", NULL);
    ctl_only(&b, FAILED, "disable", "anthropic", "7");
    ctl_only(&b, FAILED, "disable", "anthropic", "sk-x...xxxx");
    ctl_only(&b, FAILED, "disable", "nobody", "0");
    ctl_only(&b, FAILED, "reset", "nobody", NULL);
    daemon_expect_states(&b.daemon, "anthropic", "valid valid");
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, NULL);
    ck_assert_int_eq(run.status, USAGE);
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "--no-such-option", NULL);
    ck_assert_int_eq(run.status, USAGE);
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", "/nonexistent/conf", "keys", NULL);
    ck_assert_int_eq(run.status, FAILED);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "/nonexistent/conf"));
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "-V", NULL);
    ck_assert_int_eq(run.status, DONE);
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "-h", NULL);
    ck_assert_int_eq(run.status, DONE);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "disable"));
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* Two keys with one hint: the hint names neither. */
START_TEST(an_ambiguous_hint)
{
    static const char *const twins = "sk-k0-" SUITE_CANARY "-1-aaaa0000 sk-k0-" SUITE_CANARY "-2-aaaa0000";
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], twins, NULL);
    ctl_only(&b, FAILED, "disable", b.api->name, HINT0);
    daemon_expect_states(&b.daemon, b.api->name, "valid valid");
    ctl_only(&b, DONE, "disable", b.api->name, "1");
    daemon_expect_states(&b.daemon, b.api->name, "valid permanent");
    bench_close(&b);
}
END_TEST

/* With the daemon down: the database is worked on, the master cannot be talked to. */
START_TEST(without_a_daemon)
{
    struct run run;
    struct bench b;
    const char *name;
    json_t *root;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    name = b.api->name;
    script(&b);
    post_and_expect(&b, 200);
    daemon_expect_states(&b.daemon, name, "temporary permanent valid");
    daemon_stop(&b.daemon);

    ctl(&b, &run, DONE, "keys", NULL, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), HINT1));
    run_fini(&run);
    ctl_only(&b, DONE, "reset", name, "1");
    ctl_only(&b, DONE, "disable", name, "2");
    daemon_expect_states(&b.daemon, name, "temporary valid permanent");
    ctl_only(&b, NOT_RUNNING, "reload", NULL, NULL);
    ctl_only(&b, NOT_RUNNING, "stop", NULL, NULL);
    ctl_only(&b, NOT_RUNNING, "status", NULL, NULL);
    ctl(&b, &run, NOT_RUNNING, "--json", "status", NULL, NULL);
    root = json_loads(run_out(&run), 0, NULL);
    ck_assert(json_is_false(json_object_get(root, "running")));
    json_decref(root);
    run_fini(&run);

    fake_forget_rules(b.fake);
    daemon_start(&b.daemon);
    post_and_expect(&b, 200);
    ck_assert_str_eq(fake_request(b.fake, 4)->key, KEY1);
    bench_close(&b);
}
END_TEST

/* reload returns when the new configuration serves, or says why it was refused. */
START_TEST(reload)
{
    struct http_request request = {.target = "/second/v1/x", .body = "{}"};
    struct http_response r;
    struct run run;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    daemon_provider(&b.daemon, "second", fake_url(b.fake), NULL, "    type = openai");
    daemon_write(&b.daemon);
    ctl_only(&b, DONE, "reload", NULL, NULL);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);

    daemon_text(&b.daemon.top, "no_such_option = 1");
    daemon_write(&b.daemon);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "reload", NULL);
    ck_assert_int_eq(run.status, FAILED);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "no_such_option"));
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
    ck_assert_int_eq(run.status, DONE);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "no_such_option"));
    run_fini(&run);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

START_TEST(stop)
{
    struct bench b;
    int status;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    ctl_only(&b, DONE, "stop", NULL, NULL);
    status = daemon_wait(&b.daemon, 2000);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctl");
    TCase *tc = suite_case(s, "ctl", 60);

    tcase_add_loop_test(tc, keys_and_status, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, edits_on_a_running_daemon, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_key_by_its_id, 0, SUITE_API_COUNT);
    tcase_add_test(tc, exit_statuses);
    tcase_add_loop_test(tc, an_ambiguous_hint, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, without_a_daemon, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, reload, 0, SUITE_API_COUNT);
    tcase_add_test(tc, stop);
    return suite_run(s);
}
