/*
 * test_user: `user`. As root: workers and admin have that user and its groups, the database and the log
 * belong to it, keys stay root's. Not root: nothing changes, and the log says so.
 */
#include "e2e/suite.h"
#include "e2e/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define USER    "nobody"
#define GROUP_A 54321
#define GROUP_B 54322

static struct passwd user;
static char state_dir[128];
static char key_file[128];
static bool own_groups; /* /etc/group is ours to write: there are namespaces */

/* A line of /proc/PID/status, without its name. */
static void status_line(pid_t pid, const char *name, char out[256])
{
    char path[64];
    char *text;
    const char *from;

    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    text = util_read_file(path, NULL);
    ck_assert_ptr_nonnull(text);
    from = strstr(text, name);
    ck_assert_ptr_nonnull(from);
    from += strlen(name);
    snprintf(out, 256, "%.*s", (int)strcspn(from, "\n"), from);
    free(text);
}

/* Real, effective, saved and file-system id. */
static bool has_ids(pid_t pid, const char *name, unsigned id)
{
    char line[256];
    char wanted[64];

    status_line(pid, name, line);
    snprintf(wanted, sizeof(wanted), "\t%u\t%u\t%u\t%u", id, id, id, id);
    return strcmp(line, wanted) == 0;
}

/* A child has its title before it drops, and drops the user last. */
static bool has_dropped(void *arg)
{
    const pid_t *pid = arg;

    return has_ids(*pid, "\nUid:", user.pw_uid);
}

/* All ids, all groups, no capability. */
static void expect_dropped(pid_t pid)
{
    char line[256];
    char spaced[300];
    char wanted[64];
    const unsigned groups[] = {(unsigned)user.pw_gid, GROUP_A, GROUP_B};
    const size_t expected = own_groups ? 3 : 1;
    size_t count = 0;

    ck_assert_msg(util_wait(has_dropped, &pid, 5000), "pid %d has not dropped", (int)pid);
    ck_assert(has_ids(pid, "\nGid:", user.pw_gid));
    status_line(pid, "\nGroups:", line);
    snprintf(spaced, sizeof(spaced), " %s ", line + (line[0] == '\t'));
    for (size_t i = 0; i < expected; i++) {
        snprintf(wanted, sizeof(wanted), " %u ", groups[i]);
        ck_assert_msg(strstr(spaced, wanted) != NULL, "group %u is not in:%s", groups[i], spaced);
    }
    for (char *rest = line, *word; (word = strsep(&rest, " \t")) != NULL;)
        count += word[0] != '\0';
    ck_assert_msg(count == expected || !own_groups, "other groups too: %s", line);
    status_line(pid, "\nCapPrm:", line);
    ck_assert_str_eq(line, "\t0000000000000000");
    status_line(pid, "\nCapEff:", line);
    ck_assert_str_eq(line, "\t0000000000000000");
}

static void expect_all_dropped(const struct bench *b)
{
    pid_t pids[8];
    size_t count;

    ck_assert(daemon_wait_workers(&b->daemon, b->daemon.workers, 0, 10000));
    count = daemon_children(&b->daemon, "worker", pids, 6);
    ck_assert_uint_eq(count, b->daemon.workers);
    for (size_t i = 0; i < count; i++)
        expect_dropped(pids[i]);
    ck_assert(has_ids(b->daemon.pid, "\nUid:", 0));
}

/* /etc/group with more groups for the user, seen by this process and its children only. */
static void private_groups(const struct daemon *d)
{
    char path[128];
    char *text = util_read_file("/etc/group", NULL);
    struct buf groups = {0};

    ck_assert_ptr_nonnull(text);
    buf_printf(&groups, "%s", text);
    free(text);
    buf_printf(&groups, "e2e-a:x:%d:%s\ne2e-b:x:%d:root,%s\ne2e-c:x:%d:root\n", GROUP_A, USER, GROUP_B, USER,
               GROUP_B + 1);
    snprintf(path, sizeof(path), "%s/group", d->dir);
    ck_assert_int_eq(util_write_file(path, groups.data, groups.len, 0644), 0);
    buf_fini(&groups);
    if (unshare(CLONE_NEWNS) != 0) {
        printf("user: no mount namespace (%s), so that groups are those of /etc/group only\n",
               strerror(errno));
        return;
    }
    own_groups = true;
    ck_assert_int_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    ck_assert_int_eq(mount(path, "/etc/group", NULL, MS_BIND, NULL), 0);
}

static void find_user(void)
{
    const struct passwd *entry = getpwnam(USER);

    ck_assert_msg(entry != NULL, "there is no user " USER);
    user = *entry;
}

