/*
 * Tests of dump_queue: order, what is full, records at the end of the ring, wiping, and two threads or
 * processes at once.
 */
#include "io/dump_queue.h"
#include "unit/suite.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIZE 4096

static struct dump_queue *queue;

static void setup(void)
{
    queue = dump_queue_new(SIZE);
    ck_assert_ptr_nonnull(queue);
}

static void teardown(void)
{
    dump_queue_free(&queue);
}

static bool put(const char *text, size_t len, size_t spare)
{
    char *room = dump_queue_reserve(queue, len, spare);

    if (room == NULL)
        return false;
    memcpy(room, text, len);
    dump_queue_put(queue, len);
    return true;
}

static void expect(const char *text, size_t len)
{
    size_t got;
    const char *record = dump_queue_peek(queue, &got);

    ck_assert_ptr_nonnull(record);
    ck_assert_uint_eq(got, len);
    ck_assert_mem_eq(record, text, len);
    dump_queue_drop(queue);
}

static void expect_empty(void)
{
    size_t len;

    ck_assert_ptr_null(dump_queue_peek(queue, &len));
    ck_assert_uint_eq(dump_queue_used(queue), 0);
}

START_TEST(test_order)
{
    expect_empty();
    ck_assert(put("one", 3, 0));
    ck_assert(put("", 0, 0));
    ck_assert(put("three", 5, 0));
    expect("one", 3);
    expect("", 0);
    ck_assert(put("four", 4, 0));
    expect("three", 5);
    expect("four", 4);
    expect_empty();
}
END_TEST

/* What is reserved counts only when it is put, with the length that it has then. */
START_TEST(test_shorter)
{
    char *room = dump_queue_reserve(queue, 1000, 0);

    memset(room, 'x', 1000);
    expect_empty();
    dump_queue_put(queue, 3);
    ck_assert_uint_eq(dump_queue_used(queue), DUMP_QUEUE_UNIT);
    ck_assert_ptr_nonnull(dump_queue_reserve(queue, 1000, 0));
    expect("xxx", 3);
    expect_empty();
}
END_TEST

START_TEST(test_full)
{
    size_t count = 0;

    ck_assert_ptr_null(dump_queue_reserve(queue, SIZE, 0));
    ck_assert_ptr_null(dump_queue_reserve(queue, SIZE + 1, 0));
    ck_assert_ptr_null(dump_queue_reserve(queue, SIZE_MAX, 0));
    ck_assert(!put("x", 1, SIZE));
    while (put("x", 1, 2 * DUMP_QUEUE_UNIT))
        count++;
    ck_assert_uint_eq(count, SIZE / DUMP_QUEUE_UNIT - 2);
    ck_assert(put("y", 1, DUMP_QUEUE_UNIT));
    ck_assert(put("z", 1, 0));
    ck_assert(!put("z", 0, 0));
    expect("x", 1);
    ck_assert(put("w", 1, 0));
    for (; count > 1; count--)
        expect("x", 1);
    expect("y", 1);
    expect("z", 1);
    expect("w", 1);
    expect_empty();
}
END_TEST

/* Once something found no room, nothing is to begin before half of the queue is free. */
START_TEST(test_takes)
{
    size_t count = 0;

    ck_assert(dump_queue_takes(queue, SIZE - 1));
    ck_assert(!dump_queue_takes(queue, SIZE));
    ck_assert(dump_queue_takes(queue, 0)); /* it is empty */
    for (; dump_queue_takes(queue, 0); count++)
        ck_assert(put("x", 1, 0));
    ck_assert_uint_eq(count, SIZE / DUMP_QUEUE_UNIT);
    for (; count > SIZE / DUMP_QUEUE_UNIT / 2; count--) {
        ck_assert(!dump_queue_takes(queue, 0));
        expect("x", 1);
    }
    ck_assert(dump_queue_takes(queue, 0));
    for (; count < SIZE / DUMP_QUEUE_UNIT - 1; count++)
        ck_assert(put("x", 1, 0));
    ck_assert(dump_queue_takes(queue, 1)); /* full so far it never was */
    ck_assert_ptr_null(dump_queue_reserve(queue, 100, 0));
    ck_assert(!dump_queue_takes(queue, 1));
}
END_TEST

