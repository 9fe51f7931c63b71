/*
 * test_canary: keys and tokens from every place that they may come from hold one word, and that word is found
 * nowhere from outside: logs, errors, pages, answers, -T, clavigerctl, the database, /proc, a core.
 */
#include "e2e/suite.h"

#include "base/digest.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* LeakSanitizer needs processes that can be looked into, so such a build does not forbid that. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define TOKEN    "clv_0123456789" SUITE_CANARY "_890123456789012345678901aa"
#define STRANGER "clv_stranger--" SUITE_CANARY "_890123456789012345678901aa"
#define ENV_NAME "E2E_CANARY_KEYS"
#define URL_KEY  "sk-url-" SUITE_CANARY

/* What is secret lies in a directory of its own, which daemon_files_have() does not look into. */
static void write_secret(const struct bench *b, const char *name, const char *text, char *path, size_t size)
{
    snprintf(path, size, "%s/secret", b->daemon.dir);
    mkdir(path, 0700);
    snprintf(path, size, "%s/secret/%s", b->daemon.dir, name);
    ck_assert_int_eq(util_write_file(path, text, strlen(text), 0600), 0);
}

/* Keys from a literal, a file and the environment, a client with a token, and an upstream that is not there,
 * whose base_url has a secret in its query. */
static void prepare(struct bench *b, bool json, int *refusing_fd)
{
    char path[192];
    char keys[256];
    char line[128];
    char url[96];
    char hash[DIGEST_HEX_SIZE];

    bench_prepare(b, &SUITE_APIS[0], NULL, NULL);
    daemon_forget_providers(&b->daemon);
    write_secret(b, "keys", "# the second\n" KEY1 "\n", path, sizeof(path));
    snprintf(keys, sizeof(keys), KEY0 " file:%s env:" ENV_NAME, path);
    setenv(ENV_NAME, KEY2, 1);
    daemon_provider(&b->daemon, "anthropic", fake_url(b->fake), keys, NULL);
    daemon_provider(&b->daemon, "passing", fake_url(b->fake), KEY1,
                    "    type = openai\n    on_401 = pass\n    on_403 = pass");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1?key=" URL_KEY, util_refusing_port(refusing_fd));
    daemon_provider(&b->daemon, "gone", url, KEY1, "    type = openai");
    daemon_provider(&b->daemon, "bad", "https://user:" URL_KEY "@127.0.0.1", KEY1, "    type = openai");
    ck_assert_int_eq(digest_sha256_hex(TOKEN, strlen(TOKEN), hash), 0);
    snprintf(line, sizeof(line), "alice:%s\n", hash);
    write_secret(b, "clients", line, path, sizeof(path));
    daemon_text(&b->daemon.top, "clients = \"%s\"", path);
    daemon_text(&b->daemon.log_options, "level = debug\nformat = %s", json ? "json" : "text");
}

static void expect_clean(const void *data, size_t len, const char *what)
{
    ck_assert_msg(!util_contains(data, len, SUITE_CANARY), "a key is in %s:\n%.*s", what, (int)len,
                  (const char *)data);
}

static void ask_for(struct bench *b, const char *target, const char *headers, int status, bool clean_body)
{
    struct http_request request = {.target = target, .headers = headers, .body = "{}"};
    struct http_response r;

    http_fetch(b->daemon.port, &request, &r);
    ck_assert_msg(r.status == status, "%s: %d, not %d: %s", target, r.status, status, http_body(&r));
    expect_clean(r.head.raw, r.head.raw_len, "the head of an answer");
    if (clean_body)
        expect_clean(r.body.data, r.body.len, "the body of an answer");
    expect_clean(r.interim.data, r.interim.len, "an answer before the answer");
    http_response_fini(&r);
}

static void ask(struct bench *b, const char *target, const char *headers, int status)
{
    ask_for(b, target, headers, status, true);
}

#define TOKEN_LINE "X-Claviger-Token: " TOKEN "\r\n"

