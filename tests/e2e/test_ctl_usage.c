/*
 * test_ctl_usage: what clavigerctl usage says of the table `usage`, to the letter, and how it refuses.
 */
#include "e2e/suite.h"
#include "e2e/tty.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Its exit status and outputs, with up to four arguments. */
static void ctl(struct bench *b, int status, const char *out, const char *err, const char *a0, const char *a1,
                const char *a2, const char *a3)
{
    struct run run;

    run_program(&run, NULL, daemon_ctl_binary(), "-c", b->daemon.conf, "usage", a0, a1, a2, a3, NULL);
    ck_assert_msg(run.status == status, "status %d: %s%s", run.status, run_out(&run), run_err(&run));
    if (out != NULL)
        ck_assert_str_eq(run_out(&run), out);
    if (err != NULL)
        ck_assert_msg(strncmp(run_err(&run), err, strlen(err)) == 0, "%s", run_err(&run));
    run_fini(&run);
}

static void insert(struct bench *b, long long hour, const char *row)
{
    char sql[256];
    char none[8];

    snprintf(sql, sizeof(sql), "INSERT INTO usage VALUES(%lld, %s)", hour, row);
    daemon_sql(&b->daemon, sql, none, sizeof(none));
}

/* The begin of the hour that was so many hours ago. */
static long long hours_ago(int hours)
{
    time_t now = time(NULL);

    return (long long)(now - now % 3600 - (time_t)hours * 3600);
}

static const char by_model[] =
    "provider   model     requests       input  output  cached  written  reasoning\n"
    "anthropic  claude-x        15  12,345,678   1,010     110      120        130\n"
    "openai     gpt-x            1         999       0       0        0          0\n"
    "openai     -                1           1       2       3        4          5\n"
    "total      -               17  12,346,678   1,012     113      124        135\n";

static const char by_client[] =
    "provider   client  requests       input  output  cached  written  reasoning\n"
    "anthropic  alice         10  12,345,000   1,000     100      100        100\n"
    "anthropic  -              5         678      10      10       20         30\n"
    "total      -             15  12,345,678   1,010     110      120        130\n";

static const char by_key[] = "provider  key          requests  input  output  cached  written  reasoning\n"
                             "openai    sk-b...bbbb         1    999       0       0        0          0\n"
                             "openai    byok                1      1       2       3        4          5\n"
                             "total     -                   2  1,000       2       3        4          5\n";

static const char json_rows[] =
    "\",\"by\":\"client\",\"rows\":[{\"provider\":\"openai\",\"client\":null,\"requests\":2,\"input\":1000,"
    "\"output\":2,\"cached\":3,\"written\":4,\"reasoning\":5}],\"total\":{\"requests\":2,\"input\":1000,"
    "\"output\":2,\"cached\":3,\"written\":4,\"reasoning\":5}}\n";

/* Prints what it says of the hours since then. */
static void since_text(int hours, const char *before, const char *after, char *out, size_t size)
{
    time_t at = (time_t)hours_ago(hours);
    struct tm tm;
    char stamp[32];

    gmtime_r(&at, &tm);
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:00:00.000Z", &tm);
    snprintf(out, size, "%s%s%s", before, stamp, after);
}

static void expect_listings(struct bench *b)
{
    char text[1024];

    ctl(b, 0, by_model, "", NULL, NULL, NULL, NULL);
    ctl(b, 0, by_model, "", "--by", "model", "--since", "24h");
    ctl(b, 0, by_client, "", "--by", "client", "anthropic", NULL);
    ctl(b, 0, by_key, "", "--by=key", "openai", "--since=1d", NULL);
    since_text(24, "{\"since\":\"", json_rows, text, sizeof(text));
    ctl(b, 0, text, "", "--json", "--by=client", "openai", NULL);
    since_text(1, "no usage since ", "\n", text, sizeof(text));
    ctl(b, 0, text, "", "--since=60m", "openai", NULL, NULL);
    since_text(
        2, "{\"since\":\"",
        "\",\"by\":\"model\",\"rows\":[],\"total\":{\"requests\":0,\"input\":0,\"output\":0,\"cached\":0,"
        "\"written\":0,\"reasoning\":0}}\n",
        text, sizeof(text));
    ctl(b, 0, text, "", "--since=2h", "--json", "openai", NULL);
}

