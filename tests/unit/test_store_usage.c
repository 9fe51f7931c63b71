/*
 * Tests of store_usage: token counts on their way into the table, with everything that can be in the way; how
 * long rows are kept and how many an hour may have.
 */
#include "store_fixture.h"

#include "base/clock.h"
#include "io/store_usage.h"
#include "io/store_usage_list.h"
#include "io/store_vfs.h"

#define HOUR INT64_C(1800000000) /* START_REAL is a whole hour */

static struct usage_counter counter;
static struct store_usage usage;
static sqlite3 *db;

static sqlite3 *connect_db(void)
{
    struct buf reason = {0};
    int code;
    sqlite3 *connection = store_schema_connect(fx_path, false, 0, &code, &reason);

    ck_assert_msg(connection != NULL, "%s", reason.data);
    return connection;
}

static void setup(void)
{
    fx_setup();
    fx_prepare();
    db = connect_db();
    usage_counter_init(&counter, &fx_shared->usage, 0);
    store_usage_init(&usage, &fx_shared->usage, 0);
}

static void teardown(void)
{
    sqlite3_close(db);
    fx_teardown();
}

static void add_for(const char *client, const char *key, const char *model, uint64_t input)
{
    const struct usage counts = {
        .input = input, .output = 2 * input, .cached = 3, .written = 4, .reasoning = 5};
    struct usage_identity identity;

    usage_identify(&identity, fx_now.real_ms, "alpha", client, key, model);
    usage_counter_add(&counter, &identity, &counts);
}

static void add(const char *model, uint64_t input)
{
    add_for("team", "sk-a...aaa0", model, input);
}

static int tick(void)
{
    return store_usage_tick(&usage, db, true, &fx_now);
}

/* After the pause between two writes. */
static int next_tick(void)
{
    fx_pass(STORE_USAGE_WRITE_MS);
    return tick();
}

static long long sum(const char *column)
{
    char sql[64];

    snprintf(sql, sizeof(sql), "SELECT total(%s) FROM usage", column);
    return fx_number(sql);
}

START_TEST(test_rows)
{
    add("m1", 10);
    add("m1", 20);
    add_for("", "byok", "", 5);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 2);
    ck_assert_str_eq(fx_text(
                         "SELECT hour||' '||provider||' '||client||' '||key||' '||model||' '||requests||' "
                         "'||input||' '||output||' '||cached||' '||written||' '||reasoning FROM usage "
                         "WHERE model <> ''"),
                     "1800000000 alpha team sk-a...aaa0 m1 2 30 60 6 8 10");
    ck_assert_str_eq(fx_text(
                         "SELECT client||'|'||key||'|'||model||'|'||requests FROM usage WHERE model = ''"),
                     "|byok||1");
    /* Once, and what comes later to it. */
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(sum("requests"), 3);
    add("m1", 100);
    fx_pass(USAGE_HOUR_MS);
    add("m1", 1000);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_str_eq(
        fx_text(
            "SELECT group_concat(input, ' ') FROM (SELECT * FROM usage WHERE model = 'm1' ORDER BY hour)"),
        "130 1000");
}
END_TEST

START_TEST(test_pause)
{
    add("m", 1);
    ck_assert_int_eq(tick(), SQLITE_OK);
    add("m", 1);
    fx_pass(STORE_USAGE_WRITE_MS - 1);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 1);
    fx_pass(1);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 2);
}
END_TEST

/* Nothing to write: no transaction, so that nobody reads the rows of keys again because of it. */
START_TEST(test_idle)
{
    int64_t before;
    sqlite3 *reader = connect_db();
    sqlite3_stmt *stmt = NULL;

    ck_assert_int_eq(sqlite3_prepare_v2(reader, "PRAGMA data_version", -1, &stmt, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    before = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    ck_assert_int_eq(sqlite3_column_int64(stmt, 0), before);
    sqlite3_finalize(stmt);
    sqlite3_close(reader);
}
END_TEST

START_TEST(test_locked)
{
    struct fx_locker locker;
    int64_t began;

    add("m", 1);
    fx_lock(&locker);
    began = clock_mono_ms();
    for (int i = 0; i < 5; i++) {
        ck_assert(store_schema_is_busy(tick()));
        add("m", 10);
    }
    ck_assert_int_lt(clock_mono_ms() - began, 1000);
    fx_unlock(&locker);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 51);
    ck_assert_int_eq(sum("requests"), 6);
}
END_TEST

/* A transaction that fails in its middle leaves nothing behind and takes nothing away. */
START_TEST(test_failing)
{
    fx_sql("CREATE TRIGGER no BEFORE INSERT ON usage WHEN new.model = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); "
           "END");
    add("good", 1);
    add("bad", 10);
    add("better", 100);
    ck_assert_int_ne(tick(), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 0);
    ck_assert_int_eq(sqlite3_get_autocommit(db), 1);
    add("good", 1000);
    /* Said again, and tried again after a while. */
    ck_assert_int_ne(tick(), SQLITE_OK);
    fx_sql("DROP TRIGGER no");
    ck_assert_int_ne(tick(), SQLITE_OK);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 1111);
    ck_assert_int_eq(sum("requests"), 4);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 1111);
}
END_TEST

