/*
 * dump_file: the files of one attempt, as dump.h describes them. What is written waits in memory until there
 * is enough of it, or dump_files_flush() is called.
 */
#ifndef CLAVIGER_IO_DUMP_FILE_H
#define CLAVIGER_IO_DUMP_FILE_H

#include "base/buf.h"
#include "io/dump_record.h"

#include <stdbool.h>
#include <stdint.h>

struct dump_files; /* of one attempt */

/* What became of the last thing that was to be written; shared by all attempts of one process. */
struct dump_outcome {
    void (*fn)(void *arg, const char *path, int error); /* error: an errno; 0 = it was written */
    void *arg;
};

struct dump_file_options {
    const char *dir;
    int64_t file_size;
    _Atomic uint64_t *written; /* every byte that is written is added; NULL = nowhere */
    struct dump_outcome outcome;
};

/* Makes .req.txt. part, id, head: of the record. NULL when it cannot be made. */
struct dump_files *dump_files_new(const struct dump_file_options *options,
                                  const struct dump_begin_record *begin, const char *part, const char *id,
                                  const char *head, size_t head_len);

void dump_files_request(struct dump_files *files, const char *data, size_t len);

/* The same with all that a file holds, the key masked; fd stays the caller's. */
void dump_files_request_file(struct dump_files *files, int fd, int64_t len);
void dump_files_request_end(struct dump_files *files);

/* Makes .resp.txt. flags: of the record. */
void dump_files_response_head(struct dump_files *files, unsigned flags, const char *head, size_t len);
void dump_files_response(struct dump_files *files, const char *data, size_t len);
void dump_files_error(struct dump_files *files, const char *error, size_t len);

/* Writes what waits; whether something did. */
bool dump_files_flush(struct dump_files *files);

/* Completes, closes and frees. flags: of DUMP_END. Whether everything went well. */
bool dump_files_end(struct dump_files **files, unsigned flags);

#endif
