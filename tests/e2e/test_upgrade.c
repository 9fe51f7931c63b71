/*
 * test_upgrade: SIGUSR2. A new binary takes over and nobody outside notices; one that cannot leaves all as it
 * was.
 */
#include "e2e/suite.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define TAKE_OVER_MS 20000

static char real_binary[PATH_MAX]; /* what was built */
static char binary[128];           /* what the daemon is started as, in its own directory */

/* ---- helpers */

/* Puts a file where the binary is, in one step. */
static void put_binary(const void *data, size_t len, mode_t mode)
{
    char temporary[160];

    snprintf(temporary, sizeof(temporary), "%s.new", binary);
    ck_assert_int_eq(util_write_file(temporary, data, len, mode), 0);
    ck_assert_int_eq(rename(temporary, binary), 0);
}

static void put_good_binary(void)
{
    size_t len = 0;
    char *data = util_read_file(real_binary, &len);

    ck_assert_ptr_nonnull(data);
    put_binary(data, len, 0755);
    free(data);
}

/* A script that does something before it becomes the daemon; $REAL is that. */
static void put_script(const char *lines)
{
    struct buf text = {0};

    buf_printf(&text, "#!/bin/sh\nREAL='%s'\n%s\n", real_binary, lines);
    put_binary(text.data, text.len, 0755);
    buf_fini(&text);
}

static void prepare(struct bench *b, const char *keys)
{
    const char *path = realpath(daemon_binary(), real_binary);

    ck_assert_ptr_nonnull(path);
    bench_prepare(b, &SUITE_APIS[0], keys, NULL);
    snprintf(binary, sizeof(binary), "%s/clavigerd", b->daemon.dir);
    put_good_binary();
    ck_assert_int_eq(setenv("CLAVIGERD", binary, 1), 0);
}

static void open_bench(struct bench *b, unsigned workers)
{
    prepare(b, KEY0 " " KEY1 " " KEY2);
    b->daemon.workers = workers;
    daemon_start(&b->daemon);
}

static void post_and_expect(struct bench *b, int status)
{
    struct http_response r;

    bench_post(b, NULL, &r);
    ck_assert_msg(r.status == status, "status %d, not %d: %s", r.status, status, http_body(&r));
    http_response_fini(&r);
}

static pid_t pid_in_file(const struct daemon *d)
{
    char *text = util_read_file(d->pid_file, NULL);
    pid_t pid = text != NULL ? (pid_t)strtol(text, NULL, 10) : 0;

    free(text);
    return pid;
}

/* What the master says on the control socket, "" when nobody answers. */
static void ask_status(const struct daemon *d, struct buf *answer)
{
    struct http_client client;

    http_connect_unix(&client, d->control);
    http_print(&client, "status\n");
    http_wait_end(&client, HTTP_TIMEOUT_MS);
    buf_clear(answer);
    buf_append(answer, client.in.data, client.in.len);
    http_close(&client);
}

static void expect_status(const struct daemon *d, const char *text)
{
    struct buf answer = {0};

    ask_status(d, &answer);
    ck_assert_msg(answer.len > 0 && strstr(answer.data, text) != NULL, "no %s in: %s", text, answer.data);
    buf_fini(&answer);
}

/* Whether another master than d->pid has the pid file and the control socket. */
static bool has_new_master(void *arg)
{
    const struct daemon *d = arg;
    char wanted[64];
    struct buf answer = {0};
    pid_t pid = pid_in_file(d);
    bool has;

    if (pid <= 0 || pid == d->pid)
        return false;
    ask_status(d, &answer);
    snprintf(wanted, sizeof(wanted), "\"pid\":%d,", (int)pid);
    has = answer.len > 0 && strstr(answer.data, wanted) != NULL &&
          strstr(answer.data, "\"phase\":\"serving\"") != NULL;
    buf_fini(&answer);
    return has;
}

/* Waits for the new master and makes it the daemon's; the pid of the old one. */
static pid_t await_new_master(struct daemon *d)
{
    pid_t old = d->pid;

    if (!util_wait(has_new_master, d, TAKE_OVER_MS))
        ck_abort_msg("no new master within %d ms", TAKE_OVER_MS);
    d->pid = pid_in_file(d);
    return old;
}

struct end {
    pid_t pid;
    int status;
};

