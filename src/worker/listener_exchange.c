/*
 * listener_exchange: a request and its answer between libmicrohttpd and the relay. The library calls the
 * request function once for the head, then for each piece of the body, then at its end; the answer's body is
 * fetched through a reader. Whatever has to wait suspends the connection: the library spins on anything else.
 */
#include "worker/listener_internal.h"

#include "base/recycle.h"
#include "core/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define READER_BLOCK (16 * 1024) /* bytes fetched at once for an answer of known length */
#define READER_BLOCK_OPEN                                                                                    \
    (4 * 1024) /* and of unknown length that ends with its connection; chunks are built elsewhere */

/*
 * To suspend a connection and to resume it costs four system calls, and an answer that comes at once pays
 * them for nothing. Of libmicrohttpd 0.9.75 it is known that a connection whose request is complete, and
 * whose handler neither queued an answer nor suspended, is just asked again in every round; meanwhile the
 * library says that it has work at once (MHD_get_timeout() is 0), which listener_turn() has to see through.
 * Other versions suspend.
 */
#ifndef OPEN_WAITS
#define OPEN_WAITS (MHD_VERSION >= 0x00097500 && MHD_VERSION < 0x00097600)
#endif
#define OPEN_WAITS_MAX 128 /* each is asked in every round */
#define OPEN_WAIT_MS   20  /* an answer that takes longer is no short one: under client_timeout in any case */

#define ANSWER_HEAD_BYTES                                                                                    \
    1024 /* of an answer's head beside its fields: status line, Date, framing, some slack */
#define ANSWER_HEAD_USUAL 2048

static void wait_for_relay(struct exchange *exchange)
{
    exchange->suspended = true;
    MHD_suspend_connection(exchange->mhd);
}

static void end_open_wait(struct exchange *exchange)
{
    if (exchange->open_wait)
        exchange->connection->listener->open_waits--;
    exchange->open_wait = false;
}

/* The request is complete, its answer is not there yet. */
static void wait_for_answer(struct exchange *exchange)
{
    struct listener *listener = exchange->connection->listener;
    int64_t now_ms = loop_now(listener->loop);
    if (exchange->open_wait) {
        if (now_ms - exchange->open_wait_since_ms < OPEN_WAIT_MS)
            return;
        end_open_wait(exchange);
    } else if (OPEN_WAITS && !exchange->raw.begun && exchange->connection->tls == NULL &&
               listener->open_waits < OPEN_WAITS_MAX) {
        exchange->open_wait = true;
        exchange->open_wait_since_ms = now_ms;
        listener->open_waits++;
        return;
    }
    wait_for_relay(exchange);
}

void exchange_resume(struct exchange *exchange)
{
    if (exchange->open_wait)
        exchange->connection->listener->pending = true; /* it is asked in the next round */
    if (!exchange->suspended)
        return;
    exchange->suspended = false;
    MHD_resume_connection(exchange->mhd);
    connection_pend(exchange->connection);
}

/* ---- the answer */

void exchange_cut(const struct exchange *exchange)
{
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    if (exchange->open_ended)
        (void)connect(exchange->connection->fd, &nowhere, sizeof nowhere);
    else
        (void)shutdown(exchange->connection->fd, SHUT_WR);
}

