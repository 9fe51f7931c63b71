/*
 * test_config: the daemon's command line and what it says of configurations: -t, -T, -V, -h, errors with
 * their place.
 */
#include "e2e/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void write_conf(const struct daemon *d, const char *text)
{
    ck_assert_int_eq(util_write_file(d->conf, text, strlen(text), 0600), 0);
}

/* The place and a word of each message. */
static const struct {
    const char *text;
    int line;
    const char *word;
} WRONG[] = {
    {"no_such = 1\n", 1, "no_such"},
    {"# one\n# two\nworkers = 1\n\nno_such = 1\n", 5, "no_such"},
    {"listen = {\"127.0.0.1:1\", # a comment\n  # another\n  \"nonsense\"}\n", 3, "nonsense"},
    {"workers = many\n", 1, "workers"},
    {"workers = -1\n", 1, "workers"},
    {"provider anthropic {\n  type = anthropic\n  no_such = 1\n}\n", 3, "no_such"},
    {"provider x {\n  type = nobody\n}\n", 2, "type"},
    {"provider anthropic {\n  type = anthropic\n  on_401 = maybe\n}\n", 3, "on_401"},
    {"provider anthropic {\n  type = anthropic\n  default_cooldown = soon\n}\n", 3, "default_cooldown"},
    {"provider anthropic {\n  type = anthropic\n  keys = {\"env:E2E_UNSET\"}\n}\n", 3, "E2E_UNSET"},
    {"provider anthropic {\n  type = anthropic\n  keys = {\"file:/nonexistent/keys\"}\n}\n", 3,
     "/nonexistent/keys"},
    {"provider anthropic {\n  type = anthropic\n  keys = {\"sk-" SUITE_CANARY "\", \"sk-" SUITE_CANARY
     "\"}\n}\n",
     3, ""},
    {"provider a {\n  type = anthropic\n}\nprovider a {\n  type = anthropic\n}\n", 4, "a"},
    {"provider a {\n  type = anthropic\n  base_url = \"http://example.com\"\n}\n", 3, "insecure_http"},
    {"limits {\n  request_body = lots\n}\n", 2, "request_body"},
    {"log {\n  level = loud\n}\n", 2, "level"},
    {"provider anthropic {\n  type = anthropic\n", 1, ""},
    {"listen = {\"0.0.0.0:1\"}\nprovider a {\n  type = anthropic\n  keys = {\"sk-" SUITE_CANARY "\"}\n}\n", 1,
     "allow_anonymous"},
};
#define WRONG_COUNT ((int)(sizeof(WRONG) / sizeof(WRONG[0])))

/* -t says where and what, on stderr, with status 1; a start says the same. */
START_TEST(errors_have_their_place)
{
    struct daemon d;
    struct run run;
    char place[200];

    daemon_init(&d);
    write_conf(&d, WRONG[_i].text);
    snprintf(place, sizeof(place), "%s:%d: ", d.conf, WRONG[_i].line);
    for (int i = 0; i < 2; i++) {
        run_program(&run, NULL, daemon_binary(), "-c", d.conf, i == 0 ? "-t" : NULL, NULL);
        ck_assert_msg(run.status == 1, "status %d\n%s", run.status, run_err(&run));
        if (WRONG[_i].line > 1 || strncmp(WRONG[_i].text, "provider", 8) != 0)
            ck_assert_msg(strstr(run_err(&run), place) != NULL, "no %s in: %s", place, run_err(&run));
        else
            ck_assert_ptr_nonnull(strstr(run_err(&run), d.conf));
        ck_assert_msg(strstr(run_err(&run), WRONG[_i].word) != NULL, "no %s in: %s", WRONG[_i].word,
                      run_err(&run));
        ck_assert_ptr_null(strstr(run_err(&run), SUITE_CANARY));
        ck_assert_ptr_null(strstr(run_out(&run), SUITE_CANARY));
        run_fini(&run);
    }
    daemon_fini(&d);
}
END_TEST

