/*
 * http_tls: owns the client's TLS settings. Called by http, by several threads at once too; the settings are
 * made before there are any.
 */
#include "e2e/http_tls.h"
#include "e2e/util.h"

#include <check.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>

static unsigned tls_port;
static struct http_tls_options tls_options;
static SSL_CTX *context;

void http_tls_use(unsigned port, const struct http_tls_options *options)
{
    SSL_CTX_free(context);
    signal(SIGPIPE, SIG_IGN); /* libssl writes with write() */
    tls_port = port;
    tls_options = *options;
    context = SSL_CTX_new(TLS_client_method());
    ck_assert_ptr_nonnull(context);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (options->trust != NULL) {
        ck_assert_int_eq(SSL_CTX_load_verify_locations(context, options->trust, NULL), 1);
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    }
    if (options->certificate != NULL) {
        ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(context, options->certificate), 1);
        ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(context, options->key, SSL_FILETYPE_PEM), 1);
    }
    if (options->version != 0) {
        SSL_CTX_set_min_proto_version(context, options->version);
        SSL_CTX_set_max_proto_version(context, options->version);
    }
    if (options->alpn != NULL)
        ck_assert_int_eq(SSL_CTX_set_alpn_protos(context, (const unsigned char *)options->alpn,
                                                 (unsigned)strlen(options->alpn)),
                         0);
}

void http_tls_move(unsigned before, unsigned after)
{
    if (tls_port == before)
        tls_port = after;
}

bool http_tls_is_used(unsigned port)
{
    return tls_port != 0 && port == tls_port;
}

/* A call's result as that of a system call. */
static ssize_t as_system_call(SSL *ssl, int result)
{
    int error = SSL_get_error(ssl, result);

    ERR_clear_error();
    if (result > 0)
        return result;
    errno = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? EAGAIN : EPROTO;
    return error == SSL_ERROR_ZERO_RETURN ? 0 : -1;
}

ssize_t http_tls_recv(SSL *ssl, void *data, size_t len)
{
    return as_system_call(ssl, SSL_read(ssl, data, (int)len));
}

ssize_t http_tls_send(SSL *ssl, const void *data, size_t len)
{
    return as_system_call(ssl, SSL_write(ssl, data, len > 65536 ? 65536 : (int)len));
}

bool http_tls_pending(SSL *ssl)
{
    return SSL_pending(ssl) > 0;
}

SSL *http_tls_connect(int fd, int timeout_ms)
{
    int64_t end_us = util_now_us() + (int64_t)timeout_ms * 1000;
    SSL *ssl = SSL_new(context);
    ssize_t n;

    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
        (tls_options.resume != NULL && SSL_set_session(ssl, tls_options.resume) != 1)) {
        SSL_free(ssl);
        return NULL;
    }
    while ((n = as_system_call(ssl, SSL_connect(ssl))) <= 0) {
        struct pollfd p = {.fd = fd, .events = SSL_want_write(ssl) ? POLLOUT : POLLIN};
        int64_t left_ms = (end_us - util_now_us() + 999) / 1000;

        if (n == 0 || errno != EAGAIN || left_ms <= 0 || poll(&p, 1, (int)left_ms) <= 0) {
            SSL_free(ssl);
            errno = EPROTO;
            return NULL;
        }
    }
    return ssl;
}

void http_tls_close(SSL *ssl, bool quiet)
{
    if (!quiet)
        (void)SSL_shutdown(ssl);
    ERR_clear_error();
    SSL_free(ssl);
}
