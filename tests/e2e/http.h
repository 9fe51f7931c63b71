/*
 * http: an HTTP/1.1 client that sends exactly the bytes it is given and tells how the answer came in, piece
 * by piece.
 */
#ifndef E2E_HTTP_H
#define E2E_HTTP_H

#include "e2e/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HTTP_TIMEOUT_MS 20000

/* What arrived at once. */
struct http_piece {
    int64_t at_us;
    size_t body_len; /* bytes of the decoded body so far */
};

struct http_response {
    int status; /* 0 = no answer came */
    struct message_head head;
    struct buf body;    /* decoded */
    struct buf interim; /* the raw heads of 1xx answers before it */
    struct http_piece *pieces;
    size_t piece_count;
    bool clean; /* whole, as its framing says */
    bool timed_out;
    bool closed; /* the peer ended the connection (FIN or RST) while or right after it was read */
};

struct http_client {
    int fd;             /* -1 = not connected */
    struct ssl_st *tls; /* NULL = plain */
    bool head_only;     /* the next response has no body: the request was a HEAD */
    bool eof;
    bool unannounced; /* it ended with a reset, or over TLS without a word that it is the end */
    struct buf in;
    struct body reader;
};

/* Connects, with TLS where http_tls_use() says so; fails the test when that does not work. */
void http_connect(struct http_client *client, unsigned port);
void http_connect_unix(struct http_client *client, const char *path);

/* The same without failing the test: 0 or -1. */
int http_try_connect(struct http_client *client, unsigned port);

/* Without TLS, whatever is said. */
void http_connect_plain(struct http_client *client, unsigned port);
void http_close(struct http_client *client);

/* Whether somebody listens there. */
bool http_answers(unsigned port);

/* Closes with RST. */
void http_reset(struct http_client *client);

/* Sends all bytes. Stops early, with false, when the peer stopped listening or an answer came before the end.
 */
bool http_send(struct http_client *client, const void *data, size_t len);
bool http_print(struct http_client *client, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/*
 * Reads one response. http_read() reads it whole. http_read_head() returns once its head is there (false: it
 * is not), http_read_body() goes on until the body has at least want bytes, its end, or timeout_ms have
 * passed.
 */
void http_read(struct http_client *client, struct http_response *response);
bool http_read_head(struct http_client *client, struct http_response *response, int timeout_ms);
void http_read_body(struct http_client *client, struct http_response *response, size_t want, int timeout_ms);
void http_response_fini(struct http_response *response);

/* Whether the peer ends the connection within timeout_ms. What it sends until then is in client->in. */
bool http_wait_end(struct http_client *client, int timeout_ms);

const char *http_get(const struct http_response *response, const char *name);

/* The body as text, "" for none. */
const char *http_body(const struct http_response *response);

/*
 * A request on a new connection, with "Host: gateway.test", Content-Length when body is not NULL, and the
 * lines of `headers` ("Name: value\r\n", may be NULL); reads the whole answer.
 */
struct http_request {
    const char *method; /* NULL = POST */
    const char *target;
    const char *headers;
    const void *body;
    size_t body_len; /* 0 = the length of the string at body */
};

void http_fetch(unsigned port, const struct http_request *request, struct http_response *response);

/* The same on a connection that is open. */
void http_write_request(struct http_client *client, const struct http_request *request);

/* Many at once, each on a connection of its own: statuses[i] is the status of the i-th, 0 when its answer was
 * cut. */
void http_fetch_many(unsigned port, const struct http_request *request, int *statuses, size_t count);

#endif
