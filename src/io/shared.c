/*
 * shared: the pages that master, workers and admin share, and the slots of newest marks in them.
 *
 * The master makes them before it forks; store and housekeeper work on the slots. Nothing here may lock,
 * allocate or wait: any process may be killed between any two instructions.
 */
#include "io/shared.h"

#include "base/fd.h"
#include "base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "shared words must not need a lock");
_Static_assert(sizeof(struct shared) <= UINT32_MAX, "the size must fit its field");
_Static_assert(USAGE_SLOTS == SHARED_WORKERS_MAX, "each worker has its cells");
_Static_assert((SHARED_KEYS_MAX & (SHARED_KEYS_MAX - 1)) == 0, "the slot table is probed with a mask");

/* The parts of shared_key.word, from the lowest bit on. */
#define UNTIL_BITS    44
#define UNTIL_MAX     ((INT64_C(1) << UNTIL_BITS) - 1)
#define PERMANENT_BIT (UINT64_C(1) << 44)
#define DIRTY_BIT     (UINT64_C(1) << 45)
#define STATUS_SHIFT  46
#define STATUS_MAX    0x3ff
#define COUNT_SHIFT   56

/* Less is the rounding of two clocks. */
#define JUMP_MIN_MS 10

static struct shared *map(int fd)
{
    void *pages = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return pages == MAP_FAILED ? NULL : pages;
}

struct shared *shared_make(int *fd)
{
    struct shared *shared = NULL;

