/*
 * store_fixture: what the tests around the state database share: a directory of their own, five keys of two
 * providers, an operator with a plain SQLite connection, and a log to count lines in. The clock is the test's
 * own.
 */
#ifndef CLAVIGER_TESTS_STORE_FIXTURE_H
#define CLAVIGER_TESTS_STORE_FIXTURE_H

#include "base/buf.h"
#include "base/log.h"
#include "core/pool.h"
#include "core/provider.h"
#include "io/shared.h"
#include "io/store.h"
#include "io/store_schema.h"
#include "io/store_trouble.h"
#include "unit/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALPHA        0
#define BETA         1
#define ALPHA_COUNT  3
#define BETA_COUNT   2
#define MAX_COOLDOWN 3600000
#define START_MONO   INT64_C(1000000)
#define START_REAL   INT64_C(1800000000000) /* 2027: rows in tests lie in the future of the wall clock */

static char fx_dir[PATH_MAX / 4];
static char fx_path[PATH_MAX / 2];
static char fx_log[PATH_MAX / 2];
static struct key fx_alpha_keys[ALPHA_COUNT];
static struct key fx_beta_keys[BETA_COUNT];
static struct provider fx_providers[2];
static struct provider_list fx_list = {.items = fx_providers, .count = 2};
static struct shared *fx_shared;
static struct store_clock fx_now;

static void fx_set_key(struct key *key, const char *id, const char *hint)
{
    *key = (struct key){0};
    snprintf(key->id, sizeof(key->id), "%s", id);
    snprintf(key->hint, sizeof(key->hint), "%s", hint);
}

static void fx_setup(void)
{
    static char alpha[] = "alpha";
    static char beta[] = "beta";
    const char *tmp = getenv("TMPDIR");
    struct log_options log = {.format = LOG_FORMAT_TEXT, .level = LOG_LEVEL_INFO};
    const char *reason = NULL;

    snprintf(fx_dir, sizeof(fx_dir), "%s/claviger-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(fx_dir));
    snprintf(fx_path, sizeof(fx_path), "%s/state.db", fx_dir);
    snprintf(fx_log, sizeof(fx_log), "%s/log", fx_dir);
    log.target = fx_log;
    ck_assert_int_eq(log_open(&log, &reason), 0);
    fx_set_key(&fx_alpha_keys[0], "00000000000000a0", "sk-a...aaa0");
    fx_set_key(&fx_alpha_keys[1], "00000000000000a1", "sk-a...aaa1");
    fx_set_key(&fx_alpha_keys[2], "00000000000000a2", "sk-a...aaa2");
    fx_set_key(&fx_beta_keys[0], "00000000000000b0", "sk-b...bbb0");
    fx_set_key(&fx_beta_keys[1], "00000000000000b1", "sk-b...bbb1");
    fx_providers[ALPHA] = (struct provider){.name = alpha,
                                            .keys = fx_alpha_keys,
                                            .key_count = ALPHA_COUNT,
                                            .max_cooldown_ms = MAX_COOLDOWN};
    fx_providers[BETA] = (struct provider){.name = beta,
                                           .keys = fx_beta_keys,
                                           .key_count = BETA_COUNT,
                                           .max_cooldown_ms = MAX_COOLDOWN};
    fx_list.count = 2;
    fx_now = (struct store_clock){.mono_ms = START_MONO, .real_ms = START_REAL};
    fx_shared = shared_new();
    ck_assert_ptr_nonnull(fx_shared);
}

static void fx_teardown(void)
{
    DIR *dir = opendir(fx_dir);
    struct dirent *entry;

    shared_free(&fx_shared);
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    rmdir(fx_dir);
}

/* Time passes on both clocks. */
static inline void fx_pass(int64_t ms)
{
    fx_now.mono_ms += ms;
    fx_now.real_ms += ms;
}

static inline void fx_prepare(void)
{
    struct buf reason = {0};
    char *damaged = NULL;

    ck_assert_msg(store_schema_prepare(fx_path, (uid_t)-1, (gid_t)-1, 0, &damaged, &reason) == 0, "%s",
                  reason.data);
    ck_assert_ptr_null(damaged);
    ck_assert_msg(store_schema_sync(fx_path, &fx_list, 0, &reason) == 0, "%s", reason.data);
    buf_fini(&reason);
}

/* The operator: a plain connection, as the sqlite3 shell has one. */
static inline sqlite3 *fx_operator(const char *path)
{
    sqlite3 *db = NULL;

    ck_assert_int_eq(sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL), SQLITE_OK);
    sqlite3_busy_timeout(db, 5000);
    return db;
}

static inline void fx_sql(const char *sql)
{
    sqlite3 *db = fx_operator(fx_path);
    char *error = NULL;

    ck_assert_msg(sqlite3_exec(db, sql, NULL, NULL, &error) == SQLITE_OK, "%s: %s", sql, error);
    sqlite3_close(db);
}

