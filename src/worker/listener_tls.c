/*
 * listener_tls: clients that speak TLS. libmicrohttpd has a daemon of its own for them, whose sessions
 * (GnuTLS) are set up here, and looked after while they shake hands. Called by the listener; only this file
 * includes <gnutls/...>.
 *
 * While a handshake waits for the client its connection is suspended: the library takes such a connection for
 * one that has something to read, and would turn at full speed until the client says something.
 */
#include "worker/listener_internal.h"

#include "base/log.h"
#include "base/secret.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* TLS 1.2 and 1.3, forward secrecy and authenticated encryption only, no SHA-1. */
#define PRIORITIES                                                                                           \
    "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-RSA:-DHE-RSA:-GROUP-DH-ALL:-AES-128-CCM:-AES-256-CCM:"   \
    "-MAC-ALL:+AEAD:%SERVER_PRECEDENCE"

#define WATCHED (EPOLLIN | EPOLLRDHUP | EPOLLET)

struct connection_tls {
    struct connection *connection;
    struct MHD_Connection *mhd;
    gnutls_session_t session;    /* the library's; gone when it tells that the connection is closed */
    struct connection_tls *prev; /* in the list of those that shake hands */
    struct connection_tls *next;
    bool shaking;
    bool suspended; /* until the client says something */
    bool admitted;  /* its certificate is good, or it needs none */
    bool refused;   /* and logged */
};

struct listener_tls {
    struct listener *listener;
    struct MHD_Daemon *daemon;
    struct loop_watch watch;
    bool pending;
    struct connection_tls *shaking;
};

/* ---- handshakes */

static void leave_list(struct connection_tls *tls)
{
    struct listener_tls *all = tls->connection->listener->tls;
    if (!tls->shaking)
        return;
    tls->shaking = false;
    if (tls->prev != NULL)
        tls->prev->next = tls->next;
    else
        all->shaking = tls->next;
    if (tls->next != NULL)
        tls->next->prev = tls->prev;
}

static void wait_for_client(struct connection_tls *tls)
{
    struct connection *connection = tls->connection;
    bool sending = gnutls_record_get_direction(tls->session) != 0;
    tls->suspended = true;
    MHD_suspend_connection(tls->mhd);
    (void)loop_watch_change(connection->listener->loop, &connection->watch,
                            sending ? WATCHED | EPOLLOUT : WATCHED);
}

static void go_on(struct connection_tls *tls)
{
    if (!tls->suspended)
        return;
    tls->suspended = false;
    MHD_resume_connection(tls->mhd);
    tls->connection->listener->tls->pending = true;
}

/* After the library has turned: who has shaken hands, and who has to wait. Those that failed are gone. */
static void settle(struct listener_tls *all)
{
    struct connection_tls *next;
    for (struct connection_tls *tls = all->shaking; tls != NULL; tls = next) {
        next = tls->next;
        if (tls->suspended)
            continue;
        char *description = gnutls_session_get_desc(tls->session); /* NULL until the handshake is complete */
        if (description == NULL) {
            wait_for_client(tls);
            continue;
        }
        log_debug("client %s speaks TLS: %s%s", tls->connection->peer, description,
                  gnutls_session_is_resumed(tls->session) ? ", resumed" : "");
        gnutls_free(description);
        (void)loop_watch_change(tls->connection->listener->loop, &tls->connection->watch, WATCHED);
        leave_list(tls);
    }
}

/* ---- certificates of clients */

static struct connection_tls *of_session(gnutls_session_t session)
{
    struct MHD_Connection *mhd = gnutls_session_get_ptr(session); /* the library puts it there */
    struct connection *connection =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    return connection->tls;
}

/* The end of a handshake. The library tells the client nothing of the reason, so we do, and see to it that it
 * can be read: what the client may have sent already would reset the connection. */
static int refuse(struct connection_tls *tls, gnutls_alert_description_t alert, const char *why)
{
    log_info("client %s is refused: %s", tls->connection->peer, why);
    tls->refused = true;
    (void)gnutls_alert_send(tls->session, GNUTLS_AL_FATAL, alert);
    (void)connection_keep_open(tls->connection);
    return GNUTLS_E_CERTIFICATE_ERROR;
}

