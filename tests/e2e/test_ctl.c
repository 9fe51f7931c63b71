/*
 * test_ctl: clavigerctl against a running daemon and against a database alone.
 */
#include "e2e/suite.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
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
    for (int i = 0; i < 2; i++) {
        run_program(&run, NULL, daemon_ctl_binary(), i == 0 ? "-V" : "--version", NULL);
        ck_assert_int_eq(run.status, DONE);
        ck_assert_ptr_nonnull(strstr(run_out(&run), "clavigerctl/"));
        run_fini(&run);
        run_program(&run, NULL, daemon_ctl_binary(), i == 0 ? "-h" : "--help", NULL);
        ck_assert_int_eq(run.status, DONE);
        ck_assert_ptr_nonnull(strstr(run_out(&run), "disable"));
        run_fini(&run);
        run_program(&run, NULL, daemon_ctl_binary(), i == 0 ? "-c" : "--config", b.daemon.conf, "keys", NULL);
        ck_assert_int_eq(run.status, DONE);
        run_fini(&run);
    }
    bench_close(&b);
}
END_TEST

/* Two keys with one hint: the hint names neither. */
START_TEST(an_ambiguous_hint)
{
    static const char *const twins = "sk-k0-" SUITE_CANARY "-1-aaaa0000 sk-k0-" SUITE_CANARY "-2-aaaa0000";
    struct bench b;
    struct run run;
    char sql[160];
    char candidate[64];

    bench_open(&b, &SUITE_APIS[_i], twins, NULL);
    ctl(&b, &run, FAILED, "disable", b.api->name, HINT0, NULL);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "2 keys of provider"));
    for (int i = 0; i < 2; i++) {
        snprintf(sql, sizeof(sql),
                 "SELECT 'position ' || position || ' (key_id ' || key_id || ')' FROM "
                 "key_state WHERE position = %d",
                 i);
        daemon_sql(&b.daemon, sql, candidate, sizeof(candidate));
        ck_assert_msg(strstr(run_err(&run), candidate) != NULL, "no %s in: %s", candidate, run_err(&run));
    }
    run_fini(&run);
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
    ctl(&b, &run, NOT_RUNNING, "status", NULL, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "not running"));
    ck_assert_ptr_nonnull(strstr(run_out(&run), name));
    run_fini(&run);
    ctl(&b, &run, NOT_RUNNING, "--json", "status", NULL, NULL);
    root = json_loads(run_out(&run), 0, NULL);
    ck_assert(json_is_false(json_object_get(root, "running")));
    ck_assert_uint_eq(json_array_size(json_object_get(root, "pools")), 1);
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

/* stop returns when the request in flight has its answer and the master is gone. */
START_TEST(stop)
{
    struct fake_answer slow = {.delay_ms = 700, .body = "in flight"};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;
    int status = -1;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &slow);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(fake_wait_requests(b.fake, 1, 10000));
    ctl_only(&b, DONE, "stop", NULL, NULL);
    ck_assert_int_eq(waitpid(b.daemon.pid, &status, WNOHANG), b.daemon.pid);
    b.daemon.pid = 0;
    ck_assert_int_eq(status, 0);
    ck_assert_int_ne(access(b.daemon.pid_file, F_OK), 0);
    http_read(&client, &r);
    expect_answer(&r, 200, "in flight");
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* A provider without keys has an empty table, and is no error. */
START_TEST(no_keys)
{
    struct bench b;
    struct run run;

    bench_open(&b, &SUITE_APIS[_i], NULL, NULL);
    for (int i = 0; i < 2; i++) {
        ctl(&b, &run, DONE, "keys", i == 0 ? b.api->name : NULL, NULL, NULL);
        ck_assert_str_eq(run_out(&run), "no keys\n");
        run_fini(&run);
        ctl(&b, &run, DONE, "--json", "keys", i == 0 ? b.api->name : NULL, NULL);
        ck_assert_str_eq(run_out(&run), "[]\n");
        run_fini(&run);
    }
    ctl_only(&b, FAILED, "reset", b.api->name, NULL);
    ctl(&b, &run, DONE, "status", NULL, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), b.api->name));
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* What --json prints in each case: one JSON document, also when it failed, whatever the reason. */
static const struct {
    const char *arguments[3];
    int status;
    const char *word; /* of the error; NULL = "ok" is true */
} AS_JSON[] = {
    {{"reset", "anthropic", NULL}, DONE, NULL},
    {{"disable", "anthropic", "1"}, DONE, NULL},
    {{"enable", "anthropic", "1"}, DONE, NULL},
    {{"reload", NULL, NULL}, DONE, NULL},
    {{"keys", "nobody", NULL}, FAILED, "there are keys of anthropic"},
    {{"reset", "nobody", NULL}, FAILED, "nobody"},
    {{"disable", "anthropic", "7"}, FAILED, "no such key"},
    {{"disable", "anthropic", NULL}, USAGE, "disable takes more arguments"},
    {{"status", "now", NULL}, USAGE, "status takes fewer arguments"},
    {{"no-such", NULL, NULL}, USAGE, "no-such"},
    {{"--no-such", "keys", NULL}, USAGE, "wrong usage"},
    {{"status", "--watch", NULL}, USAGE, "--watch is for keys"},
    {{"keys", "--interval=5", NULL}, USAGE, "--interval is for"},
    {{"keys", "--watch", "--interval=soon"}, USAGE, "--interval takes seconds"},
    {{"keys", "--watch", "--interval=0.01"}, USAGE, "--interval takes seconds"},
    {{"keys", "-c", "/nonexistent/conf"}, FAILED, "/nonexistent/conf"},
    {{"stop", NULL, NULL}, DONE, NULL},
    {{"stop", NULL, NULL}, NOT_RUNNING, "not running"},
    {{"reload", NULL, NULL}, NOT_RUNNING, "not running"},
};