/* A key file that others can read is refused. */
START_TEST(open_key_files)
{
    struct daemon d;
    struct run run;
    struct buf text = {0};
    char path[160];

    daemon_init(&d);
    snprintf(path, sizeof(path), "%s/keys", d.dir);
    ck_assert_int_eq(util_write_file(path, KEY0 "\n", strlen(KEY0 "\n"), _i == 0 ? 0644 : 0640), 0);
    buf_printf(&text,
               "state_db = \"%s\"\nprovider anthropic {\n  type = anthropic\n  keys = {\"file:%s\"}\n}\n",
               d.db, path);
    write_conf(&d, text.data);
    buf_fini(&text);
    run_program(&run, NULL, daemon_binary(), "-c", d.conf, "--test", NULL);
    ck_assert_msg(run.status == (_i == 0 ? 1 : 0), "status %d\n%s", run.status, run_err(&run));
    if (_i == 0)
        ck_assert_ptr_nonnull(strstr(run_err(&run), path));
    run_fini(&run);
    daemon_fini(&d);
}
END_TEST

/* -t on a good file: 0, and nothing is made. */
START_TEST(test_of_a_good_file)
{
    struct daemon d;
    struct run run;

    daemon_init(&d);
    daemon_provider(&d, "anthropic", "https://api.example", KEY0, NULL);
    daemon_provider(&d, "openai", "https://api.example/%zz", KEY1, NULL);
    daemon_text(&d.limits, "request_body = 2M # two\nhead_timeout = 5s");
    daemon_write(&d);
    run_program(&run, NULL, daemon_binary(), "-c", d.conf, "-t", NULL);
    ck_assert_msg(run.status == 0, "status %d\n%s", run.status, run_err(&run));
    run_fini(&run);
    ck_assert_int_ne(access(d.pid_file, F_OK), 0);
    ck_assert_int_ne(access(d.control, F_OK), 0);
    daemon_fini(&d);
}
END_TEST

/* -T prints the whole configuration, secrets masked; what it prints, less the keys, can be read again. */
START_TEST(effective_configuration)
{
    static const char *const expected[] = {
        "listen",       "admin_listen",     "workers",      "state_db",         "user_agent",    "provider",
        "base_url",     "default_cooldown", "max_cooldown", "connect_timeout",  "byok",          "on_401",
        "request_body", "buffer_memory",    "head_timeout", "shutdown_timeout", "header_timeout"};
    struct daemon d;
    struct run run;

    daemon_init(&d);
    daemon_provider(&d, "anthropic", "https://api.example", KEY0, NULL);
    daemon_write(&d);
    run_program(&run, NULL, daemon_binary(), "-T", "-c", d.conf, NULL);
    ck_assert_msg(run.status == 0, "status %d\n%s", run.status, run_err(&run));
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
        ck_assert_msg(strstr(run_out(&run), expected[i]) != NULL, "%s is missing", expected[i]);
    ck_assert_ptr_nonnull(strstr(run_out(&run), HINT0));
    ck_assert_ptr_null(strstr(run_out(&run), SUITE_CANARY));
    run_fini(&run);
    daemon_fini(&d);
}
END_TEST

START_TEST(version_and_help)
{
    struct run run;

    run_program(&run, NULL, daemon_binary(), _i == 0 ? "-V" : "--version", NULL);
    ck_assert_int_eq(run.status, 0);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "clavigerd"));
    ck_assert_ptr_nonnull(strstr(run_out(&run), "libmicrohttpd"));
    ck_assert_ptr_nonnull(strstr(run_out(&run), "curl"));
    run_fini(&run);
    run_program(&run, NULL, daemon_binary(), _i == 0 ? "-h" : "--help", NULL);
    ck_assert_int_eq(run.status, 0);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "-t"));
    run_fini(&run);
    run_program(&run, NULL, daemon_binary(), "--no-such-option", NULL);
    ck_assert_int_ne(run.status, 0);
    ck_assert_uint_gt(run.err.len, 0);
    run_fini(&run);
}
END_TEST

