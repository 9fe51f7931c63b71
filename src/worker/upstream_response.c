/*
 * upstream_response: an attempt's way in: the head line by line, then the body as it is framed (RFC 9112
 * section 6.3). What the answer means is the relay's business.
 */
#include "worker/upstream_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>

#define READS 8 /* of a TLS connection, before others have their turn */

enum feed { FEED_MORE, FEED_PAUSED, FEED_DONE, FEED_FAILED };

static enum feed failed(const char **reason, const char *text)
{
    *reason = text;
    return FEED_FAILED;
}

/* ---- the head */

static bool keeps_alive(const struct response_head *head)
{
    bool keep = !head->http10;
    for (size_t i = 0; i < head->headers.count; i++) {
        const struct header *field = &head->headers.items[i];
        if (!header_is(field, "Connection"))
            continue;
        if (header_value_has_token(field->value, "close"))
            return false;
        if (header_value_has_token(field->value, "keep-alive"))
            keep = true;
    }
    return keep;
}

/* Any other coding than this one could not be decoded here. */
static bool coding_is_known(const struct response_head *head)
{
    for (size_t i = 0; i < head->headers.count; i++) {
        const struct header *field = &head->headers.items[i];
        if (header_is(field, "Transfer-Encoding") && strcasecmp(field->value, "chunked") != 0)
            return false;
    }
    return header_count(&head->headers, "Transfer-Encoding") <= 1;
}

static enum feed on_head(struct attempt *attempt, const char **reason)
{
    struct response_head *head = &attempt->head;
    if (head->chunked && !coding_is_known(head))
        return failed(reason, "its body has a transfer coding that is not known");
    attempt->keep = keeps_alive(head);
    if (attempt->head_request || head->status == 204 || head->status == 304) {
        attempt->left = 0;
        head->chunked = head->chunked && attempt->head_request; /* as a HEAD's answer says it */
    } else {
        attempt->left = head->chunked ? 0 : head->content_length;
    }
    attempt_set_timer(attempt);
    if (!attempt->events.head(attempt->arg, head))
        return failed(reason, "out of memory");
    if (!attempt->sent && head->status >= 300)
        attempt_stop_sending(attempt); /* a refusal; what was sent is no whole request */
    return FEED_MORE;
}

static enum feed take_line(struct attempt *attempt, const char *line, size_t len, const char **reason)
{
    switch (response_head_line(&attempt->head, line, len, attempt->arena, reason)) {
    case RESPONSE_HEAD_MORE:
    case RESPONSE_HEAD_TRAILER:
        return FEED_MORE;
    case RESPONSE_HEAD_DONE:
        return on_head(attempt, reason);
    case RESPONSE_HEAD_NO_MEMORY:
        return failed(reason, "out of memory");
    case RESPONSE_HEAD_MALFORMED:
        break;
    }
    return FEED_FAILED;
}

static enum feed take_head(struct attempt *attempt, const char *data, size_t len, size_t *used,
                           const char **reason)
{
    enum feed result = FEED_MORE;
    size_t at = 0;
    while (result == FEED_MORE && at < len && !attempt->head.complete) {
        const char *end = memchr(data + at, '\n', len - at);
        size_t piece = end != NULL ? (size_t)(end - data) + 1 - at : len - at;
        const char *line = data + at;
        size_t line_len = piece;
        if (attempt->line.len + piece > RESPONSE_HEAD_MAX)
            return failed(reason, "its head is too large");
        if (end == NULL || attempt->line.len > 0) {
            buf_append(&attempt->line, line, piece);
            if (attempt->line.failed)
                return failed(reason, "out of memory");
            line = attempt->line.data;
            line_len = attempt->line.len;
        }
        at += piece;
        if (end == NULL)
            break;
        result = take_line(attempt, line, line_len, reason);
        if (attempt->line.len > 0)
            buf_clear(&attempt->line);
    }
    *used = at;
    return result;
}

/* ---- the body */

/* Hands bytes over, or throws them away. */
static enum feed give(struct attempt *attempt, const char *data, size_t len, const char **reason)
{
    if (attempt->discarding) {
        if (len > attempt->discard_left)
            return failed(reason, "too much to discard");
        attempt->discard_left -= len;
        dump_response_body(attempt->dump, data, len);
        return FEED_MORE;
    }
    return attempt->events.body(attempt->arg, data, len) ? FEED_MORE : FEED_PAUSED;
}

static enum feed take_chunked(struct attempt *attempt, const char *data, size_t len, size_t *used,
                              const char **reason)
{
    *used = 0;
    for (;;) {
        const struct chunked before = attempt->chunked;
        const char *body;
        size_t body_len;
        size_t now = 0;
        switch (chunked_feed(&attempt->chunked, data + *used, len - *used, &now, &body, &body_len)) {
        case CHUNKED_MORE:
            *used += now;
            return FEED_MORE;
        case CHUNKED_END:
            *used += now;
            return FEED_DONE;
        case CHUNKED_BAD:
            return failed(reason, "its chunked body is malformed");
        case CHUNKED_BODY:
            break;
        }
        enum feed result = give(attempt, body, body_len, reason);
        if (result == FEED_PAUSED)
            attempt->chunked = before; /* the same bytes come again */
        if (result != FEED_MORE)
            return result;
        *used += now;
    }
}

