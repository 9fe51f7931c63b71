/*
 * test_init: the init script on an installed tree, verb by verb with its exit statuses; and that an
 * installation places everything and takes it away again.
 */
#include "e2e/suite.h"
#include "e2e/tree.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How the script is run. */
static struct way {
    const char *shell;
    bool small_path; /* a PATH of what POSIX has: no start-stop-daemon */
} ways[8] = {{"/bin/sh", false}, {"/bin/sh", true}};
static int way_count = 2;

/* What is on this machine: the shells of other distributions. */
static void find_ways(void)
{
    static const char *const shells[] = {"/usr/bin/dash", "/usr/bin/busybox", "/bin/bash"};

    for (size_t i = 0; i < sizeof(shells) / sizeof(shells[0]); i++) {
        if (access(shells[i], X_OK) == 0)
            ways[way_count++].shell = shells[i];
    }
}

static struct tree tree;
static char path_variable[512];
static const struct way *way = &ways[0];

/* A directory with nothing but what the script and POSIX name. */
static void make_small_path(const struct daemon *d)
{
    static const char *const tools[] = {"sh", "sed", "tail", "tr", "date", "sleep", "cat", "kill"};
    char dir[128];

    snprintf(dir, sizeof(dir), "%s/bin", d->dir);
    ck_assert_int_eq(mkdir(dir, 0755), 0);
    for (size_t i = 0; i < sizeof(tools) / sizeof(tools[0]); i++) {
        char link[192];
        char target[64];

        snprintf(link, sizeof(link), "%s/%s", dir, tools[i]);
        snprintf(target, sizeof(target), "/usr/bin/%s", tools[i]);
        if (access(target, X_OK) != 0)
            snprintf(target, sizeof(target), "/bin/%s", tools[i]);
        ck_assert_int_eq(symlink(target, link), 0);
    }
    snprintf(path_variable, sizeof(path_variable), "PATH=%s", dir);
}

static void prepare(struct bench *b, const struct way *how)
{
    bench_prepare(b, &SUITE_APIS[0], KEY0, NULL);
    tree_make(&tree, &b->daemon);
    daemon_write(&b->daemon);
    way = how;
    path_variable[0] = '\0';
    if (how->small_path)
        make_small_path(&b->daemon);
}

static const char *variable(void)
{
    return path_variable[0] != '\0' ? path_variable : NULL;
}

static void run_verb(struct run *run, const char *verb)
{
    if (strstr(way->shell, "busybox") != NULL)
        run_program(run, variable(), way->shell, "sh", tree.script, verb, NULL);
    else
        run_program(run, variable(), way->shell, tree.script, verb, NULL);
}

/* The verb's exit status; text must be in what it says (NULL = anything): of a failure on stderr. */
static void expect(const char *verb, int status, const char *text)
{
    struct run run;

    run_verb(&run, verb);
    ck_assert_msg(run.status == status, "%s: status %d, not %d: %s%s", verb, run.status, status,
                  run_out(&run), run_err(&run));
    if (text != NULL)
        ck_assert_msg(strstr(status == 0 ? run_out(&run) : run_err(&run), text) != NULL,
                      "%s: no \"%s\" in: %s%s", verb, text, run_out(&run), run_err(&run));
    if (status != 0)
        ck_assert_msg(run.out.len == 0, "%s failed, and says on stdout: %s", verb, run_out(&run));
    run_fini(&run);
}

static void expect_start(struct bench *b)
{
    expect("start", 0, "serves");
    b->daemon.pid = tree_pid(&b->daemon);
    ck_assert_int_gt(b->daemon.pid, 0);
}

/* We are the parent of what went into the background. */
static void expect_ended(pid_t pid)
{
    struct daemon ended = {.pid = pid};

    ck_assert_int_eq(daemon_wait(&ended, DAEMON_STOP_MS), 0);
}

static void expect_stop(struct bench *b)
{
    int64_t begin = util_now_us();

    expect("stop", 0, "has stopped");
    expect_ended(b->daemon.pid);
    b->daemon.pid = 0;
    ck_assert_int_ne(access(b->daemon.pid_file, F_OK), 0);
    ck_assert_int_lt(util_now_us() - begin, 15000000);
}

