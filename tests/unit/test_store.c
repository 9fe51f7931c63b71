/*
 * Tests of store: what one process knows of the key states and when it learns it. Several stores over one
 * shared memory stand for several processes. The clock is the test's own.
 */
#include "store_pair.h"

START_TEST(test_all_valid_at_first)
{
    for (size_t i = 0; i < ALPHA_COUNT; i++)
        ck_assert_int_eq(fx_status(&one, ALPHA, i), KEY_VALID);
    ck_assert_int_eq(store_flush(one.store, &fx_now), INT64_MAX);
    ck_assert_int_eq(store_read_ms(one.store), START_MONO);
}
END_TEST

START_TEST(test_mark_is_seen_by_all_and_written)
{
    ck_assert_int_eq(fx_status(&two, ALPHA, 1), KEY_VALID);
    ck_assert(mark_429(&one, 1, 30000));
    ck_assert(!fx_dirty(1));
    ck_assert_int_eq(fx_left(&one, ALPHA, 1), 30000);
    ck_assert_int_eq(fx_left(&two, ALPHA, 1), 30000);
    ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_VALID);
    ck_assert_int_eq(fx_status(&two, BETA, 1), KEY_VALID);
    ck_assert_str_eq(
        fx_row("permanent || ' ' || cooldown_until || ' ' || last_status || ' ' || reason || ' ' || failures"
               " || ' ' || updated_at || ' ' || position",
               1),
        "0 1800000030000 429 rate_limited 1 1800000000000 1");
    fx_pass(30000);
    ck_assert_int_eq(fx_status(&one, ALPHA, 1), KEY_VALID);
    ck_assert_int_eq(fx_status(&two, ALPHA, 1), KEY_VALID);
}
END_TEST

START_TEST(test_permanent)
{
    ck_assert(mark_401(&one, 0));
    ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_PERMANENT);
    ck_assert_str_eq(fx_row("permanent || reason", 0), "1unauthorized");
    ck_assert(!mark_429(&two, 0, 1000));
    ck_assert(!mark_401(&two, 0));
    ck_assert_str_eq(fx_row("permanent || reason || failures || last_status", 0), "1unauthorized1401");
}
END_TEST

/* The second of two marks, made by another process, and what the row says then. */
static const struct {
    bool first_permanent;
    int64_t first_ms;
    bool second_permanent;
    int64_t second_ms;
    bool changes;
    const char *row; /* permanent, seconds, last_status, failures */
} pairs[] = {
    {false, 10000, false, 20000, true, "0 20 429 2"},      {false, 20000, false, 10000, false, "0 20 429 1"},
    {false, 20000, false, 20000, false, "0 20 429 1"},     {false, 20000, true, 0, true, "1 20 403 2"},
    {true, 0, false, 20000, false, "1 -1800000000 403 1"},
};

START_TEST(test_later_deadline_wins)
{
    int first = pairs[_i].first_permanent ? 403 : 429;
    int second = pairs[_i].second_permanent ? 403 : 429;

    ck_assert(store_mark(one.store, ALPHA, 0, pairs[_i].first_permanent, pairs[_i].first_ms, first, &fx_now));
    ck_assert_int_eq(store_mark(two.store, ALPHA, 0, pairs[_i].second_permanent, pairs[_i].second_ms, second,
                                &fx_now),
                     pairs[_i].changes);
    ck_assert_str_eq(
        fx_row("permanent || ' ' || ((cooldown_until - 1800000000000) / 1000) || ' ' || last_status "
               "|| ' ' || failures",
               0),
        pairs[_i].row);
}
END_TEST

START_TEST(test_row_takes_both_whatever_the_order)
{
    /* What another daemon, which shares nothing but the file, has written in between. */
    ck_assert_int_eq(fx_status(&one, ALPHA, 0), KEY_VALID);
    fx_sql("UPDATE key_state SET permanent = 1, last_status = 403, reason = 'forbidden', failures = 5,"
           " cooldown_until = 1800000007000 WHERE key_id = '00000000000000a0'");
    shared_key_mark(shared_key_slot(fx_shared, "alpha", fx_alpha_keys[0].id),
                    &(struct shared_mark){.until_real_ms = START_REAL + 9000, .status = 429}, START_MONO);
    store_tend(one.store, true, &fx_now);
    store_flush(one.store, &fx_now);
    ck_assert(!fx_dirty(0));
    ck_assert_str_eq(fx_row("permanent || ' ' || cooldown_until || ' ' || reason || failures || last_status",
                            0),
                     "1 1800000009000 forbidden5403");
}
END_TEST

