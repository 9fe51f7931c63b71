/*
 * access: the request log, a line a request. Lines are gathered and leave together: after at most
 * ACCESS_DELAY_MS or ACCESS_BATCH bytes, whichever is first.
 *
 * Text: fields separated by one space, in the order of the struct, "-" for what there is none of. JSON
 * (log.format): an object a line with the fields' names. claviger.conf(5) lists them.
 */
#ifndef CLAVIGER_IO_ACCESS_H
#define CLAVIGER_IO_ACCESS_H

#include "base/log.h"
#include "core/usage.h"

#include <stdbool.h>
#include <stdint.h>

#define ACCESS_DELAY_MS 50
#define ACCESS_BATCH    (64 * 1024)

struct access_record {
    int64_t time_real_ms; /* when the request began */
    const char *id;       /* the request id */
    const char *client;   /* its name when a token told it, else the peer's address, or "unix" */
    const char *provider; /* NULL = none */
    const char *method;
    const char *path;      /* the target without its query */
    int status;            /* what the client got; 499 = it left before there was an answer */
    unsigned attempts;     /* upstream requests */
    const char *key;       /* hint of the key used last, "byok", NULL = none */
    int64_t first_byte_ms; /* from the begin to the first response byte; -1 = there was none */
    int64_t total_ms;
    uint64_t bytes_in;  /* request body */
    uint64_t bytes_out; /* response body */
    const char *error;  /* claviger's error code, "client_closed", "upstream_cut", NULL = none */
    const char
        *upstream_id; /* the provider's own id of the request; NULL = it sent none, and there is no field */
    /* Not in the line: */
    long provider_index;       /* in the configuration, -1 = none */
    const char *token_name;    /* of the client whose token it carried, NULL = none */
    const struct usage *usage; /* what the provider reported, NULL = nothing */
    bool walked;               /* it walked the pool of the provider */
};

/* Formats one record as a line; what access_log() writes. */
struct buf;
void access_format(struct buf *out, const struct access_record *record, enum log_format format);

void access_log(const struct access_record *record, int64_t now_mono_ms);

/* Writes what is due. Returns the monotonic time of the next flush, INT64_MAX when nothing waits. */
int64_t access_flush(int64_t now_mono_ms, int force);

#endif
