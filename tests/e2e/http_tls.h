/*
 * http_tls: the test client's side of TLS, with libssl: another library than the daemon's. Called by http.
 */
#ifndef E2E_HTTP_TLS_H
#define E2E_HTTP_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct http_tls_options {
    const char *trust;       /* PEM file of the certificate that the server must show; NULL = any */
    const char *certificate; /* PEM files of the client's own; NULL = none */
    const char *key;
    int version;                   /* TLS1_2_VERSION or TLS1_3_VERSION; 0 = either */
    const char *alpn;              /* in wire form; NULL = none */
    struct ssl_session_st *resume; /* NULL = none */
};

/* From now on every connection to that port of 127.0.0.1 speaks TLS; options are copied, what they point to
 * is borrowed. */
void http_tls_use(unsigned port, const struct http_tls_options *options);

/* What was said of one port is true for another now, and no more for it. */
void http_tls_move(unsigned before, unsigned after);

/* Whether connections to that port do. */
bool http_tls_is_used(unsigned port);

/* Shakes hands on a connected, non-blocking socket. NULL when that fails or takes longer than timeout_ms. */
struct ssl_st *http_tls_connect(int fd, int timeout_ms);

/* As recv() and send(): -1 with EAGAIN when there is nothing or no room now. Reading: 0 is the end that the
 * peer announced; -1 with EPROTO is one that it did not announce, or an alert. */
ssize_t http_tls_recv(struct ssl_st *ssl, void *data, size_t len);
ssize_t http_tls_send(struct ssl_st *ssl, const void *data, size_t len);

/* Bytes that are decrypted already, which poll() does not see. */
bool http_tls_pending(struct ssl_st *ssl);

/* Tells the peer that it is the end, unless `quiet`, and frees. */
void http_tls_close(struct ssl_st *ssl, bool quiet);

#endif
