/*
 * log: owns the process's log target. Called from everywhere but core. It never waits for a reader, never
 * ends the process, and writes a message with one system call.
 */
#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

/* Every byte of a message may become six (a JSON \u00XX); time, level, process and pid take the rest. */
#define LINE_MAX_SIZE (LOG_MESSAGE_MAX * 6 + 1024)
#define PROCESS_SIZE  64

enum target { TARGET_UNSET, TARGET_STDERR, TARGET_FILE, TARGET_SYSLOG };

/* How to write without ever waiting. */
enum way {
    WAY_WRITE, /* a regular file, or a description of our own that does not block */
    WAY_POLL,  /* an inherited description that may block: ask first, in pieces that fit */
    WAY_SEND,  /* a socket */
};

/* Where lines go. A new one is opened beside the old one, which goes only when that worked. */
struct sink {
    enum target target;
    enum way way;
    int fd; /* owned; -1 = none, or stderr itself is used */
};

const char *log_syslog_path = "/dev/log";

static struct {
    struct sink sink;
    char *path; /* of TARGET_FILE; owned */
    enum log_format format;
    enum log_level level;
    char process[PROCESS_SIZE];
    uid_t owner;
    gid_t group;
    unsigned long dropped; /* lines since the last report of it */
    _Atomic uint64_t *dropped_counter;
    bool torn;       /* the last thing written did not end its line */
    struct buf line; /* reserved once, so that a message about memory can still be written */
} self = {
    .sink = {.fd = -1},
    .level = LOG_LEVEL_INFO,
    .owner = (uid_t)-1,
    .group = (gid_t)-1,
};

static const char *const level_names[] = {"error", "warning", "info", "debug"};
static const int level_priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};

/* Started with a closed stderr, open() gives its number: the log must not sit where others expect stderr. */
static int above_stdio(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    fd_close(&fd);
    return higher;
}

static void give_away(int fd)
{
    struct stat st;

    if (fd < 0 || geteuid() != 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return;
    if (fchown(fd, self.owner, self.group) < 0)
        return; /* a file system without owners: whoever reopens the file will see */
}

static int open_file(struct sink *sink, const char *path)
{
    /* O_NONBLOCK matters where the path is a FIFO or a terminal. */
    int fd = above_stdio(open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640));
    if (fd < 0)
        return -1;
    give_away(fd);
    *sink = (struct sink){.target = TARGET_FILE, .way = WAY_WRITE, .fd = fd};
    return 0;
}

