/*
 * relay_trace: what a request's trace has to know, noted as it happens. A request that is not traced has no
 * struct relay_trace; out of memory it has none either. Nothing here changes what happens to the request but
 * for the field traceparent.
 */
#include "worker/relay_internal.h"

#include <string.h>

struct relay_trace {
    struct trace_request request;
    struct trace_attempt *attempts; /* in the arena, room for cap */
    unsigned count;
    unsigned cap;
};

/* splitmix64 (prng.di.unimi.it/splitmix64.c): ids have to differ, not to be secret. */
static uint64_t next_random(struct relays *relays)
{
    uint64_t z = relays->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* size is a multiple of 8. */
static void make_id(struct relays *relays, unsigned char *out, size_t size)
{
    for (size_t at = 0; at < size; at += sizeof(uint64_t)) {
        uint64_t word;
        do
            word = next_random(relays);
        while (word == 0);
        memcpy(out + at, &word, sizeof word);
    }
}

static int64_t now_ms(const struct relay *relay)
{
    struct store_clock now;
    relay->relays->env.clock(relay->relays->env.clock_arg, &now);
    return now.real_ms;
}

/* The client's decision counts where there is one. */
void relay_trace_begin(struct relay *relay)
{
    const struct relay_env *env = &relay->relays->env;
    struct trace_context client;
    if (env->trace == NULL)
        return;
    const struct header *parent = header_find(relay->request.headers, TRACE_PARENT_HEADER);
    bool has_parent = parent != NULL && trace_parse(parent->value, &client);
    if (!has_parent) {
        make_id(relay->relays, client.id, sizeof client.id);
        client.sampled = trace_is_sampled(client.id, env->conf->trace.share);
    }
    if (!client.sampled)
        return;
    struct relay_trace *trace = arena_alloc(relay->request.arena, sizeof *trace);
    if (trace == NULL)
        return;
    *trace = (struct relay_trace){.request = {.context = client, .has_parent = has_parent}};
    memcpy(trace->request.parent, client.span, sizeof client.span);
    make_id(relay->relays, trace->request.context.span, sizeof client.span);
    relay->trace = trace;
}

static struct trace_attempt *current(const struct relay *relay)
{
    struct relay_trace *trace = relay->trace;
    return trace != NULL && trace->count > 0 ? &trace->attempts[trace->count - 1] : NULL;
}

static struct trace_attempt *new_attempt(struct relay *relay)
{
    struct relay_trace *trace = relay->trace;
    if (trace->count == trace->cap) {
        unsigned cap = trace->cap == 0 ? 4 : 2 * trace->cap;
        struct trace_attempt *attempts = arena_alloc(relay->request.arena, cap * sizeof(*attempts));
        if (attempts == NULL)
            return NULL;
        if (trace->count > 0)
            memcpy(attempts, trace->attempts, trace->count * sizeof(*attempts));
        trace->attempts = attempts;
        trace->cap = cap;
    }
    trace->attempts[trace->count] = (struct trace_attempt){0};
    return &trace->attempts[trace->count++];
}

int relay_trace_send(struct relay *relay)
{
    struct header_list *headers = &relay->upstream_headers;
    char *text = NULL;
    if (relay->trace == NULL)
        return 0;
    relay_trace_attempt_done(relay, NULL);
    struct trace_attempt *attempt = new_attempt(relay);
    if (attempt != NULL)
        text = arena_alloc(relay->request.arena, TRACE_PARENT_SIZE);
    if (text == NULL)
        return -1;
    make_id(relay->relays, attempt->span, sizeof attempt->span);
    attempt->begin_ms = now_ms(relay);
    attempt->key = relay->centralized ? relay->provider->keys[relay->key].hint : "byok";
    struct trace_context context = relay->trace->request.context;
    memcpy(context.span, attempt->span, sizeof context.span);
    trace_format(&context, text);
    header_remove(headers, TRACE_PARENT_HEADER);
    return header_add(headers, TRACE_PARENT_HEADER, strlen(TRACE_PARENT_HEADER), text, strlen(text));
}

void relay_trace_head(struct relay *relay, int status, const char *mark)
{
    struct trace_attempt *attempt = current(relay);
    if (attempt == NULL)
        return;
    attempt->status = status;
    attempt->mark = mark;
}

void relay_trace_attempt_done(struct relay *relay, const char *failure)
{
    struct trace_attempt *attempt = current(relay);
    if (attempt == NULL || attempt->end_ms != 0)
        return;
    attempt->end_ms = now_ms(relay);
    attempt->failure = failure;
}

static const char *upstream_url(const struct relay *relay)
{
    const char *origin = relay->provider->base_url.origin;
    size_t origin_len = strlen(origin);
    size_t path_len = strcspn(relay->upstream_target, "?");
    char *url = arena_alloc(relay->request.arena, origin_len + path_len + 1);
    if (url == NULL)
        return NULL;
    memcpy(url, origin, origin_len);
    memcpy(url + origin_len, relay->upstream_target, path_len);
    url[origin_len + path_len] = '\0';
    return url;
}

void relay_trace_end(struct relay *relay, const struct access_record *record)
{
    struct relay_trace *trace = relay->trace;
    if (trace == NULL)
        return;
    relay_trace_attempt_done(relay, record->error);
    struct trace_request *request = &trace->request;
    request->begin_ms = relay->began.real_ms;
    request->end_ms = now_ms(relay);
    request->id = record->id;
    request->method = record->method;
    request->path = record->path;
    request->provider = record->provider;
    request->status = record->status;
    request->error = record->error;
    request->attempts = trace->attempts;
    request->attempt_count = trace->count;
    if (trace->count > 0)
        request->upstream_url = upstream_url(relay);
    relay->relays->env.trace(relay->relays->env.trace_arg, request);
}