START_TEST(every_answer_is_json)
{
    struct bench b;
    struct run run;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    for (size_t i = 0; i < sizeof(AS_JSON) / sizeof(AS_JSON[0]); i++) {
        const char *const *a = AS_JSON[i].arguments;
        const char *error;
        json_t *root;

        /* Also behind the command. */
        if (i % 2)
            run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "--json", a[0], a[1], a[2],
                        NULL);
        else
            run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, a[0], "--json", a[1], a[2],
                        NULL);
        ck_assert_msg(run.status == AS_JSON[i].status, "%zu: status %d: %s", i, run.status, run_err(&run));
        root = json_loads(run_out(&run), 0, NULL);
        ck_assert_msg(json_is_object(root), "%zu: %s", i, run_out(&run));
        error = json_string_value(json_object_get(root, "error"));
        ck_assert_int_eq(json_is_true(json_object_get(root, "ok")), AS_JSON[i].word == NULL);
        if (AS_JSON[i].word != NULL) {
            ck_assert_msg(error != NULL && strstr(error, AS_JSON[i].word) != NULL, "%zu: %s", i,
                          run_out(&run));
            ck_assert_ptr_nonnull(strstr(run_err(&run), AS_JSON[i].word));
        }
        json_decref(root);
        run_fini(&run);
    }
    ck_assert_int_eq(daemon_wait(&b.daemon, 2000), 0);
    bench_close(&b);
}
END_TEST

/* Somebody who listens where the master should and says nothing. */
static void *mute_main(void *arg)
{
    const int *fd = arg;
    char question[64];
    int client;

    while ((client = accept4(*fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        ck_assert_int_ge(read(client, question, sizeof(question)), 0);
        close(client);
    }
    return NULL;
}

/* A master that cannot be asked is no reason to hide the pools. */
START_TEST(status_without_an_answer)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_t thread;
    struct bench b;
    struct run run;
    json_t *root;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_stop(&b.daemon);
    ck_assert_uint_lt(strlen(b.daemon.control), sizeof(addr.sun_path));
    memcpy(addr.sun_path, b.daemon.control, strlen(b.daemon.control));
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(listen(fd, 5), 0);
    ck_assert_int_eq(pthread_create(&thread, NULL, mute_main, &fd), 0);
    ctl(&b, &run, FAILED, "status", NULL, NULL, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "anthropic"));
    ck_assert_ptr_nonnull(strstr(run_err(&run), "without an answer"));
    run_fini(&run);
    ctl(&b, &run, FAILED, "--json", "status", NULL, NULL);
    root = json_loads(run_out(&run), 0, NULL);
    ck_assert(json_is_null(json_object_get(root, "running")));
    ck_assert(json_is_string(json_object_get(root, "daemon_error")));
    ck_assert_uint_eq(json_array_size(json_object_get(root, "pools")), 1);
    json_decref(root);
    run_fini(&run);
    ck_assert_int_eq(shutdown(fd, SHUT_RDWR), 0);
    pthread_join(thread, NULL);
    close(fd);
    bench_close(&b);
}
END_TEST