/* Called within the handshake, when the client's certificate came, or none where one was asked for. 0 = go
 * on. */
static int judge_client(gnutls_session_t session)
{
    struct connection_tls *tls = of_session(session);
    const struct conf_tls *conf = &tls->connection->listener->options.conf->tls;
    static const char purpose[] = GNUTLS_KP_TLS_WWW_CLIENT;
    gnutls_typed_vdata_st wanted = {.type = GNUTLS_DT_KEY_PURPOSE_OID,
                                    .data = (unsigned char *)(uintptr_t)purpose,
                                    .size = 0};
    unsigned count = 0;
    unsigned status = 0;
    if (gnutls_certificate_get_peers(session, &count) == NULL || count == 0) {
        tls->admitted = conf->client_auth != CONF_CLIENT_AUTH_REQUIRED;
        if (tls->admitted)
            return 0;
        bool old = gnutls_protocol_get_version(session) < GNUTLS_TLS1_3;
        return refuse(tls, old ? GNUTLS_A_HANDSHAKE_FAILURE : GNUTLS_A_CERTIFICATE_REQUIRED,
                      "it shows no certificate, and client_auth requires one");
    }
    int rc = gnutls_certificate_verify_peers(session, &wanted, 1, &status);
    if (rc != GNUTLS_E_SUCCESS)
        return refuse(tls, GNUTLS_A_BAD_CERTIFICATE, gnutls_strerror(rc));
    tls->admitted = status == 0;
    if (tls->admitted)
        return 0;
    gnutls_datum_t text = {0};
    (void)gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0);
    rc = refuse(tls, GNUTLS_A_BAD_CERTIFICATE,
                text.data != NULL ? (const char *)text.data : "a bad certificate");
    gnutls_free(text.data);
    return rc;
}

/* ---- a connection's life */

struct connection_tls *connection_tls_new(struct connection *connection)
{
    struct connection_tls *tls = calloc(1, sizeof *tls);
    if (tls != NULL)
        tls->connection = connection;
    return tls;
}

void connection_tls_opened(struct connection *connection, struct MHD_Connection *mhd)
{
    struct connection_tls *tls = connection->tls;
    struct listener_tls *all = connection->listener->tls;
    const struct conf_tls *conf = &connection->listener->options.conf->tls;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    tls->mhd = mhd;
    tls->session = info->tls_session;
    tls->admitted = conf->client_auth == CONF_CLIENT_AUTH_NONE;
    tls->shaking = true;
    tls->next = all->shaking;
    if (all->shaking != NULL)
        all->shaking->prev = tls;
    all->shaking = tls;
    if (conf->client_auth == CONF_CLIENT_AUTH_NONE) {
        /* Not with certificates: what was resumed would outlive a certificate that has expired. */
        const gnutls_datum_t key = {.data = (unsigned char *)(uintptr_t)conf->ticket_key,
                                    .size = sizeof conf->ticket_key};
        (void)gnutls_session_ticket_enable_server(tls->session, &key);
    } else {
        /* Also when it is required: who sends none shall be told so, see judge_client(). */
        gnutls_certificate_server_set_request(tls->session, GNUTLS_CERT_REQUEST);
        gnutls_session_set_verify_function(tls->session, judge_client);
    }
}

void connection_tls_added(struct connection *connection)
{
    wait_for_client(connection->tls);
}

void connection_tls_wake(struct connection *connection)
{
    if (connection->tls != NULL)
        go_on(connection->tls);
}

bool connection_tls_admits(const struct connection *connection)
{
    return connection->tls == NULL || connection->tls->admitted;
}

void connection_tls_closed(struct connection *connection)
{
    struct connection_tls *tls = connection->tls;
    if (tls == NULL)
        return;
    if (tls->shaking && !tls->refused)
        log_debug("client %s: its TLS handshake failed, or was not complete in time", connection->peer);
    leave_list(tls);
    /* The library left it at the end of the TLS session. */
    if (connection->linger_fd >= 0)
        (void)shutdown(connection->linger_fd, SHUT_WR);
    free(tls);
    connection->tls = NULL;
}