/* A record is in one piece, also where the ring ends, and the spared room is there as well. */
START_TEST(test_ring)
{
    static char text[SIZE];

    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('a' + i % 26);
    for (size_t len = 0; len < SIZE / 2; len += 7) {
        ck_assert(put("before", 6, 0));
        if (put(text, len, DUMP_QUEUE_UNIT)) {
            ck_assert(put("spared", 6, 0));
            expect("before", 6);
            expect(text, len);
            expect("spared", 6);
        } else {
            expect("before", 6);
        }
        expect_empty();
    }
}
END_TEST

START_TEST(test_wiped)
{
    char *room;

    ck_assert(put("sk-secret", 9, 0));
    expect("sk-secret", 9);
    for (int i = 0; i < SIZE; i++) { /* once around */
        room = dump_queue_reserve(queue, 9, 0);
        ck_assert_mem_ne(room, "sk-secret", 9);
        dump_queue_put(queue, 9);
        expect(room, 9);
    }
}
END_TEST

/* Who takes may write what it likes into what both share: who puts stays within the ring. */
START_TEST(test_harm)
{
    static const size_t frame[2] = {DUMP_QUEUE_UNIT, 0};
    char *room;

    ck_assert(put("one", 3, 0));
    dump_queue_drop(queue);
    room = dump_queue_reserve(queue, 5, 0);
    ck_assert_ptr_nonnull(room);
    memcpy(room - sizeof(frame), frame, sizeof(frame));
    dump_queue_drop(queue); /* what was never put */
    ck_assert_ptr_null(dump_queue_reserve(queue, 5, 0));
    ck_assert_ptr_null(dump_queue_reserve(queue, SIZE, 0));
    ck_assert(!dump_queue_takes(queue, 0));
}
END_TEST

/* ---- two at once */

#define RECORDS 200000

static int ends[2];

/* Counts the records that come as they were put, up to the end. */
static void take_all(_Atomic uint32_t *count)
{
    bool ended = false;

    for (;;) {
        size_t len;
        const uint32_t *record = dump_queue_peek(queue, &len);

        if (record == NULL && ended)
            return;
        if (record == NULL) {
            ended = !dump_queue_sleep(queue, ends[1], (int)(*count % 3) - 1);
            continue;
        }
        for (size_t i = 0; i < len / sizeof(*record); i++)
            if (record[i] != *count)
                return;
        ++*count;
        dump_queue_drop(queue);
    }
}

static void *take(void *arg)
{
    take_all(arg);
    return NULL;
}

static void put_numbers(uint32_t records)
{
    for (uint32_t i = 0; i < records;) {
        size_t count = 1 + i % 100;
        uint32_t *room = dump_queue_reserve(queue, count * sizeof(*room), 0);

        if (room == NULL) {
            dump_queue_wake(queue);
            continue;
        }
        for (size_t k = 0; k < count; k++)
            room[k] = i;
        dump_queue_put(queue, count * sizeof(*room));
        if (i % 3 == 0)
            dump_queue_wake(queue);
        i++;
    }
}

static void open_ends(void)
{
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
}

START_TEST(test_threads)
{
    _Atomic uint32_t count = 0;
    pthread_t thread;

    open_ends();
    ck_assert_int_eq(pthread_create(&thread, NULL, take, &count), 0);
    put_numbers(RECORDS);
    ck_assert_int_eq(shutdown(ends[0], SHUT_WR), 0);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(count, RECORDS);
    expect_empty();
}
END_TEST

static void *doze(void *arg)
{
    size_t *used = arg;

    ck_assert(dump_queue_sleep(queue, ends[1], 60000));
    *used = dump_queue_used(queue);
    return NULL;
}

