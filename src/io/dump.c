/*
 * dump: owns the queue to the process that writes, and what the loop has to know of attempts that are under
 * way. Called by the relay: nothing here blocks, and what goes wrong never reaches it. What is put into the
 * queue is masked, but for bodies that have to be decoded first and those that lie in a file: the writer
 * masks them.
 */
#include "io/dump.h"

#include "base/log.h"
#include "base/secret.h"
#include "core/ascii.h"
#include "core/credential.h"
#include "io/dump_head.h"
#include "io/dump_queue.h"
#include "io/dump_record.h"
#include "io/dump_writer.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>

#define PATH_PART_MAX 100 /* characters of the upstream's path in a file's name */
#define PIECE         ((size_t)32 * 1024)
#define CALM_MS       10000 /* without an attempt left out, and the log says that the disk has caught up */

struct dump {
    struct dump_options options;
    struct dump_queue *queue; /* NULL: the writer has died */
    struct dump_writer *writer;
    uint64_t whole;           /* ENDs without a flag that were put */
    struct buf text;          /* a head, while it is made */
    uint32_t *free_slots;     /* room for slot_count */
    uint32_t free_slot_count; /* how many are in it */
    uint32_t slot_count;      /* that were ever used */
    uint32_t slot_cap;
    bool slow; /* and said so */
    bool lost; /* since the last turn */
    int64_t calm_ms;
    uint64_t lost_count; /* while it is slow */
};

/* A body on its way into the queue. */
struct body {
    bool open;
    bool raw;        /* the writer masks it */
    int64_t left;    /* bytes of it that are of use; those that a file has no room for are not */
    struct buf held; /* its end may be the begin of the key */
};

struct dump_attempt {
    struct dump *dump;
    const struct secret *key; /* of the pool, which must not get into a file; NULL = none */
    uint32_t slot;
    bool cut; /* something found no room: nothing more goes into the queue, but for its end */
    bool answered;
    uint16_t end_flags;
    struct body request;
    struct body response;
};

/* ---- the queue */

/* Behind each record there is room for the ends of all attempts. */
static size_t spare_of(const struct dump *dump)
{
    return (size_t)(dump->slot_count - dump->free_slot_count) * DUMP_QUEUE_UNIT;
}

static void count_skipped(const struct dump *dump, uint64_t count)
{
    if (dump->options.skipped != NULL)
        atomic_fetch_add_explicit(dump->options.skipped, count, memory_order_relaxed);
}

static void count_lost(struct dump *dump)
{
    dump->lost = true;
    dump->lost_count++;
    count_skipped(dump, 1);
}

/* flag: what misses something from here on. */
static void cut(struct dump_attempt *attempt, unsigned flag)
{
    if (!attempt->cut)
        count_lost(attempt->dump);
    attempt->cut = true;
    attempt->end_flags |= (uint16_t)flag;
}

/* Room for a record with len bytes behind its fixed part, which has `fixed`; NULL after the attempt was cut.
 */
static void *record_for(struct dump_attempt *attempt, enum dump_kind kind, size_t fixed, size_t len,
                        unsigned flag)
{
    struct dump_record *record = NULL;
    if (!attempt->cut && attempt->dump->queue != NULL)
        record = dump_queue_reserve(attempt->dump->queue, fixed + len, spare_of(attempt->dump));
    if (record == NULL) {
        cut(attempt, flag);
        return NULL;
    }
    *record = (struct dump_record){.kind = (uint16_t)kind, .slot = attempt->slot};
    return record;
}

static void put_text(struct dump_attempt *attempt, enum dump_kind kind, unsigned flags, const char *text,
                     size_t len, unsigned cut_flag)
{
    struct dump_record *record = record_for(attempt, kind, sizeof *record, len, cut_flag);
    if (record == NULL)
        return;
    record->flags = (uint16_t)flags;
    if (len > 0)
        memcpy(record + 1, text, len);
    dump_queue_put(attempt->dump->queue, sizeof *record + len);
}

/* ---- slots */

static bool take_slot(struct dump *dump, uint32_t *slot)
{
    if (dump->free_slot_count > 0) {
        *slot = dump->free_slots[--dump->free_slot_count];
        return true;
    }
    if (dump->slot_count == dump->slot_cap) {
        uint32_t cap = dump->slot_cap == 0 ? 64 : 2 * dump->slot_cap;
        uint32_t *slots = realloc(dump->free_slots, cap * sizeof *slots);
        if (slots == NULL)
            return false;
        dump->free_slots = slots;
        dump->slot_cap = cap;
    }
    *slot = dump->slot_count++;
    return true;
}