/* ---- what is written past the library */

ssize_t connection_send(struct connection *connection, const void *data, size_t len)
{
    struct connection_tls *tls = connection->tls;
    if (tls == NULL)
        return send(connection->linger_fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    ssize_t sent = gnutls_record_send(tls->session, data, len);
    if (sent >= 0)
        return sent;
    errno = sent == GNUTLS_E_AGAIN ? EAGAIN : sent == GNUTLS_E_INTERRUPTED ? EINTR : EPIPE;
    return -1;
}

bool connection_end(struct connection *connection)
{
    struct connection_tls *tls = connection->tls;
    if (tls != NULL && !tls->shaking && gnutls_bye(tls->session, GNUTLS_SHUT_WR) == GNUTLS_E_AGAIN)
        return false;
    return true;
}

/* ---- the library's second daemon */

void connection_pend(struct connection *connection)
{
    if (connection->tls != NULL)
        connection->listener->tls->pending = true;
    else
        connection->listener->pending = true;
}

static void on_daemon_event(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    LOOP_OWNER(watch, struct listener_tls, watch)->pending = true;
}

bool listener_tls_turn(struct listener_tls *all)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    if (all == NULL || !all->pending)
        return false;
    all->pending = false;
    (void)MHD_run(all->daemon);
    settle(all);
    if (MHD_get_timeout(all->daemon, &timeout_ms) == MHD_YES && timeout_ms == 0)
        all->pending = true;
    return true;
}

void listener_tls_tick(struct listener_tls *all)
{
    if (all != NULL)
        all->pending = true;
}

struct MHD_Daemon *listener_tls_daemon(struct listener_tls *all)
{
    return all->daemon;
}

static bool is_wanted(const struct conf *conf)
{
    for (size_t i = 0; i < conf->listens.count; i++)
        if (conf->listens.items[i].tls)
            return true;
    return false;
}

int listener_tls_start(struct listener *listener)
{
    const struct conf *conf = listener->options.conf;
    if (!is_wanted(conf))
        return 0;
    if (MHD_is_feature_supported(MHD_FEATURE_TLS) != MHD_YES) {
        log_error("%s was built without TLS: remove tls.certificate, or install one with it",
                  listener_library_version());
        errno = ENOTSUP;
        return -1;
    }
    struct listener_tls *all = calloc(1, sizeof *all);
    if (all == NULL)
        return -1;
    all->listener = listener;
    all->watch.fn = on_daemon_event;
    all->watch.fd = -1;
    listener->tls = all;
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)(uintptr_t)secret_open(conf->tls.key_pem)},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, conf->tls.chain_pem},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)PRIORITIES},
        {conf->tls.client_ca_pem != NULL ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0,
         conf->tls.client_ca_pem},
        {MHD_OPTION_END, 0, NULL},
    };
    all->daemon = listener_start_daemon(listener, MHD_USE_TLS, options);
    if (all->daemon == NULL) {
        log_error("the certificate %s and its key %s cannot be used: GnuTLS does not take them, at level "
                  "debug the log says why",
                  conf->tls.certificate, conf->tls.key);
        return -1;
    }
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(all->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    return info == NULL ? -1 : loop_watch_add(listener->loop, &all->watch, info->epoll_fd, EPOLLIN);
}

void listener_tls_stop(struct listener *listener)
{
    struct listener_tls *all = listener->tls;
    if (all == NULL)
        return;
    for (struct connection_tls *tls = all->shaking; tls != NULL; tls = tls->next)
        go_on(tls);
    if (all->daemon != NULL) {
        (void)MHD_run(all->daemon);
        loop_watch_remove(listener->loop, &all->watch);
        MHD_stop_daemon(all->daemon);
    }
    free(all);
    listener->tls = NULL;
}

const char *listener_tls_library_version(void)
{
    static char text[64];
    (void)snprintf(text, sizeof text, "GnuTLS/%s", gnutls_check_version(NULL));
    return text;
}