/* Every way on which a key or token could come to light. */
static void make_trouble(struct bench *b)
{
    static const struct fake_answer limited = {.status = 429, .body = "slow down, " KEY0};
    static const struct fake_answer refused = {.status = 401, .body = "who is " KEY1};
    static const struct fake_answer gone = {.action = FAKE_CLOSE};
    static const struct fake_answer malformed = {.action = FAKE_RAW,
                                                 .body = "HTTP/1.1 200 OK\r\nX " KEY2 ": 1\r\n\r\n"};
    static const struct fake_answer no_http = {.action = FAKE_RAW, .body = KEY2 "\r\n\r\n"};

    fake_on_key(b->fake, KEY0, &limited);
    fake_on_key(b->fake, KEY1, &refused);
    fake_rule(b->fake, FAKE_KEY, KEY2, 0, &gone, 1);
    fake_rule(b->fake, FAKE_KEY, KEY2, 0, &malformed, 1);
    fake_rule(b->fake, FAKE_KEY, KEY2, 0, &no_http, 1);
    ask(b, "/anthropic/v1/messages", TOKEN_LINE, 502); /* walks over all three */
    ask(b, "/anthropic/v1/messages", TOKEN_LINE, 502);
    ask(b, "/anthropic/v1/messages", TOKEN_LINE, 502);
    ask(b, "/anthropic/v1/messages?key=" OWN_KEY, TOKEN_LINE, 200);
    ask(b, "/anthropic/v1/messages", "X-Api-Key: " OWN_KEY "\r\n", 200);
    ask(b, "/anthropic/v1/messages", "X-Api-Key: " STRANGER "\r\n", 401);
    ask(b, "/anthropic/v1/messages", "Authorization: Bearer " STRANGER "\r\n", 401);
    ask(b, "/anthropic/v1/messages", "Content-Length: 2\r\n" TOKEN_LINE, 400);
    ask(b, "/gone/v1/models", TOKEN_LINE, 502);
    ask(b, "/gone/v1/models", "Authorization: Bearer " OWN_KEY "\r\n", 502);
    ask(b, "/bad/v1/models", "Authorization: Bearer " OWN_KEY "\r\n", 502);
    ask(b, "/nowhere?key=" OWN_KEY, TOKEN_LINE, 404);
    ask(b, "/passing/v1/models", TOKEN_LINE, 401); /* the provider's own answer */
    daemon_expect_states(&b->daemon, "anthropic", "temporary permanent valid");
}

static bool is_counted(void *arg)
{
    struct bench *b = arg;
    char rows[8];

    daemon_sql(&b->daemon, "SELECT count(*) FROM usage", rows, sizeof(rows));
    return strcmp(rows, "2") == 0;
}

/* Token counts of a key of the pool and of the client's own, in the database. */
static void make_usage(struct bench *b)
{
    static const struct fake_answer usage = {
        .headers = "Content-Type: application/json\r\n",
        .body = "{\"model\":\"m\",\"usage\":{\"input_tokens\":10,\"output_tokens\":20}}"};
    /* A name as no provider should give. */
    static const struct fake_answer echo = {.headers = "Content-Type: application/json\r\n",
                                            .body =
                                                "{\"model\":\"m " KEY2
                                                "\",\"usage\":{\"input_tokens\":10,\"output_tokens\":20}}"};

    fake_on_key(b->fake, KEY2, &echo);
    fake_on_key(b->fake, OWN_KEY, &usage);
    ask_for(b, "/anthropic/v1/messages", TOKEN_LINE, 200, false); /* a good answer passes as it is */
    ask(b, "/anthropic/v1/messages", "X-Api-Key: " OWN_KEY "\r\n", 200);
    ck_assert(util_wait(is_counted, b, 10000));
}

static void check_pages(struct bench *b)
{
    static const char *const pages[] = {"/keys", "/readyz", "/healthz", "/metrics", "/", "/nothing"};

    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        struct http_request request = {.method = "GET", .target = pages[i]};
        struct http_response r;

        http_fetch(b->daemon.admin_port, &request, &r);
        ck_assert_int_ne(r.status, 0);
        expect_clean(r.body.data, r.body.len, pages[i]);
        expect_clean(r.head.raw, r.head.raw_len, pages[i]);
        http_response_fini(&r);
    }
}

