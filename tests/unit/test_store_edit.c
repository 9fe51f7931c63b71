/*
 * Tests of store_edit: what an operator sees of the key states and changes in them, with a daemon running or
 * not.
 */
#include "store_fixture.h"

#include "io/store_edit.h"

static struct buf reason;
static struct store_rows rows;
static int changed;

static void setup(void)
{
    fx_setup();
    fx_prepare();
    reason = (struct buf){0};
    rows = (struct store_rows){0};
    changed = -1;
}

static void teardown(void)
{
    store_rows_fini(&rows);
    buf_fini(&reason);
    fx_teardown();
}

static int apply(enum store_edit_action action, const char *provider, const char *key)
{
    buf_clear(&reason);
    return store_edit_apply(fx_path, action, provider, key, START_REAL, &changed, &reason);
}

START_TEST(test_list)
{
    fx_sql("UPDATE key_state SET permanent = 1, last_status = 401, reason = 'unauthorized', failures = 3,"
           " updated_at = 1795366800123 WHERE key_id = '00000000000000a1'");
    fx_sql("UPDATE key_state SET position = NULL WHERE key_id = '00000000000000a0'");
    fx_sql("UPDATE key_state SET cooldown_until = 9000000000000 WHERE key_id = '00000000000000b1'");
    ck_assert_msg(store_edit_list(fx_path, NULL, &rows, &reason) == 0, "%s", reason.data);
    ck_assert_uint_eq(rows.count, 4);
    ck_assert_str_eq(rows.items[0].provider, "alpha");
    ck_assert_str_eq(rows.items[0].key_id, "00000000000000a1");
    ck_assert_str_eq(rows.items[0].hint, "sk-a...aaa1");
    ck_assert_str_eq(rows.items[0].state, "permanent");
    ck_assert_str_eq(rows.items[0].reason, "unauthorized");
    ck_assert_str_eq(rows.items[0].updated, "2026-11-22T17:00:00.123Z");
    ck_assert_int_eq(rows.items[0].position, 1);
    ck_assert_int_eq(rows.items[0].status, 401);
    ck_assert_int_eq(rows.items[0].failures, 3);
    ck_assert_int_eq(rows.items[0].seconds_left, 0);
    ck_assert_str_eq(rows.items[1].key_id, "00000000000000a2");
    ck_assert_str_eq(rows.items[1].reason, "");
    ck_assert_str_eq(rows.items[1].updated, "");
    ck_assert_int_eq(rows.items[1].status, 0);
    ck_assert_str_eq(rows.items[2].provider, "beta");
    ck_assert_str_eq(rows.items[3].state, "temporary");
    ck_assert_int_gt(rows.items[3].seconds_left, 1000000000);
    store_rows_fini(&rows);
    ck_assert_int_eq(store_edit_list(fx_path, "beta", &rows, &reason), 0);
    ck_assert_uint_eq(rows.count, 2);
    ck_assert_str_eq(rows.items[0].key_id, "00000000000000b0");
}
END_TEST

START_TEST(test_list_of_nobody)
{
    ck_assert_int_eq(store_edit_list(fx_path, "gamma", &rows, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "gamma"));
    ck_assert_ptr_nonnull(strstr(reason.data, "alpha, beta"));
    ck_assert_uint_eq(rows.count, 0);
    fx_sql("UPDATE key_state SET position = NULL");
    ck_assert_int_eq(store_edit_list(fx_path, NULL, &rows, &reason), 0);
    ck_assert_uint_eq(rows.count, 0);
}
END_TEST

START_TEST(test_keep)
{
    ck_assert_int_eq(store_edit_list(fx_path, NULL, &rows, &reason), 0);
    ck_assert_uint_eq(rows.count, 5);
    store_rows_keep(&rows, "beta");
    ck_assert_uint_eq(rows.count, 2);
    ck_assert_str_eq(rows.items[1].key_id, "00000000000000b1");
    store_rows_keep(&rows, "gamma");
    ck_assert_uint_eq(rows.count, 0);
}
END_TEST

