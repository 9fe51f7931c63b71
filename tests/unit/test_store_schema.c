/*
 * Tests of store_schema and store_file: making, checking, migrating and moving aside the database file, the
 * view for people, and bringing the rows in line with the configuration.
 */
#include "store_prepare.h"

#include "io/store_file.h"

#include <errno.h>
#include <time.h>

static mode_t mode_of(const char *path)
{
    struct stat st;

    ck_assert_int_eq(lstat(path, &st), 0);
    return st.st_mode & 07777;
}

START_TEST(test_new_database)
{
    static const mode_t umasks[] = {0, 022, 0777};
    char name[PATH_MAX];
    mode_t before = umask(umasks[_i]);

    ck_assert_msg(prepare() == 0, "%s", reason.data);
    umask(before);
    ck_assert_ptr_null(damaged);
    ck_assert_int_eq(mode_of(fx_path), 0640);
    fx_sql("BEGIN IMMEDIATE; INSERT INTO key_state(provider, key_id) VALUES('p', 'k'); COMMIT");
    ck_assert_int_eq(fx_number("PRAGMA user_version"), STORE_SCHEMA_VERSION);
    ck_assert_str_eq(fx_text("PRAGMA journal_mode"), "wal");
    fx_beside("-wal", name);
    ck_assert(access(name, F_OK) < 0 || mode_of(name) == 0640);
    ck_assert_int_eq(fx_files("state.db.new"), 0);
    /* A second time it stays what it is. */
    ck_assert_int_eq(prepare(), 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM key_state"), 1);
}
END_TEST

START_TEST(test_connection_settings)
{
    static const struct {
        const char *pragma;
        int value;
    } settings[] = {{"PRAGMA synchronous", 1}, {"PRAGMA mmap_size", 0}, {"PRAGMA wal_autocheckpoint", 0}};
    int code = 0;
    int on = 0;
    sqlite3 *db = store_schema_connect(fx_path, true, 7, &code, &reason);

    ck_assert_ptr_nonnull(db);
    ck_assert_int_eq(mode_of(fx_path), 0640);
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        sqlite3_stmt *stmt = NULL;

        ck_assert_int_eq(sqlite3_prepare_v2(db, settings[i].pragma, -1, &stmt, NULL), SQLITE_OK);
        if (sqlite3_step(stmt) == SQLITE_ROW)
            ck_assert_msg(sqlite3_column_int(stmt, 0) == settings[i].value, "%s", settings[i].pragma);
        else
            ck_assert_int_eq(settings[i].value, 0);
        sqlite3_finalize(stmt);
    }
    ck_assert_int_eq(sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, -1, &on), SQLITE_OK);
    ck_assert_int_eq(on, 1);
    sqlite3_close(db);
}
END_TEST

START_TEST(test_connect_creates_only_when_told)
{
    int code = 0;

    ck_assert_ptr_null(store_schema_connect(fx_path, false, 0, &code, &reason));
    ck_assert_int_eq(code & 0xff, SQLITE_CANTOPEN);
    ck_assert_ptr_nonnull(strstr(reason.data, fx_path));
    ck_assert_int_eq(access(fx_path, F_OK), -1);
}
END_TEST