static void check_run(struct run *run, int status, const char *what)
{
    ck_assert_msg(run->status == status, "%s: status %d\n%s", what, run->status, run_err(run));
    expect_clean(run->out.data, run->out.len, what);
    expect_clean(run->err.data, run->err.len, what);
    run_fini(run);
}

static void check_programs(struct bench *b)
{
    static const struct {
        const char *argument;
        const char *second;
        int status;
    } calls[] = {{"status", NULL, 0},          {"keys", NULL, 0},           {"--json", "status", 0},
                 {"--json", "keys", 0},        {"usage", "--by=client", 0}, {"usage", "--by=key", 0},
                 {"keys", SUITE_CANARY "x", 1}};
    struct run run;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]) - 1; i++) {
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, calls[i].argument, calls[i].second,
                    NULL);
        check_run(&run, calls[i].status, calls[i].argument);
    }
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, "disable", "anthropic", KEY2, NULL);
    run_fini(&run); /* it may repeat what the operator typed */
    run_program(&run, NULL, daemon_binary(), "-c", b->daemon.conf, "-T", NULL);
    check_run(&run, 0, "clavigerd -T");
    run_program(&run, NULL, daemon_binary(), "-c", b->daemon.conf, "-t", NULL);
    check_run(&run, 0, "clavigerd -t");
}

static void check_proc(pid_t pid)
{
    static const char *const files[] = {"cmdline", "environ", "comm", "status", "maps"};

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[64];
        size_t len = 0;
        char *text;

        snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, files[i]);
        text = util_read_file(path, &len);
        ck_assert_msg(text != NULL || i > 0, "%s cannot be read", path);
        expect_clean(text, len, path);
        free(text);
    }
}

static void check_processes(struct bench *b)
{
    pid_t pids[4];
    size_t n = daemon_children(&b->daemon, "worker", pids, 2);

    ck_assert_uint_eq(n, 1);
    n += daemon_children(&b->daemon, "admin", pids + n, 2);
    ck_assert_uint_eq(n, 2);
    pids[n++] = b->daemon.pid;
    for (size_t i = 0; i < n; i++)
        check_proc(pids[i]);
}

/* A reload is refused because of a key; neither log nor clavigerctl show it. */
static void check_refused_reload(struct bench *b)
{
    struct run run;
    char path[192];

    write_secret(b, "keys", KEY1 "\n" KEY0 "\n", path, sizeof(path)); /* the same as the literal */
    write_secret(b, "clients", "alice:" TOKEN "\n", path, sizeof(path));
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, "reload", NULL);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "line 2"));
    ck_assert_ptr_nonnull(strstr(run_err(&run), "clients:1: client alice: "));
    check_run(&run, 1, "a refused reload");
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, "status", NULL);
    check_run(&run, 0, "status after a refused reload");
    run_program(&run, NULL, daemon_binary(), "-c", b->daemon.conf, "-t", NULL);
    check_run(&run, 1, "clavigerd -t of what is refused");
}

START_TEST(no_key_is_seen_anywhere)
{
    struct bench b;
    int fd = -1;

    prepare(&b, _i == 1, &fd);
    daemon_start(&b.daemon);
    make_trouble(&b);
    make_usage(&b);
    check_pages(&b);
    check_programs(&b);
    check_processes(&b);
    check_refused_reload(&b);
    ck_assert(!daemon_files_have(&b.daemon, SUITE_CANARY)); /* while the WAL is there */
    ck_assert(daemon_log_has(&b.daemon, HINT0));            /* it does log */
    ck_assert(daemon_log_has(&b.daemon, "alice"));
    close(fd);
    bench_close(&b);
}
END_TEST

static bool is_zombie(void *arg)
{
    const pid_t *pid = arg;
    char path[64];
    char *text;
    const char *state;
    bool zombie;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)*pid);
    text = util_read_file(path, NULL);
    state = text != NULL ? strrchr(text, ')') : NULL;
    zombie = state != NULL && state[1] == ' ' && state[2] == 'Z';
    free(text);
    return zombie;
}

