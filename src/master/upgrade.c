/*
 * upgrade: owns the successor's start and the commit. Called by the master's loop; the other side of the
 * channel is upgrade_heir.
 */
#include "master/upgrade.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/title.h"
#include "io/keyfile_env.h"
#include "master/notify.h"
#include "master/reload.h"
#include "master/signals.h"
#include "master/upgrade_handover.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

char *upgrade_own_path(void)
{
    const char *name = (const char *)getauxval(AT_EXECFN); /* NOLINT(performance-no-int-to-ptr) */
    if (!name || strncmp(name, "/dev/fd/", 8) == 0)
        return realpath("/proc/self/exe", NULL);
    if (name[0] == '/')
        return strdup(name);
    char *here = getcwd(NULL, 0);
    char *path = NULL;
    if (!here || asprintf(&path, "%s/%s", here, name) < 0)
        path = NULL;
    free(here);
    return path;
}

bool upgrade_under_way(const struct master *m)
{
    return m->upgrade.pid != 0 && !m->upgrade.given_up;
}

void upgrade_wish(struct master *m)
{
    if (!m->owner || m->upgrade.wanted || upgrade_under_way(m))
        log_warning("SIGUSR2 is ignored: an upgrade is under way");
    else if (m->stopping)
        log_warning("SIGUSR2 is ignored: the daemon is stopping");
    else if (m->upgrade.pid != 0)
        log_warning("SIGUSR2 is ignored: pid %d, which failed, has not ended yet; try again then",
                    (int)m->upgrade.pid);
    else
        m->upgrade.wanted = true;
}

static void record(struct master *m, const char *error)
{
    free(m->upgrade.last.error);
    m->upgrade.last.error = error ? strdup(error) : NULL;
    m->upgrade.last.real_ms = clock_real_ms();
}

static void say_failed(struct master *m, const char *why)
{
    log_error("upgrade failed, pid %d goes on serving: %s", (int)getpid(), why);
    record(m, why);
}

/* ---- the start */

/* The one that counts less is a key all the same. */
void upgrade_remember_keys(void)
{
    static const enum provider_type TYPES[] = {PROVIDER_ANTHROPIC, PROVIDER_OPENAI, PROVIDER_COPILOT};
    for (size_t i = 0; i < sizeof(TYPES) / sizeof(TYPES[0]); i++) {
        const struct provider_type_info *info = provider_type_info(TYPES[i]);
        for (const char *const *name = info->env; name && *name; name++)
            (void)keyfile_env_get(*name);
    }
}

/* The environment without keys, with the variable. Strings of others are borrowed. NULL when out of memory.
 */
static char **make_environment(char *variable)
{
    size_t count = 0;
    size_t kept = 0;
    while (environ && environ[count])
        count++;
    char **env = calloc(count + 2, sizeof(*env));
    for (size_t i = 0; env && i < count; i++) {
        if (!keyfile_env_holds(environ[i]))
            env[kept++] = environ[i];
    }
    if (env)
        env[kept] = variable;
    return env;
}

/* A descriptor on bytes that nobody can change any more. -1 with errno. */
static int seal(const struct buf *bytes)
{
    int fd = bytes->failed ? -1 : memfd_create("claviger-handover", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && fd_write_all(fd, bytes->data, bytes->len) == 0 && lseek(fd, 0, SEEK_SET) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) == 0)
        return fd;
    fd_close(&fd);
    return -1;
}

/* All borrowed but keys. */
static void describe(const struct master *m, struct upgrade_handover *h)
{
    const struct conf *conf = m->serving->conf;
    memset(h, 0, sizeof(*h));
    h->pid = getpid();
    h->generation = m->last_number;
    h->detached = m->parent.detached;
    h->binary = (char *)(uintptr_t)m->options->binary;
    h->conf_file = (char *)(uintptr_t)m->options->conf_file;
    h->pid_file = conf->pid_file;
    h->pid_fd = m->pidfile.fd;
    h->control = conf->control;
    h->control_fd = control_fd(m->control);
    h->shared_fd = m->shared_fd;
    memcpy(h->slots, m->context.slots, sizeof(h->slots));
    h->sockets = m->serving->sockets;
    keyfile_env_pack(&h->keys);
}

