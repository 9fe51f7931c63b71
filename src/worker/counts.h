/*
 * counts: what a worker adds to the daemon's metrics when a request ends and when a key is marked.
 */
#ifndef CLAVIGER_WORKER_COUNTS_H
#define CLAVIGER_WORKER_COUNTS_H

#include "core/provider.h"
#include "io/access.h"
#include "io/metrics.h"

struct counts {
    struct metrics *metrics;
    unsigned *providers; /* owned: the metrics' numbers of the configured providers */
};

/* 0, or -1 when out of memory. */
int counts_init(struct counts *counts, struct metrics *metrics, const struct provider_list *providers);
void counts_fini(struct counts *counts);

/* A request has ended. */
void counts_request(const struct counts *counts, const struct access_record *record);

/* A key of the provider with that index was marked because of an answer with that status. */
void counts_mark(const struct counts *counts, size_t provider, int status);

/* An attempt has made a connection, or used one that was there. */
void counts_connection(const struct counts *counts, size_t provider, enum metrics_connection connection);

/* An attempt has failed. */
void counts_failure(const struct counts *counts, size_t provider, enum metrics_kind kind);

#endif
