/*
 * Targets: what providers send behind a head (chunked bodies, usage reports, JSON that is dumped), what
 * clients send for a trace, and the status page's form. Wherever bytes are cut, the outcome is the same.
 */
#include "base/buf.h"
#include "core/chunked.h"
#include "core/trace.h"
#include "core/usage.h"
#include "fuzz/fuzz.h"
#include "io/dump_json.h"
#include "worker/admin_action.h"

#include <string.h>

/* ---- chunked */

/* Feeds pieces of `step` bytes; appends the body. */
static enum chunked_result feed_chunked(const char *data, size_t size, size_t step, struct buf *body)
{
    struct chunked chunked = {0};
    size_t at = 0;
    while (at < size) {
        size_t end = at + step < size ? at + step : size;
        while (at < end) {
            const char *piece = NULL;
            size_t piece_len = 0;
            size_t used = 0;
            enum chunked_result result =
                chunked_feed(&chunked, data + at, end - at, &used, &piece, &piece_len);
            FUZZ_MUST(used <= end - at);
            if (result == CHUNKED_BAD || result == CHUNKED_END)
                return result;
            if (result == CHUNKED_BODY) {
                FUZZ_MUST(piece >= data + at && piece_len > 0 && piece + piece_len <= data + at + used);
                buf_append(body, piece, piece_len);
            } else {
                FUZZ_MUST(used == end - at);
            }
            at += used;
        }
    }
    return CHUNKED_MORE;
}

void fuzz_chunked(const uint8_t *data, size_t size)
{
    struct buf whole = {0};
    struct buf bytes = {0};
    enum chunked_result a = feed_chunked((const char *)data, size, size, &whole);
    enum chunked_result b = feed_chunked((const char *)data, size, 1, &bytes);
    FUZZ_MUST(a == b);
    FUZZ_MUST(whole.len == bytes.len && (whole.len == 0 || memcmp(whole.data, bytes.data, whole.len) == 0));
    FUZZ_MUST(whole.len <= size);
    buf_fini(&whole);
    buf_fini(&bytes);
}

/* ---- usage */

static bool scan(enum usage_format format, const char *data, size_t size, size_t step, struct usage *usage)
{
    struct usage_scanner scanner = {.format = format};
    for (size_t at = 0; at < size; at += step)
        usage_feed(&scanner, data + at, step < size - at ? step : size - at);
    return usage_result(&scanner, usage);
}

void fuzz_usage(const uint8_t *data, size_t size)
{
    for (int format = USAGE_JSON; format <= USAGE_EVENTS; format++) {
        struct usage whole;
        struct usage bytes;
        bool found = scan((enum usage_format)format, (const char *)data, size, size > 0 ? size : 1, &whole);
        FUZZ_MUST(found == scan((enum usage_format)format, (const char *)data, size, 1, &bytes));
        FUZZ_MUST(whole.input == bytes.input && whole.output == bytes.output &&
                  whole.cached == bytes.cached && whole.written == bytes.written &&
                  whole.reasoning == bytes.reasoning);
        FUZZ_MUST(strcmp(whole.model, bytes.model) == 0 && strlen(whole.model) < USAGE_MODEL_SIZE);
    }
}

/* ---- dump_json */

/* What is indented is JSON still, and indenting it again changes nothing. */
void fuzz_dump_json(const uint8_t *data, size_t size)
{
    struct buf once = {0};
    struct buf twice = {0};
    if (dump_json_indent(&once, (const char *)data, size)) {
        FUZZ_MUST(dump_json_indent(&twice, once.data, once.len));
        FUZZ_MUST(once.len == twice.len && memcmp(once.data, twice.data, once.len) == 0);
    } else {
        FUZZ_MUST(once.len == 0);
    }
    buf_fini(&once);
    buf_fini(&twice);
}

/* ---- traceparent */

void fuzz_trace(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct trace_context context;
    struct trace_context again;
    char text[TRACE_PARENT_SIZE];
    fuzz_reader_init(&reader, data, size);
    if (trace_parse(fuzz_line(&reader), &context)) {
        trace_format(&context, text);
        FUZZ_MUST(trace_parse(text, &again));
        FUZZ_MUST(memcmp(context.id, again.id, sizeof(context.id)) == 0 &&
                  memcmp(context.span, again.span, sizeof(context.span)) == 0 &&
                  context.sampled == again.sampled);
    }
    fuzz_reader_fini(&reader);
}

/* ---- the status page's form */

void fuzz_form(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct admin_action action;
    size_t len;
    fuzz_reader_init(&reader, data, size);
    char *body = fuzz_rest(&reader, &len);
    if (admin_action_parse(body, len, &action))
        FUZZ_MUST(strlen(action.token) < sizeof(action.token) && action.provider[0] != '\0' &&
                  strlen(action.provider) < sizeof(action.provider) &&
                  strlen(action.key_id) < sizeof(action.key_id));
    fuzz_reader_fini(&reader);
}
