/*
 * upstream_request: an attempt's way out: its head in one block, its body from the spool's file and from
 * memory, or as it comes from the client.
 */
#include "worker/upstream_internal.h"

#include "base/recycle.h"
#include "base/secret.h"

#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define COPY_BYTES  (16 * 1024) /* a TLS record's worth */
#define PIECE_BYTES (16 * 1024)
#define PIECE_FRAME 32           /* a chunk's size line and end */
#define FILE_BYTES  (256 * 1024) /* of a file at once: a call that has taken them shows progress */

/* ---- the head */

static char *put(char *at, const char *text, size_t len)
{
    memcpy(at, text, len);
    return at + len;
}

static char *put_line(char *at, const char *name, size_t name_len, const char *value, size_t value_len)
{
    at = put(at, name, name_len);
    at = put(at, ": ", value_len > 0 ? 2 : 1);
    at = put(at, value, value_len);
    return put(at, "\r\n", 2);
}

static char *put_key(char *at, const struct provider *conf, const struct secret *key)
{
    at = put(at, conf->auth_header, strlen(conf->auth_header));
    at = put(at, ": ", 2);
    at = put(at, conf->auth_prefix, strlen(conf->auth_prefix));
    at = put(at, secret_open(key), secret_len(key));
    return put(at, "\r\n", 2);
}

static size_t head_size(const struct upstream_request *request)
{
    const struct provider *conf = request->provider;
    size_t size = strlen(request->method) + strlen(request->target) + strlen(conf->base_url.host) + 128;
    for (size_t i = 0; i < request->headers->count; i++)
        size += (size_t)request->headers->items[i].name_len + request->headers->items[i].value_len + 4;
    if (request->key != NULL)
        size += strlen(conf->auth_header) + strlen(conf->auth_prefix) + secret_len(request->key) + 4;
    return size;
}

static char *put_head(char *at, const struct attempt *attempt, const struct upstream_request *request)
{
    const char *host = request->provider->base_url.host;
    at = put(at, request->method, strlen(request->method));
    at = put(at, " ", 1);
    at = put(at, request->target, strlen(request->target));
    at = put(at, " HTTP/1.1\r\n", 11);
    at = put_line(at, "Host", 4, host, strlen(host));
    for (size_t i = 0; i < request->headers->count; i++) {
        const struct header *field = &request->headers->items[i];
        at = put_line(at, field->name, field->name_len, field->value, field->value_len);
    }
    if (request->key != NULL)
        at = put_key(at, request->provider, request->key);
    if (attempt->body != UPSTREAM_BODY_NONE) {
        if (attempt->body_left < 0)
            at = put(at, "Transfer-Encoding: chunked\r\n", 28);
        else
            at += snprintf(at, 48, "Content-Length: %lld\r\n", (long long)attempt->body_left);
    }
    return put(at, "\r\n", 2);
}

int attempt_prepare(struct attempt *attempt, const struct upstream_request *request)
{
    attempt->body = request->body;
    attempt->spool = request->spool;
    attempt->arena = request->arena;
    attempt->head_request = strcmp(request->method, "HEAD") == 0;
    if (request->body == UPSTREAM_BODY_SPOOL)
        attempt->body_left = request->spool->len;
    else if (request->body == UPSTREAM_BODY_STREAM)
        attempt->body_left = request->stream_length;

    /* A body in memory goes out together with the head; inside TLS that takes a copy. */
    const char *memory = request->body == UPSTREAM_BODY_SPOOL ? spool_memory(request->spool) : NULL;
    size_t tail_len = request->body == UPSTREAM_BODY_SPOOL ? request->spool->mem_len : 0;
    size_t copy = memory != NULL && attempt->conf->base_url.https && tail_len <= COPY_BYTES ? tail_len : 0;
    attempt->block = recycle_malloc(head_size(request) + copy);
    if (attempt->block == NULL)
        return -1;
    char *end = put_head(attempt->block, attempt, request);
    attempt->head_len = (size_t)(end - attempt->block);
    if (copy > 0)
        end = put(end, memory, copy);
    attempt->pieces = attempt->conf->base_url.https;
    attempt->out = attempt->block;
    attempt->out_len = (size_t)(end - attempt->block);
    attempt->tail_len = tail_len - copy;
    if (request->body == UPSTREAM_BODY_SPOOL) {
        attempt->tail = request->spool->data;
        attempt->body_left = spool_file_len(request->spool);
    }
    return 0;
}

/* ---- the body */

enum next { NEXT_OUT, NEXT_WAIT, NEXT_END, NEXT_FAILED };

static bool make_piece(struct attempt *attempt)
{
    if (attempt->piece == NULL)
        attempt->piece = recycle_malloc(PIECE_BYTES + PIECE_FRAME);
    return attempt->piece != NULL;
}

static enum next next_of_file(struct attempt *attempt)
{
    if (!attempt->pieces) {
        attempt->file_out = attempt->body_left < FILE_BYTES ? (size_t)attempt->body_left : FILE_BYTES;
        return NEXT_OUT;
    }
    if (!make_piece(attempt))
        return NEXT_FAILED;
    ssize_t got = spool_read(attempt->spool, attempt->body_at, attempt->piece,
                             attempt->body_left < PIECE_BYTES ? (size_t)attempt->body_left : PIECE_BYTES);
    if (got <= 0 || got > attempt->body_left)
        return NEXT_FAILED;
    attempt->out = attempt->piece;
    attempt->out_len = (size_t)got;
    attempt->body_at += got;
    attempt->body_left -= got;
    return NEXT_OUT;
}