static void free_slot(struct dump *dump, uint32_t slot)
{
    dump->free_slots[dump->free_slot_count++] = slot;
}

/* ---- bodies */

static bool is_json(const struct header_list *headers)
{
    static const char json[] = "application/json";
    const struct header *type = header_find(headers, "Content-Type");
    return type != NULL && strncasecmp(type->value, json, sizeof json - 1) == 0;
}

static bool is_gzip(const struct header_list *headers)
{
    const struct header *coding = header_find(headers, "Content-Encoding");
    return coding != NULL &&
           (strcasecmp(coding->value, "gzip") == 0 || strcasecmp(coding->value, "x-gzip") == 0);
}

/* One byte more than goes into the file, for the note that there was more; and a key that begins before that
 * is seen whole. */
static void body_begin(const struct dump_attempt *attempt, struct body *body)
{
    body->open = true;
    body->left = attempt->dump->options.file_size + 1;
    if (attempt->key != NULL)
        body->left += (int64_t)secret_len(attempt->key);
}

/* What is held moves into the record, and what has to be held out of it; held never has more than a key's
 * length. */
static void put_piece(struct dump_attempt *attempt, struct body *body, const char *data, size_t len)
{
    bool is_request = body == &attempt->request;
    size_t held = body->held.len;
    struct dump_record *record =
        record_for(attempt, is_request ? DUMP_REQUEST_BODY : DUMP_RESPONSE_BODY, sizeof *record, held + len,
                   is_request ? DUMP_CUT_REQUEST : DUMP_CUT_RESPONSE);
    if (record == NULL)
        return;
    char *out = (char *)(record + 1);
    size_t ready = held + len;
    if (held > 0)
        memcpy(out, body->held.data, held);
    memcpy(out + held, data, len);
    buf_clear(&body->held);
    if (attempt->key != NULL && !body->raw) {
        ready -= credential_hide(attempt->key, out, held + len);
        buf_append(&body->held, out + ready, held + len - ready);
        secret_wipe(out + ready, held + len - ready);
    }
    if (body->held.failed) {
        body->held.failed = false;
        cut(attempt, is_request ? DUMP_CUT_REQUEST : DUMP_CUT_RESPONSE);
    }
    if (ready > 0)
        dump_queue_put(attempt->dump->queue, sizeof *record + ready);
}

static void body_add(struct dump_attempt *attempt, struct body *body, const char *data, size_t len)
{
    if (!body->open || attempt->cut)
        return;
    if (!body->raw && (uint64_t)body->left < len)
        len = (size_t)body->left;
    body->left -= body->raw ? 0 : (int64_t)len;
    while (len > 0 && !attempt->cut) {
        size_t piece = len < PIECE ? len : PIECE;
        put_piece(attempt, body, data, piece);
        data += piece;
        len -= piece;
    }
}

static void body_end(struct dump_attempt *attempt, struct body *body)
{
    bool is_request = body == &attempt->request;
    if (!attempt->cut && body->held.len > 0)
        put_text(attempt, is_request ? DUMP_REQUEST_BODY : DUMP_RESPONSE_BODY, 0, body->held.data,
                 body->held.len, is_request ? DUMP_CUT_REQUEST : DUMP_CUT_RESPONSE);
    if (body->held.data != NULL)
        secret_wipe(body->held.data, body->held.cap);
    buf_fini(&body->held);
    body->open = false;
}

static void request_end(struct dump_attempt *attempt)
{
    body_end(attempt, &attempt->request);
    if (!attempt->cut)
        put_text(attempt, DUMP_REQUEST_END, 0, NULL, 0, DUMP_CUT_REQUEST);
}

/* The writer reads the file by a descriptor of its own. */
static void put_file(struct dump_attempt *attempt, const struct spool *spool)
{
    struct dump_file_record *record =
        record_for(attempt, DUMP_REQUEST_FILE, sizeof *record, 0, DUMP_CUT_REQUEST);
    if (record == NULL)
        return;
    record->len = spool->len;
    if (!dump_writer_give(attempt->dump->writer, spool->fd, &record->number)) {
        cut(attempt, DUMP_CUT_REQUEST);
        return;
    }
    dump_queue_put(attempt->dump->queue, sizeof *record);
}

static void put_spool(struct dump_attempt *attempt, const struct spool *spool)
{
    const char *data = spool_memory(spool);
    if (data != NULL)
        body_add(attempt, &attempt->request, data, (size_t)spool->len);
    else
        put_file(attempt, spool);
    request_end(attempt);
}

/* ---- the begin */

