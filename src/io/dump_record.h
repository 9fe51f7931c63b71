/*
 * dump_record: what dump, in the worker, tells dump_writer, in a process of its own, through dump_queue.
 *
 * A record is a struct dump_record and, behind it, bytes. Records of one attempt have the same slot; after
 * its END the slot may begin another one. Pointers are good in both processes: what they point to was there
 * before the fork.
 */
#ifndef CLAVIGER_IO_DUMP_RECORD_H
#define CLAVIGER_IO_DUMP_RECORD_H

#include <stdint.h>

enum dump_kind {
    DUMP_BEGIN, /* struct dump_begin_record; name part, id and head follow, the first two with their NUL */
    DUMP_REQUEST_BODY,  /* bytes */
    DUMP_REQUEST_FILE,  /* struct dump_file_record: the whole body */
    DUMP_REQUEST_END,   /* nothing */
    DUMP_RESPONSE_HEAD, /* bytes of the head */
    DUMP_RESPONSE_BODY, /* bytes */
    DUMP_ERROR,         /* why there was no response */
    DUMP_END,           /* nothing */
};

/* Flags of DUMP_BEGIN and DUMP_RESPONSE_HEAD. */
#define DUMP_JSON 1U /* the body is JSON, if it is one */
#define DUMP_GZIP 2U /* it has to be decoded; it is not masked */

/* Flags of DUMP_END: where something is missing because the queue was full. */
#define DUMP_CUT_REQUEST  1U
#define DUMP_CUT_RESPONSE 2U
#define DUMP_CUT_ERROR    4U

struct dump_record {
    uint16_t kind; /* enum dump_kind */
    uint16_t flags;
    uint32_t slot;
};

struct dump_begin_record {
    struct dump_record record;
    uint32_t attempt;
    uint32_t part_size; /* of the name part, NUL included */
    uint32_t id_size;
    int64_t now_real_ms;
    const char *provider; /* its name; lives as long as the configuration */
    const struct secret *key;
};

struct dump_file_record {
    struct dump_record record;
    uint32_t number; /* that of its descriptor in the socket, where it is before this is in the queue */
    int64_t len;
};

#endif