static enum next next_of_stream(struct attempt *attempt)
{
    bool is_chunked = attempt->body_left < 0;
    if (attempt->body_left == 0)
        return NEXT_END;
    if (!make_piece(attempt))
        return NEXT_FAILED;
    char *data = attempt->piece + PIECE_FRAME / 2;
    size_t max = !is_chunked && attempt->body_left < PIECE_BYTES ? (size_t)attempt->body_left : PIECE_BYTES;
    ssize_t got = attempt->events.upload(attempt->arg, data, max);
    if (got == UPSTREAM_UPLOAD_WAIT)
        return NEXT_WAIT;
    if (got < 0 || (got == 0 && !is_chunked))
        return NEXT_FAILED;
    attempt->out = data;
    attempt->out_len = (size_t)got;
    if (!is_chunked) {
        attempt->body_left -= got;
        return NEXT_OUT;
    }
    char size[PIECE_FRAME / 2];
    int size_len = snprintf(size, sizeof size, "%zx\r\n", (size_t)got);
    memcpy(data - size_len, size, (size_t)size_len);
    memcpy(data + got, "\r\n", 2);
    attempt->out = data - size_len;
    attempt->out_len += (size_t)size_len + 2;
    if (got == 0)
        attempt->body_left = 0; /* that was the last chunk */
    return NEXT_OUT;
}

static enum next next_out(struct attempt *attempt)
{
    attempt->out_at = attempt->out_len = 0;
    if (attempt->body == UPSTREAM_BODY_STREAM)
        return next_of_stream(attempt);
    if (attempt->body == UPSTREAM_BODY_SPOOL && attempt->body_left > 0)
        return next_of_file(attempt);
    attempt->out = attempt->tail;
    attempt->out_len = attempt->tail_len;
    attempt->tail_len = 0;
    return attempt->out_len > 0 ? NEXT_OUT : NEXT_END;
}

void attempt_free_request(struct attempt *attempt)
{
    if (attempt->block != NULL)
        secret_wipe(attempt->block, attempt->head_len);
    recycle_free(attempt->block);
    recycle_free(attempt->piece);
    attempt->block = NULL;
    attempt->piece = NULL;
}

static void went_out(struct attempt *attempt, size_t sent)
{
    size_t left = attempt->out_len - attempt->out_at;
    if (attempt->file_out > 0) {
        attempt->file_out -= sent;
        attempt->body_at += (int64_t)sent;
        attempt->body_left -= (int64_t)sent;
        return;
    }
    if (sent <= left) {
        attempt->out_at += sent;
        return;
    }
    attempt->out = attempt->tail;
    attempt->out_len = attempt->tail_len;
    attempt->out_at = sent - left;
    attempt->tail_len = 0;
}

/* What stands ready to be sent: > 0, LINK_AGAIN, LINK_BROKEN or LINK_NO_FILE. */
static ssize_t send_out(struct attempt *attempt)
{
    bool file_left = attempt->body == UPSTREAM_BODY_SPOOL && attempt->body_left > 0;
    if (attempt->file_out > 0)
        return link_send_file(attempt->link, attempt->spool->fd, attempt->body_at, attempt->file_out);
    return link_send(attempt->link, attempt->out + attempt->out_at, attempt->out_len - attempt->out_at,
                     attempt->tail, file_left ? 0 : attempt->tail_len, file_left);
}

uint32_t attempt_sends(const struct attempt *attempt)
{
    bool ready = attempt->out_at < attempt->out_len || attempt->file_out > 0;
    return ready && !attempt->sent ? EPOLLOUT : 0;
}

void attempt_stop_sending(struct attempt *attempt)
{
    attempt->sent = true;
    attempt->keep = false;
    attempt->upload_waits = false;
    link_watch(attempt->link, attempt->paused ? 0 : EPOLLIN);
}

bool attempt_pump(struct attempt *attempt)
{
    uint32_t in = attempt->paused ? 0 : EPOLLIN;
    attempt->upload_waits = false;
    while (!attempt->sent) {
        if (attempt_sends(attempt)) {
            ssize_t sent = send_out(attempt);
            if (sent == LINK_AGAIN) {
                link_watch(attempt->link, in | EPOLLOUT);
                return true;
            }
            if (sent ==
                LINK_BROKEN) { /* it may have answered before it closed; that it does close is seen to */
                (void)shutdown(attempt->link->fd, SHUT_WR);
                attempt_stop_sending(attempt);
                return true;
            }
            if (sent == LINK_NO_FILE) { /* then its reading shows what is wrong */
                attempt->file_out = 0;
                attempt->pieces = true;
                continue;
            }
            attempt->active_ms = loop_now(attempt->upstream->loop);
            went_out(attempt, (size_t)sent);
            continue;
        }
        switch (next_out(attempt)) {
        case NEXT_OUT:
            break;
        case NEXT_WAIT:
            attempt->upload_waits = true;
            link_watch(attempt->link, in);
            return true;
        case NEXT_END:
            attempt->sent = true;
            attempt_free_request(attempt);
            break;
        case NEXT_FAILED:
            attempt_fail(attempt, KIND_BROKEN, "the request's body could not be read");
            return false;
        }
    }
    link_watch(attempt->link, in);
    return true;
}
