/*
 * access: owns the lines of the request log that have not left yet. Called by the relay at a request's end
 * and by the loop's timer. A path is the client's text: whatever is in it, a record stays one line with its
 * fields in place.
 */
#include "io/access.h"

#include "base/buf.h"
#include "base/clock.h"

#include <inttypes.h>
#include <string.h>

#define UPSTREAM_ID_MAX 128

static struct {
    struct buf lines;
    int64_t due_ms; /* when the oldest line has to leave */
} waiting = {.due_ms = INT64_MAX};

/* Without a query whatever the caller gave: there may be a credential in it. */
static size_t path_length(const char *path)
{
    return strcspn(path, "?#");
}

/* No longer than an id should be. */
static size_t upstream_id_length(const char *id)
{
    return strnlen(id, UPSTREAM_ID_MAX);
}

static void text_field(struct buf *out, const char *value, size_t len)
{
    buf_putc(out, ' ');
    if (len == 0)
        buf_putc(out, '-');
    else
        buf_escape(out, value, len, " \"\\");
}

static void text_string(struct buf *out, const char *value)
{
    text_field(out, value, value == NULL ? 0 : strlen(value));
}

static void format_text(struct buf *out, const struct access_record *r, const char *time)
{
    buf_puts(out, time);
    text_string(out, r->id);
    text_string(out, r->client);
    text_string(out, r->provider);
    text_string(out, r->method);
    text_field(out, r->path, r->path == NULL ? 0 : path_length(r->path));
    buf_printf(out, " %d %u", r->status, r->attempts);
    text_string(out, r->key);
    if (r->first_byte_ms < 0)
        buf_puts(out, " -");
    else
        buf_printf(out, " %" PRId64, r->first_byte_ms);
    buf_printf(out, " %" PRId64 " %" PRIu64 " %" PRIu64, r->total_ms, r->bytes_in, r->bytes_out);
    text_string(out, r->error);
    if (r->upstream_id != NULL)
        text_field(out, r->upstream_id, upstream_id_length(r->upstream_id));
    buf_putc(out, '\n');
}

static void json_field(struct buf *out, const char *name, const char *value, size_t len)
{
    buf_printf(out, ",\"%s\":", name);
    if (len == 0)
        buf_puts(out, "null");
    else
        buf_json(out, value, len);
}

static void json_string(struct buf *out, const char *name, const char *value)
{
    json_field(out, name, value, value == NULL ? 0 : strlen(value));
}

static void format_json(struct buf *out, const struct access_record *r, const char *time)
{
    buf_printf(out, "{\"time\":\"%s\"", time);
    json_string(out, "id", r->id);
    json_string(out, "client", r->client);
    json_string(out, "provider", r->provider);
    json_string(out, "method", r->method);
    json_field(out, "path", r->path, r->path == NULL ? 0 : path_length(r->path));
    buf_printf(out, ",\"status\":%d,\"attempts\":%u", r->status, r->attempts);
    json_string(out, "key", r->key);
    if (r->first_byte_ms < 0)
        buf_puts(out, ",\"first_byte_ms\":null");
    else
        buf_printf(out, ",\"first_byte_ms\":%" PRId64, r->first_byte_ms);
    buf_printf(out, ",\"total_ms\":%" PRId64 ",\"bytes_in\":%" PRIu64 ",\"bytes_out\":%" PRIu64, r->total_ms,
               r->bytes_in, r->bytes_out);
    json_string(out, "error", r->error);
    if (r->upstream_id != NULL)
        json_field(out, "upstream_id", r->upstream_id, upstream_id_length(r->upstream_id));
    buf_puts(out, "}\n");
}

void access_format(struct buf *out, const struct access_record *record, enum log_format format)
{
    char time[CLOCK_RFC3339_SIZE];

    clock_rfc3339(record->time_real_ms, time);
    if (format == LOG_FORMAT_JSON)
        format_json(out, record, time);
    else
        format_text(out, record, time);
}

static void write_waiting(void)
{
    log_raw(waiting.lines.data, waiting.lines.len);
    buf_clear(&waiting.lines);
    waiting.due_ms = INT64_MAX;
}

void access_log(const struct access_record *record, int64_t now_mono_ms)
{
    size_t before = waiting.lines.len;

    if (before == 0)
        waiting.due_ms = now_mono_ms + ACCESS_DELAY_MS;
    access_format(&waiting.lines, record, log_get_format());
    if (waiting.lines.failed) {
        /* Out of memory: this line is lost, those before it are not. */
        waiting.lines.failed = false;
        waiting.lines.len = before;
        if (before == 0)
            waiting.due_ms = INT64_MAX;
        return;
    }
    if (waiting.lines.len >= ACCESS_BATCH)
        write_waiting();
}

int64_t access_flush(int64_t now_mono_ms, int force)
{
    if (waiting.lines.len > 0 && (force || now_mono_ms >= waiting.due_ms))
        write_waiting();
    return waiting.due_ms;
}
