/*
 * admin_pages: what the admin listener answers: health, readiness, metrics, key states and the status page.
 * Reads nothing but the shared memory and the database, and changes a key when the status page's form may.
 */
#ifndef CLAVIGER_WORKER_ADMIN_PAGES_H
#define CLAVIGER_WORKER_ADMIN_PAGES_H

#include "core/pool.h"
#include "heritage.h"
#include "io/store.h"
#include "worker/admin_action.h"

#include <microhttpd.h>

/* The pointers are borrowed. */
struct admin_pages {
    const struct heritage *heritage;
    struct store *store; /* keeps the pools fresh */
    struct pool *pools;
    struct admin_action_refusals refusals;
    bool draining; /* each connection ends with its answer */
};

/* The HTTP library's callbacks; cls of the first is the struct. */
enum MHD_Result admin_pages_request(void *cls, struct MHD_Connection *mhd, const char *url,
                                    const char *method, const char *version, const char *data,
                                    size_t *data_len, void **con_cls);
void admin_pages_completed(void *cls, struct MHD_Connection *mhd, void **con_cls,
                           enum MHD_RequestTerminationCode code);

#endif