/* What cannot be had at the start ends it with status 1 and a word about it. */
START_TEST(starts_that_fail)
{
    struct daemon d;
    struct run run;
    struct http_client unused;
    struct fake *taken = fake_start(NULL);
    const char *word = "";

    daemon_init(&d);
    daemon_provider(&d, "anthropic", "https://api.example", KEY0, NULL);
    switch (_i) {
    case 0: /* the port is taken */
        d.port = fake_port(taken);
        word = "listen";
        break;
    case 1: /* no such directory */
        snprintf(d.db, sizeof(d.db), "%s/none/state.db", d.dir);
        word = d.db;
        break;
    default: /* the database is a directory */
        snprintf(d.db, sizeof(d.db), "%s/sub", d.dir);
        ck_assert_int_eq(mkdir(d.db, 0700), 0);
        word = d.db;
        break;
    }
    daemon_write(&d);
    run_program(&run, NULL, daemon_binary(), "-c", d.conf, NULL);
    ck_assert_msg(run.status == 1, "status %d\n%s", run.status, run_err(&run));
    ck_assert_uint_gt(run.err.len, 0);
    ck_assert_msg(_i == 0 || strstr(run_err(&run), word) != NULL, "no %s in: %s", word, run_err(&run));
    run_fini(&run);
    ck_assert_int_ne(http_try_connect(&unused, d.admin_port), 0);
    daemon_fini(&d);
    fake_stop(&taken);
}
END_TEST

/* A database that is another program's, or a newer version's: refused with the line that names it, by -t too.
 */
START_TEST(unusable_database)
{
    char out[64];
    char place[256];
    struct run run;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_stop(&b.daemon);
    daemon_sql(&b.daemon, _i < 2 ? "PRAGMA user_version = 99" : "ALTER TABLE key_state RENAME TO other", out,
               sizeof(out));
    run_program(&run, NULL, daemon_binary(), "-c", b.daemon.conf, _i % 2 ? "-t" : NULL, NULL);
    snprintf(place, sizeof(place), "%s:", b.daemon.conf);
    ck_assert_msg(run.status == 1, "status %d\n%s", run.status, run_err(&run));
    const char *at = strstr(run_err(&run), place);
    ck_assert_msg(at != NULL && at[strlen(place)] >= '1' && at[strlen(place)] <= '9', "%s", run_err(&run));
    run_fini(&run);
    daemon_fini(&b.daemon);
    fake_stop(&b.fake);
}
END_TEST

/* A damaged database is moved aside and begun anew. */
START_TEST(damaged_database)
{
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[_i], KEY0, NULL);
    ck_assert_int_eq(util_write_file(b.daemon.db, "this is no database, is it? it is not.", 38, 0640), 0);
    daemon_start(&b.daemon);
    ck_assert(daemon_log_has(&b.daemon, "damaged"));
    bench_post(&b, NULL, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    daemon_expect_states(&b.daemon, b.api->name, "valid");
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("config");
    TCase *tc = suite_case(s, "config", 60);

    tcase_add_loop_test(tc, errors_have_their_place, 0, WRONG_COUNT);
    tcase_add_loop_test(tc, open_key_files, 0, 2);
    tcase_add_test(tc, test_of_a_good_file);
    tcase_add_test(tc, effective_configuration);
    tcase_add_loop_test(tc, version_and_help, 0, 2);
    tcase_add_loop_test(tc, starts_that_fail, 0, 3);
    tcase_add_loop_test(tc, unusable_database, 0, 4);
    tcase_add_loop_test(tc, damaged_database, 0, SUITE_API_COUNT);
    return suite_run(s);
}
