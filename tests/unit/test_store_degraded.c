/*
 * Tests of store while the database cannot be used: locked, full, read-only, damaged, not there. Nothing
 * waits, every process knows every mark, and the marks are written once they can be. As in test_store,
 * several stores over one shared memory stand for several processes, and the clock is the test's own.
 */
#include "store_pair.h"

#include "base/clock.h"

START_TEST(test_busy_database)
{
    struct fx_locker locker;
    int64_t pause = 1;
    int64_t at;
    int tries = 0;

    store_refresh(two.store, &fx_now);
    fx_lock(&locker);
    ck_assert(mark_429(&one, 0, 60000));
    ck_assert(fx_dirty(0));
    /* Everybody sees it all the same. */
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), 60000);
    ck_assert_int_eq(fx_left(&one, ALPHA, 0), 60000);
    /* A later one while it waits. */
    ck_assert(mark_401(&one, 1));
    ck_assert_int_eq(fx_status(&two, ALPHA, 1), KEY_PERMANENT);
    at = store_flush(one.store, &fx_now);
    for (int i = 0; i < 12; i++) {
        ck_assert_int_eq(at - fx_now.mono_ms, pause);
        if (pause > 1)
            fx_pass(pause - 1);
        /* Not before it is due. */
        ck_assert_int_eq(store_flush(one.store, &fx_now), at);
        fx_pass(at - fx_now.mono_ms);
        at = store_flush(one.store, &fx_now);
        pause = pause * 2 < 250 ? pause * 2 : 250;
        tries++;
    }
    ck_assert_int_eq(tries, 12);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_BUSY);
    ck_assert_int_eq(fx_logged("database is locked"), 1);
    fx_unlock(&locker);
    fx_pass(250);
    ck_assert_int_eq(store_flush(one.store, &fx_now), INT64_MAX);
    ck_assert(!fx_dirty(0) && !fx_dirty(1));
    ck_assert_str_eq(fx_row("reason", 1), "unauthorized");
    ck_assert_int_eq(strtoll(fx_row("cooldown_until", 0), NULL, 10), START_REAL + 60000);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_BUSY);
    fx_settle(&two);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(fx_logged("works again"), 1);
    ck_assert_int_eq(fx_logged("error"), 1);
}
END_TEST

START_TEST(test_short_lock_is_not_worth_a_word)
{
    struct fx_locker locker;

    for (int i = 0; i < 3; i++) {
        fx_lock(&locker);
        ck_assert(mark_429(&one, 0, 1000 * (i + 1)));
        ck_assert(fx_dirty(0));
        fx_unlock(&locker);
        fx_pass(STORE_BUSY_MS - 1);
        ck_assert_int_eq(store_flush(one.store, &fx_now), INT64_MAX);
        ck_assert(!fx_dirty(0));
        /* Ages later: not one long time of being busy. */
        fx_pass(10 * STORE_BUSY_MS);
    }
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(fx_logged("state database"), 0);
    ck_assert_uint_eq(atomic_load(&fx_shared->database_errors), 0);
}
END_TEST

/* Every lock of the WAL's index (bytes 120 to 127 of -shm: sqlite.org/walformat.html#wal_locks) until the
 * pipe is closed. */
