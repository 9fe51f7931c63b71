/*
 * test_ctl_watch: clavigerctl on terminals, wide and narrow, and keys --watch on a terminal and on a pipe.
 */
#include "e2e/follower.h"
#include "e2e/suite.h"
#include "e2e/tty.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define LONG_NAME "a_provider_with_a_name_that_is_too_long_for_the_window"

/* The first key is rate-limited for ten minutes, the second refused. */
static void open_marked(struct bench *b)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const struct fake_answer refused = {.status = 401};
    struct http_response r;

    ck_assert_int_eq(setenv("TERM", "xterm", 1), 0);
    ck_assert_int_eq(unsetenv("NO_COLOR"), 0);
    bench_prepare(b, &SUITE_APIS[0], KEY0 " " KEY1 " " KEY2, NULL);
    daemon_provider(&b->daemon, LONG_NAME, fake_url(b->fake), KEY1, "    type = openai");
    daemon_start(&b->daemon);
    fake_on_key(b->fake, KEY0, &limited);
    fake_on_key(b->fake, KEY1, &refused);
    bench_post(b, NULL, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    daemon_expect_states(&b->daemon, b->api->name, "temporary permanent valid");
}

/* In a wide window all columns and the whole name, in narrow ones what fits; always state and hint. */
START_TEST(keys_fit_the_window)
{
    static const struct {
        unsigned columns;
        const char *there;
        const char *not_there;
    } widths[] = {{200, LONG_NAME, NULL},           {165, "updated", "key_id"}, {140, "failures", "updated"},
                  {100, "seconds left", "updated"}, {70, "a_prov", LONG_NAME},  {60, "a_pr", LONG_NAME}};
    struct bench b;
    struct tty t;

    open_marked(&b);
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        tty_start(&t, &b.daemon, widths[i].columns, 24, "keys", NULL, NULL, NULL);
        tty_wait(&t, 0);
        ck_assert_msg(tty_longest_line(&t) <= widths[i].columns, "%u columns, a line of %zu: %s",
                      widths[i].columns, tty_longest_line(&t), t.out.data);
        ck_assert_msg(tty_has(&t, widths[i].there), "%u: no %s in: %s", widths[i].columns, widths[i].there,
                      t.out.data);
        ck_assert(widths[i].not_there == NULL || !tty_has(&t, widths[i].not_there));
        ck_assert(tty_has(&t, HINT0) && tty_has(&t, "temporary") && tty_has(&t, "permanent"));
        tty_close(&t);
    }
    bench_close(&b);
}
END_TEST

/* A state has its colour on a terminal, unless NO_COLOR or the terminal says no; never elsewhere. */
START_TEST(colours)
{
    struct bench b;
    struct run run;
    struct tty t;

    open_marked(&b);
    tty_start(&t, &b.daemon, 120, 24, "keys", NULL, NULL, NULL);
    tty_wait(&t, 0);
    ck_assert(tty_has(&t, "\033[33mtemporary\033[0m") && tty_has(&t, "\033[31mpermanent\033[0m"));
    tty_close(&t);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "keys", NULL);
    ck_assert_ptr_null(strchr(run_out(&run), '\033'));
    ck_assert_ptr_nonnull(strstr(run_out(&run), LONG_NAME));
    run_fini(&run);
    ck_assert_int_eq(setenv("NO_COLOR", "1", 1), 0);
    tty_start(&t, &b.daemon, 120, 24, "status", NULL, NULL, NULL);
    tty_wait(&t, 0);
    ck_assert(!tty_has(&t, "\033") && tty_has(&t, "is serving as pid"));
    tty_close(&t);
    ck_assert_int_eq(unsetenv("NO_COLOR"), 0);
    ck_assert_int_eq(setenv("TERM", "dumb", 1), 0);
    tty_start(&t, &b.daemon, 120, 24, "keys", NULL, NULL, NULL);
    tty_wait(&t, 0);
    ck_assert(!tty_has(&t, "\033"));
    tty_close(&t);
    bench_close(&b);
}
END_TEST

/* The seconds of the row with that state in what came last behind byte `from`; -1 = none yet. */
static long seconds_shown(const struct tty *t, size_t from)
{
    const char *p = t->out.len > from ? strstr(t->out.data + from, "temporary") : NULL;

    if (p == NULL || strchr(p, '\n') == NULL)
        return -1;
    return strtol(p + strcspn(p, " "), NULL, 10);
}

/* In place: the cooldown counts down, a change shows, the window's width is followed; however it is ended,
 * the terminal is as it was. */