static void post_and_expect(struct bench *b, int status)
{
    struct http_response r;

    bench_post(b, NULL, &r);
    ck_assert_msg(r.status == status, "status %d, not %d: %s", r.status, status, http_body(&r));
    http_response_fini(&r);
}

/* Whether another provider, which a changed configuration has, is served. */
static void expect_second(struct bench *b, int status)
{
    const struct http_request request = {.target = "/second/v1/x", .body = "{}"};
    struct http_response r;

    http_fetch(b->daemon.port, &request, &r);
    ck_assert_int_eq(r.status, status);
    http_response_fini(&r);
}

/* ---- the verbs */

START_TEST(verbs)
{
    struct bench b;
    pid_t pid;
    struct run run;

    prepare(&b, &ways[_i]);
    expect("status", 3, "not running");
    expect("stop", 0, "not running");
    expect("reload", 7, "not running");
    expect("force-reload", 7, "not running");
    expect("upgrade", 7, "not running");
    expect("try-restart", 0, "not running");
    expect("status", 3, "not running");
    expect("configtest", 0, "valid");

    expect_start(&b);
    pid = b.daemon.pid;
    post_and_expect(&b, 200);
    expect("status", 0, "runs as pid");
    expect("start", 0, "already");
    ck_assert_int_eq(tree_pid(&b.daemon), pid);

    expect_second(&b, 404);
    daemon_provider(&b.daemon, "second", fake_url(b.fake), KEY1, "    type = openai");
    daemon_write(&b.daemon);
    expect("reload", 0, "serves");
    expect_second(&b, 200);
    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, b.api->name, fake_url(b.fake), KEY0, NULL);
    daemon_write(&b.daemon);
    expect("force-reload", 0, "serves");
    expect_second(&b, 404);
    ck_assert_int_eq(tree_pid(&b.daemon), pid);

    for (int i = 0; i < 2; i++) {
        expect(i == 0 ? "restart" : "try-restart", 0, "serves");
        b.daemon.pid = tree_pid(&b.daemon);
        ck_assert_int_ne(b.daemon.pid, pid);
        expect_ended(pid);
        pid = b.daemon.pid;
        post_and_expect(&b, 200);
    }
    expect("upgrade", 0, "in the place of");
    ck_assert_int_ne(tree_pid(&b.daemon), pid);
    expect_ended(pid);
    b.daemon.pid = tree_pid(&b.daemon);
    post_and_expect(&b, 200);
    expect_stop(&b);
    expect("status", 3, "not running");
    expect("restart", 0, "serves");
    b.daemon.pid = tree_pid(&b.daemon);
    post_and_expect(&b, 200);
    expect_stop(&b);

    expect("frobnicate", 2, "usage: ");
    run_program(&run, NULL, tree.script, NULL);
    ck_assert_int_eq(run.status, 2);
    run_fini(&run);
    run_program(&run, NULL, tree.script, "status", "more", NULL);
    ck_assert_int_eq(run.status, 2);
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* A wrong configuration: the reason is told, and what runs goes on. */
START_TEST(bad_configuration)
{
    static const char *const changes[] = {"reload", "force-reload", "restart", "try-restart", "upgrade"};
    struct bench b;

    prepare(&b, &ways[_i]);
    daemon_text(&b.daemon.top, "no_such_option = 1");
    daemon_write(&b.daemon);
    expect("configtest", 1, "no_such_option");
    expect("start", 1, "no_such_option");
    expect("restart", 1, "no_such_option");
    expect("status", 3, NULL);
    buf_clear(&b.daemon.top);
    daemon_write(&b.daemon);
    expect_start(&b);

    daemon_text(&b.daemon.top, "no_such_option = 1");
    daemon_write(&b.daemon);
    for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
        expect(changes[i], 1, "no_such_option");
        ck_assert_int_eq(tree_pid(&b.daemon), b.daemon.pid);
        expect("status", 0, NULL);
        post_and_expect(&b, 200);
    }
    ck_assert_int_eq(unlink(b.daemon.conf), 0);
    expect("configtest", 6, b.daemon.conf);
    expect("restart", 6, b.daemon.conf);
    post_and_expect(&b, 200);
    /* The pid file is named in the configuration: it has to be there again. */
    buf_clear(&b.daemon.top);
    daemon_write(&b.daemon);
    expect_stop(&b);
    ck_assert_int_eq(unlink(b.daemon.conf), 0);
    expect("start", 6, b.daemon.conf);
    bench_close(&b);
}
END_TEST