START_TEST(test_damage_is_moved_aside)
{
    static const struct {
        const char *what;
        off_t size; /* the sound database is cut or grown to this; -1 = as it is */
        off_t at;   /* garbage from here on */
    } cases[] = {
        {"garbage", 0, 0}, {"header", -1, 0}, {"middle", -1, 4096}, {"cut", 6000, -1}, {"stub", 50, -1}};
    char garbage[3000];
    char expected[PATH_MAX];

    for (size_t i = 0; i < sizeof(garbage); i++)
        garbage[i] = (char)(i * 7 + 13);
    fx_prepare();
    fx_sql("PRAGMA wal_checkpoint(TRUNCATE)");
    if (cases[_i].size >= 0)
        ck_assert_int_eq(truncate(fx_path, cases[_i].size), 0);
    if (cases[_i].at >= 0)
        fx_scribble(fx_path, cases[_i].at, garbage, sizeof(garbage));
    ck_assert_msg(prepare() == 0, "%s: %s", cases[_i].what, reason.data);
    ck_assert_ptr_nonnull(damaged);
    snprintf(expected, sizeof(expected), "%s.damaged-20", fx_path);
    ck_assert_int_eq(strncmp(damaged, expected, strlen(expected)), 0);
    ck_assert_int_eq(damaged[strlen(damaged) - 1], 'Z');
    ck_assert_uint_eq(strlen(damaged), strlen(fx_path) + strlen(".damaged-YYYYMMDDTHHMMSSZ"));
    ck_assert_int_eq(access(damaged, F_OK), 0);
    ck_assert_int_eq(mode_of(fx_path), 0640);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM key_state"), 0);
    ck_assert_str_eq(fx_text("PRAGMA integrity_check"), "ok");
}
END_TEST

START_TEST(test_damage_twice_in_one_second)
{
    char first[PATH_MAX];
    char name[PATH_MAX];

    /* Two at the same second's name: neither is lost. */
    fx_scribble(fx_path, 0, "no database at all, but text", 28);
    fx_beside("-wal", name);
    fx_scribble(name, 0, "wal", 3);
    ck_assert_int_eq(prepare(), 0);
    snprintf(first, sizeof(first), "%s-wal", damaged);
    ck_assert_int_eq(access(first, F_OK), 0);
    fx_scribble(fx_path, 0, "no database at all, but text", 28);
    ck_assert_int_eq(prepare(), 0);
    ck_assert_int_ge(fx_files("state.db.damaged-"), 3);
    first[strlen(first) - strlen("-wal")] = '\0';
    ck_assert_str_ne(first, damaged);
    ck_assert_int_eq(access(first, F_OK), 0);
}
END_TEST

START_TEST(test_empty_file_is_new)
{
    ino_t before;

    fx_scribble(fx_path, 0, "", 0);
    before = fx_inode();
    ck_assert_int_eq(prepare(), 0);
    ck_assert_ptr_null(damaged);
    ck_assert_uint_ne(before, fx_inode());
    ck_assert_int_eq(mode_of(fx_path), 0640);
    ck_assert_int_eq(fx_number("PRAGMA user_version"), STORE_SCHEMA_VERSION);
}
END_TEST

START_TEST(test_orphaned_wal_is_not_met)
{
    char name[PATH_MAX];
    sqlite3 *db;
    int code;

    fx_prepare();
    db = store_schema_connect(fx_path, false, 0, &code, &reason);
    ck_assert_int_eq(sqlite3_exec(db, "UPDATE key_state SET permanent = 1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    fx_beside("-wal", name);
    ck_assert_int_eq(access(name, F_OK), 0);
    unlink(fx_path);
    ck_assert_int_eq(prepare(), 0);
    ck_assert_ptr_null(damaged);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM key_state"), 0);
    ck_assert_str_eq(fx_text("PRAGMA integrity_check"), "ok");
}
END_TEST

START_TEST(test_older_version_is_migrated)
{
    /* Version 0: an SQLite file without tables, as `PRAGMA journal_mode = WAL` in the shell makes one. */
    fx_sql("PRAGMA journal_mode = WAL; CREATE TABLE x(y); DROP TABLE x");
    ck_assert_int_eq(fx_number("PRAGMA user_version"), 0);
    ck_assert_msg(prepare() == 0, "%s", reason.data);
    ck_assert_int_eq(fx_number("PRAGMA user_version"), STORE_SCHEMA_VERSION);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 0);
}
END_TEST

START_TEST(test_rollback_mode_becomes_wal)
{
    fx_prepare();
    fx_sql("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE");
    ck_assert_str_eq(fx_text("PRAGMA journal_mode"), "delete");
    ck_assert_int_eq(prepare(), 0);
    ck_assert_str_eq(fx_text("PRAGMA journal_mode"), "wal");
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 5);
}
END_TEST

