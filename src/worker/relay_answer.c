/*
 * relay_answer: the relay towards the client: an answer of our own in the provider's shape, or the provider's
 * answer without what is between the provider and us.
 */
#include "worker/relay_internal.h"

#include "base/log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <strings.h>

#define ALLOWED_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

static int add(struct header_list *list, const char *name, const char *value)
{
    return value == NULL ? -1 : header_add(list, name, strlen(name), value, strlen(value));
}

/* Out of memory leaves fields out: the status still says what happened. */
static void add_reply_headers(struct relay *relay, enum reply_code code, int64_t retry_after_s)
{
    struct header_list *headers = &relay->answer_headers;
    header_list_clear(headers);
    (void)add(headers, "Content-Type", "application/json");
    (void)add(headers, REPLY_ERROR_HEADER, reply_code_name(code));
    if (retry_after_s > 0)
        (void)add(headers, "Retry-After", arena_printf(relay->request.arena, "%" PRId64, retry_after_s));
    if (code == REPLY_METHOD_NOT_ALLOWED) /* RFC 9110 section 15.5.6 */
        (void)add(headers, "Allow", ALLOWED_METHODS);
    if (code == REPLY_UNAUTHORIZED) /* RFC 9110 section 15.5.2 */
        (void)add(headers, "WWW-Authenticate", "Bearer");
}

void relay_reply(struct relay *relay, enum reply_code code, int64_t retry_after_s, const char *message)
{
    enum error_shape shape = relay->provider != NULL ? relay->provider->error_shape : ERROR_SHAPE_OPENAI;
    add_reply_headers(relay, code, retry_after_s);
    gunzip_free(&relay->gunzip); /* of a provider's answer that is not passed on */
    buf_fini(&relay->encoded);
    buf_fini(&relay->body);
    relay->body_at = 0;
    relay->body_held = 0;
    reply_body(&relay->body, code, shape, message);
    if (relay->body.failed)
        buf_fini(&relay->body);
    relay->body_complete = true;
    relay->cut = false;
    relay->error = reply_code_name(code);
    relay->answer = (struct relay_answer){
        .status = reply_status(code),
        .headers = &relay->answer_headers,
        .content_length = (int64_t)relay->body.len,
        .body = relay->body.data != NULL ? relay->body.data : "",
    };
    relay->answered = true;
    relay->step = RELAY_COMMIT;
}

void relay_replyf(struct relay *relay, enum reply_code code, const char *fmt, ...)
{
    struct buf message = {0};
    va_list ap;
    va_start(ap, fmt);
    buf_vprintf(&message, fmt, ap);
    va_end(ap);
    relay_reply(relay, code, 0, message.failed ? reply_code_name(code) : message.data);
    buf_fini(&message);
}

void relay_reply_exhausted(struct relay *relay, int64_t now_mono_ms)
{
    struct exhausted why;
    struct buf message = {0};
    walk_exhausted(&relay->walk, now_mono_ms, &why);
    reply_exhausted_message(&message, relay->provider->name, &why);
    relay_reply(relay, why.kind == EXHAUSTED_RATE_LIMITED ? REPLY_KEYS_EXHAUSTED : REPLY_KEYS_REJECTED,
                why.retry_after_s, message.failed ? "no key is left" : message.data);
    buf_fini(&message);
}

/* ---- the provider's answer */

static bool has_no_body(const struct relay *relay, int status)
{
    return status == 204 || status == 304 || strcmp(relay->request.method, "HEAD") == 0;
}

static bool is_gzip(const struct response_head *head)
{
    const struct header *coding = header_find(&head->headers, "Content-Encoding");
    return coding != NULL &&
           (strcasecmp(coding->value, "gzip") == 0 || strcasecmp(coding->value, "x-gzip") == 0);
}

