/*
 * Tests of housekeeper: checkpoints, and a database file that is deleted, replaced, cut, overwritten or
 * robbed of its WAL while processes use it. `admin` is the housekeeper's own process, `worker` another one
 * over the same shared memory; damage is done from a process of its own, as it would be.
 */
#include "store_fixture.h"

#include "io/housekeeper.h"

#include <sys/file.h>

static struct fx_process admin;
static struct fx_process worker;
static struct housekeeper *keeper;

static void begin_keeping(void)
{
    struct housekeeper_options options = {.path = fx_path,
                                          .providers = &fx_list,
                                          .pools = admin.pools,
                                          .store = admin.store,
                                          .shared = fx_shared};

    keeper = housekeeper_new(&options);
    ck_assert_ptr_nonnull(keeper);
}

static void setup(void)
{
    fx_setup();
    fx_prepare();
    fx_process_init(&admin);
    fx_process_init(&worker);
    begin_keeping();
}

static void teardown(void)
{
    housekeeper_free(&keeper);
    ck_assert_ptr_null(keeper);
    fx_process_fini(&admin);
    fx_process_fini(&worker);
    fx_teardown();
}

static void tick(void)
{
    fx_pass(HOUSEKEEPER_TICK_MS);
    housekeeper_tick(keeper, &fx_now);
}

static void mark_both(void)
{
    ck_assert(store_mark(worker.store, ALPHA, 0, true, 0, 401, &fx_now));
    ck_assert(store_mark(worker.store, ALPHA, 1, false, 600000, 429, &fx_now));
}

static bool is_dirty(size_t index)
{
    struct shared_mark mark;
    uint64_t seen;

    return shared_key_dirty(shared_key_slot(fx_shared, "alpha", fx_alpha_keys[index].id), &mark, &seen);
}

/* Both marks of mark_both() are in the file at PATH, and every process knows and uses it. */
static void expect_marks(void)
{
    ck_assert_str_eq(fx_text("PRAGMA integrity_check"), "ok");
    ck_assert_str_eq(fx_text("SELECT permanent || reason || last_status FROM key_state WHERE key_id = "
                             "'00000000000000a0'"),
                     "1unauthorized401");
    ck_assert_int_eq(fx_number("SELECT cooldown_until FROM key_state WHERE key_id = '00000000000000a1'"),
                     START_REAL + HOUSEKEEPER_TICK_MS + 600000);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 5);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 1), KEY_TEMPORARY);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 2), KEY_VALID);
    ck_assert_int_eq(fx_status(&admin, ALPHA, 0), KEY_PERMANENT);
    ck_assert_int_eq(atomic_load(&fx_shared->database_damaged), 0);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    /* An operator's change in that file reaches the worker, a worker's mark that file. */
    fx_sql("UPDATE key_state SET permanent = 0, cooldown_until = 0");
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_VALID);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 1), KEY_VALID);
    ck_assert(store_mark(worker.store, BETA, 1, false, 1000, 429, &fx_now));
    ck_assert_int_eq(fx_number("SELECT cooldown_until FROM key_state WHERE key_id = '00000000000000b1'"),
                     fx_now.real_ms + 1000);
}

