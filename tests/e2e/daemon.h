/*
 * daemon: a real claviger daemon of its own for one test: its directory, configuration, life, log and
 * database.
 *
 * The binaries are $CLAVIGERD and $CLAVIGERCTL, or ./clavigerd and ./clavigerctl. All functions fail the test
 * when what they promise does not happen.
 */
#ifndef E2E_DAEMON_H
#define E2E_DAEMON_H

#include "e2e/http.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define DAEMON_READY_MS 15000
#define DAEMON_STOP_MS  15000

struct daemon {
    char dir[96];
    char conf[128];
    char db[128];
    char log[128]; /* its stderr */
    char control[128];
    char unix_path[128]; /* also listens there */
    char pid_file[128];
    char certificate[128]; /* of daemon_use_tls() */
    char key[128];
    unsigned port;       /* speaks TLS when daemon_use_tls() was called */
    unsigned plain_port; /* beside it; 0 = none */
    unsigned admin_port;
    unsigned workers; /* 1 unless the test says otherwise */
    pid_t pid;        /* of the master; 0 = not running */
    /* Parts of the configuration; see daemon_text(). */
    struct buf top;
    struct buf providers;
    struct buf limits;
    struct buf log_options;
    struct buf tls;
};

/* Every daemon's clients speak TLS; set before the tests run. */
extern bool daemon_speaks_tls;

/* An own directory, free ports, an empty configuration. */
void daemon_init(struct daemon *d);

/* Clients speak TLS from now on, with a certificate made for it, and so does the test's client. */
void daemon_use_tls(struct daemon *d);

/* Another port for the next configuration; the test's client speaks there what it spoke before. */
void daemon_change_port(struct daemon *d);

/* Adds text to a part of the configuration: &d->top, &d->providers, &d->limits, &d->log_options or &d->tls.
 */
void daemon_text(struct buf *part, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Adds a provider; its name is its type too unless `more` names one. keys are separated by spaces, NULL =
 * none; more are further options, may be NULL. */
void daemon_provider(struct daemon *d, const char *name, const char *base_url, const char *keys,
                     const char *more);

/* Forgets all providers, to write others. */
void daemon_forget_providers(struct daemon *d);

/* Writes the configuration file; daemon_start() does it too. */
void daemon_write(struct daemon *d);

/* Starts and waits until /readyz says 200. */
void daemon_start(struct daemon *d);

/* Sends TERM and waits: the exit status must be 0 and no child may be left. */
void daemon_stop(struct daemon *d);

/* Waits for its end without a signal; the wait status. */
int daemon_wait(struct daemon *d, int timeout_ms);

/* daemon_stop() when it runs, then removes the directory. */
void daemon_fini(struct daemon *d);

/* HUP, then waits until every worker is a new one. For a configuration that is fine. */
void daemon_reload(struct daemon *d);

/* The pid in the pid file; 0 = there is none. */
pid_t daemon_pid_in_file(const struct daemon *d);

/* The pids of the processes whose title begins with "clavigerd: " and `role`; how many. */
size_t daemon_children(const struct daemon *d, const char *role, pid_t *pids, size_t max);

/* The process that writes the dumps of worker 0. Nobody else waits until it has its name, so this does. */
pid_t daemon_writer_of(pid_t worker);

/* Waits until just `count` workers live, none of them `not_pid`. false after timeout_ms. */
bool daemon_wait_workers(const struct daemon *d, size_t count, pid_t not_pid, int timeout_ms);

/* Whether the log has the text; daemon_wait_log() waits for it. */
bool daemon_log_has(const struct daemon *d, const char *text);
bool daemon_wait_log(const struct daemon *d, const char *text, int timeout_ms);

/* Whether log, database, WAL, shared memory file of the database and control files hold the text anywhere. */
bool daemon_files_have(const struct daemon *d, const char *text);

/* Whether the title or the environment of a process of the daemon holds the text, as /proc shows them. */
bool daemon_processes_have(const struct daemon *d, const char *text);

/* Runs one SQL statement in the database; the first column of the first row is copied to out ("" for none).
 */
void daemon_sql(const struct daemon *d, const char *sql, char *out, size_t size);

/* The states in the view `keys` in its order: "temporary valid". Waits until they are that. */
void daemon_expect_states(const struct daemon *d, const char *provider, const char *states);

/* Writes the states to out. */
void daemon_states(const struct daemon *d, const char *provider, char *out, size_t size);

/* What a program left behind. */
struct run {
    int status; /* exit status, -1 = ended by a signal or after 20 s */
    struct buf out;
    struct buf err;
};

/* Runs a program with arguments (NULL ends) and waits for its end. env is "NAME=value" or NULL. */
void run_program(struct run *run, const char *env, const char *program, ...) __attribute__((sentinel));
void run_fini(struct run *run);
const char *run_out(const struct run *run);
const char *run_err(const struct run *run);

const char *daemon_binary(void);
const char *daemon_ctl_binary(void);

#endif
