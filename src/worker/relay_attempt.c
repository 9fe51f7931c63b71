/*
 * relay_attempt: the relay towards the provider: what is sent, what its answers mean for the key, and where
 * the answer's bytes go. The events come from inside the HTTP client library: they record, and wake the
 * relay.
 */
#include "worker/relay_internal.h"

#include "base/log.h"
#include "core/forwarded.h"
#include "core/retry_after.h"

#include <inttypes.h>
#include <string.h>

int relay_prepare_upstream(struct relay *relay)
{
    const struct relay_request *request = &relay->request;
    const struct conf *conf = relay->relays->env.conf;
    const struct provider *provider = relay->provider;
    struct header_list *headers = &relay->upstream_headers;
    const struct forwarded_peer peer = {.address = request->peer,
                                        .host = request->host,
                                        .https = request->https};

    /* A Connection field cannot take a client's own credential away. */
    const char *const own_header[] = {provider->auth_header, NULL};
    const char *const *credentials =
        provider->type == PROVIDER_CUSTOM ? own_header : provider_type_info(provider->type)->byok_headers;
    const char *url = base_url_join(&provider->base_url, relay->rest, &relay->arena);
    if (url == NULL || header_copy_end_to_end(request->headers, credentials, headers) != 0)
        return -1;
    relay->upstream_target = url + strlen(provider->base_url.origin);
    header_remove(headers, "Host");
    header_remove(headers, "Expect"); /* 100-continue is between the client and us */
    if (relay->centralized)
        credential_strip(&conf->providers, headers);
    else
        credential_strip_gateway(provider, headers);
    if (forwarded_set(headers, &peer, &relay->arena) != 0)
        return -1;
    if (header_find(headers, "User-Agent") == NULL && conf->user_agent[0] != '\0' &&
        header_add(headers, "User-Agent", strlen("User-Agent"), conf->user_agent, strlen(conf->user_agent)) !=
            0)
        return -1;
    relay->ask_gzip = header_find(headers, "Accept-Encoding") == NULL &&
                      header_find(headers, "Range") == NULL && strcmp(request->method, "HEAD") != 0;
    if (relay->ask_gzip)
        return header_add(headers, "Accept-Encoding", strlen("Accept-Encoding"), "gzip", strlen("gzip"));
    return 0;
}

/* ---- events */

static void log_mark(const struct relay *relay, int status, bool permanent, int64_t cooldown_ms)
{
    const char *provider = relay->provider->name;
    const char *hint = relay->provider->keys[relay->key].hint;
    if (permanent)
        log_error(
            "provider %s: key %s was refused with %d: it is permanent, not used again until it is reset "
            "(clavigerctl reset %s %ld)",
            provider, hint, status, provider, relay->key);
    else
        log_warning("provider %s: key %s was refused with %d: it is temporary, cooling down for %" PRId64
                    ".%03" PRId64 " s",
                    provider, hint, status, cooldown_ms / 1000, cooldown_ms % 1000);
}

/* Marks the attempt's key when the status is a key failure. Returns whether it is one. */
static bool judge_status(struct relay *relay, const struct response_head *head, const char **mark)
{
    const struct relay_env *env = &relay->relays->env;
    const struct provider *provider = relay->provider;
    enum key_action action;
    struct store_clock now;
    if (!relay->centralized)
        return false;
    if (head->status == 429)
        action = KEY_ACTION_COOLDOWN;
    else if (head->status == 401)
        action = provider->on_401;
    else if (head->status == 403)
        action = provider->on_403;
    else
        return false;
    if (action == KEY_ACTION_PASS)
        return false;

    env->clock(env->clock_arg, &now);
    bool permanent = action == KEY_ACTION_PERMANENT;
    int64_t cooldown_ms = 0;
    if (head->status == 429)
        cooldown_ms = retry_after_parse(&head->headers, now.real_ms, provider->default_cooldown_ms,
                                        provider->max_cooldown_ms);
    else if (!permanent)
        cooldown_ms = provider->default_cooldown_ms;
    if (env->mark(env->store, relay->provider_index, (size_t)relay->key, permanent, cooldown_ms, head->status,
                  &now))
        log_mark(relay, head->status, permanent, cooldown_ms);
    *mark = key_mark_reason(head->status);
    return true;
}

/* OpenAI (platform.openai.com/docs/api-reference/debugging-requests), Anthropic
 * (docs.anthropic.com/en/api/errors). */
static const char *find_upstream_id(const struct response_head *head)
{
    const struct header *id = header_find(&head->headers, "X-Request-Id");
    if (id == NULL)
        id = header_find(&head->headers, "Request-Id");
    return id != NULL ? id->value : NULL;
}

