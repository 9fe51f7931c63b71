/*
 * Tests of store_index: what changes the header of a WAL's index, and when there is none.
 */
#include "io/store_index.h"
#include "store_fixture.h"

static sqlite3 *db;
static struct store_index idx;

static void run(sqlite3 *on, const char *sql)
{
    char *error = NULL;

    ck_assert_msg(sqlite3_exec(on, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql, error);
}

static sqlite3 *connect_to(const char *path)
{
    sqlite3 *to;

    ck_assert_int_eq(sqlite3_open(path, &to), SQLITE_OK);
    return to;
}

static void setup(void)
{
    fx_setup();
    fx_prepare();
    db = connect_to(fx_path);
    run(db, "CREATE TABLE t(a); SELECT * FROM t");
    store_index_open(&idx, db);
}

static void teardown(void)
{
    store_index_close(&idx);
    sqlite3_close(db);
    fx_teardown();
}

static void expect_change(bool changed)
{
    ck_assert_int_eq(store_index_is_same(&idx), !changed);
    store_index_note(&idx);
    ck_assert(store_index_is_same(&idx));
}

static void in_another_process(const char *sql)
{
    pid_t pid = fork();
    int status;

    if (pid == 0) {
        execlp("sqlite3", "sqlite3", fx_path, sql, (char *)NULL);
        _exit(127);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

/* Every commit, whoever makes it; nothing else. */
START_TEST(commits)
{
    sqlite3 *other = connect_to(fx_path);

    expect_change(true); /* nothing was noted */
    expect_change(false);
    run(db, "SELECT * FROM t");
    expect_change(false);
    run(db, "INSERT INTO t VALUES(1)");
    expect_change(true);
    run(other, "SELECT * FROM t");
    expect_change(false);
    run(other, "BEGIN IMMEDIATE; INSERT INTO t VALUES(2)");
    expect_change(false);
    run(other, "COMMIT");
    expect_change(true);
    run(other, "BEGIN IMMEDIATE; INSERT INTO t VALUES(3); ROLLBACK");
    expect_change(false);
    in_another_process("INSERT INTO t VALUES(4)");
    expect_change(true);
    in_another_process("SELECT * FROM t");
    expect_change(false);
    /* From here on the log is written from its begin. */
    run(other, "PRAGMA wal_checkpoint(RESTART)");
    store_index_note(&idx);
    for (int i = 0; i < 100; i++) {
        run(other, "UPDATE t SET a = a + 1");
        expect_change(true);
    }
    in_another_process("PRAGMA wal_checkpoint(TRUNCATE); DELETE FROM t");
    expect_change(true);
    sqlite3_close(other);
}
END_TEST

/* Where there is no header, nobody is told that nothing changed. */
START_TEST(none)
{
    struct store_index index = {0};
    sqlite3 *memory = connect_to(":memory:");
    char path[PATH_MAX];

    ck_assert(!store_index_is_same(&index));
    store_index_note(&index);
    ck_assert(!store_index_is_same(&index));
    run(memory, "CREATE TABLE t(a)");
    store_index_open(&index, memory);
    store_index_note(&index);
    ck_assert(!store_index_is_same(&index));
    store_index_close(&index);
    sqlite3_close(memory);

    snprintf(path, sizeof(path), "%s/plain.db", fx_dir);
    sqlite3 *plain = connect_to(path);
    run(plain, "CREATE TABLE t(a); SELECT * FROM t");
    store_index_open(&index, plain);
    store_index_note(&index);
    ck_assert(!store_index_is_same(&index));
    store_index_close(&index);
    sqlite3_close(plain);
}
END_TEST

/* What is no header that is known, or one that is being made. */
START_TEST(another_format)
{
    uint32_t header[STORE_INDEX_WORDS] = {3007000};
    struct store_index index = {.header = header};

    store_index_note(&index);
    ck_assert(!store_index_is_same(&index));
    *(unsigned char *)&header[3] = 1;
    ck_assert(!store_index_is_same(&index));
    store_index_note(&index);
    ck_assert(store_index_is_same(&index));
    for (size_t i = 0; i < STORE_INDEX_WORDS; i++) {
        header[i]++;
        ck_assert(!store_index_is_same(&index));
        header[i]--;
        ck_assert(store_index_is_same(&index));
    }
    header[0]++;
    store_index_note(&index);
    ck_assert(!store_index_is_same(&index));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("store_index");
    TCase *tc = tcase_create("store_index");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, commits);
    tcase_add_test(tc, none);
    tcase_add_test(tc, another_format);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
