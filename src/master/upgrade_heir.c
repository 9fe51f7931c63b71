/*
 * upgrade_heir: owns what was handed over until the master has made it its own. Called by clavigerd, by the
 * master's loop and by reload; the other side of the channel is upgrade.
 */
#include "master/upgrade_heir.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/secret.h"
#include "io/keyfile_env.h"
#include "io/store_schema.h"
#include "master/notify.h"
#include "master/upgrade_handover.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEALS   (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)
#define BUSY_MS 500 /* how long a busy database may hold the take-over up */

struct upgrade_heir {
    struct upgrade_handover handover; /* its descriptors are ours until somebody takes them */
    struct generation inherited;      /* its sockets; nothing else is used */
    int fd;                           /* the channel; -1 = the old master is gone */
    bool asked;
    bool granted;
    bool refused;
    bool slots[SHARED_WORKERS_MAX]; /* of the old master's workers */
};

/* ---- the beginning */

static void say(struct upgrade_heir *heir, enum upgrade_word word)
{
    char c = (char)word;
    if (heir->fd >= 0)
        (void)send(heir->fd, &c, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* "HANDOVER:CHANNEL", which is removed from the environment. False when it is not there. */
static bool take_variable(char *text, size_t size)
{
    const char *value = getenv(UPGRADE_VARIABLE);
    if (!value)
        return false;
    snprintf(text, size, "%s", value);
    unsetenv(UPGRADE_VARIABLE);
    return true;
}

static bool is_channel(int fd)
{
    int type = 0;
    socklen_t len = sizeof(type);
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_SEQPACKET;
}

static bool parse_variable(const char *text, int *handover, int *channel)
{
    char *end;
    long first = strtol(text, &end, 10);
    if (end == text || *end != ':' || first < 3 || first > INT32_MAX)
        return false;
    const char *rest = end + 1;
    long second = strtol(rest, &end, 10);
    if (end == rest || *end != '\0' || second < 3 || second > INT32_MAX || first == second)
        return false;
    *handover = (int)first;
    *channel = (int)second;
    return is_channel(*channel) && (fcntl(*handover, F_GET_SEALS) & SEALS) == SEALS;
}

static void close_on_exec(int fd)
{
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static bool listens(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) == 0 && on;
}

/* Whether the descriptors are what they are said to be. */
static int check_descriptors(const struct upgrade_handover *h, struct buf *reason)
{
    bool good = fcntl(h->pid_fd, F_GETFD) >= 0 && fcntl(h->shared_fd, F_GETFD) >= 0 && listens(h->control_fd);
    for (size_t i = 0; i < h->sockets.count; i++)
        good = good && listens(h->sockets.fds[i]);
    if (!good)
        buf_puts(reason, "the handover of the running master names a descriptor that is not open");
    return good ? 0 : -1;
}

static int read_handover(struct upgrade_heir *heir, int fd, struct buf *reason)
{
    size_t len = 0;
    char *bytes = fd_read_file(fd, UPGRADE_HANDOVER_MAX, &len);
    if (!bytes) {
        buf_printf(reason, "cannot read the handover of the running master: %s", strerror(errno));
        return -1;
    }
    int rc = upgrade_handover_decode(&heir->handover, bytes, len, reason);
    secret_wipe(bytes, len);
    free(bytes);
    return rc;
}

/* Everything but the variable. */
static int receive(struct upgrade_heir *heir, int handover_fd, struct buf *reason)
{
    struct upgrade_handover *h = &heir->handover;
    if (read_handover(heir, handover_fd, reason) < 0 || check_descriptors(h, reason) < 0)
        return -1;
    upgrade_handover_each_fd(h, close_on_exec);
    int rc = keyfile_env_unpack(h->keys.data, h->keys.len);
    secret_wipe(h->keys.data, h->keys.len);
    buf_fini(&h->keys);
    if (rc < 0) {
        buf_puts(reason, "the running master's keys from the environment cannot be taken over");
        return -1;
    }
    heir->inherited.sockets = h->sockets;
    memset(&h->sockets, 0, sizeof(h->sockets));
    return 0;
}

int upgrade_heir_new(struct upgrade_heir **heir, struct buf *reason)
{
    char text[64];
    int handover = -1;
    int channel = -1;
    *heir = NULL;
    if (!take_variable(text, sizeof(text)))
        return 0;
    if (!parse_variable(text, &handover, &channel)) {
        buf_puts(reason, UPGRADE_VARIABLE " is set, which only a running clavigerd does; unset it");
        return -1;
    }
    close_on_exec(channel);
    struct upgrade_heir *h = calloc(1, sizeof(*h));
    if (!h) {
        buf_puts(reason, "out of memory");
        return -1;
    }
    h->fd = channel;
    say(h, UPGRADE_HELLO);
    int rc = receive(h, handover, reason);
    fd_close(&handover);
    if (rc < 0) {
        upgrade_heir_refuse(h, reason->data ? reason->data : "out of memory");
        upgrade_heir_free(&h);
    }
    *heir = h;
    return rc;
}

void upgrade_heir_free(struct upgrade_heir **heir)
{
    struct upgrade_heir *h = *heir;
    if (!h)
        return;
    fd_close(&h->fd);
    sockets_leave(&h->inherited.sockets);
    upgrade_handover_fini(&h->handover);
    free(h);
    *heir = NULL;
}

const char *upgrade_heir_binary(const struct upgrade_heir *heir)
{
    return heir->handover.binary;
}

const char *upgrade_heir_conf_file(const struct upgrade_heir *heir)
{
    return heir->handover.conf_file;
}

bool upgrade_heir_detached(const struct upgrade_heir *heir)
{
    return heir->handover.detached;
}

void upgrade_heir_refuse(struct upgrade_heir *heir, const char *reason)
{
    char text[UPGRADE_WORD_MAX];
    if (!heir || heir->refused || heir->granted || heir->fd < 0)
        return;
    heir->refused = true;
    int n = snprintf(text, sizeof(text), "%c%s", UPGRADE_REFUSED, reason);
    size_t len = n < 0 ? 0 : strnlen(text, sizeof(text));
    while (len > 1 && text[len - 1] == '\n')
        len--;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n')
            text[i] = ';';
    }
    (void)send(heir->fd, text, len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- in the master */

static int adopt_shared(struct master *m, struct upgrade_heir *heir, struct buf *reason)
{
    m->context.shared = shared_map(heir->handover.shared_fd);
    if (m->context.shared) {
        m->shared_fd = heir->handover.shared_fd;
        memcpy(heir->slots, heir->handover.slots, sizeof(heir->slots));
        memcpy(m->context.slots, heir->slots, sizeof(heir->slots));
        return 0;
    }
    if (errno != EPROTO) {
        buf_printf(reason, "cannot map the shared memory of the running master: %s", strerror(errno));
        return -1;
    }
    /* Marks are in the database too; what the old workers add, they write there. */
    log_info("the shared memory of the running master has another layout: a new one is begun");
    fd_close(&heir->handover.shared_fd);
    m->context.shared = shared_make(&m->shared_fd);
    if (!m->context.shared)
        buf_printf(reason, "cannot map shared memory: %s", strerror(errno));
    return m->context.shared ? 0 : -1;
}

int upgrade_heir_adopt(struct master *m, const struct conf *conf, const struct control_events *events,
                       struct buf *reason)
{
    struct upgrade_heir *heir = m->options->heir;
    struct upgrade_handover *h = &heir->handover;
    if (strcmp(conf->pid_file, h->pid_file) != 0 || strcmp(conf->control, h->control) != 0) {
        buf_puts(reason, "pid_file and control cannot change at an upgrade; restart for it");
        return -1;
    }
    m->last_number = h->generation;
    if (adopt_shared(m, heir, reason) < 0)
        return -1;
    if (pidfile_adopt(&m->pidfile, h->pid_file, &h->pid_fd) == 0)
        m->control = control_adopt(h->control, &h->control_fd, events);
    if (m->control)
        return 0;
    buf_puts(reason, "out of memory");
    return -1;
}

const struct generation *upgrade_heir_sockets(const struct master *m)
{
    return m->options->heir ? &m->options->heir->inherited : NULL;
}

bool upgrade_heir_may_serve(struct master *m)
{
    struct upgrade_heir *heir = m->options->heir;
    if (!heir || m->owner)
        return true;
    if (!heir->granted && !heir->asked) {
        heir->asked = true;
        say(heir, UPGRADE_READY);
    }
    return heir->granted;
}

/* What others see of the master. */
static void own(struct master *m)
{
    if (m->owner)
        return;
    m->owner = true;
    m->options->heir->granted = true;
    if (pidfile_write(&m->pidfile) < 0)
        log_error("cannot write pid file %s: %s; it still names the old master", m->pidfile.path,
                  strerror(errno));
    control_begin(m->control);
    notify_main_pid(getpid());
}

void upgrade_heir_take_over(struct master *m)
{
    struct upgrade_heir *heir = m->options->heir;
    struct buf reason = {0};
    if (!heir)
        return;
    own(m);
    /* The addresses that the new configuration does not have. */
    sockets_release(&heir->inherited.sockets, &m->serving->sockets);
    const struct conf *conf = m->serving->conf;
    if (store_schema_sync(conf->state_db, &conf->providers, BUSY_MS, &reason) < 0)
        log_warning("the state database does not list the new keys yet: %s", reason.data ? reason.data : "");
    buf_fini(&reason);
    m->context.shared->key_generation++;
    m->upgrade.last.real_ms = clock_real_ms();
    log_info("upgraded: pid %d has taken over from pid %d", (int)getpid(), (int)heir->handover.pid);
}

int upgrade_heir_fd(const struct master *m)
{
    return m->options->heir ? m->options->heir->fd : -1;
}

/* The old master has ended, and its workers with it. */
static void end_of_old(struct master *m)
{
    struct upgrade_heir *heir = m->options->heir;
    fd_close(&heir->fd);
    for (unsigned i = 0; i < SHARED_WORKERS_MAX; i++) {
        const struct child gone = {.role = CHILD_WORKER, .slot = i};
        if (!heir->slots[i])
            continue;
        child_clear_slot(&gone, m->context.shared);
        m->context.slots[i] = false;
        heir->slots[i] = false;
    }
    if (m->owner || m->stopping || heir->refused) {
        log_info("the old master, pid %d, has ended", (int)heir->handover.pid);
        return;
    }
    log_warning("the old master, pid %d, has died in the middle of the upgrade, which goes on",
                (int)heir->handover.pid);
    own(m);
}

bool upgrade_heir_handle(struct master *m)
{
    struct upgrade_heir *heir = m->options->heir;
    char text[UPGRADE_WORD_MAX];
    while (heir && heir->fd >= 0) {
        ssize_t n = recv(heir->fd, text, sizeof(text), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (n <= 0) {
            end_of_old(m);
            return true;
        }
        if (text[0] == UPGRADE_ABANDON) {
            heir->refused = true;
            return false;
        }
        if (text[0] == UPGRADE_COMMIT)
            heir->granted = true;
    }
    return true;
}

bool upgrade_heir_waits(const struct master *m)
{
    const struct upgrade_heir *heir = m->options->heir;
    return heir && heir->granted && heir->fd >= 0;
}

void upgrade_heir_signal(const struct master *m, int signal_number)
{
    const struct upgrade_heir *heir = m->options->heir;
    /* It is our parent for as long as it lives, so the number cannot mean another process. */
    if (heir && heir->granted && heir->fd >= 0 && getppid() == heir->handover.pid)
        kill(heir->handover.pid, signal_number);
}

void upgrade_heir_leave(struct master *m)
{
    struct upgrade_heir *heir = m->options->heir;
    if (heir && m->owner)
        sockets_release(&heir->inherited.sockets, NULL);
    if (m->owner)
        return;
    pidfile_leave(&m->pidfile);
    if (m->control)
        control_leave(m->control);
}