static void open_stderr(struct sink *sink)
{
    struct stat st;

    *sink = (struct sink){.target = TARGET_STDERR, .way = WAY_WRITE, .fd = -1};
    if (fstat(STDERR_FILENO, &st) < 0)
        return;
    if (S_ISSOCK(st.st_mode)) {
        sink->way = WAY_SEND;
    } else if (S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode)) {
        /* O_NONBLOCK on the inherited description would change it for the shell too: a description of our
         * own. */
        sink->fd =
            above_stdio(open("/proc/self/fd/2", O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
        if (sink->fd < 0)
            sink->way = WAY_POLL;
    }
}

/* Nobody listening is no failure: the next message tries again. */
static void open_syslog(struct sink *sink)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    *sink = (struct sink){.target = TARGET_SYSLOG, .way = WAY_SEND, .fd = -1};
    size_t len = strlen(log_syslog_path);
    if (len >= sizeof(addr.sun_path))
        return;
    memcpy(addr.sun_path, log_syslog_path, len);
    sink->fd = above_stdio(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (sink->fd >= 0 && connect(sink->fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
        fd_close(&sink->fd);
}

static int open_sink(struct sink *sink, enum target target, const char *path)
{
    if (target == TARGET_FILE)
        return open_file(sink, path);
    if (target == TARGET_SYSLOG)
        open_syslog(sink);
    else
        open_stderr(sink);
    return 0;
}

int log_open(const struct log_options *options, const char **reason)
{
    enum target target = TARGET_FILE;
    struct sink sink;
    char *path = NULL;

    if (strcmp(options->target, "stderr") == 0) {
        target = TARGET_STDERR;
    } else if (strcmp(options->target, "syslog") == 0) {
        target = TARGET_SYSLOG;
    } else if (options->target[0] != '/') {
        *reason = "the log target is neither stderr, syslog nor an absolute path";
        return -1;
    } else {
        path = strdup(options->target);
        if (path == NULL) {
            *reason = "out of memory";
            return -1;
        }
    }
    if (open_sink(&sink, target, path) < 0) {
        *reason = strerror(errno);
        free(path);
        return -1;
    }
    fd_close(&self.sink.fd);
    free(self.path);
    self.sink = sink;
    self.path = path;
    self.format = options->format;
    self.level = options->level;
    self.torn = false;
    return 0;
}

int log_reopen(void)
{
    struct sink sink;

    if (open_sink(&sink, self.sink.target, self.path) < 0)
        return -1;
    fd_close(&self.sink.fd);
    self.sink = sink;
    self.torn = false;
    return 0;
}

void log_set_owner(uid_t owner, gid_t group)
{
    self.owner = owner;
    self.group = group;
    if (self.sink.target == TARGET_FILE)
        give_away(self.sink.fd);
}

int log_fd(void)
{
    return self.sink.fd;
}

void log_set_process(const char *name)
{
    snprintf(self.process, sizeof(self.process), "%s", name);
}

static const char *process_name(void)
{
    return self.process[0] != '\0' ? self.process : program_invocation_short_name;
}

enum log_format log_get_format(void)
{
    return self.format;
}

static size_t count_lines(const char *lines, size_t len)
{
    size_t count = 0;

    for (const char *p = lines; (p = memchr(p, '\n', len - (size_t)(p - lines))) != NULL; p++)
        count++;
    return count;
}

static ssize_t write_some(const char *data, size_t len)
{
    int fd = self.sink.fd >= 0 ? self.sink.fd : STDERR_FILENO;

    if (self.sink.way == WAY_SEND)
        return send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (self.sink.way == WAY_POLL) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        if (poll(&p, 1, 0) <= 0 || (p.revents & POLLOUT) == 0) {
            errno = EAGAIN;
            return -1;
        }
        /* A pipe that is writable takes this much at once (pipe(7)). */
        return write(fd, data, len < PIPE_BUF ? len : PIPE_BUF);
    }
    return write(fd, data, len);
}

/* How much of it went out; less than len when the target takes no more now. */
static size_t write_most(const char *data, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t n = write_some(data + done, len - done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            break;
    }
    if (done > 0)
        self.torn = data[done - 1] != '\n';
    return done;
}

static void append_text(struct buf *out, enum log_level level, const char *message)
{
    buf_puts(out, level_names[level]);
    buf_putc(out, ' ');
    buf_escape(out, process_name(), strlen(process_name()), "");
    buf_printf(out, "[%ld]: ", (long)getpid());
    buf_escape(out, message, strlen(message), "");
}

static void append_json(struct buf *out, const char *time, enum log_level level, const char *message)
{
    buf_printf(out, "{\"time\":\"%s\",\"level\":\"%s\",\"process\":", time, level_names[level]);
    buf_json(out, process_name(), strlen(process_name()));
    buf_printf(out, ",\"pid\":%ld,\"message\":", (long)getpid());
    buf_json(out, message, strlen(message));
    buf_putc(out, '}');
}

/* The message as a line of the log's format, in self.line. */
static void compose(enum log_level level, const char *message)
{
    char time[CLOCK_RFC3339_SIZE];

    buf_reserve(&self.line, LINE_MAX_SIZE);
    clock_rfc3339(clock_real_ms(), time);
    if (self.format == LOG_FORMAT_JSON) {
        append_json(&self.line, time, level, message);
    } else {
        buf_puts(&self.line, time);
        buf_putc(&self.line, ' ');
        append_text(&self.line, level, message);
    }
    buf_putc(&self.line, '\n');
}

static void drop(unsigned long lines)
{
    self.dropped += lines;
    if (self.dropped_counter != NULL)
        atomic_fetch_add(self.dropped_counter, lines);
}

static void dropped_text(char *out, size_t size)
{
    snprintf(out, size, self.dropped == 1 ? "%lu log line was dropped" : "%lu log lines were dropped",
             self.dropped);
}

/* Says how many lines were lost; false while that cannot be written either. Overwrites self.line. */
static bool report_dropped(void)
{
    char text[64];

    buf_clear(&self.line);
    if (self.torn)
        buf_putc(&self.line, '\n');
    if (self.dropped > 0) {
        dropped_text(text, sizeof(text));
        compose(LOG_LEVEL_WARNING, text);
    }
    if (self.line.failed || write_most(self.line.data, self.line.len) < self.line.len)
        return false;
    self.dropped = 0;
    return true;
}

/* Whether everything is told that had to be told before the next line. */
static bool catch_up(void)
{
    if (self.sink.target == TARGET_UNSET)
        open_stderr(&self.sink);
    return (self.dropped == 0 && !self.torn) || report_dropped();
}

static void write_lines(const char *lines, size_t len)
{
    size_t done = write_most(lines, len);
    drop(count_lines(lines + done, len - done));
}

/* RFC 3164 section 4.1 in the form that the C library's syslog() uses on a local socket: no host name. */
static void syslog_header(struct buf *out, enum log_level level)
{
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = (time_t)(clock_real_ms() / 1000);
    struct tm tm;

    localtime_r(&now, &tm);
    buf_printf(out, "<%d>%s %2d %02d:%02d:%02d %s[%ld]: ", LOG_DAEMON | level_priorities[level],
               months[tm.tm_mon], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, program_invocation_short_name,
               (long)getpid());
}

/* Sends self.line as one datagram. A daemon that was started again has a new socket: connect and try once
 * more. */
static bool syslog_send(void)
{
    if (self.line.failed)
        return false;
    for (int attempt = 0; attempt < 2; attempt++) {
        if (self.sink.fd < 0)
            open_syslog(&self.sink);
        if (self.sink.fd < 0)
            return false;
        if (send(self.sink.fd, self.line.data, self.line.len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return true;
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS || errno == EMSGSIZE)
            return false;
        fd_close(&self.sink.fd);
    }
    return false;
}

static void syslog_begin(enum log_level level)
{
    buf_clear(&self.line);
    buf_reserve(&self.line, LINE_MAX_SIZE);
    syslog_header(&self.line, level);
}

static void syslog_message(enum log_level level, const char *message)
{
    char time[CLOCK_RFC3339_SIZE];

    syslog_begin(level);
    if (self.format == LOG_FORMAT_JSON) {
        clock_rfc3339(clock_real_ms(), time);
        append_json(&self.line, time, level, message);
    } else {
        append_text(&self.line, level, message);
    }
}

static void syslog_finish(void)
{
    if (!syslog_send()) {
        drop(1);
    } else if (self.dropped > 0) {
        char text[64];
        dropped_text(text, sizeof(text));
        syslog_message(LOG_LEVEL_WARNING, text);
        if (syslog_send())
            self.dropped = 0;
    }
}

static void emit(enum log_level level, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

static void emit(enum log_level level, const char *fmt, va_list ap)
{
    static char message[LOG_MESSAGE_MAX + 1];

    if (level > self.level)
        return;
    int saved = errno; /* %m may ask for it */
    int n = vsnprintf(message, sizeof(message), fmt, ap);
    if (n < 0)
        snprintf(message, sizeof(message), "a message that cannot be formatted: %s", fmt);
    else if (n > LOG_MESSAGE_MAX)
        memcpy(message + LOG_MESSAGE_MAX - 3, "...", 3);

    if (self.sink.target == TARGET_SYSLOG) {
        syslog_message(level, message);
        syslog_finish();
    } else if (!catch_up()) {
        drop(1);
    } else {
        buf_clear(&self.line);
        compose(level, message);
        if (self.line.failed)
            drop(1);
        else
            write_lines(self.line.data, self.line.len);
    }
    errno = saved;
}

void log_set_dropped_counter(_Atomic uint64_t *counter)
{
    self.dropped_counter = counter;
}

void log_error(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit(LOG_LEVEL_ERROR, fmt, ap);
    va_end(ap);
}

void log_warning(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit(LOG_LEVEL_WARNING, fmt, ap);
    va_end(ap);
}

void log_info(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit(LOG_LEVEL_INFO, fmt, ap);
    va_end(ap);
}

void log_debug(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit(LOG_LEVEL_DEBUG, fmt, ap);
    va_end(ap);
}

void log_raw(const char *lines, unsigned long len)
{
    int saved = errno;

    if (self.sink.target != TARGET_SYSLOG) {
        if (catch_up())
            write_lines(lines, len);
        else
            drop(count_lines(lines, len));
        errno = saved;
        return;
    }
    while (len > 0) {
        const char *end = memchr(lines, '\n', len);
        size_t n = end == NULL ? len : (size_t)(end - lines);
        syslog_begin(LOG_LEVEL_INFO);
        buf_append(&self.line, lines, n);
        syslog_finish();
        n += end != NULL;
        lines += n;
        len -= n;
    }
    errno = saved;
}
