/*
 * dump: writes every attempt to files of its own, in HTTP's form, for whoever wants to see what went over the
 * wire:
 *
 *     DIR/PROVIDER/passthrough/UNIXMS-PATH-ID.req.txt          the request as it was sent
 *     DIR/PROVIDER/passthrough/UNIXMS-PATH-ID.resp.txt         its response, written as it comes
 *     DIR/PROVIDER/passthrough/UNIXMS-PATH-ID.req_error.txt    why there was none
 *
 * PATH is the upstream's path with "-" for "/" and for what is no letter, digit, dot, hyphen or underscore;
 * ID is the request id and the attempt's number. Header fields are sorted by name; those that hold
 * credentials show a hint (key_hint()). JSON bodies are indented, gzip bodies decoded. Files have mode 0600,
 * directories 0700; a file ends at file_size bytes of body.
 *
 * A dump is never in the way of a request: what cannot be written is skipped, and the log says so once.
 */
#ifndef CLAVIGER_IO_DUMP_H
#define CLAVIGER_IO_DUMP_H

#include "core/provider.h"
#include "core/response_head.h"
#include "io/spool.h"

#include <stdbool.h>
#include <stdint.h>

struct dump;         /* of one process */
struct dump_attempt; /* the files of one attempt */

struct dump_options {
    const char *dir;                       /* must exist */
    int64_t file_size;                     /* bytes of a body in one file */
    const struct provider_list *providers; /* whose credential headers are masked */
};

#define DUMP_CHUNKED (-1)
#define DUMP_NO_BODY (-2)

struct dump_request {
    const struct provider *provider;
    const char *id; /* of the client's request */
    unsigned attempt;
    const char *method;
    const char *target;
    const struct header_list *headers; /* but for Host, framing and the pool's key */
    const char *key_hint;              /* of the pool's key; NULL = none was added */
    const struct spool *spool;         /* the whole body; NULL = it comes by dump_request_body() */
    int64_t body_length;               /* or DUMP_CHUNKED, DUMP_NO_BODY */
};

/* options and what it names must outlive it. NULL when out of memory. */
struct dump *dump_new(const struct dump_options *options);
void dump_free(struct dump **dump);

/* Begins an attempt. NULL when it cannot be written; every other function takes that NULL and does nothing.
 */
struct dump_attempt *dump_begin(struct dump *dump, const struct dump_request *request, int64_t now_real_ms);

void dump_request_body(struct dump_attempt *attempt, const char *data, size_t len);
void dump_response_head(struct dump_attempt *attempt, const struct response_head *head);
void dump_response_body(struct dump_attempt *attempt, const char *data, size_t len);

/* The attempt is over. error: why it failed, NULL = it did not. *attempt becomes NULL. */
void dump_end(struct dump_attempt **attempt, const char *error);

/* Removes the oldest of the files above below dir, until those that are left have at most dir_size bytes
 * together. Called by one process only, now and then. Returns how many files it removed. */
size_t dump_trim(const char *dir, int64_t dir_size);

#endif
