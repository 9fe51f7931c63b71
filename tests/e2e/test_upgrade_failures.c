/*
 * test_upgrade_failures: SIGUSR2 with a new binary that cannot take over, which leaves all as it was; and
 * what else comes in the way of an upgrade.
 */
#include "e2e/upgrading.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct {
    const char *kind;
    const char *script; /* NULL = see break_binary() */
    const char *reason;
} failures[] = {
    {"missing", NULL, "No such file or directory"},
    {"not executable", NULL, "Permission denied"},
    {"exits", "exit 3", "exited with status 3 before it was ready"},
    {"is killed", "kill -9 $$", "killed by signal 9"},
    {"never gets ready", "exec sleep 60", "not ready after 10 s"},
    {"configuration", "exec \"$REAL\" \"$@\"", "no_such_option"},
    {"another pid file", "exec \"$REAL\" \"$@\"", "pid_file and control cannot change"},
    {"another user", "exec \"$REAL\" \"$@\"", "/none/log"},
    {"a port that is taken", "exec \"$REAL\" \"$@\"", "cannot listen on"},
};

static void break_it(struct bench *b, int i)
{
    if (failures[i].script != NULL)
        upgrading_put_script(failures[i].script);
    else if (strcmp(failures[i].kind, "missing") == 0)
        ck_assert_int_eq(unlink(upgrading_binary()), 0);
    else
        ck_assert_int_eq(chmod(upgrading_binary(), 0644), 0);
    if (strcmp(failures[i].kind, "configuration") == 0)
        daemon_text(&b->daemon.top, "no_such_option = 1");
    if (strcmp(failures[i].kind, "another user") == 0) {
        /* That user could write there. */
        ck_assert_int_eq(chmod(getenv("E2E_DIR"), 0711), 0);
        ck_assert_int_eq(chmod(b->daemon.dir, 0777), 0);
        daemon_text(&b->daemon.top, "user = \"nobody\"");
        daemon_text(&b->daemon.log_options, "target = \"%s/none/log\"", b->daemon.dir);
    }
    if (strcmp(failures[i].kind, "another pid file") == 0)
        snprintf(b->daemon.pid_file, sizeof(b->daemon.pid_file), "%s/other", b->daemon.dir);
    if (strcmp(failures[i].kind, "a port that is taken") == 0)
        b->daemon.admin_port = fake_port(b->fake);
    daemon_write(&b->daemon);
}

/* A new program that is to run as another user has given the database to that one. */
struct owner {
    const char *path;
    struct stat before;
};

static bool is_owner_again(void *arg)
{
    const struct owner *owner = arg;
    struct stat now;

    return stat(owner->path, &now) == 0 && now.st_uid == owner->before.st_uid &&
           now.st_gid == owner->before.st_gid;
}

