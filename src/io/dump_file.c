/*
 * dump_file: owns the open files of an attempt. Called by dump_writer, in its process: it may block, and
 * it must not log.
 */
#include "io/dump_file.h"

#include "base/fd.h"
#include "base/secret.h"
#include "core/credential.h"
#include "io/dump_json.h"
#include "io/gunzip.h"
#include "io/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAITING_MAX ((size_t)64 * 1024) /* bytes that wait to be written */
#define DECODE_ROOM ((size_t)64 * 1024)

static const char size_note[] = "\n[cut off here: dump.file_size]\n";
static const char slow_note[] = "\n[left out from here on: the disk is slower than the traffic]\n";

/* A body on its way into a file. */
struct body {
    int fd;
    int64_t left;       /* bytes that still go into the file */
    bool cut;           /* there were more */
    bool json;          /* kept whole, to be indented */
    struct buf held;    /* its end may be the begin of the key */
    struct buf kept;    /* JSON */
    struct buf waiting; /* to be written */
};

struct dump_files {
    const struct dump_file_options *options;
    const struct secret *key; /* of the pool, which must not get into a file; NULL = none */
    char path[PATH_MAX];      /* without what comes behind the id */
    size_t path_len;
    bool broken; /* something could not be written */
    struct body request;
    struct body response;
    bool raw; /* the response comes as it was received */
    struct gunzip *gunzip;
    struct buf decoded;
    struct buf error;
};

/* ---- writing */

static void tell(const struct dump_files *files, int error)
{
    files->options->outcome.fn(files->options->outcome.arg, files->path, error);
}

/* After a failure nothing more of the attempt is written. */
static void write_out(struct dump_files *files, int fd, const char *data, size_t len)
{
    if (fd < 0 || len == 0 || files->broken)
        return;
    files->broken = fd_write_all(fd, data, len) < 0;
    tell(files, files->broken ? errno : 0);
    if (!files->broken && files->options->written != NULL)
        atomic_fetch_add_explicit(files->options->written, len, memory_order_relaxed);
}

static bool flush(struct dump_files *files, struct body *body)
{
    if (body->waiting.len == 0)
        return false;
    write_out(files, body->fd, body->waiting.data, body->waiting.len);
    buf_clear(&body->waiting);
    return true;
}

static void put(struct dump_files *files, struct body *body, const char *data, size_t len)
{
    if (body->fd < 0 || len == 0)
        return;
    buf_append(&body->waiting, data, len);
    if (body->waiting.failed) { /* without its memory, then */
        body->waiting.failed = false;
        flush(files, body);
        write_out(files, body->fd, data, len);
    } else if (body->waiting.len >= WAITING_MAX) {
        flush(files, body);
    }
}

/* ---- bodies */

static void body_begin(struct dump_files *files, struct body *body, int fd, bool json)
{
    body->fd = fd;
    body->json = json;
    body->left = files->options->file_size;
}

static void put_body(struct dump_files *files, struct body *body, const char *data, size_t len)
{
    if (body->fd < 0 || len == 0)
        return;
    if ((uint64_t)body->left < len) {
        body->cut = true;
        len = (size_t)body->left;
    }
    body->left -= (int64_t)len;
    if (body->json)
        buf_append(&body->kept, data, len);
    else
        put(files, body, data, len);
}

/* The key is overwritten wherever it stands, across pieces too. */
static void mask_and_put(struct dump_files *files, struct body *body, const char *data, size_t len)
{
    if (files->key == NULL) {
        put_body(files, body, data, len);
        return;
    }
    buf_append(&body->held, data, len);
    if (body->held.failed || body->held.len == 0)
        return;
    size_t ready = body->held.len - credential_hide(files->key, body->held.data, body->held.len);
    put_body(files, body, body->held.data, ready);
    buf_consume(&body->held, ready);
}

static void body_end(struct dump_files *files, struct body *body, bool left_out)
{
    struct buf pretty = {0};
    if (!left_out)
        put_body(files, body, body->held.data, body->held.len);
    if (body->json && !body->cut && !left_out && dump_json_indent(&pretty, body->kept.data, body->kept.len) &&
        !pretty.failed)
        put(files, body, pretty.data, pretty.len);
    else
        put(files, body, body->kept.data, body->kept.len);
    if (body->cut)
        put(files, body, size_note, sizeof size_note - 1);
    else if (left_out)
        put(files, body, slow_note, sizeof slow_note - 1);
    flush(files, body);
    buf_fini(&pretty);
    if (body->held.data != NULL)
        secret_wipe(body->held.data, body->held.cap);
    buf_fini(&body->held);
    buf_fini(&body->kept);
    buf_fini(&body->waiting);
    fd_close(&body->fd);
}

/* ---- files */

static int open_new(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
}

/* Makes the directories of a path that begins with dir. */
static void make_directories(const char *dir, char *path)
{
    for (char *at = path + strlen(dir) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(path, 0700);
        *at = '/';
    }
}