static bool is_over(void *arg)
{
    struct end *end = arg;

    return waitpid(end->pid, &end->status, WNOHANG) == end->pid;
}

/* The old master ends by itself, with status 0, and leaves no child. */
static void await_end(pid_t old)
{
    struct end end = {.pid = old};

    if (!util_wait(is_over, &end, TAKE_OVER_MS))
        ck_abort_msg("the old master has not ended within %d ms", TAKE_OVER_MS);
    ck_assert_msg(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0, "wait status %d", end.status);
}

static void upgrade(struct bench *b)
{
    ck_assert_int_eq(kill(b->daemon.pid, SIGUSR2), 0);
    await_end(await_new_master(&b->daemon));
}

/* ---- what has to go on */

#define LOADERS 6

struct load {
    const struct bench *bench;
    atomic_uint done;
    atomic_uint failed;
    atomic_bool stop;
};

/* One request after the other, each on a new connection. */
static void *load_main(void *arg)
{
    struct load *load = arg;
    const struct http_request request = {.target = SUITE_APIS[0].target, .body = "{\"steady\":\"load\"}"};

    while (!atomic_load(&load->stop)) {
        struct http_response r = {0};
        struct http_client client;
        bool ok = false;

        if (http_try_connect(&client, load->bench->daemon.port) == 0) {
            http_write_request(&client, &request);
            http_read(&client, &r);
            ok = r.clean && r.status == 200;
            http_response_fini(&r);
            http_close(&client);
        }
        atomic_fetch_add(ok ? &load->done : &load->failed, 1);
    }
    return NULL;
}

struct load_wait {
    struct load *load;
    unsigned count;
};

static bool has_done(void *arg)
{
    const struct load_wait *w = arg;

    return atomic_load(&w->load->done) >= w->count || atomic_load(&w->load->failed) > 0;
}

static void await_load(struct load *load, unsigned more)
{
    struct load_wait w = {.load = load, .count = atomic_load(&load->done) + more};

    ck_assert_msg(util_wait(has_done, &w, 60000), "the load does not come through");
    ck_assert_msg(atomic_load(&load->failed) == 0, "%u of %u requests were lost", atomic_load(&load->failed),
                  atomic_load(&load->done));
}

/* A steady load of new connections over two upgrades loses nothing. */
START_TEST(under_load)
{
    struct bench b;
    struct load load = {.bench = &b};
    pthread_t threads[LOADERS];

    open_bench(&b, 2);
    for (size_t i = 0; i < LOADERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, load_main, &load), 0);
    await_load(&load, 500);
    for (int i = 0; i < 2; i++) {
        put_good_binary();
        upgrade(&b);
        await_load(&load, 500);
    }
    atomic_store(&load.stop, true);
    for (size_t i = 0; i < LOADERS; i++)
        pthread_join(threads[i], NULL);
    await_load(&load, 0);
    ck_assert_uint_ge(atomic_load(&load.done), 1500);
    printf("upgrade under load: %u requests, %u lost\n", atomic_load(&load.done), atomic_load(&load.failed));
    bench_close(&b);
}
END_TEST

/* A stream goes on to its end on the old worker, while new requests go to the new ones. */
START_TEST(a_long_stream_lives)
{
    struct fake_answer slow = {.framing = FAKE_CHUNKED, .events = 40, .interval_ms = 50};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_request ready = {.method = "GET", .target = "/readyz"};
    struct http_client client;
    struct http_response r;
    struct http_response other;
    struct bench b;
    pid_t old;

    open_bench(&b, 2);
    fake_on_number(b.fake, 1, &slow);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    old = await_new_master(&b.daemon);
    post_and_expect(&b, 200);
    http_fetch(b.daemon.admin_port, &ready, &other);
    ck_assert_int_eq(other.status, 200);
    http_response_fini(&other);
    ck_assert_msg(waitpid(old, NULL, WNOHANG) == 0, "the old master does not wait for the stream");
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(r.clean);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":39,"));
    http_response_fini(&r);
    http_close(&client);
    await_end(old);
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* Marks, configuration generation and keys from the environment; these are in no environment of a new
 * process. */
