/*
 * degraded: what the tests of a state database in trouble share.
 */
#include "e2e/degraded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

const struct fake_answer degraded_429 = {.status = 429, .headers = "Retry-After: 600\r\n"};
const struct fake_answer degraded_401 = {.status = 401};

/* ---- requests, and what they must not notice */

void degraded_post(struct trouble *t, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct http_response r;
        int64_t begin_us = util_now_us();
        int64_t took_us;

        bench_post(&t->bench, NULL, &r);
        took_us = util_now_us() - begin_us;
        ck_assert_msg(r.status == 200, "status %d, not 200: %s", r.status, http_body(&r));
        if (took_us > t->slowest_us)
            t->slowest_us = took_us;
        http_response_fini(&r);
    }
}

void degraded_expect_marks(struct trouble *t, unsigned count)
{
    struct bench *b = &t->bench;
    unsigned all = fake_requests(b->fake);
    unsigned last = fake_requests_with_key(b->fake, KEY2);

    degraded_post(t, count);
    expect_requests(b, all + count);
    ck_assert_uint_eq(fake_requests_with_key(b->fake, KEY2), last + count);
}

void degraded_mark(struct trouble *t)
{
    fake_on_key(t->bench.fake, KEY0, &degraded_429);
    fake_on_key(t->bench.fake, KEY1, &degraded_401);
    degraded_post(t, 1);
}

/* ---- what the operator sees */

unsigned degraded_count(const struct daemon *d, const char *text)
{
    char *log = util_read_file(d->log, NULL);
    unsigned n = 0;

    ck_assert_ptr_nonnull(log);
    for (const char *p = log; (p = strstr(p, text)) != NULL; p += strlen(text))
        n++;
    free(log);
    return n;
}

struct sight {
    const struct daemon *d;
    const char *word; /* ok, busy, failing */
};

static bool readyz_says(void *arg)
{
    const struct sight *s = arg;
    struct http_request request = {.method = "GET", .target = "/readyz"};
    struct http_response r;
    char line[64];
    bool says;

    http_fetch(s->d->admin_port, &request, &r);
    snprintf(line, sizeof(line), "database %s\n", s->word);
    says = r.status == 200 && strstr(http_body(&r), line) != NULL;
    http_response_fini(&r);
    return says;
}

void degraded_expect(const struct daemon *d, const char *word)
{
    struct sight sight = {.d = d, .word = word};
    char text[192];
    struct run run;

    ck_assert_msg(util_wait(readyz_says, &sight, DEGRADED_SOON_MS),
                  "/readyz does not say that the database is %s", word);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", d->conf, "status", NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    snprintf(text, sizeof(text), "database       %s, %s", d->db, word);
    ck_assert_msg(strstr(run_out(&run), text) != NULL, "no %s in: %s", text, run_out(&run));
    ck_assert_int_eq(strstr(run_out(&run), " since 2") != NULL, strcmp(word, "ok") != 0);
    run_fini(&run);
    run_program(&run, NULL, daemon_ctl_binary(), "-c", d->conf, "--json", "status", NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    snprintf(text, sizeof(text), "\"condition\": \"%s\"", word);
    ck_assert_msg(strstr(run_out(&run), text) != NULL, "no %s in: %s", text, run_out(&run));
    run_fini(&run);
}

void degraded_open(struct trouble *t, bool with_faults)
{
    t->bench.daemon.workers = DEGRADED_WORKERS;
    if (with_faults)
        t->faults = faults_begin(t->bench.daemon.dir, "state.db");
    daemon_start(&t->bench.daemon);
    ck_assert(daemon_wait_workers(&t->bench.daemon, DEGRADED_WORKERS, 0, DEGRADED_SOON_MS));
    degraded_post(t, DEGRADED_ROUND);
    degraded_expect(&t->bench.daemon, "ok");
    t->slowest_us = 0;
}

void degraded_close(struct trouble *t)
{
    if (t->bench.daemon.pid != 0)
        daemon_stop(&t->bench.daemon);
    if (t->mounted[0] != '\0')
        ck_assert_int_eq(umount2(t->mounted, MNT_DETACH), 0);
    bench_close(&t->bench);
}
