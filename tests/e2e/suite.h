/*
 * suite: what every end-to-end test program shares: its main, its keys, a daemon with a fake provider behind
 * it, and the checks that many tests make.
 */
#ifndef E2E_SUITE_H
#define E2E_SUITE_H

#include "e2e/daemon.h"
#include "e2e/fake.h"
#include "e2e/http.h"
#include "e2e/util.h"

#include <check.h>
#include <string.h>

/* "https" in test programs built with SUITE_TLS, where clients speak TLS, else "http". */
#ifdef SUITE_TLS
#define SUITE_SCHEME "https"
#else
#define SUITE_SCHEME "http"
#endif

/* Runs the suite. The logs of daemons whose tests failed are printed. For `return suite_run(…)` in main. */
#define suite_run(suite) suite_run_with(suite, strcmp(SUITE_SCHEME, "https") == 0)
int suite_run_with(Suite *suite, bool tls);

/* A test case whose tests may take so long each. */
TCase *suite_case(Suite *suite, const char *name, double timeout_s);

/* Every key of the tests holds this, and nothing else does. */
#define SUITE_CANARY "CANARY7f3b"
#define KEY0         "sk-k0-" SUITE_CANARY "-aaaa0000"
#define KEY1         "sk-k1-" SUITE_CANARY "-bbbb1111"
#define KEY2         "sk-k2-" SUITE_CANARY "-cccc2222"
#define HINT0        "sk-k...0000"
#define HINT1        "sk-k...1111"
#define HINT2        "sk-k...2222"
#define OWN_KEY      "sk-own-" SUITE_CANARY "-dddd3333"

/* What tests of a provider's type need to know; SUITE_APIS[0] is anthropic, [1] openai. */
struct suite_api {
    const char *name;                  /* provider and type */
    const char *target;                /* a request's target */
    const char *error_rate_limited[2]; /* type and code of the error JSON; NULL = has none */
    const char *error_api[2];
    const char *error_timeout[2];
};

#define SUITE_API_COUNT 2
extern const struct suite_api SUITE_APIS[SUITE_API_COUNT];

/* A daemon and its fake provider. */
struct bench {
    struct daemon daemon;
    struct fake *fake;
    const struct suite_api *api;
};

/* One provider of that api before a fake with these keys ("KEY0 KEY1", NULL = none); not started. */
void bench_prepare(struct bench *b, const struct suite_api *api, const char *keys, const char *more);

/* The same, started. */
void bench_open(struct bench *b, const struct suite_api *api, const char *keys, const char *more);

/* Stops both, and proves that no key is in any file that the daemon wrote, nor in its environment. */
void bench_close(struct bench *b);

/* A POST with a small JSON body to the api's target; headers are lines, may be NULL. */
void bench_post(struct bench *b, const char *headers, struct http_response *response);

/* The same, whose answer must have that status. */
void bench_post_expect(struct bench *b, int status);

/* A key's header line as a client of that api sends it, in a static buffer per call of a thread. */
const char *bench_auth(const struct bench *b, const char *key);

/* An answer of the daemon's own: status, X-Claviger-Error, Content-Type and the JSON error of the api's shape
 * (api NULL: openai's) with type, code and a message that holds the text. types is one of the api's pairs. */
void expect_error(const struct http_response *response, const struct suite_api *api, int status,
                  const char *code, const char *const types[2], const char *text);

/* A whole answer from the provider: status and body; no X-Claviger-Error. */
void expect_answer(const struct http_response *response, int status, const char *body);

/* How many requests came in, each key's too. */
void expect_requests(struct bench *b, unsigned count);

/* A key's answer: a refusal with that Retry-After line, NULL = without. */
#define REFUSE(code, line)                                                                                   \
    {                                                                                                        \
        .status = (code), .headers = (line), .body = "{\"refused\":" #code "}"                               \
    }

#endif
