/*
 * test_admin: what is seen from outside: health, readiness, key states, the request log; and that no key is.
 */
#include "e2e/suite.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LOG_US 100000

static void admin_get(struct bench *b, const char *target, struct http_response *r)
{
    struct http_request request = {.method = "GET", .target = target};

    http_fetch(b->daemon.admin_port, &request, r);
}

START_TEST(health_and_readiness)
{
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 3;
    daemon_start(&b.daemon);
    ck_assert(daemon_wait_workers(&b.daemon, 3, 0, 5000));
    admin_get(&b, "/healthz", &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    admin_get(&b, "/readyz", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "of 3"));
    http_response_fini(&r);
    admin_get(&b, "/nothing", &r);
    ck_assert_int_eq(r.status, 404);
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* While a stop has begun and requests finish, /readyz says 503. */
static bool says_503(void *arg)
{
    struct bench *b = arg;
    struct http_client client;
    struct http_response r = {0};
    bool ok = false;

    if (http_try_connect(&client, b->daemon.admin_port) != 0)
        return false;
    http_print(&client, "GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    if (http_read_head(&client, &r, 1000))
        ok = r.status == 503;
    http_response_fini(&r);
    http_close(&client);
    return ok;
}

START_TEST(not_ready_while_stopping)
{
    struct fake_answer slow = {.delay_ms = 3000, .body = "late"};
    struct http_request request = {.target = SUITE_APIS[0].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    fake_on_any(b.fake, &slow);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(fake_wait_requests(b.fake, 1, 10000));
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    ck_assert(util_wait(says_503, &b, 2500));
    http_read(&client, &r);
    expect_answer(&r, 200, "late");
    http_response_fini(&r);
    http_close(&client);
    ck_assert_int_eq(daemon_wait(&b.daemon, 10000), 0);
    bench_close(&b);
}
END_TEST

/* A stop waits for a request on its way in, and for no connection on which nothing is asked. */
START_TEST(idle_while_stopping)
{
    struct http_client idle;
    struct http_client fresh;
    struct http_client half;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&fresh, b.daemon.admin_port);
    http_connect(&half, b.daemon.admin_port);
    http_print(&half, "POST /keys HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\ntoken");
    http_connect(&idle, b.daemon.admin_port);
    http_print(&idle, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    http_read(&idle, &r);
    expect_answer(&r, 200, "ok\n");
    http_response_fini(&r);
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    ck_assert(http_wait_end(&idle, 10000));
    ck_assert(http_wait_end(&fresh, 10000));
    http_print(&half, "=x&");
    http_read(&half, &r);
    ck_assert_int_eq(r.status, 403);
    ck_assert_str_eq(http_get(&r, "Connection"), "close");
    http_response_fini(&r);
    http_close(&half);
    http_close(&idle);
    http_close(&fresh);
    ck_assert_int_eq(daemon_wait(&b.daemon, 10000), 0);
    bench_close(&b);
}
END_TEST

static const char *text_of(const json_t *row, const char *name)
{
    const char *text = json_string_value(json_object_get(row, name));

    ck_assert_msg(text != NULL, "no text %s", name);
    return text;
}

static long long number_of(const json_t *row, const char *name)
{
    ck_assert_msg(json_is_integer(json_object_get(row, name)), "no number %s", name);
    return (long long)json_integer_value(json_object_get(row, name));
}

/* /keys: the view as JSON. */
START_TEST(keys_page)
{
    struct fake_answer limited = {.status = 429, .headers = "Retry-After: 50\r\n"};
    struct fake_answer refused = {.status = 403};
    struct http_response r;
    struct bench b;
    json_t *rows;
    const json_t *row;

    bench_open(&b, &SUITE_APIS[_i], KEY0 " " KEY1 " " KEY2, NULL);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_key(b.fake, KEY1, &refused);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "temporary permanent valid");
    admin_get(&b, "/keys", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(http_get(&r, "Content-Type"), "application/json");
    ck_assert_ptr_null(strstr(http_body(&r), SUITE_CANARY));
    rows = json_loads(http_body(&r), 0, NULL);
    ck_assert_uint_eq(json_array_size(rows), 3);
    row = json_array_get(rows, 0);
    ck_assert_str_eq(text_of(row, "provider"), b.api->name);
    ck_assert_str_eq(text_of(row, "hint"), HINT0);
    ck_assert_str_eq(text_of(row, "state"), "temporary");
    ck_assert_str_eq(text_of(row, "reason"), "rate_limited");
    ck_assert_int_eq(number_of(row, "position"), 0);
    ck_assert_int_eq(number_of(row, "status"), 429);
    ck_assert_int_ge(number_of(row, "seconds_left"), 40);
    ck_assert_int_le(number_of(row, "seconds_left"), 50);
    row = json_array_get(rows, 1);
    ck_assert_str_eq(text_of(row, "state"), "permanent");
    ck_assert_int_eq(number_of(row, "status"), 403);
    ck_assert_int_eq(number_of(row, "failures"), 1);
    row = json_array_get(rows, 2);
    ck_assert_str_eq(text_of(row, "state"), "valid");
    ck_assert_int_eq(number_of(row, "failures"), 0);
    json_decref(rows);
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* The last line of the log that has the text, freed by the caller. */
static char *log_line(const struct daemon *d, const char *text)
{
    char *log = util_read_file(d->log, NULL);
    char *next = log;
    char *line;
    char *found = NULL;

    while (log != NULL && (line = strsep(&next, "\n")) != NULL) {
        if (strstr(line, text) != NULL) {
            free(found);
            found = strdup(line);
        }
    }
    free(log);
    ck_assert_msg(found != NULL, "no log line has %s", text);
    return found;
}

/* The line of a request as JSON, with every field. */
START_TEST(request_log_fields)
{
    static const struct {
        const char *headers;
        int refusal;  /* of KEY0; 0 = none */
        int refusal2; /* of KEY1 */
        int status;
        unsigned attempts;
        const char *key;
        const char *error;
    } cases[] = {
        {NULL, 0, 0, 200, 1, HINT0, NULL},
        {NULL, 429, 0, 200, 2, HINT1, NULL},
        {NULL, 401, 401, 502, 2, HINT1, "keys_rejected"},
        {"X-Api-Key: " OWN_KEY "\r\n", 0, 0, 200, 1, "byok", NULL},
    };
    struct fake_answer refusal = {.status = cases[_i].refusal};
    struct fake_answer refusal2 = {.status = cases[_i].refusal2};
    struct http_request request = {.target = "/anthropic/v1/logged?secret=query",
                                   .headers = cases[_i].headers,
                                   .body = "12345"};
    struct http_response r;
    struct bench b;
    char *line;
    json_t *row;

    bench_prepare(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    daemon_text(&b.daemon.log_options, "format = json");
    daemon_start(&b.daemon);
    if (cases[_i].refusal != 0)
        fake_on_key(b.fake, KEY0, &refusal);
    if (cases[_i].refusal2 != 0)
        fake_on_key(b.fake, KEY1, &refusal2);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, cases[_i].status);
    ck_assert(daemon_wait_log(&b.daemon, "/anthropic/v1/logged", 5000));
    line = log_line(&b.daemon, "/anthropic/v1/logged");
    row = json_loads(line, 0, NULL);
    ck_assert_msg(row != NULL, "no JSON: %s", line);
    ck_assert_uint_gt(strlen(text_of(row, "time")), 19);
    ck_assert_uint_gt(strlen(text_of(row, "id")), 0);
    ck_assert_str_eq(text_of(row, "client"), "127.0.0.1");
    ck_assert_str_eq(text_of(row, "provider"), "anthropic");
    ck_assert_str_eq(text_of(row, "method"), "POST");
    ck_assert_str_eq(text_of(row, "path"), "/anthropic/v1/logged");
    ck_assert_int_eq(number_of(row, "status"), cases[_i].status);
    ck_assert_int_eq(number_of(row, "attempts"), cases[_i].attempts);
    ck_assert_str_eq(text_of(row, "key"), cases[_i].key);
    ck_assert_int_ge(number_of(row, "first_byte_ms"), 0);
    ck_assert_int_ge(number_of(row, "total_ms"), number_of(row, "first_byte_ms"));
    ck_assert_int_eq(number_of(row, "bytes_in"), 5);
    ck_assert_int_eq(number_of(row, "bytes_out"), (long long)r.body.len);
    if (cases[_i].error != NULL)
        ck_assert_str_eq(text_of(row, "error"), cases[_i].error);
    else
        ck_assert(json_is_null(json_object_get(row, "error")));
    json_decref(row);
    free(line);
    http_response_fini(&r);
    ck_assert_msg(!daemon_files_have(&b.daemon, "secret=query"), "the query is in the log");
    bench_close(&b);
}
END_TEST

/* What the daemon does not send does not count: the body that a HEAD's answer would have had. */
START_TEST(request_log_of_a_head)
{
    static const char *const methods[] = {"HEAD", "GET"};
    struct http_request request = {.method = methods[_i], .target = "/nowhere/logged"};
    struct http_response r;
    struct bench b;
    char *line;
    json_t *row;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.log_options, "format = json");
    daemon_start(&b.daemon);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 404);
    ck_assert_str_ne(http_get(&r, "Content-Length"), "0");
    ck_assert(daemon_wait_log(&b.daemon, request.target, 5000));
    line = log_line(&b.daemon, request.target);
    row = json_loads(line, 0, NULL);
    ck_assert_msg(row != NULL, "no JSON: %s", line);
    ck_assert_int_eq(number_of(row, "bytes_out"), (long long)r.body.len);
    ck_assert_int_eq(r.body.len > 0, _i == 1);
    json_decref(row);
    free(line);
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* The provider's own id reaches the client and the log; after a failover it is that of the last answer. */
START_TEST(upstream_id)
{
    struct fake_answer refusal = {.status = 429, .headers = "X-Request-Id: req_refused\r\n"};
    struct fake_answer good = {.headers = "request-id: req_good\r\n"};
    struct http_request request = {.target = "/anthropic/v1/logged", .body = "{}"};
    struct http_response r;
    struct bench b;
    char *line;
    json_t *row;

    bench_prepare(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    daemon_text(&b.daemon.log_options, "format = json");
    daemon_start(&b.daemon);
    fake_on_key(b.fake, KEY0, &refusal);
    fake_on_key(b.fake, KEY1, &good);
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(http_get(&r, "Request-Id"), "req_good");
    http_response_fini(&r);
    ck_assert(daemon_wait_log(&b.daemon, "/anthropic/v1/logged", 5000));
    line = log_line(&b.daemon, "/anthropic/v1/logged");
    row = json_loads(line, 0, NULL);
    ck_assert_msg(row != NULL, "no JSON: %s", line);
    ck_assert_str_eq(text_of(row, "upstream_id"), "req_good");
    json_decref(row);
    free(line);
    bench_close(&b);
}
END_TEST

/* The status page, whole, with hints alone, and with a policy that lets nothing else run. */
START_TEST(status_page)
{
    struct fake_answer limited = {.status = 429, .headers = "Retry-After: 50\r\n"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    fake_on_key(b.fake, KEY0, &limited);
    bench_post(&b, NULL, &r);
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "temporary valid");
    admin_get(&b, "/", &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_str_eq(http_get(&r, "Content-Type"), "text/html; charset=utf-8");
    ck_assert_ptr_nonnull(strstr(http_get(&r, "Content-Security-Policy"), "default-src 'none'"));
    /* With no-referrer a browser would send the page's own form with "Origin: null", which is refused. */
    ck_assert_str_eq(http_get(&r, "Referrer-Policy"), "same-origin");
    ck_assert_ptr_nonnull(strstr(http_body(&r), HINT0));
    ck_assert_ptr_nonnull(strstr(http_body(&r), "rate_limited"));
    ck_assert_ptr_nonnull(strstr(http_body(&r), "1 temporary"));
    ck_assert_ptr_null(strstr(http_body(&r), SUITE_CANARY));
    ck_assert_ptr_null(strstr(http_body(&r), "<button")); /* no admin_token: nothing can be changed */
    ck_assert_ptr_null(strstr(http_body(&r), "http://"));
    ck_assert_ptr_null(strstr(http_body(&r), "https://"));
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* The SHA-256 of ADMIN_TOKEN. */
#define ADMIN_TOKEN "clv_CANARY7f3b-admin"
#define ADMIN_HASH  "b55e2726bd99fb17b6ba333d9c2728a080dd2833f83e24b85d0588990cedce57"

static const struct {
    const char *headers;
    const char *token; /* the form's field */
    const char *provider;
    int status;
    const char *states;
} changes[] = {
    {"", "token=" ADMIN_TOKEN "&", "anthropic", 303, "permanent valid"},
    {"Origin: http://gateway.test\r\nSec-Fetch-Site: same-origin\r\n", "token=" ADMIN_TOKEN "&", "anthropic",
     303, "permanent valid"},
    {"", "token=clv_wrong&", "anthropic", 403, "valid valid"},
    {"", "", "anthropic", 400, "valid valid"},
    {"Origin: http://evil.test\r\n", "token=" ADMIN_TOKEN "&", "anthropic", 403, "valid valid"},
    {"Origin: null\r\n", "token=" ADMIN_TOKEN "&", "anthropic", 403, "valid valid"},
    {"Sec-Fetch-Site: cross-site\r\n", "token=" ADMIN_TOKEN "&", "anthropic", 403, "valid valid"},
    {"", "token=" ADMIN_TOKEN "&", "nobody", 409, "valid valid"},
};

START_TEST(status_page_changes)
{
    struct http_request request = {.target = "/keys", .headers = changes[_i].headers};
    struct http_response r;
    struct bench b;
    char id[64];
    char body[256];

    bench_prepare(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    daemon_text(&b.daemon.top, "admin_token = \"" ADMIN_HASH "\"");
    daemon_start(&b.daemon);
    daemon_sql(&b.daemon, "SELECT key_id FROM key_state WHERE position = 0", id, sizeof(id));
    snprintf(body, sizeof(body), "%sdo=disable+%s+%s", changes[_i].token, changes[_i].provider, id);
    request.body = body;
    http_fetch(b.daemon.admin_port, &request, &r);
    ck_assert_msg(r.status == changes[_i].status, "%d: %s", r.status, http_body(&r));
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, changes[_i].states);
    bench_close(&b);
}
END_TEST

/* The log says who tries tokens, once, and none of them. */
START_TEST(wrong_tokens_are_logged)
{
    struct http_request request = {.target = "/keys",
                                   .body = "token=clv_" SUITE_CANARY "&do=reset+anthropic+0123456789abcdef"};
    struct http_response r;
    struct bench b;
    char *text;
    const char *line;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.top, "admin_token = \"" ADMIN_HASH "\"");
    daemon_start(&b.daemon);
    for (int i = 0; i < 3; i++) {
        http_fetch(b.daemon.admin_port, &request, &r);
        ck_assert_int_eq(r.status, 403);
        http_response_fini(&r);
    }
    daemon_stop(&b.daemon);
    text = util_read_file(b.daemon.log, NULL);
    line = strstr(text, "a wrong admin token came from 127.0.0.1: no key was changed\n");
    ck_assert_msg(line != NULL && strstr(line + 1, "a wrong admin token") == NULL, "%s", text);
    free(text);
    bench_close(&b);
}
END_TEST

/* Without a token in the configuration, with too much text, and by other methods: nothing happens. */
START_TEST(status_page_refusals)
{
    static char big[5000];
    struct http_request post = {.target = "/keys", .body = "token=x&do=reset+anthropic+0123456789abcdef"};
    struct http_request large = {.target = "/keys", .body = big, .body_len = sizeof(big)};
    struct http_request put = {.method = "PUT", .target = "/keys", .body = "x"};
    struct http_request root = {.target = "/", .body = "x"};
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_start(&b.daemon);
    http_fetch(b.daemon.admin_port, &post, &r);
    ck_assert_int_eq(r.status, 403);
    ck_assert_ptr_nonnull(strstr(http_body(&r), "no admin_token"));
    http_response_fini(&r);
    daemon_text(&b.daemon.top, "admin_token = \"" ADMIN_HASH "\"");
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    memset(big, 'x', sizeof(big));
    http_fetch(b.daemon.admin_port, &large, &r);
    ck_assert_int_eq(r.status, 400);
    http_response_fini(&r);
    http_fetch(b.daemon.admin_port, &put, &r);
    ck_assert_int_eq(r.status, 405);
    ck_assert_str_eq(http_get(&r, "Allow"), "GET, HEAD, POST");
    http_response_fini(&r);
    http_fetch(b.daemon.admin_port, &root, &r);
    ck_assert_int_eq(r.status, 405);
    ck_assert_str_eq(http_get(&r, "Allow"), "GET, HEAD");
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* A request's line is out within 100 ms of its end: the middle of five. */
START_TEST(request_log_in_time)
{
    struct http_response r;
    struct bench b;
    int64_t took[5];

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    for (int i = 0; i < 5; i++) {
        char target[64];
        struct http_request request = {.target = target, .body = "{}"};
        int64_t end;

        snprintf(target, sizeof(target), "/%s/timed/%d", b.api->name, i);
        http_fetch(b.daemon.port, &request, &r);
        end = util_now_us();
        ck_assert_int_eq(r.status, 200);
        http_response_fini(&r);
        ck_assert(daemon_wait_log(&b.daemon, target, 5000));
        took[i] = util_now_us() - end;
    }
    qsort(took, 5, sizeof(took[0]), util_compare_i64);
    ck_assert_msg(took[2] <= LOG_US, "the line came after %lld us", (long long)took[2]);
    bench_close(&b);
}
END_TEST

/* access = false: no line. A file as target. */
START_TEST(log_options)
{
    struct http_response r;
    struct bench b;
    char path[160];
    char *text;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    snprintf(path, sizeof(path), "%s/log.txt", b.daemon.dir);
    daemon_text(&b.daemon.log_options, "target = \"%s\"\naccess = %s", path, _i == 0 ? "true" : "false");
    daemon_start(&b.daemon);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    daemon_stop(&b.daemon);
    text = util_read_file(path, NULL);
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_nonnull(strstr(text, "stopped"));
    ck_assert_int_eq(strstr(text, b.api->target) != NULL, _i == 0);
    free(text);
    bench_close(&b);
}
END_TEST

/* No byte of a key in log, database, WAL, -T, answers and pages, whatever happened to it; and files are
 * closed to others. */
START_TEST(no_key_is_seen)
{
    struct fake_answer limited = {.status = 429};
    struct fake_answer refused = {.status = 401};
    struct http_response r;
    struct bench b;
    struct run run;
    struct stat st;

    bench_prepare(&b, &SUITE_APIS[_i], KEY0 " " KEY1, NULL);
    daemon_text(&b.daemon.log_options, "level = debug");
    daemon_start(&b.daemon);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_key(b.fake, KEY1, &refused);
    bench_post(&b, NULL, &r);
    ck_assert_int_eq(r.status, 429);
    ck_assert(!util_contains(r.body.data, r.body.len, SUITE_CANARY));
    ck_assert(!util_contains(r.head.raw, r.head.raw_len, SUITE_CANARY));
    http_response_fini(&r);
    bench_post(&b, bench_auth(&b, OWN_KEY), &r);
    http_response_fini(&r);
    bench_post(&b, "Authorization: Bearer clv_" SUITE_CANARY "\r\n", &r);
    ck_assert(!util_contains(r.body.data, r.body.len, SUITE_CANARY));
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "temporary permanent");
    ck_assert(!daemon_files_have(&b.daemon, SUITE_CANARY));
    ck_assert(daemon_log_has(&b.daemon, HINT0));
    run_program(&run, NULL, daemon_binary(), "-c", b.daemon.conf, "-T", NULL);
    ck_assert_int_eq(run.status, 0);
    ck_assert_ptr_null(strstr(run_out(&run), SUITE_CANARY));
    ck_assert_ptr_null(strstr(run_err(&run), SUITE_CANARY));
    ck_assert_ptr_nonnull(strstr(run_out(&run), b.api->name));
    run_fini(&run);
    ck_assert_int_eq(stat(b.daemon.db, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0640);
    ck_assert_int_eq(stat(b.daemon.control, &st), 0);
    ck_assert_int_eq(st.st_mode & 0777, 0600);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("admin");
    TCase *tc = suite_case(s, "admin", 60);

    tcase_add_test(tc, health_and_readiness);
    tcase_add_test(tc, not_ready_while_stopping);
    tcase_add_test(tc, idle_while_stopping);
    tcase_add_loop_test(tc, keys_page, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, request_log_fields, 0, 4);
    tcase_add_loop_test(tc, request_log_of_a_head, 0, 2);
    tcase_add_test(tc, upstream_id);
    tcase_add_test(tc, status_page);
    tcase_add_loop_test(tc, status_page_changes, 0, (int)(sizeof(changes) / sizeof(changes[0])));
    tcase_add_test(tc, wrong_tokens_are_logged);
    tcase_add_test(tc, status_page_refusals);
    tcase_add_loop_test(tc, request_log_in_time, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, log_options, 0, 2);
    tcase_add_loop_test(tc, no_key_is_seen, 0, SUITE_API_COUNT);
    return suite_run(s);
}