/* The old master serves on with the same processes, and says why in log and status; mended, it works. */
START_TEST(a_new_binary_that_fails)
{
    struct daemon kept;
    pid_t workers[2];
    pid_t now[2];
    struct owner owner;
    struct run run;
    struct bench b;
    char line[256];

    upgrading_open(&b, 1);
    kept = b.daemon;
    owner.path = b.daemon.db;
    ck_assert_int_eq(stat(b.daemon.db, &owner.before), 0);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", workers, 2), 1);
    break_it(&b, _i);
    memcpy(b.daemon.pid_file, kept.pid_file, sizeof(kept.pid_file));
    b.daemon.admin_port = kept.admin_port;
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert_msg(daemon_wait_log(&b.daemon, "upgrade failed", TAKE_OVER_MS), "%s", failures[_i].kind);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
    upgrading_expect_status(&b.daemon, "\"last_upgrade\":{\"time\":");
    upgrading_expect_status(&b.daemon, failures[_i].reason);
    ck_assert(daemon_log_has(&b.daemon, failures[_i].reason));
    snprintf(line, sizeof(line), "\"pid\":%d,", (int)b.daemon.pid);
    upgrading_expect_status(&b.daemon, line);
    ck_assert_int_eq(daemon_pid_in_file(&b.daemon), b.daemon.pid);
    bench_post_expect(&b, 200);
    ck_assert(daemon_wait_workers(&b.daemon, 1, 0, 5000));
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", now, 2), 1);
    ck_assert_int_eq(now[0], workers[0]);
    run_fini(&run);
    ck_assert_msg(util_wait(is_owner_again, &owner, 5000), "the database belongs to another user");

    buf_clear(&b.daemon.top);
    buf_clear(&b.daemon.log_options);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    upgrading_put_good();
    if (strcmp(failures[_i].kind, "never gets ready") != 0)
        upgrading_do(&b);
    bench_post_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* A second signal while one upgrade is under way, a reload too: one is ignored, the other done afterwards. */
START_TEST(one_at_a_time)
{
    struct bench b;
    pid_t old;

    upgrading_open(&b, 1);
    upgrading_put_script("sleep 1; exec \"$REAL\" \"$@\"");
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert(daemon_wait_log(&b.daemon, "upgrading: ", 5000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert(daemon_wait_log(&b.daemon, "SIGUSR2 is ignored: an upgrade is under way", 5000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
    old = upgrading_await_master(&b.daemon);
    upgrading_await_end(old);
    ck_assert(daemon_wait_log(&b.daemon, "reloaded: generation 3 serves", 5000));
    bench_post_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* Whoever asks for a reload meanwhile is told to ask the new master; it reads the file once more. */
START_TEST(reload_during_an_upgrade)
{
    struct bench b;
    struct run run;

    upgrading_open(&b, 1);
    upgrading_put_script("sleep 1; exec \"$REAL\" \"$@\"");
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert(daemon_wait_log(&b.daemon, "upgrading: ", 5000));
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "reload", NULL);
    ck_assert_msg(run.status == 1, "status %d", run.status);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "a new binary has taken over meanwhile; ask again"));
    run_fini(&run);
    upgrading_await_end(upgrading_await_master(&b.daemon));
    ck_assert(daemon_wait_log(&b.daemon, "reloaded: generation 3 serves", 5000));
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "reload", NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    run_fini(&run);
    upgrading_expect_status(&b.daemon, "\"generation\":4,");
    bench_post_expect(&b, 200);

    /* One that fails is no obstacle: the reload is done by the old master. */
    upgrading_put_script("sleep 1; exit 3");
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "reload", NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    run_fini(&run);
    ck_assert(daemon_wait_log(&b.daemon, "upgrade failed", 5000));
    upgrading_expect_status(&b.daemon, "\"generation\":5,");
    bench_close(&b);
}
END_TEST

/* TERM to the old master during the upgrade ends both, whether the new program understands or not. */
START_TEST(term_during_an_upgrade)
{
    static const char *const scripts[] = {"exec sleep 60", "sleep 1; exec \"$REAL\" \"$@\"",
                                          "trap '' TERM; exec sleep 60"};
    struct bench b;

    upgrading_open(&b, 1);
    upgrading_put_script(scripts[_i]);
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert(daemon_wait_log(&b.daemon, "upgrading: ", 5000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    ck_assert_int_eq(daemon_wait(&b.daemon, DAEMON_STOP_MS), 0);
    ck_assert_int_ne(access(b.daemon.pid_file, F_OK), 0);
    ck_assert_int_ne(access(b.daemon.control, F_OK), 0);
    bench_close(&b);
}
END_TEST

/* TERM to the new master, and a second one: the old one's stream is cut off too, and nothing is left. */
START_TEST(stop_while_the_old_one_drains)
{
    struct fake_answer endless = {.framing = FAKE_CHUNKED, .events = 100000, .interval_ms = 20};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;
    pid_t old;

    upgrading_prepare(&b, KEY0);
    daemon_text(&b.daemon.limits, "shutdown_timeout = 60s");
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &endless);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    old = upgrading_await_master(&b.daemon);
    /* The stream goes on though the old master is told to stop once more. */
    ck_assert_int_eq(kill(old, SIGTERM), 0);
    http_read_body(&client, &r, r.body.len + 2000, HTTP_TIMEOUT_MS);
    ck_assert(!r.closed);
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    ck_assert(daemon_wait_log(&b.daemon, "stopping: ", 5000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    upgrading_await_end(old);
    ck_assert_int_eq(daemon_wait(&b.daemon, DAEMON_STOP_MS), 0);
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(!r.clean);
    http_response_fini(&r);
    http_close(&client);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    bench_close(&b);
}
END_TEST

/* The old master is killed in the middle: the new one goes on, and owns everything. */
START_TEST(the_old_master_dies)
{
    struct upgrading_end ends[4]; /* the old master, its workers and its admin process */
    pid_t pids[3];
    size_t count;
    char script[256];
    char mark[160];
    struct bench b;

    /* The old processes are killed wherever they are. In the middle of a sanitizer's look for leaks they
     * would leave its helper process behind, which the end of the test would take for one of the daemon's. */
    ck_assert_int_eq(setenv("LSAN_OPTIONS", "detect_leaks=0", 1), 0);
    upgrading_open(&b, 2);
    count = daemon_children(&b.daemon, "worker", pids, 2);
    count += daemon_children(&b.daemon, "admin", pids + count, 1);
    ck_assert_uint_eq(count, 3);
    for (size_t i = 0; i < 4; i++)
        ends[i].pid = i < 3 ? pids[i] : b.daemon.pid;
    snprintf(mark, sizeof(mark), "%s/mark", b.daemon.dir);
    snprintf(script, sizeof(script),
             "M='%s'\n: >\"$M\"\nwhile test -e \"$M\"; do sleep 0.05; done\nexec \"$REAL\" \"$@\"", mark);
    upgrading_put_script(script);
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    for (int64_t limit = util_now_us() + 5000000; access(mark, F_OK) != 0;)
        ck_assert_int_lt(util_now_us(), limit);
    ck_assert_int_eq(kill(b.daemon.pid, SIGKILL), 0);
    for (int i = 3; i >= 0; i--)
        ck_assert_msg(util_wait(upgrading_is_over, &ends[i], 5000), "pid %d lives on", (int)ends[i].pid);
    ck_assert_int_eq(unlink(mark), 0);
    ck_assert(daemon_wait_log(&b.daemon, "has taken over", TAKE_OVER_MS));
    b.daemon.pid = daemon_pid_in_file(&b.daemon);
    ck_assert_int_ne(b.daemon.pid, ends[3].pid);
    ck_assert(daemon_wait_workers(&b.daemon, 2, 0, 5000));
    bench_post_expect(&b, 200);
    upgrading_put_good();
    upgrading_do(&b);
    bench_post_expect(&b, 200);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("upgrade_failures");
    TCase *tc = suite_case(s, "upgrade_failures", 120);

    tcase_add_loop_test(tc, a_new_binary_that_fails, 0, (int)(sizeof(failures) / sizeof(failures[0])));
    tcase_add_test(tc, one_at_a_time);
    tcase_add_test(tc, reload_during_an_upgrade);
    tcase_add_loop_test(tc, term_during_an_upgrade, 0, 3);
    tcase_add_test(tc, stop_while_the_old_one_drains);
    tcase_add_test(tc, the_old_master_dies);
    return suite_run(s);
}
