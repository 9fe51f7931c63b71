/*
 * sockets: owns binding, listening and the files of unix sockets. Called by the master at start and reload
 * and by control; it must not accept anything.
 */
#include "master/sockets.h"

#include "base/fd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const char *unix_path(const struct sockaddr *addr)
{
    return ((const struct sockaddr_un *)(const void *)addr)->sun_path;
}

bool sockets_same_address(const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)a;
        const struct sockaddr_in *y = (const void *)b;
        return x->sin_port == y->sin_port && x->sin_addr.s_addr == y->sin_addr.s_addr;
    }
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const void *)a;
        const struct sockaddr_in6 *y = (const void *)b;
        return x->sin6_port == y->sin6_port && x->sin6_scope_id == y->sin6_scope_id &&
               memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0;
    }
    return a->sa_family == AF_UNIX && strcmp(unix_path(a), unix_path(b)) == 0;
}

/* What an operator can do about a failed bind(); begins with "; " or is empty. */
static const char *bind_advice(const struct sockaddr *addr, int error)
{
    if (error == EADDRINUSE && addr->sa_family == AF_UNIX)
        return "; another process answers there, or the file is no socket: stop it, or choose another path";
    switch (error) {
    case EADDRINUSE:
        return "; another process listens there already: stop it, or choose another port";
    case EADDRNOTAVAIL:
        return "; no interface of this host has that address";
    case EACCES:
        return addr->sa_family == AF_UNIX ? "; check the directory's permissions"
                                          : "; a port below 1024 needs root or CAP_NET_BIND_SERVICE";
    case ENOENT:
        return addr->sa_family == AF_UNIX ? "; its directory does not exist" : "";
    default:
        return "";
    }
}

/* Removes a socket file that a dead process left. Refused, with EADDRINUSE, unless nobody answers on it. */
static int remove_stale(const struct sockaddr *addr, socklen_t len)
{
    struct stat st;
    if (lstat(unix_path(addr), &st) < 0)
        return errno == ENOENT ? 0 : -1;
    if (!S_ISSOCK(st.st_mode)) {
        errno = EADDRINUSE;
        return -1;
    }
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (probe < 0)
        return -1;
    int connected = connect(probe, addr, len);
    int error = errno;
    fd_close(&probe);
    if (connected == 0 || error != ECONNREFUSED) {
        errno = EADDRINUSE;
        return -1;
    }
    return unlink(unix_path(addr));
}

static int bind_unix(int fd, const struct sockaddr *addr, socklen_t len, mode_t mode)
{
    mode_t before = umask((mode_t)(0777 & ~mode));
    int rc = bind(fd, addr, len);
    if (rc < 0 && errno == EADDRINUSE && remove_stale(addr, len) == 0)
        rc = bind(fd, addr, len);
    umask(before);
    return rc;
}

static int bind_any(int fd, const struct sockaddr *addr, socklen_t len, mode_t mode)
{
    int on = 1;
    if (addr->sa_family == AF_UNIX)
        return bind_unix(fd, addr, len, mode);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -1;
    if (addr->sa_family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
        return -1;
    return bind(fd, addr, len);
}

int sockets_listen(const struct sockaddr *addr, socklen_t len, mode_t mode, struct buf *reason)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        buf_puts(reason, strerror(errno));
        return -1;
    }
    bool bound = bind_any(fd, addr, len, mode) == 0;
    if (bound && listen(fd, SOCKETS_BACKLOG) == 0)
        return fd;
    int error = errno;
    buf_printf(reason, "%s%s", strerror(error), bind_advice(addr, error));
    if (bound && addr->sa_family == AF_UNIX)
        unlink(unix_path(addr));
    fd_close(&fd);
    return -1;
}

/* A configured port 0 is told as the port that the kernel gave. NULL when out of memory. */
static char *listening_text(int fd, const struct conf_listen *listen)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    char host[INET6_ADDRSTRLEN];
    struct buf text = {0};
    if (getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
        addr.ss_family = AF_UNSPEC;
    const struct sockaddr_in *v4 = (const void *)&addr;
    const struct sockaddr_in6 *v6 = (const void *)&addr;
    const struct sockaddr_in *wanted =
        (const void *)&listen->addr; /* the port is in the same place for both */
    if (addr.ss_family == AF_INET && wanted->sin_port == 0) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        buf_printf(&text, "%s:%u", host, (unsigned)ntohs(v4->sin_port));
    } else if (addr.ss_family == AF_INET6 && wanted->sin_port == 0) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        buf_printf(&text, "[%s]:%u", host, (unsigned)ntohs(v6->sin6_port));
    } else {
        buf_puts(&text, listen->text);
    }
    return buf_take(&text);
}

static bool holds_fd(const struct sockets *set, int fd)
{
    for (size_t i = 0; set && i < set->count; i++) {
        if (set->fds[i] == fd)
            return true;
    }
    return false;
}

