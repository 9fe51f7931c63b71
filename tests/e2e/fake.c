/*
 * fake: the fake provider's life, its rules and its records. The threads of its connections are in
 * fake_conn.c. Called by tests and by fake_main.c; must not decide anything about the daemon.
 */
#include "e2e/fake.h"
#include "e2e/fake_internal.h"
#include "e2e/util.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define THREAD_STACK (512 * 1024)

static void must(bool ok)
{
    if (!ok) {
        perror("fake provider");
        abort();
    }
}

static void start_thread(pthread_t *thread, void *(*run)(void *), void *arg)
{
    pthread_attr_t attr;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, THREAD_STACK);
    must(pthread_create(thread, &attr, run, arg) == 0);
    pthread_attr_destroy(&attr);
}

static void *accept_main(void *arg)
{
    struct fake *fake = arg;

    for (;;) {
        struct pollfd fds[2] = {{.fd = fake->listen_fd, .events = POLLIN},
                                {.fd = fake->stop_fd, .events = POLLIN}};
        struct fake_conn *conn;
        int fd;

        poll(fds, 2, -1);
        if (fds[1].revents != 0)
            return NULL;
        fd = accept4(fake->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        conn = calloc(1, sizeof(*conn));
        must(conn != NULL);
        conn->fake = fake;
        conn->fd = fd;
        pthread_mutex_lock(&fake->lock);
        conn->number = ++fake->conn_count;
        conn->next = fake->conns;
        fake->conns = conn;
        start_thread(&conn->thread, fake_conn_main, conn);
        pthread_mutex_unlock(&fake->lock);
    }
}

static int open_listener(struct fake *fake)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);

    fake->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fake->listen_fd < 0 || bind(fake->listen_fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 ||
        listen(fake->listen_fd, 1024) != 0 ||
        getsockname(fake->listen_fd, (struct sockaddr *)&addr, &len) != 0)
        return -1;
    fake->port = ntohs(addr.sin_port);
    return 0;
}

static int open_tls(struct fake *fake, const struct fake_options *options)
{
    fake->tls = SSL_CTX_new(TLS_server_method());
    if (fake->tls == NULL ||
        SSL_CTX_use_certificate_file(fake->tls, options->certificate, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_use_PrivateKey_file(fake->tls, options->private_key, SSL_FILETYPE_PEM) != 1)
        return -1;
    return 0;
}

struct fake *fake_start(const struct fake_options *options)
{
    static const struct fake_options none;
    struct fake *fake = calloc(1, sizeof(*fake));
    pthread_condattr_t attr;

    must(fake != NULL);
    if (options == NULL)
        options = &none;
    signal(SIGPIPE, SIG_IGN);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&fake->changed, &attr);
    pthread_condattr_destroy(&attr);
    fake->log_fd = -1;
    fake->stop_fd = eventfd(0, EFD_CLOEXEC);
    must(fake->stop_fd >= 0);
    if (open_listener(fake) != 0 || (options->certificate != NULL && open_tls(fake, options) != 0)) {
        fake_stop(&fake);
        return NULL;
    }
    if (options->log_path != NULL) {
        fake->log_fd = open(options->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        must(fake->log_fd >= 0);
    }
    snprintf(fake->url, sizeof(fake->url), "%s://127.0.0.1:%u", fake->tls != NULL ? "https" : "http",
             fake->port);
    start_thread(&fake->acceptor, accept_main, fake);
    return fake;
}

static void free_entry(struct fake_entry *entry)
{
    message_head_fini(&entry->request.head);
    free(entry->request.method);
    free(entry->request.target);
    free(entry->request.key);
    buf_fini(&entry->body);
    free(entry);
}

static void stop_threads(struct fake *fake)
{
    uint64_t one = 1;

    must(write(fake->stop_fd, &one, sizeof(one)) == sizeof(one));
    if (fake->url[0] != '\0')
        pthread_join(fake->acceptor, NULL);
    while (fake->conns != NULL) {
        struct fake_conn *conn = fake->conns;

        fake->conns = conn->next;
        pthread_join(conn->thread, NULL);
        buf_fini(&conn->in);
        free(conn);
    }
}

void fake_stop(struct fake **fakep)
{
    struct fake *fake = *fakep;

    if (fake == NULL)
        return;
    *fakep = NULL;
    stop_threads(fake);
    for (unsigned i = 0; i < fake->count; i++)
        free_entry(fake->entries[i]);
    free(fake->entries);
    fake_forget_rules(fake);
    for (unsigned i = 0; i < fake->owned_count; i++)
        free(fake->owned[i]);
    free(fake->owned);
    SSL_CTX_free(fake->tls);
    if (fake->listen_fd >= 0)
        close(fake->listen_fd);
    if (fake->log_fd >= 0)
        close(fake->log_fd);
    close(fake->stop_fd);
    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->lock);
    free(fake);
}

