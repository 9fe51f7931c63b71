/*
 * dump_writer: owns the thread and the attempts whose files are open.
 */
#include "io/dump_writer.h"

#include "base/clock.h"
#include "io/aside.h"
#include "io/dump_file.h"
#include "io/dump_record.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FLUSH_MS  50 /* so long what was streamed waits in memory at most, when there is no end of records */
#define SLOTS_MIN 64

/* An attempt under way. files == NULL: none, or one that could not begin. */
struct slot {
    struct dump_files *files;
    bool lost;  /* and counted */
    bool dirty; /* is in the list of those that have something to flush */
};

struct dump_writer {
    struct dump_writer_options options;
    struct dump_file_options file_options;
    struct aside *aside;
    _Atomic bool ending;
    _Atomic bool given_up;

    /* the thread's */
    struct slot *slots;
    size_t slot_count;
    uint32_t *dirty; /* slots; room for slot_count */
    size_t dirty_count;
    int64_t flush_ms;
    bool failing;
    bool said; /* `failing` as the other thread knows it */

    /* to be picked up by the other thread: written while there is no news, read while there is */
    _Atomic bool news;
    int news_error;
    char news_path[PATH_MAX];
};

/* ---- what went wrong */

static void on_outcome(void *arg, const char *path, int error)
{
    struct dump_writer *writer = arg;
    writer->failing = error != 0;
    if (writer->failing == writer->said || atomic_load_explicit(&writer->news, memory_order_acquire))
        return;
    writer->said = writer->failing;
    writer->news_error = error;
    (void)snprintf(writer->news_path, sizeof writer->news_path, "%s", path);
    atomic_store_explicit(&writer->news, true, memory_order_release);
}

bool dump_writer_news(struct dump_writer *writer, int *error, char path[PATH_MAX])
{
    if (!atomic_load_explicit(&writer->news, memory_order_acquire))
        return false;
    *error = writer->news_error;
    (void)snprintf(path, PATH_MAX, "%s", writer->news_path);
    atomic_store_explicit(&writer->news, false, memory_order_release);
    return true;
}

static void count_lost(struct dump_writer *writer)
{
    if (writer->options.skipped != NULL)
        atomic_fetch_add_explicit(writer->options.skipped, 1, memory_order_relaxed);
}

/* ---- slots */

static struct slot *make_slot(struct dump_writer *writer, uint32_t number)
{
    size_t count = writer->slot_count < SLOTS_MIN ? SLOTS_MIN : writer->slot_count;
    if (number < writer->slot_count)
        return &writer->slots[number];
    while (count <= number)
        count *= 2;
    struct slot *slots = realloc(writer->slots, count * sizeof *slots);
    if (slots == NULL)
        return NULL;
    memset(slots + writer->slot_count, 0, (count - writer->slot_count) * sizeof *slots);
    writer->slots = slots;
    uint32_t *dirty = realloc(writer->dirty, count * sizeof *dirty);
    if (dirty == NULL)
        return NULL;
    writer->dirty = dirty;
    writer->slot_count = count;
    return &slots[number];
}

static void mark_dirty(struct dump_writer *writer, uint32_t number)
{
    struct slot *slot = &writer->slots[number];
    if (slot->dirty)
        return;
    slot->dirty = true;
    writer->dirty[writer->dirty_count++] = number;
}

/* A slot in the list may have had its end meanwhile, and another begin. */
static void flush_dirty(struct dump_writer *writer)
{
    for (size_t i = 0; i < writer->dirty_count; i++) {
        struct slot *slot = &writer->slots[writer->dirty[i]];
        slot->dirty = false;
        if (slot->files != NULL)
            (void)dump_files_flush(slot->files);
    }
    writer->dirty_count = 0;
}

/* ---- records */

static void begin(struct dump_writer *writer, const struct dump_begin_record *record, size_t len)
{
    const char *part = (const char *)(record + 1);
    const char *id = part + record->part_size;
    const char *head = id + record->id_size;
    struct slot *slot = make_slot(writer, record->record.slot);
    if (slot == NULL) {
        count_lost(writer);
        return;
    }
    slot->files = dump_files_new(&writer->file_options, record, part, id, head,
                                 len - (size_t)(head - (const char *)record));
    if (slot->files == NULL)
        count_lost(writer);
}