/* Files that are somebody else's business: refused, and not a byte of them changes. */
static const struct {
    const char *sql;
    const char *says;
} refused[] = {
    {"CREATE TABLE songs(title)", "something else"},
    {"CREATE TABLE songs(title); PRAGMA user_version = 1", "something else"},
    {"CREATE TABLE key_state(provider); PRAGMA user_version = 1", "something else"},
    {"CREATE TABLE key_state(provider); PRAGMA user_version = 2", "something else"},
    {"CREATE TABLE key_state(provider); PRAGMA user_version = 3", "newer version"},
    {"CREATE TABLE songs(title); PRAGMA user_version = -1", "something else"},
};

static char *read_file(size_t *len)
{
    int fd = open(fx_path, O_RDONLY | O_CLOEXEC);
    char *bytes = calloc(1, 65536);
    ssize_t n;

    ck_assert_int_ge(fd, 0);
    n = read(fd, bytes, 65536);
    ck_assert_int_gt(n, 0);
    close(fd);
    *len = (size_t)n;
    return bytes;
}

START_TEST(test_refused)
{
    size_t len_before;
    size_t len_after;
    char *before;
    char *after;
    int code;

    fx_sql(refused[_i].sql);
    before = read_file(&len_before);
    ck_assert_int_eq(prepare(), -1);
    ck_assert_ptr_null(damaged);
    ck_assert_msg(strstr(reason.data, refused[_i].says) != NULL, "%s", reason.data);
    ck_assert_ptr_nonnull(strstr(reason.data, fx_path));
    if (strstr(refused[_i].sql, "user_version") == NULL) {
        buf_clear(&reason);
        ck_assert_ptr_null(store_schema_connect(fx_path, false, 0, &code, &reason));
        ck_assert_ptr_nonnull(strstr(reason.data, "something else"));
    }
    after = read_file(&len_after);
    ck_assert_uint_eq(len_before, len_after);
    ck_assert_int_eq(memcmp(before, after, len_before), 0);
    free(before);
    free(after);
}
END_TEST

START_TEST(test_no_regular_file)
{
    char target[PATH_MAX];

    ck_assert_int_eq(mkdir(fx_path, 0700), 0);
    ck_assert_int_eq(prepare(), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "not a regular file"));
    rmdir(fx_path);
    fx_beside(".target", target);
    ck_assert_int_eq(symlink(target, fx_path), 0);
    ck_assert_int_eq(prepare(), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "not a regular file"));
    ck_assert_int_eq(access(target, F_OK), -1);
}
END_TEST

START_TEST(test_no_directory)
{
    char path[PATH_MAX];

    snprintf(path, sizeof(path), "%s/nowhere/state.db", fx_dir);
    ck_assert_int_eq(store_schema_prepare(path, (uid_t)-1, (gid_t)-1, 0, &damaged, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, path));
    ck_assert_ptr_nonnull(strstr(reason.data, "directory"));
    buf_clear(&reason);
    ck_assert_int_eq(store_schema_sync(path, &fx_list, 0, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, path));
}
END_TEST

START_TEST(test_locked)
{
    struct fx_locker locker;

    fx_prepare();
    fx_list.count = 1;
    fx_lock(&locker);
    ck_assert_int_eq(store_schema_sync(fx_path, &fx_list, 0, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "locked"));
    ck_assert_ptr_nonnull(strstr(reason.data, "fuser"));
    fx_unlock(&locker);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 5);
    buf_clear(&reason);
    ck_assert_int_eq(store_schema_sync(fx_path, &fx_list, 0, &reason), 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys"), 3);
}
END_TEST

static void prepare_as_nobody(void)
{
    struct buf why = {0};
    char *moved = NULL;

    if (geteuid() == 0 && seteuid(65534) < 0)
        _exit(2);
    if (store_schema_prepare(fx_path, (uid_t)-1, (gid_t)-1, 0, &moved, &why) == 0)
        _exit(3);
    if (strstr(why.data, fx_path) == NULL || strstr(why.data, "check") == NULL || moved != NULL)
        _exit(4);
    buf_fini(&why);
}

