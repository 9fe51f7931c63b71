/*
 * A stress test of the state database: processes mark keys as fast as they can and are killed with SIGKILL
 * while they do, a housekeeper checkpoints (and is killed too) or makes a deleted file again, an operator
 * reads and writes with a plain connection. In the end no mark that its process saw committed may be missing.
 */
#include "../unit/store_fixture.h"

#include "base/clock.h"
#include "io/housekeeper.h"

#include <poll.h>

#define MARKERS      4
#define KEYS         200
#define ENOUGH_MARKS 8000
#define ENOUGH_KILLS 150
#define LIMIT_MS     10000
#define FINISH_MS    5000
/* Less than this would prove nothing. */
#define LEAST_MARKS 500
#define LEAST_KILLS 10

struct record {
    int key;
    int permanent;
    int64_t until_ms; /* Unix time */
};

static struct key keys[KEYS];
static struct provider provider;
static struct provider_list providers = {.items = &provider, .count = 1};
static struct pool pool;
static int records[2]; /* pipe: markers tell the parent what was committed */

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void setup(void)
{
    static char name[] = "stress";
    struct buf reason = {0};
    char *damaged = NULL;

    fx_setup();
    for (unsigned i = 0; i < KEYS; i++) {
        char id[KEY_ID_SIZE];

        snprintf(id, sizeof(id), "%016x", i * 2654435761U);
        fx_set_key(&keys[i], id, "sk-s...ress");
    }
    provider = (struct provider){.name = name, .keys = keys, .key_count = KEYS, .max_cooldown_ms = 86400000};
    ck_assert_int_eq(pool_init(&pool, name, keys, KEYS), 0);
    ck_assert_int_eq(store_schema_prepare(fx_path, (uid_t)-1, (gid_t)-1, 0, &damaged, &reason), 0);
    ck_assert_int_eq(store_schema_sync(fx_path, &providers, 0, &reason), 0);
    ck_assert_int_eq(pipe(records), 0);
}

static void teardown(void)
{
    close(records[0]);
    close(records[1]);
    pool_fini(&pool);
    fx_teardown();
}

static struct store_clock read_clock(void)
{
    return (struct store_clock){.mono_ms = clock_mono_ms(), .real_ms = clock_real_ms()};
}

/* Tells the parent of each mark that is clean in shared memory: that one is in the database. */
static void report_written(struct record *pending, struct shared_key **slots)
{
    for (int i = 0; i < KEYS; i++) {
        struct shared_mark mark;
        uint64_t seen;

        if (pending[i].key < 0 || shared_key_dirty(slots[i], &mark, &seen))
            continue;
        if (write(records[1], &pending[i], sizeof(pending[i])) != (ssize_t)sizeof(pending[i]))
            _exit(1);
        pending[i].key = -1;
    }
}

static void run_marker(uint32_t seed)
{
    struct record pending[KEYS];
    struct shared_key *slots[KEYS];
    struct store *store = store_new(fx_path, &providers, &pool, fx_shared);

    for (int i = 0; i < KEYS; i++) {
        pending[i].key = -1;
        slots[i] = shared_key_slot(fx_shared, provider.name, keys[i].id);
    }
    if (store == NULL)
        _exit(1);
    for (int64_t n = 0;; n++) {
        struct store_clock now = read_clock();
        uint32_t index = next_random(&seed) % KEYS;
        bool permanent = next_random(&seed) % 400 == 0;
        int64_t cooldown_ms = 600000 + n;

        if (store_mark(store, 0, index, permanent, cooldown_ms, permanent ? 401 : 429, &now))
            pending[index] =
                (struct record){(int)index, permanent, permanent ? 0 : now.real_ms + cooldown_ms};
        if (store_flush(store, &now) != INT64_MAX)
            poll(NULL, 0, 1);
        report_written(pending, slots);
    }
}

static void run_housekeeper(void)
{
    struct store *store = store_new(fx_path, &providers, &pool, fx_shared);
    struct housekeeper_options options = {
        .path = fx_path, .providers = &providers, .pools = &pool, .store = store, .shared = fx_shared};
    struct housekeeper *housekeeper = housekeeper_new(&options);

    if (store == NULL || housekeeper == NULL)
        _exit(1);
    for (;;) {
        struct store_clock now = read_clock();

        housekeeper_tick(housekeeper, &now);
        poll(NULL, 0, 5);
    }
}

/*
 * The sqlite3 shell in the hands of somebody who does not know any better: SQLite's own settings. Where the
 * file is deleted it only reads: a plain connection that has opened the database and not yet its WAL in that
 * moment would write the old content into the new WAL.
 */
static void run_operator(uint32_t seed, bool writes)
{
    static const char *const work[] = {
        "SELECT * FROM keys",
        "SELECT count(*) FROM key_state WHERE permanent",
        "UPDATE key_state SET hint = hint || '' WHERE rowid % 7 = 0",
        "INSERT OR REPLACE INTO key_state(provider, key_id) VALUES('other', abs(random()) % 100)",
        "DELETE FROM key_state WHERE provider = 'other'",
    };
    uint32_t count = writes ? sizeof(work) / sizeof(work[0]) : 2;

    for (;;) {
        sqlite3 *db = NULL;

        if (sqlite3_open_v2(fx_path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
            sqlite3_busy_timeout(db, 100);
            for (int i = 0; i < 20; i++) {
                sqlite3_exec(db, work[next_random(&seed) % count], NULL, NULL, NULL);
                poll(NULL, 0, 1);
            }
        }
        sqlite3_close(db);
    }
}

enum role { HOUSEKEEPER = MARKERS, OPERATOR, PROCESSES };

static pid_t start(int role, uint32_t seed, bool operator_writes)
{
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid > 0)
        return pid;
    if (role < MARKERS)
        run_marker(seed);
    else if (role == HOUSEKEEPER)
        run_housekeeper();
    else
        run_operator(seed, operator_writes);
    _exit(1);
}

