/*
 * soak: an hour's worth of work in small, for `make soak`: requests with failovers, streams, uploads, clients
 * and providers that go away, reloads. Memory and descriptors of every process at the end must be what they
 * were after the warm-up. Not part of make check.
 */
#include "e2e/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS       8
#define ROUNDS        22
#define ROUND         10000 /* requests */
#define RELOAD_ROUNDS 6     /* the first ones; afterwards the same processes serve to the end */
#define RELOADS       3     /* in each of them */
#define WARM          9     /* rounds that are warm-up: three without a reload */
#define WORKERS       2
#define BIG           (300 * 1024) /* more than limits.buffer_memory: goes through a file */

/* What a level may differ: 3 % and 768 KiB a process. 16 bytes lost by each request would be more. */
#define TOLERANCE_KIB(level) ((level)*3 / 100 + 768)
/* Kept connections come and go. */
#define TOLERANCE_FDS (2 * THREADS)

#define STREAM_KEY "sk-soak-stream"
#define RESET_KEY  "sk-soak-reset"

static const char big[BIG + 1] = {0};

struct soak {
    struct bench bench;
    atomic_uint done;
    atomic_uint wrong;
    atomic_uint again; /* sent once more on a new connection, as a kept one had been closed */
    atomic_uint left;  /* clients that went away */
    int last_wrong;    /* a status */
};

struct level {
    long kib;
    int fds;
};

enum process { MASTER, ADMIN, WORKER, PROCESSES = WORKER + WORKERS };

/* ---- one client */

struct client {
    struct soak *soak;
    struct http_client http;
    bool connected;
    unsigned n;
};

static bool reach(struct client *c)
{
    if (!c->connected)
        c->connected = http_try_connect(&c->http, c->soak->bench.daemon.port) == 0;
    return c->connected;
}

static void leave(struct client *c)
{
    if (c->connected)
        http_close(&c->http);
    c->connected = false;
}

static void send_and_expect(struct client *c, const struct http_request *request, int status)
{
    struct http_response r = {0};
    bool kept = c->connected;

    for (int attempt = 0; attempt < 2 && r.status == 0; attempt++) {
        if (!reach(c))
            break;
        http_write_request(&c->http, request);
        http_read(&c->http, &r);
        if (r.status != 0 || !kept)
            break;
        /* A kept connection may be closed at any time; whoever meets that tries again, as clients do. */
        http_response_fini(&r);
        leave(c);
        kept = false;
        atomic_fetch_add(&c->soak->again, 1);
    }
    if (r.status != status || !r.clean) {
        atomic_fetch_add(&c->soak->wrong, 1);
        c->soak->last_wrong = r.status;
    }
    if (r.status == 0 || http_get(&r, "Connection") != NULL)
        leave(c);
    http_response_fini(&r);
}

/* Goes away once the head of a stream is there, or in the middle of an upload. */
static void go_away(struct client *c, const char *target, bool upload)
{
    struct http_response r = {0};

    leave(c);
    if (!reach(c))
        return;
    if (upload) {
        http_print(&c->http, "POST %s HTTP/1.1\r\nHost: soak.test\r\nContent-Length: 5000\r\n\r\nhalf of it",
                   target);
    } else {
        http_print(&c->http,
                   "POST %s HTTP/1.1\r\nHost: soak.test\r\nX-Api-Key: %s\r\nContent-Length: 2\r\n\r\n{}",
                   target, STREAM_KEY);
        http_read_head(&c->http, &r, HTTP_TIMEOUT_MS);
        http_response_fini(&r);
    }
    leave(c);
    atomic_fetch_add(&c->soak->left, 1);
}

static void one_request(struct client *c)
{
    const char *target = c->soak->bench.api->target;
    struct http_request request = {.target = target,
                                   .body = "{\"model\":\"m\",\"max_tokens\":5,\"messages\":[]}"};

    switch (c->n++ % 25) {
    case 0:
        request.headers = "X-Api-Key: " STREAM_KEY "\r\n";
        send_and_expect(c, &request, 200);
        break;
    case 5:
        go_away(c, target, false);
        break;
    case 10:
        request.body = big;
        request.body_len = BIG;
        send_and_expect(c, &request, 200);
        break;
    case 15:
        request.headers = "X-Api-Key: " RESET_KEY "\r\n";
        send_and_expect(c, &request, 502);
        break;
    case 20:
        go_away(c, target, true);
        break;
    case 24:
        leave(c); /* the next one is on a new connection */
        send_and_expect(c, &request, 200);
        break;
    default:
        send_and_expect(c, &request, 200);
        break;
    }
    atomic_fetch_add(&c->soak->done, 1);
}

static void *client_main(void *arg)
{
    struct client c = {.soak = arg};

    for (int i = 0; i < ROUND / THREADS; i++)
        one_request(&c);
    leave(&c);
    return NULL;
}

/* ---- what is measured */