static void hold_every_lock(struct fx_locker *locker)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 120, .l_len = 8};
    int ready[2];
    int stop[2];
    char name[PATH_MAX];
    char byte;

    fx_beside("-shm", name);
    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(stop), 0);
    locker->pid = fork();
    ck_assert_int_ge(locker->pid, 0);
    if (locker->pid == 0) {
        int fd = open(name, O_RDWR);

        close(stop[1]);
        if (fd < 0 || fcntl(fd, F_SETLKW, &lock) != 0 || write(ready[1], "x", 1) != 1)
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

/* Locks that make SQLite sleep, whatever the busy timeout: some ten seconds for each access. */
START_TEST(test_locked_for_readers)
{
    struct fx_locker locker;
    int64_t begin_ms;

    ck_assert(mark_401(&one, 1));
    store_refresh(two.store, &fx_now);
    hold_every_lock(&locker);
    begin_ms = clock_mono_ms();
    ck_assert(mark_429(&one, 0, 60000));
    for (int i = 0; i < 20; i++) {
        fx_pass(store_flush(one.store, &fx_now) - fx_now.mono_ms);
        ck_assert_int_eq(fx_status(&one, ALPHA, 0), KEY_TEMPORARY);
        ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_TEMPORARY);
        ck_assert_int_eq(fx_status(&two, ALPHA, 1), KEY_PERMANENT);
    }
    ck_assert_msg(clock_mono_ms() - begin_ms < 2000, "waited %lld ms",
                  (long long)(clock_mono_ms() - begin_ms));
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_BUSY);
    ck_assert_int_eq(fx_logged("requests are served"), 1);
    fx_unlock(&locker);
    fx_pass(250);
    ck_assert_int_eq(store_flush(one.store, &fx_now), INT64_MAX);
    store_flush(two.store, &fx_now);
    ck_assert(!fx_dirty(0));
    fx_settle(&two);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(fx_logged("works again"), 1);
}
END_TEST

START_TEST(test_no_database_at_first)
{
    struct fx_process process;
    int64_t at;

    fx_process_fini(&one);
    fx_process_fini(&two);
    unlink(fx_path);
    fx_process_init(&one);
    fx_process_init(&two);
    fx_process_init(&process);
    ck_assert_int_eq(fx_status(&process, ALPHA, 0), KEY_VALID);
    ck_assert(mark_429(&process, 0, 60000));
    ck_assert_int_eq(fx_left(&one, ALPHA, 0), 60000);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    for (int i = 0; i < 20; i++) {
        at = store_flush(process.store, &fx_now);
        ck_assert_int_gt(at, fx_now.mono_ms);
        ck_assert_int_le(at, fx_now.mono_ms + 250);
        fx_pass(at - fx_now.mono_ms);
    }
    ck_assert_int_eq(fx_logged(" error "), 1);
    ck_assert_int_eq(fx_logged(fx_path), 1);
    ck_assert_uint_ge(atomic_load(&fx_shared->database_errors), 20);
    fx_prepare();
    fx_pass(250);
    ck_assert_int_eq(store_flush(process.store, &fx_now), INT64_MAX);
    ck_assert_int_eq(strtoll(fx_row("cooldown_until", 0), NULL, 10), START_REAL + 60000);
    ck_assert_int_eq(fx_left(&one, ALPHA, 0), START_REAL + 60000 - fx_now.real_ms);
    fx_settle(&one);
    ck_assert_int_eq(fx_logged("works again"), 1);
    fx_process_fini(&process);
}
END_TEST

static void scribble_over_all(void)
{
    char garbage[4096];
    char name[PATH_MAX];
    struct stat st;

    memset(garbage, 0xa5, sizeof(garbage));
    ck_assert_int_eq(stat(fx_path, &st), 0);
    for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(garbage))
        fx_scribble(fx_path, at, garbage, sizeof(garbage));
    fx_beside("-wal", name);
    ck_assert_int_eq(truncate(name, 0), 0);
}

START_TEST(test_damage)
{
    ck_assert(mark_429(&one, 0, 60000));
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), 60000);
    fx_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    fx_elsewhere(scribble_over_all);
    /* Whoever opens it now finds damage; what is known stays known. */
    atomic_fetch_add(&fx_shared->database_epoch, 1);
    ck_assert(mark_401(&one, 1));
    ck_assert_int_eq(atomic_load(&fx_shared->database_damaged), 1);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    ck_assert_int_eq(fx_left(&one, ALPHA, 0), 60000);
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), 60000);
    ck_assert_int_eq(fx_status(&two, ALPHA, 1), KEY_PERMANENT);
    ck_assert_int_eq(fx_logged(" error "), 1);
    fx_pass(60000);
    ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_VALID);
    ck_assert_int_eq(fx_status(&two, ALPHA, 1), KEY_PERMANENT);
}
END_TEST

