/*
 * admin_clients: the connections of the admin listener, so that a stop does not wait for those on which
 * nothing is asked.
 */
#ifndef CLAVIGER_WORKER_ADMIN_CLIENTS_H
#define CLAVIGER_WORKER_ADMIN_CLIENTS_H

#include <microhttpd.h>
#include <stdbool.h>

struct admin_client;

struct admin_clients {
    struct admin_client *first;
};

/* The HTTP library's callback for connections (MHD_OPTION_NOTIFY_CONNECTION); cls is the struct. */
void admin_clients_notify(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code);

/* A request on it begins, or has its answer. */
void admin_clients_set_busy(struct MHD_Connection *mhd, bool busy);

/* Ends the connections on which no request is under way; fresh: those too that never had one. */
void admin_clients_end_idle(const struct admin_clients *clients, bool fresh);

#endif