/* The path without its query; "-" for each "/" and for what a file's name should not have. Returns its size.
 */
static size_t make_path_part(char out[PATH_PART_MAX + 1], const char *target)
{
    size_t len = 0;
    while (*target == '/')
        target++;
    for (; *target != '\0' && *target != '?' && len < PATH_PART_MAX; target++)
        out[len++] = ascii_is_alnum(*target) || *target == '.' || *target == '_' ? *target : '-';
    out[len] = '\0';
    return len + 1;
}

/* How much has to be free at the begin: an attempt that finds no room for its request is left out whole. */
static size_t need_of(const struct dump *dump, const struct dump_request *request)
{
    int64_t body = request->spool != NULL && spool_memory(request->spool) != NULL ? request->body_length : 0;
    if (body > dump->options.file_size)
        body = dump->options.file_size;
    if (body > (int64_t)dump->options.queue_size / 2)
        body = (int64_t)dump->options.queue_size / 2;
    return body > 0 ? (size_t)body : 0;
}

static bool put_begin(struct dump_attempt *attempt, const struct dump_request *request, int64_t now_real_ms)
{
    struct dump *dump = attempt->dump;
    char part[PATH_PART_MAX + 1];
    size_t part_size = make_path_part(part, request->target);
    size_t id_size = strlen(request->id) + 1;
    buf_clear(&dump->text);
    dump_head_request(dump->options.providers, request, &dump->text);
    if (dump->text.failed)
        return false;
    struct dump_begin_record *record = record_for(attempt, DUMP_BEGIN, sizeof *record,
                                                  part_size + id_size + dump->text.len, DUMP_CUT_REQUEST);
    if (record == NULL)
        return false;
    record->record.flags = is_json(request->headers) ? DUMP_JSON : 0;
    record->attempt = request->attempt;
    record->part_size = (uint32_t)part_size;
    record->id_size = (uint32_t)id_size;
    record->now_real_ms = now_real_ms;
    record->provider = request->provider->name;
    record->key = attempt->key;
    char *out = (char *)(record + 1);
    memcpy(out, part, part_size);
    memcpy(out + part_size, request->id, id_size);
    memcpy(out + part_size + id_size, dump->text.data, dump->text.len);
    dump_queue_put(dump->queue, sizeof *record + part_size + id_size + dump->text.len);
    return true;
}

struct dump_attempt *dump_begin(struct dump *dump, const struct dump_request *request, int64_t now_real_ms)
{
    if (dump->queue == NULL || !dump_queue_takes(dump->queue, need_of(dump, request) + spare_of(dump))) {
        count_lost(dump);
        return NULL;
    }
    struct dump_attempt *attempt = calloc(1, sizeof *attempt);
    if (attempt == NULL)
        return NULL;
    attempt->dump = dump;
    attempt->key = request->key != NULL ? request->key->secret : NULL;
    if (!take_slot(dump, &attempt->slot)) {
        free(attempt);
        return NULL;
    }
    if (!put_begin(attempt, request, now_real_ms)) {
        free_slot(dump, attempt->slot);
        free(attempt);
        return NULL;
    }
    body_begin(attempt, &attempt->request);
    if (request->body_length == DUMP_NO_BODY)
        request_end(attempt);
    else if (request->spool != NULL)
        put_spool(attempt, request->spool);
    return attempt;
}

/* ---- what follows */

void dump_request_body(struct dump_attempt *attempt, const char *data, size_t len)
{
    if (attempt != NULL)
        body_add(attempt, &attempt->request, data, len);
}

void dump_response_head(struct dump_attempt *attempt, const struct response_head *head)
{
    if (attempt == NULL)
        return;
    attempt->answered = true;
    if (attempt->cut) {
        cut(attempt, DUMP_CUT_RESPONSE);
        return;
    }
    struct buf *text = &attempt->dump->text;
    unsigned flags = (is_json(&head->headers) ? DUMP_JSON : 0) | (is_gzip(&head->headers) ? DUMP_GZIP : 0);
    buf_clear(text);
    dump_head_response(attempt->dump->options.providers, head, attempt->key, text);
    if (text->failed)
        cut(attempt, DUMP_CUT_RESPONSE);
    body_begin(attempt, &attempt->response);
    attempt->response.raw = (flags & DUMP_GZIP) != 0;
    put_text(attempt, DUMP_RESPONSE_HEAD, flags, text->data, text->len, DUMP_CUT_RESPONSE);
}

void dump_response_body(struct dump_attempt *attempt, const char *data, size_t len)
{
    if (attempt != NULL)
        body_add(attempt, &attempt->response, data, len);
}

