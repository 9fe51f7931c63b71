/*
 * usage_table: what the tests of token counts share: a provider that reports the same with each answer, and
 * what the table `usage` holds in the end.
 */
#ifndef E2E_USAGE_TABLE_H
#define E2E_USAGE_TABLE_H

#include "e2e/suite.h"

#include <stdio.h>

#define WAIT_MS 15000

struct expectation {
    struct bench *bench;
    const char *sql;
    const char *wanted;
    char found[4096];
};

static inline bool is_so(void *arg)
{
    struct expectation *e = arg;

    daemon_sql(&e->bench->daemon, e->sql, e->found, sizeof(e->found));
    return strcmp(e->found, e->wanted) == 0;
}

/* Counts are written a moment after their client has its answer. */
static inline void expect_sql(struct bench *b, const char *sql, const char *wanted)
{
    struct expectation e = {.bench = b, .sql = sql, .wanted = wanted};

    ck_assert_msg(util_wait(is_so, &e, WAIT_MS), "%s:\nfound  %s\nwanted %s", sql, e.found, wanted);
}

#define SUMS "SELECT printf('%d %d %d', total(requests), total(input), total(output)) FROM usage"

/* Requests, input and output over all rows. */
static inline void expect_sums(struct bench *b, unsigned requests, unsigned input, unsigned output)
{
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "%u %u %u", requests, input, output);
    expect_sql(b, SUMS, wanted);
}

static inline void post_to(struct bench *b, const char *target, const char *headers, int status)
{
    struct http_request request = {.target = target, .headers = headers, .body = "{}"};
    struct http_response r;

    http_fetch(b->daemon.port, &request, &r);
    ck_assert_msg(r.status == status && r.clean, "%s: %d, not %d: %s", target, r.status, status,
                  http_body(&r));
    http_response_fini(&r);
}

/* An answer of Chat Completions; input 10, output 3. */
static const struct fake_answer plain = {
    .headers = "Content-Type: application/json\r\n",
    .body = "{\"model\":\"gpt-x\",\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":3}}"};

static inline void open_plain(struct bench *b, unsigned workers, const char *keys)
{
    bench_prepare(b, &SUITE_APIS[1], keys, NULL);
    b->daemon.workers = workers;
    daemon_start(&b->daemon);
    fake_on_any(b->fake, &plain);
}

static inline void post(struct bench *b, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        post_to(b, SUITE_APIS[1].target, NULL, 200);
}

#endif
