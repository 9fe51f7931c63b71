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
 * credentials show a hint (key_hint()); whatever repeats the pool's key is overwritten. JSON bodies are
 * indented, gzip bodies decoded. Files have mode 0600, directories 0700; a file ends at file_size bytes of
 * body.
 *
 * A dump is never in the way of a request: a process of its own writes it, fed through a queue of bounded
 * size. What finds no room in the queue or on the disk is left out, counted, and the log says so once. An
 * attempt that had begun is cut then, and its file says so. When that process dies nothing is dumped any
 * more, which is counted and told as well.
 */
#ifndef CLAVIGER_IO_DUMP_H
#define CLAVIGER_IO_DUMP_H

#include "core/provider.h"
#include "core/response_head.h"
#include "io/spool.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dump;         /* of one process */
struct dump_attempt; /* the files of one attempt */

struct dump_options {
    const char *dir;                       /* must exist */
    int64_t file_size;                     /* bytes of a body in one file */
    const struct provider_list *providers; /* whose credential headers are masked */
    _Atomic uint64_t *written;             /* bytes of files, added up; shared memory; NULL = nowhere */
    _Atomic uint64_t *skipped;             /* attempts left out or cut; shared memory; NULL = nowhere */
    size_t queue_size;                     /* bytes, a multiple of 32; 0 = DUMP_QUEUE_SIZE */
    const char *title;                     /* of the process that writes; NULL = as this one */
    bool sandbox;                          /* that process confines itself */
};

#define DUMP_QUEUE_SIZE ((size_t)8 * 1024 * 1024)

#define DUMP_CHUNKED (-1)
#define DUMP_NO_BODY (-2)

struct dump_request {
    const struct provider *provider;
    const char *id; /* of the client's request */
    unsigned attempt;
    const char *method;
    const char *target;
    const struct header_list *headers; /* but for Host, framing and the pool's key */
    const struct key *key;             /* of the pool; NULL = none was added */
    const struct spool *spool;         /* the whole body; NULL = it comes by dump_request_body() */
    int64_t body_length;               /* or DUMP_CHUNKED, DUMP_NO_BODY */
};

/* Forks the process that writes. Before it there must be what options names and the keys of all requests,
 * which it knows by their addresses; after it, whatever does not live through a fork, and this process's
 * sandbox. NULL with errno. */
struct dump *dump_new(const struct dump_options *options);

/* Has everything written that is not yet, within timeout_ms: what takes longer is lost. No attempt may be
 * under way. */
void dump_free(struct dump **dump, int timeout_ms);

/* Before that: whether everything is written, within wait_ms. Nothing may be begun any more; it may be asked
 * again. */
bool dump_finish(struct dump *dump, int wait_ms);

/* At the end of each of the loop's turns: what was begun or added reaches the other process now, and the log
 * hears how it fares. */
void dump_turn(struct dump *dump, int64_t now_mono_ms);

/* On SIGCHLD. */
void dump_child_ended(struct dump *dump);

/* Begins an attempt. NULL when it cannot be written; every other function takes that NULL and does nothing.
 */
struct dump_attempt *dump_begin(struct dump *dump, const struct dump_request *request, int64_t now_real_ms);

void dump_request_body(struct dump_attempt *attempt, const char *data, size_t len);
void dump_response_head(struct dump_attempt *attempt, const struct response_head *head);
void dump_response_body(struct dump_attempt *attempt, const char *data, size_t len);

/* The attempt is over. error: why it failed, NULL = it did not. *attempt becomes NULL. */
void dump_end(struct dump_attempt **attempt, const char *error);

/*
 * dump_trim keeps the files above below dir within dir_size bytes together: the oldest go first. Used by one
 * process only, in a thread of its own. written: what the writers of all processes have added so far; NULL =
 * not known.
 */
struct dump_trim;

/* What the arguments name must outlive it. NULL when out of memory. */
struct dump_trim *dump_trim_new(const char *dir, int64_t dir_size, _Atomic uint64_t *written);
void dump_trim_free(struct dump_trim **trim);

/* Looks after the directory, to be called every few seconds. Returns how many files were removed. */
size_t dump_trim_run(struct dump_trim *trim, int64_t now_mono_ms);

/* Does that in a thread. NULL with errno. */
struct dump_trimmer;
struct dump_trimmer *dump_trimmer_start(const char *dir, int64_t dir_size, _Atomic uint64_t *written);
void dump_trimmer_stop(struct dump_trimmer **trimmer);

/* How many files it has removed since the last call. */
size_t dump_trimmer_removed(struct dump_trimmer *trimmer);

#endif