/* What a start finds only when it is under way. */
START_TEST(start_that_fails)
{
    struct http_client other;
    struct bench b;
    int fd;
    unsigned port;

    prepare(&b, &ways[_i]);
    port = b.daemon.port;
    b.daemon.port = util_refusing_port(&fd);
    daemon_write(&b.daemon);
    expect("configtest", 0, NULL);
    expect("start", 1, "in use");
    expect("status", 3, NULL);
    close(fd);
    ck_assert_int_ne(http_try_connect(&other, b.daemon.port), 0);
    b.daemon.port = port;
    daemon_write(&b.daemon);
    expect_start(&b);
    expect_stop(&b);
    bench_close(&b);
}
END_TEST

/* Without the program nothing is done, but what runs can be looked at and stopped. */
START_TEST(not_installed)
{
    static const char *const needing[] = {"start",        "restart",    "try-restart", "reload",
                                          "force-reload", "configtest", "upgrade"};
    struct bench b;

    prepare(&b, &ways[_i]);
    expect_start(&b);
    ck_assert_int_eq(unlink(tree.program), 0);
    for (size_t i = 0; i < sizeof(needing) / sizeof(needing[0]); i++)
        expect(needing[i], 5, "not installed");
    expect("status", 0, NULL);
    post_and_expect(&b, 200);
    expect_stop(&b);
    expect("status", 3, NULL);
    bench_close(&b);
}
END_TEST

/* A master that was killed leaves its pid file; another process may have its pid. */
START_TEST(stale_pid_file)
{
    char text[32];
    struct bench b;

    prepare(&b, &ways[_i]);
    expect_start(&b);
    ck_assert_int_eq(kill(b.daemon.pid, SIGKILL), 0);
    daemon_wait(&b.daemon, DAEMON_STOP_MS);
    ck_assert_int_eq(access(b.daemon.pid_file, F_OK), 0);
    expect("status", 1, b.daemon.pid_file);
    expect("stop", 0, "not running");
    expect("reload", 7, "not running");
    expect_start(&b);
    post_and_expect(&b, 200);
    expect_stop(&b);

    /* Ours is no master's: it must not be killed. */
    snprintf(text, sizeof(text), "%d\n", (int)getpid());
    ck_assert_int_eq(util_write_file(b.daemon.pid_file, text, strlen(text), 0644), 0);
    expect("status", 1, b.daemon.pid_file);
    expect("stop", 0, "not running");
    ck_assert_int_eq(util_write_file(b.daemon.pid_file, "rubbish\n", 8, 0644), 0);
    expect("status", 1, b.daemon.pid_file);
    expect("stop", 0, "not running");
    expect_start(&b);
    expect_stop(&b);
    bench_close(&b);
}
END_TEST

/* ---- stop and upgrade in time */

/* A stop waits for the request in flight. */
START_TEST(stop_waits)
{
    struct fake_answer slow = {.framing = FAKE_CHUNKED, .events = 10, .interval_ms = 80};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;

    prepare(&b, &ways[0]);
    fake_on_any(b.fake, &slow);
    expect_start(&b);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    expect_stop(&b);
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(r.clean);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":9,"));
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* But not longer than STOP_WAIT says. */
START_TEST(stop_breaks_off)
{
    static const char defaults[] = "STOP_WAIT=1\n";
    struct fake_answer endless = {.framing = FAKE_CHUNKED, .events = 100000, .interval_ms = 20};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct run run;
    struct bench b;

    prepare(&b, &ways[0]);
    ck_assert_int_eq(util_write_file(tree.defaults, defaults, strlen(defaults), 0644), 0);
    daemon_text(&b.daemon.limits, "shutdown_timeout = 10m");
    daemon_write(&b.daemon);
    fake_on_any(b.fake, &endless);
    expect_start(&b);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    run_verb(&run, "stop");
    ck_assert_int_eq(run.status, 0);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "broken off"));
    run_fini(&run);
    expect_ended(b.daemon.pid);
    b.daemon.pid = 0;
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(!r.clean);
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* A program in the place of the installed one: a script that does `lines` unless it is asked for -t. */
static void put_program(const char *lines)
{
    struct buf text = {0};

    buf_printf(&text, "#!/bin/sh\ncase \" $* \" in *' -t '*) exit 0 ;; esac\n%s\n", lines);
    ck_assert_int_eq(unlink(tree.program), 0);
    ck_assert_int_eq(util_write_file(tree.program, text.data, text.len, 0755), 0);
    buf_fini(&text);
}

