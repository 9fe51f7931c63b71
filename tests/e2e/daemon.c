/*
 * daemon: starts and stops a real daemon for a test. Called by the test files; the asking of log and database
 * is in inspect.c.
 */
#include "e2e/daemon.h"
#include "e2e/cert.h"
#include "e2e/http_tls.h"
#include "e2e/util.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

bool daemon_speaks_tls;

const char *daemon_binary(void)
{
    const char *path = getenv("CLAVIGERD");

    return path != NULL ? path : "./clavigerd";
}

const char *daemon_ctl_binary(void)
{
    const char *path = getenv("CLAVIGERCTL");

    return path != NULL ? path : "./clavigerctl";
}

/* What would steer the daemon or show it real keys. */
static void clean_environment(void)
{
    static const char *const names[] = {"ANTHROPIC_API_KEY", "ANTHROPIC_API_KEYS", "OPENAI_API_KEY",
                                        "OPENAI_API_KEYS",   "http_proxy",         "https_proxy",
                                        "HTTP_PROXY",        "HTTPS_PROXY",        "all_proxy",
                                        "ALL_PROXY",         "no_proxy",           "NO_PROXY"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unsetenv(names[i]);
}

void daemon_init(struct daemon *d)
{
    const char *base = getenv("E2E_DIR");

    memset(d, 0, sizeof(*d));
    snprintf(d->dir, sizeof(d->dir), "%s/XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(d->dir) == NULL)
        ck_abort_msg("%s: %s", d->dir, strerror(errno));
    snprintf(d->conf, sizeof(d->conf), "%s/conf", d->dir);
    snprintf(d->db, sizeof(d->db), "%s/state.db", d->dir);
    snprintf(d->log, sizeof(d->log), "%s/log", d->dir);
    snprintf(d->control, sizeof(d->control), "%s/control", d->dir);
    snprintf(d->unix_path, sizeof(d->unix_path), "%s/http", d->dir);
    snprintf(d->pid_file, sizeof(d->pid_file), "%s/pid", d->dir);
    d->port = util_free_port();
    do {
        d->admin_port = util_free_port();
    } while (d->admin_port == d->port);
    d->workers = 1;
    clean_environment();
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (daemon_speaks_tls)
        daemon_use_tls(d);
}

void daemon_use_tls(struct daemon *d)
{
    const struct http_tls_options options = {.trust = d->certificate};

    snprintf(d->certificate, sizeof(d->certificate), "%s/cert.pem", d->dir);
    snprintf(d->key, sizeof(d->key), "%s/key.pem", d->dir);
    cert_make("IP:127.0.0.1", 2, d->certificate, d->key);
    daemon_text(&d->tls, "certificate = \"%s\"\nkey = \"%s\"", d->certificate, d->key);
    http_tls_use(d->port, &options);
}

void daemon_change_port(struct daemon *d)
{
    unsigned before = d->port;

    d->port = util_free_port();
    http_tls_move(before, d->port);
}

void daemon_text(struct buf *part, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_vprintf(part, fmt, ap);
    va_end(ap);
    buf_putc(part, '\n');
}

void daemon_provider(struct daemon *d, const char *name, const char *base_url, const char *keys,
                     const char *more)
{
    struct buf *p = &d->providers;
    const char *separator = "";

    buf_printf(p, "provider %s {\n", name);
    if (more == NULL || strstr(more, "type =") == NULL)
        buf_printf(p, "    type = %s\n", name);
    buf_printf(p, "    base_url = \"%s\"\n    keys = {", base_url);
    while (keys != NULL && *keys != '\0') {
        size_t len = strcspn(keys, " ");

        buf_printf(p, "%s\"%.*s\"", separator, (int)len, keys);
        separator = ", ";
        keys += len + (keys[len] == ' ');
    }
    buf_printf(p, "}\n%s%s}\n", more != NULL ? more : "", more != NULL ? "\n" : "");
}

void daemon_forget_providers(struct daemon *d)
{
    buf_clear(&d->providers);
}

static void put_part(struct buf *out, const char *before, const struct buf *part, const char *after)
{
    if (part->len > 0)
        buf_printf(out, "%s%s%s", before, part->data, after);
}

void daemon_write(struct daemon *d)
{
    struct buf text = {0};

    buf_printf(&text, "listen = {\"127.0.0.1:%u\", ", d->port);
    if (d->plain_port != 0)
        buf_printf(&text, "\"plain:127.0.0.1:%u\", ", d->plain_port);
    buf_printf(&text,
               "\"unix:%s\"}\nadmin_listen = {\"127.0.0.1:%u\"}\nworkers = %u\n"
               "state_db = \"%s\"\npid_file = \"%s\"\ncontrol = \"%s\"\n",
               d->unix_path, d->admin_port, d->workers, d->db, d->pid_file, d->control);
    put_part(&text, "", &d->top, "");
    put_part(&text, "", &d->providers, "");
    put_part(&text, "limits {\n", &d->limits, "}\n");
    put_part(&text, "log {\n", &d->log_options, "}\n");
    put_part(&text, "tls {\n", &d->tls, "}\n");
    ck_assert_int_eq(util_write_file(d->conf, text.data, text.len, 0600), 0);
    buf_fini(&text);
}

static void exec_daemon(const struct daemon *d)
{
    int fd = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(null, STDIN_FILENO);
    dup2(fd, STDOUT_FILENO);
    dup2(fd, STDERR_FILENO);
    execl(daemon_binary(), "clavigerd", "-c", d->conf, (char *)NULL);
    perror(daemon_binary());
    _exit(127);
}

struct ready {
    struct daemon *d;
    bool ended;
    int wait_status;
};

/* Whether the master itself counts as started: it sees its workers ready a moment after the admin listener
 * does. */
static bool master_serves(const struct daemon *d)
{
    struct http_client client;
    bool serves;

    http_connect_unix(&client, d->control);
    http_print(&client, "status\n");
    http_wait_end(&client, HTTP_TIMEOUT_MS);
    serves = util_contains(client.in.data, client.in.len, "\"phase\":\"serving\"");
    http_close(&client);
    return serves;
}

/* Whether the admin listener says 200; also ends the wait when the daemon ended. */
static bool is_ready(void *arg)
{
    struct ready *ready = arg;
    struct http_client client;
    struct http_response response = {0};
    bool ok = false;

    if (waitpid(ready->d->pid, &ready->wait_status, WNOHANG) == ready->d->pid) {
        ready->ended = true;
        return true;
    }
    if (http_try_connect(&client, ready->d->admin_port) != 0)
        return false;
    if (http_print(&client, "GET /readyz HTTP/1.1\r\nHost: admin.test\r\nConnection: close\r\n\r\n")) {
        http_read(&client, &response);
        ok = response.status == 200;
        http_response_fini(&response);
    }
    http_close(&client);
    return ok && master_serves(ready->d);
}

void daemon_start(struct daemon *d)
{
    struct ready ready = {.d = d};

    daemon_write(d);
    d->pid = fork();
    ck_assert_int_ge(d->pid, 0);
    if (d->pid == 0)
        exec_daemon(d);
    if (!util_wait(is_ready, &ready, DAEMON_READY_MS))
        ck_abort_msg("the daemon was not ready within %d ms", DAEMON_READY_MS);
    if (ready.ended) {
        d->pid = 0;
        ck_abort_msg("the daemon ended at its start, wait status %d", ready.wait_status);
    }
}

static bool has_ended(void *arg)
{
    struct ready *ready = arg;

    ready->ended = waitpid(ready->d->pid, &ready->wait_status, WNOHANG) == ready->d->pid;
    return ready->ended;
}

int daemon_wait(struct daemon *d, int timeout_ms)
{
    struct ready ready = {.d = d};

    if (!util_wait(has_ended, &ready, timeout_ms))
        ck_abort_msg("the daemon did not end within %d ms", timeout_ms);
    d->pid = 0;
    return ready.wait_status;
}

void daemon_stop(struct daemon *d)
{
    int status;

    ck_assert_int_eq(kill(d->pid, SIGTERM), 0);
    status = daemon_wait(d, DAEMON_STOP_MS);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        ck_abort_msg("the daemon's wait status is %d", status);
    /* The test process is its subreaper: whatever the master left behind is our child now. */
    ck_assert_int_eq(waitpid(-1, &status, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
    ck_assert_int_ne(access(d->pid_file, F_OK), 0);
}

void daemon_fini(struct daemon *d)
{
    if (d->pid != 0)
        daemon_stop(d);
    util_remove_tree(d->dir);
    buf_fini(&d->top);
    buf_fini(&d->providers);
    buf_fini(&d->limits);
    buf_fini(&d->log_options);
    buf_fini(&d->tls);
}
