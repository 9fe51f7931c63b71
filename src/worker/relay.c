/*
 * relay: the steps of a request and the driver that runs them. What happens towards the provider is in
 * relay_attempt.c, what the client gets in relay_answer.c. It waits for nothing: a step that cannot go on
 * returns, and whoever makes it possible to go on wakes the relay.
 */
#include "worker/relay_internal.h"

#include "base/recycle.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define STATUS_CLIENT_CLOSED 499 /* in the log only: the client left before there was an answer */

enum step_result { STEP_AGAIN, STEP_WAIT };

void relay_wake(struct relay *relay)
{
    struct relays *relays = relay->relays;
    if (relay->ready)
        return;
    relay->ready = true;
    relay->next_ready = NULL;
    if (relays->ready_last != NULL)
        relays->ready_last->next_ready = relay;
    else
        relays->ready_first = relay;
    relays->ready_last = relay;
}

/* ---- the steps */

static bool streams(const struct relay *relay)
{
    return !relay->centralized;
}

static enum step_result step_receive(struct relay *relay)
{
    if (!relay->body_ended && !(streams(relay) && relay->bytes_in > 0))
        return STEP_WAIT;
    if (relay_prepare_upstream(relay) != 0) {
        relay_reply(relay, REPLY_INTERNAL_ERROR, 0, "out of memory");
        return STEP_AGAIN;
    }
    if (relay->centralized) {
        walk_start(&relay->walk, &relay->relays->env.pools[relay->provider_index]);
        relay->step = RELAY_WALK;
    } else {
        relay->step = RELAY_SEND;
    }
    return STEP_AGAIN;
}

/* What is known of the keys is brought up to date once for all relays that walk in one go: each of them was
 * received before that. */
static const struct store_clock *refresh(struct relays *relays)
{
    if (!relays->fresh) {
        relays->env.clock(relays->env.clock_arg, &relays->now);
        relays->env.refresh(relays->env.store, &relays->now);
        relays->fresh = true;
    }
    return &relays->now;
}

static enum step_result step_walk(struct relay *relay)
{
    if (relay->in_call) {
        relay_wake(relay);
        return STEP_WAIT;
    }
    const struct store_clock *now = refresh(relay->relays);
    long next = walk_next(&relay->walk, now->mono_ms);
    if (next < 0) {
        relay_reply_exhausted(relay, now->mono_ms);
    } else {
        relay->key = next;
        relay->step = RELAY_SEND;
    }
    return STEP_AGAIN;
}

static enum step_result step_send(struct relay *relay)
{
    relay->has_head = false;
    relay->refusal = false;
    relay->attempt_done = false;
    relay->reason = NULL;
    if (relay_send_attempt(relay) != 0) {
        relay_reply(relay, REPLY_INTERNAL_ERROR, 0, "out of memory");
        return STEP_AGAIN;
    }
    relay->attempts++;
    relay->step = RELAY_JUDGE;
    return STEP_WAIT;
}

static void reply_upstream_failure(struct relay *relay)
{
    bool timeout = relay->result == UPSTREAM_TIMEOUT;
    relay_replyf(relay, timeout ? REPLY_UPSTREAM_TIMEOUT : REPLY_UPSTREAM_ERROR,
                 "upstream proxy error: provider %s: %s", relay->provider->name,
                 relay->reason != NULL ? relay->reason : "it failed");
}

static enum step_result step_judge(struct relay *relay)
{
    if (!relay->has_head && !relay->attempt_done)
        return STEP_WAIT;
    if (relay->refusal) {
        relay->relays->env.discard(&relay->attempt, &relay->dump);
        relay->step = RELAY_WALK;
        return STEP_AGAIN;
    }
    if (relay->attempt_done && relay->result != UPSTREAM_COMPLETE) {
        reply_upstream_failure(relay);
        return STEP_AGAIN;
    }
    relay_take_answer(relay);
    if (relay->cut) { /* and nothing of it went out */
        relay->relays->env.abort(&relay->attempt);
        relay_replyf(relay, REPLY_UPSTREAM_ERROR,
                     "upstream proxy error: provider %s: its gzip body is malformed", relay->provider->name);
    }
    return STEP_AGAIN;
}

/* From here on bytes go to the client: no other key can be tried. */
static enum step_result step_commit(struct relay *relay)
{
    const struct relay_env *env = &relay->relays->env;
    struct store_clock now;
    env->clock(env->clock_arg, &now);
    relay->first_byte_ms = now.mono_ms - relay->began.mono_ms;
    header_list_fini(&relay->upstream_headers);
    if (relay->attempt == NULL || env->has_sent(relay->attempt))
        spool_fini(&relay->spool); /* an answer may take minutes, and hundreds of them memory */
    relay->step = RELAY_STREAM;
    relay->streaming = !relay->body_complete;
    relay->relays->streams += relay->streaming;
    if (!relay->in_call)
        relay->ops->answer(relay->client);
    return STEP_AGAIN;
}