unsigned fake_port(const struct fake *fake)
{
    return fake->port;
}

const char *fake_url(const struct fake *fake)
{
    return fake->url;
}

void fake_rule(struct fake *fake, enum fake_match match, const char *key, unsigned number,
               const struct fake_answer *answer, unsigned times)
{
    struct fake_rule_entry *rule;

    pthread_mutex_lock(&fake->lock);
    fake->rules = realloc(fake->rules, (fake->rule_count + 1) * sizeof(*fake->rules));
    must(fake->rules != NULL);
    rule = &fake->rules[fake->rule_count++];
    rule->match = match;
    rule->key = key != NULL ? strdup(key) : NULL;
    rule->number = number;
    rule->left = times > 0 ? times : UINT32_MAX;
    rule->answer = *answer;
    pthread_mutex_unlock(&fake->lock);
}

void fake_on_key(struct fake *fake, const char *key, const struct fake_answer *answer)
{
    fake_rule(fake, FAKE_KEY, key, 0, answer, 0);
}

void fake_on_number(struct fake *fake, unsigned number, const struct fake_answer *answer)
{
    fake_rule(fake, FAKE_NUMBER, NULL, number, answer, 0);
}

void fake_on_any(struct fake *fake, const struct fake_answer *answer)
{
    fake_rule(fake, FAKE_ANY, NULL, 0, answer, 0);
}

void fake_forget_rules(struct fake *fake)
{
    pthread_mutex_lock(&fake->lock);
    for (unsigned i = 0; i < fake->rule_count; i++)
        free(fake->rules[i].key);
    free(fake->rules);
    fake->rules = NULL;
    fake->rule_count = 0;
    pthread_mutex_unlock(&fake->lock);
}

void fake_choose(struct fake *fake, const struct fake_entry *entry, struct fake_answer *out)
{
    static const struct fake_answer fallback = {.body = "ok"};

    *out = fallback;
    pthread_mutex_lock(&fake->lock);
    for (unsigned i = 0; i < fake->rule_count; i++) {
        struct fake_rule_entry *rule = &fake->rules[i];

        if (rule->left == 0 || (rule->match == FAKE_KEY && strcmp(rule->key, entry->request.key) != 0) ||
            (rule->match == FAKE_NUMBER && rule->number != entry->request.number))
            continue;
        rule->left--;
        *out = rule->answer;
        break;
    }
    pthread_mutex_unlock(&fake->lock);
}

static char *request_key(const struct message_head *head)
{
    const char *value = message_get(head, "X-Api-Key");

    if (value == NULL)
        value = message_get(head, "Authorization");
    if (value != NULL && strncasecmp(value, "Bearer ", 7) == 0)
        value += 7;
    return strdup(value != NULL ? value : "");
}

struct fake_entry *fake_record(struct fake_conn *conn, struct message_head *head)
{
    struct fake *fake = conn->fake;
    struct fake_entry *entry = calloc(1, sizeof(*entry));
    struct fake_request *request;
    const char *line;
    size_t method_len;

    must(entry != NULL);
    request = &entry->request;
    request->head = *head;
    memset(head, 0, sizeof(*head));
    line = request->head.line;
    method_len = strcspn(line, " ");
    request->method = strndup(line, method_len);
    line += method_len + (line[method_len] != '\0');
    request->target = strndup(line, strcspn(line, " "));
    request->key = request_key(&request->head);
    request->chunked = message_get(&request->head, "Transfer-Encoding") != NULL;
    request->connection = conn->number;
    request->head_us = util_now_us();
    pthread_mutex_lock(&fake->lock);
    fake->entries = realloc(fake->entries, (fake->count + 1) * sizeof(*fake->entries));
    must(fake->entries != NULL);
    fake->entries[fake->count++] = entry;
    request->number = fake->count;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
    return entry;
}

