/*
 * dump: owns the files of the attempts that are under way. Called by the relay; what goes wrong here is
 * logged once and never reaches it. No credential is opened here: a pool's key comes as its hint, a client's
 * becomes one.
 */
#include "io/dump.h"

#include "base/fd.h"
#include "base/log.h"
#include "core/ascii.h"
#include "core/credential.h"
#include "io/dump_json.h"
#include "io/gunzip.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_PART_MAX 100 /* characters of the upstream's path in a file's name */
#define DECODE_ROOM   (64 * 1024)

struct dump {
    struct dump_options options;
    bool failing; /* and said so */
};

/* A body on its way into a file. */
struct body {
    int fd;
    int64_t left; /* bytes that still go into the file */
    bool cut;     /* there were more */
    bool json;    /* kept whole, to be indented */
    struct buf kept;
};

struct dump_attempt {
    struct dump *dump;
    char path[PATH_MAX]; /* without what comes behind the id */
    size_t path_len;
    bool broken; /* something could not be written */
    struct body request;
    struct body response;
    struct gunzip *gunzip;
    struct buf decoded;
};

/* ---- trouble */

static void complain(struct dump *dump, const char *path, const char *what)
{
    if (!dump->failing)
        log_error("dump: %s: %s; attempts are not dumped until this works again", path, what);
    dump->failing = true;
}

static void works(struct dump *dump)
{
    if (dump->failing)
        log_info("dump: %s can be written again", dump->options.dir);
    dump->failing = false;
}

/* ---- header fields */

static const char *const secret_names[] = {
    "Authorization",        "X-Api-Key",  "Api-Key",
    "X-Auth-Token",         "Cookie",     "Proxy-Authorization",
    "X-Amz-Security-Token", "Set-Cookie", "WWW-Authenticate",
    "Proxy-Authenticate",
};

static bool is_secret(const struct dump *dump, const char *name)
{
    for (size_t i = 0; i < sizeof secret_names / sizeof secret_names[0]; i++)
        if (strcasecmp(name, secret_names[i]) == 0)
            return true;
    return credential_is_header(dump->options.providers, name);
}

/* The scheme in front of a credential stays, for people. */
static void put_hint(struct buf *out, const char *value, size_t len)
{
    static const char bearer[] = "Bearer ";
    char hint[KEY_HINT_SIZE];
    if (len > sizeof bearer - 1 && strncasecmp(value, bearer, sizeof bearer - 1) == 0) {
        buf_append(out, value, sizeof bearer - 1);
        value += sizeof bearer - 1;
        len -= sizeof bearer - 1;
    }
    key_hint(value, len, hint);
    buf_puts(out, hint);
}

static int compare_fields(const void *a, const void *b)
{
    const struct header *const *x = a;
    const struct header *const *y = b;
    int order = strcasecmp((*x)->name, (*y)->name);
    if (order != 0)
        return order;
    return *x < *y ? -1 : *x > *y; /* the order in which they were sent */
}

/* masked: a value that is a hint already. */
static void put_fields(const struct dump *dump, const struct header_list *list, const char *masked,
                       struct buf *out)
{
    const struct header **fields = calloc(list->count + 1, sizeof(*fields));
    if (fields == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < list->count; i++)
        fields[i] = &list->items[i];
    qsort(fields, list->count, sizeof(*fields), compare_fields);
    for (size_t i = 0; i < list->count; i++) {
        buf_printf(out, "%s: ", fields[i]->name);
        if (fields[i]->value != masked && is_secret(dump, fields[i]->name))
            put_hint(out, fields[i]->value, fields[i]->value_len);
        else
            buf_append(out, fields[i]->value, fields[i]->value_len);
        buf_puts(out, "\r\n");
    }
    free(fields);
}

static bool is_json(const struct header_list *headers)
{
    static const char json[] = "application/json";
    const struct header *type = header_find(headers, "Content-Type");
    return type != NULL && strncasecmp(type->value, json, sizeof json - 1) == 0;
}

/* ---- bodies */

/* After a failure nothing more of the attempt is written. */
static void write_all(struct dump_attempt *attempt, int fd, const char *data, size_t len)
{
    if (fd < 0 || len == 0 || attempt->broken)
        return;
    attempt->broken = fd_write_all(fd, data, len) < 0;
    if (attempt->broken)
        complain(attempt->dump, attempt->path, strerror(errno));
    else
        works(attempt->dump);
}

static void body_begin(struct dump_attempt *attempt, struct body *body, int fd, bool json)
{
    body->fd = fd;
    body->json = json;
    body->left = attempt->dump->options.file_size;
}

