/*
 * test_degraded: the state database is locked, full, read-only or on a bad disk for a while. Requests go on,
 * marks hold on every worker, are written once they can be, and the operator can see it all.
 */
#include "e2e/degraded.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- other processes and other places */

static void lock_by_sql(const char *path)
{
    sqlite3 *db = NULL;

    if (sqlite3_open(path, &db) != SQLITE_OK || sqlite3_busy_timeout(db, 5000) != SQLITE_OK ||
        sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) != SQLITE_OK)
        _exit(1);
}

/* Every lock of the WAL's index (bytes 120 to 127 of -shm: sqlite.org/walformat.html#wal_locks), as a process
 * has it that was stopped in the middle of a recovery. Nobody can even read then. */
static void lock_all(const char *path)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 120, .l_len = 8};
    char name[160];
    int fd;

    snprintf(name, sizeof(name), "%s-shm", path);
    fd = open(name, O_RDWR);
    if (fd < 0 || fcntl(fd, F_SETLKW, &lock) != 0)
        _exit(1);
}

static void hold_lock(struct trouble *t, void (*take)(const char *path))
{
    int ready[2];
    char byte;

    ck_assert_int_eq(pipe2(ready, O_CLOEXEC), 0);
    t->locker = fork();
    ck_assert_int_ge(t->locker, 0);
    if (t->locker == 0) {
        take(t->bench.daemon.db);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    close(ready[0]);
}

static void begin_lock(struct trouble *t)
{
    hold_lock(t, lock_by_sql);
}

static void begin_lock_all(struct trouble *t)
{
    hold_lock(t, lock_all);
}

static void end_lock(struct trouble *t)
{
    ck_assert_int_eq(kill(t->locker, SIGKILL), 0);
    ck_assert_int_eq(waitpid(t->locker, NULL, 0), t->locker);
}

static void fill_up(struct trouble *t)
{
    static const char zeros[4096];
    size_t piece = sizeof(zeros);
    int fd = open(t->fill, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    ck_assert_int_ge(fd, 0);
    while (piece > 0) {
        if (write(fd, zeros, piece) < 0) {
            ck_assert_int_eq(errno, ENOSPC);
            piece /= 2;
        }
    }
    close(fd);
}

static void make_room(struct trouble *t)
{
    ck_assert_int_eq(unlink(t->fill), 0);
}

static void fail_with(struct trouble *t, int error)
{
    atomic_store(&t->faults->after, 0);
    atomic_store(&t->faults->error, error);
}

static void begin_no_space(struct trouble *t)
{
    fail_with(t, ENOSPC);
}

/* As a file system does that its kernel has turned read-only after an error. */
static void begin_read_only(struct trouble *t)
{
    fail_with(t, EROFS);
}

static void begin_bad_disk(struct trouble *t)
{
    fail_with(t, EIO);
}

static void end_faults(struct trouble *t)
{
    atomic_store(&t->faults->error, 0);
    ck_assert_uint_gt(atomic_load(&t->faults->failed), 0);
}

static void change_files(const struct trouble *t, uid_t owner, mode_t dir_mode, mode_t file_mode)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", ".lock"};
    const struct daemon *d = &t->bench.daemon;
    char name[160];

    if (geteuid() == 0)
        ck_assert_int_eq(chown(d->dir, owner, (gid_t)-1), 0);
    ck_assert_int_eq(chmod(d->dir, dir_mode), 0);
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "%s%s", d->db, suffixes[i]);
        if (geteuid() == 0)
            ck_assert_int_eq(chown(name, owner, (gid_t)-1), 0);
        ck_assert_int_eq(chmod(name, file_mode), 0);
    }
}

static void kill_all(const struct daemon *d)
{
    pid_t pids[DEGRADED_WORKERS];
    pid_t admin;

    ck_assert_uint_eq(daemon_children(d, "worker", pids, DEGRADED_WORKERS), DEGRADED_WORKERS);
    ck_assert_uint_eq(daemon_children(d, "admin", &admin, 1), 1);
    ck_assert_int_eq(kill(admin, SIGKILL), 0);
    for (size_t i = 0; i < DEGRADED_WORKERS; i++) {
        ck_assert_int_eq(kill(pids[i], SIGKILL), 0);
        ck_assert(daemon_wait_workers(d, DEGRADED_WORKERS, pids[i], DEGRADED_SOON_MS));
    }
}

/* Modes hold for who opens the files from now on. */
static void begin_modes(struct trouble *t)
{
    change_files(t, 0, 0555, 0444);
    kill_all(&t->bench.daemon);
}

static void end_modes(struct trouble *t)
{
    change_files(t, t->user, 0755, 0640);
}

/* ---- a trouble that lasts until somebody ends it */

static const struct lasting {
    const char *name;
    const char *word; /* what is shown while it lasts */
    void (*begin)(struct trouble *t);
    void (*end)(struct trouble *t);
    bool tmpfs; /* on a small file system of its own */
    bool faults;
    bool modes; /* root may write everywhere, so the workers are somebody else */
} lasting[] = {
    {.name = "locked for writing", .word = "busy", .begin = begin_lock, .end = end_lock},
    {.name = "locked for all", .word = "busy", .begin = begin_lock_all, .end = end_lock},
    {.name = "disk full", .word = "failing", .begin = fill_up, .end = make_room, .tmpfs = true},
    {.name = "no space", .word = "failing", .begin = begin_no_space, .end = end_faults, .faults = true},
    {.name = "read-only", .word = "failing", .begin = begin_read_only, .end = end_faults, .faults = true},
    {.name = "modes", .word = "failing", .begin = begin_modes, .end = end_modes, .modes = true},
    {.name = "bad disk", .word = "failing", .begin = begin_bad_disk, .end = end_faults, .faults = true},
};

