/*
 * test_tokens: clients and their tokens: who may use a pool, what a request with or without a token gets, and
 * that no token goes upstream; the file of clients at a reload; clavigerctl token.
 */
#include "e2e/suite.h"

#include "base/digest.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tokens of the form that clavigerctl makes; "clv_" and 43 characters. */
#define ALICE   "clv_alice-" SUITE_CANARY "_890123456789012345678901aa"
#define ALICE2  "clv_alice2" SUITE_CANARY "_890123456789012345678901aa"
#define BOB     "clv_bob---" SUITE_CANARY "_890123456789012345678901aa"
#define CAROL   "clv_carol-" SUITE_CANARY "_890123456789012345678901aa"
#define UNKNOWN "clv_nobody" SUITE_CANARY "_890123456789012345678901aa"

static const char *const UNAUTHORIZED[2][2] = {{"authentication_error", NULL},
                                               {"invalid_request_error", "invalid_api_key"}};
static const char *const FORBIDDEN[2][2] = {{"permission_error", NULL},
                                            {"invalid_request_error", "insufficient_permissions"}};

static void put_line(struct buf *text, const char *name, const char *token, const char *rights)
{
    char hash[DIGEST_HEX_SIZE];

    ck_assert_uint_eq(strlen(token), 47);
    ck_assert_int_eq(digest_sha256_hex(token, strlen(token), hash), 0);
    buf_printf(text, "%s:%s%s\n", name, hash, rights);
}

static void clients_path(const struct bench *b, char *path, size_t size)
{
    snprintf(path, size, "%s/clients", b->daemon.dir);
}

static void write_clients(const struct bench *b, const struct buf *text)
{
    char path[160];

    clients_path(b, path, sizeof(path));
    ck_assert_int_eq(util_write_file(path, text->len > 0 ? text->data : "", text->len, 0644), 0);
}

/* Names the file in the configuration and writes the team into it. bob may use the bench's own provider. */
static void add_clients(struct bench *b)
{
    struct buf text = {0};
    char rights[32];
    char path[160];

    clients_path(b, path, sizeof(path));
    daemon_text(&b->daemon.top, "clients = \"%s\"", path);
    buf_puts(&text, "# the team\n\n");
    put_line(&text, "alice", ALICE, "");
    snprintf(rights, sizeof(rights), ":%s", b->api->name);
    put_line(&text, "bob", BOB, rights);
    put_line(&text, "carol", CAROL, "::nobyok");
    put_line(&text, "alice", ALICE2, "");
    write_clients(b, &text);
    buf_fini(&text);
}

static struct http_response ask(const struct bench *b, const char *target, const char *headers)
{
    struct http_request request = {.target = target, .headers = headers, .body = "{}"};
    struct http_response r;

    http_fetch(b->daemon.port, &request, &r);
    ck_assert(!util_contains(r.head.raw, r.head.raw_len, SUITE_CANARY));
    ck_assert(!util_contains(r.body.data, r.body.len, SUITE_CANARY));
    return r;
}

/* ---- what a request gets */

#define NONE NULL