/* An upgrade to a program that fails says why; the old one serves on. */
START_TEST(upgrade_that_fails)
{
    struct bench b;

    prepare(&b, &ways[_i]);
    expect_start(&b);
    put_program("exit 3");
    /* The second refusal is another one, with the same words. */
    for (int i = 0; i < 2; i++) {
        expect("upgrade", 1, "exited with status 3");
        ck_assert_int_eq(tree_pid(&b.daemon), b.daemon.pid);
        expect("status", 0, NULL);
        post_and_expect(&b, 200);
    }
    expect_stop(&b);
    bench_close(&b);
}
END_TEST

/* The environment of the daemon comes from the defaults file. */
START_TEST(defaults_file)
{
    struct buf text = {0};
    struct bench b;

    prepare(&b, &ways[0]);
    daemon_forget_providers(&b.daemon);
    daemon_provider(&b.daemon, b.api->name, fake_url(b.fake), "env:E2E_FILE_KEYS", NULL);
    daemon_write(&b.daemon);
    buf_printf(&text, "# keys\nE2E_FILE_KEYS=%s,%s\n", KEY1, KEY2);
    ck_assert_int_eq(util_write_file(tree.defaults, text.data, text.len, 0600), 0);
    buf_fini(&text);
    expect_start(&b);
    post_and_expect(&b, 200);
    ck_assert_uint_eq(fake_requests_with_key(b.fake, KEY1), 1);
    expect_stop(&b);
    bench_close(&b);
}
END_TEST

/* ---- the installation */

static struct buf found; /* " NAME:MODE" of all files */

static int note(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    if (type == FTW_F || type == FTW_SL)
        buf_printf(&found, " %s:%o ", path + ftw->base, (unsigned)(st->st_mode & 07777));
    return 0;
}

START_TEST(install_and_uninstall)
{
    static const char *const files[] = {
        "clavigerd:755",   "clavigerctl:755",   "claviger.conf:640", "claviger.conf.example:644",
        "claviger:755",    "claviger:644",      "claviger.conf:644", "claviger.service:644",
        "clavigerd.8:644", "clavigerctl.8:644", "claviger.7:644",    "claviger.conf.5:644",
    };
    struct tree own = {0};

    snprintf(own.root, sizeof(own.root), "%s/installation", getenv("E2E_DIR"));
    ck_assert_int_eq(mkdir(own.root, 0755), 0);
    tree_run_make(&own, "install");
    nftw(own.root, note, 16, FTW_PHYS);
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char text[64];

        snprintf(text, sizeof(text), " %s ", files[i]);
        ck_assert_msg(util_contains(found.data, found.len, text), "no%sin:%s", text, found.data);
    }
    buf_clear(&found);
    tree_run_make(&own, "uninstall");
    nftw(own.root, note, 16, FTW_PHYS);
    ck_assert_msg(found.len == 0, "left:%s", found.data);
    util_remove_tree(own.root);
    buf_fini(&found);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("init");
    TCase *tc = suite_case(s, "init", 120);

    find_ways();
    tcase_add_loop_test(tc, verbs, 0, way_count);
    tcase_add_loop_test(tc, bad_configuration, 0, 2);
    tcase_add_loop_test(tc, start_that_fails, 0, 2);
    tcase_add_loop_test(tc, not_installed, 0, 2);
    tcase_add_loop_test(tc, stale_pid_file, 0, 2);
    tcase_add_test(tc, stop_waits);
    tcase_add_test(tc, stop_breaks_off);
    tcase_add_loop_test(tc, upgrade_that_fails, 0, 2);
    tcase_add_test(tc, defaults_file);
    tcase_add_test(tc, install_and_uninstall);
    return suite_run(s);
}