START_TEST(test_cooldown_is_capped)
{
    ck_assert(mark_429(&one, 0, 10 * MAX_COOLDOWN));
    ck_assert_int_eq(fx_left(&one, ALPHA, 0), MAX_COOLDOWN);
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), MAX_COOLDOWN);
    ck_assert_int_eq(strtoll(fx_row("cooldown_until", 0), NULL, 10), START_REAL + MAX_COOLDOWN);
    /* An operator's far deadline too. */
    fx_sql("UPDATE key_state SET cooldown_until = 9000000000000 WHERE key_id = '00000000000000a1'");
    ck_assert_int_eq(fx_left(&two, ALPHA, 1), MAX_COOLDOWN);
    fx_pass(1000);
    ck_assert_int_eq(fx_left(&two, ALPHA, 1), MAX_COOLDOWN - 1000);
}
END_TEST

START_TEST(test_operator_brings_a_key_back)
{
    for (int round = 0; round < 3; round++) {
        ck_assert(mark_401(&one, 0));
        ck_assert(mark_429(&two, 1, 60000));
        ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_PERMANENT);
        ck_assert_int_eq(fx_status(&one, ALPHA, 1), KEY_TEMPORARY);
        fx_sql("UPDATE key_state SET permanent = 0, cooldown_until = 0 WHERE provider = 'alpha'");
        for (size_t i = 0; i < ALPHA_COUNT; i++) {
            ck_assert_int_eq(fx_status(&one, ALPHA, i), KEY_VALID);
            ck_assert_int_eq(fx_status(&two, ALPHA, i), KEY_VALID);
        }
    }
    ck_assert_str_eq(fx_row("failures", 0), "3");
    ck_assert_str_eq(fx_row("failures", 1), "3");
}
END_TEST

START_TEST(test_operator_edits)
{
    fx_sql("UPDATE key_state SET permanent = 1 WHERE key_id = '00000000000000a2'");
    ck_assert_int_eq(fx_status(&one, ALPHA, 2), KEY_PERMANENT);
    ck_assert(!mark_429(&one, 2, 1000));
    fx_sql("UPDATE key_state SET permanent = 0, cooldown_until = 1800000005000 WHERE key_id = "
           "'00000000000000a2'");
    ck_assert_int_eq(fx_left(&one, ALPHA, 2), 5000);
    /* Shorter than it was: an operator may do that. */
    fx_sql("UPDATE key_state SET cooldown_until = 1800000001000 WHERE key_id = '00000000000000a2'");
    ck_assert_int_eq(fx_left(&one, ALPHA, 2), 1000);
    fx_sql("DELETE FROM key_state");
    ck_assert_int_eq(fx_status(&one, ALPHA, 2), KEY_VALID);
    /* A missing row is made again. */
    ck_assert(mark_429(&one, 2, 1000));
    ck_assert_str_eq(fx_row("hint || position", 2), "sk-a...aaa22");
    ck_assert_int_eq(fx_number("SELECT count(*) FROM key_state"), 1);
}
END_TEST

START_TEST(test_wall_clock_jumps)
{
    static const int64_t jumps[] = {-86400000, -3600000, 3600000, 86400000};
    struct fx_process late;

    ck_assert(mark_429(&one, 0, 60000));
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), 60000);
    fx_now.real_ms += jumps[_i];
    fx_pass(10000);
    /* Something changes, so that the rows are read again. */
    fx_sql("UPDATE key_state SET failures = failures");
    fx_sql("UPDATE key_state SET permanent = 1 WHERE key_id = '00000000000000a2'");
    ck_assert_int_eq(fx_status(&two, ALPHA, 2), KEY_PERMANENT);
    ck_assert_int_eq(fx_left(&one, ALPHA, 0), 50000);
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), 50000);
    /* A new mark counts by the monotonic clock too, here and for the others. */
    ck_assert(mark_429(&one, 0, 70000));
    ck_assert_int_eq(fx_left(&one, ALPHA, 0), 70000);
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), 70000);
    ck_assert(!fx_dirty(0));
    fx_sql("UPDATE key_state SET failures = 0");
    ck_assert_int_eq(fx_left(&two, ALPHA, 0), 70000);
    /* Who comes now knows only the row: never more than the provider allows. */
    fx_process_init(&late);
    ck_assert_int_le(fx_left(&late, ALPHA, 0), MAX_COOLDOWN);
    fx_process_fini(&late);
    /* And an operator is heard at any time of day. */
    fx_sql("UPDATE key_state SET permanent = 0, cooldown_until = 0");
    ck_assert_int_eq(fx_status(&one, ALPHA, 0), KEY_VALID);
    ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_VALID);
}
END_TEST