static const struct {
    const char *provider;
    const char *headers;
    int status;
    const char *sees;  /* a field that the upstream gets; NULL = no request is sent */
    const char *lacks; /* what it does not get beside tokens; NULL = nothing to look for */
    const char *client;
} CASES[] = {
    /* closed pools */
    {"anthropic", NULL, 401, NONE, NULL, "127.0.0.1"},
    {"openai", "X-Api-Key: claviger\r\n", 401, NONE, NULL, "127.0.0.1"},
    {"openai", "Authorization: Bearer claviger\r\n", 401, NONE, NULL, "127.0.0.1"},
    {"strict", "Authorization: Bearer " OWN_KEY "\r\n", 401, NONE, NULL, "127.0.0.1"},
    {"other", NULL, 401, NONE, NULL, "127.0.0.1"},
    /* each place of a token */
    {"anthropic", "X-Api-Key: " ALICE "\r\n", 200, "X-Api-Key: " KEY0 "\r\n", "Authorization", "alice"},
    {"anthropic", "Authorization: Bearer " ALICE2 "\r\n", 200, "X-Api-Key: " KEY0 "\r\n", "Authorization",
     "alice"},
    {"openai", "Authorization: Bearer " ALICE "\r\n", 200, "Authorization: Bearer " KEY1 "\r\n", "X-Api-Key",
     "alice"},
    {"openai", "X-Api-Key: " ALICE "\r\nAuthorization: Bearer claviger\r\n", 200,
     "Authorization: Bearer " KEY1 "\r\n", "X-Api-Key", "alice"},
    {"openai", "x-claviger-token: " ALICE "\r\n", 200, "Authorization: Bearer " KEY1 "\r\n", "laviger-",
     "alice"},
    {"strict", "Authorization: Bearer " ALICE "\r\n", 200, "Authorization: Bearer " KEY2 "\r\n", NULL,
     "alice"},
    {"other", "X-Secret: Key " ALICE "\r\n", 200, "X-Secret: Key " KEY2 "\r\n", NULL, "alice"},
    {"other", "Authorization: Bearer " ALICE "\r\n", 200, "X-Secret: Key " KEY2 "\r\n", "Authorization",
     "alice"},
    /* Connection takes no token away, nor lets one through */
    {"openai", "Connection: X-Claviger-Token, Authorization\r\nX-Claviger-Token: " ALICE "\r\n", 200,
     "Authorization: Bearer " KEY1 "\r\n", "Connection: X", "alice"},
    /* fields of other providers, and what a provider may take for its own */
    {"openai",
     "X-Claviger-Token: " ALICE "\r\nX-Api-Key: " OWN_KEY "\r\nX-Secret: " OWN_KEY "\r\nX_Api_Key: " OWN_KEY
     "\r\nX.Secret: " OWN_KEY "\r\nauthorization_: kept\r\n",
     200, "authorization_: kept\r\n", OWN_KEY, "alice"},
    {"openai",
     "X-Claviger-Token: " ALICE "\r\nX_Claviger_Token: " BOB "\r\nCookie: t=" ALICE "\r\nX-Kept: clv_\r\n",
     200, "X-Kept: clv_\r\n", "Cookie", "alice"},
    /* unknown ones */
    {"anthropic", "X-Api-Key: " UNKNOWN "\r\n", 401, NONE, NULL, "127.0.0.1"},
    {"openai", "Authorization: Bearer " UNKNOWN "\r\n", 401, NONE, NULL, "127.0.0.1"},
    {"openai", "Authorization: Bearer " ALICE "x\r\n", 401, NONE, NULL, "127.0.0.1"},
    {"openai", "X-Claviger-Token: " UNKNOWN "\r\nAuthorization: Bearer " OWN_KEY "\r\n", 401, NONE, NULL,
     "127.0.0.1"},
    {"copilot", "Authorization: Bearer " UNKNOWN "\r\n", 401, NONE, NULL, "127.0.0.1"},
    {"anthropic", "X-Api-Key: " ALICE "\r\nX-Claviger-Token: " CAROL "\r\n", 401, NONE, NULL, "127.0.0.1"},
    /* BYOK needs no token, and takes one beside it */
    {"openai", "Authorization: Bearer " OWN_KEY "\r\n", 200, "Authorization: Bearer " OWN_KEY "\r\n", KEY1,
     "127.0.0.1"},
    {"openai", "Authorization: Bearer " OWN_KEY "\r\nX-Claviger-Token: " ALICE "\r\n", 200,
     "Authorization: Bearer " OWN_KEY "\r\n", KEY1, "alice"},
    {"openai", "Authorization: Bearer " OWN_KEY "\r\nCookie: t=" ALICE "\r\n", 200,
     "Authorization: Bearer " OWN_KEY "\r\n", "Cookie", "127.0.0.1"},
    {"anthropic", "X-Api-Key: " ALICE "\r\nAuthorization: Bearer " OWN_KEY "\r\n", 200,
     "Authorization: Bearer " OWN_KEY "\r\n", "X-Api-Key", "alice"},
    {"strict", "X-Claviger-Token: " ALICE "\r\nAuthorization: Bearer " OWN_KEY "\r\n", 200,
     "Authorization: Bearer " KEY2 "\r\n", OWN_KEY, "alice"},
    {"copilot", "Authorization: Bearer " OWN_KEY "\r\nX-Claviger-Token: " ALICE "\r\n", 200,
     "Authorization: Bearer " OWN_KEY "\r\n", NULL, "alice"},
    {"copilot", NULL, 200, "Host: 127.0.0.1", "Authorization", "127.0.0.1"},
    {"copilot", "Authorization: Bearer " ALICE "\r\n", 200, "Host: 127.0.0.1", "Authorization", "alice"},
    /* what a client may not do */
    {"openai", "Authorization: Bearer " BOB "\r\n", 403, NONE, NULL, "bob"},
    {"copilot", "X-Claviger-Token: " BOB "\r\nAuthorization: Bearer " OWN_KEY "\r\n", 403, NONE, NULL, "bob"},
    {"anthropic", "X-Api-Key: " BOB "\r\n", 200, "X-Api-Key: " KEY0 "\r\n", NULL, "bob"},
    {"openai", "X-Claviger-Token: " CAROL "\r\nAuthorization: Bearer " OWN_KEY "\r\n", 403, NONE, NULL,
     "carol"},
    {"openai", "Authorization: Bearer " CAROL "\r\n", 200, "Authorization: Bearer " KEY1 "\r\n", NULL,
     "carol"},
};
#define CASE_COUNT (sizeof(CASES) / sizeof(CASES[0]))

