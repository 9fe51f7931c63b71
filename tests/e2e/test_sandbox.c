/* test_sandbox: what the processes of a running daemon may do, as the kernel tells it in /proc/PID/status. */
#include "e2e/suite.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool built_in(void)
{
    struct run run;
    run_program(&run, NULL, daemon_binary(), "-V", NULL);
    bool found = strstr(run_out(&run), "libseccomp/") != NULL;
    run_fini(&run);
    return found;
}

/* Whether a line of the process's status is "NAME:\tVALUE". */
static bool status_is(pid_t pid, const char *name, const char *value)
{
    char path[64];
    char line[128];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    snprintf(line, sizeof(line), "\n%s:\t%s\n", name, value);
    char *text = util_read_file(path, NULL);
    ck_assert_msg(text != NULL, "%s cannot be read", path);
    bool is = strstr(text, line) != NULL;
    free(text);
    return is;
}

static pid_t child_of(const struct daemon *d, const char *role)
{
    pid_t pids[4];
    ck_assert_uint_eq(daemon_children(d, role, pids, 4), 1);
    return pids[0];
}

/* The dumps' directory, for a user who may write there. */
static void switch_dumps_on(struct bench *b, mode_t mode)
{
    char dir[160];
    snprintf(dir, sizeof(dir), "%s/dumps", b->daemon.dir);
    ck_assert_int_eq(mkdir(dir, mode), 0);
    ck_assert_int_eq(chmod(dir, mode), 0);
    daemon_text(&b->daemon.top, "dump { dir = \"%s\" }\n", dir);
}

struct expected {
    pid_t pid;
    const char *name;
    const char *value;
};

static bool is_as_expected(void *arg)
{
    const struct expected *e = arg;
    return status_is(e->pid, e->name, e->value);
}

static void expect_soon(pid_t pid, const char *name, const char *value)
{
    struct expected e = {pid, name, value};
    ck_assert_msg(util_wait(is_as_expected, &e, 10000), "%s is not %s", name, value);
}

/* How many filters a process has: the master's, which its children inherit, and its own. "" = not told. */
static void count_filters(pid_t pid, char out[32])
{
    static const char name[] = "\nSeccomp_filters:\t";
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    char *text = util_read_file(path, NULL);
    ck_assert_ptr_nonnull(text);
    const char *line = strstr(text, name);
    if (line != NULL)
        line += strlen(name);
    snprintf(out, 32, "%.*s", line != NULL ? (int)strcspn(line, "\n") : 0, line != NULL ? line : "");
    free(text);
}

/* As many as a worker: one of its own too. */
static void expect_filters(pid_t writer, pid_t worker)
{
    char filters[32];
    count_filters(worker, filters);
    if (filters[0] != '\0')
        expect_soon(writer, "Seccomp_filters", filters);
}

/* _i: 0 = the default, 1 = sandbox = false. Serving is what all other tests do. */
START_TEST(children_are_confined)
{
    struct bench b;
    const char *expected = built_in() && _i == 0 ? "2" : "0";
    bool filtered_already = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0; /* by a container: then all are */
    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    if (_i == 1)
        daemon_text(&b.daemon.top, "sandbox = false\n");
    switch_dumps_on(&b, 0700);
    daemon_start(&b.daemon);
    pid_t worker = child_of(&b.daemon, "worker");
    pid_t admin = child_of(&b.daemon, "admin");
    pid_t writer = daemon_writer_of(worker);
    if (_i == 0 || !filtered_already) {
        ck_assert(status_is(worker, "Seccomp", expected));
        ck_assert(status_is(admin, "Seccomp", expected));
        expect_soon(writer, "Seccomp", expected);
        expect_filters(writer, worker);
        ck_assert(status_is(b.daemon.pid, "Seccomp", geteuid() == 0 ? expected : "0") || filtered_already);
    }
    ck_assert(status_is(worker, "NoNewPrivs", "1"));
    ck_assert(status_is(admin, "NoNewPrivs", "1"));
    ck_assert(status_is(writer, "NoNewPrivs", "1"));
    ck_assert(!daemon_log_has(&b.daemon, "sandbox"));
    bench_close(&b);
}
END_TEST

START_TEST(no_capability_is_left)
{
    static const char *const sets[] = {"CapInh", "CapPrm", "CapEff", "CapAmb"};
    struct bench b;
    if (geteuid() != 0) { /* then there is none to drop: it has what we have */
        ck_assert(status_is(getpid(), "CapEff", "0000000000000000"));
        return;
    }
    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.top, "user = nobody\n");
    const struct passwd *nobody = getpwnam("nobody");
    ck_assert_ptr_nonnull(nobody);
    ck_assert_int_eq(chown(b.daemon.dir, nobody->pw_uid, nobody->pw_gid), 0);
    ck_assert_int_eq(chmod(getenv("E2E_DIR"), 0755), 0);
    switch_dumps_on(&b, 0777);
    daemon_start(&b.daemon);
    pid_t worker = child_of(&b.daemon, "worker");
    pid_t pids[] = {worker, child_of(&b.daemon, "admin"), daemon_writer_of(worker)};
    for (size_t i = 0; i < 3; i++) {
        for (size_t j = 0; j < sizeof(sets) / sizeof(sets[0]); j++)
            ck_assert_msg(status_is(pids[i], sets[j], "0000000000000000"), "process %zu: %s", i, sets[j]);
    }
    bench_close(&b);
}
END_TEST

START_TEST(refused_where_it_is_not_built_in)
{
    struct daemon d;
    struct run run;
    daemon_init(&d);
    daemon_provider(&d, "anthropic", "http://127.0.0.1:1", KEY0, NULL);
    daemon_text(&d.top, "sandbox = true\n");
    daemon_write(&d);
    run_program(&run, NULL, daemon_binary(), "-t", "-c", d.conf, NULL);
    ck_assert_int_eq(run.status, built_in() ? 0 : 1);
    ck_assert(built_in() || strstr(run_err(&run), "libseccomp") != NULL);
    run_fini(&run);
    daemon_fini(&d);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox");
    TCase *tcase = suite_case(suite, "sandbox", 60);
    tcase_add_loop_test(tcase, children_are_confined, 0, 2);
    tcase_add_test(tcase, no_capability_is_left);
    tcase_add_test(tcase, refused_where_it_is_not_built_in);
    return suite_run(suite);
}