static bool is_reaped(void *arg)
{
    (void)arg;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
    return waitpid(-1, NULL, WNOHANG) < 0;
}

/* The kernel's word for RLIMIT_CORE of a process. */
static void expect_no_core_limit(pid_t pid)
{
    char path[64];
    char *text;
    const char *line;
    char soft[32] = "";
    char hard[32] = "";

    snprintf(path, sizeof(path), "/proc/%ld/limits", (long)pid);
    text = util_read_file(path, NULL);
    line = text != NULL ? strstr(text, "Max core file size") : NULL;
    ck_assert_msg(line != NULL && sscanf(line, "Max core file size %31s %31s", soft, hard) == 2, "%s", path);
    ck_assert_str_eq(soft, "0");
    ck_assert_str_eq(hard, "0");
    free(text);
}

/* Workers block every signal that they do not wait for; a fault is not blocked, but there is no way to make
 * one from outside. So the mask is emptied for them. false: the kernel refuses that to us, as it does for a
 * process that may not be looked into unless we are root. */
static bool abort_worker(pid_t worker)
{
    unsigned long mask = 0;
    int status;

    if (ptrace(PTRACE_SEIZE, worker, NULL, NULL) < 0) {
        ck_assert_int_eq(errno, EPERM);
        return false;
    }
    ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, worker, NULL, NULL), 0);
    ck_assert_int_eq(waitpid(worker, &status, __WALL), worker);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(ptrace(PTRACE_SETSIGMASK, worker, (void *)sizeof(mask), &mask), 0);
    ck_assert_int_eq(kill(worker, SIGABRT), 0);
    ck_assert_int_eq(ptrace(PTRACE_DETACH, worker, NULL, NULL), 0);
    return true;
}

/* Cores are allowed from outside, before the start and after it, and yet a worker that aborts leaves none.
 * The master is stopped meanwhile and killed then, so that we get the worker's wait status. */
START_TEST(no_core)
{
    const struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY};
    struct rlimit most;
    struct bench b;
    pid_t pids[2];
    int status = 0;
    int fd = -1;

    ck_assert_int_eq(getrlimit(RLIMIT_CORE, &most), 0);
    most.rlim_cur = most.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_CORE, &most), 0);
    prepare(&b, false, &fd);
    daemon_start(&b.daemon);
    ask(&b, "/anthropic/v1/messages", TOKEN_LINE, 200);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", &pids[0], 1), 1);
    ck_assert_uint_eq(daemon_children(&b.daemon, "admin", &pids[1], 1), 1);
    expect_no_core_limit(b.daemon.pid);
    expect_no_core_limit(pids[0]);
    expect_no_core_limit(pids[1]);
    if (!SANITIZED)
        (void)prlimit(pids[0], RLIMIT_CORE, &all, NULL); /* only with CAP_SYS_RESOURCE */
    ck_assert_int_eq(kill(b.daemon.pid, SIGSTOP), 0);
    if (abort_worker(pids[0])) {
        ck_assert(util_wait(is_zombie, &pids[0], 5000));
        ck_assert_int_eq(kill(b.daemon.pid, SIGKILL), 0);
        ck_assert_int_eq(waitpid(b.daemon.pid, NULL, 0), b.daemon.pid);
        b.daemon.pid = 0;
        ck_assert_int_eq(waitpid(pids[0], &status, 0), pids[0]);
        ck_assert_msg(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "wait status %d", status);
        ck_assert_msg(!WCOREDUMP(status), "the worker left a core with the keys in it");
        ck_assert(util_wait(is_reaped, NULL, DAEMON_STOP_MS)); /* the admin process ends by itself */
    } else {
        ck_assert_int_eq(kill(b.daemon.pid, SIGCONT), 0);
    }
    close(fd);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("canary");
    TCase *tc = suite_case(s, "canary", 60);

    tcase_add_loop_test(tc, no_key_is_seen_anywhere, 0, 2);
    tcase_add_test(tc, no_core);
    return suite_run(s);
}
