/*
 * dump_writer: owns the process, the attempts whose files are open, and the words that both processes share.
 */
#include "io/dump_writer.h"

#include "base/clock.h"
#include "base/fd.h"
#include "io/companion.h"
#include "io/dump_file.h"
#include "io/dump_record.h"
#include "io/sandbox.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define FLUSH_MS  50 /* so long records and what was streamed wait at most */
#define SLOTS_MIN 64
#define FILES_MAX 64 /* descriptors on their way */

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2 && ATOMIC_BOOL_LOCK_FREE == 2,
               "processes share these words");

struct shared_words {
    _Atomic uint64_t done;       /* ENDs without a flag */
    _Atomic uint32_t open_files; /* descriptors on their way */
    /* written by the writer while there is no news, read by the worker while there is */
    _Atomic bool news;
    int news_error;
    char news_path[PATH_MAX];
};

/* An attempt under way. files == NULL: none, or one that could not begin. */
struct slot {
    struct dump_files *files;
    bool lost;  /* its request's body, and counted */
    bool dirty; /* is in the list of those that have something to flush */
};

struct dump_writer {
    struct dump_writer_options options;
    struct dump_file_options file_options;
    struct shared_words *words;

    /* the worker's */
    struct companion *companion;
    uint32_t given; /* descriptors */

    /* the writer's */
    int socket;
    struct slot *slots;
    size_t slot_count;
    uint32_t *dirty; /* slots; room for slot_count */
    size_t dirty_count;
    int64_t flush_ms;
    bool failing;
    bool said; /* `failing` as the worker knows it */
};

/* ---- what went wrong */

static void on_outcome(void *arg, const char *path, int error)
{
    struct dump_writer *writer = arg;
    writer->failing = error != 0;
    struct shared_words *words = writer->words;
    if (writer->failing == writer->said || atomic_load_explicit(&words->news, memory_order_acquire))
        return;
    writer->said = writer->failing;
    words->news_error = error;
    (void)snprintf(words->news_path, sizeof words->news_path, "%s", path);
    atomic_store_explicit(&words->news, true, memory_order_release);
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
    slot->lost = false;
    slot->files = dump_files_new(&writer->file_options, record, part, id, head,
                                 len - (size_t)(head - (const char *)record));
    if (slot->files == NULL)
        count_lost(writer);
}

/* An older one is of a record for which it could not be received. -1: it is lost. */
static int receive(const struct dump_writer *writer, uint32_t wanted)
{
    for (;;) {
        uint32_t number = wanted;
        int fd = fd_receive(writer->socket, &number);
        if (number == wanted || (fd < 0 && errno != EBADF))
            return fd;
        fd_close(&fd);
    }
}

static void handle_file(struct dump_writer *writer, struct slot *slot, const struct dump_file_record *record)
{
    int fd = receive(writer, record->number);
    atomic_fetch_sub(&writer->words->open_files, 1);
    if (slot != NULL && slot->files != NULL && fd >= 0) {
        dump_files_request_file(slot->files, fd, record->len);
    } else if (slot != NULL && slot->files != NULL) {
        slot->lost = true;
        count_lost(writer);
    }
    fd_close(&fd);
}

static void handle_end(struct dump_writer *writer, struct slot *slot, const struct dump_record *record)
{
    unsigned flags = record->flags | (slot->lost ? DUMP_CUT_REQUEST : 0);
    if (!dump_files_end(&slot->files, flags) && flags == 0)
        count_lost(writer);
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
        handle_file(writer, slot, (const struct dump_file_record *)(const void *)record);
    if (files == NULL)
        return;
    switch ((enum dump_kind)record->kind) {
    case DUMP_REQUEST_BODY:
        dump_files_request(files, data, data_len);
        break;
    case DUMP_REQUEST_END:
        if (!slot->lost)
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
        handle_end(writer, slot, record);
        return;
    case DUMP_BEGIN:
    case DUMP_REQUEST_FILE:
        break;
    }
    mark_dirty(writer, record->slot);
}

/* ---- the process */

static void flush_in_time(struct dump_writer *writer)
{
    int64_t now_ms = clock_mono_ms();
    if (now_ms < writer->flush_ms)
        return;
    writer->flush_ms = now_ms + FLUSH_MS;
    flush_dirty(writer);
}

