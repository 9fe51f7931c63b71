/*
 * test_lost_database: the state database is deleted, overwritten, cut or robbed of its tables while the
 * daemon runs, or was never one. The daemon makes it again and nothing that it knew of the keys is lost.
 */
#include "e2e/degraded.h"

#include <fcntl.h>
#include <glob.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- a loss that the daemon mends by itself */

static void delete_it(const struct daemon *d)
{
    ck_assert_int_eq(unlink(d->db), 0);
}

static void delete_all(const struct daemon *d)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[160];

    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s%s", d->db, suffixes[i]);
        ck_assert_int_eq(unlink(name), 0);
    }
}

/* Another file's bytes over this one's, WAL too. */
static void overwrite(const struct daemon *d)
{
    char garbage[4096];
    char name[160];

    memset(garbage, 0xa5, sizeof(garbage));
    for (int i = 0; i < 2; i++) {
        struct stat st;
        int fd;

        snprintf(name, sizeof(name), "%s%s", d->db, i == 0 ? "" : "-wal");
        fd = open(name, O_WRONLY | O_CLOEXEC);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(fstat(fd, &st), 0);
        for (off_t at = 0; at < st.st_size; at += (off_t)sizeof(garbage))
            ck_assert_int_eq(pwrite(fd, garbage, sizeof(garbage), at), (ssize_t)sizeof(garbage));
        close(fd);
    }
}

static void cut_to_nothing(const struct daemon *d)
{
    ck_assert_int_eq(truncate(d->db, 0), 0);
}

static void cut_short(const struct daemon *d)
{
    struct stat st;

    ck_assert_int_eq(stat(d->db, &st), 0);
    ck_assert_int_eq(truncate(d->db, st.st_size / 2 + 100), 0);
}

static void run_sql(const struct daemon *d, const char *sql)
{
    sqlite3 *db = NULL;
    char *error = NULL;

    ck_assert_int_eq(sqlite3_open(d->db, &db), SQLITE_OK);
    sqlite3_busy_timeout(db, 10000);
    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql, error);
    sqlite3_close(db);
}

static void drop_table(const struct daemon *d)
{
    run_sql(d, "DROP TABLE key_state");
}

static void drop_view(const struct daemon *d)
{
    run_sql(d, "DROP VIEW keys");
}

static void drop_column(const struct daemon *d)
{
    run_sql(d, "DROP VIEW keys; ALTER TABLE key_state DROP COLUMN failures");
}

static void replace_by_garbage(const struct daemon *d)
{
    delete_it(d);
    ck_assert_int_eq(util_write_file(d->db, "garbage garbage garbage garbage", 31, 0640), 0);
}

static const struct loss {
    const char *name;
    void (*act)(const struct daemon *d);
    const char *says; /* in the log */
} losses[] = {
    {"deleted", delete_it, "was deleted; it is in use again"},
    {"all deleted", delete_all, "was deleted; it is in use again"},
    {"replaced by garbage", replace_by_garbage, "is damaged; it was moved to"},
    {"overwritten", overwrite, "is damaged; it was moved to"},
    {"cut to nothing", cut_to_nothing, "it is in use again"},
    {"cut short", cut_short, "it is in use again"},
    {"table dropped", drop_table, "was robbed of its tables; it is in use again"},
    {"view dropped", drop_view, "was robbed of its tables; it is in use again"},
    {"column dropped", drop_column, "was robbed of its tables; it is in use again"},
};

