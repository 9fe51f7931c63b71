/*
 * upstream_tls: bytes over the TLS connections that libcurl has made. At first through the library; once an
 * answer has come whole, straight through OpenSSL on the connection's socket: the library looks through all
 * of its connections at each call and asks the socket twice for every record.
 *
 * The library hands out its session (CURLINFO_TLS_SSL_PTR), but between its own transport and the session
 * stands a BIO that works inside its calls only. It is replaced by one of the socket. When it closes the
 * connection, the library uses whatever BIO is there. It learns nothing of session tickets that come later
 * than with the first answer.
 */
#include "worker/upstream_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* Leans on what the library keeps to itself: for versions that it was tried with. 0: always through it. */
#ifndef DIRECT_TLS
#define DIRECT_TLS (LIBCURL_VERSION_NUM >= 0x075801 && LIBCURL_VERSION_NUM < 0x075900)
#endif

#define RECORD_BYTES (16 * 1024)

static ssize_t broken_off(struct link *link)
{
    return link_broken(link, "its connection ended in the middle of the TLS session");
}

/* NULL with another TLS library than OpenSSL behind the library. */
static SSL *session_of(const struct link *link)
{
    const struct curl_tlssessioninfo *info = NULL;
    if (curl_easy_getinfo(link->easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == NULL ||
        info->backend != CURLSSLBACKEND_OPENSSL)
        return NULL;
    return info->internals;
}

bool link_may_go_direct(void)
{
    return DIRECT_TLS && curl_version_info(CURLVERSION_NOW)->version_num == LIBCURL_VERSION_NUM;
}

static void go_direct(struct link *link, SSL *session)
{
    BIO *socket = BIO_new_socket(link->fd, BIO_NOCLOSE);
    if (socket == NULL) {
        ERR_clear_error();
        return;
    }
    SSL_set_bio(session, socket, socket);
    SSL_set_read_ahead(session, 1); /* a record's head and its rest in one call */
    (void)SSL_set_mode(session, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    link->session = session;
}

/* So that what stands there after a call is this call's. Clearing costs more than to look. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
    errno = 0;
}

/* What a call that did not succeed means. */
static ssize_t judge(struct link *link, int result)
{
    int error = errno;
    unsigned long reason = ERR_peek_error();
    switch (SSL_get_error(link->session, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return LINK_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return error == 0 ? broken_off(link) : link_broken(link, strerror(error));
    default:
        if (ERR_GET_REASON(reason) == SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return broken_off(link);
        ERR_error_string_n(reason, link->error, sizeof link->error);
        return LINK_BROKEN;
    }
}

static ssize_t send_direct(struct link *link, const char *data, size_t len)
{
    size_t sent = 0;
    forget_errors();
    int result = SSL_write_ex(link->session, data, len, &sent);
    if (result == 1)
        return (ssize_t)sent;
    ssize_t verdict = judge(link, result);
    return verdict == 0 ? broken_off(link) : verdict;
}

static ssize_t receive_direct(struct link *link, char *out, size_t max)
{
    size_t got = 0;
    forget_errors();
    int result = SSL_read_ex(link->session, out, max, &got);
    return result == 1 ? (ssize_t)got : judge(link, result);
}

static ssize_t told(struct link *link, CURLcode code)
{
    return link->error[0] != '\0' ? LINK_BROKEN : link_broken(link, curl_easy_strerror(code));
}

ssize_t link_send_tls(struct link *link, const char *data, size_t len)
{
    size_t sent = 0;
    link->error[0] = '\0';
    if (len > RECORD_BYTES) /* more than one at a time would show no progress until all of it went */
        len = RECORD_BYTES;
    if (link->session != NULL)
        return send_direct(link, data, len);
    CURLcode code = curl_easy_send(link->easy, data, len, &sent);
    if (code == CURLE_AGAIN)
        return LINK_AGAIN;
    return code == CURLE_OK ? (ssize_t)sent : told(link, code);
}

/* The library tells an end that TLS announced (RFC 8446 section 6.1) from a connection that is just over in
 * no way. With another TLS library than OpenSSL behind it every such end counts as a cut. */
static bool ended_properly(const struct link *link)
{
    const SSL *session = session_of(link);
    return session != NULL && (SSL_get_shutdown(session) & SSL_RECEIVED_SHUTDOWN) != 0;
}

ssize_t link_receive_tls(struct link *link, char *out, size_t max)
{
    size_t got = 0;
    link->error[0] = '\0';
    if (link->session != NULL)
        return receive_direct(link, out, max);
    CURLcode code = curl_easy_recv(link->easy, out, max, &got);
    if (code == CURLE_AGAIN)
        return LINK_AGAIN;
    if (code == CURLE_OK && got == 0 && !ended_properly(link))
        return broken_off(link);
    return code == CURLE_OK ? (ssize_t)got : told(link, code);
}

bool link_has_read_more(const struct link *link)
{
    return link->tls && (link->session == NULL || SSL_has_pending(link->session) != 0);
}

bool link_rest_tls(struct link *link)
{
    SSL *session = link->session != NULL ? link->session : session_of(link);
    char byte;
    bool pending = session != NULL && SSL_has_pending(session) != 0;
    /* It may be something that TLS has to say. */
    if (pending && link_receive_tls(link, &byte, 1) != LINK_AGAIN)
        return false;
    if (session != NULL && link->session == NULL && link_may_go_direct())
        go_direct(link, session);
    link->holds = pending || link->session == NULL;
    return true;
}
