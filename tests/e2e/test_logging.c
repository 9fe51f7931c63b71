/*
 * test_logging: the daemon's log on every target in both formats, and what happens when the target takes no
 * more: requests do not wait, lines are dropped, and their number is told later.
 */
#include "e2e/degraded.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 10000
/* So many requests' lines fill a pipe of one page many times over. */
#define REQUESTS 400

#define TIME    "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z"
#define MESSAGE TIME " (error|warning|info|debug) (master|admin|worker [0-9]+)\\[[0-9]+\\]: .+"
#define REQUEST                                                                                              \
    TIME " [0-9a-f]{16} 127\\.0\\.0\\.1 anthropic POST /anthropic/v1/messages 200 1 " HINT_RE                \
         " [0-9]+ [0-9]+ 42 2 -"
#define HINT_RE "sk-k\\.\\.\\.0000"
#define SYSTEM  "<[0-9]+>[A-Z][a-z]{2} [ 0-9][0-9] [0-9:]{8} clavigerd\\[[0-9]+\\]: "

static bool matches(const char *text, const char *pattern)
{
    regex_t re;
    int rc;

    ck_assert_int_eq(regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB), 0);
    rc = regexec(&re, text, 0, NULL, 0);
    regfree(&re);
    return rc == 0;
}

/* ---- the forms of a line */

struct seen {
    unsigned messages;
    unsigned requests;
};

static void expect_text(const char *line, const char *before, struct seen *seen)
{
    char message[256];
    char request[512];

    /* To syslog a message has no time of its own: the header has it. */
    snprintf(message, sizeof(message), "^%s%s$", before,
             before[0] != '\0' ? &MESSAGE[sizeof(TIME)] : MESSAGE);
    snprintf(request, sizeof(request), "^%s%s$", before, REQUEST);
    if (matches(line, request))
        seen->requests++;
    else if (matches(line, message))
        seen->messages++;
    else
        ck_abort_msg("neither a request nor a message: %s", line);
}

static void expect_json(const char *line, const char *before, struct seen *seen)
{
    static const char *const of_message[] = {"time", "level", "process", "pid", "message"};
    static const char *const of_request[] = {"time",     "id",       "client",    "provider", "method",
                                             "path",     "status",   "attempts",  "key",      "first_byte_ms",
                                             "total_ms", "bytes_in", "bytes_out", "error"};
    char head[128];
    regex_t re;
    regmatch_t match = {0};
    json_t *row;
    bool message;

    snprintf(head, sizeof(head), "^%s", before);
    ck_assert_int_eq(regcomp(&re, head, REG_EXTENDED), 0);
    ck_assert_msg(regexec(&re, line, 1, &match, 0) == 0, "%s", line);
    regfree(&re);
    row = json_loads(line + match.rm_eo, 0, NULL);
    ck_assert_msg(row != NULL, "no JSON: %s", line);
    message = json_object_get(row, "message") != NULL;
    ck_assert_uint_eq(json_object_size(row), message ? 5 : 14);
    for (size_t i = 0; i < json_object_size(row); i++)
        ck_assert_msg(json_object_get(row, message ? of_message[i] : of_request[i]) != NULL, "%s", line);
    json_decref(row);
    if (message)
        seen->messages++;
    else
        seen->requests++;
}

static void expect_lines(char *text, bool json, const char *before, struct seen *seen)
{
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        if (*line == '\0')
            continue;
        if (json)
            expect_json(line, before, seen);
        else
            expect_text(line, before, seen);
    }
}