START_TEST(test_mark_that_was_written_while_this_process_cannot_read)
{
    struct fx_process blind;
    char hidden[PATH_MAX];

    fx_beside(".hidden", hidden);
    store_refresh(one.store, &fx_now);
    fx_process_init(&blind);
    store_refresh(blind.store, &fx_now);
    /* It must open the file again and cannot, while the others still use it. */
    ck_assert_int_eq(rename(fx_path, hidden), 0);
    atomic_fetch_add(&fx_shared->database_epoch, 1);
    store_refresh(blind.store, &fx_now);
    fx_pass(100);
    atomic_fetch_add(&fx_shared->key_generation, 1);
    store_refresh(blind.store, &fx_now);
    atomic_fetch_sub(&fx_shared->database_epoch, 1);
    ck_assert(mark_429(&one, 2, 60000));
    ck_assert(!fx_dirty(2));
    ck_assert_int_eq(fx_left(&blind, ALPHA, 2), 60000);
    ck_assert_int_eq(rename(hidden, fx_path), 0);
    fx_pass(250);
    ck_assert_int_eq(fx_left(&blind, ALPHA, 2), 60000 - 250);
    fx_process_fini(&blind);
}
END_TEST

START_TEST(test_disk_full)
{
    struct rlimit before;
    struct rlimit none = {.rlim_cur = 0};
    int64_t at;

    /* No file may grow, not the WAL either: what a full file system says to SQLite. */
    signal(SIGXFSZ, SIG_IGN);
    store_refresh(one.store, &fx_now);
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    none.rlim_max = before.rlim_max;
    none.rlim_cur = 1;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
    ck_assert(mark_401(&one, 0));
    for (int i = 0; i < 20; i++) {
        at = store_flush(one.store, &fx_now);
        ck_assert_int_gt(at, fx_now.mono_ms);
        fx_pass(at - fx_now.mono_ms);
        ck_assert_int_eq(fx_status(&one, ALPHA, 0), KEY_PERMANENT);
        ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_PERMANENT);
    }
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    ck_assert(fx_dirty(0));
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    fx_pass(250);
    ck_assert_int_eq(store_flush(one.store, &fx_now), INT64_MAX);
    ck_assert(!fx_dirty(0));
    fx_settle(&two);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_str_eq(fx_row("permanent", 0), "1");
}
END_TEST

static void work_read_only(void)
{
    struct fx_process process;

    if (geteuid() == 0 && seteuid(65534) < 0)
        _exit(2);
    fx_process_init(&process);
    if (fx_status(&process, ALPHA, 1) != KEY_PERMANENT)
        _exit(3);
    if (!mark_429(&process, 0, 60000) || !fx_dirty(0))
        _exit(4);
    for (int i = 0; i < 10; i++)
        fx_pass(store_flush(process.store, &fx_now) - fx_now.mono_ms);
    if (fx_status(&process, ALPHA, 0) != KEY_TEMPORARY ||
        atomic_load(&fx_shared->database_condition) != DATABASE_FAILING || fx_logged(" error ") != 1)
        _exit(5);
    fx_process_fini(&process);
}

START_TEST(test_read_only)
{
    char name[PATH_MAX];

    ck_assert(mark_401(&one, 1));
    /* The sqlite files stay open here, so that -wal and -shm are there to be read. */
    ck_assert_int_eq(chmod(fx_dir, 0755), 0);
    ck_assert_int_eq(chmod(fx_path, 0444), 0);
    fx_beside("-wal", name);
    ck_assert_int_eq(chmod(name, 0444), 0);
    fx_beside("-shm", name);
    ck_assert_int_eq(chmod(name, 0444), 0);
    fx_elsewhere(work_read_only);
    /* What it could not write, another process does. */
    ck_assert(fx_dirty(0));
    store_tend(one.store, true, &fx_now);
    store_flush(one.store, &fx_now);
    ck_assert(!fx_dirty(0));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_degraded");
    TCase *tcase = tcase_create("store_degraded");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_busy_database);
    tcase_add_test(tcase, test_short_lock_is_not_worth_a_word);
    tcase_add_test(tcase, test_locked_for_readers);
    tcase_add_test(tcase, test_no_database_at_first);
    tcase_add_test(tcase, test_damage);
    tcase_add_test(tcase, test_mark_that_was_written_while_this_process_cannot_read);
    tcase_add_test(tcase, test_disk_full);
    tcase_add_test(tcase, test_read_only);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
