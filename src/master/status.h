/*
 * status: what `status` on the control socket answers.
 */
#ifndef CLAVIGER_MASTER_STATUS_H
#define CLAVIGER_MASTER_STATUS_H

#include "base/buf.h"
#include "master/state.h"

/*
 * Appends one JSON object: version, pid, uptime_s, phase ("starting", "serving", "stopping"), generation,
 * configuration (path, null = built-in defaults), last_reload (null, or time, ok, error), last_upgrade (the
 * same), listen, admin_listen, workers (number, pid, phase, generation, uptime_s, connections, requests,
 * in_flight, streams, lag_ms), admin_pid, database (path, condition, since, errors). With a now_real_ms that
 * is not 0 also traffic, see traffic.h.
 */
void status_json(const struct master *master, int64_t now_mono_ms, int64_t now_real_ms, struct buf *out);

#endif