/* As daemon_states(), "" when the database cannot be read. */
static bool states_are(void *arg)
{
    const struct daemon *d = arg;
    static const char sql[] =
        "SELECT group_concat(state, ' ') FROM (SELECT state FROM keys ORDER BY provider, position)";
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    bool are = false;

    if (sqlite3_open_v2(d->db, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);

        are = text != NULL && strcmp(text, "temporary permanent valid") == 0;
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return are;
}

struct told {
    const struct daemon *d;
    const char *text;
    unsigned times;
};

static bool is_told(void *arg)
{
    const struct told *told = arg;

    return degraded_count(told->d, told->text) >= told->times;
}

START_TEST(a_loss_is_mended)
{
    const struct loss *l = &losses[_i];
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;
    int64_t begin_us;
    int64_t took_us = INT64_MAX;

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    degraded_open(&t, false);
    fake_on_key(t.bench.fake, KEY0, &degraded_429);
    degraded_post(&t, 1);
    daemon_expect_states(d, t.bench.api->name, "temporary valid valid");
    for (unsigned round = 0; round < 3; round++) {
        struct told told = {.d = d, .text = l->says, .times = round + 1};

        begin_us = util_now_us();
        l->act(d);
        /* One mark was made before and one comes after it. */
        if (round == 0)
            fake_on_key(t.bench.fake, KEY1, &degraded_401);
        degraded_post(&t, 1);
        degraded_expect_marks(&t, DEGRADED_ROUND);
        ck_assert_msg(util_wait(is_told, &told, DEGRADED_SOON_MS), "%s: the log does not say it", l->name);
        ck_assert_msg(util_wait(states_are, d, DEGRADED_SOON_MS), "%s: the marks are not in the database",
                      l->name);
        if (util_now_us() - begin_us < took_us)
            took_us = util_now_us() - begin_us;
        degraded_expect_marks(&t, DEGRADED_ROUND);
        degraded_expect(d, "ok");
        ck_assert_uint_eq(degraded_count(d, l->says), round + 1);
    }
    ck_assert_msg(took_us < 1000000, "%s: made again after %lld us", l->name, (long long)took_us);
    ck_assert_msg(t.slowest_us < DEGRADED_SLOWEST_MS * 1000, "a request took %lld us",
                  (long long)t.slowest_us);
    /* What is in it now is what a restart finds. */
    daemon_stop(d);
    daemon_start(d);
    degraded_expect_marks(&t, DEGRADED_ROUND);
    printf("%s: in order again after %lld ms\n", l->name, (long long)took_us / 1000);
    degraded_close(&t);
}
END_TEST

/* ---- at the start */

START_TEST(garbage_at_the_start)
{
    static const char garbage[] = "this is no database, is it? it is not.";
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;
    char pattern[160];
    glob_t found;
    size_t len = 0;
    char *kept;

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    ck_assert_int_eq(util_write_file(d->db, garbage, sizeof(garbage), 0640), 0);
    degraded_open(&t, false);
    snprintf(pattern, sizeof(pattern), "%s.damaged-*Z", d->db);
    ck_assert_int_eq(glob(pattern, 0, NULL, &found), 0);
    ck_assert_uint_eq(found.gl_pathc, 1);
    ck_assert(daemon_log_has(d, found.gl_pathv[0]));
    kept = util_read_file(found.gl_pathv[0], &len);
    ck_assert_uint_eq(len, sizeof(garbage));
    ck_assert_mem_eq(kept, garbage, len);
    free(kept);
    globfree(&found);
    degraded_mark(&t);
    daemon_expect_states(d, t.bench.api->name, "temporary permanent valid");
    degraded_close(&t);
}
END_TEST

START_TEST(no_directory_at_the_start)
{
    struct daemon d;
    struct run run;
    char place[256];

    daemon_init(&d);
    daemon_provider(&d, "anthropic", "https://api.example", KEY0, NULL);
    snprintf(d.db, sizeof(d.db), "%s/none/state.db", d.dir);
    daemon_write(&d);
    run_program(&run, NULL, daemon_binary(), "-c", d.conf, NULL);
    ck_assert_int_eq(run.status, 1);
    /* state_db is in the fourth line of what daemon_write() writes. */
    snprintf(place, sizeof(place), "%s:4: ", d.conf);
    ck_assert_msg(strstr(run_err(&run), place) != NULL, "no %s in: %s", place, run_err(&run));
    ck_assert_msg(strstr(run_err(&run), d.db) != NULL, "%s", run_err(&run));
    run_fini(&run);
    daemon_fini(&d);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("lost_database");
    TCase *tc = suite_case(s, "lost_database", 120);

    tcase_add_loop_test(tc, a_loss_is_mended, 0, sizeof(losses) / sizeof(losses[0]));
    tcase_add_test(tc, garbage_at_the_start);
    tcase_add_test(tc, no_directory_at_the_start);
    return suite_run(s);
}
