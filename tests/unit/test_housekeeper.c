/*
 * Tests of housekeeper: checkpoints, the lock that two daemons share, and what it does for others. Losses of
 * the database are in test_housekeeper_loss.c.
 */
#include "housekeeper_fixture.h"

#include "io/store_usage.h"

#include <sys/file.h>

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
    quiet_ticks();
    ck_assert_int_eq(fx_logged(" error "), 1);
    ck_assert_int_eq(fx_logged("works again"), 1);
    ck_assert_int_eq(fx_number("SELECT permanent FROM key_state WHERE key_id = '00000000000000a2'"), 1);
    ck_assert_int_eq(fx_status(&admin, ALPHA, 2), KEY_PERMANENT);
}
END_TEST

static long long row_until(const char *id)
{
    char sql[128];

    snprintf(sql, sizeof(sql), "SELECT cooldown_until FROM key_state WHERE key_id = '%s'", id);
    return fx_number(sql);
}

/* Whoever reads the rows after a jump, and knows nothing else, reads what the workers know. */
START_TEST(test_wall_clock_jumps)
{
    static const int64_t jumps[] = {-86400000, -3600000, 3600000, 86400000};
    struct fx_process late;

    ck_assert(store_mark(worker.store, ALPHA, 0, false, 5000, 429, &fx_now));
    ck_assert(store_mark(worker.store, ALPHA, 1, false, 60000, 429, &fx_now));
    ck_assert(store_mark(worker.store, ALPHA, 2, true, 0, 401, &fx_now));
    tick();
    fx_pass(9750); /* the first is over */
    tick();
    fx_now.real_ms += jumps[_i];
    tick();
    ck_assert_int_eq(row_until("00000000000000a1"), fx_now.real_ms + 60000 - 10500);
    ck_assert_int_le(row_until("00000000000000a0"), fx_now.real_ms);
    ck_assert_int_eq(fx_logged("the wall clock was set"), 1);
    fx_process_init(&late);
    ck_assert_int_eq(fx_status(&late, ALPHA, 0), KEY_VALID);
    ck_assert_int_eq(fx_left(&late, ALPHA, 1), 60000 - 10500);
    ck_assert_int_eq(fx_status(&late, ALPHA, 2), KEY_PERMANENT);
    ck_assert_int_eq(fx_left(&worker, ALPHA, 1), 60000 - 10500);
    fx_process_fini(&late);
    /* A new mark after the jump holds as long as it says. */
    ck_assert(store_mark(worker.store, ALPHA, 0, false, 7000, 429, &fx_now));
    tick();
    ck_assert_int_eq(row_until("00000000000000a0"), fx_now.real_ms - HOUSEKEEPER_TICK_MS + 7000);
    ck_assert_int_eq(fx_logged("the wall clock was set"), 1);
}
END_TEST

START_TEST(test_jump_while_busy)
{
    struct fx_locker locker;

    ck_assert(store_mark(worker.store, ALPHA, 1, false, 60000, 429, &fx_now));
    tick();
    fx_lock(&locker);
    /* Not written before the jump. */
    ck_assert(store_mark(worker.store, ALPHA, 2, false, 60000, 429, &fx_now));
    fx_now.real_ms -= 86400000;
    tick();
    ck_assert_int_gt(row_until("00000000000000a1"), fx_now.real_ms + 86000000);
    fx_unlock(&locker);
    tick();
    store_flush(worker.store, &fx_now);
    ck_assert_int_eq(row_until("00000000000000a1"), fx_now.real_ms + 60000 - 3 * HOUSEKEEPER_TICK_MS);
    ck_assert_int_eq(row_until("00000000000000a2"), fx_now.real_ms + 60000 - 2 * HOUSEKEEPER_TICK_MS);
    ck_assert_int_eq(fx_left(&worker, ALPHA, 2), 60000 - 2 * HOUSEKEEPER_TICK_MS);
}
END_TEST

/* Written years ahead by an operator, or by a clock that was wrong. */
START_TEST(test_far_deadline)
{
    tick();
    fx_sql("UPDATE key_state SET cooldown_until = 9000000000000 WHERE key_id = '00000000000000a1'");
    ck_assert_int_eq(fx_left(&worker, ALPHA, 1), MAX_COOLDOWN);
    tick();
    ck_assert_int_eq(row_until("00000000000000a1"), fx_now.real_ms + MAX_COOLDOWN);
    /* A shorter one is his to choose. */
    fx_sql("UPDATE key_state SET cooldown_until = cooldown_until - 30000 WHERE key_id = '00000000000000a1'");
    tick();
    ck_assert_int_eq(row_until("00000000000000a1"),
                     fx_now.real_ms - HOUSEKEEPER_TICK_MS + MAX_COOLDOWN - 30000);
}
END_TEST

