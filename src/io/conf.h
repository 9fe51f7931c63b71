/*
 * conf: the configuration file, read with libconfuse into one immutable struct.
 *
 * Every error names its place: "FILE:LINE: what and what to do". The syntax and the meaning of every option
 * stand in claviger.conf(5). Only this module includes <confuse.h>.
 */
#ifndef CLAVIGER_IO_CONF_H
#define CLAVIGER_IO_CONF_H

#include "base/buf.h"
#include "base/log.h"
#include "core/client.h"
#include "core/provider.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

/* One listening address, ready for bind(). */
struct conf_listen {
    char *text; /* as configured: "127.0.0.1:8080", "[::1]:8080", "unix:/run/claviger-http.sock" */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    bool plain; /* "plain:" stood before it */
    bool tls;   /* clients speak TLS there */
};

struct conf_listens {
    struct conf_listen *items;
    size_t count;
};

enum conf_client_auth { CONF_CLIENT_AUTH_NONE, CONF_CLIENT_AUTH_OPTIONAL, CONF_CLIENT_AUTH_REQUIRED };

#define CONF_TICKET_KEY_SIZE 64

struct conf_tls {
    char *certificate; /* paths; "" = none */
    char *key;
    char *client_ca;
    enum conf_client_auth client_auth;
    /* What the files hold, in PEM; all of it NULL without a certificate. */
    char *chain_pem; /* our own certificate, then its issuers */
    struct secret *key_pem;
    char *client_ca_pem; /* NULL = no client is asked for a certificate */
    unsigned char
        ticket_key[CONF_TICKET_KEY_SIZE]; /* all workers of this configuration resume by it; secret */
};

struct conf {
    char *file; /* where it was read from; NULL = built-in defaults */
    struct conf_listens listens;
    struct conf_listens admin_listens;
    char *admin_token; /* the token's SHA-256 in lower-case hexadecimal; "" = keys cannot be changed there */
    unsigned workers;  /* as configured: 0 = one per CPU this process may use */
    char *user;        /* "" = stay who we are */
    char *state_db;
    unsigned state_db_line; /* where `file` names it; 0 = it does not */
    char *pid_file;
    char *control;
    char *clients_file;          /* "" = none */
    struct client_list *clients; /* what is in it; NULL = no such file, or the paths alone were asked for */
    char *user_agent;
    int64_t watchdog_ms;
    bool usage;          /* token counts are read from responses */
    unsigned usage_days; /* they are kept in the database so long; 0 = for ever */
    bool allow_anonymous;
    bool sandbox; /* children may only use the system calls that they need */
    struct provider_list providers;
    struct {
        char *target; /* "stderr", "syslog" or an absolute path */
        enum log_format format;
        enum log_level level;
        bool access;
    } log;
    struct {
        int64_t request_body;         /* bytes */
        int64_t buffer_memory;        /* bytes */
        int64_t header_size;          /* bytes */
        int64_t connections;          /* per worker */
        int64_t connections_per_peer; /* per worker; 0 = no limit */
        int64_t body_rate;            /* bytes per second, over each body_window; 0 = none is too slow */
        int64_t body_window_ms;
        int64_t head_timeout_ms;
        int64_t client_timeout_ms;
        int64_t shutdown_timeout_ms;
    } limits;
    struct {
        char *dir;         /* "" = nothing is dumped */
        int64_t file_size; /* bytes */
        int64_t dir_size;  /* bytes */
    } dump;
    struct {
        char *endpoint;   /* an http or https URL; "" = nothing is traced */
        char *share_text; /* as configured */
        double share;     /* of the requests without a trace of their own: 0 to 1 */
    } trace;
    struct conf_tls tls;
};

/*
 * Reads and checks `file`, keys and clients included. NULL as file: the built-in defaults, keys from the
 * environment. On failure NULL is returned and `errors` holds one or more lines, each "FILE:LINE: what and
 * what to do\n" (without a file: "built-in defaults: …\n"); no key is ever part of it.
 */
struct conf *conf_load(const char *file, struct buf *errors);

/*
 * For clavigerctl, which needs no key and has to work beside a file that the daemon refuses: key files, the
 * keys' variables and the file of clients are not looked at, every provider has key_count 0. Errors are told
 * as by conf_load(), but with them too the result has state_db and control, as the file gives them or else
 * the defaults. NULL only when the file cannot be read at all (or out of memory).
 */
struct conf *conf_load_paths(const char *file, struct buf *errors);

/* What is read when nothing else is named: SYSCONFDIR/claviger/claviger.conf, or NULL (built-in defaults)
 * when there is no such file. */
const char *conf_default_file(void);

/* "libConfuse/3.3" */
const char *conf_library_version(void);

/* Wipes the keys and frees everything; *conf becomes NULL. NULL is allowed. */
void conf_free(struct conf **conf);

/* Writes the effective configuration in the file's own syntax, every default included, keys as hints (-T).
 * What is written can be read again, but for the keys and a base URL's query. */
void conf_print(const struct conf *conf, struct buf *out);

/* Appends "FILE:LINE: " when the file names state_db: the begin of a message about it. */
void conf_put_state_db_place(const struct conf *conf, struct buf *out);

/* The number of workers to run: as configured, or one per CPU of this process's affinity mask; at least 1. */
unsigned conf_worker_count(const struct conf *conf);

#endif