START_TEST(test_refresh_reads_only_changes)
{
    int64_t until;

    ck_assert(mark_429(&one, 0, 60000));
    store_refresh(one.store, &fx_now);
    /* As long as nothing changed the states are left alone. */
    one.pools[ALPHA].states[0].until_ms = 12345;
    store_refresh(one.store, &fx_now);
    ck_assert_int_eq(one.pools[ALPHA].states[0].until_ms, 12345);
    fx_sql("UPDATE key_state SET failures = 2");
    store_refresh(one.store, &fx_now);
    until = one.pools[ALPHA].states[0].until_ms;
    ck_assert_int_eq(until, START_MONO + 60000);
}
END_TEST

static void mark_and_die(void)
{
    struct fx_process process;
    struct fx_locker locker;

    fx_process_init(&process);
    fx_lock(&locker);
    if (!mark_401(&process, 2) || !fx_dirty(2))
        _exit(1);
    fx_unlock(&locker);
}

START_TEST(test_mark_of_a_dead_process)
{
    fx_process_fini(&one);
    fx_process_fini(&two);
    fx_elsewhere(mark_and_die);
    fx_process_init(&one);
    fx_process_init(&two);
    ck_assert(fx_dirty(2));
    /* Any process sees it, and writes it when nobody else does. */
    ck_assert_int_eq(fx_status(&two, ALPHA, 2), KEY_PERMANENT);
    ck_assert_int_eq(store_flush(two.store, &fx_now), fx_now.mono_ms + 250);
    fx_pass(250);
    ck_assert_int_eq(store_flush(two.store, &fx_now), INT64_MAX);
    ck_assert(!fx_dirty(2));
    ck_assert_str_eq(fx_row("permanent || reason", 2), "1unauthorized");
}
END_TEST

START_TEST(test_tend_takes_over_at_once)
{
    shared_key_mark(shared_key_slot(fx_shared, "alpha", fx_alpha_keys[1].id),
                    &(struct shared_mark){.until_real_ms = START_REAL + 5000, .status = 429}, START_MONO);
    /* Its process died before, or just after, it could raise the generation. */
    atomic_fetch_add(&fx_shared->key_generation, (uint64_t)_i);
    store_refresh(one.store, &fx_now);
    store_tend(one.store, true, &fx_now);
    ck_assert_int_eq(store_flush(one.store, &fx_now), INT64_MAX);
    ck_assert(!fx_dirty(1));
    ck_assert_int_eq(fx_left(&two, ALPHA, 1), 5000);
}
END_TEST

START_TEST(test_tend_takes_back_anothers_trouble)
{
    /* A process that reported a trouble and then died. */
    ck_assert(shared_database_is(fx_shared, DATABASE_FAILING, START_REAL));
    atomic_store(&fx_shared->database_failed_ms, fx_now.mono_ms);
    store_refresh(one.store, &fx_now);
    fx_pass(STORE_QUIET_MS - 1);
    store_tend(one.store, true, &fx_now);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    fx_pass(1);
    store_tend(one.store, false, &fx_now);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_FAILING);
    store_tend(one.store, true, &fx_now);
    ck_assert_int_eq(atomic_load(&fx_shared->database_condition), DATABASE_OK);
    ck_assert_int_eq(fx_logged("works again"), 1);
    store_tend(one.store, true, &fx_now);
    ck_assert_int_eq(fx_logged("works again"), 1);
}
END_TEST

START_TEST(test_epoch_opens_anew)
{
    ck_assert(mark_401(&one, 0));
    ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_PERMANENT);
    unlink(fx_path);
    fx_prepare();
    /* The old file is still what everybody uses. */
    ck_assert_int_eq(fx_status(&one, ALPHA, 0), KEY_PERMANENT);
    atomic_fetch_add(&fx_shared->database_epoch, 1);
    atomic_fetch_add(&fx_shared->key_generation, 1);
    ck_assert_int_eq(fx_status(&one, ALPHA, 0), KEY_VALID);
    ck_assert_int_eq(fx_status(&two, ALPHA, 0), KEY_VALID);
    ck_assert(mark_429(&two, 1, 60000));
    ck_assert_int_eq(strtoll(fx_row("cooldown_until", 1), NULL, 10), START_REAL + 60000);
}
END_TEST

