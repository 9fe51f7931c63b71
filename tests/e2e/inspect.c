/*
 * inspect: what a test can learn about its daemon from outside: processes, log, files, database; and running
 * other programs. Declared in daemon.h.
 */
#include "e2e/daemon.h"
#include "e2e/util.h"

#include <check.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATES_MS  3000
#define PROGRAM_MS 20000

static pid_t parent_of(pid_t pid)
{
    char path[64];
    char *text;
    const char *p;
    pid_t parent = -1;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    text = util_read_file(path, NULL);
    p = text != NULL ? strrchr(text, ')') : NULL; /* ") S PPID" */
    if (p != NULL && strlen(p) > 4)
        parent = (pid_t)strtol(p + 4, NULL, 10);
    free(text);
    return parent;
}

static bool has_title(pid_t pid, const char *role)
{
    char path[64];
    char *text;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%ld/cmdline", (long)pid);
    text = util_read_file(path, NULL);
    if (text != NULL && strncmp(text, "clavigerd: ", 11) == 0)
        found = strncmp(text + 11, role, strlen(role)) == 0;
    free(text);
    return found;
}

pid_t daemon_pid_in_file(const struct daemon *d)
{
    char *text = util_read_file(d->pid_file, NULL);
    pid_t pid = text != NULL ? (pid_t)strtol(text, NULL, 10) : 0;

    free(text);
    return pid;
}

size_t daemon_children(const struct daemon *d, const char *role, pid_t *pids, size_t max)
{
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    size_t n = 0;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL && n < max) {
        pid_t pid = isdigit((unsigned char)entry->d_name[0]) ? (pid_t)strtol(entry->d_name, NULL, 10) : 0;

        if (pid > 0 && parent_of(pid) == d->pid && has_title(pid, role))
            pids[n++] = pid;
    }
    closedir(dir);
    return n;
}

struct workers_wait {
    const struct daemon *d;
    size_t count;
    pid_t not_pid;
};

static bool workers_are(void *arg)
{
    const struct workers_wait *w = arg;
    pid_t pids[64];
    size_t n = daemon_children(w->d, "worker", pids, 64);

    for (size_t i = 0; i < n; i++) {
        if (pids[i] == w->not_pid)
            return false;
    }
    return n == w->count;
}

bool daemon_wait_workers(const struct daemon *d, size_t count, pid_t not_pid, int timeout_ms)
{
    struct workers_wait w = {.d = d, .count = count, .not_pid = not_pid};

    return util_wait(workers_are, &w, timeout_ms);
}

static bool file_has(const char *path, const char *text)
{
    size_t len = 0;
    char *content = util_read_file(path, &len);
    bool found = util_contains(content, len, text);

    free(content);
    return found;
}

bool daemon_log_has(const struct daemon *d, const char *text)
{
    return file_has(d->log, text);
}

struct log_wait {
    const struct daemon *d;
    const char *text;
};

static bool log_has(void *arg)
{
    const struct log_wait *w = arg;

    return daemon_log_has(w->d, w->text);
}

bool daemon_wait_log(const struct daemon *d, const char *text, int timeout_ms)
{
    struct log_wait w = {.d = d, .text = text};

    return util_wait(log_has, &w, timeout_ms);
}

bool daemon_files_have(const struct daemon *d, const char *text)
{
    DIR *dir = opendir(d->dir);
    const struct dirent *entry;
    bool found = false;

    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL) {
        char path[512];

        snprintf(path, sizeof(path), "%s/%s", d->dir, entry->d_name);
        if (entry->d_type == DT_REG && strcmp(path, d->conf) != 0 && file_has(path, text))
            found = true;
    }
    closedir(dir);
    return found || file_has(d->log, text) || file_has(d->db, text);
}

static bool process_has(pid_t pid, const char *text)
{
    static const char *const files[] = {"cmdline", "environ"};
    bool found = false;

    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[64];

        snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, files[i]);
        found = found || file_has(path, text);
    }
    return found;
}

bool daemon_processes_have(const struct daemon *d, const char *text)
{
    pid_t pids[64];
    size_t n = daemon_children(d, "", pids, 64);
    bool found = process_has(d->pid, text);

    while (n > 0)
        found = process_has(pids[--n], text) || found;
    return found;
}

void daemon_sql(const struct daemon *d, const char *sql, char *out, size_t size)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int rc;

    out[0] = '\0';
    rc = sqlite3_open_v2(d->db, &db, SQLITE_OPEN_READWRITE, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(db, 10000);
        rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);
    }
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW && sqlite3_column_text(stmt, 0) != NULL)
        snprintf(out, size, "%s", (const char *)sqlite3_column_text(stmt, 0));
    else if (rc != SQLITE_DONE && rc != SQLITE_ROW)
        ck_abort_msg("%s: %s", sql, db != NULL ? sqlite3_errmsg(db) : "out of memory");
    sqlite3_finalize(stmt);
    sqlite3_close(db);
}

