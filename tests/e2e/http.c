/*
 * http: the test client. Called by tests, by several threads at once too. Must not mend what a peer sends: it
 * reports.
 */
#include "e2e/http.h"
#include "e2e/http_tls.h"
#include "e2e/util.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void take_socket(struct http_client *client, int fd)
{
    memset(client, 0, sizeof(*client));
    client->fd = fd;
}

int http_try_connect(struct http_client *client, unsigned port)
{
    take_socket(client, util_connect_tcp(port));
    if (client->fd >= 0 && http_tls_is_used(port)) {
        client->tls = http_tls_connect(client->fd, HTTP_TIMEOUT_MS);
        if (client->tls == NULL)
            http_close(client);
    }
    return client->fd >= 0 ? 0 : -1;
}

void http_connect_plain(struct http_client *client, unsigned port)
{
    take_socket(client, util_connect_tcp(port));
    if (client->fd < 0)
        ck_abort_msg("connect to port %u: %s", port, strerror(errno));
}

void http_connect(struct http_client *client, unsigned port)
{
    if (http_try_connect(client, port) != 0)
        ck_abort_msg("connect to port %u: %s", port, strerror(errno));
}

void http_connect_unix(struct http_client *client, const char *path)
{
    take_socket(client, util_connect_unix(path));
    if (client->fd < 0)
        ck_abort_msg("connect to %s: %s", path, strerror(errno));
}

static void end(struct http_client *client, bool quiet)
{
    if (client->tls != NULL)
        http_tls_close(client->tls, quiet);
    client->tls = NULL;
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
    buf_fini(&client->in);
    body_fini(&client->reader);
}

void http_close(struct http_client *client)
{
    end(client, false);
}

bool http_answers(unsigned port)
{
    struct http_client client;

    if (http_try_connect(&client, port) != 0)
        return false;
    http_close(&client);
    return true;
}

void http_reset(struct http_client *client)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    end(client, true);
}

static int wait_events(int fd, short events, int64_t end_us)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = (end_us - util_now_us() + 999) / 1000;

    if (poll(&p, 1, left > 0 ? (int)left : 0) <= 0)
        return 0;
    return p.revents;
}

/* Reads what is there. false at the end of the connection. */
static bool receive(struct http_client *client)
{
    char piece[65536];
    ssize_t n;

    do {
        n = client->tls != NULL ? http_tls_recv(client->tls, piece, sizeof(piece))
                                : recv(client->fd, piece, sizeof(piece), 0);
        if (n > 0)
            buf_append(&client->in, piece, (size_t)n);
    } while (n > 0 && client->tls != NULL && http_tls_pending(client->tls));
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        client->eof = true;
        client->unannounced = n < 0;
    }
    return !client->eof;
}

bool http_send(struct http_client *client, const void *data, size_t len)
{
    int64_t end_us = util_now_us() + (int64_t)HTTP_TIMEOUT_MS * 1000;
    const char *p = data;

    while (len > 0) {
        ssize_t n =
            client->tls != NULL ? http_tls_send(client->tls, p, len) : send(client->fd, p, len, MSG_NOSIGNAL);

        if (n > 0) {
            p += n;
            len -= (size_t)n;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR)
            return false;
        n = wait_events(client->fd, POLLIN | POLLOUT, end_us);
        if (n == 0 || ((n & POLLIN) != 0 && (!receive(client) || client->in.len > 0)))
            return false;
    }
    return true;
}

bool http_print(struct http_client *client, const char *fmt, ...)
{
    struct buf text = {0};
    va_list ap;
    bool ok;

    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    ok = http_send(client, text.data, text.len);
    buf_fini(&text);
    return ok;
}

static void start_body(struct http_client *client, const struct http_response *response)
{
    const char *length = message_get(&response->head, "Content-Length");

    body_fini(&client->reader);
    if (client->head_only || response->status == 204 || response->status == 304)
        body_start(&client->reader, BODY_NONE, 0);
    else if (message_get(&response->head, "Transfer-Encoding") != NULL)
        body_start(&client->reader, BODY_CHUNKED, 0);
    else if (length != NULL)
        body_start(&client->reader, BODY_LENGTH, strtoull(length, NULL, 10));
    else
        body_start(&client->reader, BODY_UNTIL_CLOSE, 0);
}

/* Takes a head from what was read, 1xx ones too; true when the final one is there. */
static bool take_head(struct http_client *client, struct http_response *response)
{
    size_t len;

    while ((len = message_head_length(client->in.data, client->in.len)) > 0) {
        struct message_head head;
        int status = 0;

        message_head_parse(&head, client->in.data, len);
        if (strlen(head.line) >= 12 && strncmp(head.line, "HTTP/1.1 ", 9) == 0)
            status = (int)strtol(head.line + 9, NULL, 10);
        buf_consume(&client->in, len);
        if (status >= 200 || status < 100) {
            response->head = head;
            response->status = status;
            return true;
        }
        buf_append(&response->interim, head.raw, head.raw_len);
        message_head_fini(&head);
    }
    return false;
}

