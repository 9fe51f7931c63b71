/*
 * What the tests of housekeeper share: `admin` is the housekeeper's own process, `worker` another one over
 * the same shared memory; damage is done from a process of its own, as it would be.
 */
#ifndef TESTS_UNIT_HOUSEKEEPER_FIXTURE_H
#define TESTS_UNIT_HOUSEKEEPER_FIXTURE_H

#include "store_fixture.h"

#include "io/housekeeper.h"

static struct fx_process admin;
static struct fx_process worker;
static struct housekeeper *keeper;

static inline void begin_keeping(void)
{
    struct housekeeper_options options = {.path = fx_path,
                                          .providers = &fx_list,
                                          .pools = admin.pools,
                                          .store = admin.store,
                                          .shared = fx_shared};

    keeper = housekeeper_new(&options);
    ck_assert_ptr_nonnull(keeper);
}

static inline void setup(void)
{
    fx_setup();
    fx_prepare();
    fx_process_init(&admin);
    fx_process_init(&worker);
    begin_keeping();
}

static inline void teardown(void)
{
    housekeeper_free(&keeper);
    ck_assert_ptr_null(keeper);
    fx_process_fini(&admin);
    fx_process_fini(&worker);
    fx_teardown();
}

static inline void tick(void)
{
    fx_pass(HOUSEKEEPER_TICK_MS);
    housekeeper_tick(keeper, &fx_now);
}

/* Long enough after a trouble for it to be over. */
static inline void quiet_ticks(void)
{
    for (int i = 0; i <= STORE_QUIET_MS / HOUSEKEEPER_TICK_MS; i++)
        tick();
}

static inline void mark_both(void)
{
    ck_assert(store_mark(worker.store, ALPHA, 0, true, 0, 401, &fx_now));
    ck_assert(store_mark(worker.store, ALPHA, 1, false, 600000, 429, &fx_now));
}

/* Both marks of mark_both() are in the file at PATH, and every process knows and uses it. */
static inline void expect_marks(void)
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

static inline off_t wal_size(void)
{
    char name[PATH_MAX];
    struct stat st;

    fx_beside("-wal", name);
    return lstat(name, &st) == 0 ? st.st_size : -1;
}

/* Marks until the WAL holds at least so many frames. */
static inline void fill_wal(int frames)
{
    for (int64_t i = 1; wal_size() < (off_t)frames * 4120; i++) {
        ck_assert(store_mark(worker.store, ALPHA, 0, false, 1000 + i, 429, &fx_now));
        ck_assert_int_lt(i, 10000);
    }
}

static inline void delete_database(void)
{
    unlink(fx_path);
}

static inline void delete_all(void)
{
    for (int i = 0; i < 3; i++) {
        char name[PATH_MAX];

        fx_beside(i == 0 ? "" : i == 1 ? "-wal" : "-shm", name);
        unlink(name);
    }
}

#endif