static void measure(const struct daemon *d, struct level levels[PROCESSES])
{
    pid_t pids[PROCESSES] = {[MASTER] = d->pid};

    ck_assert(daemon_wait_workers(d, WORKERS, 0, DAEMON_READY_MS));
    ck_assert_uint_eq(daemon_children(d, "admin", &pids[ADMIN], 1), 1);
    ck_assert_uint_eq(daemon_children(d, "worker", &pids[WORKER], WORKERS), WORKERS);
    for (int i = 0; i < PROCESSES; i++)
        levels[i] = (struct level){.kib = util_rss_kib(pids[i]), .fds = util_open_fds(pids[i])};
}

struct until {
    struct soak *soak;
    unsigned done;
};

static bool has_done(void *arg)
{
    const struct until *u = arg;

    return atomic_load(&u->soak->done) >= u->done;
}

/* A provider that is used for a while, so that its records do not fill this process. */
static void change_provider(struct soak *s, struct fake **old)
{
    static const struct fake_answer limited = {.status = 429, .headers = "retry-after-ms: 20\r\n"};
    static const struct fake_answer stream = {.framing = FAKE_CHUNKED, .events = 5};
    static const struct fake_answer reset = {.action = FAKE_RESET};

    *old = s->bench.fake;
    s->bench.fake = fake_start(NULL);
    ck_assert_ptr_nonnull(s->bench.fake);
    fake_on_key(s->bench.fake, KEY0, &limited);
    fake_on_key(s->bench.fake, STREAM_KEY, &stream);
    fake_on_key(s->bench.fake, RESET_KEY, &reset);
    daemon_forget_providers(&s->bench.daemon);
    daemon_provider(&s->bench.daemon, s->bench.api->name, fake_url(s->bench.fake), KEY0 " " KEY1, NULL);
    daemon_write(&s->bench.daemon);
}

static void run_round(struct soak *s, int round, struct level levels[PROCESSES])
{
    pthread_t threads[THREADS];
    unsigned before = atomic_load(&s->done);

    for (size_t i = 0; i < THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, client_main, s), 0);
    for (unsigned i = 1; round < RELOAD_ROUNDS && i <= RELOADS; i++) {
        struct until until = {.soak = s, .done = before + i * (ROUND / (RELOADS + 1))};

        ck_assert(util_wait(has_done, &until, 120000));
        daemon_reload(&s->bench.daemon);
    }
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    measure(&s->bench.daemon, levels);
}

static void print_row(const struct soak *s, int round, int64_t begin_us, const struct level levels[PROCESSES])
{
    if (round == 0)
        printf("%8s %9s %9s %7s  %12s %12s %12s %12s\n", "seconds", "requests", "failovers", "left", "master",
               "admin", "worker", "worker");
    printf("%8.1f %9u %9u %7u ", (double)(util_now_us() - begin_us) / 1e6, atomic_load(&s->done),
           fake_requests_with_key(s->bench.fake, KEY0), atomic_load(&s->left));
    for (int i = 0; i < PROCESSES; i++)
        printf(" %6ld/%-5d", levels[i].kib, levels[i].fds);
    printf("%s\n", round + 1 == WARM ? "  (warm)" : "");
}

START_TEST(level_stays)
{
    static struct soak s;
    struct level warm[PROCESSES] = {{0}};
    struct level now[PROCESSES];
    struct fake *old = NULL;
    int64_t begin_us = util_now_us();

    bench_prepare(&s.bench, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    s.bench.daemon.workers = WORKERS;
    change_provider(&s, &old);
    fake_stop(&old);
    daemon_start(&s.bench.daemon);
    printf("KiB of resident memory / open descriptors\n");
    for (int round = 0; round < ROUNDS; round++) {
        run_round(&s, round, now);
        print_row(&s, round, begin_us, now);
        ck_assert_msg(atomic_load(&s.wrong) == 0, "%u answers were wrong; the last had status %d",
                      atomic_load(&s.wrong), s.last_wrong);
        if (round + 1 == WARM)
            memcpy(warm, now, sizeof(warm));
        if (round + 1 == RELOAD_ROUNDS) {
            change_provider(&s, &old);
            daemon_reload(&s.bench.daemon);
            fake_stop(&old);
        }
    }
    ck_assert_uint_ge(atomic_load(&s.done), 200000);
    for (int i = 0; i < PROCESSES; i++) {
        ck_assert_msg(now[i].kib <= warm[i].kib + TOLERANCE_KIB(warm[i].kib),
                      "process %d grew from %ld to %ld KiB", i, warm[i].kib, now[i].kib);
        ck_assert_msg(now[i].fds <= warm[i].fds + TOLERANCE_FDS, "process %d had %d descriptors and has %d",
                      i, warm[i].fds, now[i].fds);
    }
    printf("%u requests (%u sent again on a new connection, %u clients left), %d reloads; tolerance %d %% + "
           "%d KiB\n",
           atomic_load(&s.done), atomic_load(&s.again), atomic_load(&s.left), RELOAD_ROUNDS * RELOADS + 1, 3,
           768);
    bench_close(&s.bench);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("soak");
    TCase *tc = suite_case(suite, "soak", 900);

    tcase_add_test(tc, level_stays);
    return suite_run(suite);
}
