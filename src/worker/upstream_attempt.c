/*
 * upstream_attempt: one upstream request as libcurl sees it: its options, its header lines, its callbacks. It
 * decides nothing: what an answer means is the relay's business.
 */
#include "worker/upstream_internal.h"

#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

/* What libcurl would add by itself and must not. A line "Name:" removes the field. */
static const char no_accept[] = "Accept:";
static const char no_expect[] = "Expect:";
static const char no_content_type[] = "Content-Type:";

/* ---- callbacks */

static int on_prereq(void *arg, char *peer_ip, char *local_ip, int peer_port, int local_port)
{
    struct attempt *attempt = arg;
    (void)peer_ip, (void)local_ip, (void)peer_port, (void)local_port;
    attempt->active_ms = loop_now(upstream_loop(attempt->upstream));
    return attempt->sends++ == 0 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static size_t on_header(char *data, size_t size, size_t count, void *arg)
{
    struct attempt *attempt = arg;
    size_t len = size * count;
    if (attempt->discarding)
        return len; /* trailers of an answer that nobody reads */
    switch (response_head_line(&attempt->head, data, len, attempt->arena, &attempt->malformed)) {
    case RESPONSE_HEAD_MORE:
    case RESPONSE_HEAD_TRAILER:
        return len;
    case RESPONSE_HEAD_DONE:
        break;
    case RESPONSE_HEAD_NO_MEMORY:
        attempt->malformed = "out of memory";
        return 0;
    case RESPONSE_HEAD_MALFORMED:
        return 0;
    }
    attempt->active_ms = loop_now(upstream_loop(attempt->upstream));
    (void)loop_timer_set(upstream_loop(attempt->upstream), &attempt->timer,
                         attempt->active_ms + attempt->conf->idle_timeout_ms);
    if (!attempt->events.head(attempt->arg, &attempt->head)) {
        attempt->refused = true;
        return 0;
    }
    /* A refusal ends the upload in the library's eyes, but one that waits for its client it forgets to end.
     */
    if (attempt->upload_waits && attempt->head.status >= 400)
        upstream_resume(attempt);
    return attempt->head_only ? 0 : len;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct attempt *attempt = arg;
    size_t len = size * count;
    attempt->active_ms = loop_now(upstream_loop(attempt->upstream));
    if (attempt->discarding) {
        if (len > attempt->discard_left)
            return 0;
        attempt->discard_left -= len;
        dump_response_body(attempt->dump, data, len);
        return len;
    }
    if (!attempt->events.body(attempt->arg, data, len)) {
        attempt->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    attempt->paused = false;
    return len;
}

static size_t read_spool(struct attempt *attempt, char *out, size_t max)
{
    ssize_t got = spool_read(attempt->spool, attempt->upload_offset, out, max);
    if (got < 0)
        return CURL_READFUNC_ABORT;
    attempt->upload_offset += got;
    return (size_t)got;
}

static size_t on_upload(char *out, size_t size, size_t count, void *arg)
{
    struct attempt *attempt = arg;
    if (attempt->discarding)
        return CURL_READFUNC_ABORT;
    attempt->active_ms = loop_now(upstream_loop(attempt->upstream));
    if (attempt->body == UPSTREAM_BODY_SPOOL)
        return read_spool(attempt, out, size * count);
    ssize_t got = attempt->events.upload(attempt->arg, out, size * count);
    if (got == UPSTREAM_UPLOAD_WAIT && attempt->head.complete && attempt->head.status >= 400) {
        /* Refused already: the library would wait for the rest for ever. What was sent is no whole request,
         * so nothing may follow on this connection. */
        (void)curl_easy_setopt(attempt->easy, CURLOPT_FORBID_REUSE, 1L);
        return 0;
    }
    attempt->upload_waits = got == UPSTREAM_UPLOAD_WAIT;
    if (got == UPSTREAM_UPLOAD_WAIT)
        return CURL_READFUNC_PAUSE;
    if (got < 0)
        return CURL_READFUNC_ABORT;
    attempt->upload_offset += got;
    return (size_t)got;
}

/* ---- options */

CURL *upstream_attempt_handle(struct attempt *attempt)
{
    const struct provider *conf = attempt->conf;
    CURL *easy = curl_easy_init();
    if (easy == NULL)
        return NULL;
    CURLcode bad = CURLE_OK;
#define SET(option, value) bad = bad != CURLE_OK ? bad : curl_easy_setopt(easy, option, value)
    SET(CURLOPT_PRIVATE, attempt);
    SET(CURLOPT_ERRORBUFFER, attempt->error);
    SET(CURLOPT_PREREQFUNCTION, on_prereq);
    SET(CURLOPT_PREREQDATA, attempt);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, attempt);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, attempt);
    SET(CURLOPT_READFUNCTION, on_upload);
    SET(CURLOPT_READDATA, attempt);
    SET(CURLOPT_URL, conf->base_url.origin);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROXY, "");
    SET(CURLOPT_NOSIGNAL, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* or ending an attempt waits for a name server that does not answer */
#endif
    SET(CURLOPT_NOPROGRESS, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_BUFFERSIZE, 16L * 1024);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)conf->connect_timeout_ms);
    if (conf->ca_file != NULL && conf->ca_file[0] != '\0')
        SET(CURLOPT_CAINFO, conf->ca_file);
#undef SET
    if (bad != CURLE_OK) {
        curl_easy_cleanup(easy);
        return NULL;
    }
    return easy;
}