static enum step_result step_stream(struct relay *relay)
{
    if (relay->in_call)
        return STEP_WAIT;
    if (relay->cut && relay->attempt != NULL)
        relay->relays->env.abort(&relay->attempt);
    bool readable = relay->body_at < relay->body.len - relay->body_held || relay->body_complete || relay->cut;
    if (relay->reader_waits && readable) {
        relay->reader_waits = false;
        relay->ops->readable(relay->client);
    }
    return STEP_WAIT;
}

/* A client whose upload was held back may go on when there is room, or when nobody wants it any more. */
static void release_upload(struct relay *relay)
{
    if (!relay->upload_full ||
        (relay_wants_body(relay) && relay->upload.len - relay->upload_at > RELAY_UPLOAD_MAX / 2))
        return;
    relay->upload_full = false;
    if (!relay->in_call)
        relay->ops->writable(relay->client);
}

static void drive(struct relay *relay)
{
    static enum step_result (*const steps[])(struct relay *) = {
        [RELAY_RECEIVE] = step_receive, [RELAY_WALK] = step_walk,     [RELAY_SEND] = step_send,
        [RELAY_JUDGE] = step_judge,     [RELAY_COMMIT] = step_commit, [RELAY_STREAM] = step_stream,
    };
    while (steps[relay->step](relay) == STEP_AGAIN)
        continue;
    release_upload(relay);
}

bool relays_run(struct relays *relays)
{
    bool any = false;
    relays->fresh = false;
    while (relays->ready_first != NULL) {
        struct relay *relay = relays->ready_first;
        relays->ready_first = relay->next_ready;
        if (relays->ready_first == NULL)
            relays->ready_last = NULL;
        relay->ready = false;
        any = true;
        drive(relay);
    }
    return any;
}

/* ---- begin and end */

struct relays *relays_new(const struct relay_env *env)
{
    struct relays *relays = calloc(1, sizeof *relays);
    if (relays == NULL)
        return NULL;
    relays->env = *env;
    if (getrandom(&relays->id_base, sizeof relays->id_base, 0) != (ssize_t)sizeof relays->id_base)
        relays->id_base = (uint64_t)(uintptr_t)relays;
    relays->random = relays->id_base;
    return relays;
}

void relays_free(struct relays **relays)
{
    free(*relays);
    *relays = NULL;
}

size_t relays_count(const struct relays *relays)
{
    return relays->count;
}

size_t relays_streams(const struct relays *relays)
{
    return relays->streams;
}

static void write_id(char out[17], uint64_t id)
{
    for (int i = 15; i >= 0; i--, id >>= 4)
        out[i] = "0123456789abcdef"[id & 15];
    out[16] = '\0';
}

static struct relay *begin(struct relays *relays, const struct relay_request *request,
                           const struct relay_client *ops, void *client)
{
    struct relay *relay = recycle_calloc(1, sizeof *relay);
    if (relay == NULL)
        return NULL;
    relay->relays = relays;
    relay->request = *request;
    relay->ops = ops;
    relay->client = client;
    relay->key = -1;
    relay->first_byte_ms = -1;
    relays->env.clock(relays->env.clock_arg, &relay->began);
    write_id(relay->id, relays->id_base + relays->id_next++);
    spool_init(&relay->spool, (size_t)relays->env.conf->limits.buffer_memory);
    spool_expect(&relay->spool, request->framing.content_length);
    relays->count++;
    return relay;
}

struct relay *relay_refuse(struct relays *relays, const struct relay_request *request, enum reply_code code,
                           const char *message, const struct relay_client *ops, void *client)
{
    struct relay *relay = begin(relays, request, ops, client);
    if (relay == NULL)
        return NULL;
    relay->in_call = true;
    relay->provider =
        route_find(&relays->env.conf->providers, request->target, &relay->rest); /* whose shape it has */
    relay_reply(relay, code, 0, message);
    drive(relay);
    relay->in_call = false;
    return relay;
}