int relay_keep_head(struct relay *relay, const struct response_head *head)
{
    struct header_list *headers = &relay->answer_headers;
    header_list_clear(headers);
    if (header_copy_end_to_end(&head->headers, NULL, headers) != 0)
        return -1;
    header_remove(headers, REPLY_ERROR_HEADER); /* ours alone: it says who answered */
    if (relay->centralized && credential_strip_echo(relay->provider->keys[relay->key].secret, headers) > 0)
        log_warning("provider %s: its answer repeated key %s in a header field, which the client did not get",
                    relay->provider->name, relay->provider->keys[relay->key].hint);
    relay->answer = (struct relay_answer){
        .status = head->status,
        .headers = headers,
        .content_length = head->chunked ? -1 : head->content_length,
        .bodiless = has_no_body(relay, head->status),
    };
    /* In redirects and errors; in what a request succeeds with it would cost too much. */
    relay->hides_key = relay->centralized && head->status >= 300;
    if ((relay->ask_gzip || relay->hides_key) && !relay->answer.bodiless && is_gzip(head)) {
        relay->gunzip = gunzip_new();
        if (relay->gunzip == NULL)
            return -1;
        header_remove(headers, "Content-Encoding");
        relay->answer.content_length = -1;
    }
    return 0;
}

void relay_take_answer(struct relay *relay)
{
    if (relay->attempt_done) {
        relay_end_body(relay);
        if (relay->body_complete && !relay->answer.bodiless) {
            relay->answer.content_length = (int64_t)relay->body.len;
            relay->answer.body = relay->body.data != NULL ? relay->body.data : "";
        }
    }
    relay->answered = true;
    relay->step = RELAY_COMMIT;
}

/* ---- its body */

static void cut(struct relay *relay, const char *error)
{
    relay->cut = true;
    relay->error = error;
}

static size_t room(const struct relay *relay)
{
    size_t waiting = relay->body.len - relay->body_at;
    return waiting < RELAY_BUFFER_HIGH ? RELAY_BUFFER_HIGH - waiting : 0;
}

static bool decoding_waits(const struct relay *relay)
{
    return relay->encoded.len > 0 || (relay->gunzip != NULL && gunzip_is_pending(relay->gunzip));
}

/* The key does not go to the client. Called when the body has bytes more than `before`. */
static void hide_key(struct relay *relay, size_t before)
{
    size_t from = before - relay->body_held;
    if (relay->hides_key && relay->body.len > before)
        relay->body_held = credential_hide(relay->provider->keys[relay->key].secret, relay->body.data + from,
                                           relay->body.len - from);
}

/* The body is complete: what was held back is no whole key, but near enough to one to be none of the client's
 * business. */
static void release_held(struct relay *relay)
{
    if (relay->body_held >= CREDENTIAL_ECHO_LEN_MIN)
        memset(relay->body.data + relay->body.len - relay->body_held, '*', relay->body_held);
    relay->body_held = 0;
}

static void decode(struct relay *relay, const char *data, size_t *len)
{
    size_t before = relay->body.len;
    if (gunzip_feed(relay->gunzip, data, len, &relay->body, room(relay)) != 0)
        cut(relay, "upstream_cut");
    hide_key(relay, before);
}

bool relay_add_body(struct relay *relay, const char *data, size_t len)
{
    if (relay->cut)
        return true;
    if (room(relay) == 0 || decoding_waits(relay))
        return false;
    buf_consume(&relay->body, relay->body_at);
    relay->body_at = 0;
    if (relay->gunzip == NULL) {
        size_t before = relay->body.len;
        buf_append(&relay->body, data, len);
        hide_key(relay, before);
    } else {
        size_t used = len;
        decode(relay, data, &used);
        buf_append(&relay->encoded, data + used, len - used);
    }
    if (relay->body.failed || relay->encoded.failed)
        cut(relay, reply_code_name(REPLY_INTERNAL_ERROR));
    return true;
}

void relay_pump_body(struct relay *relay)
{
    if (relay->cut || !decoding_waits(relay) || room(relay) == 0)
        return;
    size_t used = relay->encoded.len;
    buf_consume(&relay->body, relay->body_at);
    relay->body_at = 0;
    decode(relay, relay->encoded.data != NULL ? relay->encoded.data : "", &used);
    buf_consume(&relay->encoded, used);
    if (relay->body.failed)
        cut(relay, reply_code_name(REPLY_INTERNAL_ERROR));
    if (relay->attempt_done && relay->answered)
        relay_end_body(relay);
}

void relay_end_body(struct relay *relay)
{
    if (relay->cut || decoding_waits(relay))
        return;
    if (relay->gunzip != NULL && !gunzip_is_whole(relay->gunzip)) {
        cut(relay, "upstream_cut");
    } else {
        release_held(relay);
        relay->body_complete = true;
    }
}