START_TEST(what_survives)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const struct fake_answer refused = {.status = 401};
    char file[160];
    char script[512];
    struct bench b;
    char *seen;
    unsigned before;

    prepare(&b, "env:E2E_KEYS");
    b.daemon.workers = 2;
    ck_assert_int_eq(setenv("E2E_KEYS", KEY0 "," KEY1 "," KEY2, 1), 0);
    ck_assert_int_eq(setenv("ANTHROPIC_API_KEY", KEY0, 1), 0);
    daemon_start(&b.daemon);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_key(b.fake, KEY1, &refused);
    post_and_expect(&b, 200);
    before = fake_requests(b.fake);
    ck_assert_uint_eq(before, 3);

    snprintf(file, sizeof(file), "%s/environ", b.daemon.dir);
    snprintf(script, sizeof(script), "{ env; echo \"$0 $*\"; } >'%s'\nexec \"$REAL\" \"$@\"", file);
    for (unsigned i = 1; i <= 2; i++) {
        put_script(script);
        upgrade(&b);
        seen = util_read_file(file, NULL);
        ck_assert_ptr_nonnull(seen);
        ck_assert_ptr_nonnull(strstr(seen, "CLAVIGER_HANDOVER="));
        ck_assert_ptr_null(strstr(seen, SUITE_CANARY));
        free(seen);
        ck_assert_int_eq(unlink(file), 0);
        for (unsigned n = 0; n < 10; n++)
            post_and_expect(&b, 200);
        expect_requests(&b, before + 10 * i);
        daemon_expect_states(&b.daemon, b.api->name, "temporary permanent valid");
    }
    expect_status(&b.daemon, "\"generation\":3,");
    daemon_reload(&b.daemon);
    expect_status(&b.daemon, "\"generation\":4,");
    post_and_expect(&b, 200);
    expect_requests(&b, before + 21);
    bench_close(&b);
}
END_TEST

/* Pid file, control socket, reload and signals belong to the new master; the binary is the new one. */
START_TEST(afterwards)
{
    char link[64];
    char path[256];
    ssize_t n;
    struct run run;
    struct bench b;

    open_bench(&b, 1);
    for (int i = 0; i < 3; i++) {
        put_good_binary();
        upgrade(&b);
        ck_assert_int_eq(pid_in_file(&b.daemon), b.daemon.pid);
        snprintf(link, sizeof(link), "/proc/%d/exe", (int)b.daemon.pid);
        n = readlink(link, path, sizeof(path) - 1);
        ck_assert_int_gt(n, 0);
        path[n] = '\0';
        ck_assert_str_eq(path, binary);
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
        ck_assert_int_eq(run.status, 0);
        ck_assert_ptr_nonnull(strstr(run_out(&run), "last upgrade"));
        run_fini(&run);
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "reload", NULL);
        ck_assert_msg(run.status == 0, "%s", run_err(&run));
        run_fini(&run);
        run_program(&run, NULL, real_binary, "-c", b.daemon.conf, NULL);
        ck_assert_int_eq(run.status, 1);
        ck_assert_ptr_nonnull(strstr(run_err(&run), "already running"));
        run_fini(&run);
        post_and_expect(&b, 200);
        daemon_reload(&b.daemon);
    }
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "stop", NULL);
    ck_assert_int_eq(run.status, 0);
    run_fini(&run);
    ck_assert_int_eq(daemon_wait(&b.daemon, DAEMON_STOP_MS), 0);
    ck_assert_int_ne(access(b.daemon.pid_file, F_OK), 0);
    ck_assert_int_ne(access(b.daemon.control, F_OK), 0);
    ck_assert_int_ne(access(b.daemon.unix_path, F_OK), 0);
    bench_close(&b);
}
END_TEST

/* An address that the configuration no longer names ends with the upgrade, a new one begins. */
START_TEST(other_addresses)
{
    struct http_client client;
    struct bench b;
    unsigned before;

    open_bench(&b, 1);
    before = b.daemon.port;
    daemon_change_port(&b.daemon);
    daemon_write(&b.daemon);
    upgrade(&b);
    post_and_expect(&b, 200);
    b.daemon.port = before;
    ck_assert_int_ne(http_try_connect(&client, before), 0);
    bench_close(&b);
}
END_TEST

