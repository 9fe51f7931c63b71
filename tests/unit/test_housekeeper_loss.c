/*
 * Tests of housekeeper: a database that is deleted, replaced, cut, overwritten, robbed of its WAL or its
 * tables while processes use it, and a disk that fails at any write of it all.
 */
#include "housekeeper_fixture.h"

#include <errno.h>

static void delete_wal(void)
{
    char name[PATH_MAX];

    fx_beside("-wal", name);
    unlink(name);
}

static void delete_shm(void)
{
    char name[PATH_MAX];

    fx_beside("-shm", name);
    unlink(name);
}

static void replace_by_nothing(void)
{
    unlink(fx_path);
    fx_scribble(fx_path, 0, "", 0);
}

static void replace_by_garbage(void)
{
    unlink(fx_path);
    fx_scribble(fx_path, 0, "garbage garbage garbage garbage", 31);
}

static void replace_by_empty_database(void)
{
    unlink(fx_path);
    fx_sql("CREATE TABLE x(y); DROP TABLE x");
}

static void replace_by_backup(void)
{
    char copy[PATH_MAX];
    sqlite3 *db = fx_operator(fx_path);
    char sql[PATH_MAX + 32];

    fx_beside(".backup", copy);
    snprintf(sql, sizeof(sql), "VACUUM INTO '%s'", copy);
    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        _exit(1);
    sqlite3_close(db);
    /* From before the marks. */
    db = fx_operator(copy);
    if (sqlite3_exec(
            db, "UPDATE key_state SET permanent = 0, cooldown_until = 0, failures = 0, last_status = NULL",
            NULL, NULL, NULL) != SQLITE_OK)
        _exit(1);
    sqlite3_close(db);
    if (rename(copy, fx_path) < 0)
        _exit(1);
}

static void cut_to_nothing(void)
{
    if (truncate(fx_path, 0) < 0)
        _exit(1);
}

static void cut_short(void)
{
    if (truncate(fx_path, 5000) < 0)
        _exit(1);
}

static const struct {
    const char *what;
    void (*act)(void);
    bool moved;   /* something is moved aside */
    bool history; /* failures and reasons are kept, too */
} losses[] = {
    {"deleted", delete_database, false, true},
    {"all deleted", delete_all, false, true},
    {"WAL deleted", delete_wal, false, true},
    {"shm deleted", delete_shm, false, true},
    {"empty file", replace_by_nothing, false, false},
    {"another garbage file", replace_by_garbage, true, false},
    {"empty database", replace_by_empty_database, false, false},
    {"backup", replace_by_backup, false, true},
    {"cut to nothing", cut_to_nothing, false, false},
    {"cut short", cut_short, true, false},
};

START_TEST(test_loss)
{
    ino_t before;
    uint64_t epoch;

    tick();
    fx_sql("UPDATE key_state SET reason = 'remembered' WHERE key_id = '00000000000000b0'");
    mark_both();
    /* The marks partly in the file, partly in the WAL. */
    fx_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    ck_assert(store_mark(worker.store, ALPHA, 1, false, 600000, 429, &fx_now) == false);
    fx_sql("UPDATE key_state SET failures = 7 WHERE key_id = '00000000000000b0'");
    if (!losses[_i].history && losses[_i].moved)
        fx_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    tick();
    before = fx_inode();
    epoch = atomic_load(&fx_shared->database_epoch);
    fx_elsewhere(losses[_i].act);
    /* What is known stays known meanwhile. */
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    tick();
    ck_assert_msg(fx_inode() != 0 && fx_inode() != before, "%s: not made again", losses[_i].what);
    ck_assert_uint_gt(atomic_load(&fx_shared->database_epoch), epoch);
    tick();
    ck_assert_int_eq(fx_files("state.db.damaged-") > 0, losses[_i].moved);
    if (losses[_i].history)
        ck_assert_str_eq(fx_text("SELECT reason FROM key_state WHERE key_id = '00000000000000b0'"),
                         "remembered");
    ck_assert_int_eq(fx_logged("it is in use again, with the states of 2 marked keys"), 1);
    ck_assert_int_eq(fx_files("state.db.new"), 0);
    quiet_ticks();
    expect_marks();
}
END_TEST