static int make_handover(const struct upgrade_handover *h)
{
    struct buf bytes = {0};
    upgrade_handover_encode(h, &bytes);
    int fd = seal(&bytes);
    secret_wipe(bytes.data, bytes.cap);
    buf_fini(&bytes);
    return fd;
}

static void keep_open(int fd)
{
    (void)fcntl(fd, F_SETFD, 0);
}

/* In the child. */
static _Noreturn void become(const struct master *m, const struct upgrade_handover *h, int handover,
                             int channel, char **env)
{
    char text[UPGRADE_WORD_MAX];
    sigset_t none;
    signals_child();
    signal(SIGPIPE, SIG_DFL);
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    upgrade_handover_each_fd(h, keep_open);
    keep_open(handover);
    keep_open(channel);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(m->options->binary, m->options->argv, env);
    int n = snprintf(text, sizeof(text), "%ccannot run %s: %s", UPGRADE_REFUSED, m->options->binary,
                     strerror(errno));
    if (n > 0)
        (void)send(channel, text, strnlen(text, sizeof(text)), MSG_NOSIGNAL);
    _exit(127);
}

/* 0, or -1 with errno. */
static int start(struct master *m)
{
    struct upgrade_handover h;
    char variable[64];
    char **env = NULL;
    int ends[2] = {-1, -1};
    pid_t pid = -1;
    describe(m, &h);
    int handover = make_handover(&h);
    if (handover < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        goto out;
    snprintf(variable, sizeof(variable), UPGRADE_VARIABLE "=%d:%d", handover, ends[1]);
    env = make_environment(variable);
    if (!env)
        goto out;
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        become(m, &h, handover, ends[1], env);
    if (pid > 0) {
        m->upgrade.pid = pid;
        m->upgrade.fd = ends[0];
        ends[0] = -1;
    }

out:
    secret_wipe(h.keys.data, h.keys.cap);
    buf_fini(&h.keys);
    fd_close(&handover);
    fd_close(&ends[0]);
    fd_close(&ends[1]);
    free(env);
    return pid > 0 ? 0 : -1;
}

void upgrade_begin(struct master *m, int64_t now_ms)
{
    m->upgrade.generation = m->serving->number;
    reload_note_owner(m, &m->upgrade.owner);
    m->upgrade.wanted = false;
    m->upgrade.heard = false;
    m->upgrade.given_up = false;
    if (!m->options->binary) {
        say_failed(m, "the path of the program is not known");
        return;
    }
    log_info("upgrading: %s is started", m->options->binary);
    if (start(m) < 0) {
        char why[128];
        snprintf(why, sizeof(why), "cannot start a process: %s", strerror(errno));
        say_failed(m, why);
        return;
    }
    m->upgrade.deadline_ms = now_ms + UPGRADE_START_TIMEOUT_MS;
}

/* ---- the end, one way or the other */

/* It has failed and is told so; what it serves already it may finish. */
static void give_up(struct master *m, int64_t now_ms)
{
    char word = UPGRADE_ABANDON;
    int64_t patience_ms = UPGRADE_END_TIMEOUT_MS;
    if (m->upgrade.heard) {
        (void)send(m->upgrade.fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
        patience_ms += m->serving->conf->limits.shutdown_timeout_ms + GENERATION_QUIT_TIMEOUT_MS;
    } else {
        kill(m->upgrade.pid, SIGTERM);
    }
    m->upgrade.given_up = true;
    m->upgrade.deadline_ms = now_ms + patience_ms;
}

/* The new master is the master from here on. */
static void retire(struct master *m, int64_t now_ms)
{
    static const char REPLACED[] = "a new binary has taken over meanwhile; ask again";
    char word = UPGRADE_COMMIT;
    pid_t heir = m->upgrade.pid;
    /* Before it speaks to the service manager itself, which would not believe it. */
    notify_main_pid(heir);
    if (send(m->upgrade.fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT) != 1) {
        notify_main_pid(getpid());
        say_failed(m, "the new master has gone at the last moment");
        give_up(m, now_ms);
        return;
    }
    log_info("upgraded: pid %d has taken over; pid %d ends when its requests are done", (int)heir,
             (int)getpid());
    m->owner = false;
    m->stopping = true;
    m->upgrade.pid = 0; /* the channel stays open until we end: that tells it of our end */
    title_set("clavigerd: master (old)");
    if (m->reload_wanted)
        kill(heir, SIGHUP);
    m->reload_wanted = false;
    control_leave(m->control);
    control_reload_begun(m->control);
    control_reload_done(m->control, REPLACED, now_ms);
    pidfile_leave(&m->pidfile);
    sockets_leave(&m->serving->sockets);
    generation_drain(m->serving, now_ms, m->serving->conf->limits.shutdown_timeout_ms, false);
}

static void handle_word(struct master *m, const char *text, size_t len, bool alive, int64_t now_ms)
{
    if (text[0] == UPGRADE_REFUSED) {
        say_failed(m, len > 1 ? text + 1 : "the new master gave no reason");
        give_up(m, now_ms);
    } else if (text[0] == UPGRADE_READY && alive) {
        retire(m, now_ms);
    }
    m->upgrade.heard = true;
}

/* Up to the word that decides. */
static void read_words(struct master *m, bool alive, int64_t now_ms)
{
    char text[UPGRADE_WORD_MAX + 1];
    while (upgrade_under_way(m) && m->upgrade.fd >= 0) {
        ssize_t n = recv(m->upgrade.fd, text, sizeof(text) - 1, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            fd_close(&m->upgrade.fd); /* its end will say more */
            return;
        }
        text[n] = '\0';
        handle_word(m, text, (size_t)n, alive, now_ms);
    }
}

void upgrade_handle(struct master *m, int64_t now_ms)
{
    read_words(m, true, now_ms);
}

/* The workers of a successor that failed are gone with it. */
static void clear_foreign_slots(const struct master *m)
{
    for (unsigned i = 0; i < SHARED_WORKERS_MAX; i++) {
        const struct child gone = {.role = CHILD_WORKER, .slot = i};
        if (!m->context.slots[i])
            child_clear_slot(&gone, m->context.shared);
    }
}

bool upgrade_reaped(struct master *m, pid_t pid, int wait_status, int64_t now_ms)
{
    if (pid != m->upgrade.pid)
        return false;
    read_words(m, false, now_ms); /* it may have said why */
    if (!m->upgrade.given_up) {
        struct buf how = {0};
        buf_puts(&how, "the new program ");
        child_describe_end(wait_status, &how);
        buf_puts(&how, " before it was ready");
        say_failed(m, how.failed ? "out of memory" : how.data);
        buf_fini(&how);
    }
    fd_close(&m->upgrade.fd);
    m->upgrade.pid = 0;
    m->upgrade.given_up = false;
    clear_foreign_slots(m);
    /* A reload meanwhile has given the database to whom it wanted. */
    if (m->serving->number == m->upgrade.generation)
        reload_give_back(m, &m->upgrade.owner);
    return true;
}

void upgrade_tick(struct master *m, int64_t now_ms)
{
    if (m->upgrade.pid == 0 || now_ms < m->upgrade.deadline_ms)
        return;
    if (m->upgrade.given_up) {
        kill(m->upgrade.pid, SIGKILL);
        m->upgrade.deadline_ms = INT64_MAX;
        return;
    }
    char why[64];
    snprintf(why, sizeof(why), "the new program was not ready after %d s", UPGRADE_START_TIMEOUT_MS / 1000);
    say_failed(m, why);
    give_up(m, now_ms);
}

int64_t upgrade_due(const struct master *m)
{
    return m->upgrade.pid == 0 ? INT64_MAX : m->upgrade.deadline_ms;
}

void upgrade_abandon(struct master *m, const char *why, bool at_once, int64_t now_ms)
{
    m->upgrade.wanted = false;
    if (m->upgrade.pid == 0)
        return;
    if (!m->upgrade.given_up) {
        say_failed(m, why);
        give_up(m, now_ms);
    }
    if (at_once) {
        kill(m->upgrade.pid, SIGQUIT);
        m->upgrade.deadline_ms = now_ms + 2 * UPGRADE_END_TIMEOUT_MS;
    }
}