/* Ends one for good. It must still have been running: none of them ends by itself. */
static void stop(pid_t pid)
{
    int status = 0;

    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static long take_records(struct record *expected)
{
    struct record batch[64];
    ssize_t got = read(records[0], batch, sizeof(batch));
    long count = got / (ssize_t)sizeof(batch[0]);

    /* A record is shorter than PIPE_BUF, so it comes whole or not at all, also from a process that is killed.
     */
    ck_assert_int_eq(got % (ssize_t)sizeof(batch[0]), 0);
    for (long i = 0; i < count; i++) {
        struct record *known = &expected[batch[i].key];

        known->permanent |= batch[i].permanent;
        if (batch[i].until_ms > known->until_ms)
            known->until_ms = batch[i].until_ms;
    }
    return count;
}

/* What is still only in shared memory is written. Not by a housekeeper: that would also look for marks which
 * the file should have and does not. */
static void settle(void)
{
    struct store *store = store_new(fx_path, &providers, &pool, fx_shared);
    struct store_clock now = read_clock();

    ck_assert_ptr_nonnull(store);
    store_refresh(store, &now);
    store_tend(store, true, &now);
    ck_assert_int_eq(store_flush(store, &now), INT64_MAX);
    store_free(&store);
}

/* How many committed marks the file does not hold, -1 = it cannot be read now. strict: of a key that is
 * permanent the cooldown, too; nobody asks for it any more. */
static int count_lost(const struct record *expected, bool strict, bool say)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int lost = 0;

    if (sqlite3_open_v2(fx_path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(db,
                           "SELECT permanent, cooldown_until FROM key_state WHERE provider = 'stress' AND"
                           " key_id = ?1",
                           -1, &stmt, NULL) != SQLITE_OK)
        lost = -1;
    for (int i = 0; i < KEYS && lost >= 0; i++) {
        sqlite3_bind_text(stmt, 1, keys[i].id, -1, SQLITE_STATIC);
        if (sqlite3_step(stmt) != SQLITE_ROW) {
            lost = -1;
        } else if ((sqlite3_column_int64(stmt, 1) < expected[i].until_ms &&
                    (strict || sqlite3_column_int(stmt, 0) == 0)) ||
                   (expected[i].permanent && sqlite3_column_int(stmt, 0) == 0)) {
            if (say)
                fprintf(stderr, "key %d: committed %d/%lld, found %d/%lld\n", i, expected[i].permanent,
                        (long long)expected[i].until_ms, sqlite3_column_int(stmt, 0),
                        (long long)sqlite3_column_int64(stmt, 1));
            lost++;
        }
        sqlite3_reset(stmt);
    }
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return lost;
}

/* After a deletion the housekeeper needs a few ticks to make the file again and to look once more for marks
 * that went to the old one. Markers are dead by now; what it cannot do without them never comes. */
static void let_housekeeper_finish(const struct record *expected)
{
    int64_t end = clock_mono_ms() + FINISH_MS;

    while (count_lost(expected, false, false) != 0 && clock_mono_ms() < end)
        poll(NULL, 0, 5);
}

enum mode { KILL_MARKERS, KILL_ALL, DELETE_FILE, MODES };

START_TEST(test_no_committed_mark_is_lost)
{
    struct record expected[KEYS] = {0};
    pid_t pids[PROCESSES];
    uint32_t seed = 20261122;
    int64_t end = clock_mono_ms() + LIMIT_MS;
    int64_t next_kill = 0;
    long marks = 0;
    long kills = 0;
    struct pollfd wait_for = {.fd = records[0], .events = POLLIN};

    for (int i = 0; i < PROCESSES; i++)
        pids[i] = start(i, next_random(&seed), _i != DELETE_FILE);
    while (clock_mono_ms() < end && (marks < ENOUGH_MARKS || kills < ENOUGH_KILLS)) {
        if (poll(&wait_for, 1, 5) > 0)
            marks += take_records(expected);
        if (clock_mono_ms() < next_kill)
            continue;
        int victim = (int)(next_random(&seed) % (_i == KILL_ALL ? HOUSEKEEPER + 1 : MARKERS));
        stop(pids[victim]);
        pids[victim] = start(victim, next_random(&seed), _i != DELETE_FILE);
        kills++;
        if (_i == DELETE_FILE && kills % 16 == 0)
            unlink(fx_path);
        next_kill = clock_mono_ms() + 15;
    }
    for (int i = 0; i < MARKERS; i++)
        stop(pids[i]);
    while (poll(&wait_for, 1, 0) > 0)
        marks += take_records(expected);
    if (_i == DELETE_FILE)
        let_housekeeper_finish(expected);
    for (int i = MARKERS; i < PROCESSES; i++)
        stop(pids[i]);
    settle();
    ck_assert_str_eq(fx_text("PRAGMA integrity_check"), "ok");
    for (int i = 0; i < KEYS; i++) {
        struct shared_mark mark;
        uint64_t seen;

        ck_assert(!shared_key_dirty(shared_key_slot(fx_shared, "stress", keys[i].id), &mark, &seen));
    }
    ck_assert_int_eq(count_lost(expected, _i != DELETE_FILE, true), 0);
    ck_assert_int_ge(marks, LEAST_MARKS);
    ck_assert_int_ge(kills, LEAST_KILLS);
    ck_assert_int_eq(fx_files("state.db.damaged-"), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("store_stress");
    TCase *tcase = tcase_create("store_stress");

    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, test_no_committed_mark_is_lost, 0, MODES);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