START_TEST(test_another_writer)
{
    ck_assert(usage_cells_hold(&fx_shared->usage, 1, fx_now.mono_ms));
    add("m", 1);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(store_usage_finish(&usage, db, &fx_now), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 0);
    usage_cells_let_go(&fx_shared->usage, 1);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(sum("input"), 1);
    ck_assert(!usage_cells_hold(&fx_shared->usage, 1, fx_now.mono_ms));
}
END_TEST

/* More cells than a transaction takes: the next one is due at once, and in the end all are written. */
START_TEST(test_batches)
{
    char model[16];

    for (unsigned slot = 0; slot < 8; slot++) {
        usage_counter_init(&counter, &fx_shared->usage, slot);
        for (int i = 0; i < 90; i++) {
            snprintf(model, sizeof(model), "%u-%d", slot, i);
            add(model, 1);
        }
    }
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(sum("requests"), STORE_USAGE_BATCH);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(sum("requests"), 2 * STORE_USAGE_BATCH);
    if (_i == 0) {
        ck_assert_int_eq(tick(), SQLITE_OK);
    } else {
        ck_assert_int_eq(store_usage_finish(&usage, db, &fx_now), SQLITE_OK);
        ck_assert(usage_cells_hold(&fx_shared->usage, 1, fx_now.mono_ms));
    }
    ck_assert_int_eq(sum("requests"), 720);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 720);
}
END_TEST

static void fill_hour(int rows)
{
    char sql[256];

    snprintf(sql, sizeof(sql),
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) INSERT INTO "
             "usage(hour, provider, client, key, model) SELECT %lld, 'alpha', 'old', 'k', 'old' || i FROM n",
             rows, (long long)HOUR);
    fx_sql(sql);
}

static long long rows_like(const char *client, const char *model)
{
    char sql[160];

    snprintf(sql, sizeof(sql), "SELECT count(*) FROM usage WHERE client = '%s' AND model = '%s'", client,
             model);
    return fx_number(sql);
}

/* A client that names ever new models does not fill the disk; which client and key it was stays known. */
START_TEST(test_bounds)
{
    char name[16];

    fill_hour(STORE_USAGE_ROWS - 2);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "new%d", i);
        add(name, 1);
    }
    add_for("other-team", "k", "m", 1);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), STORE_USAGE_ROWS + 2);
    ck_assert_int_eq(rows_like("team", USAGE_OTHER), 1);
    ck_assert_int_eq(rows_like("other-team", USAGE_OTHER), 1);
    ck_assert_int_eq(sum("input"), 51);
    /* Those that are there go on. */
    add_for("old", "k", "old7", 1000);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT input FROM usage WHERE model = 'old7'"), 1000);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), STORE_USAGE_ROWS + 2);
    /* The next hour is another one. */
    fx_pass(USAGE_HOUR_MS);
    add("new-again", 1);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(rows_like("team", "new-again"), 1);
}
END_TEST

START_TEST(test_outer_bound)
{
    char name[24];

    fill_hour(STORE_USAGE_ROWS_MAX);
    for (int i = 0; i < 50; i++) {
        snprintf(name, sizeof(name), "client%d", i);
        add_for(name, "k", "m", 1);
    }
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), STORE_USAGE_ROWS_MAX + 1);
    ck_assert_int_eq(rows_like(USAGE_OTHER, USAGE_OTHER), 1);
    ck_assert_int_eq(fx_number("SELECT requests FROM usage WHERE key = '" USAGE_OTHER "'"), 50);
    add_for("client1", "k", "m", 1);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT requests FROM usage WHERE key = '" USAGE_OTHER "'"), 51);
}
END_TEST

static void insert_hour(int64_t hours_ago)
{
    char sql[160];

    snprintf(sql, sizeof(sql),
             "INSERT INTO usage(hour, provider, client, key, model) VALUES(%lld, 'alpha', '', 'k', 'm')",
             (long long)(HOUR - hours_ago * 3600));
    fx_sql(sql);
}