static void scribble_in_the_middle(void)
{
    char garbage[4096];
    struct stat st;

    memset(garbage, 0xa5, sizeof(garbage));
    if (stat(fx_path, &st) < 0)
        _exit(1);
    for (off_t at = 4096; at < st.st_size; at += (off_t)sizeof(garbage))
        fx_scribble(fx_path, at, garbage, sizeof(garbage));
}

START_TEST(test_damage_that_a_process_met)
{
    tick();
    mark_both();
    fx_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    tick();
    fx_elsewhere(scribble_in_the_middle);
    /* Whoever opens the file now meets the damage: here a worker that has just started. */
    fx_process_fini(&worker);
    fx_process_init(&worker);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    ck_assert_int_eq(atomic_load(&fx_shared->database_damaged), 1);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    tick();
    fx_status(&worker, ALPHA, 0);
    quiet_ticks();
    ck_assert_int_gt(fx_files("state.db.damaged-"), 0);
    expect_marks();
    ck_assert_int_eq(fx_logged("works again"), 1);
}
END_TEST

START_TEST(test_false_alarm)
{
    ino_t before;

    tick();
    mark_both();
    before = fx_inode();
    atomic_store(&fx_shared->database_damaged, 1);
    tick();
    ck_assert_uint_eq(fx_inode(), before);
    ck_assert_int_eq(fx_files("state.db.damaged-"), 0);
    expect_marks();
}
END_TEST

START_TEST(test_mark_between_copy_and_epoch)
{
    struct shared_key *slot = shared_key_slot(fx_shared, "alpha", fx_alpha_keys[2].id);
    struct shared_mark mark = {.permanent = true, .status = 403};
    uint64_t seen = 0;

    tick();
    mark_both();
    fx_elsewhere(delete_database);
    tick();
    /* A worker committed this to the old file and had not yet looked at the epoch when it was killed. */
    shared_key_mark(slot, &mark, fx_now.mono_ms);
    ck_assert(shared_key_dirty(slot, &mark, &seen));
    shared_key_written(slot, seen);
    tick();
    ck_assert_str_eq(fx_text("SELECT permanent || reason FROM key_state WHERE key_id = '00000000000000a2'"),
                     "1forbidden");
    ck_assert_int_eq(fx_status(&worker, ALPHA, 2), KEY_PERMANENT);
    /* Later an operator's word stands. */
    tick();
    fx_sql("UPDATE key_state SET permanent = 0");
    tick();
    tick();
    ck_assert_int_eq(fx_status(&worker, ALPHA, 2), KEY_VALID);
}
END_TEST

START_TEST(test_operator_is_not_overruled_by_old_marks)
{
    tick();
    mark_both();
    fx_pass(60000);
    fx_sql("UPDATE key_state SET permanent = 0 WHERE key_id = '00000000000000a0'");
    tick();
    fx_elsewhere(delete_database);
    tick();
    tick();
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_VALID);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 1), KEY_TEMPORARY);
    ck_assert_int_eq(fx_number("SELECT permanent FROM key_state WHERE key_id = '00000000000000a0'"), 0);
}
END_TEST

START_TEST(test_admin_that_starts_without_a_file)
{
    tick();
    mark_both();
    housekeeper_free(&keeper);
    fx_process_fini(&admin);
    fx_elsewhere(delete_all);
    fx_process_init(&admin);
    begin_keeping();
    quiet_ticks();
    expect_marks();
}
END_TEST

START_TEST(test_admin_that_starts_with_garbage)
{
    tick();
    mark_both();
    housekeeper_free(&keeper);
    fx_process_fini(&admin);
    fx_elsewhere(replace_by_garbage);
    fx_process_init(&admin);
    begin_keeping();
    quiet_ticks();
    ck_assert_int_gt(fx_files("state.db.damaged-"), 0);
    expect_marks();
}
END_TEST

START_TEST(test_disk_full_while_it_is_made_again)
{
    struct rlimit before;
    struct rlimit small;

    signal(SIGXFSZ, SIG_IGN);
    tick();
    mark_both();
    fx_elsewhere(delete_database);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    /* The log is the first file that may not grow: so leave it some room, and the database not enough. */
    small = (struct rlimit){.rlim_cur = 4096, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 8; i++)
        tick();
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    ck_assert_int_eq(fx_logged(" error "), 1);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    quiet_ticks();
    ck_assert_int_eq(fx_logged("works again"), 1);
    expect_marks();
}
END_TEST