START_TEST(test_nothing_to_do)
{
    uint64_t epoch;
    struct stat st;
    char name[PATH_MAX];

    tick();
    epoch = atomic_load(&fx_shared->database_epoch);
    for (int i = 0; i < 5; i++)
        tick();
    ck_assert_uint_eq(atomic_load(&fx_shared->database_epoch), epoch);
    ck_assert_int_eq(fx_logged("state database"), 0);
    fx_beside(".lock", name);
    ck_assert_int_eq(lstat(name, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777 & ~0640U, 0);
}
END_TEST

static off_t wal_size(void)
{
    char name[PATH_MAX];
    struct stat st;

    fx_beside("-wal", name);
    return lstat(name, &st) == 0 ? st.st_size : -1;
}

/* Marks until the WAL holds at least so many frames. */
static void fill_wal(int frames)
{
    for (int64_t i = 1; wal_size() < (off_t)frames * 4120; i++) {
        ck_assert(store_mark(worker.store, ALPHA, 0, false, 1000 + i, 429, &fx_now));
        ck_assert_int_lt(i, 10000);
    }
}

START_TEST(test_checkpoint)
{
    off_t before;

    tick();
    fill_wal(HOUSEKEEPER_WAL_FRAMES - 20);
    before = wal_size();
    tick();
    ck_assert_int_eq(wal_size(), before);
    fill_wal(HOUSEKEEPER_WAL_FRAMES + 1);
    tick();
    ck_assert_int_eq(wal_size(), 0);
    ck_assert_int_gt(fx_number("SELECT failures FROM key_state WHERE key_id = '00000000000000a0'"), 90);
    fill_wal(10);
    housekeeper_free(&keeper);
    ck_assert_int_eq(wal_size(), 0);
    begin_keeping();
}
END_TEST

START_TEST(test_reader_stands_in_the_way)
{
    sqlite3 *reader = fx_operator(fx_path);
    sqlite3_stmt *stmt = NULL;

    tick();
    ck_assert_int_eq(sqlite3_prepare_v2(reader, "SELECT * FROM key_state", -1, &stmt, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
    fill_wal(HOUSEKEEPER_WAL_FRAMES + 1);
    /* Tried ever more seldom, so that marks get in; said once; no trouble of the database. */
    for (int i = 0; i < 260; i++)
        tick();
    ck_assert_int_gt(wal_size(), 0);
    ck_assert_int_eq(fx_logged("reads it for over a minute"), 1);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    sqlite3_finalize(stmt);
    sqlite3_close(reader);
    tick();
    ck_assert_int_gt(wal_size(), 0);
    for (int i = 0; i < 5000 / HOUSEKEEPER_TICK_MS + 1; i++)
        tick();
    ck_assert_int_eq(wal_size(), 0);
}
END_TEST

static void delete_database(void)
{
    unlink(fx_path);
}

static void delete_all(void)
{
    for (int i = 0; i < 3; i++) {
        char name[PATH_MAX];

        fx_beside(i == 0 ? "" : i == 1 ? "-wal" : "-shm", name);
        unlink(name);
    }
}

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
    tick();
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
    tick();
    tick();
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
    for (int i = 0; i < 3; i++)
        tick();
    ck_assert_int_gt(fx_files("state.db.damaged-"), 0);
    expect_marks();
}
END_TEST

START_TEST(test_directory_is_gone_for_a_while)
{
    char away[PATH_MAX];

    tick();
    mark_both();
    snprintf(away, sizeof(away), "%s.away", fx_dir);
    ck_assert_int_eq(rename(fx_dir, away), 0);
    for (int i = 0; i < 6; i++)
        tick();
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    ck_assert_int_eq(fx_status(&worker, ALPHA, 0), KEY_PERMANENT);
    ck_assert(store_mark(worker.store, ALPHA, 2, true, 0, 403, &fx_now));
    ck_assert_int_eq(rename(away, fx_dir), 0);
    for (int i = 0; i < 2; i++)
        tick();
    ck_assert_int_eq(fx_logged(" error "), 1);
    ck_assert_int_eq(fx_logged("works again"), 1);
    ck_assert_int_eq(fx_number("SELECT permanent FROM key_state WHERE key_id = '00000000000000a2'"), 1);
    ck_assert_int_eq(fx_status(&admin, ALPHA, 2), KEY_PERMANENT);
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
    tick();
    tick();
    ck_assert_int_eq(fx_logged("works again"), 1);
    expect_marks();
}
END_TEST

START_TEST(test_marks_of_dead_processes)
{
    tick();
    shared_key_mark(shared_key_slot(fx_shared, "alpha", fx_alpha_keys[1].id),
                    &(struct shared_mark){.until_real_ms = fx_now.real_ms + 5000, .status = 429},
                    fx_now.mono_ms);
    tick();
    ck_assert(!is_dirty(1));
    ck_assert_str_eq(fx_text("SELECT reason FROM key_state WHERE key_id = '00000000000000a1'"),
                     "rate_limited");
}
END_TEST

START_TEST(test_sync_is_repeated)
{
    struct fx_locker locker;

    fx_sql("DELETE FROM key_state");
    fx_lock(&locker);
    tick();
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 0);
    fx_unlock(&locker);
    tick();
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 5);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
}
END_TEST

