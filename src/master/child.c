/*
 * child: owns fork() and everything between it and a child's main function, and the rule by which a crash
 * loop is slowed down. Called by generation; must not decide when a child has to end.
 */
#include "master/child.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/title.h"
#include "io/keyfile_env.h"
#include "master/daemon.h"
#include "master/signals.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int64_t child_count_death(struct child_deaths *deaths, int64_t lived_ms, int64_t now_ms)
{
    if (lived_ms >= CHILD_WINDOW_MS)
        memset(deaths, 0, sizeof(*deaths));
    if (deaths->delay_ms > 0) {
        deaths->delay_ms *= 2;
        if (deaths->delay_ms > CHILD_LONGEST_DELAY_MS)
            deaths->delay_ms = CHILD_LONGEST_DELAY_MS;
        return deaths->delay_ms;
    }
    deaths->at_ms[deaths->count % CHILD_DEATHS] = now_ms;
    deaths->count++;
    /* The next place of the ring holds the oldest of the last CHILD_DEATHS deaths. */
    if (deaths->count >= CHILD_DEATHS &&
        now_ms - deaths->at_ms[deaths->count % CHILD_DEATHS] <= CHILD_WINDOW_MS)
        deaths->delay_ms = CHILD_FIRST_DELAY_MS;
    return deaths->delay_ms;
}

static int find_groups(struct child_user *user, const char *name)
{
    int room = 16;
    for (;;) {
        gid_t *groups = realloc(user->groups, (size_t)room * sizeof(*groups));
        if (!groups)
            return -1;
        user->groups = groups;
        user->group_count = room;
        if (getgrouplist(name, user->gid, user->groups, &user->group_count) >= 0)
            return 0;
        if (user->group_count <= room)
            return -1;
        room = user->group_count;
    }
}

int child_user_find(struct child_user *user, const char *name, struct buf *reason)
{
    memset(user, 0, sizeof(*user));
    if (name[0] == '\0')
        return 0;
    errno = 0;
    const struct passwd *entry = getpwnam(name);
    if (!entry) {
        buf_printf(reason, "user %s: %s", name, errno ? strerror(errno) : "there is no such user; create it");
        return -1;
    }
    if (geteuid() != 0) {
        if (entry->pw_uid != geteuid())
            log_warning("not started as root: workers stay the present user, not %s", name);
        return 0;
    }
    user->uid = entry->pw_uid;
    user->gid = entry->pw_gid;
    if (find_groups(user, name) < 0) {
        buf_printf(reason, "user %s: its groups cannot be found", name);
        child_user_fini(user);
        return -1;
    }
    user->set = true;
    return 0;
}

void child_user_fini(struct child_user *user)
{
    free(user->groups);
    memset(user, 0, sizeof(*user));
}

void child_name(const struct child *child, char out[CHILD_NAME_SIZE])
{
    if (child->role == CHILD_ADMIN)
        snprintf(out, CHILD_NAME_SIZE, "admin");
    else
        snprintf(out, CHILD_NAME_SIZE, "worker %u", child->number);
}

void child_describe_end(int wait_status, struct buf *out)
{
    if (WIFSIGNALED(wait_status))
        buf_printf(out, "was killed by signal %d (%s)", WTERMSIG(wait_status),
                   strsignal(WTERMSIG(wait_status)));
    else
        buf_printf(out, "exited with status %d", WEXITSTATUS(wait_status));
}

void child_clear_slot(const struct child *child, struct shared *shared)
{
    if (child->role != CHILD_WORKER)
        return;
    struct shared_worker *slot = &shared->workers[child->slot];
    slot->phase = WORKER_FREE;
    slot->pid = 0;
    slot->beat_ms = 0;
    slot->connections = 0;
    slot->requests = 0;
    slot->in_flight = 0;
    slot->streams = 0;
    slot->lag_ms = 0;
}