static void put_end(struct dump_attempt *attempt)
{
    struct dump *dump = attempt->dump;
    if (dump->queue == NULL) {
        cut(attempt, 0);
        return;
    }
    struct dump_record *record = dump_queue_reserve(dump->queue, sizeof *record, 0);
    if (record == NULL) /* never: its room was spared */
        return;
    *record = (struct dump_record){.kind = DUMP_END, .flags = attempt->end_flags, .slot = attempt->slot};
    dump_queue_put(dump->queue, sizeof *record);
    dump->whole += attempt->end_flags == 0;
}

void dump_end(struct dump_attempt **attempt, const char *error)
{
    struct dump_attempt *a = *attempt;
    *attempt = NULL;
    if (a == NULL)
        return;
    body_end(a, &a->request);
    body_end(a, &a->response);
    if (!a->answered && error != NULL)
        put_text(a, DUMP_ERROR, 0, error, strlen(error), DUMP_CUT_ERROR);
    put_end(a);
    free_slot(a->dump, a->slot);
    free(a);
}

/* ---- the loop */

static void tell_news(struct dump *dump)
{
    char path[PATH_MAX];
    int error;
    if (!dump_writer_news(dump->writer, &error, path))
        return;
    if (error != 0)
        log_error("dump: %s: %s; attempts are not dumped until this works again", path, strerror(error));
    else
        log_info("dump: %s can be written again", dump->options.dir);
}

static void tell_pace(struct dump *dump, int64_t now_mono_ms)
{
    if (dump->lost) {
        if (!dump->slow)
            log_warning("dump: %s is slower than the traffic; attempts are left out", dump->options.dir);
        dump->slow = true;
        dump->lost = false;
        dump->calm_ms = now_mono_ms + CALM_MS;
    } else if (dump->slow && now_mono_ms >= dump->calm_ms) {
        log_info("dump: %s keeps up with the traffic again; %" PRIu64 " attempts were left out or cut",
                 dump->options.dir, dump->lost_count);
        dump->slow = false;
        dump->lost_count = 0;
    }
}

void dump_turn(struct dump *dump, int64_t now_mono_ms)
{
    if (dump->queue == NULL)
        return;
    dump_queue_wake(dump->queue);
    tell_news(dump);
    tell_pace(dump, now_mono_ms);
}

/* What it had not taken yet, or was about to write, is lost. Those attempts that were cut were counted then,
 * and those under way are when they meet that there is no queue. */
void dump_child_ended(struct dump *dump)
{
    int status;
    if (dump->writer == NULL || !dump_writer_has_ended(dump->writer, &status))
        return;
    count_skipped(dump, dump->whole - dump_writer_done(dump->writer));
    (void)dump_writer_end(&dump->writer, 0);
    dump_queue_free(&dump->queue);
    if (WIFSIGNALED(status))
        log_error("dump: the process that writes to %s was killed by signal %d (%s); nothing is dumped until "
                  "the next reload",
                  dump->options.dir, WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        log_error(
            "dump: the process that writes to %s has exited with status %d; nothing is dumped until the "
            "next reload",
            dump->options.dir, WEXITSTATUS(status));
}

struct dump *dump_new(const struct dump_options *options)
{
    struct dump *dump = calloc(1, sizeof *dump);
    if (dump == NULL)
        return NULL;
    dump->options = *options;
    if (dump->options.queue_size == 0)
        dump->options.queue_size = DUMP_QUEUE_SIZE;
    dump->queue = dump_queue_new(dump->options.queue_size);
    const struct dump_writer_options writer = {
        .queue = dump->queue,
        .dir = options->dir,
        .file_size = options->file_size,
        .written = options->written,
        .skipped = options->skipped,
        .title = options->title,
        .sandbox = options->sandbox,
    };
    if (dump->queue != NULL)
        dump->writer = dump_writer_new(&writer);
    if (dump->writer == NULL) {
        int saved = errno;
        dump_free(&dump, 0);
        errno = saved;
    }
    return dump;
}

bool dump_finish(struct dump *dump, int wait_ms)
{
    return dump->writer == NULL || dump_writer_finish(dump->writer, wait_ms);
}

void dump_free(struct dump **dump, int timeout_ms)
{
    struct dump *d = *dump;
    *dump = NULL;
    if (d == NULL)
        return;
    if (!dump_writer_end(&d->writer, timeout_ms))
        log_warning("dump: %s is too slow: what was not written yet is lost", d->options.dir);
    dump_queue_free(&d->queue);
    buf_fini(&d->text);
    free(d->free_slots);
    free(d);
}