static bool write_map(const char *name, bool deny, unsigned id)
{
    char text[64];
    int fd = open(name, O_WRONLY | O_CLOEXEC);
    int len = deny ? snprintf(text, sizeof(text), "deny") : snprintf(text, sizeof(text), "%u %u 1", id, id);
    bool written = fd >= 0 && write(fd, text, (size_t)len) == len;

    if (fd >= 0)
        close(fd);
    return written;
}

/* Who is not root may mount in a user namespace of his own, when the system allows that. */
static bool enter_namespaces(void)
{
    unsigned user = geteuid();
    unsigned group = getegid();

    return unshare(CLONE_NEWNS) == 0 ||
           (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_map("/proc/self/setgroups", true, 0) &&
            write_map("/proc/self/uid_map", false, user) && write_map("/proc/self/gid_map", false, group));
}

/* A mount that only this test and its children see. */
static bool mount_small(const char *dir)
{
    if (!enter_namespaces())
        return false;
    return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("small", dir, "tmpfs", 0, "size=512k,mode=0700") == 0;
}

/* false: such a file system cannot be had here; the fault "no space" stands in its place. */
static bool move_database(struct trouble *t)
{
    struct daemon *d = &t->bench.daemon;
    char dir[112];

    snprintf(dir, sizeof(dir), "%s/small", d->dir);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    if (!mount_small(dir))
        return false;
    snprintf(t->mounted, sizeof(t->mounted), "%s", dir);
    snprintf(d->db, sizeof(d->db), "%s/state.db", dir);
    snprintf(t->fill, sizeof(t->fill), "%s/fill", dir);
    return true;
}

static void drop_privileges(struct trouble *t)
{
    struct daemon *d = &t->bench.daemon;
    const struct passwd *nobody;

    t->user = geteuid();
    if (t->user != 0)
        return;
    nobody = getpwnam("nobody");
    ck_assert_ptr_nonnull(nobody);
    t->user = nobody->pw_uid;
    daemon_text(&d->top, "user = \"nobody\"");
    ck_assert_int_eq(chmod(getenv("E2E_DIR"), 0755), 0);
    ck_assert_int_eq(chmod(d->dir, 0755), 0);
    ck_assert_int_eq(chown(d->dir, t->user, (gid_t)-1), 0);
}

static void kill_a_worker(struct trouble *t)
{
    pid_t pids[DEGRADED_WORKERS];

    ck_assert_uint_eq(daemon_children(&t->bench.daemon, "worker", pids, DEGRADED_WORKERS), DEGRADED_WORKERS);
    ck_assert_int_eq(kill(pids[1], SIGKILL), 0);
    ck_assert(daemon_wait_workers(&t->bench.daemon, DEGRADED_WORKERS, pids[1], DEGRADED_SOON_MS));
}

START_TEST(a_trouble_that_lasts)
{
    const struct lasting *l = &lasting[_i];
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;
    char text[64];

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    if (l->tmpfs && !move_database(&t)) {
        printf("%s: no mount namespace here; \"no space\" shows the same with a fault\n", l->name);
        bench_close(&t.bench);
        return;
    }
    if (l->modes)
        drop_privileges(&t);
    degraded_open(&t, l->faults);
    l->begin(&t);
    degraded_mark(&t);
    degraded_expect_marks(&t, DEGRADED_ROUND);
    degraded_expect(d, l->word);
    degraded_expect_marks(&t, DEGRADED_ROUND);
    ck_assert_msg(t.slowest_us < DEGRADED_SLOWEST_MS * 1000, "a request took %lld us",
                  (long long)t.slowest_us);
    /* Who knows nothing but the shared memory and what can be read. */
    kill_a_worker(&t);
    degraded_expect_marks(&t, DEGRADED_ROUND);
    ck_assert_uint_eq(degraded_count(d, "requests are served, new key marks are kept"), 1);
    ck_assert_uint_eq(degraded_count(d, "works again"), 0);

    l->end(&t);
    daemon_expect_states(d, t.bench.api->name, "temporary permanent valid");
    degraded_expect(d, "ok");
    degraded_expect_marks(&t, DEGRADED_ROUND);
    ck_assert_uint_eq(degraded_count(d, "requests are served, new key marks are kept"), 1);
    ck_assert_uint_eq(degraded_count(d, "works again"), 1);
    daemon_sql(d, "PRAGMA integrity_check", text, sizeof(text));
    ck_assert_str_eq(text, "ok");
    printf("%s: the slowest of %d requests took %lld ms\n", l->name, 2 * DEGRADED_ROUND + 1,
           (long long)t.slowest_us / 1000);
    degraded_close(&t);
}
END_TEST

static bool workers_have_ended(void *arg)
{
    pid_t pids[DEGRADED_WORKERS];

    return daemon_children(arg, "worker", pids, DEGRADED_WORKERS) == 0;
}

/* Marks that nobody could write are written before the last process ends. */
START_TEST(a_stop_behind_a_lock)
{
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    degraded_open(&t, false);
    begin_lock(&t);
    degraded_mark(&t);
    ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
    ck_assert(util_wait(workers_have_ended, d, DEGRADED_SOON_MS));
    end_lock(&t);
    ck_assert_int_eq(daemon_wait(d, DEGRADED_SOON_MS), 0);
    daemon_expect_states(d, t.bench.api->name, "temporary permanent valid");
    degraded_close(&t);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("degraded");
    TCase *tc = suite_case(s, "degraded", 120);

    tcase_add_loop_test(tc, a_trouble_that_lasts, 0, sizeof(lasting) / sizeof(lasting[0]));
    tcase_add_test(tc, a_stop_behind_a_lock);
    return suite_run(s);
}