/* ---- tables */

static void drop_table(void)
{
    fx_sql("DROP TABLE key_state");
}

static void drop_view(void)
{
    fx_sql("DROP VIEW keys");
}

static void drop_column(void)
{
    fx_sql("DROP VIEW keys; ALTER TABLE key_state DROP COLUMN failures");
}

static void drop_primary_key(void)
{
    fx_sql("DROP VIEW keys; CREATE TABLE copy AS SELECT * FROM key_state; DROP TABLE key_state;"
           "ALTER TABLE copy RENAME TO key_state");
}

static void drop_all(void)
{
    fx_sql("DROP VIEW keys; DROP TABLE key_state");
}

static const struct {
    const char *what;
    void (*act)(void);
    bool history; /* failures and reasons are kept, too */
    bool old;     /* the changed table is still there under another name */
} strips[] = {
    {"table", drop_table, false, false},  {"view", drop_view, true, false},
    {"column", drop_column, false, true}, {"primary key", drop_primary_key, false, true},
    {"all", drop_all, false, false},
};

/* Dropped under a running housekeeper, or (_i odd) while there was none. */
START_TEST(test_tables)
{
    int i = _i / 2;
    ino_t before;

    tick();
    fx_sql("UPDATE key_state SET reason = 'remembered' WHERE key_id = '00000000000000b0'");
    mark_both();
    tick();
    before = fx_inode();
    if (_i % 2 != 0) {
        housekeeper_free(&keeper);
        fx_process_fini(&admin);
    }
    fx_elsewhere(strips[i].act);
    if (_i % 2 != 0) {
        fx_process_init(&admin);
        begin_keeping();
    }
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 1), KEY_TEMPORARY);
    tick();
    /* The same file, which the operator's shell may have open. */
    ck_assert_uint_eq(fx_inode(), before);
    ck_assert_int_eq(fx_logged(
                         "was robbed of its tables; it is in use again, with the states of 2 marked keys"),
                     1);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'key_state_until_%'"),
                     strips[i].old);
    if (strips[i].history)
        ck_assert_str_eq(fx_text("SELECT reason FROM key_state WHERE key_id = '00000000000000b0'"),
                         "remembered");
    tick();
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    quiet_ticks();
    expect_marks();
    for (int n = 0; n < 4; n++)
        tick();
    ck_assert_int_eq(fx_logged("was robbed of its tables"), 1);
}
END_TEST

/* Nobody meets damage in a page that everybody has in memory: it is looked for. */
START_TEST(test_damage_that_nobody_met)
{
    tick();
    mark_both();
    fx_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    for (int i = 0; i < 8; i++)
        tick();
    fx_elsewhere(scribble_in_the_middle);
    for (int i = 0; i < 8; i++)
        tick();
    ck_assert_int_eq(fx_logged("it was moved to"), 1);
    expect_marks();
}
END_TEST

/* ---- the Nth call that changes a file fails */

static struct {
    int calls; /* so far */
    int nth;   /* 0 = none fails */
    int count; /* so many fail from there on */
    int error;
    int failed;
} disk;

static bool disk_fails(void)
{
    disk.calls++;
    if (disk.nth == 0 || disk.calls < disk.nth || disk.calls >= disk.nth + disk.count)
        return false;
    disk.failed++;
    errno = disk.error;
    return true;
}

static ssize_t disk_write(int fd, const void *data, size_t len)
{
    return disk_fails() ? -1 : write(fd, data, len);
}

static ssize_t disk_pwrite(int fd, const void *data, size_t len, off_t at)
{
    return disk_fails() ? -1 : pwrite(fd, data, len, at);
}

static int disk_ftruncate(int fd, off_t len)
{
    return disk_fails() ? -1 : ftruncate(fd, len);
}

static int disk_open(const char *path, int flags, int mode)
{
    return disk_fails() ? -1 : open(path, flags, mode);
}

