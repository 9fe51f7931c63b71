/*
 * Tests of store_tables: a database of version 1 becomes one of this version, tables and views that somebody
 * dropped are made again, and damage in a file that has grown large.
 */
#include "store_prepare.h"

/* What version 1 made. */
static const char version_1[] =
    "PRAGMA journal_mode = WAL;"
    "CREATE TABLE key_state( provider TEXT NOT NULL, key_id TEXT NOT NULL, hint TEXT, position INTEGER,"
    " permanent INTEGER NOT NULL DEFAULT 0, cooldown_until INTEGER NOT NULL DEFAULT 0, last_status INTEGER,"
    " reason TEXT, failures INTEGER NOT NULL DEFAULT 0, updated_at INTEGER, PRIMARY KEY(provider, key_id));"
    "CREATE VIEW keys AS SELECT provider, position, hint, 'valid' AS state, 1 AS seconds_left, 1 AS status,"
    " reason, failures, 1 AS updated FROM key_state;"
    "PRAGMA user_version = 1;"
    "INSERT INTO key_state VALUES('alpha', '00000000000000a1', 'sk-a...aaa1', 1, 0, 1900000000000, 429,"
    " 'rate_limited', 7, 1795366800123), ('alpha', '00000000000000a2', 'sk-a...aaa2', 2, 1, 0, 401,"
    " 'unauthorized', 1, 5), ('gone', 'x', 'h', NULL, 1, 0, NULL, 'disabled', 0, 6)";

static const char all_states[] =
    "SELECT group_concat(provider || key_id || permanent || cooldown_until || failures || reason, ' ') FROM"
    " (SELECT * FROM key_state WHERE reason IS NOT NULL ORDER BY provider, key_id)";

/* Its key states stay what they are; the view is the new one. */
START_TEST(test_version_1)
{
    char before[512];

    fx_sql(version_1);
    snprintf(before, sizeof(before), "%s", fx_text(all_states));
    ck_assert_uint_gt(strlen(before), 100);
    ck_assert_int_eq(store_schema_check(fx_path, &reason), 0);
    ck_assert_int_eq(fx_number("PRAGMA user_version"), 1);
    fx_prepare();
    ck_assert_int_eq(fx_number("PRAGMA user_version"), STORE_SCHEMA_VERSION);
    ck_assert_str_eq(fx_text(all_states), before);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 0);
    ck_assert_str_eq(
        fx_text("SELECT group_concat(state, ' ') FROM (SELECT * FROM keys WHERE provider = 'alpha')"),
        "valid temporary permanent");
    ck_assert_str_eq(fx_text("PRAGMA integrity_check"), "ok");
}
END_TEST

/* An operator's own table under the new one's name is kept. */
START_TEST(test_version_1_with_another_usage)
{
    fx_sql(version_1);
    fx_sql("CREATE TABLE usage(mine); INSERT INTO usage VALUES('precious')");
    fx_prepare();
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 0);
    ck_assert_int_eq(fx_number("SELECT failures FROM key_state WHERE key_id = '00000000000000a1'"), 7);
    ck_assert_int_eq(
        fx_number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name LIKE 'usage_until_%'"),
        1);
}
END_TEST