/* Who dozes is not woken for a record, but for many. */
START_TEST(test_dozing)
{
    size_t used = 0;
    pthread_t thread;

    open_ends();
    ck_assert_int_eq(pthread_create(&thread, NULL, doze, &used), 0);
    while (dump_queue_used(queue) <= SIZE / 4) {
        ck_assert(put("x", 1, 0));
        dump_queue_wake(queue);
        sched_yield();
    }
    for (void *none; pthread_tryjoin_np(thread, &none) != 0;) /* it may begin just now */
        dump_queue_wake(queue);
    ck_assert_uint_gt(used, SIZE / 4);
    /* For no longer than it was told; and not at all with so much to do. */
    ck_assert(dump_queue_sleep(queue, ends[1], 60000));
    while (dump_queue_used(queue) > 0)
        expect("x", 1);
    ck_assert(dump_queue_sleep(queue, ends[1], 1));
    ck_assert_int_eq(shutdown(ends[0], SHUT_WR), 0);
    ck_assert(!dump_queue_sleep(queue, ends[1], 60000));
}
END_TEST

struct sleeper {
    int doze_ms;
    _Atomic pid_t tid;
};

static void *sleep_once(void *arg)
{
    struct sleeper *sleeper = arg;

    sleeper->tid = gettid();
    ck_assert(dump_queue_sleep(queue, ends[1], sleeper->doze_ms));
    return NULL;
}

static void await_asleep(const struct sleeper *sleeper)
{
    char path[64];
    char state = ' ';

    while (sleeper->tid == 0)
        sched_yield();
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)sleeper->tid);
    while (state != 'S') {
        FILE *file = fopen(path, "r");

        ck_assert_ptr_nonnull(file);
        ck_assert_int_eq(fscanf(file, "%*d (%*[^)]) %c", &state), 1);
        fclose(file);
    }
}

/* Who puts much at once does not fill the queue while the other side sleeps. */
START_TEST(test_much_at_once)
{
    static const int doze_ms[] = {-1, 600000};
    struct sleeper sleeper = {.doze_ms = doze_ms[_i]};
    struct timespec limit;
    pthread_t thread;

    open_ends();
    ck_assert_int_eq(pthread_create(&thread, NULL, sleep_once, &sleeper), 0);
    await_asleep(&sleeper);
    while (dump_queue_used(queue) <= SIZE / 4)
        ck_assert(put("x", 1, 0));
    ck_assert(put("x", 1, 0));
    ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &limit), 0);
    limit.tv_sec += 10;
    ck_assert_int_eq(pthread_timedjoin_np(thread, NULL, &limit), 0);
}
END_TEST

/* A process that takes; *count is shared. */
static pid_t fork_taker(_Atomic uint32_t **count)
{
    pid_t pid;

    *count = mmap(NULL, sizeof(**count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(*count != MAP_FAILED);
    open_ends();
    pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        close(ends[0]);
        take_all(*count);
        _exit(0);
    }
    close(ends[1]);
    return pid;
}

static void await_end(pid_t pid)
{
    int status;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}

START_TEST(test_processes)
{
    _Atomic uint32_t *count;
    pid_t pid = fork_taker(&count);

    put_numbers(RECORDS);
    close(ends[0]);
    await_end(pid);
    ck_assert_uint_eq(*count, RECORDS);
    expect_empty();
}
END_TEST

/* Who puts is killed in the middle: every record that the other one gets is whole, and it sees the end. */
START_TEST(test_killed)
{
    _Atomic uint32_t *count;
    pid_t taker = fork_taker(&count);
    pid_t putter = fork();

    ck_assert_int_ge(putter, 0);
    if (putter == 0) {
        put_numbers(UINT32_MAX);
        _exit(1);
    }
    close(ends[0]);
    while (*count < 1000U * (unsigned)_i)
        sched_yield();
    ck_assert_int_eq(kill(putter, SIGKILL), 0);
    ck_assert_int_eq(waitpid(putter, NULL, 0), putter);
    await_end(taker);
    expect_empty(); /* it did not stop at a record that is not whole */
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dump_queue");
    TCase *tc = tcase_create("dump_queue");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_order);
    tcase_add_test(tc, test_shorter);
    tcase_add_test(tc, test_full);
    tcase_add_test(tc, test_takes);
    tcase_add_test(tc, test_ring);
    tcase_add_test(tc, test_wiped);
    tcase_add_test(tc, test_harm);
    tcase_add_test(tc, test_dozing);
    tcase_add_loop_test(tc, test_much_at_once, 0, 2);
    tcase_add_test(tc, test_threads);
    tcase_add_test(tc, test_processes);
    tcase_add_loop_test(tc, test_killed, 0, 10);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