static void replace_call(const char *name, sqlite3_syscall_ptr call)
{
    sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

    /* Which of pwrite and pwrite64 there is depends on how SQLite was built. */
    if (vfs->xGetSystemCall(vfs, name) != NULL)
        ck_assert_int_eq(vfs->xSetSystemCall(vfs, name, call), SQLITE_OK);
}

static void take_the_disk(void)
{
    replace_call("write", (sqlite3_syscall_ptr)disk_write);
    replace_call("pwrite", (sqlite3_syscall_ptr)disk_pwrite);
    replace_call("pwrite64", (sqlite3_syscall_ptr)disk_pwrite);
    replace_call("ftruncate", (sqlite3_syscall_ptr)disk_ftruncate);
    replace_call("open", (sqlite3_syscall_ptr)disk_open);
}

static void expect_both_known(void)
{
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 1), KEY_TEMPORARY);
    ck_assert_int_eq(fx_status(&admin, ALPHA, 0), KEY_PERMANENT);
    ck_assert_int_eq(fx_status(&admin, ALPHA, 1), KEY_TEMPORARY);
}

/* Marks, a checkpoint and a lost file, with `count` calls from the nth on failing. Whether any did. */
static bool live_through(int nth, int count, int error)
{
    setup();
    tick();
    disk.calls = disk.failed = 0;
    disk.error = error;
    disk.count = count;
    disk.nth = nth;
    mark_both();
    expect_both_known();
    tick();
    ck_assert_int_ge(sqlite3_release_memory(0), 0);
    expect_both_known();
    fx_elsewhere(delete_database);
    for (int i = 0; i < 3; i++) {
        tick();
        expect_both_known();
    }
    disk.nth = 0;
    /* The worker's loop turns too. */
    for (int i = 0; i < 4; i++) {
        tick();
        store_flush(worker.store, &fx_now);
    }
    /* An open() that failed once left it a read-only connection, which its next write finds out. */
    ck_assert(store_mark(worker.store, BETA, 0, false, 500, 429, &fx_now));
    quiet_ticks();
    store_flush(worker.store, &fx_now);
    expect_both_known();
    ck_assert_msg(atomic_load(&fx_shared->database_condition) == DATABASE_OK, "call %d, error %d", nth,
                  error);
    ck_assert_int_eq(fx_logged("works again"), fx_logged("requests are served"));
    expect_marks();
    teardown();
    return disk.failed > 0;
}

START_TEST(test_nth_call_fails)
{
    static const struct {
        int count;
        int error;
    } kinds[] = {{1, EIO}, {1000000, EIO}, {1, ENOSPC}, {1000000, ENOSPC}, {1000000, EROFS}};
    int nth = 1;

    take_the_disk();
    while (live_through(nth, kinds[_i].count, kinds[_i].error))
        nth++;
    /* A mark alone is a few writes, a new file some more. */
    ck_assert_int_gt(nth, 20);
    printf("each of %d calls failed: error %d, %s\n", nth - 1, kinds[_i].error,
           kinds[_i].count == 1 ? "once" : "from there on");
}
END_TEST

int main(void)
{
    /* Hundreds of databases are made: without a disk that syncs it takes seconds. */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 0);

    Suite *suite = suite_create("housekeeper_loss");
    TCase *tcase = tcase_create("housekeeper_loss");
    TCase *disks = tcase_create("disk");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_loss, 0, (int)(sizeof(losses) / sizeof(losses[0])));
    tcase_add_test(tcase, test_damage_that_a_process_met);
    tcase_add_test(tcase, test_false_alarm);
    tcase_add_test(tcase, test_mark_between_copy_and_epoch);
    tcase_add_test(tcase, test_operator_is_not_overruled_by_old_marks);
    tcase_add_test(tcase, test_admin_that_starts_without_a_file);
    tcase_add_test(tcase, test_admin_that_starts_with_garbage);
    tcase_add_test(tcase, test_disk_full_while_it_is_made_again);
    tcase_add_loop_test(tcase, test_tables, 0, 2 * (int)(sizeof(strips) / sizeof(strips[0])));
    tcase_add_test(tcase, test_damage_that_nobody_met);
    suite_add_tcase(suite, tcase);
    tcase_set_timeout(disks, 120);
    tcase_add_loop_test(disks, test_nth_call_fails, 0, 5);
    suite_add_tcase(suite, disks);
    return suite_run(suite);
}