/* The user may go as far as to its state directory. */
static void prepare(struct bench *b)
{
    find_user();
    bench_prepare(b, &SUITE_APIS[0], NULL, NULL);
    ck_assert_int_eq(chmod(getenv("E2E_DIR"), 0711), 0);
    ck_assert_int_eq(chmod(b->daemon.dir, 0711), 0);
    private_groups(&b->daemon);
    snprintf(state_dir, sizeof(state_dir), "%s/state", b->daemon.dir);
    ck_assert_int_eq(mkdir(state_dir, 0750), 0);
    ck_assert_int_eq(chown(state_dir, user.pw_uid, user.pw_gid), 0);
    snprintf(b->daemon.db, sizeof(b->daemon.db), "%.110s/state.db", state_dir);
    snprintf(key_file, sizeof(key_file), "%s.keys", b->daemon.dir); /* not among what the daemon writes */
    b->daemon.workers = 2;
    daemon_text(&b->daemon.top, "user = \"" USER "\"");
}

static void write_keys(const char *keys)
{
    ck_assert_int_eq(util_write_file(key_file, keys, strlen(keys), 0600), 0);
}

static void name_key_file(struct bench *b)
{
    char name[160];

    snprintf(name, sizeof(name), "file:%s", key_file);
    daemon_forget_providers(&b->daemon);
    daemon_provider(&b->daemon, b->api->name, fake_url(b->fake), name, NULL);
}

static void post_and_expect(struct bench *b, int status)
{
    struct http_response r;

    bench_post(b, NULL, &r);
    ck_assert_msg(r.status == status, "status %d, not %d: %s", r.status, status, http_body(&r));
    http_response_fini(&r);
}

/* What access() says to a process with the worker's ids: 0 or errno. */
static int as_worker(const char *path, int mode)
{
    int status = 0;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        gid_t groups[] = {user.pw_gid, GROUP_A, GROUP_B};

        if (setgroups(3, groups) != 0 || setresgid(user.pw_gid, user.pw_gid, user.pw_gid) != 0 ||
            setresuid(user.pw_uid, user.pw_uid, user.pw_uid) != 0)
            _exit(255);
        _exit(faccessat(AT_FDCWD, path, mode, AT_EACCESS) == 0 ? 0 : errno);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_owner(const char *path, const char *suffix)
{
    char name[192];
    struct stat st;

    snprintf(name, sizeof(name), "%s%s", path, suffix);
    ck_assert_msg(stat(name, &st) == 0, "%s: %s", name, strerror(errno));
    ck_assert_msg(st.st_uid == user.pw_uid && st.st_gid == user.pw_gid, "%s belongs to %u:%u", name,
                  st.st_uid, st.st_gid);
    ck_assert_msg((st.st_mode & 07777) == 0640, "%s has the mode %o", name, st.st_mode & 07777);
}

/* Through start, a worker's death, reload and upgrade. */
START_TEST(dropped)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    pid_t pids[4];
    pid_t old;
    struct bench b;

    prepare(&b);
    write_keys(KEY0 "\n" KEY1 "\n");
    name_key_file(&b);
    fake_on_key(b.fake, KEY0, &limited);
    daemon_start(&b.daemon);
    expect_all_dropped(&b);
    ck_assert_uint_eq(daemon_children(&b.daemon, "admin", pids, 4), 1);
    expect_dropped(pids[0]);
    post_and_expect(&b, 200);
    daemon_expect_states(&b.daemon, b.api->name, "temporary valid");
    for (size_t i = 0; i < 3; i++)
        expect_owner(b.daemon.db, suffixes[i]);
    /* The keys are root's; the worker has them from the master. */
    ck_assert_int_eq(as_worker(key_file, R_OK), EACCES);
    ck_assert_int_eq(as_worker(b.daemon.conf, R_OK), EACCES);
    ck_assert_int_eq(as_worker(b.daemon.db, R_OK | W_OK), 0);

    ck_assert_uint_ge(daemon_children(&b.daemon, "worker", pids, 4), 1);
    ck_assert_int_eq(kill(pids[0], SIGKILL), 0);
    ck_assert(daemon_wait_workers(&b.daemon, 2, pids[0], 5000));
    expect_all_dropped(&b);

    write_keys(KEY0 "\n" KEY2 "\n");
    daemon_reload(&b.daemon);
    expect_all_dropped(&b);
    post_and_expect(&b, 200);
    ck_assert_uint_eq(fake_requests_with_key(b.fake, KEY2), 1);

    old = b.daemon.pid;
    ck_assert_int_eq(kill(old, SIGUSR2), 0);
    ck_assert_int_eq(daemon_wait(&b.daemon, DAEMON_STOP_MS), 0);
    b.daemon.pid = tree_pid(&b.daemon);
    ck_assert_int_ne(b.daemon.pid, old);
    expect_all_dropped(&b);
    ck_assert_uint_eq(daemon_children(&b.daemon, "admin", pids, 4), 1);
    expect_dropped(pids[0]);
    post_and_expect(&b, 200);
    daemon_expect_states(&b.daemon, b.api->name, "temporary valid");
    bench_close(&b);
}
END_TEST