    *fd = memfd_create("claviger-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* Nobody who has the descriptor can take pages away that others have mapped. */
    if (*fd >= 0 && ftruncate(*fd, (off_t)sizeof(*shared)) == 0 &&
        fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        shared = map(*fd);
    if (shared == NULL) {
        fd_close(fd);
        return NULL;
    }
    shared->layout = SHARED_LAYOUT;
    shared->size = (uint32_t)sizeof(*shared);
    return shared;
}

struct shared *shared_new(void)
{
    int fd;
    struct shared *shared = shared_make(&fd);

    fd_close(&fd);
    return shared;
}

struct shared *shared_map(int fd)
{
    struct stat st;
    struct shared *shared;
    int seals = fcntl(fd, F_GET_SEALS);

    if (seals < 0 || fstat(fd, &st) < 0)
        return NULL;
    if ((seals & F_SEAL_SHRINK) == 0 || st.st_size != (off_t)sizeof(*shared)) {
        errno = EPROTO;
        return NULL;
    }
    shared = map(fd);
    if (shared != NULL && (shared->layout != SHARED_LAYOUT || shared->size != sizeof(*shared))) {
        shared_free(&shared);
        errno = EPROTO;
    }
    return shared;
}

void shared_free(struct shared **shared)
{
    if (*shared != NULL) {
        munmap(*shared, sizeof(struct shared));
        *shared = NULL;
    }
}

/* Of both names; never 0. */
static uint64_t hash_key(const char *provider, const char *key_id)
{
    uint64_t hash = hash_text(hash_text(HASH_START, provider), key_id);

    return hash != 0 ? hash : 1;
}

struct shared_key *shared_key_slot(struct shared *shared, const char *provider, const char *key_id)
{
    uint64_t id = hash_key(provider, key_id);

    for (size_t i = 0; i < SHARED_KEYS_MAX; i++) {
        struct shared_key *slot = &shared->keys[((id >> 20) + i) & (SHARED_KEYS_MAX - 1)];
        uint64_t found = atomic_load(&slot->id);

        /* A slot is never freed, so whoever loses the race for a free one sees the winner's id. */
        if (found == 0 && atomic_compare_exchange_strong(&slot->id, &found, id))
            return slot;
        if (found == id)
            return slot;
    }
    return NULL;
}

int64_t shared_mark_until(const struct shared_mark *mark, int64_t now_mono_ms, int64_t now_real_ms)
{
    int64_t jump_ms = now_real_ms - now_mono_ms - mark->lead_ms;
    bool jumped = mark->lead_ms != 0 && (jump_ms > JUMP_MIN_MS || jump_ms < -JUMP_MIN_MS);

    return mark->until_real_ms != 0 && jumped ? mark->until_real_ms + jump_ms : mark->until_real_ms;
}

static void unpack(uint64_t word, struct shared_mark *mark)
{
    mark->until_real_ms = (int64_t)(word & (uint64_t)UNTIL_MAX);
    mark->permanent = (word & PERMANENT_BIT) != 0;
    mark->status = (int)((word >> STATUS_SHIFT) & STATUS_MAX);
    mark->lead_ms = 0;
}

/* The word for a mark that follows `before`; the count goes 1 to 255, so that a word of a mark is never 0. */
static uint64_t pack(const struct shared_mark *mark, uint64_t before)
{
    int64_t until = mark->until_real_ms < 0 ? 0 : mark->until_real_ms;
    int status = mark->status < 0 || mark->status > STATUS_MAX ? 0 : mark->status;
    uint64_t count = (before >> COUNT_SHIFT) % 255 + 1;

    if (until > UNTIL_MAX)
        until = UNTIL_MAX;
    return (uint64_t)until | (mark->permanent ? PERMANENT_BIT : 0) | DIRTY_BIT |
           (uint64_t)status << STATUS_SHIFT | count << COUNT_SHIFT;
}

void shared_key_mark(struct shared_key *slot, const struct shared_mark *mark, int64_t now_mono_ms)
{
    uint64_t word = atomic_load(&slot->word);
    uint64_t next;
    int64_t old_lead_ms = atomic_load(&slot->lead_ms);
    int64_t jump_ms = old_lead_ms != 0 && mark->lead_ms != 0 ? mark->lead_ms - old_lead_ms : 0;

    /* Before the word: whoever sees the mark finds a time that is not older than it. */
    atomic_store(&slot->marked_ms, now_mono_ms);
    atomic_store(&slot->lead_ms, mark->lead_ms);
    do {
        struct shared_mark merged = *mark;

        if ((word & DIRTY_BIT) != 0) {
            struct shared_mark old;

            unpack(word, &old);
            if (jump_ms > JUMP_MIN_MS || jump_ms < -JUMP_MIN_MS)
                old.until_real_ms += jump_ms;
            /* The later deadline is kept beside permanent too: the row takes both. */
            if (old.until_real_ms > merged.until_real_ms)
                merged.until_real_ms = old.until_real_ms;
            if (old.permanent || (!mark->permanent && old.until_real_ms >= mark->until_real_ms))
                merged.status = old.status;
            merged.permanent = old.permanent || mark->permanent;
        }
        next = pack(&merged, word);
    } while (!atomic_compare_exchange_weak(&slot->word, &word, next));
}

bool shared_key_dirty(const struct shared_key *slot, struct shared_mark *mark, uint64_t *seen)
{
    uint64_t word = atomic_load(&slot->word);

    if ((word & DIRTY_BIT) == 0)
        return false;
    unpack(word, mark);
    mark->lead_ms = atomic_load(&slot->lead_ms);
    *seen = word;
    return true;
}

bool shared_key_last(const struct shared_key *slot, struct shared_mark *mark, int64_t *marked_mono_ms)
{
    uint64_t word = atomic_load(&slot->word);

    if (word == 0)
        return false;
    unpack(word, mark);
    mark->lead_ms = atomic_load(&slot->lead_ms);
    *marked_mono_ms = atomic_load(&slot->marked_ms);
    return true;
}

void shared_key_written(struct shared_key *slot, uint64_t seen)
{
    atomic_compare_exchange_strong(&slot->word, &seen, seen & ~DIRTY_BIT);
}

void shared_key_redo(struct shared_key *slot)
{
    uint64_t word = atomic_load(&slot->word);

    while (word != 0 && (word & DIRTY_BIT) == 0) {
        struct shared_mark mark;

        unpack(word, &mark);
        if (atomic_compare_exchange_weak(&slot->word, &word, pack(&mark, word)))
            return;
    }
}

bool shared_database_is(struct shared *shared, enum database_condition condition, int64_t now_real_ms)
{
    int32_t old = atomic_load(&shared->database_condition);

    do {
        if (old == (int32_t)condition || (condition == DATABASE_BUSY && old == DATABASE_FAILING))
            return false;
    } while (!atomic_compare_exchange_weak(&shared->database_condition, &old, (int32_t)condition));
    atomic_store(&shared->database_since_ms, now_real_ms);
    return true;
}

const char *shared_condition_name(int32_t condition)
{
    switch (condition) {
    case DATABASE_OK:
        return "ok";
    case DATABASE_BUSY:
        return "busy";
    default:
        return "failing";
    }
}

const char *shared_phase_name(int32_t phase)
{
    switch (phase) {
    case WORKER_STARTING:
        return "starting";
    case WORKER_READY:
        return "ready";
    case WORKER_DRAINING:
        return "draining";
    default:
        return "free";
    }
}
