/*
 * trace: one request as spans: who it belongs to (W3C Trace Context, www.w3.org/TR/trace-context-1/), what it
 * did, and its text for a collector (OTLP/HTTP with JSON,
 * opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding).
 *
 * Times are Unix milliseconds. Strings are borrowed.
 */
#ifndef CLAVIGER_CORE_TRACE_H
#define CLAVIGER_CORE_TRACE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define TRACE_ID_SIZE       16
#define TRACE_SPAN_SIZE     8
#define TRACE_PARENT_SIZE   56 /* "00-...-...-01" and NUL */
#define TRACE_PARENT_HEADER "traceparent"

struct trace_context {
    unsigned char id[TRACE_ID_SIZE];
    unsigned char span[TRACE_SPAN_SIZE];
    bool sampled;
};

/* Reads a traceparent field. False when it is not valid: then it is as if there were none. */
bool trace_parse(const char *value, struct trace_context *context);

/* Writes one. */
void trace_format(const struct trace_context *context, char out[TRACE_PARENT_SIZE]);

/* Whether a new trace with that id is among the share (0 to 1) that is recorded: by its last 7 bytes, which a
 * level 2 trace id has at random. */
bool trace_is_sampled(const unsigned char id[TRACE_ID_SIZE], double share);

/* One attempt. */
struct trace_attempt {
    unsigned char span[TRACE_SPAN_SIZE];
    int64_t begin_ms;
    int64_t end_ms;
    const char *key;     /* hint, "byok", or NULL */
    int status;          /* 0 = no response came */
    const char *mark;    /* reason of the mark that it led to; NULL = none */
    const char *failure; /* why no whole response came; NULL = it did */
};

/* One request. */
struct trace_request {
    struct trace_context context; /* span is the request's own */
    bool has_parent;
    unsigned char parent[TRACE_SPAN_SIZE];
    int64_t begin_ms;
    int64_t end_ms;
    const char *id;           /* of the request log */
    const char *method;       /* never NULL */
    const char *path;         /* of the client, without query */
    const char *upstream_url; /* without query; NULL = nothing was sent */
    const char *provider;     /* NULL = none */
    int status;               /* what the client got */
    const char *error;        /* claviger's code; NULL = none */
    const struct trace_attempt *attempts;
    unsigned attempt_count;
};

/* Appends the request's spans, separated by commas: an element of "spans". */
void trace_put_spans(struct buf *out, const struct trace_request *request);

/* What stands before and behind the spans of one message to a collector. */
void trace_put_begin(struct buf *out, const char *version);
void trace_put_end(struct buf *out);

#endif
