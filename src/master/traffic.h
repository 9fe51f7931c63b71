/*
 * traffic: what `top` on the control socket answers beside the status: what the workers have counted.
 */
#ifndef CLAVIGER_MASTER_TRAFFIC_H
#define CLAVIGER_MASTER_TRAFFIC_H

#include "base/buf.h"
#include "core/provider.h"
#include "io/shared.h"

#include <stdint.h>

/*
 * Appends one JSON object: in_flight and streams, of all workers; the totals since the daemon's start
 * requests, failovers, errors, duration_ms and tokens (input, output); duration, a histogram (upper_ms, the
 * bounds of its buckets, and counts, one more than those); hour: requests, failovers, errors, duration_ms and
 * marks (of each provider that has a pool), each a number for every minute of the last hour, oldest first.
 */
void traffic_json(struct shared *shared, const struct provider_list *providers, int64_t now_real_ms,
                  struct buf *out);

#endif