static void body_add(struct dump_attempt *attempt, struct body *body, const char *data, size_t len)
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
        write_all(attempt, body->fd, data, len);
}

static void body_end(struct dump_attempt *attempt, struct body *body)
{
    static const char note[] = "\n[cut off here: dump.file_size]\n";
    struct buf pretty = {0};
    if (body->json && !body->cut && dump_json_indent(&pretty, body->kept.data, body->kept.len) &&
        !pretty.failed)
        write_all(attempt, body->fd, pretty.data, pretty.len);
    else
        write_all(attempt, body->fd, body->kept.data, body->kept.len);
    if (body->cut)
        write_all(attempt, body->fd, note, sizeof note - 1);
    buf_fini(&pretty);
    buf_fini(&body->kept);
    fd_close(&body->fd);
}

/* ---- files */

static int make_directory(const char *path)
{
    return mkdir(path, 0700) < 0 && errno != EEXIST ? -1 : 0;
}

/* Opens path + suffix; -1 after a complaint. */
static int open_file(struct dump_attempt *attempt, const char *suffix)
{
    int fd;
    (void)snprintf(attempt->path + attempt->path_len, sizeof attempt->path - attempt->path_len, "%s", suffix);
    fd = open(attempt->path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        complain(attempt->dump, attempt->path, strerror(errno));
    return fd;
}

/* The path without its query; "-" for each "/" and for what a file's name should not have. */
static void put_path_part(char *out, size_t size, const char *target)
{
    size_t len = 0;
    while (*target == '/')
        target++;
    for (; *target != '\0' && *target != '?' && len < size - 1 && len < PATH_PART_MAX; target++)
        out[len++] = ascii_is_alnum(*target) || *target == '.' || *target == '_' ? *target : '-';
    out[len] = '\0';
}

static int make_path(struct dump_attempt *attempt, const struct dump_request *request, int64_t now_real_ms)
{
    char part[PATH_PART_MAX + 1];
    char *path = attempt->path;
    size_t size = sizeof attempt->path;
    int len = snprintf(path, size, "%s/%s", attempt->dump->options.dir, request->provider->name);
    if (len < 0 || (size_t)len >= size || make_directory(path) < 0)
        return -1;
    len = snprintf(path, size, "%s/%s/passthrough", attempt->dump->options.dir, request->provider->name);
    if (len < 0 || (size_t)len >= size || make_directory(path) < 0)
        return -1;
    put_path_part(part, sizeof part, request->target);
    len = snprintf(path, size, "%s/%s/passthrough/%" PRId64 "-%s-%s-%u", attempt->dump->options.dir,
                   request->provider->name, now_real_ms, part, request->id, request->attempt);
    if (len < 0 || (size_t)len >= size - sizeof ".req_error.txt") {
        errno = ENAMETOOLONG;
        return -1;
    }
    attempt->path_len = (size_t)len;
    return 0;
}

/* Everything that goes out, in one list: what upstream adds too. */
static int all_fields(const struct dump_request *request, struct header_list *list, struct buf *auth,
                      struct buf *length)
{
    const struct provider *provider = request->provider;
    const char *host = provider->base_url.host;
    const struct header_list *in = request->headers;
    if (header_add(list, "Host", strlen("Host"), host, strlen(host)) < 0)
        return -1;
    for (size_t i = 0; i < in->count; i++)
        if (header_add(list, in->items[i].name, in->items[i].name_len, in->items[i].value,
                       in->items[i].value_len) < 0)
            return -1;
    if (request->key_hint != NULL) {
        buf_printf(auth, "%s%s", provider->auth_prefix, request->key_hint);
        if (auth->failed ||
            header_add(list, provider->auth_header, strlen(provider->auth_header), auth->data, auth->len) < 0)
            return -1;
    }
    if (request->body_length == DUMP_CHUNKED)
        return header_add(list, "Transfer-Encoding", strlen("Transfer-Encoding"), "chunked",
                          strlen("chunked"));
    if (request->body_length < 0)
        return 0;
    buf_printf(length, "%" PRId64, request->body_length);
    return length->failed
               ? -1
               : header_add(list, "Content-Length", strlen("Content-Length"), length->data, length->len);
}

static void write_request_head(struct dump_attempt *attempt, const struct dump_request *request)
{
    struct header_list list = {0};
    struct buf auth = {0};
    struct buf length = {0};
    struct buf head = {0};
    buf_printf(&head, "%s %s HTTP/1.1\r\n", request->method, request->target);
    if (all_fields(request, &list, &auth, &length) == 0)
        put_fields(attempt->dump, &list, auth.data, &head);
    buf_puts(&head, "\r\n");
    if (!head.failed)
        write_all(attempt, attempt->request.fd, head.data, head.len);
    header_list_fini(&list);
    buf_fini(&auth);
    buf_fini(&length);
    buf_fini(&head);
}

static void write_spool(struct dump_attempt *attempt, const struct spool *spool)
{
    char block[16 * 1024];
    ssize_t n;
    for (int64_t at = 0; !attempt->request.cut && (n = spool_read(spool, at, block, sizeof block)) > 0;
         at += n)
        body_add(attempt, &attempt->request, block, (size_t)n);
    body_end(attempt, &attempt->request);
}

/* ---- what the relay calls */

struct dump *dump_new(const struct dump_options *options)
{
    struct dump *dump = calloc(1, sizeof *dump);
    if (dump != NULL)
        dump->options = *options;
    return dump;
}

void dump_free(struct dump **dump)
{
    free(*dump);
    *dump = NULL;
}

struct dump_attempt *dump_begin(struct dump *dump, const struct dump_request *request, int64_t now_real_ms)
{
    struct dump_attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return NULL;
    attempt->dump = dump;
    attempt->request.fd = attempt->response.fd = -1;
    if (make_path(attempt, request, now_real_ms) < 0) {
        complain(dump, attempt->path, strerror(errno));
        free(attempt);
        return NULL;
    }
    int fd = open_file(attempt, ".req.txt");
    if (fd < 0) {
        free(attempt);
        return NULL;
    }
    body_begin(attempt, &attempt->request, fd, is_json(request->headers));
    write_request_head(attempt, request);
    if (request->body_length == DUMP_NO_BODY)
        body_end(attempt, &attempt->request);
    else if (request->spool != NULL)
        write_spool(attempt, request->spool);
    return attempt;
}

void dump_request_body(struct dump_attempt *attempt, const char *data, size_t len)
{
    if (attempt != NULL)
        body_add(attempt, &attempt->request, data, len);
}

void dump_response_head(struct dump_attempt *attempt, const struct response_head *head)
{
    struct buf text = {0};
    if (attempt == NULL)
        return;
    int fd = open_file(attempt, ".resp.txt");
    if (fd < 0)
        return;
    const struct header *coding = header_find(&head->headers, "Content-Encoding");
    if (coding != NULL &&
        (strcasecmp(coding->value, "gzip") == 0 || strcasecmp(coding->value, "x-gzip") == 0))
        attempt->gunzip = gunzip_new();
    body_begin(attempt, &attempt->response, fd, is_json(&head->headers));
    buf_printf(&text, "HTTP/1.1 %d\r\n", head->status);
    put_fields(attempt->dump, &head->headers, NULL, &text);
    buf_puts(&text, "\r\n");
    if (!text.failed)
        write_all(attempt, fd, text.data, text.len);
    buf_fini(&text);
}

/* What is no gzip in the end is left out from there on. */
static void decode(struct dump_attempt *attempt, const char *data, size_t len)
{
    while (!attempt->response.cut) {
        size_t used = len;
        int result = gunzip_feed(attempt->gunzip, data, &used, &attempt->decoded, DECODE_ROOM);
        body_add(attempt, &attempt->response, attempt->decoded.data, attempt->decoded.len);
        buf_clear(&attempt->decoded);
        data += used;
        len -= used;
        if (result < 0 || (len == 0 && !gunzip_is_pending(attempt->gunzip)))
            return;
    }
}

void dump_response_body(struct dump_attempt *attempt, const char *data, size_t len)
{
    if (attempt == NULL || attempt->response.fd < 0)
        return;
    if (attempt->gunzip != NULL)
        decode(attempt, data, len);
    else
        body_add(attempt, &attempt->response, data, len);
}

void dump_end(struct dump_attempt **attempt, const char *error)
{
    struct dump_attempt *a = *attempt;
    *attempt = NULL;
    if (a == NULL)
        return;
    if (a->request.fd >= 0)
        body_end(a, &a->request);
    if (a->response.fd >= 0) {
        body_end(a, &a->response);
    } else if (error != NULL) {
        int fd = open_file(a, ".req_error.txt");
        write_all(a, fd, error, strlen(error));
        write_all(a, fd, "\n", 1);
        fd_close(&fd);
    }
    gunzip_free(&a->gunzip);
    buf_fini(&a->decoded);
    free(a);
}
