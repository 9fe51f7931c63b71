/*
 * admin: one process that answers on the admin listener however busy the workers are, and keeps the state
 * database in order (io/housekeeper). It runs also when there is no admin listener.
 */
#ifndef CLAVIGER_WORKER_ADMIN_H
#define CLAVIGER_WORKER_ADMIN_H

#include "heritage.h"

int admin_main(const struct heritage *heritage);

#endif
