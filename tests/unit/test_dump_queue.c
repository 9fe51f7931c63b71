/*
 * Tests of dump_queue: order, what is full, records at the end of the ring, wiping, and two threads at once.
 */
#include "io/dump_queue.h"
#include "unit/suite.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

/* ---- two threads */

#define RECORDS 200000

static _Atomic bool done;

static void *take(void *arg)
{
    uint32_t *next = arg;

    for (;;) {
        bool last = done;
        size_t len;
        const uint32_t *record = dump_queue_peek(queue, &len);

        if (record == NULL && last)
            return NULL;
        if (record == NULL) {
            dump_queue_sleep(queue);
            continue;
        }
        for (size_t i = 0; i < len / sizeof(*record); i++)
            if (record[i] != *next)
                return NULL;
        ++*next;
        dump_queue_drop(queue);
    }
}

START_TEST(test_threads)
{
    uint32_t next = 0;
    pthread_t thread;

    ck_assert_int_eq(pthread_create(&thread, NULL, take, &next), 0);
    for (uint32_t i = 0; i < RECORDS;) {
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
    done = true;
    dump_queue_alarm(queue);
    pthread_join(thread, NULL);
    ck_assert_uint_eq(next, RECORDS);
    expect_empty();
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
    tcase_add_test(tc, test_threads);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