START_TEST(test_mark_meets_a_new_file)
{
    store_refresh(one.store, &fx_now);
    unlink(fx_path);
    fx_prepare();
    /* Raised without the generation, as a process sees it that is between the two. */
    atomic_fetch_add(&fx_shared->database_epoch, 1);
    ck_assert(mark_429(&one, 1, 60000));
    store_flush(one.store, &fx_now);
    ck_assert(!fx_dirty(1));
    ck_assert_int_eq(strtoll(fx_row("cooldown_until", 1), NULL, 10), START_REAL + 60000);
}
END_TEST

/* SQLite calls this at a commit: the file is replaced in the middle of a mark. */
static int replaced_while_committing(void *unused)
{
    (void)unused;
    atomic_fetch_add(&fx_shared->database_epoch, 1);
    return 0;
}

static int hook_every_connection(sqlite3 *db, char **error, const struct sqlite3_api_routines *api)
{
    (void)error;
    (void)api;
    sqlite3_commit_hook(db, replaced_while_committing, NULL);
    return SQLITE_OK;
}

START_TEST(test_mark_is_redone_when_the_file_was_replaced)
{
    struct fx_process process;
    int64_t at;

    ck_assert_int_eq(sqlite3_auto_extension((void (*)(void))hook_every_connection), SQLITE_OK);
    fx_process_init(&process);
    sqlite3_reset_auto_extension();
    store_refresh(process.store, &fx_now);
    unlink(fx_path);
    fx_prepare();
    ck_assert(mark_401(&process, 0));
    /* It went to a file that is lost: still to be written. */
    ck_assert(fx_dirty(0));
    ck_assert_str_eq(fx_row("permanent", 0), "0");
    fx_pass(1);
    at = store_flush(process.store, &fx_now);
    ck_assert_int_eq(at, INT64_MAX);
    ck_assert(!fx_dirty(0));
    ck_assert_str_eq(fx_row("permanent", 0), "1");
    fx_process_fini(&process);
}
END_TEST

START_TEST(test_too_many_keys)
{
    char id[KEY_ID_SIZE];

    for (unsigned i = 0; i < SHARED_KEYS_MAX; i++) {
        snprintf(id, sizeof(id), "%016x", i);
        shared_key_slot(fx_shared, "others", id);
    }
    fx_set_key(&fx_alpha_keys[2], "00000000000000ff", "...");
    ck_assert_ptr_null(store_new(fx_path, &fx_list, one.pools, fx_shared));
}
END_TEST

START_TEST(test_foreign_rows)
{
    fx_sql("INSERT INTO key_state(provider, key_id, permanent) VALUES('alpha', 'ffffffffffffffff', 1),"
           " ('gamma', '00000000000000a0', 1), ('alpha', '', 1), ('', '', 1)");
    fx_sql("UPDATE key_state SET cooldown_until = 'nonsense' WHERE key_id = '00000000000000a0'");
    fx_sql("UPDATE key_state SET cooldown_until = -5 WHERE key_id = '00000000000000a1'");
    for (size_t i = 0; i < ALPHA_COUNT; i++)
        ck_assert_int_eq(fx_status(&one, ALPHA, i), KEY_VALID);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store");
    TCase *tcase = tcase_create("store");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, test_all_valid_at_first);
    tcase_add_test(tcase, test_mark_is_seen_by_all_and_written);
    tcase_add_test(tcase, test_permanent);
    tcase_add_loop_test(tcase, test_later_deadline_wins, 0, (int)(sizeof(pairs) / sizeof(pairs[0])));
    tcase_add_test(tcase, test_row_takes_both_whatever_the_order);
    tcase_add_test(tcase, test_cooldown_is_capped);
    tcase_add_test(tcase, test_operator_brings_a_key_back);
    tcase_add_test(tcase, test_operator_edits);
    tcase_add_loop_test(tcase, test_wall_clock_jumps, 0, 4);
    tcase_add_test(tcase, test_refresh_reads_only_changes);
    tcase_add_test(tcase, test_mark_of_a_dead_process);
    tcase_add_loop_test(tcase, test_tend_takes_over_at_once, 0, 2);
    tcase_add_test(tcase, test_tend_takes_back_anothers_trouble);
    tcase_add_test(tcase, test_epoch_opens_anew);
    tcase_add_test(tcase, test_mark_meets_a_new_file);
    tcase_add_test(tcase, test_mark_is_redone_when_the_file_was_replaced);
    tcase_add_test(tcase, test_too_many_keys);
    tcase_add_test(tcase, test_foreign_rows);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