START_TEST(test_json)
{
    struct buf out = {0};

    store_rows_json(&rows, &out);
    ck_assert_str_eq(out.data, "[]");
    buf_clear(&out);
    fx_sql("UPDATE key_state SET permanent = 1, last_status = 403, reason = 'a \"b\"', failures = 2,"
           " updated_at = 1795366800123 WHERE key_id = '00000000000000b0'");
    ck_assert_int_eq(store_edit_list(fx_path, "beta", &rows, &reason), 0);
    store_rows_json(&rows, &out);
    ck_assert_str_eq(
        out.data,
        "[{\"provider\":\"beta\",\"position\":0,\"key_id\":\"00000000000000b0\",\"hint\":\"sk-b...bbb0\","
        "\"state\":\"permanent\",\"seconds_left\":null,\"status\":403,\"reason\":\"a "
        "\\\"b\\\"\",\"failures\":2,"
        "\"updated\":\"2026-11-22T17:00:00.123Z\"},"
        "{\"provider\":\"beta\",\"position\":1,\"key_id\":\"00000000000000b1\",\"hint\":\"sk-b...bbb1\","
        "\"state\":\"valid\",\"seconds_left\":null,\"status\":null,\"reason\":null,\"failures\":0,"
        "\"updated\":null}]");
    buf_fini(&out);
}
END_TEST

START_TEST(test_json_of_a_cooldown)
{
    struct buf out = {0};
    char expected[64];

    fx_sql("UPDATE key_state SET cooldown_until = 9000000000000 WHERE key_id = '00000000000000b0'");
    ck_assert_int_eq(store_edit_list(fx_path, "beta", &rows, &reason), 0);
    store_rows_json(&rows, &out);
    snprintf(expected, sizeof(expected), "\"seconds_left\":%lld,", (long long)rows.items[0].seconds_left);
    ck_assert_ptr_nonnull(strstr(out.data, expected));
    buf_fini(&out);
}
END_TEST

/* What a name finds: the id of the one key, or what the reason says. */
static const struct {
    const char *key;
    const char *id;
    const char *says;
} names[] = {
    {"0", "00000000000000a0", NULL},
    {"2", "00000000000000a2", NULL},
    {"00000000000000a1", "00000000000000a1", NULL},
    {"00000000000000A1", "00000000000000a1", NULL},
    {"sk-a...aaa1", "00000000000000a1", NULL},
    /* The hint of one, the position of another: the position wins. */
    {"1", "00000000000000a1", NULL},
    {"same...hint", NULL,
     "2 keys of provider alpha have that hint: position 0 (key_id 00000000000000a0), position 2 (key_id "
     "00000000000000a2); name one"},
    {"3", NULL, "no such key"},
    {"-1", NULL, "no such key"},
    {"01", NULL, "no such key"},
    {"", NULL, "no such key"},
    {"00000000000000b0", NULL, "no such key"},
    {"sk-a%", NULL, "no such key"},
    {"' OR 1 --", NULL, "no such key"},
    /* No longer configured. */
    {"00000000000000dd", NULL, "no such key"},
};

START_TEST(test_names)
{
    char sql[256];

    if (names[_i].says != NULL && strstr(names[_i].says, "2 keys") != NULL)
        fx_sql("UPDATE key_state SET hint = 'same...hint' WHERE provider = 'alpha' AND position <> 1");
    fx_sql("UPDATE key_state SET hint = '1' WHERE key_id = '00000000000000a0' AND hint <> 'same...hint'");
    fx_sql("INSERT INTO key_state(provider, key_id, hint) VALUES('alpha', '00000000000000dd', 'old')");
    if (names[_i].says != NULL) {
        ck_assert_int_eq(apply(STORE_EDIT_DISABLE, "alpha", names[_i].key), -1);
        ck_assert_msg(strstr(reason.data, names[_i].says) != NULL, "%s", reason.data);
        /* It may be a whole key, given by mistake. */
        ck_assert(strlen(names[_i].key) < 3 || strstr(reason.data, names[_i].key) == NULL);
        ck_assert_int_eq(changed, 0);
        ck_assert_int_eq(fx_number("SELECT count(*) FROM key_state WHERE permanent <> 0"), 0);
        return;
    }
    ck_assert_msg(apply(STORE_EDIT_DISABLE, "alpha", names[_i].key) == 0, "%s", reason.data);
    ck_assert_int_eq(changed, 1);
    snprintf(sql, sizeof(sql), "SELECT permanent FROM key_state WHERE key_id = '%s'", names[_i].id);
    ck_assert_int_eq(fx_number(sql), 1);
    ck_assert_int_eq(fx_number("SELECT sum(permanent) FROM key_state"), 1);
}
END_TEST