/* One case: its answer, what went upstream, its line in the log. */
static void check_case(struct bench *b, size_t i)
{
    int shape = strcmp(CASES[i].provider, "anthropic") == 0 ? 0 : 1;
    unsigned before = fake_requests(b->fake);
    struct http_response r;
    char target[64];
    char line[128];

    snprintf(target, sizeof(target), "/%s/v1/case-%zu", CASES[i].provider, i);
    r = ask(b, target, CASES[i].headers);
    if (CASES[i].status == 401) {
        expect_error(&r, &SUITE_APIS[shape], 401, "unauthorized", UNAUTHORIZED[shape], "gateway token");
        ck_assert_str_eq(http_get(&r, "WWW-Authenticate"), "Bearer");
    } else if (CASES[i].status == 403) {
        expect_error(&r, &SUITE_APIS[shape], 403, "forbidden", FORBIDDEN[shape], "gateway token");
    } else {
        expect_answer(&r, 200, "ok");
    }
    http_response_fini(&r);
    if (CASES[i].sees == NULL) {
        ck_assert_msg(fake_requests(b->fake) == before, "case %zu went upstream", i);
    } else {
        const struct message_head *head = &fake_request(b->fake, before + 1)->head;

        ck_assert_msg(util_contains(head->raw, head->raw_len, CASES[i].sees), "case %zu: no %s in\n%s", i,
                      CASES[i].sees, head->raw);
        ck_assert_msg(CASES[i].lacks == NULL || !util_contains(head->raw, head->raw_len, CASES[i].lacks),
                      "case %zu: %s in\n%s", i, CASES[i].lacks, head->raw);
        ck_assert_msg(!util_contains(head->raw, head->raw_len, "_8901234567890"), "case %zu: a token in\n%s",
                      i, head->raw);
    }
    snprintf(line, sizeof(line), " %s %s POST %s %d %d ", CASES[i].client, CASES[i].provider, target,
             CASES[i].status, CASES[i].sees != NULL);
    ck_assert_msg(daemon_wait_log(&b->daemon, line, 5000), "case %zu: no line \"%s\"", i, line);
}

