/*
 * dump_writer: the process that turns records into files.
 *
 * It is a process so that the worker stays one without threads, and so that what parses the bodies reaches no
 * more than new files (sandbox_enter_writer()). When the worker dies it writes what is in the queue, and
 * ends. How it fares is seen from outside by dump_writer_news(): the log is the worker's.
 */
#ifndef CLAVIGER_IO_DUMP_WRITER_H
#define CLAVIGER_IO_DUMP_WRITER_H

#include "io/dump_queue.h"

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct dump_writer;

struct dump_writer_options {
    struct dump_queue *queue;
    const char *dir;
    int64_t file_size;
    _Atomic uint64_t *written; /* bytes; shared memory; NULL = nowhere */
    _Atomic uint64_t
        *skipped;      /* attempts that could not be written, or not to the end; shared; NULL = nowhere */
    const char *title; /* of the process; NULL = as this one */
    bool sandbox;
};

/* Forks: see companion_start(). NULL with errno. */
struct dump_writer *dump_writer_new(const struct dump_writer_options *options);

/* Has it write what is in the queue and end, and frees it. False when that took more than timeout_ms: then it
 * ends with this process at the latest. */
bool dump_writer_end(struct dump_writer **writer, int timeout_ms);

/* The same without the end: whether it has written everything. It may be asked again. */
bool dump_writer_finish(struct dump_writer *writer, int wait_ms);

/* Hands a descriptor over, which stays the caller's too, for a DUMP_REQUEST_FILE with that number. False when
 * there are too many on their way. */
bool dump_writer_give(struct dump_writer *writer, int fd, uint32_t *number);

/* Whether there is news: *error is what began to go wrong (an errno), with a path, or 0 when files are
 * written again. */
bool dump_writer_news(struct dump_writer *writer, int *error, char path[PATH_MAX]);

/* Whether it has died; *wait_status is how. */
bool dump_writer_has_ended(struct dump_writer *writer, int *wait_status);

/* How many ENDs without a flag it has taken. */
uint64_t dump_writer_done(const struct dump_writer *writer);

#endif