static void handle_file(struct dump_writer *writer, struct dump_files *files,
                        const struct dump_file_record *record)
{
    if (files != NULL)
        dump_files_request_file(files, record->fd, record->len);
    (void)close(record->fd);
    atomic_fetch_sub(writer->options.open_files, 1);
}

static void handle(struct dump_writer *writer, const struct dump_record *record, size_t len)
{
    const char *data = (const char *)(record + 1);
    size_t data_len = len - sizeof *record;
    struct slot *slot = record->slot < writer->slot_count ? &writer->slots[record->slot] : NULL;
    struct dump_files *files = slot != NULL ? slot->files : NULL;
    if (record->kind == DUMP_BEGIN) {
        begin(writer, (const struct dump_begin_record *)(const void *)record, len);
        if (record->slot < writer->slot_count)
            mark_dirty(writer, record->slot);
        return;
    }
    if (record->kind == DUMP_REQUEST_FILE)
        handle_file(writer, files, (const struct dump_file_record *)(const void *)record);
    if (files == NULL)
        return;
    switch ((enum dump_kind)record->kind) {
    case DUMP_REQUEST_BODY:
        dump_files_request(files, data, data_len);
        break;
    case DUMP_REQUEST_END:
        dump_files_request_end(files);
        break;
    case DUMP_RESPONSE_HEAD:
        dump_files_response_head(files, record->flags, data, data_len);
        break;
    case DUMP_RESPONSE_BODY:
        dump_files_response(files, data, data_len);
        break;
    case DUMP_ERROR:
        dump_files_error(files, data, data_len);
        break;
    case DUMP_END:
        if (!dump_files_end(&slot->files, record->flags) && record->flags == 0)
            count_lost(writer);
        return;
    case DUMP_BEGIN:
    case DUMP_REQUEST_FILE:
        break;
    }
    mark_dirty(writer, record->slot);
}

/* ---- the thread */

static void flush_in_time(struct dump_writer *writer)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms < writer->flush_ms)
        return;
    writer->flush_ms = now_ms + FLUSH_MS;
    flush_dirty(writer);
}

static void end_all(struct dump_writer *writer)
{
    for (size_t i = 0; i < writer->slot_count; i++)
        if (writer->slots[i].files != NULL)
            (void)dump_files_end(&writer->slots[i].files, 0);
    free(writer->slots);
    free(writer->dirty);
}

static void run(void *arg)
{
    struct dump_writer *writer = arg;
    while (!atomic_load(&writer->given_up)) {
        bool ending =
            atomic_load(&writer->ending); /* before the look at the queue: no record comes behind it */
        size_t len;
        const struct dump_record *record = dump_queue_peek(writer->options.queue, &len);
        if (record != NULL) {
            handle(writer, record, len);
            dump_queue_drop(writer->options.queue);
            flush_in_time(writer);
            continue;
        }
        flush_dirty(writer);
        if (ending)
            break;
        dump_queue_sleep(writer->options.queue);
    }
    if (!atomic_load(&writer->given_up))
        end_all(writer);
}

struct dump_writer *dump_writer_new(const struct dump_writer_options *options)
{
    struct dump_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL)
        return NULL;
    writer->options = *options;
    writer->file_options = (struct dump_file_options){.dir = options->dir,
                                                      .file_size = options->file_size,
                                                      .written = options->written,
                                                      .outcome = {on_outcome, writer}};
    writer->aside = aside_start(run, writer);
    if (writer->aside == NULL) {
        int saved = errno;
        free(writer);
        errno = saved;
        return NULL;
    }
    return writer;
}

bool dump_writer_end(struct dump_writer **writer, int timeout_ms)
{
    struct dump_writer *w = *writer;
    *writer = NULL;
    if (w == NULL)
        return true;
    atomic_store(&w->ending, true);
    dump_queue_alarm(w->options.queue);
    if (!aside_end(&w->aside, timeout_ms)) {
        atomic_store(&w->given_up, true);
        dump_queue_alarm(w->options.queue);
        return false;
    }
    free(w);
    return true;
}
