/*
 * test_dump_slow: API dumps on a disk that hangs or is full: no request waits for it or fails, what is left
 * out is counted and told, and a stop writes what is queued. And the process that writes: who outlives whom.
 */
#include "e2e/faults.h"
#include "e2e/suite.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WAIT_MS 20000

struct dumps {
    struct bench bench;
    struct faults *faults;
    char dir[200];
    size_t wanted; /* files */
    uint64_t skipped;
};

static void open_dumps(struct dumps *d)
{
    static const struct fake_answer answer = {.headers = "Content-Type: text/plain\r\n",
                                              .body = "key: " KEY0};
    char dir[160];

    bench_prepare(&d->bench, &SUITE_APIS[1], KEY0, NULL);
    snprintf(dir, sizeof(dir), "%s/dumps", d->bench.daemon.dir);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    daemon_text(&d->bench.daemon.top, "dump { dir = \"%s\" }", dir);
    snprintf(d->dir, sizeof(d->dir), "%s/openai/passthrough", dir);
    d->faults = faults_begin(d->bench.daemon.dir, "/dumps/");
    fake_on_any(d->bench.fake, &answer);
    daemon_start(&d->bench.daemon);
}

static void post(struct dumps *d, size_t len)
{
    static char body[100000];
    struct http_request request = {.target = SUITE_APIS[1].target, .body = body, .body_len = len};
    struct http_response r;

    memset(body, 'x', len);
    http_fetch(d->bench.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
}

static size_t count_files(const struct dumps *d, const char *suffix)
{
    DIR *dir = opendir(d->dir);
    const struct dirent *entry;
    size_t count = 0;

    while (dir != NULL && (entry = readdir(dir)) != NULL)
        count += strstr(entry->d_name, suffix) != NULL;
    if (dir != NULL)
        closedir(dir);
    return count;
}

static bool has_files(void *arg)
{
    const struct dumps *d = arg;

    return count_files(d, ".resp.txt") >= d->wanted;
}

static void read_skipped(struct dumps *d)
{
    static const char name[] = "\nclaviger_dumps_skipped_total ";
    struct http_request metrics = {.method = "GET", .target = "/metrics"};
    struct http_response r;
    const char *line;

    http_fetch(d->bench.daemon.admin_port, &metrics, &r);
    line = strstr(http_body(&r), name);
    ck_assert_ptr_nonnull(line);
    d->skipped = strtoull(line + strlen(name), NULL, 10);
    http_response_fini(&r);
}

static bool has_skipped(void *arg)
{
    struct dumps *d = arg;

    read_skipped(d);
    return d->skipped > 0;
}

static void expect_once(const struct dumps *d, const char *text)
{
    char *log;
    const char *first;

    ck_assert(daemon_wait_log(&d->bench.daemon, text, WAIT_MS));
    log = util_read_file(d->bench.daemon.log, NULL);
    first = strstr(log, text);
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_null(strstr(first + 1, text));
    free(log);
}

/* Every file: complete, and without the key. */
static void expect_complete(const struct dumps *d)
{
    DIR *dir = opendir(d->dir);
    const struct dirent *entry;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[512];
        char *text;

        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", d->dir, entry->d_name);
        text = util_read_file(path, NULL);
        ck_assert_ptr_nonnull(text);
        ck_assert_ptr_null(strstr(text, SUITE_CANARY));
        if (strstr(entry->d_name, ".resp.txt") != NULL)
            ck_assert_msg(strstr(text, "\r\n\r\nkey: ****") != NULL ||
                              strstr(text, "[left out from here on") != NULL,
                          "%s: %s", path, text);
        else
            ck_assert_msg(strstr(text, "\r\n\r\nxxxx") != NULL ||
                              strstr(text, "[left out from here on") != NULL,
                          "%s: %s", path, text);
        free(text);
    }
    closedir(dir);
}

#define REQUESTS 150

/* 150 requests of 100 KB are more than the queue takes. */
START_TEST(a_disk_that_hangs)
{
    struct dumps d;

    open_dumps(&d);
    atomic_store(&d.faults->hold, 1);
    for (int i = 0; i < REQUESTS; i++)
        post(&d, 100000);
    ck_assert_uint_le(count_files(&d, ".txt"), 1);
    read_skipped(&d);
    ck_assert_uint_gt(d.skipped, REQUESTS / 4);
    ck_assert_uint_lt(d.skipped, REQUESTS / 2);
    expect_once(&d, "is slower than the traffic; attempts are left out");
    atomic_store(&d.faults->hold, 0);
    d.wanted = REQUESTS - (size_t)d.skipped;
    ck_assert_msg(util_wait(has_files, &d, WAIT_MS), "%zu files", count_files(&d, ".resp.txt"));
    post(&d, 100);
    d.wanted++;
    ck_assert(util_wait(has_files, &d, WAIT_MS));
    daemon_stop(&d.bench.daemon);
    d.bench.daemon.pid = 0;
    expect_complete(&d);
    bench_close(&d.bench);
}
END_TEST