START_TEST(what_a_request_gets)
{
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_provider(&b.daemon, "openai", fake_url(b.fake), KEY1, NULL);
    daemon_provider(&b.daemon, "copilot", fake_url(b.fake), NULL, NULL);
    daemon_provider(&b.daemon, "strict", fake_url(b.fake), KEY2, "    type = openai\n    byok = false");
    daemon_provider(&b.daemon, "other", fake_url(b.fake), KEY2,
                    "    type = custom\n    auth_header = \"X-Secret\"\n    auth_prefix = \"Key \"");
    add_clients(&b);
    daemon_start(&b.daemon);
    ck_assert(daemon_log_has(&b.daemon, "clients: 4 tokens in "));
    ck_assert(daemon_log_has(&b.daemon, "-H 'X-Claviger-Token: YOUR-TOKEN' "));
    for (size_t i = 0; i < CASE_COUNT; i++)
        check_case(&b, i);
    daemon_expect_states(&b.daemon, "openai", "valid");
    bench_close(&b);
}
END_TEST

/* Without a file of clients the pools are open, and yet no token is known and none goes on. */
START_TEST(without_a_file)
{
    static const char *const headers[] = {"X-Api-Key: " ALICE "\r\n", "Authorization: Bearer " ALICE "\r\n",
                                          "X-Claviger-Token: " ALICE "\r\n",
                                          "X-Claviger-Token: x\r\nX-Api-Key: " OWN_KEY "\r\n"};
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[_i], KEY0, NULL);
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        bench_post(&b, headers[i], &r);
        expect_error(&r, b.api, 401, "unauthorized", UNAUTHORIZED[_i], "not known here");
        http_response_fini(&r);
    }
    expect_requests(&b, 0);
    bench_post(&b, "Cookie: t=" ALICE "\r\n", &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    ck_assert_ptr_null(message_get(&fake_request(b.fake, 1)->head, "Cookie"));
    bench_close(&b);
}
END_TEST

/* A refused upload gets its answer however large it is, and goes nowhere. */
START_TEST(a_refused_upload)
{
    static char body[3 << 20];
    struct http_request request = {.target = SUITE_APIS[_i].target,
                                   .headers = "X-Api-Key: " UNKNOWN "\r\n",
                                   .body = body,
                                   .body_len = sizeof(body)};
    struct http_response r;
    struct bench b;

    memset(body, 'x', sizeof(body));
    bench_prepare(&b, &SUITE_APIS[_i], KEY0, NULL);
    add_clients(&b);
    daemon_start(&b.daemon);
    http_fetch(b.daemon.port, &request, &r);
    expect_error(&r, b.api, 401, "unauthorized", UNAUTHORIZED[_i], "not known here");
    http_response_fini(&r);
    expect_requests(&b, 0);
    bench_close(&b);
}
END_TEST

/* ---- the file */

static void expect_status(struct bench *b, const char *headers, int status)
{
    struct http_response r;

    bench_post(b, headers, &r);
    ck_assert_msg(r.status == status, "%s: %d, not %d", headers, r.status, status);
    http_response_fini(&r);
}

static void reload(struct bench *b, int status, const char *reason)
{
    struct run run;

    run_program(&run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, "reload", NULL);
    ck_assert_msg(run.status == status, "status %d\n%s", run.status, run_err(&run));
    if (reason != NULL)
        ck_assert_msg(strstr(run_err(&run), reason) != NULL, "no %s in %s", reason, run_err(&run));
    ck_assert_ptr_null(strstr(run_err(&run), SUITE_CANARY));
    run_fini(&run);
}