/* The first record after a quiet time is written at once. While more may come they are gathered: to be woken
 * for each of them would cost the worker, and what it has in the processor's caches, more than the record.
 * False when the worker has ended. */
static bool rest(struct dump_writer *writer)
{
    int64_t left_ms = writer->flush_ms - clock_mono_ms();
    if (left_ms <= 0 && writer->dirty_count == 0)
        return dump_queue_sleep(writer->options.queue, writer->socket, -1);
    if (left_ms > 0)
        return dump_queue_sleep(writer->options.queue, writer->socket, (int)left_ms);
    flush_in_time(writer);
    return true;
}

static void end_all(struct dump_writer *writer)
{
    for (size_t i = 0; i < writer->slot_count; i++)
        if (writer->slots[i].files != NULL)
            (void)dump_files_end(&writer->slots[i].files, 0);
    free(writer->slots);
    free(writer->dirty);
}

static void run(void *arg, int socket)
{
    struct dump_writer *writer = arg;
    bool ending = false;
    writer->socket = socket;
    for (;;) {
        size_t len;
        const struct dump_record *record = dump_queue_peek(writer->options.queue, &len);
        if (record != NULL) {
            handle(writer, record, len);
            if (record->kind == DUMP_END && record->flags == 0)
                atomic_fetch_add_explicit(&writer->words->done, 1, memory_order_relaxed);
            dump_queue_drop(writer->options.queue);
            flush_in_time(writer);
            continue;
        }
        if (ending)
            break;
        ending = !rest(writer);
    }
    flush_dirty(writer);
    end_all(writer);
}

/* ---- in the worker */

static struct shared_words *map_words(void)
{
    void *words =
        mmap(NULL, sizeof(struct shared_words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return words != MAP_FAILED ? words : NULL;
}

static void free_writer(struct dump_writer *writer)
{
    if (writer->words != NULL)
        (void)munmap(writer->words, sizeof *writer->words);
    free(writer);
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
    const struct companion_options companion = {.fn = run,
                                                .arg = writer,
                                                .keep_fd = dump_queue_fd(options->queue),
                                                .title = options->title,
                                                .confine = options->sandbox ? sandbox_enter_writer : NULL};
    writer->words = map_words();
    if (writer->words != NULL)
        writer->companion = companion_start(&companion);
    if (writer->companion == NULL) {
        int saved = errno;
        free_writer(writer);
        errno = saved;
        return NULL;
    }
    return writer;
}

bool dump_writer_finish(struct dump_writer *writer, int wait_ms)
{
    return companion_finish(writer->companion, wait_ms);
}

bool dump_writer_end(struct dump_writer **writer, int timeout_ms)
{
    struct dump_writer *w = *writer;
    *writer = NULL;
    if (w == NULL)
        return true;
    bool ended = companion_end(&w->companion, timeout_ms);
    free_writer(w);
    return ended;
}

bool dump_writer_give(struct dump_writer *writer, int fd, uint32_t *number)
{
    _Atomic uint32_t *open_files = &writer->words->open_files;
    if (atomic_load(open_files) >= FILES_MAX)
        return false;
    atomic_fetch_add(open_files, 1);
    *number = writer->given++;
    if (fd_send(companion_socket(writer->companion), fd, *number) == 0)
        return true;
    atomic_fetch_sub(open_files, 1);
    return false;
}

bool dump_writer_news(struct dump_writer *writer, int *error, char path[PATH_MAX])
{
    struct shared_words *words = writer->words;
    if (!atomic_load_explicit(&words->news, memory_order_acquire))
        return false;
    *error = words->news_error;
    (void)snprintf(path, PATH_MAX, "%.*s", PATH_MAX - 1, words->news_path);
    atomic_store_explicit(&words->news, false, memory_order_release);
    return true;
}

bool dump_writer_has_ended(struct dump_writer *writer, int *wait_status)
{
    return companion_has_ended(writer->companion, wait_status);
}

uint64_t dump_writer_done(const struct dump_writer *writer)
{
    return atomic_load_explicit(&writer->words->done, memory_order_relaxed);
}