static ssize_t read_answer(void *cls, uint64_t at, char *out, size_t max)
{
    struct exchange *exchange = cls;
    (void)at;
    exchange->connection->listener->progress = true;
    if (exchange->connection->left)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    ssize_t got = relay_read(exchange->relay, out, max);
    if (got > 0)
        return got;
    if (got == RELAY_READ_END)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (got == RELAY_READ_WAIT) {
        wait_for_relay(exchange);
        return 0;
    }
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* The library refuses a field without a value: a space is one that clients read as none (RFC 9112
 * section 5.1). */
static void add_field(struct MHD_Response *response, const char *name, const char *value)
{
    (void)MHD_add_response_header(response, name, value[0] != '\0' ? value : " ");
}

static struct MHD_Response *build_response(struct exchange *exchange, const struct relay_answer *answer)
{
    struct MHD_Response *response;
    if (answer->body != NULL) {
        /* The relay keeps the bytes until the library has completed the request. */
        response = MHD_create_response_from_buffer((size_t)answer->content_length,
                                                   (void *)(uintptr_t)answer->body, MHD_RESPMEM_PERSISTENT);
    } else {
        bool open = answer->content_length < 0;
        exchange->open_ended = open && exchange->http10;
        response =
            MHD_create_response_from_callback(open ? MHD_SIZE_UNKNOWN : (uint64_t)answer->content_length,
                                              exchange->open_ended ? READER_BLOCK_OPEN
                                              : open               ? 1
                                                                   : READER_BLOCK,
                                              read_answer, exchange, NULL);
    }
    if (response == NULL)
        return NULL;
    /* Without a length the library would end an answer that has no body with a last chunk all the same. */
    if (answer->bodiless && answer->content_length < 0 && answer->status != MHD_HTTP_NO_CONTENT)
        (void)MHD_set_response_options(response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    for (size_t i = 0; i < answer->headers->count; i++)
        add_field(response, answer->headers->items[i].name, answer->headers->items[i].value);
    if (exchange->close || exchange->connection->listener->draining)
        add_field(response, "Connection", "close");
    return response;
}

static enum MHD_Result queue_answer(struct exchange *exchange)
{
    struct relay_answer answer;
    if (!relay_answer(exchange->relay, &answer))
        return MHD_NO;
    struct MHD_Response *response = build_response(exchange, &answer);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = MHD_queue_response(exchange->mhd, (unsigned)answer.status, response);
    MHD_destroy_response(response);
    exchange->queued = result == MHD_YES;
    if (exchange->queued && answer.body != NULL && !exchange->head)
        relay_count_sent(exchange->relay, (size_t)answer.content_length);
    return result;
}

/* Answers before the body was read: the library closes behind it, and the rest is read past it. */
static enum MHD_Result queue_early(struct exchange *exchange)
{
    exchange->close = true;
    (void)connection_keep_open(exchange->connection); /* if not, the client may see a reset */
    return queue_answer(exchange);
}

/* The library builds the answer's head in what the request's head has left of the connection's memory, and
 * breaks off when that is too little. An answer with such a head is written past it. */
static bool head_fits(const struct exchange *exchange)
{
    struct relay_answer answer;
    size_t need = ANSWER_HEAD_BYTES;
    if (!relay_answer(exchange->relay, &answer))
        return true;
    for (size_t i = 0; i < answer.headers->count; i++)
        need += (size_t)answer.headers->items[i].name_len + answer.headers->items[i].value_len + 4;
    if (need <= ANSWER_HEAD_USUAL)
        return true;
    return need + listener_head_memory(exchange->mhd, exchange->target, &exchange->headers) <=
           listener_pool_bytes(exchange->connection->listener);
}

/* ---- what the relay says */

static void on_answer(void *client)
{
    struct exchange *exchange = client;
    if (exchange->ended && head_fits(exchange))
        exchange_resume(exchange);
    else
        exchange_raw_begin(exchange);
}

static void on_readable(void *client)
{
    struct exchange *exchange = client;
    if (exchange->raw.begun)
        exchange_raw_pump(exchange);
    else
        exchange_resume(exchange);
}

static void on_writable(void *client)
{
    exchange_resume(client);
}

static const struct relay_client client_ops = {
    .answer = on_answer,
    .readable = on_readable,
    .writable = on_writable,
};

/* The client has its answer and sends on and on. */
static void on_discard_due(struct loop_timer *timer)
{
    struct exchange *exchange = LOOP_OWNER(timer, struct exchange, discard_timer);
    (void)shutdown(exchange->connection->fd, SHUT_RDWR); /* the library finds the end and closes */
}

/* ---- the request */

void *exchange_on_target(void *cls, const char *target, struct MHD_Connection *mhd)
{
    (void)cls;
    struct connection *connection =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    struct exchange *exchange = recycle_calloc(1, sizeof *exchange);
    if (exchange == NULL)
        return NULL;
    exchange->connection = connection;
    exchange->mhd = mhd;
    exchange->discard_timer.fn = on_discard_due;
    exchange->target =
        arena_strndup(&exchange->arena, target != NULL ? target : "", target != NULL ? strlen(target) : 0);
    exchange->target_end = target != NULL ? target + strlen(target) : NULL;
    connection->exchange = exchange;
    connection->listener->progress = true;
    connection_await_head(connection); /* so far only its first line came */
    return exchange;
}

/* Why this head is refused: a message, with *code and whether the connection must end; NULL = it is fine. */
static const char *judge_head(struct exchange *exchange, struct relay_request *request, const char *version,
                              enum reply_code *code)
{
    const struct conf *conf = exchange->connection->listener->options.conf;
    const struct http_request_head head = {.method = request->method,
                                           .version = version,
                                           .target = request->target,
                                           .headers = &exchange->headers};
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(exchange->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    const char *reason = NULL;
    exchange->close = true;
    *code = REPLY_BAD_REQUEST;
    if (!listener_head_is_plain(exchange->mhd, exchange->target_end, version))
        return "the request head holds a folded line, a bare CR or LF, a NUL or an empty name";
    if (size != NULL && (int64_t)size->header_size > conf->limits.header_size) {
        *code = REPLY_HEAD_TOO_LARGE;
        return "the request head is too large";
    }
    switch (http_rules_judge(&head, &request->framing, &reason)) {
    case HTTP_OK:
        break;
    case HTTP_BAD_REQUEST:
        return reason;
    case HTTP_METHOD_NOT_ALLOWED:
        *code = REPLY_METHOD_NOT_ALLOWED;
        return reason;
    case HTTP_NOT_SUPPORTED:
        *code = REPLY_NOT_SUPPORTED;
        return reason;
    }
    if (!route_target_is_safe(request->target, &reason))
        return reason;
    exchange->close = false;
    return NULL;
}

static enum MHD_Result begin(struct exchange *exchange, const char *method, const char *version)
{
    struct connection *connection = exchange->connection;
    struct listener *listener = connection->listener;
    struct relay_request request = {
        .method = method,
        .target = exchange->target,
        .headers = &exchange->headers,
        .peer = connection->peer[0] != '\0' ? connection->peer : NULL,
        .https = connection->tls != NULL,
        .framing = {.content_length = -1},
        .arena = &exchange->arena,
    };
    enum reply_code code;
    exchange->begun = true;
    exchange->http10 = strcmp(version, "HTTP/1.0") == 0;
    exchange->head = strcmp(method, "HEAD") == 0;
    connection_head_done(connection);
    (void)atomic_fetch_add_explicit(&listener->options.slot->requests, 1, memory_order_relaxed);
    if (!connection_tls_admits(connection) || exchange->target == NULL ||
        listener_read_headers(exchange->mhd, &exchange->headers, &exchange->arena) != 0)
        return MHD_NO;
    const struct header *host = header_find(&exchange->headers, "Host");
    request.host = host != NULL ? host->value : NULL;

    const char *refusal = judge_head(exchange, &request, version, &code);
    if (refusal != NULL)
        exchange->relay =
            relay_refuse(listener->options.relays, &request, code, refusal, &client_ops, exchange);
    else
        exchange->relay = relay_new(listener->options.relays, &request, &client_ops, exchange);
    if (exchange->relay == NULL)
        return MHD_NO;
    bool body_comes = request.framing.chunked || request.framing.content_length > 0;
    if (relay_answered(exchange->relay) && (body_comes || exchange->close))
        return queue_early(exchange);
    if (body_comes)
        exchange_pace_begin(exchange);
    return MHD_YES;
}

static enum MHD_Result take_body(struct exchange *exchange, const char *data, size_t *len)
{
    if (exchange->connection->left || exchange->raw.broken)
        return MHD_NO;
    if (!relay_wants_body(exchange->relay)) {
        exchange->discarded += *len;
        *len = 0;
        return exchange->discarded <= LINGER_BYTES ? MHD_YES : MHD_NO;
    }
    size_t taken = relay_body(exchange->relay, data, *len);
    *len -= taken;
    exchange_pace_count(exchange, taken, *len > 0);
    if (relay_answered(exchange->relay)) /* refused by its length, for one */
        exchange_raw_begin(exchange);
    if (*len > 0)
        wait_for_relay(exchange);
    return MHD_YES;
}

enum MHD_Result exchange_on_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *data_len, void **con_cls)
{
    struct exchange *exchange = *con_cls;
    (void)cls, (void)mhd, (void)url;
    if (exchange == NULL)
        return MHD_NO;
    if (!exchange->open_wait)
        exchange->connection->listener->progress = true;
    if (!exchange->begun)
        return begin(exchange, method, version);
    if (*data_len > 0)
        return take_body(exchange, data, data_len);
    if (!exchange->ended) {
        exchange->ended = true;
        loop_timer_cancel(exchange->connection->listener->loop, &exchange->discard_timer);
        exchange_pace_end(exchange);
        relay_body_end(exchange->relay);
    }
    if (exchange->connection->left || exchange->raw.finished)
        return MHD_NO;
    if (relay_answered(exchange->relay) && !exchange->raw.begun) {
        exchange->connection->listener->progress = true;
        end_open_wait(exchange);
        return queue_answer(exchange);
    }
    wait_for_answer(exchange);
    return MHD_YES;
}

void exchange_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                           enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *con_cls;
    (void)cls, (void)mhd;
    if (exchange == NULL)
        return;
    struct connection *connection = exchange->connection;
    *con_cls = NULL;
    connection->listener->progress = true;
    end_open_wait(exchange);
    loop_timer_cancel(connection->listener->loop, &exchange->discard_timer);
    exchange_pace_end(exchange);
    bool complete = (code == MHD_REQUEST_TERMINATED_COMPLETED_OK && exchange->queued) ||
                    (exchange->raw.finished && !exchange->raw.broken);
    if (!complete && (exchange->queued || exchange->raw.begun))
        exchange_cut(exchange);
    exchange_raw_fini(exchange);
    relay_finish(&exchange->relay, complete);
    header_list_fini(&exchange->headers);
    arena_fini(&exchange->arena);
    connection->exchange = NULL;
    connection->served = true;
    connection->served_round = loop_round(connection->listener->loop);
    listener_end_idle_soon(connection->listener);
    recycle_free(exchange);
}
