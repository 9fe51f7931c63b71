/*
 * log: the daemon's log. One per process, set up by the master before it forks and inherited.
 *
 * Text format, a line a message:
 *     2026-11-22T17:00:00.123Z warning worker 0[4711]: message
 * JSON format: {"time":…,"level":…,"process":…,"pid":…,"message":…}.
 * A message never holds a key or a token; control bytes in it are written as \xHH. One over LOG_MESSAGE_MAX
 * bytes is cut and ends in "...".
 *
 * Writing never waits: what a full pipe, socket or disk does not take is dropped and counted, and "N log
 * lines were dropped" follows once there is room again. SIGPIPE must be ignored. errno is kept.
 */
#ifndef CLAVIGER_BASE_LOG_H
#define CLAVIGER_BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define LOG_MESSAGE_MAX 8192

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_options {
    const char *target; /* "stderr", "syslog" or an absolute path; borrowed during the call */
    enum log_format format;
    enum log_level level; /* what is less urgent is not written */
};

/* Before the first call everything goes to stderr as text from LOG_LEVEL_INFO on. On failure the log stays as
 * it was; *reason is a static text. 0 or -1. */
int log_open(const struct log_options *options, const char **reason);

/* Opens the target again (after a file was renamed, or stderr was pointed elsewhere). 0, or -1 with errno and
 * the old one kept. */
int log_reopen(void);

/*
 * Whom log files belong to that root opens (now and later), so that a process that has dropped to that user
 * can open them again. -1 leaves that part. Without root it does nothing.
 */
void log_set_owner(uid_t owner, gid_t group);

/* The descriptor that the log holds open, -1 = none. Whoever closes descriptors after a fork leaves it open.
 */
int log_fd(void);

/* Who speaks from here on: "master", "worker 0", "admin". Copied. */
void log_set_process(const char *name);

/* Where every dropped line is counted too, for good: shared memory, so that it is one number for all
 * processes. Kept over a fork; NULL = nowhere. */
void log_set_dropped_counter(_Atomic uint64_t *counter);

enum log_format log_get_format(void);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Writes whole lines (len bytes that end with a newline) to the target as they are; the request log's way.
 * syslog gets them a line a message. */
void log_raw(const char *lines, unsigned long len);

/* Where the system's log daemon listens, "/dev/log"; tests point it at a socket of their own. */
extern const char *log_syslog_path;

#endif