START_TEST(test_old_rows)
{
    static const struct {
        unsigned days;
        bool remove;
        int left;
    } cases[] = {{2, true, 3}, {2, false, 5}, {0, true, 5}, {1, true, 2}, {36500, true, 5}};

    insert_hour(0);
    insert_hour(24);
    insert_hour(48);
    insert_hour(49);
    insert_hour(100000);
    store_usage_init(&usage, &fx_shared->usage, cases[_i].days);
    ck_assert_int_eq(store_usage_tick(&usage, db, cases[_i].remove, &fx_now), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), cases[_i].left);
}
END_TEST

/* A few at a time. */
START_TEST(test_many_old_rows)
{
    fill_hour(1200);
    fx_pass(INT64_C(86400000) * 10);
    add("m", 1);
    store_usage_init(&usage, &fx_shared->usage, 9);
    for (int left = 1201; left > 0; left -= STORE_USAGE_REMOVED) {
        ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), left == 1201 ? 1200 : left);
        ck_assert_int_eq(next_tick(), SQLITE_OK);
    }
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 1);
    /* Then once a minute. */
    fill_hour(3);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 4);
    fx_pass(60000);
    ck_assert_int_eq(next_tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 1);
}
END_TEST

/* After time passed, and the wall clock was set by so much beside it. */
static void expect_rows(int64_t passed_ms, int64_t step_ms, int rows)
{
    fx_pass(passed_ms);
    fx_now.real_ms += step_ms;
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), rows);
}

/* A clock that is set far ahead makes no row old before somebody had time to set it right. */
START_TEST(test_clock_set_ahead)
{
    const int64_t year_ms = 365 * INT64_C(86400000);

    store_usage_init(&usage, &fx_shared->usage, 2);
    insert_hour(0);
    expect_rows(0, 0, 1);
    insert_hour(100);
    expect_rows(60000, year_ms, 2);
    expect_rows(STORE_USAGE_KEEP_MS - 60000, 0, 2);
    /* A reload, with another step in it. */
    store_usage_init(&usage, &fx_shared->usage, 2);
    expect_rows(30000, year_ms, 2);
    expect_rows(60000, -year_ms, 2); /* not far enough back */
    expect_rows(60000, year_ms, 2);
    if (_i == 0) { /* it is set right: what is old goes at once */
        expect_rows(60000, -2 * year_ms, 1);
        return;
    }
    expect_rows(STORE_USAGE_KEEP_MS - 1000, 0, 2);
    expect_rows(1000, 0, 0); /* or nobody cares */
}
END_TEST

/* A little is no reason for doubt. */
START_TEST(test_clock_set_a_little)
{
    store_usage_init(&usage, &fx_shared->usage, 2);
    expect_rows(0, 0, 0);
    insert_hour(48);
    expect_rows(60000, STORE_USAGE_STEP_MS, 0);
}
END_TEST

/* A machine that was suspended has a wall clock that is right. */
START_TEST(test_suspended)
{
    const int64_t night_ms = 10 * INT64_C(3600000);

    store_usage_init(&usage, &fx_shared->usage, 2);
    expect_rows(0, 0, 0);
    insert_hour(40);
    fx_now.slept_ms += night_ms;
    expect_rows(60000, night_ms, 0);
}
END_TEST

/* Two daemons with one database. */
START_TEST(test_two_daemons)
{
    struct shared *second = shared_new();
    struct store_usage theirs;

    ck_assert_ptr_nonnull(second);
    add("m", 1);
    usage_counter_init(&counter, &second->usage, 0);
    add("m", 10);
    store_usage_init(&theirs, &second->usage, 0);
    ck_assert_int_eq(store_usage_tick(&theirs, db, false, &fx_now), SQLITE_OK);
    ck_assert_int_eq(tick(), SQLITE_OK);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 1);
    ck_assert_int_eq(sum("input"), 11);
    shared_free(&second);
}
END_TEST

/* ---- store_usage_list */

static void expect_list(enum store_usage_by by, int64_t from_s, const char *provider, const char *expected)
{
    struct store_usage_rows rows;
    struct buf reason = {0};
    struct buf text = {0};

    ck_assert_msg(store_usage_list(fx_path, by, from_s, fx_now.real_ms / 1000, provider, &rows, &reason) == 0,
                  "%s", reason.data);
    for (size_t i = 0; i < rows.count; i++)
        buf_printf(&text, "%s/%s %lld %lld; ", rows.items[i].provider, rows.items[i].name,
                   (long long)rows.items[i].counts[USAGE_REQUESTS],
                   (long long)rows.items[i].counts[USAGE_INPUT]);
    buf_printf(&text, "%lld %lld", (long long)rows.total[USAGE_REQUESTS], (long long)rows.total[USAGE_INPUT]);
    ck_assert_str_eq(text.data, expected);
    store_usage_rows_fini(&rows);
    buf_fini(&text);
    buf_fini(&reason);
}