/* In the background, with a configuration that was named by a relative path. */
START_TEST(in_the_background)
{
    struct run run;
    struct bench b;

    prepare(&b, KEY0);
    daemon_text(&b.daemon.log_options, "target = \"%s\"", b.daemon.log);
    daemon_write(&b.daemon);
    ck_assert_int_eq(chdir(b.daemon.dir), 0);
    run_program(&run, NULL, "./clavigerd", "-d", "-c", "conf", NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    run_fini(&run);
    b.daemon.pid = pid_in_file(&b.daemon);
    post_and_expect(&b, 200);
    for (int i = 0; i < 2; i++) {
        put_good_binary();
        upgrade(&b);
        post_and_expect(&b, 200);
        daemon_reload(&b.daemon);
        post_and_expect(&b, 200);
    }
    ck_assert_int_eq(chdir("/"), 0);
    bench_close(&b);
}
END_TEST

/* ---- what goes wrong */

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
    {"a port that is taken", "exec \"$REAL\" \"$@\"", "cannot listen on"},
};

static void break_it(struct bench *b, int i)
{
    if (failures[i].script != NULL)
        put_script(failures[i].script);
    else if (strcmp(failures[i].kind, "missing") == 0)
        ck_assert_int_eq(unlink(binary), 0);
    else
        ck_assert_int_eq(chmod(binary, 0644), 0);
    if (strcmp(failures[i].kind, "configuration") == 0)
        daemon_text(&b->daemon.top, "no_such_option = 1");
    if (strcmp(failures[i].kind, "another pid file") == 0)
        snprintf(b->daemon.pid_file, sizeof(b->daemon.pid_file), "%s/other", b->daemon.dir);
    if (strcmp(failures[i].kind, "a port that is taken") == 0)
        b->daemon.admin_port = fake_port(b->fake);
    daemon_write(&b->daemon);
}