/* The worker that drains has its dumps written before it ends. */
START_TEST(a_stop)
{
    struct dumps d;

    open_dumps(&d);
    atomic_store(&d.faults->hold, 1);
    for (int i = 0; i < 20; i++)
        post(&d, 1000);
    ck_assert_uint_le(count_files(&d, ".txt"), 1);
    ck_assert_int_eq(kill(d.bench.daemon.pid, SIGTERM), 0);
    atomic_store(&d.faults->hold, 0);
    ck_assert_int_eq(daemon_wait(&d.bench.daemon, WAIT_MS), 0);
    ck_assert_uint_eq(count_files(&d, ".req.txt"), 20);
    ck_assert_uint_eq(count_files(&d, ".resp.txt"), 20);
    expect_complete(&d);
    bench_close(&d.bench);
}
END_TEST

/* We are the reaper of all that the daemon leaves behind. */
static bool no_process_left(void *arg)
{
    (void)arg;
    while (waitpid(-1, NULL, WNOHANG) > 0)
        continue;
    return errno == ECHILD;
}

/* But it does not wait for ever; nor does the process that writes when its master is gone at once. */
START_TEST(a_stop_while_it_hangs)
{
    static const int signals[] = {SIGTERM, SIGQUIT, SIGKILL};
    struct dumps d;

    open_dumps(&d);
    atomic_store(&d.faults->hold, 1);
    post(&d, 1000);
    ck_assert_int_eq(kill(d.bench.daemon.pid, signals[_i]), 0);
    (void)daemon_wait(&d.bench.daemon, WAIT_MS);
    ck_assert(util_wait(no_process_left, NULL, WAIT_MS));
    if (signals[_i] != SIGKILL)
        expect_once(&d, "what was not written yet is lost");
    bench_close(&d.bench);
}
END_TEST

START_TEST(a_full_disk)
{
    struct dumps d;

    open_dumps(&d);
    atomic_store(&d.faults->error, ENOSPC);
    for (int i = 0; i < 5; i++)
        post(&d, 1000);
    expect_once(&d, "No space left on device; attempts are not dumped");
    ck_assert(util_wait(has_skipped, &d, WAIT_MS));
    atomic_store(&d.faults->error, 0);
    post(&d, 1000);
    expect_once(&d, "can be written again");
    bench_close(&d.bench);
}
END_TEST

/* ---- the process that writes */

static pid_t worker_of(const struct dumps *d)
{
    pid_t pid;

    ck_assert_uint_eq(daemon_children(&d->bench.daemon, "worker", &pid, 1), 1);
    return pid;
}

static pid_t writer_of(const struct dumps *d)
{
    return daemon_writer_of(worker_of(d));
}

static bool has_ended(void *arg)
{
    const pid_t *pid = arg;

    return waitpid(*pid, NULL, WNOHANG) == *pid;
}

/* It writes what a worker has left behind, and ends. */
START_TEST(a_killed_worker)
{
    struct dumps d;
    pid_t worker;
    pid_t writer;

    open_dumps(&d);
    worker = worker_of(&d);
    writer = writer_of(&d);
    atomic_store(&d.faults->hold, 1);
    for (int i = 0; i < 20; i++)
        post(&d, 1000);
    ck_assert_uint_le(count_files(&d, ".txt"), 1);
    ck_assert_int_eq(kill(worker, SIGKILL), 0);
    ck_assert(daemon_wait_log(&d.bench.daemon, "was killed by signal 9", WAIT_MS));
    atomic_store(&d.faults->hold, 0);
    ck_assert(util_wait(has_ended, &writer, WAIT_MS));
    ck_assert_uint_eq(count_files(&d, ".req.txt"), 20);
    ck_assert_uint_eq(count_files(&d, ".resp.txt"), 20);
    expect_complete(&d);
    ck_assert(daemon_wait_workers(&d.bench.daemon, 1, worker, WAIT_MS));
    d.wanted = 21;
    post(&d, 1000);
    ck_assert(util_wait(has_files, &d, WAIT_MS));
    bench_close(&d.bench);
}
END_TEST

static bool has_no_child(void *arg)
{
    const pid_t *pid = arg;
    char path[64];
    char *text;
    bool has_none;

    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)*pid, (int)*pid);
    text = util_read_file(path, NULL);
    has_none = text != NULL && text[0] == '\0';
    free(text);
    return has_none;
}