START_TEST(watch_on_a_terminal)
{
    static const char *const ends[] = {"\003", "q", NULL}; /* NULL = SIGTERM */
    struct termios during;
    struct run run;
    struct bench b;
    struct tty t;
    size_t at;
    long first;
    char row[32];

    open_marked(&b);
    tty_start(&t, &b.daemon, 165, 24, "keys", "--watch", "--interval", "0.2");
    at = tty_expect(&t, 0, "\033[?1049h");
    at = tty_expect(&t, at, "\033[J");
    first = seconds_shown(&t, 0);
    ck_assert_int_gt(first, 500);
    ck_assert_int_le(first, 600);
    ck_assert_int_eq(tcgetattr(t.slave, &during), 0);
    ck_assert_uint_eq(during.c_lflag & (tcflag_t)(ECHO | ICANON), 0);
    /* On the spot: no line end but between lines, and the cursor goes home. */
    ck_assert(tty_has(&t, "\033[H20") && tty_has(&t, "updated"));
    snprintf(row, sizeof(row), "%ld", first - 1);
    at = tty_expect(&t, at, row);

    tty_resize(&t, 100, 24);
    while (at = tty_expect(&t, at, "\033[H"), tty_expect(&t, at, "\033[J"),
           strstr(t.out.data + at, "updated") != NULL)
        continue;
    tty_resize(&t, 100, 4);
    at = tty_expect(&t, at, "... and 4 lines more");
    tty_resize(&t, 165, 24);

    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "disable", b.api->name, "2", NULL);
    ck_assert_int_eq(run.status, 0);
    run_fini(&run);
    (void)tty_expect(&t, at, "disabled");

    if (ends[_i] != NULL)
        ck_assert_int_eq(write(t.fd, ends[_i], 1), 1);
    else
        ck_assert_int_eq(kill(t.pid, SIGTERM), 0);
    tty_wait(&t, 0);
    tty_expect_restored(&t);
    tty_close(&t);
    bench_close(&b);
}
END_TEST

/* Suspended it gives the terminal back, continued it takes it again. */
START_TEST(watch_is_suspended)
{
    struct termios now;
    struct bench b;
    struct tty t;
    size_t at;
    int status;

    open_marked(&b);
    tty_start(&t, &b.daemon, 120, 24, "keys", "--watch", NULL, NULL);
    at = tty_expect(&t, 0, "\033[J");
    ck_assert_int_eq(write(t.fd, "\032", 1), 1);
    at = tty_expect(&t, at, "\033[?1049l");
    ck_assert_int_eq(waitpid(t.pid, &status, WUNTRACED), t.pid);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(tcgetattr(t.slave, &now), 0);
    ck_assert_uint_eq(now.c_lflag, t.before.c_lflag);
    ck_assert_int_eq(kill(t.pid, SIGCONT), 0);
    at = tty_expect(&t, at, "\033[?1049h");
    (void)tty_expect(&t, at, "temporary");
    ck_assert_int_eq(write(t.fd, "\003", 1), 1);
    tty_wait(&t, 0);
    tty_expect_restored(&t);
    tty_close(&t);
    bench_close(&b);
}
END_TEST

/* ---- no terminal */

static size_t count_of(const struct buf *text, const char *part)
{
    size_t count = 0;

    for (const char *p = text->len > 0 ? text->data : ""; (p = strstr(p, part)) != NULL; p++)
        count++;
    return count;
}

static void await_parts(struct follower *f, const char *part, size_t count)
{
    while (count_of(&f->out, part) < count)
        follower_read(f, part);
}

/* Tables, or lines of JSON, one below the other. A database that goes away meanwhile is told, and its return
 * seen. */
START_TEST(watch_on_a_pipe)
{
    struct follower f;
    struct bench b;
    char moved[160];

    open_marked(&b);
    daemon_stop(&b.daemon);
    follower_start(&f, &b.daemon, "keys", b.api->name, "--watch", "--interval=0.1",
                   _i == 0 ? NULL : "--json");
    await_parts(&f, _i == 0 ? HINT0 : "\n", 3);
    ck_assert_ptr_null(strchr(f.out.data, '\033'));
    if (_i == 0)
        ck_assert_uint_ge(count_of(&f.out, "\n\n20"), 1);
    else
        ck_assert_int_eq(f.out.data[0], '[');
    snprintf(moved, sizeof(moved), "%s.away", b.daemon.db);
    ck_assert_int_eq(rename(b.daemon.db, moved), 0);
    await_parts(&f, "No such file or directory", 2);
    if (_i == 1)
        ck_assert_uint_ge(count_of(&f.out, "\n{\"ok\":false,\"error\":\""), 2);
    ck_assert_int_eq(rename(moved, b.daemon.db), 0);
    await_parts(&f, HINT0, count_of(&f.out, HINT0) + 2);
    follower_end(&f);
    bench_close(&b);
}
END_TEST

/* What is wrong at the first look ends it. */
START_TEST(watch_of_nobody)
{
    struct run run;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", b.daemon.conf, "keys", "nobody", "--watch", NULL);
    ck_assert_int_eq(run.status, 1);
    ck_assert_ptr_nonnull(strstr(run_err(&run), "nobody"));
    ck_assert_uint_eq(run.out.len, 0);
    run_fini(&run);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ctl_watch");
    TCase *tc = suite_case(s, "ctl_watch", 60);

    tcase_add_test(tc, keys_fit_the_window);
    tcase_add_test(tc, colours);
    tcase_add_loop_test(tc, watch_on_a_terminal, 0, 3);
    tcase_add_test(tc, watch_is_suspended);
    tcase_add_loop_test(tc, watch_on_a_pipe, 0, 2);
    tcase_add_test(tc, watch_of_nobody);
    return suite_run(s);
}