/* Opens path + suffix; -1 after having told. */
static int open_file(struct dump_files *files, const char *suffix)
{
    (void)snprintf(files->path + files->path_len, sizeof files->path - files->path_len, "%s", suffix);
    int fd = open_new(files->path);
    if (fd < 0 && errno == ENOENT) {
        make_directories(files->options->dir, files->path);
        fd = open_new(files->path);
    }
    if (fd < 0)
        tell(files, errno);
    return fd;
}

/* ---- what the writer calls */

struct dump_files *dump_files_new(const struct dump_file_options *options,
                                  const struct dump_begin_record *begin, const char *part, const char *id,
                                  const char *head, size_t head_len)
{
    struct dump_files *files = calloc(1, sizeof *files);
    if (files == NULL)
        return NULL;
    files->options = options;
    files->key = begin->key;
    files->request.fd = files->response.fd = -1;
    int len = snprintf(files->path, sizeof files->path, "%s/%s/passthrough/%" PRId64 "-%s-%s-%u",
                       options->dir, begin->provider, begin->now_real_ms, part, id, begin->attempt);
    int fd = -1;
    if (len < 0 || (size_t)len >= sizeof files->path - sizeof ".req_error.txt") {
        tell(files, ENAMETOOLONG);
    } else {
        files->path_len = (size_t)len;
        fd = open_file(files, ".req.txt");
    }
    if (fd < 0) {
        free(files);
        return NULL;
    }
    body_begin(files, &files->request, fd, (begin->record.flags & DUMP_JSON) != 0);
    put(files, &files->request, head, head_len);
    return files;
}

void dump_files_request(struct dump_files *files, const char *data, size_t len)
{
    put_body(files, &files->request, data, len);
}

void dump_files_request_file(struct dump_files *files, int fd, int64_t len)
{
    const struct spool spool = {.fd = fd, .len = len};
    char block[16 * 1024];
    ssize_t n;
    for (int64_t at = 0; !files->request.cut && (n = spool_read(&spool, at, block, sizeof block)) > 0;
         at += n)
        mask_and_put(files, &files->request, block, (size_t)n);
}

void dump_files_request_end(struct dump_files *files)
{
    body_end(files, &files->request, false);
}

void dump_files_response_head(struct dump_files *files, unsigned flags, const char *head, size_t len)
{
    int fd = open_file(files, ".resp.txt");
    if (fd < 0) {
        files->broken = true;
        return;
    }
    files->raw = (flags & DUMP_GZIP) != 0;
    if (files->raw)
        files->gunzip = gunzip_new();
    body_begin(files, &files->response, fd, (flags & DUMP_JSON) != 0);
    put(files, &files->response, head, len);
}

/* What is no gzip in the end is left out from there on. */
static void decode(struct dump_files *files, const char *data, size_t len)
{
    while (!files->response.cut) {
        size_t used = len;
        int result = gunzip_feed(files->gunzip, data, &used, &files->decoded, DECODE_ROOM);
        mask_and_put(files, &files->response, files->decoded.data, files->decoded.len);
        buf_clear(&files->decoded);
        data += used;
        len -= used;
        if (result < 0 || (len == 0 && !gunzip_is_pending(files->gunzip)))
            return;
    }
}

void dump_files_response(struct dump_files *files, const char *data, size_t len)
{
    if (files->response.fd < 0)
        return;
    if (files->gunzip != NULL)
        decode(files, data, len);
    else if (files->raw)
        mask_and_put(files, &files->response, data, len);
    else
        put_body(files, &files->response, data, len);
}

void dump_files_error(struct dump_files *files, const char *error, size_t len)
{
    buf_append(&files->error, error, len);
    buf_putc(&files->error, '\n');
}

bool dump_files_flush(struct dump_files *files)
{
    bool any = flush(files, &files->request);
    return flush(files, &files->response) || any;
}

/* A small file that is written at once. */
static void write_file(struct dump_files *files, const char *suffix, const char *text, size_t len)
{
    int fd = open_file(files, suffix);
    write_out(files, fd, text, len);
    fd_close(&fd);
}

bool dump_files_end(struct dump_files **files, unsigned flags)
{
    struct dump_files *f = *files;
    *files = NULL;
    if (f->request.fd >= 0)
        body_end(f, &f->request, (flags & DUMP_CUT_REQUEST) != 0);
    if (f->response.fd >= 0)
        body_end(f, &f->response, (flags & DUMP_CUT_RESPONSE) != 0);
    else if ((flags & DUMP_CUT_RESPONSE) != 0)
        write_file(f, ".resp.txt", slow_note + 1, sizeof slow_note - 2);
    else if ((flags & DUMP_CUT_ERROR) != 0)
        write_file(f, ".req_error.txt", slow_note + 1, sizeof slow_note - 2);
    else if (f->error.len > 0)
        write_file(f, ".req_error.txt", f->error.data, f->error.len);
    bool good = !f->broken;
    gunzip_free(&f->gunzip);
    buf_fini(&f->decoded);
    buf_fini(&f->error);
    free(f);
    return good;
}