/* A block with the list's nodes first and their lines behind them; the library only reads it. */
struct lines {
    struct curl_slist *nodes;
    size_t count;
    char *at;
};

static void add_line(struct lines *lines, const char *name, size_t name_len, const char *prefix,
                     const char *value, size_t value_len)
{
    struct curl_slist *node = &lines->nodes[lines->count];
    size_t prefix_len = strlen(prefix);
    node->data = lines->at;
    node->next = NULL;
    if (lines->count > 0)
        lines->nodes[lines->count - 1].next = node;
    lines->count++;

    memcpy(lines->at, name, name_len);
    lines->at += name_len;
    if (prefix_len + value_len == 0) {
        *lines->at++ = ';'; /* how the library is told to send a field without a value */
    } else {
        *lines->at++ = ':';
        *lines->at++ = ' ';
        memcpy(lines->at, prefix, prefix_len);
        memcpy(lines->at + prefix_len, value, value_len);
        lines->at += prefix_len + value_len;
    }
    *lines->at++ = '\0';
}

static void add_removal(struct lines *lines, const char *line)
{
    struct curl_slist *node = &lines->nodes[lines->count];
    size_t size = strlen(line) + 1;
    memcpy(lines->at, line, size);
    node->data = lines->at;
    node->next = NULL;
    if (lines->count > 0)
        lines->nodes[lines->count - 1].next = node;
    lines->count++;
    lines->at += size;
}

static int build_lines(struct attempt *attempt, const struct upstream_request *request, struct lines *lines)
{
    const struct header_list *headers = request->headers;
    const struct provider *conf = request->provider;
    size_t size = (headers->count + 4) * sizeof(struct curl_slist) + sizeof no_accept + sizeof no_expect +
                  sizeof no_content_type;
    for (size_t i = 0; i < headers->count; i++)
        size += (size_t)headers->items[i].name_len + headers->items[i].value_len + 4;
    if (request->key != NULL)
        size += strlen(conf->auth_header) + strlen(conf->auth_prefix) + secret_len(request->key) + 4;

    attempt->block = malloc(size);
    if (attempt->block == NULL)
        return -1;
    attempt->block_size = size;
    lines->nodes = attempt->block;
    lines->count = 0;
    lines->at = (char *)(lines->nodes + headers->count + 4);
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *field = &headers->items[i];
        add_line(lines, field->name, field->name_len, "", field->value, field->value_len);
    }
    if (request->key != NULL)
        add_line(lines, conf->auth_header, strlen(conf->auth_header), conf->auth_prefix,
                 secret_open(request->key), secret_len(request->key));
    if (header_find(headers, "Accept") == NULL)
        add_removal(lines, no_accept);
    add_removal(lines, no_expect);
    if (header_find(headers, "Content-Type") == NULL)
        add_removal(lines, no_content_type);
    return 0;
}

/* Chooses the library's way to send the body. A body in memory goes out together with the head in one send.
 */
static CURLcode set_body(struct attempt *attempt, const struct upstream_request *request)
{
    CURL *easy = attempt->easy;
    bool head = strcmp(request->method, "HEAD") == 0;
    const char *memory = request->body == UPSTREAM_BODY_SPOOL ? spool_memory(request->spool) : NULL;
    CURLcode bad;
    attempt->head_only = head && request->body != UPSTREAM_BODY_NONE;
    attempt->body_length = 0;
    if (request->body == UPSTREAM_BODY_NONE) {
        bad = curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        if (bad == CURLE_OK && head)
            bad = curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return bad;
    }
    bad = curl_easy_setopt(easy, CURLOPT_NOBODY, 0L);
    if (memory != NULL) {
        attempt->body_length = request->spool->len;
        if (bad == CURLE_OK)
            bad = curl_easy_setopt(easy, CURLOPT_UPLOAD, 0L);
        if (bad == CURLE_OK)
            bad = curl_easy_setopt(easy, CURLOPT_POST, 1L);
        if (bad == CURLE_OK)
            bad = curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->spool->len);
        return bad != CURLE_OK ? bad : curl_easy_setopt(easy, CURLOPT_POSTFIELDS, memory);
    }
    attempt->body_length =
        request->body == UPSTREAM_BODY_SPOOL ? request->spool->len : request->stream_length;
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(easy, CURLOPT_UPLOAD, 1L);
    return bad != CURLE_OK
               ? bad
               : curl_easy_setopt(easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)attempt->body_length);
}

int upstream_attempt_prepare(struct attempt *attempt, const struct upstream_request *request)
{
    struct lines lines;
    if (build_lines(attempt, request, &lines) != 0)
        return -1;
    attempt->body = request->body;
    attempt->spool = request->spool;
    attempt->arena = request->arena;
    CURLcode bad = set_body(attempt, request);
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(attempt->easy, CURLOPT_FORBID_REUSE, 0L);
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(attempt->easy, CURLOPT_CUSTOMREQUEST, request->method);
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(attempt->easy, CURLOPT_REQUEST_TARGET, request->target);
    if (bad == CURLE_OK)
        bad = curl_easy_setopt(attempt->easy, CURLOPT_HTTPHEADER, lines.nodes);
    return bad == CURLE_OK ? 0 : -1;
}

bool upstream_attempt_sent(struct attempt *attempt)
{
    if (attempt->body == UPSTREAM_BODY_NONE)
        return true;
    if (attempt->body_length < 0)
        return false; /* a stream without a length: only its end would tell */
    curl_off_t sent = 0;
    (void)curl_easy_getinfo(attempt->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    return sent >= attempt->body_length;
}