/* The old master serves on with the same processes, and says why in log and status; mended, it works. */
START_TEST(a_new_binary_that_fails)
{
    struct daemon kept;
    pid_t workers[2];
    pid_t now[2];
    struct run run;
    struct bench b;
    char line[256];

    open_bench(&b, 1);
    kept = b.daemon;
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", workers, 2), 1);
    break_it(&b, _i);
    memcpy(b.daemon.pid_file, kept.pid_file, sizeof(kept.pid_file));
    b.daemon.admin_port = kept.admin_port;
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert_msg(daemon_wait_log(&b.daemon, "upgrade failed", TAKE_OVER_MS), "%s", failures[_i].kind);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
    expect_status(&b.daemon, "\"last_upgrade\":{\"time\":");
    expect_status(&b.daemon, failures[_i].reason);
    ck_assert(daemon_log_has(&b.daemon, failures[_i].reason));
    snprintf(line, sizeof(line), "\"pid\":%d,", (int)b.daemon.pid);
    expect_status(&b.daemon, line);
    ck_assert_int_eq(pid_in_file(&b.daemon), b.daemon.pid);
    post_and_expect(&b, 200);
    ck_assert(daemon_wait_workers(&b.daemon, 1, 0, 5000));
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", now, 2), 1);
    ck_assert_int_eq(now[0], workers[0]);
    run_fini(&run);

    buf_clear(&b.daemon.top);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    put_good_binary();
    if (strcmp(failures[_i].kind, "never gets ready") != 0)
        upgrade(&b);
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* A second signal while one upgrade is under way, a reload too: one is ignored, the other done afterwards. */
START_TEST(one_at_a_time)
{
    struct bench b;
    pid_t old;

    open_bench(&b, 1);
    put_script("sleep 1; exec \"$REAL\" \"$@\"");
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert(daemon_wait_log(&b.daemon, "upgrading: ", 5000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    ck_assert(daemon_wait_log(&b.daemon, "SIGUSR2 is ignored: an upgrade is under way", 5000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
    old = await_new_master(&b.daemon);
    await_end(old);
    ck_assert(daemon_wait_log(&b.daemon, "reloaded: generation 3 serves", 5000));
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* TERM to the old master during the upgrade ends both, whether the new program understands or not. */
START_TEST(term_during_an_upgrade)
{
    static const char *const scripts[] = {"exec sleep 60", "sleep 1; exec \"$REAL\" \"$@\"",
                                          "trap '' TERM; exec sleep 60"};
    struct bench b;

    open_bench(&b, 1);
    put_script(scripts[_i]);
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

    prepare(&b, KEY0);
    daemon_text(&b.daemon.limits, "shutdown_timeout = 60s");
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &endless);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    old = await_new_master(&b.daemon);
    /* The stream goes on though the old master is told to stop once more. */
    ck_assert_int_eq(kill(old, SIGTERM), 0);
    http_read_body(&client, &r, r.body.len + 2000, HTTP_TIMEOUT_MS);
    ck_assert(!r.closed);
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    ck_assert(daemon_wait_log(&b.daemon, "stopping: ", 5000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    await_end(old);
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
    struct end ends[4]; /* the old master, its workers and its admin process */
    pid_t pids[3];
    size_t count;
    char script[256];
    char mark[160];
    struct bench b;

    /* The old processes are killed wherever they are. In the middle of a sanitizer's look for leaks they
     * would leave its helper process behind, which the end of the test would take for one of the daemon's. */
    ck_assert_int_eq(setenv("LSAN_OPTIONS", "detect_leaks=0", 1), 0);
    open_bench(&b, 2);
    count = daemon_children(&b.daemon, "worker", pids, 2);
    count += daemon_children(&b.daemon, "admin", pids + count, 1);
    ck_assert_uint_eq(count, 3);
    for (size_t i = 0; i < 4; i++)
        ends[i].pid = i < 3 ? pids[i] : b.daemon.pid;
    snprintf(mark, sizeof(mark), "%s/mark", b.daemon.dir);
    snprintf(script, sizeof(script),
             "M='%s'\n: >\"$M\"\nwhile test -e \"$M\"; do sleep 0.05; done\nexec \"$REAL\" \"$@\"", mark);
    put_script(script);
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    for (int64_t limit = util_now_us() + 5000000; access(mark, F_OK) != 0;)
        ck_assert_int_lt(util_now_us(), limit);
    ck_assert_int_eq(kill(b.daemon.pid, SIGKILL), 0);
    for (int i = 3; i >= 0; i--)
        ck_assert_msg(util_wait(is_over, &ends[i], 5000), "pid %d lives on", (int)ends[i].pid);
    ck_assert_int_eq(unlink(mark), 0);
    ck_assert(daemon_wait_log(&b.daemon, "has taken over", TAKE_OVER_MS));
    b.daemon.pid = pid_in_file(&b.daemon);
    ck_assert_int_ne(b.daemon.pid, ends[3].pid);
    ck_assert(daemon_wait_workers(&b.daemon, 2, 0, 5000));
    post_and_expect(&b, 200);
    put_good_binary();
    upgrade(&b);
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* ---- the service manager */

static void expect_word(int fd, const char *word)
{
    char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_msg(strncmp(text, word, strlen(word)) == 0, "\"%s\" does not begin with %s", text, word);
}

/* The old master names the new one, which then speaks for itself. */
START_TEST(the_service_manager_is_told)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 10};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char word[64];
    struct bench b;

    prepare(&b, KEY0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", b.daemon.dir);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", addr.sun_path, 1), 0);
    daemon_start(&b.daemon);
    expect_word(fd, "READY=1");
    daemon_reload(&b.daemon);
    expect_word(fd, "RELOADING=1\nMONOTONIC_USEC=");
    expect_word(fd, "READY=1");
    upgrade(&b);
    snprintf(word, sizeof(word), "MAINPID=%d", (int)b.daemon.pid);
    expect_word(fd, word);
    expect_word(fd, word);
    expect_word(fd, "READY=1");
    daemon_stop(&b.daemon);
    expect_word(fd, "STOPPING=1");
    close(fd);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("upgrade");
    TCase *tc = suite_case(s, "upgrade", 120);

    tcase_add_test(tc, under_load);
    tcase_add_test(tc, a_long_stream_lives);
    tcase_add_test(tc, what_survives);
    tcase_add_test(tc, afterwards);
    tcase_add_test(tc, other_addresses);
    tcase_add_test(tc, in_the_background);
    tcase_add_loop_test(tc, a_new_binary_that_fails, 0, (int)(sizeof(failures) / sizeof(failures[0])));
    tcase_add_test(tc, one_at_a_time);
    tcase_add_loop_test(tc, term_during_an_upgrade, 0, 3);
    tcase_add_test(tc, stop_while_the_old_one_drains);
    tcase_add_test(tc, the_old_master_dies);
    tcase_add_test(tc, the_service_manager_is_told);
    return suite_run(s);
}