static void admit(struct relay *relay)
{
    const struct conf *conf = relay->relays->env.conf;
    const struct relay_request *request = &relay->request;
    const struct provider *provider = route_find(&conf->providers, request->target, &relay->rest);
    if (provider == NULL) {
        relay_reply(relay, REPLY_NO_ROUTE, 0, "no provider is configured for this path");
        return;
    }
    relay->provider = provider;
    relay->provider_index = (size_t)(provider - conf->providers.items);
    if (!provider->base_url.valid) {
        relay_replyf(relay, REPLY_INVALID_BASE_URL, "invalid provider base URL: that of provider %s %s",
                     provider->name, provider->base_url.reason);
        return;
    }
    enum credential_kind kind = credential_judge(provider, conf->clients, request->headers, &relay->identity);
    const char *refusal = credential_refusal(kind);
    if (refusal != NULL) {
        bool known = kind == CREDENTIAL_NOT_THIS_PROVIDER || kind == CREDENTIAL_NO_BYOK;
        relay_reply(relay, known ? REPLY_FORBIDDEN : REPLY_UNAUTHORIZED, 0, refusal);
        return;
    }
    relay->centralized = kind == CREDENTIAL_CENTRALIZED;
    if (request->framing.content_length > conf->limits.request_body)
        relay_replyf(relay, REPLY_BODY_TOO_LARGE, "the request body is larger than %" PRId64 " bytes",
                     conf->limits.request_body);
}

struct relay *relay_new(struct relays *relays, const struct relay_request *request,
                        const struct relay_client *ops, void *client)
{
    struct relay *relay = begin(relays, request, ops, client);
    if (relay == NULL)
        return NULL;
    relay->in_call = true;
    relay_trace_begin(relay);
    admit(relay);
    if (relay->answered)
        drive(relay);
    relay->in_call = false;
    return relay;
}

static void write_log(struct relay *relay, bool complete)
{
    const struct relay_env *env = &relay->relays->env;
    struct store_clock now;
    if (env->log == NULL)
        return;
    env->clock(env->clock_arg, &now);
    bool gone = !complete && !relay->cut;
    struct usage usage;
    bool has_usage = relay_usage_result(relay, &usage);
    size_t path_len = strcspn(relay->request.target, "?");
    const struct access_record record = {
        .time_real_ms = relay->began.real_ms,
        .id = relay->id,
        .client = relay->identity != NULL       ? relay->identity->name
                  : relay->request.peer != NULL ? relay->request.peer
                                                : "unix",
        .provider = relay->provider != NULL ? relay->provider->name : NULL,
        .method = relay->request.method,
        .path = arena_strndup(relay->request.arena, relay->request.target, path_len),
        .status = relay->answered ? relay->answer.status : STATUS_CLIENT_CLOSED,
        .attempts = relay->attempts,
        .key = relay->key >= 0       ? relay->provider->keys[relay->key].hint
               : relay->attempts > 0 ? "byok"
                                     : NULL,
        .first_byte_ms = relay->first_byte_ms,
        .total_ms = now.mono_ms - relay->began.mono_ms,
        .bytes_in = relay->bytes_in,
        .bytes_out = relay->bytes_out,
        .error = relay->error != NULL ? relay->error
                 : gone               ? "client_closed"
                                      : NULL,
        .upstream_id = relay->upstream_id,
        .provider_index = relay->provider != NULL ? relay->provider - env->conf->providers.items : -1,
        .token_name = relay->identity != NULL ? relay->identity->name : NULL,
        .usage = has_usage ? &usage : NULL,
        .walked = relay->walk.pool != NULL,
    };
    relay_trace_end(relay, &record);
    env->log(env->log_arg, &record);
}

static void unlink_ready(struct relay *relay)
{
    struct relays *relays = relay->relays;
    struct relay *before = NULL;
    if (!relay->ready)
        return;
    for (struct relay *at = relays->ready_first; at != relay; at = at->next_ready)
        before = at;
    if (before != NULL)
        before->next_ready = relay->next_ready;
    else
        relays->ready_first = relay->next_ready;
    if (relays->ready_last == relay)
        relays->ready_last = before;
}

void relay_finish(struct relay **relay, bool complete)
{
    struct relay *r = *relay;
    *relay = NULL;
    if (r == NULL)
        return;
    r->relays->env.abort(&r->attempt);
    dump_end(&r->dump, "given up before a response came");
    write_log(r, complete);
    unlink_ready(r);
    r->relays->count--;
    r->relays->streams -= r->streaming;
    header_list_fini(&r->upstream_headers);
    header_list_fini(&r->answer_headers);
    spool_fini(&r->spool);
    buf_fini(&r->upload);
    buf_fini(&r->body);
    buf_fini(&r->encoded);
    gunzip_free(&r->gunzip);
    relay_usage_fini(r);
    recycle_free(r);
}

/* ---- the client side's calls */

bool relay_answered(const struct relay *relay)
{
    return relay->answered;
}

bool relay_wants_body(const struct relay *relay)
{
    /* Behind a refusal nothing more is sent upstream. */
    return !relay->answered || (relay->attempt != NULL && relay->answer.status < 300);
}

