/*
 * control: owns the control socket and its clients. Called by the master's loop; never blocks, decides
 * nothing: what a request means is told to the master by events.
 */
#include "master/control.h"

#include "base/fd.h"
#include "base/log.h"
#include "master/sockets.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define CONTROL_MODE            0600
#define CONTROL_ACCEPT_PAUSE_MS 1000 /* after accept() failed for want of something */

enum client_phase {
    CLIENT_FREE,
    CLIENT_READING,
    CLIENT_ASKED,   /* for a reload that has not begun */
    CLIENT_WAITING, /* for the reload that is going on */
    CLIENT_WRITING,
    CLIENT_STOPPING /* answered; stays until the master ends */
};

struct client {
    enum client_phase phase;
    bool stops; /* asked for a stop */
    int fd;
    int64_t deadline_ms;
    char request[CONTROL_REQUEST_MAX];
    size_t request_len;
    struct buf out;
};

struct control {
    int fd;
    char *path;
    dev_t dev; /* of the socket's file, to remove no other than our own */
    ino_t ino;
    struct control_events events;
    int64_t accept_ms; /* not before; 0 = now */
    bool accepting;    /* the first pollfd is the listening socket */
    struct client clients[CONTROL_CLIENTS];
};

/* So that no other file than ours is removed. */
static void note_file(struct control *control)
{
    struct stat st;
    if (lstat(control->path, &st) == 0) {
        control->dev = st.st_dev;
        control->ino = st.st_ino;
    }
}

/* Opens the listening socket of a control whose path is set. */
static int open_socket(struct control *control, struct buf *reason)
{
    struct sockaddr_un addr;
    size_t len = strlen(control->path);
    memset(&addr, 0, sizeof(addr));
    addr.sun_family = AF_UNIX;
    if (len >= sizeof(addr.sun_path)) {
        buf_printf(reason, "the path is longer than %zu bytes", sizeof(addr.sun_path) - 1);
        return -1;
    }
    memcpy(addr.sun_path, control->path, len + 1);
    control->fd = sockets_listen((struct sockaddr *)&addr, sizeof(addr), CONTROL_MODE, reason);
    if (control->fd < 0)
        return -1;
    note_file(control);
    return 0;
}

static struct control *make(const char *path, const struct control_events *events)
{
    struct control *control = calloc(1, sizeof(*control));
    if (!control)
        return NULL;
    control->fd = -1;
    control->events = *events;
    control->path = strdup(path);
    if (!control->path) {
        free(control);
        return NULL;
    }
    return control;
}

struct control *control_new(const char *path, const struct control_events *events, struct buf *reason)
{
    struct buf why = {0};
    struct control *control = make(path, events);
    if (!control) {
        buf_puts(reason, "out of memory");
        return NULL;
    }
    if (open_socket(control, &why) < 0) {
        buf_printf(reason, "cannot open control socket %s: %s", path, why.data ? why.data : "out of memory");
        free(control->path);
        free(control);
        control = NULL;
    }
    buf_fini(&why);
    return control;
}

struct control *control_adopt(const char *path, int *fd, const struct control_events *events)
{
    struct control *control = make(path, events);
    if (!control)
        return NULL;
    control->fd = *fd;
    *fd = -1;
    control->accept_ms = INT64_MAX;
    return control;
}

void control_begin(struct control *control)
{
    /* Clients are told the pid of the process that listened last (SO_PEERCRED, unix(7)): ours from here on,
     * for whoever waits for the end of the master. */
    (void)listen(control->fd, SOCKETS_BACKLOG);
    note_file(control);
    control->accept_ms = 0;
}

void control_leave(struct control *control)
{
    fd_close(&control->fd);
    control->dev = 0;
    control->ino = 0;
    control->accept_ms = INT64_MAX;
}

int control_fd(const struct control *control)
{
    return control->fd;
}

static void drop(struct client *client)
{
    fd_close(&client->fd);
    buf_fini(&client->out);
    memset(client, 0, sizeof(*client));
}

void control_free(struct control **control)
{
    struct control *c = *control;
    if (!c)
        return;
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (c->clients[i].phase != CLIENT_FREE)
            drop(&c->clients[i]);
    }
    struct stat st;
    if (lstat(c->path, &st) == 0 && st.st_dev == c->dev && st.st_ino == c->ino)
        unlink(c->path);
    fd_close(&c->fd);
    free(c->path);
    free(c);
    *control = NULL;
}

static struct client *find_free(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (control->clients[i].phase == CLIENT_FREE)
            return &control->clients[i];
    }
    return NULL;
}

size_t control_prepare(struct control *control, struct pollfd *fds, int64_t now_ms)
{
    size_t count = 0;
    if (now_ms >= control->accept_ms)
        control->accept_ms = 0;
    control->accepting = control->accept_ms == 0 && find_free(control);
    if (control->accepting)
        fds[count++] = (struct pollfd){.fd = control->fd, .events = POLLIN};
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        const struct client *client = &control->clients[i];
        if (client->phase == CLIENT_FREE)
            continue;
        /* One that waits is only watched for its leaving, which needs no asking for. */
        short wanted = 0;
        if (client->phase == CLIENT_READING)
            wanted = POLLIN;
        else if (client->phase == CLIENT_WRITING)
            wanted = POLLOUT;
        fds[count++] = (struct pollfd){.fd = client->fd, .events = wanted};
    }
    return count;
}

