/*
 * suite: the shared parts of the end-to-end test programs.
 */
#include "e2e/suite.h"

#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_TAIL 6000

const struct suite_api SUITE_APIS[SUITE_API_COUNT] = {
    {
        .name = "anthropic",
        .target = "/anthropic/v1/messages",
        .error_rate_limited = {"rate_limit_error", NULL},
        .error_api = {"api_error", NULL},
        .error_timeout = {"timeout_error", NULL},
    },
    {
        .name = "openai",
        .target = "/openai/v1/chat/completions",
        .error_rate_limited = {"rate_limit_error", "rate_limit_exceeded"},
        .error_api = {"api_error", "server_error"},
        .error_timeout = {"api_error", "timeout"},
    },
};

/* A master in the background outlives the test that failed. */
static void kill_leftover(const char *dir)
{
    static const char title[] = "clavigerd: master";
    char path[512];
    char *text;
    pid_t pid;

    snprintf(path, sizeof(path), "%.400s/pid", dir);
    text = util_read_file(path, NULL);
    pid = text != NULL ? (pid_t)strtol(text, NULL, 10) : 0;
    free(text);
    if (pid <= 0)
        return;
    snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    text = util_read_file(path, NULL);
    if (text != NULL && strncmp(text, title, strlen(title)) == 0)
        kill(pid, SIGKILL);
    free(text);
}

/* The directories that are still there belong to tests that failed. */
static void print_leftovers(const char *base)
{
    DIR *dir = opendir(base);
    const struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char path[512];
        size_t len = 0;
        char *text;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", base, entry->d_name);
        kill_leftover(path);
        snprintf(path, sizeof(path), "%s/%s/log", base, entry->d_name);
        text = util_read_file(path, &len);
        if (text == NULL) {
            snprintf(path, sizeof(path), "%s/%s/log/claviger.log", base, entry->d_name);
            text = util_read_file(path, &len);
        }
        if (text != NULL)
            printf("--- log of a daemon whose test failed (%s)\n%s\n", entry->d_name,
                   text + (len > LOG_TAIL ? len - LOG_TAIL : 0));
        free(text);
    }
    if (dir != NULL)
        closedir(dir);
}

/* A daemon of a test that failed may be dying still and leave a file behind the removal's back. */
static bool is_removed(void *base)
{
    util_remove_tree(base);
    return access(base, F_OK) != 0;
}

int suite_run_with(Suite *suite, bool tls)
{
    char base[] = "/tmp/claviger-e2e.XXXXXX";
    SRunner *runner = srunner_create(suite);
    int failed;

    if (access(daemon_binary(), X_OK) != 0) {
        fprintf(stderr, "%s cannot be run; set CLAVIGERD and CLAVIGERCTL\n", daemon_binary());
        return 1;
    }
    if (mkdtemp(base) == NULL || setenv("E2E_DIR", base, 1) != 0)
        return 1;
    setvbuf(stdout, NULL, _IOLBF, 0);
    daemon_speaks_tls = tls;
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    if (failed > 0)
        print_leftovers(base);
    if (failed == 0 || getenv("E2E_KEEP") == NULL)
        util_wait(is_removed, base, 5000);
    return failed != 0;
}

TCase *suite_case(Suite *suite, const char *name, double timeout_s)
{
    TCase *tc = tcase_create(name);

    tcase_set_timeout(tc, timeout_s);
    suite_add_tcase(suite, tc);
    return tc;
}

void bench_prepare(struct bench *b, const struct suite_api *api, const char *keys, const char *more)
{
    b->api = api;
    b->fake = fake_start(NULL);
    ck_assert_ptr_nonnull(b->fake);
    daemon_init(&b->daemon);
    daemon_provider(&b->daemon, api->name, fake_url(b->fake), keys, more);
}

void bench_open(struct bench *b, const struct suite_api *api, const char *keys, const char *more)
{
    bench_prepare(b, api, keys, more);
    daemon_start(&b->daemon);
}

void bench_close(struct bench *b)
{
    if (b->daemon.pid != 0) {
        ck_assert_msg(!daemon_processes_have(&b->daemon, SUITE_CANARY),
                      "a key is in a process's environment");
        daemon_stop(&b->daemon);
    }
    ck_assert_msg(!daemon_files_have(&b->daemon, SUITE_CANARY), "a key is in a file that the daemon wrote");
    daemon_fini(&b->daemon);
    fake_stop(&b->fake);
}

void bench_post(struct bench *b, const char *headers, struct http_response *response)
{
    struct http_request request = {
        .target = b->api->target,
        .headers = headers,
        .body = "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[]}",
    };

    http_fetch(b->daemon.port, &request, response);
}

void bench_post_expect(struct bench *b, int status)
{
    struct http_response r;

    bench_post(b, NULL, &r);
    ck_assert_msg(r.status == status, "status %d, not %d: %s", r.status, status, http_body(&r));
    http_response_fini(&r);
}

const char *bench_auth(const struct bench *b, const char *key)
{
    static _Thread_local char line[256];

    if (strcmp(b->api->name, "anthropic") == 0)
        snprintf(line, sizeof(line), "X-Api-Key: %s\r\n", key);
    else
        snprintf(line, sizeof(line), "Authorization: Bearer %s\r\n", key);
    return line;
}

static const char *member(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text != NULL ? text : "(none)";
}

void expect_error(const struct http_response *response, const struct suite_api *api, int status,
                  const char *code, const char *const types[2], const char *text)
{
    json_t *root;
    const json_t *error;
    const char *type = http_get(response, "Content-Type");

    ck_assert_msg(response->status == status, "status %d, not %d: %s", response->status, status,
                  http_body(response));
    ck_assert(response->clean);
    ck_assert_ptr_nonnull(http_get(response, "X-Claviger-Error"));
    ck_assert_str_eq(http_get(response, "X-Claviger-Error"), code);
    ck_assert_ptr_nonnull(type);
    ck_assert_str_eq(type, "application/json");
    root = json_loads(http_body(response), 0, NULL);
    ck_assert_msg(root != NULL, "no JSON: %s", http_body(response));
    error = json_object_get(root, "error");
    ck_assert_str_eq(member(error, "type"), types[0]);
    ck_assert_msg(strstr(member(error, "message"), text) != NULL, "\"%s\" is not in: %s", text,
                  http_body(response));
    if (api != NULL && strcmp(api->name, "anthropic") == 0) {
        ck_assert_str_eq(member(root, "type"), "error");
        ck_assert_uint_eq(json_object_size(root), 2);
        ck_assert_uint_eq(json_object_size(error), 2);
    } else {
        ck_assert_str_eq(member(error, "code"), types[1]);
        ck_assert(json_is_null(json_object_get(error, "param")));
        ck_assert_uint_eq(json_object_size(root), 1);
        ck_assert_uint_eq(json_object_size(error), 4);
    }
    json_decref(root);
}

void expect_answer(const struct http_response *response, int status, const char *body)
{
    ck_assert_msg(response->status == status, "status %d, not %d: %s", response->status, status,
                  http_body(response));
    ck_assert_msg(response->clean, "the answer was cut");
    ck_assert_str_eq(http_body(response), body);
    ck_assert_ptr_null(http_get(response, "X-Claviger-Error"));
}

void expect_requests(struct bench *b, unsigned count)
{
    unsigned n = fake_requests(b->fake);

    ck_assert_msg(n == count, "%u upstream requests, not %u", n, count);
}
