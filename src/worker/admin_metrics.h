/*
 * admin_metrics: what GET /metrics answers.
 */
#ifndef CLAVIGER_WORKER_ADMIN_METRICS_H
#define CLAVIGER_WORKER_ADMIN_METRICS_H

#include "base/buf.h"
#include "core/pool.h"
#include "heritage.h"

/* pools[i] belongs to the configuration's provider i and is up to date at now_mono_ms. */
void admin_metrics_write(const struct heritage *heritage, const struct pool *pools, int64_t now_mono_ms,
                         struct buf *out);

#endif
