/*
 * trace: reads and writes trace contexts and writes spans. Called by the relay and the tracer. No key and no
 * query gets in: the caller gives hints and paths.
 */
#include "core/trace.h"

#include "core/ascii.h"

#include <string.h>

/* ---- contexts */

/* Lower-case digits only, as the specification wants. */
static bool read_hex(const char **text, unsigned char *out, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        char high = (*text)[0];
        char low = high != '\0' ? (*text)[1] : '\0';
        if (ascii_hex_value(high) < 0 || ascii_hex_value(low) < 0 || (high >= 'A' && high <= 'F') ||
            (low >= 'A' && low <= 'F'))
            return false;
        out[i] = (unsigned char)(ascii_hex_value(high) * 16 + ascii_hex_value(low));
        *text += 2;
    }
    return true;
}

static bool take_dash(const char **text)
{
    return *(*text)++ == '-';
}

static bool is_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

bool trace_parse(const char *value, struct trace_context *context)
{
    unsigned char version;
    unsigned char flags;
    if (!read_hex(&value, &version, 1) || version == 0xff || !take_dash(&value) ||
        !read_hex(&value, context->id, TRACE_ID_SIZE) || !take_dash(&value) ||
        !read_hex(&value, context->span, TRACE_SPAN_SIZE) || !take_dash(&value) ||
        !read_hex(&value, &flags, 1))
        return false;
    /* Later versions may have more behind it. */
    if (*value != '\0' && (version == 0 || *value != '-'))
        return false;
    context->sampled = (flags & 1) != 0;
    return !is_zero(context->id, TRACE_ID_SIZE) && !is_zero(context->span, TRACE_SPAN_SIZE);
}

static void put_hex(char *out, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * size] = '\0';
}

void trace_format(const struct trace_context *context, char out[TRACE_PARENT_SIZE])
{
    char *at = out;
    memcpy(at, "00-", 3);
    put_hex(at += 3, context->id, TRACE_ID_SIZE);
    at += (size_t)2 * TRACE_ID_SIZE;
    *at++ = '-';
    put_hex(at, context->span, TRACE_SPAN_SIZE);
    at += (size_t)2 * TRACE_SPAN_SIZE;
    memcpy(at, context->sampled ? "-01" : "-00", 4);
}

bool trace_is_sampled(const unsigned char id[TRACE_ID_SIZE], double share)
{
    uint64_t random = 0;
    for (size_t i = TRACE_ID_SIZE - 7; i < TRACE_ID_SIZE; i++)
        random = random << 8 | id[i];
    /* 52 bits fit a double exactly. */
    return (double)(random >> 4) < share * 0x1p52;
}

/* ---- spans: every traced request is written here, so what never changes is one text wherever it can be */

/* The first attribute is always there: a comma is before every other one. */
#define NAME(name)   "{\"key\":\"" name "\",\"value\":"
#define FIRST(name)  NAME(name) "{\"stringValue\":"
#define STRING(name) "," FIRST(name)
#define NUMBER(name) "," NAME(name) "{\"intValue\":\""

static void put_value(struct buf *out, const char *value)
{
    buf_json(out, value, strlen(value));
    BUF_PUT(out, "}}");
}

#define PUT_STRING(out, name, value)                                                                         \
    do {                                                                                                     \
        if ((value) != NULL) {                                                                               \
            BUF_PUT(out, STRING(name));                                                                      \
            put_value(out, value);                                                                           \
        }                                                                                                    \
    } while (0)

/* 64-bit integers are strings in the mapping. */
static void put_count(struct buf *out, unsigned value)
{
    buf_put_uint(out, value);
    BUF_PUT(out, "\"}}");
}

/* What all spans of a request have, as text. */
struct ids {
    char trace[2 * TRACE_ID_SIZE + 1];
    char request[2 * TRACE_SPAN_SIZE + 1];
};

static void put_ids(struct buf *out, const char *trace, const char *span, const char *parent)
{
    BUF_PUT(out, "{\"traceId\":\"");
    buf_append_inline(out, trace, (size_t)2 * TRACE_ID_SIZE);
    BUF_PUT(out, "\",\"spanId\":\"");
    buf_append_inline(out, span, (size_t)2 * TRACE_SPAN_SIZE);
    if (parent == NULL)
        return;
    BUF_PUT(out, "\",\"parentSpanId\":\"");
    buf_append_inline(out, parent, (size_t)2 * TRACE_SPAN_SIZE);
}

