/*
 * upgrading: a daemon whose binary a test can replace, and the wait for its new master. Called by the
 * programs that test SIGUSR2.
 */
#include "e2e/upgrading.h"

#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char real_binary[PATH_MAX];
static char binary[128];

const char *upgrading_real_binary(void)
{
    return real_binary;
}

const char *upgrading_binary(void)
{
    return binary;
}

/* Puts a file where the binary is, in one step. */
static void put_binary(const void *data, size_t len, mode_t mode)
{
    char temporary[160];

    snprintf(temporary, sizeof(temporary), "%s.new", binary);
    ck_assert_int_eq(util_write_file(temporary, data, len, mode), 0);
    ck_assert_int_eq(rename(temporary, binary), 0);
}

void upgrading_put_good(void)
{
    size_t len = 0;
    char *data = util_read_file(real_binary, &len);

    ck_assert_ptr_nonnull(data);
    put_binary(data, len, 0755);
    free(data);
}

void upgrading_put_script(const char *lines)
{
    struct buf text = {0};

    buf_printf(&text, "#!/bin/sh\nREAL='%s'\n%s\n", real_binary, lines);
    put_binary(text.data, text.len, 0755);
    buf_fini(&text);
}

void upgrading_prepare(struct bench *b, const char *keys)
{
    const char *path = realpath(daemon_binary(), real_binary);

    ck_assert_ptr_nonnull(path);
    bench_prepare(b, &SUITE_APIS[0], keys, NULL);
    snprintf(binary, sizeof(binary), "%s/clavigerd", b->daemon.dir);
    upgrading_put_good();
    ck_assert_int_eq(setenv("CLAVIGERD", binary, 1), 0);
}

void upgrading_open(struct bench *b, unsigned workers)
{
    upgrading_prepare(b, KEY0 " " KEY1 " " KEY2);
    b->daemon.workers = workers;
    daemon_start(&b->daemon);
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

void upgrading_expect_status(const struct daemon *d, const char *text)
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
    pid_t pid = daemon_pid_in_file(d);
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

pid_t upgrading_await_master(struct daemon *d)
{
    pid_t old = d->pid;

    if (!util_wait(has_new_master, d, TAKE_OVER_MS))
        ck_abort_msg("no new master within %d ms", TAKE_OVER_MS);
    d->pid = daemon_pid_in_file(d);
    return old;
}

bool upgrading_is_over(void *arg)
{
    struct upgrading_end *end = arg;

    return waitpid(end->pid, &end->status, WNOHANG) == end->pid;
}

void upgrading_await_end(pid_t old)
{
    struct upgrading_end end = {.pid = old};

    if (!util_wait(upgrading_is_over, &end, TAKE_OVER_MS))
        ck_abort_msg("the old master has not ended within %d ms", TAKE_OVER_MS);
    ck_assert_msg(WIFEXITED(end.status) && WEXITSTATUS(end.status) == 0, "wait status %d", end.status);
}

void upgrading_do(struct bench *b)
{
    ck_assert_int_eq(kill(b->daemon.pid, SIGUSR2), 0);
    upgrading_await_end(upgrading_await_master(&b->daemon));
}
