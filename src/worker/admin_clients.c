/*
 * admin_clients: a list of what the HTTP library has open. Called by admin, and by admin_pages for each
 * request.
 */
#include "worker/admin_clients.h"

#include <stdlib.h>
#include <sys/socket.h>

struct admin_client {
    struct admin_client *prev;
    struct admin_client *next;
    int fd;
    bool busy;
    bool served; /* had a request before */
};

/* When memory is short it is not in the list, and ends in its own time. */
static void opened(struct admin_clients *clients, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct admin_client *client = info != NULL ? calloc(1, sizeof *client) : NULL;
    *context = client;
    if (client == NULL)
        return;
    client->fd = info->connect_fd;
    client->next = clients->first;
    if (client->next != NULL)
        client->next->prev = client;
    clients->first = client;
}

static void closed(struct admin_clients *clients, struct admin_client *client)
{
    if (client->prev != NULL)
        client->prev->next = client->next;
    else
        clients->first = client->next;
    if (client->next != NULL)
        client->next->prev = client->prev;
    free(client);
}

void admin_clients_notify(void *cls, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        opened(cls, mhd, context);
    else if (*context != NULL)
        closed(cls, *context);
}

void admin_clients_set_busy(struct MHD_Connection *mhd, bool busy)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct admin_client *client = info != NULL ? info->socket_context : NULL;
    if (client == NULL)
        return;
    client->busy = busy;
    client->served = true;
}

void admin_clients_end_idle(const struct admin_clients *clients, bool fresh)
{
    for (const struct admin_client *client = clients->first; client != NULL; client = client->next) {
        char byte;
        /* One with bytes under way has begun its next request. */
        if (!client->busy && (client->served || fresh) &&
            recv(client->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
            (void)shutdown(client->fd, SHUT_RDWR); /* the library finds the end and closes */
    }
}