static void put_times(struct buf *out, int64_t begin_ms, int64_t end_ms)
{
    if (begin_ms < 0)
        begin_ms = 0;
    if (end_ms < begin_ms) /* the clock was set */
        end_ms = begin_ms;
    buf_put_uint(out, (uint64_t)begin_ms);
    BUF_PUT(out, "000000\",\"endTimeUnixNano\":\"");
    buf_put_uint(out, (uint64_t)end_ms);
    BUF_PUT(out, "000000\",\"attributes\":[" FIRST("http.request.method"));
}

static void put_status(struct buf *out, const char *failure)
{
    if (failure == NULL) {
        BUF_PUT(out, "],\"status\":{}}");
        return;
    }
    BUF_PUT(out, "],\"status\":{\"code\":2,\"message\":");
    buf_json(out, failure, strlen(failure));
    BUF_PUT(out, "}}");
}

static void put_attempt(struct buf *out, const struct trace_request *request, const struct ids *ids,
                        unsigned index)
{
    const struct trace_attempt *attempt = &request->attempts[index];
    char span[2 * TRACE_SPAN_SIZE + 1];
    put_hex(span, attempt->span, TRACE_SPAN_SIZE);
    put_ids(out, ids->trace, span, ids->request);
    BUF_PUT(out, "\",\"name\":\"Attempt\",\"kind\":3,\"startTimeUnixNano\":\""); /* CLIENT */
    put_times(out, attempt->begin_ms, attempt->end_ms);
    put_value(out, request->method);
    PUT_STRING(out, "url.full", request->upstream_url);
    BUF_PUT(out, NUMBER("claviger.attempt"));
    put_count(out, index + 1);
    PUT_STRING(out, "claviger.key", attempt->key);
    if (attempt->status > 0) {
        BUF_PUT(out, NUMBER("http.response.status_code"));
        put_count(out, (unsigned)attempt->status);
    }
    PUT_STRING(out, "claviger.mark", attempt->mark);
    put_status(out, attempt->failure);
}

static void put_request(struct buf *out, const struct trace_request *request, const struct ids *ids)
{
    char parent[2 * TRACE_SPAN_SIZE + 1];
    if (request->has_parent)
        put_hex(parent, request->parent, TRACE_SPAN_SIZE);
    put_ids(out, ids->trace, ids->request, request->has_parent ? parent : NULL);
    BUF_PUT(out, "\",\"name\":\"Passthrough\",\"kind\":2,\"startTimeUnixNano\":\""); /* SERVER */
    put_times(out, request->begin_ms, request->end_ms);
    put_value(out, request->method);
    PUT_STRING(out, "url.path", request->path);
    PUT_STRING(out, "claviger.upstream_url", request->upstream_url);
    PUT_STRING(out, "claviger.provider", request->provider);
    BUF_PUT(out, NUMBER("http.response.status_code"));
    put_count(out, (unsigned)request->status);
    BUF_PUT(out, NUMBER("claviger.attempts"));
    put_count(out, request->attempt_count);
    PUT_STRING(out, "claviger.request_id", request->id);
    PUT_STRING(out, "error.type", request->error);
    put_status(out, request->error);
}

void trace_put_spans(struct buf *out, const struct trace_request *request)
{
    struct ids ids;
    put_hex(ids.trace, request->context.id, TRACE_ID_SIZE);
    put_hex(ids.request, request->context.span, TRACE_SPAN_SIZE);
    put_request(out, request, &ids);
    for (unsigned i = 0; i < request->attempt_count; i++) {
        buf_putc(out, ',');
        put_attempt(out, request, &ids, i);
    }
}

void trace_put_begin(struct buf *out, const char *version)
{
    BUF_PUT(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[" FIRST("service.name"));
    put_value(out, "claviger");
    PUT_STRING(out, "service.version", version);
    BUF_PUT(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"claviger\"},\"spans\":[");
}

void trace_put_end(struct buf *out)
{
    BUF_PUT(out, "]}]}]}");
}