/* Nothing is dumped any more, which is counted and told; requests go on. A reload helps. */
START_TEST(a_killed_writer)
{
    struct dumps d;
    pid_t worker;
    uint64_t before;

    open_dumps(&d);
    worker = worker_of(&d);
    d.wanted = 1;
    post(&d, 1000);
    ck_assert(util_wait(has_files, &d, WAIT_MS));
    ck_assert(!has_no_child(&worker));
    ck_assert_int_eq(kill(writer_of(&d), SIGKILL), 0);
    ck_assert(daemon_wait_log(&d.bench.daemon, "nothing is dumped until the next reload", WAIT_MS));
    ck_assert(util_wait(has_no_child, &worker, WAIT_MS)); /* a zombie would be one */
    read_skipped(&d);
    before = d.skipped;
    ck_assert_uint_le(before, 1); /* the first one, if it was not done with it */
    for (int i = 0; i < 5; i++)
        post(&d, 100000);
    read_skipped(&d);
    ck_assert_uint_eq(d.skipped, before + 5);
    expect_once(&d, "was killed by signal 9 (Killed); nothing is dumped");
    ck_assert(!daemon_log_has(&d.bench.daemon, "slower than the traffic"));
    ck_assert_uint_eq(count_files(&d, ".resp.txt"), 1);
    ck_assert_int_eq(worker_of(&d), worker);
    daemon_reload(&d.bench.daemon);
    d.wanted = 2;
    post(&d, 1000);
    ck_assert(util_wait(has_files, &d, WAIT_MS));
    bench_close(&d.bench);
}
END_TEST

struct descriptors {
    char links[64][64];
    size_t count;
};

/* What a process has open beside 0 to 2; false when that is not to be seen. */
static bool list_descriptors(pid_t pid, struct descriptors *fds)
{
    char path[64];
    DIR *dir;
    const struct dirent *entry;
    bool seen;

    fds->count = 0;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    seen = dir != NULL;
    while (dir != NULL && (entry = readdir(dir)) != NULL && fds->count < 64) {
        char *link = fds->links[fds->count];
        ssize_t n;

        if (strtol(entry->d_name, NULL, 10) <= 2)
            continue;
        n = readlinkat(dirfd(dir), entry->d_name, link, sizeof(fds->links[0]) - 1);
        seen = seen && n > 0;
        link[n > 0 ? n : 0] = '\0';
        fds->count++;
    }
    if (dir != NULL)
        closedir(dir);
    return seen;
}

/* A file is open for a moment longer than its text takes to be there. */
static bool has_no_file(void *arg)
{
    static struct descriptors fds;
    const pid_t *pid = arg;

    return !list_descriptors(*pid, &fds) || fds.count == 2;
}

static bool shares_a_socket(const struct descriptors *a, const struct descriptors *b)
{
    for (size_t i = 0; i < a->count; i++)
        for (size_t k = 0; k < b->count; k++)
            if (strncmp(a->links[i], "socket:", 7) == 0 && strcmp(a->links[i], b->links[k]) == 0)
                return true;
    return false;
}

/* No descriptor of the worker's or the master's, no rights; and signals that everybody gets do not end it. */
START_TEST(what_it_has)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM};
    static struct descriptors of_writer;
    static struct descriptors of_worker;
    static struct descriptors of_master;
    struct dumps d;
    pid_t writer;

    open_dumps(&d);
    d.wanted = 1;
    post(&d, 1000);
    ck_assert(util_wait(has_files, &d, WAIT_MS)); /* so it has made itself ready */
    writer = writer_of(&d);
    ck_assert(util_wait(has_no_file, &writer, WAIT_MS));
    if (list_descriptors(writer, &of_writer) && list_descriptors(worker_of(&d), &of_worker) &&
        list_descriptors(d.bench.daemon.pid, &of_master)) {
        ck_assert_uint_eq(of_writer.count, 2);
        ck_assert(shares_a_socket(&of_worker, &of_master)); /* those that listen */
        ck_assert(!shares_a_socket(&of_writer, &of_master));
        ck_assert(!shares_a_socket(&of_writer, &of_worker));
    }
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        ck_assert_int_eq(kill(writer, signals[i]), 0);
    d.wanted = 2;
    post(&d, 1000);
    ck_assert(util_wait(has_files, &d, WAIT_MS));
    ck_assert_int_eq(writer_of(&d), writer);
    bench_close(&d.bench);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dump_slow");
    TCase *tc = suite_case(s, "dump_slow", 120);

    tcase_add_test(tc, a_disk_that_hangs);
    tcase_add_test(tc, a_stop);
    tcase_add_loop_test(tc, a_stop_while_it_hangs, 0, 3);
    tcase_add_test(tc, a_full_disk);
    tcase_add_test(tc, a_killed_worker);
    tcase_add_test(tc, a_killed_writer);
    tcase_add_test(tc, what_it_has);
    return suite_run(s);
}