/* A reload takes the whole new file, or says where it is wrong and leaves the clients as they were. */
START_TEST(the_file_at_a_reload)
{
    struct buf text = {0};
    struct bench b;
    char place[192];

    bench_prepare(&b, &SUITE_APIS[_i], KEY0, NULL);
    add_clients(&b);
    daemon_start(&b.daemon);
    expect_status(&b, "X-Api-Key: " ALICE "\r\n", 200);
    expect_status(&b, "X-Api-Key: " UNKNOWN "\r\n", 401);

    /* A token in the place of its hash: refused, and shown nowhere. */
    put_line(&text, "nobody", UNKNOWN, "");
    buf_puts(&text, "alice:" ALICE "\n");
    write_clients(&b, &text);
    snprintf(place, sizeof(place), "%s/clients:2: client alice: ", b.daemon.dir);
    reload(&b, 1, place);
    expect_status(&b, "X-Api-Key: " ALICE "\r\n", 200);
    expect_status(&b, "X-Api-Key: " UNKNOWN "\r\n", 401);
    ck_assert(daemon_log_has(&b.daemon, "/clients:2: client alice: "));

    /* One more, one less. */
    buf_clear(&text);
    put_line(&text, "nobody", UNKNOWN, "");
    put_line(&text, "carol", CAROL, "");
    write_clients(&b, &text);
    reload(&b, 0, NULL);
    expect_status(&b, "X-Api-Key: " UNKNOWN "\r\n", 200);
    expect_status(&b, "X-Api-Key: " CAROL "\r\n", 200);
    expect_status(&b, "X-Api-Key: " ALICE "\r\n", 401);

    /* Nobody at all. */
    buf_clear(&text);
    write_clients(&b, &text);
    reload(&b, 0, NULL);
    expect_status(&b, "X-Api-Key: " CAROL "\r\n", 401);
    expect_status(&b, NULL, 401);
    buf_fini(&text);
    /* It holds hashes only by now; what the daemon wrote is looked through by bench_close(). */
    bench_close(&b);
}
END_TEST

/* The daemon listens beyond loopback with a file of clients, else only when it is told to. */
START_TEST(listening_beyond_loopback)
{
    static const struct {
        bool clients;
        const char *more;
        int status;
    } cases[] = {{false, "", 1}, {true, "", 0}, {false, "allow_anonymous = true\n", 0}};
    struct daemon d;
    struct run run;
    struct buf text = {0};
    char path[160];

    daemon_init(&d);
    snprintf(path, sizeof(path), "%s/clients", d.dir);
    ck_assert_int_eq(util_write_file(path, "", 0, 0600), 0);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        buf_clear(&text);
        buf_printf(&text, "state_db = \"%s\"\n%slisten = {\"0.0.0.0:%u\"}\n", d.db, cases[i].more, d.port);
        if (cases[i].clients)
            buf_printf(&text, "clients = \"%s\"\n", path);
        ck_assert_int_eq(util_write_file(d.conf, text.data, text.len, 0600), 0);
        run_program(&run, NULL, daemon_binary(), "-c", d.conf, "-t", NULL);
        ck_assert_msg(run.status == cases[i].status, "case %zu: %d\n%s", i, run.status, run_err(&run));
        if (cases[i].status != 0)
            ck_assert_ptr_nonnull(strstr(run_err(&run), "name a file of clients"));
        run_fini(&run);
    }
    buf_fini(&text);
    daemon_fini(&d);
}
END_TEST

/* ---- clavigerctl token */

static void expect_token_form(const char *token)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    ck_assert_uint_eq(strlen(token), 47);
    ck_assert(strncmp(token, "clv_", 4) == 0);
    ck_assert_uint_eq(strspn(token + 4, allowed), 43);
}