static bool on_head(void *arg, const struct response_head *head)
{
    struct relay *relay = arg;
    const char *mark = NULL;
    dump_response_head(relay->dump, head);
    relay->upstream_id = find_upstream_id(head);
    relay->refusal = judge_status(relay, head, &mark);
    relay_trace_head(relay, head->status, mark);
    if (!relay->refusal) {
        relay_usage_begin(relay, head);
        if (relay_keep_head(relay, head) != 0)
            return false;
    }
    relay->has_head = true;
    relay_wake(relay);
    return true;
}

static bool on_body(void *arg, const char *data, size_t len)
{
    struct relay *relay = arg;
    if (!relay->refusal && !relay->cut && !relay_add_body(relay, data, len)) {
        relay->upstream_paused = true;
        return false;
    }
    dump_response_body(relay->dump, data, len);
    if (relay->refusal || relay->cut)
        return true;
    relay_usage_feed(relay, data, len);
    relay_wake(relay);
    return true;
}

static ssize_t on_upload(void *arg, char *out, size_t max)
{
    struct relay *relay = arg;
    size_t waiting = relay->upload.len - relay->upload_at;
    size_t take = waiting < max ? waiting : max;
    if (take == 0)
        return relay->body_ended ? 0 : UPSTREAM_UPLOAD_WAIT;
    memcpy(out, relay->upload.data + relay->upload_at, take);
    dump_request_body(relay->dump, out, take);
    relay->upload_at += take;
    if (relay->upload_full)
        relay_wake(relay);
    return (ssize_t)take;
}

static void on_done(void *arg, enum upstream_result result, const char *reason)
{
    struct relay *relay = arg;
    relay->attempt = NULL;
    dump_end(&relay->dump, reason);
    relay->attempt_done = true;
    relay->result = result;
    if (reason != NULL)
        relay->reason = arena_strndup(&relay->arena, reason, strlen(reason));
    relay_trace_attempt_done(relay, relay->reason);
    if (relay->answered) {
        if (result == UPSTREAM_COMPLETE) {
            relay_end_body(relay);
        } else {
            relay->cut = true;
            relay->error = "upstream_cut";
            log_warning("provider %s: an answer was cut off: %s", relay->provider->name, reason);
        }
    }
    relay_wake(relay);
}

static const struct upstream_events events = {
    .head = on_head,
    .body = on_body,
    .upload = on_upload,
    .done = on_done,
};

/* ---- sending */

/* Methods whose requests say Content-Length: 0 when they carry nothing (RFC 9110 section 8.6). */
static bool expects_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static enum upstream_body body_kind(const struct relay *relay)
{
    const struct http_framing *framing = &relay->request.framing;
    if (!framing->has_body && !expects_body(relay->request.method))
        return UPSTREAM_BODY_NONE;
    if (relay->centralized || !framing->has_body || framing->content_length == 0)
        return UPSTREAM_BODY_SPOOL;
    return UPSTREAM_BODY_STREAM;
}

static void begin_dump(struct relay *relay, const struct upstream_request *request)
{
    const struct relay_env *env = &relay->relays->env;
    struct store_clock now;
    if (env->dump == NULL || !relay->provider->dump)
        return;
    env->clock(env->clock_arg, &now);
    const struct dump_request dump = {
        .provider = relay->provider,
        .id = relay->id,
        .attempt = relay->attempts + 1,
        .method = request->method,
        .target = request->target,
        .headers = request->headers,
        .key_hint = request->key != NULL ? relay->provider->keys[relay->key].hint : NULL,
        .spool = request->body == UPSTREAM_BODY_SPOOL ? request->spool : NULL,
        .body_length = request->body == UPSTREAM_BODY_NONE    ? DUMP_NO_BODY
                       : request->body == UPSTREAM_BODY_SPOOL ? request->spool->len
                       : request->stream_length < 0           ? DUMP_CHUNKED
                                                              : request->stream_length,
    };
    relay->dump = dump_begin(env->dump, &dump, now.real_ms);
}

int relay_send_attempt(struct relay *relay)
{
    const struct relay_env *env = &relay->relays->env;
    const struct provider *provider = relay->provider;
    if (relay_trace_send(relay) != 0)
        return -1;
    const struct upstream_request request = {
        .provider = provider,
        .method = relay->request.method,
        .target = relay->upstream_target,
        .headers = &relay->upstream_headers,
        .key = relay->centralized ? provider->keys[relay->key].secret : NULL,
        .body = body_kind(relay),
        .spool = &relay->spool,
        .stream_length = relay->request.framing.chunked ? -1 : relay->request.framing.content_length,
        .arena = &relay->arena,
    };
    begin_dump(relay, &request);
    relay->attempt = env->start(env->upstream, &request, &events, relay);
    return relay->attempt != NULL ? 0 : -1;
}
