/*
 * dump_writer: the thread that turns records into files.
 *
 * How it fares is seen from outside by dump_writer_trouble(): the log is not the thread's.
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
    _Atomic uint64_t *written;    /* bytes; NULL = nowhere */
    _Atomic uint64_t *skipped;    /* attempts that could not be written, or not to the end; NULL = nowhere */
    _Atomic uint32_t *open_files; /* descriptors in the queue: one less when one is closed */
};

/* Starts the thread. options and what it names must outlive it. NULL with errno. */
struct dump_writer *dump_writer_new(const struct dump_writer_options *options);

/* Has it write what is in the queue and end, and frees it. False when that took more than timeout_ms: then
 * the thread lives on, writes no further record, and all that it was given has to stay. */
bool dump_writer_end(struct dump_writer **writer, int timeout_ms);

/* Whether there is news: *error is what began to go wrong (an errno), with a path, or 0 when files are
 * written again. Called by one thread. */
bool dump_writer_news(struct dump_writer *writer, int *error, char path[PATH_MAX]);

#endif