/* The place in set of the address, past those whose descriptor `taken` holds already; -1 = none. */
static int find_address(const struct sockets *set, const struct conf_listen *listen,
                        const struct sockets *taken)
{
    for (size_t i = 0; set && i < set->count; i++) {
        if (sockets_same_address((const struct sockaddr *)&set->entries[i].addr,
                                 (const struct sockaddr *)&listen->addr) &&
            !holds_fd(taken, set->fds[i]))
            return (int)i;
    }
    return -1;
}

static int open_one(struct sockets *set, const struct conf_listen *listen, const struct sockets *current,
                    struct buf *reason)
{
    struct sockets_entry *entry = &set->entries[set->count];
    int *fd = &set->fds[set->count];
    int known = find_address(current, listen, set); /* port 0 may be named twice */
    struct stat st;

    entry->addr = listen->addr;
    entry->addr_len = listen->addr_len;
    if (known >= 0) {
        *fd = current->fds[known];
        entry->text = strdup(current->entries[known].text);
        entry->dev = current->entries[known].dev;
        entry->ino = current->entries[known].ino;
    } else {
        struct buf why = {0};
        *fd = sockets_listen((const struct sockaddr *)&listen->addr, listen->addr_len, SOCKETS_CLIENT_MODE,
                             &why);
        if (*fd < 0)
            buf_printf(reason, "cannot listen on %s: %s", listen->text,
                       why.data ? why.data : "out of memory");
        buf_fini(&why);
        if (*fd < 0)
            return -1;
        entry->text = listening_text(*fd, listen);
        if (listen->addr.ss_family == AF_UNIX &&
            lstat(unix_path((const struct sockaddr *)&listen->addr), &st) == 0) {
            entry->dev = st.st_dev;
            entry->ino = st.st_ino;
        }
    }
    set->count++;
    if (entry->text)
        return 0;
    buf_puts(reason, "out of memory");
    return -1;
}

int sockets_open(struct sockets *set, const struct conf *conf, const struct sockets *current,
                 struct buf *reason)
{
    size_t total = conf->listens.count + conf->admin_listens.count;
    memset(set, 0, sizeof(*set));
    set->fds = calloc(total + 1, sizeof(*set->fds));
    set->entries = calloc(total + 1, sizeof(*set->entries));
    set->listens = conf->listens.count;
    if (!set->fds || !set->entries) {
        buf_puts(reason, "out of memory");
        goto failed;
    }
    for (size_t i = 0; i < total; i++) {
        const struct conf_listen *listen = i < conf->listens.count
                                               ? &conf->listens.items[i]
                                               : &conf->admin_listens.items[i - conf->listens.count];
        if (find_address(set, listen, NULL) >= 0) {
            const struct sockaddr_in *port = (const void *)&listen->addr;
            if (listen->addr.ss_family == AF_UNIX || port->sin_port != 0) {
                buf_printf(reason, "cannot listen on %s: it is named twice in listen and admin_listen",
                           listen->text);
                goto failed;
            }
        }
        if (open_one(set, listen, current, reason) < 0)
            goto failed;
    }
    return 0;

failed:
    sockets_release(set, current);
    return -1;
}

void sockets_refuse_clients(const struct sockets *set)
{
    for (size_t i = 0; i < set->listens; i++)
        shutdown(set->fds[i], SHUT_RDWR);
}

void sockets_release(struct sockets *set, const struct sockets *keep)
{
    for (size_t i = 0; i < set->count; i++) {
        struct sockets_entry *entry = &set->entries[i];
        const struct sockaddr *addr = (const struct sockaddr *)&entry->addr;
        struct stat st;
        free(entry->text);
        if (holds_fd(keep, set->fds[i]))
            continue;
        if (addr->sa_family == AF_UNIX && lstat(unix_path(addr), &st) == 0 && st.st_dev == entry->dev &&
            st.st_ino == entry->ino)
            unlink(unix_path(addr));
        /* Workers that drain have it open too, and would let clients connect whom nobody serves. */
        shutdown(set->fds[i], SHUT_RDWR);
        fd_close(&set->fds[i]);
    }
    free(set->fds);
    free(set->entries);
    memset(set, 0, sizeof(*set));
}

void sockets_leave(struct sockets *set)
{
    for (size_t i = 0; i < set->count; i++) {
        free(set->entries[i].text);
        fd_close(&set->fds[i]);
    }
    free(set->fds);
    free(set->entries);
    memset(set, 0, sizeof(*set));
}

void sockets_close_in_child(const struct sockets *set, const struct sockets *keep)
{
    for (size_t i = 0; i < set->count; i++) {
        int fd = set->fds[i];
        if (!holds_fd(keep, fd))
            fd_close(&fd);
    }
}