static void fill_slot(const struct child *child, const struct heritage *heritage, int64_t now_ms)
{
    if (child->role != CHILD_WORKER)
        return;
    struct shared_worker *slot = &heritage->shared->workers[child->slot];
    child_clear_slot(child, heritage->shared);
    slot->number = (int32_t)child->number;
    slot->generation = heritage->generation;
    slot->started_ms = now_ms;
    slot->phase = WORKER_STARTING;
}

/* Closes everything but 0 to 2 and the named ones; what the master was itself started with goes too. */
static int close_others(const struct child_legacy *legacy, const struct heritage *mine)
{
    size_t count = 0;
    int *keep = calloc(legacy->listen_count + legacy->admin_count + 3, sizeof(*keep));
    if (!keep)
        return -1;
    for (size_t i = 0; mine->listen_fds && i < legacy->listen_count; i++)
        keep[count++] = mine->listen_fds[i];
    for (size_t i = 0; mine->admin_fds && i < legacy->admin_count; i++)
        keep[count++] = mine->admin_fds[i];
    keep[count++] = mine->lifeline_fd;
    if (log_fd() >= 0)
        keep[count++] = log_fd();
    if (log_echo_fd() >= 0)
        keep[count++] = log_echo_fd();
    fd_close_others(keep, count);
    free(keep);
    return 0;
}

static int drop_user(const struct child_user *user)
{
    if (!user->set)
        return 0;
    if (setgroups((size_t)user->group_count, user->groups) < 0 ||
        setresgid(user->gid, user->gid, user->gid) < 0 || setresuid(user->uid, user->uid, user->uid) < 0) {
        log_error("cannot drop to the configured user: %s", strerror(errno));
        return -1;
    }
    return 0;
}

int child_user_may_write(const struct child_user *user, const char *dir)
{
    int status = 0;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (drop_user(user) < 0)
            _exit(EPERM);
        /* By the effective user; errno fits into an exit status. */
        _exit(faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno);
    }
    if (pid < 0)
        return -1;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return -1;
    }
    errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
    return errno == 0 ? 0 : -1;
}

static int child_main(const struct child *child, const struct child_legacy *legacy, pid_t master)
{
    struct heritage mine = legacy->heritage;
    char name[CHILD_NAME_SIZE];
    signals_child();
    child_name(child, name);
    title_set("clavigerd: %s", name);
    log_set_process(name);
    keyfile_env_fini(); /* the master's, for its next configuration or its successor */
    secret_lock_again();
    mine.slot = child->slot;
    mine.number = child->number;
    if (child->role == CHILD_WORKER)
        mine.admin_fds = NULL;
    else
        mine.listen_fds = NULL;
    if (close_others(legacy, &mine) < 0 || drop_user(legacy->user) < 0)
        return 1;
    /* After the user: a change of it clears both. No program that a child could start gets more rights than
     * it has. */
    daemon_forbid_dump();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        log_warning("cannot give up new privileges: %s", strerror(errno));
    /* The same for this setting. The lifeline covers the time before, and a worker
     * that does not look at it is ended by this. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        log_warning("cannot ask to end with the master: %s", strerror(errno));
    if (getppid() != master)
        return 1;
    if (child->role == CHILD_WORKER)
        mine.shared->workers[child->slot].pid = (int32_t)getpid();
    return child->role == CHILD_WORKER ? legacy->programs->worker(&mine) : legacy->programs->admin(&mine);
}

int child_start(struct child *child, const struct child_legacy *legacy, int64_t now_ms)
{
    pid_t master = getpid();
    fill_slot(child, &legacy->heritage, now_ms);
    child->started_ms = now_ms;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        exit(child_main(child, legacy, master));
    if (pid < 0) {
        int error = errno;
        child_clear_slot(child, legacy->heritage.shared);
        errno = error;
        return -1;
    }
    child->pid = pid;
    if (child->role == CHILD_WORKER)
        legacy->heritage.shared->workers[child->slot].pid = (int32_t)pid;
    return 0;
}