/* A stand-in for the system's log daemon. */
static int listen_as_syslog(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    ck_assert_int_ge(fd, 0);
    ck_assert_uint_lt(strlen(path), sizeof(addr.sun_path));
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
    ck_assert_int_eq(bind(fd, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    return fd;
}

/* What has come, a line a datagram; for the caller to free. */
static void take_datagrams(int fd, struct buf *out)
{
    char datagram[65536];
    ssize_t n;

    while ((n = recv(fd, datagram, sizeof(datagram), 0)) > 0) {
        buf_append(out, datagram, (size_t)n);
        buf_putc(out, '\n');
    }
}

/* A log daemon that reads: a host's queue may hold no more than ten datagrams. */
struct syslog_reader {
    int fd;
    struct buf *out;
    unsigned lines; /* how many are waited for */
};

static bool has_lines(void *arg)
{
    const struct syslog_reader *reader = arg;
    unsigned lines = 0;

    take_datagrams(reader->fd, reader->out);
    for (size_t i = 0; i < reader->out->len; i++)
        lines += reader->out->data[i] == '\n';
    return lines >= reader->lines;
}

static void read_syslog(int fd, struct buf *out, unsigned more)
{
    struct syslog_reader reader = {.fd = fd, .out = out};

    has_lines(&reader);
    for (size_t i = 0; i < out->len; i++)
        reader.lines += out->data[i] == '\n';
    reader.lines += more;
    ck_assert(util_wait(has_lines, &reader, WAIT_MS));
}

static const char *const targets[] = {"stderr", "file", "syslog"};

START_TEST(every_target_and_format)
{
    const char *target = targets[_i / 2];
    bool json = _i % 2 != 0;
    bool is_syslog = strcmp(target, "syslog") == 0;
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;
    struct buf lines = {0};
    struct seen seen = {0};
    char path[160];
    int fd = -1;

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    snprintf(path, sizeof(path), "%s/%s", d->dir, target);
    daemon_text(&d->log_options, "target = \"%s\"\nformat = %s", strcmp(target, "file") == 0 ? path : target,
                json ? "json" : "text");
    if (is_syslog) {
        fd = listen_as_syslog(path);
        t.faults = faults_begin(d->dir, "state.db");
        snprintf(t.faults->syslog, sizeof(t.faults->syslog), "%s", path);
    }
    daemon_start(d);
    if (is_syslog)
        read_syslog(fd, &lines, 0);
    degraded_post(&t, 5);
    if (is_syslog)
        read_syslog(fd, &lines, 5);
    daemon_stop(d);
    if (is_syslog) {
        take_datagrams(fd, &lines);
        close(fd);
    } else {
        char *text = util_read_file(strcmp(target, "file") == 0 ? path : d->log, NULL);

        ck_assert_ptr_nonnull(text);
        buf_puts(&lines, text);
        free(text);
    }
    ck_assert_uint_gt(lines.len, 0);
    buf_putc(&lines, '\0');
    expect_lines(lines.data, json, is_syslog ? SYSTEM : "", &seen);
    ck_assert_uint_eq(seen.requests, 5);
    ck_assert_uint_ge(seen.messages, 4);
    buf_fini(&lines);
    bench_close(&t.bench);
}
END_TEST

/* ---- a target that takes no more */

/* A FIFO of one page; the end that nobody reads for now. */
static int make_fifo(const char *path)
{
    int fd;

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_SETPIPE_SZ, 4096), 4096);
    return fd;
}

struct reading {
    int fd;
    struct buf text;
    unsigned whole;
    unsigned dropped;
};

static void count(struct reading *r)
{
    char *copy = strndup(r->text.data != NULL ? r->text.data : "", r->text.len);
    char *rest = copy;

    r->whole = r->dropped = 0;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        const char *told = strstr(line, "]: ");

        if (matches(line, "^" REQUEST "$"))
            r->whole++;
        else if (told != NULL && strstr(told, "dropped") != NULL)
            r->dropped += (unsigned)strtoul(told + 3, NULL, 10);
    }
    free(copy);
}

/* Reads what is there; true once every request's line has come or was counted as dropped. */
static bool is_balanced(void *arg)
{
    struct reading *r = arg;
    char piece[4096];
    ssize_t n;

    while ((n = read(r->fd, piece, sizeof(piece))) > 0)
        buf_append(&r->text, piece, (size_t)n);
    count(r);
    return r->dropped > 0 && r->whole + r->dropped == REQUESTS;
}

static void await_balance(struct reading *r)
{
    ck_assert_msg(util_wait(is_balanced, r, WAIT_MS), "%u lines, %u dropped: not %d", r->whole, r->dropped,
                  REQUESTS);
    buf_fini(&r->text);
    close(r->fd);
}