START_TEST(test_not_ours_to_write)
{
    fx_prepare();
    ck_assert_int_eq(chmod(fx_dir, 0555), 0);
    ck_assert_int_eq(chmod(fx_path, 0444), 0);
    fx_elsewhere(prepare_as_nobody);
    unlink(fx_path);
    fx_elsewhere(prepare_as_nobody);
    ck_assert_int_eq(chmod(fx_dir, 0700), 0);
}
END_TEST

START_TEST(test_owner)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[PATH_MAX];
    char other[PATH_MAX];
    struct stat st;
    sqlite3 *db;
    int code;

    if (geteuid() != 0)
        return;
    fx_prepare();
    db = store_schema_connect(fx_path, false, 0, &code, &reason);
    ck_assert_int_eq(sqlite3_exec(db, "UPDATE key_state SET failures = 1", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    ck_assert_int_eq(store_schema_prepare(fx_path, 12345, 54321, 0, &damaged, &reason), 0);
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        fx_beside(suffixes[i], name);
        ck_assert_int_eq(lstat(name, &st), 0);
        ck_assert_uint_eq(st.st_uid, 12345);
        ck_assert_uint_eq(st.st_gid, 54321);
    }
    /* What the owner of the directory may have put there in place of a file is not given away. */
    fx_beside("-shm", name);
    snprintf(other, sizeof(other), "%s/other", fx_dir);
    fx_scribble(other, 0, "x", 1);
    unlink(name);
    ck_assert_int_eq(link(other, name), 0);
    ck_assert_int_eq(store_file_give(fx_path, 12345, 54321), -1);
    ck_assert_int_eq(errno, EMLINK);
    ck_assert_int_eq(lstat(other, &st), 0);
    ck_assert_uint_eq(st.st_uid, 0);
}
END_TEST

START_TEST(test_new_file_keeps_the_owner)
{
    struct stat st;

    if (geteuid() != 0)
        return;
    fx_scribble(fx_path, 0, "this is not a database, is it?", 30);
    ck_assert_int_eq(chown(fx_path, 12345, 54321), 0);
    ck_assert_int_eq(prepare(), 0);
    ck_assert_ptr_nonnull(damaged);
    ck_assert_int_eq(lstat(fx_path, &st), 0);
    ck_assert_uint_eq(st.st_uid, 12345);
}
END_TEST

START_TEST(test_view_columns)
{
    static const char *const columns[] = {"provider", "position", "hint",     "state",  "seconds_left",
                                          "status",   "reason",   "failures", "updated"};
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db;

    fx_prepare();
    db = fx_operator(fx_path);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "SELECT * FROM keys", -1, &stmt, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_column_count(stmt), (int)(sizeof(columns) / sizeof(columns[0])));
    for (int i = 0; i < sqlite3_column_count(stmt); i++)
        ck_assert_str_eq(sqlite3_column_name(stmt, i), columns[i]);
    sqlite3_finalize(stmt);
    ck_assert_int_eq(
        sqlite3_prepare_v2(db,
                           "SELECT provider, key_id, hint, position, permanent, cooldown_until, last_status,"
                           " reason, failures, updated_at FROM key_state",
                           -1, &stmt, NULL),
        SQLITE_OK);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}
END_TEST

