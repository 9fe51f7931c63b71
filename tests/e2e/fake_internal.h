/*
 * fake_internal: what the files of the fake provider share. No test includes this.
 */
#ifndef E2E_FAKE_INTERNAL_H
#define E2E_FAKE_INTERNAL_H

#include "e2e/fake.h"

#include <openssl/ssl.h>
#include <pthread.h>

struct fake_entry {
    struct fake_request request;
    struct fake_progress progress;
    struct buf body;
};

struct fake_rule_entry {
    enum fake_match match;
    char *key;
    unsigned number;
    unsigned left; /* 0 = used up */
    struct fake_answer answer;
};

struct fake_conn {
    struct fake *fake;
    struct fake_conn *next;
    pthread_t thread;
    unsigned number;
    int fd;
    SSL *ssl;      /* NULL = plain */
    struct buf in; /* read and not yet used */
};

struct fake {
    pthread_mutex_t lock; /* guards everything below that changes */
    pthread_cond_t changed;
    int listen_fd;
    int stop_fd; /* an eventfd, readable from the beginning of the stop on */
    int log_fd;
    unsigned port;
    char url[64];
    SSL_CTX *tls;
    pthread_t acceptor;
    struct fake_conn *conns;
    unsigned conn_count;
    struct fake_entry **entries;
    unsigned count;
    struct fake_rule_entry *rules;
    unsigned rule_count;
    char **owned; /* strings of a script */
    unsigned owned_count;
};

/* A connection's thread. */
void *fake_conn_main(void *conn);

/* Records a request; returns its entry, which stays in place. Takes over *head. */
struct fake_entry *fake_record(struct fake_conn *conn, struct message_head *head);

/* The answer for it; counts the rule as used. */
void fake_choose(struct fake *fake, const struct fake_entry *entry, struct fake_answer *out);

void fake_log(struct fake *fake, const struct fake_entry *entry, int status);

/* Fills the answer of FAKE_API, and the error body of a scripted status. What it makes lives in `made`, which
 * the caller finishes. */
void fake_api_answer(struct fake_answer *answer, const struct fake_entry *entry, struct buf *made);

#endif