/* stderr or a file that is a pipe which nobody reads. */
START_TEST(blocked_pipe)
{
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;
    struct reading r = {0};
    char path[112];

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0, NULL);
    snprintf(path, sizeof(path), "%s/fifo", d->dir);
    r.fd = make_fifo(path);
    if (_i == 0)
        snprintf(d->log, sizeof(d->log), "%s", path);
    else
        daemon_text(&d->log_options, "target = \"%s\"", path);
    daemon_start(d);
    degraded_post(&t, REQUESTS);
    ck_assert_msg(t.slowest_us < DEGRADED_SLOWEST_MS * 1000, "a request took %lld us",
                  (long long)t.slowest_us);
    /* Nothing more is to be said, and yet the number is. */
    await_balance(&r);
    printf("blocked pipe: the slowest of %d requests took %lld ms\n", REQUESTS,
           (long long)t.slowest_us / 1000);
    bench_close(&t.bench);
}
END_TEST

/* A log daemon that reads nothing. */
START_TEST(blocked_syslog)
{
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;
    struct buf lines = {0};
    int64_t end_us;
    char path[112];
    int fd;

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0, NULL);
    snprintf(path, sizeof(path), "%s/syslog", d->dir);
    fd = listen_as_syslog(path);
    t.faults = faults_begin(d->dir, "state.db");
    snprintf(t.faults->syslog, sizeof(t.faults->syslog), "%s", path);
    daemon_text(&d->log_options, "target = syslog");
    daemon_start(d);
    /* Lines leave in batches: so many batches that no queue holds them all. */
    end_us = util_now_us() + 1000000;
    for (unsigned n = 0; n < 4 * REQUESTS || util_now_us() < end_us; n += 50)
        degraded_post(&t, 50);
    ck_assert_msg(t.slowest_us < DEGRADED_SLOWEST_MS * 1000, "a request took %lld us",
                  (long long)t.slowest_us);
    for (end_us = util_now_us() + WAIT_MS * 1000; util_now_us() < end_us;) {
        take_datagrams(fd, &lines);
        if (util_contains(lines.data, lines.len, "log lines were dropped"))
            break;
    }
    ck_assert(util_contains(lines.data, lines.len, "log lines were dropped"));
    close(fd);
    buf_fini(&lines);
    bench_close(&t.bench);
}
END_TEST

/* A disk that is full for ever: stderr or a file. */
START_TEST(full_for_ever)
{
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0, NULL);
    if (_i == 0)
        snprintf(d->log, sizeof(d->log), "/dev/full");
    else
        daemon_text(&d->log_options, "target = \"/dev/full\"");
    daemon_start(d);
    degraded_post(&t, REQUESTS);
    ck_assert_msg(t.slowest_us < DEGRADED_SLOWEST_MS * 1000, "a request took %lld us",
                  (long long)t.slowest_us);
    bench_close(&t.bench);
}
END_TEST

static bool has_failed(void *arg)
{
    const struct trouble *t = arg;

    return atomic_load(&t->faults->failed) > 0;
}

/* A disk that is full for a while. */
START_TEST(full_for_a_while)
{
    struct trouble t = {0};
    struct daemon *d = &t.bench.daemon;
    struct reading r = {0};
    char path[112];

    bench_prepare(&t.bench, &SUITE_APIS[0], KEY0, NULL);
    t.faults = faults_begin(d->dir, "full-disk");
    snprintf(path, sizeof(path), "%s/full-disk", d->dir);
    daemon_text(&d->log_options, "target = \"%s\"", path);
    daemon_start(d);
    atomic_store(&t.faults->after, 0);
    atomic_store(&t.faults->error, ENOSPC);
    degraded_post(&t, REQUESTS);
    ck_assert_msg(t.slowest_us < DEGRADED_SLOWEST_MS * 1000, "a request took %lld us",
                  (long long)t.slowest_us);
    ck_assert(util_wait(has_failed, &t, WAIT_MS)); /* lines are written some at a time */
    atomic_store(&t.faults->error, 0);
    r.fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(r.fd, 0);
    await_balance(&r);
    bench_close(&t.bench);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("logging");
    TCase *tc = suite_case(s, "logging", 60);

    tcase_add_loop_test(tc, every_target_and_format, 0, 2 * sizeof(targets) / sizeof(targets[0]));
    tcase_add_loop_test(tc, blocked_pipe, 0, 2);
    tcase_add_test(tc, blocked_syslog);
    tcase_add_loop_test(tc, full_for_ever, 0, 2);
    tcase_add_test(tc, full_for_a_while);
    return suite_run(s);
}