START_TEST(test_view_states)
{
    static const struct {
        int permanent;
        int64_t until_ms; /* from now; 0 = none */
        const char *state;
        int64_t left_from;
        int64_t left_to; /* 0 = NULL */
    } rows[] = {
        {0, 0, "valid", 0, 0},           {0, -5000, "valid", 0, 0},
        {0, 60000, "temporary", 50, 60}, {1, 0, "permanent", 0, 0},
        {1, 60000, "permanent", 0, 0},   {2, 0, "permanent", 0, 0},
        {0, 59001, "temporary", 50, 60}, {0, 86400000, "temporary", 86390, 86400},
    };
    struct timespec now;
    char sql[256];

    fx_prepare();
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(sql, sizeof(sql),
             "UPDATE key_state SET permanent = %d, cooldown_until = %lld WHERE key_id = '00000000000000a1'",
             rows[_i].permanent,
             rows[_i].until_ms == 0
                 ? 0LL
                 : (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000 + (long long)rows[_i].until_ms);
    fx_sql(sql);
    ck_assert_str_eq(fx_text("SELECT state FROM keys WHERE provider = 'alpha' AND position = 1"),
                     rows[_i].state);
    if (rows[_i].left_to == 0) {
        ck_assert_str_eq(fx_text("SELECT seconds_left FROM keys WHERE provider = 'alpha' AND position = 1"),
                         "(null)");
    } else {
        int64_t left = fx_number("SELECT seconds_left FROM keys WHERE provider = 'alpha' AND position = 1");
        ck_assert_int_ge(left, rows[_i].left_from);
        ck_assert_int_le(left, rows[_i].left_to);
    }
}
END_TEST

START_TEST(test_view_seconds_are_rounded_up)
{
    /* The clock goes on between the two, so all that can be said exactly: never 0 while it is temporary. */
    fx_prepare();
    fx_sql("UPDATE key_state SET cooldown_until ="
           " CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER) + 2 * position + 500");
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys WHERE state = 'temporary' AND seconds_left <> 1"),
                     0);
    ck_assert_int_eq(
        fx_number("SELECT count(*) FROM keys WHERE (state = 'temporary') <> (seconds_left IS NOT NULL)"), 0);
}
END_TEST

START_TEST(test_view_rows)
{
    fx_prepare();
    fx_sql("UPDATE key_state SET last_status = 429, reason = 'rate_limited', failures = 7, updated_at = "
           "1795366800123"
           " WHERE key_id = '00000000000000b1'");
    fx_sql("UPDATE key_state SET position = NULL WHERE key_id = '00000000000000a1'");
    ck_assert_str_eq(fx_text("SELECT group_concat(provider || position, ' ') FROM (SELECT * FROM keys)"),
                     "alpha0 alpha2 beta0 beta1");
    ck_assert_str_eq(
        fx_text("SELECT status || reason || failures || ' ' || updated FROM keys WHERE status IS NOT NULL"),
        "429rate_limited7 2026-11-22T17:00:00.123Z");
    ck_assert_str_eq(fx_text("SELECT updated FROM keys WHERE status IS NULL"), "(null)");
    ck_assert_str_eq(fx_text("SELECT hint FROM keys WHERE provider = 'beta' AND position = 0"),
                     "sk-b...bbb0");
}
END_TEST

START_TEST(test_sync)
{
    struct key swapped;
    char *other = strdup("gamma");

    fx_prepare();
    fx_sql("UPDATE key_state SET permanent = 1, failures = 3 WHERE provider = 'alpha'");
    /* Another order: the state stays with the key. */
    swapped = fx_alpha_keys[0];
    fx_alpha_keys[0] = fx_alpha_keys[2];
    fx_alpha_keys[2] = swapped;
    fx_sql("UPDATE key_state SET permanent = 0 WHERE key_id = '00000000000000a2'");
    ck_assert_int_eq(store_schema_sync(fx_path, &fx_list, 0, &reason), 0);
    ck_assert_str_eq(
        fx_text("SELECT group_concat(hint || ' ' || state, ', ') FROM (SELECT * FROM keys WHERE provider ="
                " 'alpha')"),
        "sk-a...aaa2 valid, sk-a...aaa1 permanent, sk-a...aaa0 permanent");
    /* Without a key: its row keeps its state and comes back with it. */
    fx_providers[ALPHA].key_count = 1;
    ck_assert_int_eq(store_schema_sync(fx_path, &fx_list, 0, &reason), 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys WHERE provider = 'alpha'"), 1);
    ck_assert_int_eq(fx_number("SELECT sum(failures) FROM key_state WHERE position IS NULL"), 6);
    fx_providers[ALPHA].key_count = ALPHA_COUNT;
    ck_assert_int_eq(store_schema_sync(fx_path, &fx_list, 0, &reason), 0);
    ck_assert_str_eq(fx_text("SELECT state FROM keys WHERE provider = 'alpha' AND position = 1"),
                     "permanent");
    /* The same keys under another provider's name are others. */
    fx_providers[BETA].name = other;
    ck_assert_int_eq(store_schema_sync(fx_path, &fx_list, 0, &reason), 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM key_state"), 7);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys WHERE provider = 'beta'"), 0);
    ck_assert_int_eq(fx_number("SELECT count(*) FROM keys WHERE provider = 'gamma'"), 2);
    free(other);
}
END_TEST