START_TEST(test_list)
{
    struct usage_identity identity;
    const struct usage counts = {.input = 7};

    expect_list(STORE_USAGE_BY_MODEL, 0, NULL, "0 0");
    add("small", 1);
    add("large", 100);
    add_for("", "byok", "large", 10);
    usage_identify(&identity, fx_now.real_ms, "beta", "team", "sk-b...bbb0", "");
    usage_counter_add(&counter, &identity, &counts);
    fx_pass(USAGE_HOUR_MS);
    add("large", 1000);
    ck_assert_int_eq(tick(), SQLITE_OK);
    expect_list(STORE_USAGE_BY_MODEL, 0, NULL, "alpha/large 3 1110; alpha/small 1 1; beta/ 1 7; 5 1118");
    expect_list(STORE_USAGE_BY_CLIENT, 0, NULL, "alpha/team 3 1101; alpha/ 1 10; beta/team 1 7; 5 1118");
    expect_list(STORE_USAGE_BY_KEY, HOUR, "alpha", "alpha/sk-a...aaa0 3 1101; alpha/byok 1 10; 4 1111");
    expect_list(STORE_USAGE_BY_MODEL, HOUR + 1, NULL, "alpha/large 1 1000; 1 1000");
    expect_list(STORE_USAGE_BY_MODEL, HOUR + 3601, NULL, "0 0");
    expect_list(STORE_USAGE_BY_MODEL, 0, "nobody", "0 0");
}
END_TEST

/* An hour that has begun counts; one that a clock that was ahead has left does not before its time. */
START_TEST(test_list_of_the_future)
{
    fx_pass(-USAGE_HOUR_MS);
    insert_hour(2);
    insert_hour(1);
    insert_hour(0);
    insert_hour(-20 * 365 * 24);
    fx_sql("UPDATE usage SET requests = 1");
    expect_list(STORE_USAGE_BY_MODEL, 0, NULL, "alpha/m 2 0; 2 0");
    fx_pass(USAGE_HOUR_MS - 1000);
    expect_list(STORE_USAGE_BY_MODEL, 0, NULL, "alpha/m 2 0; 2 0");
    fx_pass(1000);
    expect_list(STORE_USAGE_BY_MODEL, 0, NULL, "alpha/m 3 0; 3 0");
}
END_TEST

/* What an operator has written into the table does not stop it. */
START_TEST(test_list_of_nonsense)
{
    fx_sql("INSERT INTO usage VALUES(1, 'p', 'c', 'k', 'm', 9223372036854775807, 'much', 1.5, x'00', 1, 1),"
           " (2, 'p', 'c', 'k', 'm', 9223372036854775807, -5, 1, 1, 1, 1)");
    expect_list(STORE_USAGE_BY_MODEL, 0, NULL, "p/m 9223372036854775807 -5; 9223372036854775807 -5");
}
END_TEST

START_TEST(test_list_failures)
{
    struct store_usage_rows rows;
    struct buf reason = {0};

    fx_sql("DROP TABLE usage");
    ck_assert_int_eq(store_usage_list(fx_path, STORE_USAGE_BY_KEY, 0, INT64_MAX, NULL, &rows, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "the daemon makes them again"));
    ck_assert_uint_eq(rows.count, 0);
    fx_sql("PRAGMA user_version = 1");
    buf_clear(&reason);
    ck_assert_int_eq(store_usage_list(fx_path, STORE_USAGE_BY_KEY, 0, INT64_MAX, NULL, &rows, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "has schema 1"));
    buf_fini(&reason);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_usage");
    TCase *tcase = tcase_create("store_usage");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_rows);
    tcase_add_test(tcase, test_pause);
    tcase_add_test(tcase, test_idle);
    tcase_add_test(tcase, test_locked);
    tcase_add_test(tcase, test_failing);
    tcase_add_test(tcase, test_another_writer);
    tcase_add_loop_test(tcase, test_batches, 0, 2);
    tcase_add_test(tcase, test_bounds);
    tcase_add_test(tcase, test_outer_bound);
    tcase_add_loop_test(tcase, test_old_rows, 0, 5);
    tcase_add_test(tcase, test_many_old_rows);
    tcase_add_loop_test(tcase, test_clock_set_ahead, 0, 2);
    tcase_add_test(tcase, test_clock_set_a_little);
    tcase_add_test(tcase, test_suspended);
    tcase_add_test(tcase, test_two_daemons);
    tcase_add_test(tcase, test_list);
    tcase_add_test(tcase, test_list_of_the_future);
    tcase_add_test(tcase, test_list_of_nonsense);
    tcase_add_test(tcase, test_list_failures);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
