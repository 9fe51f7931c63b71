/*
 * trace: reads and writes trace contexts and writes spans. Called by the relay and the tracer. No key and no
 * query gets in: the caller gives hints and paths.
 */
#include "core/trace.h"

#include "core/ascii.h"

#include <inttypes.h>
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

/* ---- spans */

enum kind { KIND_SERVER = 2, KIND_CLIENT = 3 };

static void put_string(struct buf *out, const char *name, const char *value, const char **separator)
{
    if (value == NULL)
        return;
    buf_printf(out, "%s{\"key\":\"%s\",\"value\":{\"stringValue\":", *separator, name);
    buf_json(out, value, strlen(value));
    buf_puts(out, "}}");
    *separator = ",";
}

/* 64-bit integers are strings in the mapping. */
static void put_number(struct buf *out, const char *name, int64_t value, const char **separator)
{
    buf_printf(out, "%s{\"key\":\"%s\",\"value\":{\"intValue\":\"%" PRId64 "\"}}", *separator, name, value);
    *separator = ",";
}

static void put_span_begin(struct buf *out, const struct trace_request *request, const unsigned char *span,
                           const unsigned char *parent, const char *name, enum kind kind, int64_t begin_ms,
                           int64_t end_ms)
{
    char hex[2 * TRACE_ID_SIZE + 1];
    put_hex(hex, request->context.id, TRACE_ID_SIZE);
    buf_printf(out, "{\"traceId\":\"%s\"", hex);
    put_hex(hex, span, TRACE_SPAN_SIZE);
    buf_printf(out, ",\"spanId\":\"%s\"", hex);
    if (parent != NULL) {
        put_hex(hex, parent, TRACE_SPAN_SIZE);
        buf_printf(out, ",\"parentSpanId\":\"%s\"", hex);
    }
    if (end_ms < begin_ms) /* the clock was set */
        end_ms = begin_ms;
    buf_printf(out,
               ",\"name\":\"%s\",\"kind\":%d,\"startTimeUnixNano\":\"%" PRId64
               "000000\",\"endTimeUnixNano\":\"%" PRId64 "000000\",\"attributes\":[",
               name, (int)kind, begin_ms, end_ms);
}

static void put_span_end(struct buf *out, const char *failure)
{
    if (failure == NULL) {
        buf_puts(out, "],\"status\":{}}");
        return;
    }
    buf_puts(out, "],\"status\":{\"code\":2,\"message\":");
    buf_json(out, failure, strlen(failure));
    buf_puts(out, "}}");
}

static void put_attempt(struct buf *out, const struct trace_request *request, unsigned index)
{
    const struct trace_attempt *attempt = &request->attempts[index];
    const char *separator = "";
    put_span_begin(out, request, attempt->span, request->context.span, "Attempt", KIND_CLIENT,
                   attempt->begin_ms, attempt->end_ms);
    put_string(out, "http.request.method", request->method, &separator);
    put_string(out, "url.full", request->upstream_url, &separator);
    put_number(out, "claviger.attempt", index + 1, &separator);
    put_string(out, "claviger.key", attempt->key, &separator);
    if (attempt->status != 0)
        put_number(out, "http.response.status_code", attempt->status, &separator);
    put_string(out, "claviger.mark", attempt->mark, &separator);
    put_span_end(out, attempt->failure);
}

void trace_put_spans(struct buf *out, const struct trace_request *request)
{
    const char *separator = "";
    put_span_begin(out, request, request->context.span, request->has_parent ? request->parent : NULL,
                   "Passthrough", KIND_SERVER, request->begin_ms, request->end_ms);
    put_string(out, "http.request.method", request->method, &separator);
    put_string(out, "url.path", request->path, &separator);
    put_string(out, "claviger.upstream_url", request->upstream_url, &separator);
    put_string(out, "claviger.provider", request->provider, &separator);
    put_number(out, "http.response.status_code", request->status, &separator);
    put_number(out, "claviger.attempts", request->attempt_count, &separator);
    put_string(out, "claviger.request_id", request->id, &separator);
    put_string(out, "error.type", request->error, &separator);
    put_span_end(out, request->error);
    for (unsigned i = 0; i < request->attempt_count; i++) {
        buf_putc(out, ',');
        put_attempt(out, request, i);
    }
}

void trace_put_begin(struct buf *out, const char *version)
{
    const char *separator = "";
    buf_puts(out, "{\"resourceSpans\":[{\"resource\":{\"attributes\":[");
    put_string(out, "service.name", "claviger", &separator);
    put_string(out, "service.version", version, &separator);
    buf_puts(out, "]},\"scopeSpans\":[{\"scope\":{\"name\":\"claviger\"},\"spans\":[");
}

void trace_put_end(struct buf *out)
{
    buf_puts(out, "]}]}]}");
}