/* What was dropped while no daemon ran is there again, and what was not is as it was. */
START_TEST(test_dropped)
{
    static const char *const dropped[] = {"DROP TABLE usage",
                                          "DROP VIEW usage_by_day",
                                          "DROP VIEW keys",
                                          "DROP TABLE key_state",
                                          "ALTER TABLE usage ADD COLUMN cost",
                                          "DROP VIEW usage_by_day; ALTER TABLE usage DROP COLUMN reasoning"};
    bool usage_stays = _i >= 1 && _i <= 4;
    bool states_stay = _i != 3;

    fx_prepare();
    fx_sql(
        "UPDATE key_state SET failures = 3; INSERT INTO usage(hour, provider, client, key, model, input)"
        " VALUES(0, 'p', 'c', 'k', 'm', 5), (86399, 'p', 'c', 'k', 'm', 6), (86400, 'p', 'c', 'k', 'm', 7)");
    ck_assert_str_eq(fx_text(
                         "SELECT group_concat(day || ' ' || input, ', ') FROM (SELECT * FROM usage_by_day)"),
                     "1970-01-01 11, 1970-01-02 7");
    fx_sql(dropped[_i]);
    fx_prepare();
    ck_assert_int_eq(fx_number("SELECT total(input) FROM usage"), usage_stays ? 18 : 0);
    ck_assert_int_eq(fx_number("SELECT total(failures) FROM key_state"), states_stay ? 15 : 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage_by_day"), usage_stays ? 2 : 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 5);
}
END_TEST

/* Whatever stands under one of our names, the database is made whole, and what somebody had in a table, or as
 * a view, is kept. */
START_TEST(test_in_the_way)
{
    static const struct {
        const char *sql;
        const char *kept; /* its name; "" = there was none */
    } cases[] = {
        {"DROP TABLE usage; CREATE VIEW usage AS SELECT 'precious' AS hour", "usage"},
        {"DROP TABLE usage; CREATE VIEW IF NOT EXISTS main.\"usage\"(hour) AS SELECT 'precious'", "usage"},
        {"DROP VIEW keys; CREATE VIEW \"keys\"AS SELECT 'precious' AS mine", "keys"},
        {"DROP TABLE usage; CREATE INDEX usage ON key_state(hint)", ""},
        {"DROP TABLE key_state; CREATE VIEW [key_state] AS SELECT 'precious' AS provider", "key_state"},
        {"DROP VIEW keys; CREATE VIEW Keys AS SELECT 'precious' AS mine FROM key_state", "keys"},
        {"DROP VIEW usage_by_day; CREATE VIEW usage_by_day(mine)AS SELECT 'precious' UNION SELECT key FROM "
         "usage",
         "usage_by_day"},
        {"DROP TABLE usage; DROP VIEW keys; CREATE TABLE keys(mine); INSERT INTO keys VALUES('precious')",
         "keys"},
        {"DROP VIEW keys; CREATE TABLE keys(mine); INSERT INTO keys VALUES('precious')", "keys"},
        {"DROP VIEW usage_by_day; CREATE TABLE Usage_By_Day(mine); INSERT INTO usage_by_day "
         "VALUES('precious')",
         "usage_by_day"},
        {"DROP VIEW usage_by_day; CREATE INDEX usage_by_day ON usage(model)", ""},
        {"CREATE VIEW mine AS SELECT written FROM usage; ALTER TABLE usage RENAME TO old; DROP VIEW mine;"
         "CREATE VIEW mine AS SELECT written FROM usage; CREATE TABLE usage(hour); INSERT INTO usage "
         "VALUES('precious')",
         "usage"},
        {"DROP VIEW keys; CREATE TRIGGER keys AFTER UPDATE ON usage BEGIN SELECT 1; END", ""},
    };
    char sql[256];
    char name[64];

    fx_prepare();
    fx_sql(cases[_i].sql);
    ck_assert_msg(prepare() == 0, "%s", reason.data);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage_by_day"), 0);
    fx_prepare();
    ck_assert_int_ge(fx_number("SELECT count(*) FROM keys"), 0);
    ck_assert_int_eq(fx_number(
                         "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%\\_until\\_%' ESCAPE '\\'"),
                     cases[_i].kept[0] != '\0');
    if (cases[_i].kept[0] == '\0')
        return;
    snprintf(sql, sizeof(sql), "SELECT name FROM sqlite_schema WHERE name LIKE '%s_until_%%'",
             cases[_i].kept);
    snprintf(name, sizeof(name), "%s", fx_text(sql));
    snprintf(sql, sizeof(sql), "SELECT * FROM %s", name);
    ck_assert_str_eq(fx_text(sql), "precious");
}
END_TEST

/* More than is looked through at the start. */
static void grow(void)
{
    fx_prepare();
    fx_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) INSERT INTO"
           " usage(hour, provider, client, key, model) SELECT i, 'provider', 'client', 'sk-a...aaaa',"
           " 'a-model-with-a-name-that-is-quite-long-' || i FROM n; PRAGMA wal_checkpoint(TRUNCATE)");
}

/* The page on which a table's rows begin, and the file's last one. */
static off_t page_of(const char *sql)
{
    return (off_t)(fx_number(sql) - 1) * 4096;
}

/* In a large file the key states are looked through, and all of it when somebody has met damage. */
START_TEST(test_damage_in_a_large_file)
{
    char garbage[4096];
    struct stat st;
    off_t at;

    memset(garbage, 0x5a, sizeof(garbage));
    grow();
    at = _i == 0 ? page_of("SELECT rootpage FROM sqlite_schema WHERE name = 'key_state'")
                 : page_of("SELECT * FROM pragma_page_count()");
    ck_assert_int_eq(lstat(fx_path, &st), 0);
    ck_assert_int_gt(st.st_size, 5 * 1024 * 1024);
    fx_scribble(fx_path, at, garbage, sizeof(garbage));
    ck_assert_msg(prepare() == 0, "%s", reason.data);
    ck_assert_int_eq(damaged != NULL, _i == 0);
    if (_i == 1) {
        ck_assert_int_eq(store_schema_repair(fx_path, 0, &damaged, &reason), 0);
        ck_assert_ptr_nonnull(damaged);
    }
    ck_assert_int_eq(fx_number("SELECT count(*) FROM usage"), 0);
    ck_assert_str_eq(fx_text("PRAGMA integrity_check"), "ok");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_tables");
    TCase *tcase = tcase_create("store_tables");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_version_1);
    tcase_add_test(tcase, test_version_1_with_another_usage);
    tcase_add_loop_test(tcase, test_dropped, 0, 6);
    tcase_add_loop_test(tcase, test_in_the_way, 0, 13);
    tcase_add_loop_test(tcase, test_damage_in_a_large_file, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