bool http_read_head(struct http_client *client, struct http_response *response, int timeout_ms)
{
    int64_t end_us = util_now_us() + (int64_t)timeout_ms * 1000;

    memset(response, 0, sizeof(*response));
    while (!take_head(client, response)) {
        if (client->eof) {
            response->closed = true;
            return false;
        }
        if (wait_events(client->fd, POLLIN, end_us) == 0) {
            response->timed_out = true;
            return false;
        }
        receive(client);
    }
    start_body(client, response);
    return true;
}

static void note_piece(struct http_response *response)
{
    struct http_piece *piece;

    if (response->piece_count % 64 == 0) {
        response->pieces =
            realloc(response->pieces, (response->piece_count + 64) * sizeof(*response->pieces));
        if (response->pieces == NULL)
            abort();
    }
    piece = &response->pieces[response->piece_count++];
    piece->at_us = util_now_us();
    piece->body_len = response->body.len;
}

void http_read_body(struct http_client *client, struct http_response *response, size_t want, int timeout_ms)
{
    int64_t end_us = util_now_us() + (int64_t)timeout_ms * 1000;
    struct body *reader = &client->reader;

    for (;;) {
        if (client->in.len > 0 && !reader->done) {
            size_t before = response->body.len;

            buf_consume(&client->in, body_feed(reader, client->in.data, client->in.len, &response->body));
            if (response->body.len > before)
                note_piece(response);
        }
        response->clean = reader->done;
        if (reader->done || reader->broken || response->body.len >= want)
            return;
        if (client->eof) {
            response->closed = true;
            response->clean = reader->mode == BODY_UNTIL_CLOSE && !client->unannounced;
            return;
        }
        if (wait_events(client->fd, POLLIN, end_us) == 0) {
            response->timed_out = true;
            return;
        }
        receive(client);
    }
}

void http_read(struct http_client *client, struct http_response *response)
{
    if (http_read_head(client, response, HTTP_TIMEOUT_MS))
        http_read_body(client, response, SIZE_MAX, HTTP_TIMEOUT_MS);
}

void http_response_fini(struct http_response *response)
{
    message_head_fini(&response->head);
    buf_fini(&response->body);
    buf_fini(&response->interim);
    free(response->pieces);
    memset(response, 0, sizeof(*response));
}

bool http_wait_end(struct http_client *client, int timeout_ms)
{
    int64_t end_us = util_now_us() + (int64_t)timeout_ms * 1000;

    while (!client->eof) {
        if (wait_events(client->fd, POLLIN, end_us) == 0)
            return false;
        receive(client);
    }
    return true;
}

const char *http_get(const struct http_response *response, const char *name)
{
    return message_get(&response->head, name);
}

const char *http_body(const struct http_response *response)
{
    return response->body.len > 0 ? response->body.data : "";
}

void http_write_request(struct http_client *client, const struct http_request *request)
{
    const char *method = request->method != NULL ? request->method : "POST";
    size_t len = request->body_len == 0 && request->body != NULL ? strlen(request->body) : request->body_len;
    struct buf text = {0};

    client->head_only = strcmp(method, "HEAD") == 0;
    buf_printf(&text, "%s %s HTTP/1.1\r\nHost: gateway.test\r\n%s", method, request->target,
               request->headers != NULL ? request->headers : "");
    if (request->body != NULL)
        buf_printf(&text, "Content-Length: %zu\r\n", len);
    buf_puts(&text, "\r\n");
    if (request->body != NULL)
        buf_append(&text, request->body, len);
    http_send(client, text.data, text.len);
    buf_fini(&text);
}

void http_fetch(unsigned port, const struct http_request *request, struct http_response *response)
{
    struct http_client client;

    http_connect(&client, port);
    http_write_request(&client, request);
    http_read(&client, response);
    http_close(&client);
}

struct many {
    pthread_t thread;
    unsigned port;
    const struct http_request *request;
    int status;
};

/* Check's assertions belong to the main thread: a failure is status 0 here. */
static void *many_main(void *arg)
{
    struct many *one = arg;
    struct http_response response = {0};
    struct http_client client;

    if (http_try_connect(&client, one->port) != 0)
        return NULL;
    http_write_request(&client, one->request);
    http_read(&client, &response);
    one->status = response.clean ? response.status : 0;
    http_response_fini(&response);
    http_close(&client);
    return NULL;
}

void http_fetch_many(unsigned port, const struct http_request *request, int *statuses, size_t count)
{
    struct many *all = calloc(count, sizeof(*all));
    pthread_attr_t attr;

    ck_assert_ptr_nonnull(all);
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 256 * 1024);
    for (size_t i = 0; i < count; i++) {
        all[i].port = port;
        all[i].request = request;
        ck_assert_int_eq(pthread_create(&all[i].thread, &attr, many_main, &all[i]), 0);
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(all[i].thread, NULL);
        statuses[i] = all[i].status;
    }
    pthread_attr_destroy(&attr);
    free(all);
}