START_TEST(test_unknown_provider)
{
    ck_assert_int_eq(apply(STORE_EDIT_RESET, "gamma", NULL), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "gamma"));
    ck_assert_ptr_nonnull(strstr(reason.data, "alpha, beta"));
    ck_assert_int_eq(changed, 0);
}
END_TEST

START_TEST(test_actions)
{
    static const char look[] =
        "SELECT permanent || ' ' || cooldown_until || ' ' || COALESCE(last_status, '-') || ' ' ||"
        " COALESCE(reason, '-') || ' ' || failures || ' ' || updated_at FROM key_state"
        " WHERE key_id = '00000000000000a1'";

    fx_sql(
        "UPDATE key_state SET permanent = 1, cooldown_until = 55, last_status = 401, reason = 'unauthorized',"
        " failures = 4, updated_at = 1");
    ck_assert_int_eq(apply(STORE_EDIT_ENABLE, "alpha", "1"), 0);
    ck_assert_str_eq(fx_text(look), "0 0 - - 4 1800000000000");
    ck_assert_int_eq(apply(STORE_EDIT_DISABLE, "alpha", "1"), 0);
    ck_assert_str_eq(fx_text(look), "1 0 - disabled 4 1800000000000");
    ck_assert_int_eq(apply(STORE_EDIT_RESET, "alpha", "1"), 0);
    ck_assert_str_eq(fx_text(look), "0 0 - - 0 1800000000000");
    ck_assert_int_eq(fx_number("SELECT sum(permanent) FROM key_state"), 4);
    /* Without a key: all configured keys of the provider. */
    fx_sql("UPDATE key_state SET position = NULL WHERE key_id = '00000000000000a0'");
    ck_assert_int_eq(apply(STORE_EDIT_RESET, "alpha", NULL), 0);
    ck_assert_int_eq(changed, 2);
    ck_assert_int_eq(fx_number("SELECT sum(permanent) FROM key_state WHERE provider = 'alpha'"), 1);
    ck_assert_int_eq(fx_number("SELECT sum(permanent) FROM key_state WHERE provider = 'beta'"), 2);
}
END_TEST

START_TEST(test_running_daemon_sees_it)
{
    struct fx_process process;

    fx_process_init(&process);
    ck_assert_int_eq(fx_status(&process, ALPHA, 1), KEY_VALID);
    ck_assert_int_eq(apply(STORE_EDIT_DISABLE, "alpha", "1"), 0);
    ck_assert_int_eq(fx_status(&process, ALPHA, 1), KEY_PERMANENT);
    ck_assert_int_eq(apply(STORE_EDIT_ENABLE, "alpha", "1"), 0);
    ck_assert_int_eq(fx_status(&process, ALPHA, 1), KEY_VALID);
    ck_assert(store_mark(process.store, ALPHA, 1, false, 60000, 429, &fx_now));
    ck_assert_int_eq(apply(STORE_EDIT_RESET, "alpha", NULL), 0);
    ck_assert_int_eq(changed, 3);
    ck_assert_int_eq(fx_status(&process, ALPHA, 1), KEY_VALID);
    fx_process_fini(&process);
}
END_TEST

START_TEST(test_locked)
{
    struct fx_locker locker;

    fx_lock(&locker);
    ck_assert_int_eq(apply(STORE_EDIT_RESET, "alpha", NULL), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "locked"));
    /* Looking is possible all the same. */
    ck_assert_int_eq(store_edit_list(fx_path, NULL, &rows, &reason), 0);
    fx_unlock(&locker);
}
END_TEST