/* The same whether a daemon runs or not. */
START_TEST(listings)
{
    struct bench b;
    long long hour;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_provider(&b.daemon, "openai", fake_url(b.fake), KEY1, NULL);
    daemon_start(&b.daemon);
    hour = hours_ago(0);
    insert(&b, hours_ago(24),
           "'anthropic', 'alice', 'sk-a...aaaa', 'claude-x', 10, 12345000, 1000, 100, 100, 100");
    insert(&b, hours_ago(3), "'anthropic', '', 'sk-a...aaaa', 'claude-x', 5, 678, 10, 10, 20, 30");
    insert(&b, hours_ago(20), "'openai', '', 'sk-b...bbbb', 'gpt-x', 1, 999, 0, 0, 0, 0");
    insert(&b, hours_ago(23), "'openai', '', 'byok', '', 1, 1, 2, 3, 4, 5");
    insert(&b, hours_ago(26), "'openai', '', 'byok', '', 1000, 1000, 1000, 1000, 1000, 1000");
    insert(&b, hours_ago(-2), "'openai', '', 'byok', '', 1000, 1000, 1000, 1000, 1000, 1000");
    for (int i = 0; i < 2; i++) {
        /* An hour that begins in the middle of it would move what is listed. */
        if (time(NULL) - hour < 3600 - 60)
            expect_listings(&b);
        if (i == 0)
            daemon_stop(&b.daemon);
    }
    ctl(&b, 1, "", "clavigerctl: no such provider is configured, and it was not used in that time\n",
        "nobody", NULL, NULL, NULL);
    bench_close(&b);
}
END_TEST

#define LONG_MODEL "a-model-with-quite-a-long-name-of-64-characters-and-a-date-202601"

/* In a narrow window a long name is shortened, not the line broken; elsewhere it is whole. */
START_TEST(narrow)
{
    struct bench b;
    struct run run;
    struct tty t;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_start(&b.daemon);
    insert(&b, hours_ago(1), "'anthropic', '', 'byok', '" LONG_MODEL "', 10, 12345000, 1000, 100, 100, 100");
    tty_start(&t, &b.daemon, 60, 24, "usage", NULL, NULL, NULL);
    tty_wait(&t, 0);
    ck_assert_uint_le(tty_longest_line(&t), 60);
    ck_assert_msg(tty_has(&t, "a-mod") && tty_has(&t, "...") && tty_has(&t, "01  ") &&
                      tty_has(&t, "12,345,000") && tty_has(&t, "anthropic  "),
                  "%s", t.out.data);
    tty_close(&t);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "usage", NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), LONG_MODEL));
    run_fini(&run);
    bench_close(&b);
}
END_TEST

static const struct {
    const char *arguments[3];
    const char *says;
} wrong[] = {
    {{"--since", "yesterday", NULL},
     "clavigerctl: --since takes minutes, hours or days, as 30m, 24h or 7d\n"},
    {{"--since", "24", NULL}, "clavigerctl: --since takes"},
    {{"--since", "h", NULL}, "clavigerctl: --since takes"},
    {{"--since", "", NULL}, "clavigerctl: --since takes"},
    {{"--since", "0h", NULL}, "clavigerctl: --since takes"},
    {{"--since", "-1h", NULL}, "clavigerctl: --since takes"},
    {{"--since", "1h30m", NULL}, "clavigerctl: --since takes"},
    {{"--since", "1.5h", NULL}, "clavigerctl: --since takes"},
    {{"--since", "36501d", NULL}, "clavigerctl: --since takes"},
    {{"--since", "99999999999999999999h", NULL}, "clavigerctl: --since takes"},
    {{"--by", "team", NULL}, "clavigerctl: --by takes client, key or model\n"},
    {{"--by", "", NULL}, "clavigerctl: --by takes"},
    {{"one", "two", NULL}, "clavigerctl: usage takes fewer arguments\n"},
    {{"--watch", NULL, NULL}, "clavigerctl: --watch is for keys\n"},
};

START_TEST(wrong_usage)
{
    struct bench b;
    struct run run;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_write(&b.daemon);
    ctl(&b, 2, "", wrong[_i].says, wrong[_i].arguments[0], wrong[_i].arguments[1], NULL, NULL);
    if (_i == 0) {
        run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "keys", "--since", "24h", NULL);
        ck_assert_int_eq(run.status, 2);
        ck_assert_ptr_nonnull(strstr(run_err(&run), "--since is for usage\n"));
        run_fini(&run);
        /* Nothing is made by looking. */
        ctl(&b, 1, "", "clavigerctl: state database ", NULL, NULL, NULL, NULL);
        ck_assert_int_ne(access(b.daemon.db, F_OK), 0);
    }
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctl_usage");
    TCase *tc = suite_case(s, "ctl_usage", 60);

    tcase_add_test(tc, listings);
    tcase_add_test(tc, narrow);
    tcase_add_loop_test(tc, wrong_usage, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
    return suite_run(s);
}
