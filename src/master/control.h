/*
 * control: the unix socket on which clavigerctl talks to the master.
 *
 * One line a connection: "status", "top", "reload" or "stop". The answer is "ok\n", for status and top with
 * JSON text behind it, or "error TEXT\n"; then the connection is closed. "reload" is answered when the new
 * configuration serves or was refused; after the answer to "stop" the connection stays open until the master
 * has ended.
 */
#ifndef CLAVIGER_MASTER_CONTROL_H
#define CLAVIGER_MASTER_CONTROL_H

#include "base/buf.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_CLIENTS         16 /* further ones wait in the socket's queue */
#define CONTROL_POLLFDS         (CONTROL_CLIENTS + 1)
#define CONTROL_IDLE_TIMEOUT_MS 10000
#define CONTROL_REQUEST_MAX     128

struct control;

struct control_events {
    /* traffic: for "top", which wants that too. */
    void (*status)(void *arg, bool traffic, struct buf *json);
    /* A reload is wanted: control_reload_begun() and control_reload_done() follow, some time later. NULL = it
     * is asked for; otherwise why it cannot be (static). */
    const char *(*reload)(void *arg);
    void (*stop)(void *arg);
    void *arg;
};

/* Opens the socket, mode 0600. NULL and *reason. */
struct control *control_new(const char *path, const struct control_events *events, struct buf *reason);

/*
 * Takes over a socket that listens at the path, with its descriptor. Nobody is served there before
 * control_begin(). NULL when out of memory.
 */
struct control *control_adopt(const char *path, int *fd, const struct control_events *events);
void control_begin(struct control *control);

/* From here on another process serves the socket: no new client is taken, and control_free() leaves the file.
 */
void control_leave(struct control *control);

/* The listening socket; -1 after control_leave(). */
int control_fd(const struct control *control);

/* Closes everything and removes the socket's file. */
void control_free(struct control **control);

/* Fills in what to wait for (up to CONTROL_POLLFDS) and returns how many. */
size_t control_prepare(struct control *control, struct pollfd *fds, int64_t now_ms);

/* Acts on what poll said of the descriptors that control_prepare() gave, and drops idle clients. */
void control_handle(struct control *control, const struct pollfd *fds, size_t count, int64_t now_ms);

/* When control_handle() has something to do without an event; INT64_MAX = never. */
int64_t control_due(const struct control *control);

/* A reload begins: it answers everybody who asked for one until now. */
void control_reload_begun(struct control *control);

/* It has ended: error is NULL, or one line that says why the new configuration was refused. */
void control_reload_done(struct control *control, const char *error, int64_t now_ms);

#endif