/* Files that cannot be worked on: what is done to them, and what the reason says. */
static const struct {
    const char *sql; /* NULL = the file is removed, "" = it is garbage */
    const char *says;
} unusable[] = {
    {NULL, "start clavigerd once"},
    {"", "not a database"},
    {"PRAGMA user_version = 7", "schema 7"},
    {"DROP TABLE key_state", "no such table"},
};

START_TEST(test_unusable)
{
    if (unusable[_i].sql == NULL || unusable[_i].sql[0] == '\0')
        unlink(fx_path);
    else
        fx_sql(unusable[_i].sql);
    if (unusable[_i].sql != NULL && unusable[_i].sql[0] == '\0')
        fx_scribble(fx_path, 0, "this is certainly no database", 29);
    ck_assert_int_eq(store_edit_list(fx_path, NULL, &rows, &reason), -1);
    ck_assert_msg(strstr(reason.data, unusable[_i].says) != NULL, "%s", reason.data);
    ck_assert_ptr_nonnull(strstr(reason.data, fx_path));
    ck_assert_int_eq(apply(STORE_EDIT_RESET, "alpha", NULL), -1);
    ck_assert_msg(strstr(reason.data, unusable[_i].says) != NULL, "%s", reason.data);
}
END_TEST

/* Files that no daemon has made ready: looking at them and not finding a key changes nothing. */
static const struct {
    const char *sql; /* NULL = the file is empty */
    const char *says;
} not_ready[] = {
    {NULL, "is empty; start clavigerd once"},
    {"DROP VIEW keys; DROP VIEW usage_by_day; DROP TABLE key_state; DROP TABLE usage; PRAGMA user_version = "
     "0",
     "is empty; start clavigerd once"},
    {"PRAGMA user_version = 0", "of something else"},
    {"PRAGMA user_version = 1", "has schema 1"},
    {"SELECT 1", NULL}, /* ours */
};

static struct buf content(void)
{
    struct buf bytes = {0};
    FILE *file = fopen(fx_path, "re");

    ck_assert_ptr_nonnull(file);
    for (int c; (c = getc(file)) != EOF;)
        buf_putc(&bytes, (char)c);
    fclose(file);
    return bytes;
}

START_TEST(test_not_ready)
{
    struct buf before;
    struct buf after;

    fx_sql("PRAGMA journal_mode = DELETE");
    if (not_ready[_i].sql != NULL)
        fx_sql(not_ready[_i].sql);
    else
        ck_assert_int_eq(truncate(fx_path, 0), 0);
    before = content();
    ck_assert_int_eq(store_edit_list(fx_path, NULL, &rows, &reason), not_ready[_i].says == NULL ? 0 : -1);
    ck_assert_msg(not_ready[_i].says == NULL || strstr(reason.data, not_ready[_i].says) != NULL, "%s",
                  reason.data);
    ck_assert_int_eq(apply(STORE_EDIT_RESET, "nobody", NULL), -1);
    after = content();
    ck_assert_uint_eq(before.len, after.len);
    ck_assert(before.len == 0 || memcmp(before.data, after.data, before.len) == 0);
    ck_assert_int_eq(fx_files("state.db-"), 0);
    buf_fini(&before);
    buf_fini(&after);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_edit");
    TCase *tcase = tcase_create("store_edit");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_list);
    tcase_add_test(tcase, test_list_of_nobody);
    tcase_add_test(tcase, test_keep);
    tcase_add_test(tcase, test_json);
    tcase_add_test(tcase, test_json_of_a_cooldown);
    tcase_add_loop_test(tcase, test_names, 0, (int)(sizeof(names) / sizeof(names[0])));
    tcase_add_test(tcase, test_unknown_provider);
    tcase_add_test(tcase, test_actions);
    tcase_add_test(tcase, test_running_daemon_sees_it);
    tcase_add_test(tcase, test_locked);
    tcase_add_loop_test(tcase, test_not_ready, 0, (int)(sizeof(not_ready) / sizeof(not_ready[0])));
    tcase_add_loop_test(tcase, test_unusable, 0, (int)(sizeof(unusable) / sizeof(unusable[0])));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