/* No daemon, no configuration; its line lets its token in. */
START_TEST(a_new_token)
{
    struct buf text = {0};
    struct run run;
    struct bench b;
    json_t *root;
    char *first = NULL;
    char headers[128];
    char path[160];

    bench_prepare(&b, &SUITE_APIS[_i], KEY0, NULL);
    for (int i = 0; i < 2; i++) {
        const char *token;

        run_program(&run, NULL, daemon_ctl_binary(), "-c", "/nonexistent/conf", "--json", "token", "new.one",
                    NULL);
        ck_assert_msg(run.status == 0, "status %d\n%s", run.status, run_err(&run));
        ck_assert_uint_eq(run.err.len, 0);
        root = json_loads(run_out(&run), 0, NULL);
        ck_assert_uint_eq(json_object_size(root), 3);
        ck_assert_str_eq(json_string_value(json_object_get(root, "name")), "new.one");
        token = json_string_value(json_object_get(root, "token"));
        ck_assert_ptr_nonnull(token);
        expect_token_form(token);
        if (first != NULL)
            ck_assert_str_ne(token, first); /* each one is new */
        free(first);
        first = strdup(token);
        buf_clear(&text);
        buf_printf(&text, "%s\n", json_string_value(json_object_get(root, "line")));
        json_decref(root);
        run_fini(&run);
    }
    clients_path(&b, path, sizeof(path));
    daemon_text(&b.daemon.top, "clients = \"%s\"", path);
    write_clients(&b, &text);
    daemon_start(&b.daemon);
    snprintf(headers, sizeof(headers), "Authorization: Bearer %s\r\n", first);
    expect_status(&b, headers, 200);
    expect_status(&b, NULL, 401);
    ck_assert(daemon_wait_log(&b.daemon, " new.one ", 5000));
    ck_assert(!daemon_files_have(&b.daemon, first + 4));
    free(first);
    buf_fini(&text);
    bench_close(&b);
}
END_TEST

START_TEST(a_new_token_for_people)
{
    struct run run;
    const char *token;
    char line[128];
    char copy[48];
    char hash[DIGEST_HEX_SIZE];

    run_program(&run, NULL, daemon_ctl_binary(), "token", "alice@example.com", NULL);
    ck_assert_int_eq(run.status, 0);
    token = strstr(run_out(&run), "clv_");
    ck_assert_ptr_nonnull(token);
    snprintf(copy, sizeof(copy), "%s", token);
    expect_token_form(copy);
    ck_assert_ptr_null(strstr(token + 4, "clv_")); /* once */
    ck_assert_int_eq(digest_sha256_hex(copy, strlen(copy), hash), 0);
    snprintf(line, sizeof(line), "alice@example.com:%s\n", hash);
    ck_assert_ptr_nonnull(strstr(run_out(&run), line));
    run_fini(&run);
}
END_TEST

START_TEST(no_token_for_that_name)
{
    static const char *const names[] = {"", "1", "a:b", "a b", "unix", "clv_x", "-x"};
    struct run run;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        run_program(&run, NULL, daemon_ctl_binary(), "token", "--", names[i], NULL);
        ck_assert_msg(run.status == 2, "\"%s\": status %d", names[i], run.status);
        ck_assert_uint_eq(run.out.len, 0);
        ck_assert_ptr_nonnull(strstr(run_err(&run), "name"));
        run_fini(&run);
    }
    run_program(&run, NULL, daemon_ctl_binary(), "token", NULL);
    ck_assert_int_eq(run.status, 2);
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "token", "a", "b", NULL);
    ck_assert_int_eq(run.status, 2);
    run_fini(&run);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tokens");
    TCase *tc = suite_case(s, "tokens", 60);

    tcase_add_test(tc, what_a_request_gets);
    tcase_add_loop_test(tc, without_a_file, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, a_refused_upload, 0, SUITE_API_COUNT);
    tcase_add_loop_test(tc, the_file_at_a_reload, 0, SUITE_API_COUNT);
    tcase_add_test(tc, listening_beyond_loopback);
    tcase_add_loop_test(tc, a_new_token, 0, SUITE_API_COUNT);
    tcase_add_test(tc, a_new_token_for_people);
    tcase_add_test(tc, no_token_for_that_name);
    return suite_run(s);
}