/* All that the status has to show, for people and for programs. */
/* The master may not have seen yet that the worker of before the reload has ended. */
static bool status_has_two_workers(void *arg)
{
    struct bench *b = arg;
    struct run run;
    json_t *root;
    bool two;

    ctl(b, &run, DONE, "status", "--json", NULL, NULL);
    root = json_loads(run_out(&run), 0, NULL);
    run_fini(&run);
    two = json_array_size(json_object_get(json_object_get(root, "daemon"), "workers")) == 2;
    json_decref(root);
    return two;
}

START_TEST(status_shows)
{
    static const char *const words[] = {"clavigerd ",     " is serving as pid ",
                                        "configuration ", "generation 2",
                                        "last reload ",   "serves",
                                        "listen ",        "admin_listen ",
                                        "database ",      "worker",
                                        "phase",          "ready",
                                        "connections",    "requests",
                                        "pool",           "valid",
                                        "temporary",      "permanent"};
    struct bench b;
    struct run run;
    pid_t workers[2];
    json_t *root;
    json_t *worker;
    const json_t *part;
    size_t i;
    long long requests = 0;

    bench_prepare(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    b.daemon.workers = 2;
    daemon_start(&b.daemon);
    ctl_only(&b, DONE, "reload", NULL, NULL);
    ck_assert(daemon_wait_workers(&b.daemon, 2, 0, 10000));
    ck_assert(util_wait(status_has_two_workers, &b, 10000));
    script(&b);
    post_and_expect(&b, 200);
    daemon_expect_states(&b.daemon, b.api->name, "temporary permanent valid");
    ctl(&b, &run, DONE, "status", NULL, NULL, NULL);
    for (i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        ck_assert_msg(strstr(run_out(&run), words[i]) != NULL, "no %s in: %s", words[i], run_out(&run));
    run_fini(&run);

    ctl(&b, &run, DONE, "status", "--json", NULL, NULL);
    root = json_loads(run_out(&run), 0, NULL);
    run_fini(&run);
    part = json_object_get(root, "daemon");
    ck_assert(json_is_string(json_object_get(part, "version")));
    ck_assert(json_is_integer(json_object_get(part, "uptime_s")));
    ck_assert_str_eq(json_string_value(json_object_get(part, "phase")), "serving");
    ck_assert_int_eq(json_integer_value(json_object_get(part, "generation")), 2);
    ck_assert(json_is_true(json_object_get(json_object_get(part, "last_reload"), "ok")));
    ck_assert(json_is_null(json_object_get(part, "last_upgrade")));
    ck_assert_str_eq(json_string_value(json_object_get(json_object_get(part, "database"), "condition")),
                     "ok");
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", workers, 2), 2);
    ck_assert_uint_eq(json_array_size(json_object_get(part, "workers")), 2);
    json_array_foreach(json_object_get(part, "workers"), i, worker)
    {
        long long pid = json_integer_value(json_object_get(worker, "pid"));

        ck_assert(pid == workers[0] || pid == workers[1]);
        ck_assert_int_eq(json_integer_value(json_object_get(worker, "number")), (long long)i);
        ck_assert_int_eq(json_integer_value(json_object_get(worker, "generation")), 2);
        ck_assert(json_is_integer(json_object_get(worker, "uptime_s")));
        ck_assert(json_is_integer(json_object_get(worker, "connections")));
        requests += json_integer_value(json_object_get(worker, "requests"));
    }
    ck_assert_int_eq(requests, 1);
    part = json_array_get(json_object_get(root, "pools"), 0);
    ck_assert_str_eq(json_string_value(json_object_get(part, "provider")), b.api->name);
    ck_assert_int_eq(json_integer_value(json_object_get(part, "valid")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(part, "temporary")), 1);
    ck_assert_int_eq(json_integer_value(json_object_get(part, "permanent")), 1);
    json_decref(root);
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
    tcase_add_loop_test(tc, no_keys, 0, SUITE_API_COUNT);
    tcase_add_test(tc, every_answer_is_json);
    tcase_add_test(tc, status_without_an_answer);
    tcase_add_loop_test(tc, status_shows, 0, SUITE_API_COUNT);
    return suite_run(s);
}