START_TEST(test_sync_writes_only_differences)
{
    sqlite3_stmt *stmt = NULL;
    sqlite3 *db;
    int version[2];

    fx_prepare();
    db = fx_operator(fx_path);
    ck_assert_int_eq(sqlite3_prepare_v2(db, "PRAGMA data_version", -1, &stmt, NULL), SQLITE_OK);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(sqlite3_step(stmt), SQLITE_ROW);
        version[i] = sqlite3_column_int(stmt, 0);
        sqlite3_reset(stmt);
        if (i == 0)
            ck_assert_int_eq(store_schema_sync(fx_path, &fx_list, 0, &reason), 0);
    }
    ck_assert_int_eq(version[0], version[1]);
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}
END_TEST

START_TEST(test_salvage)
{
    sqlite3 *db;
    int code;

    fx_prepare();
    db = store_schema_connect(fx_path, false, 0, &code, &reason);
    ck_assert_int_eq(sqlite3_exec(db, "UPDATE key_state SET failures = 9, reason = 'disabled'", NULL, NULL,
                                  NULL),
                     SQLITE_OK);
    unlink(fx_path);
    ck_assert_msg(store_schema_salvage(db, fx_path, &code, &reason) == 0, "%s", reason.data);
    sqlite3_close(db);
    ck_assert_int_eq(mode_of(fx_path), 0640);
    ck_assert_int_eq(prepare(), 0);
    ck_assert_int_eq(fx_number("SELECT sum(failures) FROM key_state WHERE reason = 'disabled'"), 45);
    ck_assert_int_eq(fx_files("state.db.new"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_schema");
    TCase *tcase = tcase_create("store_schema");

    tcase_set_timeout(tcase, 30);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_new_database, 0, 3);
    tcase_add_test(tcase, test_connection_settings);
    tcase_add_test(tcase, test_connect_creates_only_when_told);
    tcase_add_loop_test(tcase, test_damage_is_moved_aside, 0, 5);
    tcase_add_test(tcase, test_damage_twice_in_one_second);
    tcase_add_test(tcase, test_empty_file_is_new);
    tcase_add_test(tcase, test_orphaned_wal_is_not_met);
    tcase_add_test(tcase, test_older_version_is_migrated);
    tcase_add_test(tcase, test_rollback_mode_becomes_wal);
    tcase_add_loop_test(tcase, test_refused, 0, (int)(sizeof(refused) / sizeof(refused[0])));
    tcase_add_test(tcase, test_no_regular_file);
    tcase_add_test(tcase, test_no_directory);
    tcase_add_test(tcase, test_locked);
    tcase_add_test(tcase, test_not_ours_to_write);
    tcase_add_test(tcase, test_owner);
    tcase_add_test(tcase, test_new_file_keeps_the_owner);
    tcase_add_test(tcase, test_view_columns);
    tcase_add_loop_test(tcase, test_view_states, 0, 8);
    tcase_add_test(tcase, test_view_seconds_are_rounded_up);
    tcase_add_test(tcase, test_view_rows);
    tcase_add_test(tcase, test_sync);
    tcase_add_test(tcase, test_sync_writes_only_differences);
    tcase_add_test(tcase, test_salvage);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