static enum feed take_plain(struct attempt *attempt, const char *data, size_t len, size_t *used,
                            const char **reason)
{
    size_t now = len;
    if (attempt->left >= 0 && (uint64_t)now > (uint64_t)attempt->left)
        now = (size_t)attempt->left;
    if (now > 0) {
        enum feed result = give(attempt, data, now, reason);
        if (result != FEED_MORE)
            return result;
    }
    *used = now;
    if (attempt->left < 0)
        return FEED_MORE;
    attempt->left -= (int64_t)now;
    return attempt->left == 0 ? FEED_DONE : FEED_MORE;
}

static bool body_is_chunked(const struct attempt *attempt)
{
    return attempt->head.chunked && !attempt->head_request;
}

static enum feed feed(struct attempt *attempt, const char *data, size_t len, size_t *used,
                      const char **reason)
{
    enum feed result = FEED_MORE;
    size_t now = 0;
    *used = 0;
    if (!attempt->head.complete) {
        result = take_head(attempt, data, len, used, reason);
        if (result != FEED_MORE || !attempt->head.complete)
            return result;
    }
    if (body_is_chunked(attempt))
        result = take_chunked(attempt, data + *used, len - *used, &now, reason);
    else
        result = take_plain(attempt, data + *used, len - *used, &now, reason);
    *used += now;
    return result;
}

/* Works through bytes that came. Returns whether it wants more of them; if not, it may be gone. */
static bool take(struct attempt *attempt, const char *data, size_t len)
{
    const char *reason = "its answer is malformed";
    size_t used = 0;
    attempt->active_ms = loop_now(attempt->upstream->loop);
    switch (feed(attempt, data, len, &used, &reason)) {
    case FEED_MORE:
        if (!attempt->head.complete)
            attempt_set_timer(attempt);
        else
            loop_hurry(attempt->upstream->loop);
        return true;
    case FEED_PAUSED:
        attempt->paused = true;
        buf_append(&attempt->held, data + used, len - used);
        if (attempt->held.failed) {
            attempt_fail(attempt, KIND_BROKEN, "out of memory");
            return false;
        }
        link_watch(attempt->link, attempt_sends(attempt));
        return false;
    case FEED_DONE:
        attempt_complete(attempt, attempt->keep && attempt->sent && used == len);
        return false;
    case FEED_FAILED:
        attempt_fail(attempt, KIND_MALFORMED, reason);
        return false;
    }
    return false;
}

/* The provider sends no more: got is 0 or LINK_BROKEN. */
static void on_end(struct attempt *attempt, ssize_t got)
{
    const struct link *link = attempt->link;
    if (got == 0 && attempt->head.complete && !body_is_chunked(attempt) && attempt->left < 0) {
        attempt_complete(attempt, false);
        return;
    }
    if (got == LINK_BROKEN)
        attempt_fail(attempt, KIND_BROKEN, link->error);
    else if (attempt->head.complete)
        attempt_fail(attempt, KIND_BROKEN, "it closed the connection in the middle of its answer");
    else if (attempt->head.bytes > 0 || attempt->line.len > 0)
        attempt_fail(attempt, KIND_MALFORMED, "its answer is malformed");
    else
        attempt_fail(attempt, KIND_BROKEN, "the connection broke before an answer came");
}

void attempt_receive(struct attempt *attempt)
{
    struct upstream *upstream = attempt->upstream;
    attempt->more = false;
    for (int i = 0; i < READS && !attempt->paused; i++) {
        ssize_t got = link_receive(attempt->link, upstream->scratch, sizeof upstream->scratch);
        if (got == LINK_AGAIN) {
            /* Inside TLS reading may have waited for something to be sent: it is tried again behind that. */
            attempt->more = !attempt->sent && link_has_read_more(attempt->link);
            return;
        }
        if (got <= 0) {
            on_end(attempt, got);
            return;
        }
        if (!take(attempt, upstream->scratch, (size_t)got) || link_is_drained(attempt->link))
            return;
    }
    attempt->more = true; /* others want their turn too */
    attempt_wake(attempt);
}

void attempt_unhold(struct attempt *attempt)
{
    struct buf held = attempt->held;
    attempt->held = (struct buf){0};
    attempt->paused = false;
    link_watch(attempt->link, EPOLLIN | attempt_sends(attempt));
    if (held.len == 0 || take(attempt, held.data, held.len))
        attempt_receive(attempt);
    buf_fini(&held);
}