void daemon_states(const struct daemon *d, const char *provider, char *out, size_t size)
{
    char *sql =
        sqlite3_mprintf("SELECT coalesce(group_concat(state, ' '), '') FROM (SELECT state FROM keys WHERE "
                        "provider = %Q ORDER BY position)",
                        provider);

    daemon_sql(d, sql, out, size);
    sqlite3_free(sql);
}

struct states_wait {
    const struct daemon *d;
    const char *provider;
    const char *states;
    char found[512];
};

static bool states_are(void *arg)
{
    struct states_wait *w = arg;

    daemon_states(w->d, w->provider, w->found, sizeof(w->found));
    return strcmp(w->found, w->states) == 0;
}

void daemon_expect_states(const struct daemon *d, const char *provider, const char *states)
{
    struct states_wait w = {.d = d, .provider = provider, .states = states};

    if (!util_wait(states_are, &w, STATES_MS))
        ck_abort_msg("states of %s are \"%s\", not \"%s\"", provider, w.found, states);
}

struct reload_wait {
    struct daemon *d;
    pid_t before[64];
    size_t count;
};

/* Every worker is a new one, and as many as there were serve. */
static bool reloaded(void *arg)
{
    const struct reload_wait *w = arg;
    pid_t pids[64];
    size_t n = daemon_children(w->d, "worker", pids, 64);

    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < w->count; j++) {
            if (pids[i] == w->before[j])
                return false;
        }
    }
    return n == w->d->workers;
}

void daemon_reload(struct daemon *d)
{
    struct reload_wait w = {.d = d};

    w.count = daemon_children(d, "worker", w.before, 64);
    ck_assert_int_eq(kill(d->pid, SIGHUP), 0);
    if (!util_wait(reloaded, &w, DAEMON_READY_MS))
        ck_abort_msg("the reload did not replace every worker within %d ms", DAEMON_READY_MS);
}

static void exec_program(const char *env, const char *program, char **argv, const int out[2],
                         const int err[2])
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    dup2(open("/dev/null", O_RDONLY | O_CLOEXEC), STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    dup2(err[1], STDERR_FILENO);
    if (env != NULL)
        putenv(strdup(env));
    execvp(program, argv);
    perror(program);
    _exit(127);
}

/* Reads both pipes to their ends. false after PROGRAM_MS. */
static bool collect(struct run *run, int out, int err)
{
    struct pollfd fds[2] = {{.fd = out, .events = POLLIN}, {.fd = err, .events = POLLIN}};
    int64_t end_us = util_now_us() + (int64_t)PROGRAM_MS * 1000;
    int open_fds = 2;

    while (open_fds > 0) {
        if (util_now_us() > end_us)
            return false;
        poll(fds, 2, 100);
        for (int i = 0; i < 2; i++) {
            char piece[4096];
            ssize_t n;

            if (fds[i].fd < 0 || fds[i].revents == 0)
                continue;
            n = read(fds[i].fd, piece, sizeof(piece));
            if (n > 0) {
                buf_append(i == 0 ? &run->out : &run->err, piece, (size_t)n);
            } else {
                fds[i].fd = -1;
                open_fds--;
            }
        }
    }
    return true;
}

void run_program(struct run *run, const char *env, const char *program, ...)
{
    char *argv[32];
    int argc = 0;
    int out[2];
    int err[2];
    int status = 0;
    pid_t pid;
    va_list ap;

    memset(run, 0, sizeof(*run));
    argv[argc++] = strdup(program);
    va_start(ap, program);
    for (const char *arg; argc < 31 && (arg = va_arg(ap, const char *)) != NULL;)
        argv[argc++] = strdup(arg);
    va_end(ap);
    argv[argc] = NULL;
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(err, O_CLOEXEC), 0);
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0)
        exec_program(env, program, argv, out, err);
    close(out[1]);
    close(err[1]);
    if (!collect(run, out[0], err[0]))
        kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    close(out[0]);
    close(err[0]);
    while (argc > 0)
        free(argv[--argc]);
}

void run_fini(struct run *run)
{
    buf_fini(&run->out);
    buf_fini(&run->err);
}

const char *run_out(const struct run *run)
{
    return run->out.len > 0 ? run->out.data : "";
}

const char *run_err(const struct run *run)
{
    return run->err.len > 0 ? run->err.data : "";
}

struct writer {
    struct daemon worker;
    pid_t pid;
};

static bool has_writer(void *arg)
{
    struct writer *w = arg;

    return daemon_children(&w->worker, "dumps of worker 0", &w->pid, 1) == 1;
}

pid_t daemon_writer_of(pid_t worker)
{
    struct writer w = {.worker.pid = worker};

    ck_assert(util_wait(has_writer, &w, 10000));
    return w.pid;
}
