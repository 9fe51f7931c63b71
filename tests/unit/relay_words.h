/*
 * relay_words: a client in relay_world, and short words for what it, the upstream and the tests of relay do.
 */
#ifndef CLAVIGER_TESTS_RELAY_WORDS_H
#define CLAVIGER_TESTS_RELAY_WORDS_H

#include "unit/relay_world.h"
#include "unit/suite.h"

static inline void on_answer(void *client)
{
    (void)client;
    world.answers++;
}

static inline void on_readable(void *client)
{
    (void)client;
    world.readables++;
}

static inline void on_writable(void *client)
{
    (void)client;
    world.writables++;
}

static const struct relay_client client_ops = {on_answer, on_readable, on_writable};

static struct header_list request_headers;

static inline struct relay *begin(const char *method, const char *target, int64_t length,
                                  const char *authorization)
{
    const struct relay_request request = {
        .method = method,
        .target = target,
        .headers = &request_headers,
        .peer = "127.0.0.1",
        .host = "gateway",
        .framing = {.has_body = length != -1,
                    .chunked = length == -2,
                    .content_length = length < 0 ? -1 : length},
        .arena = &world.arena,
    };
    header_list_clear(&request_headers);
    ck_assert_int_eq(header_add(&request_headers, "Host", 4, "gateway", 7), 0);
    if (authorization != NULL)
        ck_assert_int_eq(header_add(&request_headers, "Authorization", 13, authorization,
                                    strlen(authorization)),
                         0);
    struct relay *relay = relay_new(world.relays, &request, &client_ops, &world);
    ck_assert_ptr_nonnull(relay);
    return relay;
}

static inline void finish(struct relay **relay, bool complete)
{
    relay_finish(relay, complete);
    ck_assert_ptr_null(*relay);
    header_list_fini(&request_headers);
    ck_assert_int_eq(world.logged, 1);
}

static inline void head(int status, const char *name, const char *value)
{
    struct response_head head = {.status = status, .complete = true, .content_length = -1};
    if (name != NULL)
        ck_assert_int_eq(header_add(&head.headers, name, strlen(name), value, strlen(value)), 0);
    ck_assert(world.attempt->events.head(world.attempt->arg, &head));
    response_head_fini(&head);
}

static inline bool body(const char *data, size_t len)
{
    return world.attempt->events.body(world.attempt->arg, data, len);
}

static inline void done(enum upstream_result result, const char *reason)
{
    world.attempt->running = false;
    world.attempt->events.done(world.attempt->arg, result, reason);
}

static inline struct relay_answer answer_of(const struct relay *relay)
{
    struct relay_answer answer = {0};
    ck_assert(relay_answer(relay, &answer));
    return answer;
}

static inline void expect_error(const struct relay *relay, int status, const char *code, const char *text)
{
    struct relay_answer answer = answer_of(relay);
    ck_assert_int_eq(answer.status, status);
    ck_assert_ptr_nonnull(header_find(answer.headers, "X-Claviger-Error"));
    ck_assert_str_eq(header_find(answer.headers, "X-Claviger-Error")->value, code);
    ck_assert_ptr_nonnull(strstr(answer.body, text));
    ck_assert_uint_eq((size_t)answer.content_length, strlen(answer.body));
}

/* The walk begins in the turn. */
static inline void end_body(struct relay *relay)
{
    relay_body_end(relay);
    (void)relays_run(world.relays);
}

#endif