START_TEST(test_marks_of_dead_processes)
{
    tick();
    shared_key_mark(shared_key_slot(fx_shared, "alpha", fx_alpha_keys[1].id),
                    &(struct shared_mark){.until_real_ms = fx_now.real_ms + 5000, .status = 429},
                    fx_now.mono_ms);
    tick();
    ck_assert(!fx_dirty(1));
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
    quiet_ticks();
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
    quiet_ticks();
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(fx_logged("works again"), 1);
}
END_TEST

/* ---- token counts */

static struct usage_counter counter;

static void count(uint64_t input)
{
    const struct usage usage = {.input = input};
    struct usage_identity identity;

    usage_identify(&identity, fx_now.real_ms, "alpha", "team", "sk-a...aaa0", "m");
    usage_counter_add(&counter, &identity, &usage);
}

/* Until the next write of them is due. */
static void usage_ticks(void)
{
    for (int i = 0; i <= STORE_USAGE_WRITE_MS / HOUSEKEEPER_TICK_MS; i++)
        tick();
}

static long long counted(void)
{
    return fx_number("SELECT total(input) FROM usage");
}

START_TEST(test_usage)
{
    usage_counter_init(&counter, &fx_shared->usage, 0);
    tick();
    count(1);
    usage_ticks();
    ck_assert_int_eq(counted(), 1);
    /* The last ones when the process ends; the next process goes on. */
    count(10);
    housekeeper_free(&keeper);
    ck_assert_int_eq(counted(), 11);
    ck_assert_int_eq(wal_size(), 0);
    count(100);
    begin_keeping();
    usage_ticks();
    ck_assert_int_eq(counted(), 111);
}
END_TEST

START_TEST(test_usage_and_a_locked_database)
{
    struct fx_locker locker;

    usage_counter_init(&counter, &fx_shared->usage, 0);
    usage_ticks();
    count(1);
    fx_lock(&locker);
    for (int i = 0; i < 10; i++) {
        tick();
        count(1);
    }
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_BUSY);
    fx_unlock(&locker);
    quiet_ticks();
    usage_ticks();
    ck_assert_int_eq(counted(), 11);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(fx_logged("works again"), 1);
}
END_TEST

/* Its table is dropped, or the whole file: what was not written yet is, to the new one. */
START_TEST(test_usage_dropped)
{
    usage_counter_init(&counter, &fx_shared->usage, 0);
    tick();
    mark_both();
    count(1);
    usage_ticks();
    if (_i == 0)
        fx_sql("DROP TABLE usage");
    else
        delete_database();
    count(10);
    usage_ticks();
    usage_ticks();
    ck_assert_int_eq(counted(), _i == 0 ? 10 : 11);
    ck_assert_int_eq(fx_logged("it is in use again, with the states of 2 marked keys"), 1);
    expect_marks();
}
END_TEST

static off_t root_of_usage;

static void scribble_usage(void)
{
    char garbage[4096];

    memset(garbage, 0x5a, sizeof(garbage));
    fx_scribble(fx_path, root_of_usage, garbage, sizeof(garbage));
}

/* Damage where only counts are, in a file that is too large to be looked through all the time. */
START_TEST(test_usage_damaged)
{
    usage_counter_init(&counter, &fx_shared->usage, 0);
    tick();
    mark_both();
    fx_sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000) INSERT INTO"
           " usage(hour, provider, client, key, model) SELECT i, 'provider', 'client', 'sk-a...aaaa',"
           " 'a-model-with-a-name-that-is-quite-long-' || i FROM n; PRAGMA wal_checkpoint(TRUNCATE)");
    root_of_usage = (off_t)(fx_number("SELECT rootpage FROM sqlite_schema WHERE name = 'usage'") - 1) * 4096;
    tick();
    fx_elsewhere(scribble_usage);
    usage_ticks();
    ck_assert_int_eq(fx_files("state.db.damaged-"), 0); /* nobody has met it */
    count(1);
    quiet_ticks();
    usage_ticks();
    ck_assert_int_ge(fx_files("state.db.damaged-"), 1);
    ck_assert_int_eq(counted(), 1);
    expect_marks();
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
    tcase_add_test(tcase, test_directory_is_gone_for_a_while);
    tcase_add_loop_test(tcase, test_wall_clock_jumps, 0, 4);
    tcase_add_test(tcase, test_jump_while_busy);
    tcase_add_test(tcase, test_far_deadline);
    tcase_add_test(tcase, test_marks_of_dead_processes);
    tcase_add_test(tcase, test_sync_is_repeated);
    tcase_add_test(tcase, test_another_daemon_keeps_the_file);
    tcase_add_test(tcase, test_lock_file_is_removed);
    tcase_add_test(tcase, test_lock_file_cannot_be_made);
    tcase_add_test(tcase, test_usage);
    tcase_add_test(tcase, test_usage_and_a_locked_database);
    tcase_add_loop_test(tcase, test_usage_dropped, 0, 2);
    tcase_add_test(tcase, test_usage_damaged);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