static bool worker_writes(void *arg)
{
    struct bench *b = arg;

    post_and_expect(b, 200);
    return daemon_log_has(&b->daemon, "POST /anthropic/v1/messages 200");
}

/* The log file belongs to the user; the workers open the new one, in a directory that they cannot write to.
 */
START_TEST(log_file)
{
    char log_dir[112];
    char renamed[160];
    struct bench b;

    prepare(&b);
    write_keys(KEY0 "\n");
    name_key_file(&b);
    snprintf(log_dir, sizeof(log_dir), "%s/logs", b.daemon.dir);
    ck_assert_int_eq(mkdir(log_dir, 0755), 0);
    daemon_text(&b.daemon.log_options, "target = \"%s/log\"", log_dir);
    daemon_start(&b.daemon);
    snprintf(b.daemon.log, sizeof(b.daemon.log), "%s/log", log_dir);
    ck_assert(util_wait(worker_writes, &b, 5000));
    expect_owner(b.daemon.log, "");
    ck_assert_int_eq(as_worker(log_dir, W_OK), EACCES);
    snprintf(renamed, sizeof(renamed), "%s.1", b.daemon.log);
    ck_assert_int_eq(rename(b.daemon.log, renamed), 0);
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR1), 0);
    ck_assert(util_wait(worker_writes, &b, 10000));
    expect_owner(b.daemon.log, "");
    bench_close(&b);
}
END_TEST

/* A directory that the user cannot write to: said at the start and by -t, with its place, not at the first
 * mark. */
START_TEST(unreachable_database)
{
    static const struct {
        mode_t mode;
        gid_t group;
        bool fine;
    } cases[] = {
        {0750, 0, false},
        {0755, 0, false},
        {0770, GROUP_B, true}, /* by one of its groups */
        {0770, GROUP_B + 1, false},
    };
    struct run run;
    struct bench b;
    bool fine;

    prepare(&b);
    fine = cases[_i].fine && own_groups;
    write_keys(KEY0 "\n");
    name_key_file(&b);
    ck_assert_int_eq(chown(state_dir, 0, cases[_i].group), 0);
    ck_assert_int_eq(chmod(state_dir, cases[_i].mode), 0);
    daemon_write(&b.daemon);
    run_program(&run, NULL, daemon_binary(), "-t", "-c", b.daemon.conf, NULL);
    ck_assert_msg(run.status == (fine ? 0 : 1), "-t: status %d: %s", run.status, run_err(&run));
    if (!fine) {
        ck_assert_ptr_nonnull(strstr(run_err(&run), "/conf:4: state_db: the user " USER " cannot write to "));
        run_fini(&run);
        run_program(&run, NULL, daemon_binary(), "-c", b.daemon.conf, NULL);
        ck_assert_int_eq(run.status, 1);
        ck_assert_ptr_nonnull(strstr(run_err(&run), "/conf:4: state_db: the user " USER " cannot write to "));
        ck_assert_ptr_nonnull(strstr(run_err(&run), "chown"));
        ck_assert_int_ne(access(b.daemon.db, F_OK), 0);
    } else {
        daemon_start(&b.daemon);
        post_and_expect(&b, 200);
    }
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* Who is not root stays who he is. */
START_TEST(not_root)
{
    char line[256];
    char wanted[64];
    pid_t pid;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.top, "user = \"root\"");
    daemon_start(&b.daemon);
    ck_assert(daemon_log_has(&b.daemon, "not started as root: workers stay the present user, not root"));
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", &pid, 1), 1);
    status_line(pid, "\nUid:", line);
    snprintf(wanted, sizeof(wanted), "\t%u\t", (unsigned)geteuid());
    ck_assert(strncmp(line, wanted, strlen(wanted)) == 0);
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("user");
    TCase *tc = suite_case(s, "user", 60);

    if (geteuid() == 0) {
        tcase_add_test(tc, dropped);
        tcase_add_test(tc, log_file);
        tcase_add_loop_test(tc, unreachable_database, 0, 4);
    } else {
        printf("user: not root, so that only the warning is tested; run as root for the rest\n");
        tcase_add_test(tc, not_root);
    }
    return suite_run(s);
}
