/*
 * test_usage_trouble: no count is lost, nor counted twice, whatever happens to workers and database
 * meanwhile.
 */
#include "e2e/upgrading.h"
#include "e2e/usage_table.h"

#include <signal.h>
#include <sqlite3.h>

/* An operator who holds the database locked. */
static sqlite3 *lock(struct bench *b)
{
    sqlite3 *db = NULL;

    ck_assert_int_eq(sqlite3_open_v2(b->daemon.db, &db, SQLITE_OPEN_READWRITE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    ck_assert_int_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void unlock(sqlite3 *db)
{
    ck_assert_int_eq(sqlite3_exec(db, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

struct metric {
    struct bench *bench;
    const char *line;
};

static bool has_metric(void *arg)
{
    struct metric *metric = arg;
    struct http_request request = {.method = "GET", .target = "/metrics"};
    struct http_response r;
    bool has;

    http_fetch(metric->bench->daemon.admin_port, &request, &r);
    has = strstr(http_body(&r), metric->line) != NULL;
    http_response_fini(&r);
    return has;
}

/* The workers have counted that many input tokens. */
static void await_input(struct bench *b, unsigned input)
{
    char line[96];
    struct metric metric = {b, line};

    snprintf(line, sizeof(line), "claviger_tokens_total{provider=\"openai\",kind=\"input\"} %u\n", input);
    ck_assert(util_wait(has_metric, &metric, WAIT_MS));
}

static void kill_role(struct bench *b, const char *role, size_t count)
{
    pid_t pids[4];

    ck_assert_uint_eq(daemon_children(&b->daemon, role, pids, 4), count);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
    if (strcmp(role, "worker") == 0)
        ck_assert(daemon_wait_workers(&b->daemon, count, pids[0], WAIT_MS));
}

/* The database is locked, no request waits for it; all workers are killed; their counts arrive afterwards. */
START_TEST(killed_workers_and_a_locked_database)
{
    struct bench b;
    sqlite3 *db;
    int64_t slowest_us = 0;

    open_plain(&b, 2, KEY0);
    post(&b, 3);
    expect_sums(&b, 3, 30, 9);
    db = lock(&b);
    for (int i = 0; i < 20; i++) {
        int64_t began_us = util_now_us();

        post(&b, 1);
        if (util_now_us() - began_us > slowest_us)
            slowest_us = util_now_us() - began_us;
    }
    ck_assert_int_lt(slowest_us, 2000000);
    await_input(&b, 230);
    kill_role(&b, "worker", 2);
    post(&b, 5);
    await_input(&b, 280);
    unlock(db);
    expect_sums(&b, 28, 280, 84);
    bench_close(&b);
}
END_TEST

/* The process that writes is killed, and the next one writes. */
START_TEST(killed_admin)
{
    struct bench b;
    sqlite3 *db;

    open_plain(&b, 2, KEY0);
    post(&b, 3);
    expect_sums(&b, 3, 30, 9);
    db = lock(&b);
    post(&b, 4);
    await_input(&b, 70);
    kill_role(&b, "admin", 1);
    unlock(db);
    expect_sums(&b, 7, 70, 21);
    bench_close(&b);
}
END_TEST

/* The table cannot be written: requests do not care, the log says it, and nothing is lost. */
START_TEST(a_failing_table)
{
    char none[8];
    struct bench b;

    open_plain(&b, 2, KEY0);
    daemon_sql(&b.daemon, "CREATE TRIGGER no BEFORE INSERT ON usage BEGIN SELECT RAISE(ABORT, 'no'); END",
               none, sizeof(none));
    post(&b, 10);
    ck_assert(daemon_wait_log(&b.daemon, "cannot be kept in order", WAIT_MS));
    post(&b, 10);
    daemon_sql(&b.daemon, "DROP TRIGGER no", none, sizeof(none));
    expect_sums(&b, 20, 200, 60);
    ck_assert(daemon_wait_log(&b.daemon, "works again", WAIT_MS));
    bench_close(&b);
}
END_TEST

/* It is dropped, and made again at once. */
START_TEST(a_dropped_table)
{
    char none[8];
    struct bench b;

    open_plain(&b, 2, KEY0);
    post(&b, 1);
    expect_sums(&b, 1, 10, 3);
    daemon_sql(&b.daemon, "DROP TABLE usage", none, sizeof(none));
    ck_assert(daemon_wait_log(&b.daemon, "was robbed of its tables", WAIT_MS));
    post(&b, 2);
    expect_sums(&b, 2, 20, 6);
    bench_close(&b);
}
END_TEST

/* Reload, stop and start: the last counts are written by the process that ends. */
START_TEST(reload_and_stop)
{
    struct bench b;

    open_plain(&b, 2, KEY0);
    post(&b, 3);
    daemon_reload(&b.daemon);
    post(&b, 4);
    daemon_reload(&b.daemon);
    post(&b, 5);
    daemon_stop(&b.daemon);
    expect_sums(&b, 12, 120, 36);
    daemon_start(&b.daemon);
    post(&b, 1);
    expect_sums(&b, 13, 130, 39);
    bench_close(&b);
}
END_TEST

START_TEST(upgrade)
{
    struct bench b;

    upgrading_open(&b, 2);
    fake_on_any(b.fake, &plain);
    for (int i = 0; i < 3; i++)
        post_to(&b, SUITE_APIS[0].target, NULL, 200);
    upgrading_do(&b);
    for (int i = 0; i < 4; i++)
        post_to(&b, SUITE_APIS[0].target, NULL, 200);
    expect_sums(&b, 7, 70, 21);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("usage_trouble");
    TCase *tc = suite_case(s, "usage_trouble", 90);

    tcase_add_test(tc, killed_workers_and_a_locked_database);
    tcase_add_test(tc, killed_admin);
    tcase_add_test(tc, a_failing_table);
    tcase_add_test(tc, a_dropped_table);
    tcase_add_test(tc, reload_and_stop);
    tcase_add_test(tc, upgrade);
    return suite_run(s);
}
