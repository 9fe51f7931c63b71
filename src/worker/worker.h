/*
 * worker: one process that serves clients: a loop with a listener, the relays, the upstream side and the
 * store.
 */
#ifndef CLAVIGER_WORKER_WORKER_H
#define CLAVIGER_WORKER_WORKER_H

#include "heritage.h"

int worker_main(const struct heritage *heritage);

#endif
