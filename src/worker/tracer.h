/*
 * tracer: sends spans to a collector (OTLP/HTTP with JSON), in batches, beside the requests of clients and
 * never in their way: what the collector does not take is dropped and counted.
 */
#ifndef CLAVIGER_WORKER_TRACER_H
#define CLAVIGER_WORKER_TRACER_H

#include "core/trace.h"
#include "io/conf.h"
#include "io/shared.h"
#include "worker/loop.h"

#include <stdbool.h>

#define TRACER_DELAY_MS   1000          /* spans wait so long for others */
#define TRACER_BATCH      (256 * 1024)  /* bytes of spans that are sent at once, without waiting */
#define TRACER_WAITING    (1024 * 1024) /* bytes that wait; more is dropped */
#define TRACER_TIMEOUT_MS 3000          /* for a collector's answer */

struct tracer;

/* conf->trace.endpoint must be a valid URL. conf and shared must outlive it. NULL on failure. */
struct tracer *tracer_new(struct loop *loop, const struct conf *conf, struct shared *shared);
void tracer_free(struct tracer **tracer);

/* Takes the spans of a request that has ended. */
void tracer_add(struct tracer *tracer, const struct trace_request *request);

/* The loop's turn. Returns whether anything happened. */
bool tracer_turn(struct tracer *tracer);

/* From here on nothing waits for others. */
void tracer_drain(struct tracer *tracer);

/* Whether nothing waits and nothing is under way. */
bool tracer_is_idle(const struct tracer *tracer);

#endif