static void refuse_length(struct relay *relay)
{
    relay->relays->env.abort(&relay->attempt);
    if (relay->answered) { /* the answer is on its way already: it cannot be taken back */
        relay->cut = !relay->body_complete;
        relay->error = reply_code_name(REPLY_BODY_TOO_LARGE);
        relay_wake(relay);
        return;
    }
    relay_replyf(relay, REPLY_BODY_TOO_LARGE, "the request body is larger than %" PRId64 " bytes",
                 relay->relays->env.conf->limits.request_body);
}

void relay_give_up(struct relay *relay, enum reply_code code, const char *message)
{
    if (relay->answered)
        return;
    relay->relays->env.abort(&relay->attempt);
    relay_reply(relay, code, 0, message);
    relay->in_call = true;
    drive(relay);
    relay->in_call = false;
}

static void refuse_unkept(struct relay *relay)
{
    relay_replyf(relay, REPLY_INTERNAL_ERROR, "the request body could not be kept: %s", strerror(errno));
}

static size_t body_to_spool(struct relay *relay, const char *data, size_t len)
{
    if (spool_append(&relay->spool, data, len) != 0)
        refuse_unkept(relay);
    return len;
}

static size_t body_to_stream(struct relay *relay, const char *data, size_t len)
{
    size_t waiting = relay->upload.len - relay->upload_at;
    size_t take = len < RELAY_UPLOAD_MAX - waiting ? len : RELAY_UPLOAD_MAX - waiting;
    if (relay->upload_at > 0) {
        buf_consume(&relay->upload, relay->upload_at);
        relay->upload_at = 0;
    }
    buf_append(&relay->upload, data, take);
    if (relay->upload.failed) {
        relay->relays->env.abort(&relay->attempt);
        relay_reply(relay, REPLY_INTERNAL_ERROR, 0, "out of memory");
        return len;
    }
    relay->upload_full = take < len;
    if (relay->attempt != NULL && take > 0)
        relay->relays->env.resume(relay->attempt);
    return take;
}

size_t relay_body(struct relay *relay, const char *data, size_t len)
{
    if (!relay_wants_body(relay))
        return len; /* thrown away */
    if (len > (uint64_t)relay->relays->env.conf->limits.request_body - relay->bytes_in) {
        relay->bytes_in += len;
        relay->in_call = true;
        refuse_length(relay);
        drive(relay);
        relay->in_call = false;
        return len;
    }
    size_t taken = streams(relay) ? body_to_stream(relay, data, len) : body_to_spool(relay, data, len);
    relay->bytes_in += taken;
    relay->in_call = true;
    drive(relay);
    relay->in_call = false;
    /* What was held back and then became unwanted is thrown away. */
    return relay->upload_full ? taken : len;
}

/* Whoever dumps it reads the file, not what waits in memory. */
static void settle_body(struct relay *relay)
{
    if (relay->relays->env.dump != NULL && relay->provider->dump && spool_settle(&relay->spool) != 0)
        refuse_unkept(relay);
}

void relay_body_end(struct relay *relay)
{
    relay->body_ended = true;
    if (!relay->answered)
        settle_body(relay);
    if (relay->attempt != NULL)
        relay->relays->env.resume(relay->attempt);
    relay->in_call = true;
    drive(relay);
    relay->in_call = false;
}

bool relay_answer(const struct relay *relay, struct relay_answer *answer)
{
    if (!relay->answered)
        return false;
    *answer = relay->answer;
    return true;
}

/* What the client took makes room: for what waits to be decoded, then for what the upstream holds back. */
static void refill(struct relay *relay)
{
    size_t waiting = relay->body.len - relay->body_at;
    if (waiting > RELAY_BUFFER_LOW)
        return;
    relay_pump_body(relay);
    if (relay->upstream_paused && relay->attempt != NULL && relay->encoded.len == 0) {
        relay->upstream_paused = false;
        relay->relays->env.resume(relay->attempt);
    }
}

ssize_t relay_read(struct relay *relay, char *out, size_t max)
{
    size_t waiting = relay->body.len - relay->body_held - relay->body_at;
    if (waiting == 0) {
        if (relay->cut)
            return RELAY_READ_CUT;
        if (relay->body_complete)
            return RELAY_READ_END;
        relay->reader_waits = true;
        return RELAY_READ_WAIT;
    }
    size_t take = waiting < max ? waiting : max;
    memcpy(out, relay->body.data + relay->body_at, take);
    relay->body_at += take;
    relay->bytes_out += take;
    refill(relay);
    if (relay->body_at == relay->body.len) {
        buf_fini(&relay->body); /* an idle stream holds no buffer */
        relay->body_at = 0;
    }
    return (ssize_t)take;
}

void relay_count_sent(struct relay *relay, size_t len)
{
    relay->bytes_out += len;
}