static void write_out(struct client *client)
{
    while (client->out.len > 0) {
        ssize_t n = send(client->fd, client->out.data, client->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            drop(client);
            return;
        }
        buf_consume(&client->out, (size_t)n);
    }
    if (client->stops) {
        client->phase = CLIENT_STOPPING;
        client->deadline_ms = INT64_MAX;
    } else {
        drop(client);
    }
}

/* Sends what is in out; what does not go at once goes later. */
static void answer(struct client *client, int64_t now_ms)
{
    if (client->out.failed) {
        drop(client);
        return;
    }
    client->phase = CLIENT_WRITING;
    client->deadline_ms = now_ms + CONTROL_IDLE_TIMEOUT_MS;
    write_out(client);
}

static void act(struct control *control, struct client *client, const char *word, int64_t now_ms)
{
    bool traffic = strcmp(word, "top") == 0;
    if (traffic || strcmp(word, "status") == 0) {
        buf_puts(&client->out, "ok\n");
        control->events.status(control->events.arg, traffic, &client->out);
        buf_putc(&client->out, '\n');
    } else if (strcmp(word, "reload") == 0) {
        const char *refusal = control->events.reload(control->events.arg);
        if (!refusal) {
            client->phase = CLIENT_ASKED;
            client->deadline_ms = INT64_MAX;
            return;
        }
        buf_printf(&client->out, "error %s\n", refusal);
    } else if (strcmp(word, "stop") == 0) {
        client->stops = true;
        buf_puts(&client->out, "ok\n");
        control->events.stop(control->events.arg);
    } else {
        buf_puts(&client->out, "error unknown request; there are status, top, reload and stop\n");
    }
    answer(client, now_ms);
}

static void read_request(struct control *control, struct client *client, int64_t now_ms)
{
    size_t room = sizeof(client->request) - 1 - client->request_len;
    ssize_t n = recv(client->fd, client->request + client->request_len, room, MSG_DONTWAIT);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            drop(client);
        return;
    }
    client->request_len += (size_t)n;
    client->request[client->request_len] = '\0';
    char *end = memchr(client->request, '\n', client->request_len);
    if (!end && n > 0 && client->request_len < sizeof(client->request) - 1)
        return;
    if (!end && client->request_len == 0) {
        drop(client);
        return;
    }
    if (end) {
        *end = '\0';
        if (end > client->request && end[-1] == '\r')
            end[-1] = '\0';
    }
    act(control, client, client->request, now_ms);
}

static void accept_client(struct control *control, int64_t now_ms)
{
    struct client *client = find_free(control);
    if (!client)
        return;
    int fd = accept4(control->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_warning("control socket: cannot accept: %s; it is tried again in a second", strerror(errno));
            control->accept_ms = now_ms + CONTROL_ACCEPT_PAUSE_MS;
        }
        return;
    }
    client->phase = CLIENT_READING;
    client->fd = fd;
    client->deadline_ms = now_ms + CONTROL_IDLE_TIMEOUT_MS;
}

static struct client *find_fd(struct control *control, int fd)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (control->clients[i].phase != CLIENT_FREE && control->clients[i].fd == fd)
            return &control->clients[i];
    }
    return NULL;
}

static void handle_client(struct control *control, struct client *client, short events, int64_t now_ms)
{
    if (client->phase == CLIENT_READING)
        read_request(control, client, now_ms);
    else if (events & (POLLHUP | POLLERR))
        drop(client);
    else if (client->phase == CLIENT_WRITING)
        write_out(client);
}

void control_handle(struct control *control, const struct pollfd *fds, size_t count, int64_t now_ms)
{
    size_t first = control->accepting ? 1 : 0;
    for (size_t i = first; i < count; i++) {
        struct client *client = fds[i].revents ? find_fd(control, fds[i].fd) : NULL;
        if (client)
            handle_client(control, client, fds[i].revents, now_ms);
    }
    /* Last, so that a number that was just freed and given again is not taken for an old client. */
    if (control->accepting && control->fd >= 0 && count > 0 && fds[0].revents)
        accept_client(control, now_ms);
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (control->clients[i].phase != CLIENT_FREE && now_ms >= control->clients[i].deadline_ms)
            drop(&control->clients[i]);
    }
}

int64_t control_due(const struct control *control)
{
    int64_t due = control->accept_ms > 0 ? control->accept_ms : INT64_MAX;
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        const struct client *client = &control->clients[i];
        if (client->phase != CLIENT_FREE && client->deadline_ms < due)
            due = client->deadline_ms;
    }
    return due;
}

void control_reload_begun(struct control *control)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        if (control->clients[i].phase == CLIENT_ASKED)
            control->clients[i].phase = CLIENT_WAITING;
    }
}

void control_reload_done(struct control *control, const char *error, int64_t now_ms)
{
    for (size_t i = 0; i < CONTROL_CLIENTS; i++) {
        struct client *client = &control->clients[i];
        if (client->phase != CLIENT_WAITING)
            continue;
        if (error)
            buf_printf(&client->out, "error %s\n", error);
        else
            buf_puts(&client->out, "ok\n");
        answer(client, now_ms);
    }
}