/* The first column of the first row as text, "(none)" without a row, "(null)" for NULL. */
static inline const char *fx_text(const char *sql)
{
    static char out[512];
    sqlite3 *db = fx_operator(fx_path);
    sqlite3_stmt *stmt = NULL;

    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(db));
    if (sqlite3_step(stmt) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(stmt, 0);
        snprintf(out, sizeof(out), "%s", text != NULL ? text : "(null)");
    } else {
        snprintf(out, sizeof(out), "(none)");
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return out;
}

static inline long long fx_number(const char *sql)
{
    return strtoll(fx_text(sql), NULL, 10);
}

/* A column of a row of alpha's. */
static inline const char *fx_row(const char *column, size_t index)
{
    char sql[256];

    snprintf(sql, sizeof(sql), "SELECT %s FROM key_state WHERE provider = 'alpha' AND key_id = '%s'", column,
             fx_alpha_keys[index].id);
    return fx_text(sql);
}

/* Whether a mark of alpha's key waits to be written. */
static inline bool fx_dirty(size_t index)
{
    struct shared_mark mark;
    uint64_t seen;

    return shared_key_dirty(shared_key_slot(fx_shared, "alpha", fx_alpha_keys[index].id), &mark, &seen);
}

/* How many lines of the log hold the text. */
static inline int fx_logged(const char *text)
{
    FILE *file = fopen(fx_log, "r");
    char line[4096];
    int count = 0;

    ck_assert_ptr_nonnull(file);
    while (fgets(line, sizeof(line), file) != NULL)
        count += strstr(line, text) != NULL;
    fclose(file);
    return count;
}

/* Whether there is a file in the directory whose name begins so. */
static inline int fx_files(const char *prefix)
{
    DIR *dir = opendir(fx_dir);
    struct dirent *entry;
    int count = 0;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL)
        count += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
    closedir(dir);
    return count;
}

static inline ino_t fx_inode(void)
{
    struct stat st;

    return lstat(fx_path, &st) == 0 ? st.st_ino : 0;
}

static inline void fx_beside(const char *suffix, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s%s", fx_path, suffix);
}

/* Overwrites or appends bytes of a file, as a failing disk would. This process must have no connection to it:
 * closing the descriptor would drop that one's locks. */
static inline void fx_scribble(const char *path, off_t offset, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, len, offset), (ssize_t)len);
    close(fd);
}

/* Runs `damage` in a process of its own. */
static inline void fx_elsewhere(void (*act)(void))
{
    int status = 0;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        act();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

/* One process of the daemon: its pools and its store. */
struct fx_process {
    struct pool pools[2];
    struct store *store;
};

static inline void fx_process_init(struct fx_process *process)
{
    ck_assert_int_eq(pool_init(&process->pools[ALPHA], "alpha", fx_alpha_keys, ALPHA_COUNT), 0);
    ck_assert_int_eq(pool_init(&process->pools[BETA], "beta", fx_beta_keys, BETA_COUNT), 0);
    process->store = store_new(fx_path, &fx_list, process->pools, fx_shared);
    ck_assert_ptr_nonnull(process->store);
}

static inline void fx_process_fini(struct fx_process *process)
{
    store_free(&process->store);
    pool_fini(&process->pools[ALPHA]);
    pool_fini(&process->pools[BETA]);
}

/* What the housekeeper does when no process has met a trouble for long enough. */
static inline void fx_settle(struct fx_process *process)
{
    fx_pass(STORE_QUIET_MS);
    store_refresh(process->store, &fx_now);
    store_tend(process->store, true, &fx_now);
}

/* The status after a refresh. */
static inline enum key_status fx_status(struct fx_process *process, size_t provider, size_t index)
{
    store_refresh(process->store, &fx_now);
    return key_status(&process->pools[provider].states[index], fx_now.mono_ms);
}

/* What is left of the cooldown after a refresh, in milliseconds. */
static inline int64_t fx_left(struct fx_process *process, size_t provider, size_t index)
{
    store_refresh(process->store, &fx_now);
    return process->pools[provider].states[index].until_ms - fx_now.mono_ms;
}

/* Another process that holds the database locked from fx_lock() until fx_unlock(). */
struct fx_locker {
    pid_t pid;
    int stop;
};

static inline void fx_lock(struct fx_locker *locker)
{
    int ready[2];
    int stop[2];
    char byte;

    ck_assert_int_eq(pipe(ready), 0);
    ck_assert_int_eq(pipe(stop), 0);
    locker->pid = fork();
    ck_assert_int_ge(locker->pid, 0);
    if (locker->pid == 0) {
        sqlite3 *db = NULL;

        close(stop[1]);
        if (sqlite3_open(fx_path, &db) != SQLITE_OK ||
            sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK ||
            write(ready[1], "x", 1) != 1)
            _exit(1);
        while (read(stop[0], &byte, 1) > 0)
            ;
        sqlite3_exec(db, "COMMIT", NULL, NULL, NULL);
        sqlite3_close(db);
        _exit(0);
    }
    close(ready[1]);
    close(stop[0]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    locker->stop = stop[1];
}

static inline void fx_unlock(struct fx_locker *locker)
{
    int status = 0;

    close(locker->stop);
    ck_assert_int_eq(waitpid(locker->pid, &status, 0), locker->pid);
    ck_assert_int_eq(status, 0);
}

#endif
