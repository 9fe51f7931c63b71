/*
 * test_upgrade: SIGUSR2. A new binary takes over and nobody outside notices.
 */
#include "e2e/load.h"
#include "e2e/upgrading.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* A steady load of new connections over two upgrades loses nothing. */
START_TEST(under_load)
{
    static struct load load;
    struct bench b;

    upgrading_open(&b, 2);
    load_begin(&load, &b);
    load_await(&load, 500, 0);
    for (int i = 0; i < 2; i++) {
        upgrading_put_good();
        upgrading_do(&b);
        load_await(&load, 500, 0);
    }
    load_end(&load, 0);
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

    upgrading_open(&b, 2);
    fake_on_number(b.fake, 1, &slow);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR2), 0);
    old = upgrading_await_master(&b.daemon);
    bench_post_expect(&b, 200);
    http_fetch(b.daemon.admin_port, &ready, &other);
    ck_assert_int_eq(other.status, 200);
    http_response_fini(&other);
    ck_assert_msg(waitpid(old, NULL, WNOHANG) == 0, "the old master does not wait for the stream");
    http_read_body(&client, &r, SIZE_MAX, HTTP_TIMEOUT_MS);
    ck_assert(r.clean);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "\"n\":39,"));
    http_response_fini(&r);
    http_close(&client);
    upgrading_await_end(old);
    bench_post_expect(&b, 200);
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

    upgrading_prepare(&b, "env:E2E_KEYS");
    b.daemon.workers = 2;
    ck_assert_int_eq(setenv("E2E_KEYS", KEY0 "," KEY1 "," KEY2, 1), 0);
    ck_assert_int_eq(setenv("ANTHROPIC_API_KEY", KEY0, 1), 0);
    daemon_start(&b.daemon);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_key(b.fake, KEY1, &refused);
    bench_post_expect(&b, 200);
    before = fake_requests(b.fake);
    ck_assert_uint_eq(before, 3);

    snprintf(file, sizeof(file), "%s/environ", b.daemon.dir);
    snprintf(script, sizeof(script), "{ env; echo \"$0 $*\"; } >'%s'\nexec \"$REAL\" \"$@\"", file);
    for (unsigned i = 1; i <= 2; i++) {
        upgrading_put_script(script);
        upgrading_do(&b);
        seen = util_read_file(file, NULL);
        ck_assert_ptr_nonnull(seen);
        ck_assert_ptr_nonnull(strstr(seen, "CLAVIGER_HANDOVER="));
        ck_assert_ptr_null(strstr(seen, SUITE_CANARY));
        free(seen);
        ck_assert_int_eq(unlink(file), 0);
        for (unsigned n = 0; n < 10; n++)
            bench_post_expect(&b, 200);
        expect_requests(&b, before + 10 * i);
        daemon_expect_states(&b.daemon, b.api->name, "temporary permanent valid");
    }
    upgrading_expect_status(&b.daemon, "\"generation\":3,");
    daemon_reload(&b.daemon);
    upgrading_expect_status(&b.daemon, "\"generation\":4,");
    bench_post_expect(&b, 200);
    expect_requests(&b, before + 21);
    bench_close(&b);
}
END_TEST

/* Whom the kernel names to clients of the control socket; clavigerctl waits for the end of that process. */
static pid_t control_peer(const struct daemon *d)
{
    struct http_client client;
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof(peer);

    http_connect_unix(&client, d->control);
    ck_assert_int_eq(getsockopt(client.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len), 0);
    http_close(&client);
    return peer.pid;
}

/* Pid file, control socket, reload and signals belong to the new master; the binary is the new one. */
START_TEST(afterwards)
{
    char link[64];
    char path[256];
    ssize_t n;
    struct run run;
    struct bench b;

    upgrading_open(&b, 1);
    for (int i = 0; i < 3; i++) {
        upgrading_put_good();
        upgrading_do(&b);
        ck_assert_int_eq(daemon_pid_in_file(&b.daemon), b.daemon.pid);
        ck_assert_int_eq(control_peer(&b.daemon), b.daemon.pid);
        snprintf(link, sizeof(link), "/proc/%d/exe", (int)b.daemon.pid);
        n = readlink(link, path, sizeof(path) - 1);
        /* Inside a sandbox another process's /proc may not tell. */
        ck_assert(n > 0 || errno == EACCES);
        path[n > 0 ? n : 0] = '\0';
        if (n > 0)
            ck_assert_str_eq(path, upgrading_binary());
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "status", NULL);
        ck_assert_int_eq(run.status, 0);
        ck_assert_ptr_nonnull(strstr(run_out(&run), "last upgrade"));
        run_fini(&run);
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "reload", NULL);
        ck_assert_msg(run.status == 0, "%s", run_err(&run));
        run_fini(&run);
        run_program(&run, NULL, upgrading_real_binary(), "-c", b.daemon.conf, NULL);
        ck_assert_int_eq(run.status, 1);
        ck_assert_ptr_nonnull(strstr(run_err(&run), "already running"));
        run_fini(&run);
        bench_post_expect(&b, 200);
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

    upgrading_open(&b, 1);
    before = b.daemon.port;
    daemon_change_port(&b.daemon);
    daemon_write(&b.daemon);
    upgrading_do(&b);
    bench_post_expect(&b, 200);
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

    upgrading_prepare(&b, KEY0);
    daemon_text(&b.daemon.log_options, "target = \"%s\"", b.daemon.log);
    daemon_write(&b.daemon);
    ck_assert_int_eq(chdir(b.daemon.dir), 0);
    run_program(&run, NULL, "./clavigerd", "-d", "-c", "conf", NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    run_fini(&run);
    b.daemon.pid = daemon_pid_in_file(&b.daemon);
    bench_post_expect(&b, 200);
    for (int i = 0; i < 2; i++) {
        upgrading_put_good();
        upgrading_do(&b);
        bench_post_expect(&b, 200);
        daemon_reload(&b.daemon);
        bench_post_expect(&b, 200);
    }
    ck_assert_int_eq(chdir("/"), 0);
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

    upgrading_prepare(&b, KEY0);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", b.daemon.dir);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_int_eq(setenv("NOTIFY_SOCKET", addr.sun_path, 1), 0);
    daemon_start(&b.daemon);
    expect_word(fd, "READY=1");
    daemon_reload(&b.daemon);
    expect_word(fd, "RELOADING=1\nMONOTONIC_USEC=");
    expect_word(fd, "READY=1");
    upgrading_do(&b);
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
    tcase_add_test(tc, the_service_manager_is_told);
    return suite_run(s);
}