void fake_log(struct fake *fake, const struct fake_entry *entry, int status)
{
    const struct fake_request *r = &entry->request;

    if (fake->log_fd >= 0)
        dprintf(fake->log_fd, "%u %u %s %s %s %d\n", r->number, r->connection,
                r->key[0] != '\0' ? r->key : "-", r->method, r->target, status);
}

enum wait_for { WAIT_RECORDED, WAIT_COMPLETE, WAIT_ABANDONED };

static bool reached(const struct fake *fake, enum wait_for what, unsigned number)
{
    if (fake->count < number)
        return false;
    switch (what) {
    case WAIT_COMPLETE:
        return fake->entries[number - 1]->progress.complete;
    case WAIT_ABANDONED:
        return fake->entries[number - 1]->progress.abandoned_us != 0;
    default:
        return true;
    }
}

static bool wait_for(struct fake *fake, enum wait_for what, unsigned number, int timeout_ms)
{
    struct timespec end;
    bool ok;

    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_sec += timeout_ms / 1000;
    end.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (end.tv_nsec >= 1000000000) {
        end.tv_sec++;
        end.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&fake->lock);
    while (!(ok = reached(fake, what, number))) {
        if (pthread_cond_timedwait(&fake->changed, &fake->lock, &end) == ETIMEDOUT) {
            ok = reached(fake, what, number);
            break;
        }
    }
    pthread_mutex_unlock(&fake->lock);
    return ok;
}

bool fake_wait_requests(struct fake *fake, unsigned count, int timeout_ms)
{
    return wait_for(fake, WAIT_RECORDED, count, timeout_ms);
}

bool fake_wait_complete(struct fake *fake, unsigned number, int timeout_ms)
{
    return wait_for(fake, WAIT_COMPLETE, number, timeout_ms);
}

bool fake_wait_abandoned(struct fake *fake, unsigned number, int timeout_ms)
{
    return wait_for(fake, WAIT_ABANDONED, number, timeout_ms);
}

unsigned fake_requests(struct fake *fake)
{
    unsigned n;

    pthread_mutex_lock(&fake->lock);
    n = fake->count;
    pthread_mutex_unlock(&fake->lock);
    return n;
}

unsigned fake_requests_with_key(struct fake *fake, const char *key)
{
    unsigned n = 0;

    pthread_mutex_lock(&fake->lock);
    for (unsigned i = 0; i < fake->count; i++)
        n += strcmp(fake->entries[i]->request.key, key) == 0;
    pthread_mutex_unlock(&fake->lock);
    return n;
}

unsigned fake_connections(struct fake *fake)
{
    unsigned n;

    pthread_mutex_lock(&fake->lock);
    n = fake->conn_count;
    pthread_mutex_unlock(&fake->lock);
    return n;
}

const struct fake_request *fake_request(struct fake *fake, unsigned number)
{
    const struct fake_request *request = NULL;

    pthread_mutex_lock(&fake->lock);
    if (number >= 1 && number <= fake->count)
        request = &fake->entries[number - 1]->request;
    pthread_mutex_unlock(&fake->lock);
    return request;
}

int fake_progress(struct fake *fake, unsigned number, struct fake_progress *out)
{
    int rc = -1;

    pthread_mutex_lock(&fake->lock);
    if (number >= 1 && number <= fake->count) {
        *out = fake->entries[number - 1]->progress;
        rc = 0;
    }
    pthread_mutex_unlock(&fake->lock);
    return rc;
}

bool fake_body_is(struct fake *fake, unsigned number, const void *data, size_t len)
{
    bool same = false;

    pthread_mutex_lock(&fake->lock);
    if (number >= 1 && number <= fake->count) {
        const struct buf *body = &fake->entries[number - 1]->body;

        same = body->len == len && (len == 0 || memcmp(body->data, data, len) == 0);
    }
    pthread_mutex_unlock(&fake->lock);
    return same;
}

char *fake_body(struct fake *fake, unsigned number)
{
    char *copy = NULL;

    pthread_mutex_lock(&fake->lock);
    if (number >= 1 && number <= fake->count) {
        const struct buf *body = &fake->entries[number - 1]->body;

        copy = strndup(body->len > 0 ? body->data : "", body->len);
    }
    pthread_mutex_unlock(&fake->lock);
    return copy;
}