/* Another daemon's housekeeper: holds PATH.lock until the pipe is closed. */
static void hold_lock(struct fx_locker *locker)
{
    int ready[2];
    int stop[2];
    char name[PATH_MAX];
    char byte;

    fx_beside(".lock", name);
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(stop), 0);
    locker->pid = fork();
    ck_assert_int_ge(locker->pid, 0);
    if (locker->pid == 0) {
        int fd = open(name, O_RDWR | O_CREAT, 0640);

        close(stop[1]);
        if (fd < 0 || flock(fd, LOCK_EX) < 0 || write(ready[1], "x", 1) != 1)
            _exit(1);
        while (read(stop[0], &byte, 1) > 0)
            ;
        _exit(0);
    }
    close(ready[1]);
    close(stop[0]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    locker->stop = stop[1];
}

START_TEST(test_another_daemon_keeps_the_file)
{
    struct fx_locker other;
    uint64_t epoch;

    hold_lock(&other);
    tick();
    mark_both();
    fill_wal(0);
    fx_sql("BEGIN; UPDATE key_state SET hint = hint; COMMIT");
    for (int64_t i = 1; wal_size() < (off_t)(HOUSEKEEPER_WAL_FRAMES + 1) * 4120; i++)
        ck_assert(store_mark(worker.store, BETA, 0, false, 1000 + i, 429, &fx_now));
    tick();
    /* Checkpoints are the other one's, and so is a deleted file. */
    ck_assert_int_gt(wal_size(), 0);
    fx_elsewhere(delete_all);
    tick();
    ck_assert_uint_eq(fx_inode(), 0);
    epoch = atomic_load(&fx_shared->database_epoch);
    /* The other one made it again, with what it knew. */
    fx_prepare();
    tick();
    tick();
    ck_assert_uint_gt(atomic_load(&fx_shared->database_epoch), epoch);
    expect_marks();
    fx_unlock(&other);
    /* And when it ends, this one takes its place. */
    fx_elsewhere(delete_all);
    tick();
    ck_assert_uint_ne(fx_inode(), 0);
}
END_TEST

START_TEST(test_lock_file_is_removed)
{
    char name[PATH_MAX];

    tick();
    fx_beside(".lock", name);
    unlink(name);
    tick();
    ck_assert_int_eq(access(name, F_OK), 0);
    fx_elsewhere(delete_all);
    tick();
    ck_assert_uint_ne(fx_inode(), 0);
}
END_TEST

START_TEST(test_lock_file_cannot_be_made)
{
    char name[PATH_MAX];

    fx_beside(".lock", name);
    ck_assert_int_eq(symlink("/nowhere", name), 0);
    tick();
    tick();
    ck_assert_int_eq(fx_logged("its lock file"), 1);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    unlink(name);
    tick();
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(fx_logged("works again"), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("housekeeper");
    TCase *tcase = tcase_create("housekeeper");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_nothing_to_do);
    tcase_add_test(tcase, test_checkpoint);
    tcase_add_test(tcase, test_reader_stands_in_the_way);
    tcase_add_loop_test(tcase, test_loss, 0, (int)(sizeof(losses) / sizeof(losses[0])));
    tcase_add_test(tcase, test_damage_that_a_process_met);
    tcase_add_test(tcase, test_false_alarm);
    tcase_add_test(tcase, test_mark_between_copy_and_epoch);
    tcase_add_test(tcase, test_operator_is_not_overruled_by_old_marks);
    tcase_add_test(tcase, test_admin_that_starts_without_a_file);
    tcase_add_test(tcase, test_admin_that_starts_with_garbage);
    tcase_add_test(tcase, test_directory_is_gone_for_a_while);
    tcase_add_test(tcase, test_disk_full_while_it_is_made_again);
    tcase_add_test(tcase, test_marks_of_dead_processes);
    tcase_add_test(tcase, test_sync_is_repeated);
    tcase_add_test(tcase, test_another_daemon_keeps_the_file);
    tcase_add_test(tcase, test_lock_file_is_removed);
    tcase_add_test(tcase, test_lock_file_cannot_be_made);
    suite_add_tcase(suite, tcase);
    return fx_run(suite);
}
