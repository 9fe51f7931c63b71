/*
 * fake: a provider that does what a test tells it to, on real sockets, one thread a connection. Independent
 * of the libraries that the daemon uses for HTTP.
 *
 * A test starts it inside its own process (Check runs each test in a child of its own), adds rules and asks
 * afterwards what came in. Rules are asked in the order in which they were added; the first that matches and
 * is not used up answers. Without one: 200 with the body "ok".
 */
#ifndef E2E_FAKE_H
#define E2E_FAKE_H

#include "e2e/message.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake;

enum fake_action {
    FAKE_ANSWER, /* a response */
    FAKE_API,    /* the response of the real API to this path: JSON, or events when the request says
                    "stream":true */
    FAKE_RAW,    /* `body` goes out byte for byte in place of a response, then the connection ends */
    FAKE_HANG,   /* the request is read and nothing is said */
    FAKE_RESET,  /* the connection is reset (RST) */
    FAKE_CLOSE,  /* the connection is closed (FIN) */
};

enum fake_framing {
    FAKE_LENGTH,
    FAKE_CHUNKED,
    FAKE_UNTIL_CLOSE,
    FAKE_UNFRAMED /* no framing field, no body */
};

enum fake_cut { FAKE_WHOLE, FAKE_CUT_FIN, FAKE_CUT_RST, FAKE_CUT_STALL /* says nothing more */ };

/* When the request's body is read. One that is never read keeps the connection open, at most half-closed,
 * until the peer leaves. */
enum fake_reading { FAKE_READ_FIRST, FAKE_READ_AFTER, FAKE_READ_NEVER };

/* A zeroed struct is a 200 with an empty body. Strings are borrowed until fake_stop(). */
struct fake_answer {
    enum fake_action action;
    int status;          /* 0 = 200 */
    const char *headers; /* lines "Name: value\r\n" */
    const char *interim; /* goes out byte for byte before the head */
    const void *body;
    size_t body_len; /* 0 = the length of the string at body */
    enum fake_framing framing;
    int delay_ms;      /* before the head */
    unsigned events;   /* in place of body: so many server-sent events, see FAKE_EVENT */
    int interval_ms;   /* before each event but the first */
    bool endless;      /* in place of body: bytes without an end */
    enum fake_cut cut; /* what happens after cut_after bytes of the body (or so many events) */
    size_t cut_after;
    enum fake_reading reading;
    bool close; /* the connection is closed after the answer, without a word about it in the head */
};

/* An event's text: its number from 0 and util_now_us() when it was handed to the socket. */
#define FAKE_EVENT "data: {\"n\":%u,\"sent_us\":%lld}\n\n"

struct fake_options {
    const char *certificate; /* PEM files: TLS is spoken when both are given */
    const char *private_key;
    const char *log_path; /* a line a request: number, connection, key, method, target, status; NULL = none */
};

/* Listens on 127.0.0.1; options may be NULL. NULL when that fails. */
struct fake *fake_start(const struct fake_options *options);

/* Ends all connections, waits for all threads and frees everything, the records too. */
void fake_stop(struct fake **fake);

unsigned fake_port(const struct fake *fake);

/* "http://127.0.0.1:PORT" or "https://…", valid until fake_stop(). */
const char *fake_url(const struct fake *fake);

enum fake_match { FAKE_ANY, FAKE_KEY, FAKE_NUMBER };

/* For requests with that key; for the request of that number (from 1); for all. The answer is copied. */
void fake_on_key(struct fake *fake, const char *key, const struct fake_answer *answer);
void fake_on_number(struct fake *fake, unsigned number, const struct fake_answer *answer);
void fake_on_any(struct fake *fake, const struct fake_answer *answer);

/* The general form: used up after `times` requests, 0 = never. key and number as the match needs them. */
void fake_rule(struct fake *fake, enum fake_match match, const char *key, unsigned number,
               const struct fake_answer *answer, unsigned times);

/* Forgets all rules. */
void fake_forget_rules(struct fake *fake);

/* A request as it came. What is here does not change any more once the request was recorded (its head was
 * read). */
struct fake_request {
    unsigned number;     /* from 1 */
    unsigned connection; /* from 1 */
    struct message_head head;
    char *method;
    char *target;
    char *key; /* X-Api-Key, or Authorization without "Bearer "; "" for none */
    bool chunked;
    int64_t head_us;
};

/* How far it is. */
struct fake_progress {
    size_t body_len;      /* request body so far, decoded */
    bool complete;        /* the whole body was read */
    bool answered;        /* the answer was written, cut or not */
    int64_t abandoned_us; /* when the peer was found gone before the answer was written; 0 = it was not */
    uint64_t sent;        /* bytes of the response that the socket took */
};

/* Waits until so many requests were recorded; false after timeout_ms. */
bool fake_wait_requests(struct fake *fake, unsigned count, int timeout_ms);

/* Waits until the request's body was read whole, until its answer was written or given up, until its peer
 * left. */
bool fake_wait_complete(struct fake *fake, unsigned number, int timeout_ms);
bool fake_wait_abandoned(struct fake *fake, unsigned number, int timeout_ms);

unsigned fake_requests(struct fake *fake);
unsigned fake_requests_with_key(struct fake *fake, const char *key);
unsigned fake_connections(struct fake *fake);

/* The record of that number, valid until fake_stop(); NULL when there is none. */
const struct fake_request *fake_request(struct fake *fake, unsigned number);

/* 0, or -1 when there is no such request. */
int fake_progress(struct fake *fake, unsigned number, struct fake_progress *out);

/* Whether the request's decoded body is just that. */
bool fake_body_is(struct fake *fake, unsigned number, const void *data, size_t len);

/* The request's decoded body as text, freed by the caller; NULL when there is no such request. */
char *fake_body(struct fake *fake, unsigned number);

/*
 * Reads rules from a file, a rule a line; blank lines and # comments are skipped:
 *     key KEY ANSWER [OPTION…]      number N ANSWER [OPTION…]      default ANSWER [OPTION…]
 * ANSWER is a status, or api (what the real API says), hang, reset, close. A status of 400 and more has an
 * error body in the API's shape. OPTIONs: NAME=VALUE of times, delay (ms), cut (bytes or events), events,
 * interval (ms); every other NAME=VALUE becomes a response header. 0, or -1 with the reason on stderr.
 */
int fake_script(struct fake *fake, const char *path);

#endif
