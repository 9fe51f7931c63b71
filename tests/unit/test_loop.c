/* test_loop: watches and timers: order, moving, cancelling, and owners that go away within a turn. */
#include "worker/loop.h"

#include "base/clock.h"
#include "unit/suite.h"

#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static int turns_left;

static bool turn(void *arg)
{
    (void)arg;
    if (--turns_left <= 0)
        loop_stop(loop);
    return true;
}

static void setup(void)
{
    turns_left = 1;
    loop = loop_new(turn, NULL);
    ck_assert_ptr_nonnull(loop);
}

static void teardown(void)
{
    loop_free(&loop);
    ck_assert_ptr_null(loop);
}

/* ---- timers */

struct fired {
    struct loop_timer timer;
    int number;
};

static int order[64];
static int order_count;

static void note(struct loop_timer *timer)
{
    order[order_count++] = LOOP_OWNER(timer, struct fired, timer)->number;
}

START_TEST(timers_fire_in_order)
{
    static const int due[] = {5, 3, 9, 1, 7, 2, 8, 4, 6, 0};
    struct fired timers[10] = {0};
    int64_t base_ms = loop_now(loop) - 100; /* all are due */
    order_count = 0;
    for (int i = 0; i < 10; i++) {
        timers[i].timer.fn = note;
        timers[i].number = due[i];
        ck_assert_int_eq(loop_timer_set(loop, &timers[i].timer, base_ms + due[i]), 0);
    }
    loop_run(loop);
    ck_assert_int_eq(order_count, 10);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(order[i], i);
        ck_assert_uint_eq(timers[i].timer.index, 0);
    }
}
END_TEST

START_TEST(timers_move_and_cancel)
{
    struct fired timers[6] = {0};
    int64_t base_ms = loop_now(loop) - 100;
    order_count = 0;
    for (int i = 0; i < 6; i++) {
        timers[i].timer.fn = note;
        timers[i].number = i;
        ck_assert_int_eq(loop_timer_set(loop, &timers[i].timer, base_ms + i), 0);
    }
    ck_assert_int_eq(loop_timer_set(loop, &timers[0].timer, base_ms + 50), 0);
    ck_assert_int_eq(loop_timer_set(loop, &timers[5].timer, base_ms - 1), 0);
    loop_timer_cancel(loop, &timers[2].timer);
    loop_timer_cancel(loop, &timers[2].timer);
    ck_assert_int_eq(loop_timer_set(loop, &timers[3].timer, clock_mono_ms() + 1000000), 0);
    loop_run(loop);
    ck_assert_int_eq(order_count, 4);
    ck_assert_int_eq(order[0], 5);
    ck_assert_int_eq(order[1], 1);
    ck_assert_int_eq(order[2], 4);
    ck_assert_int_eq(order[3], 0);
}
END_TEST

START_TEST(timers_survive_a_thousand_changes)
{
    static struct fired timers[500];
    uint32_t random = 1;
    int64_t far_ms = loop_now(loop) + 1000000;
    for (int i = 0; i < 5000; i++) {
        struct loop_timer *timer = &timers[random % 500].timer;
        random = random * 1664525 + 1013904223;
        timer->fn = note;
        if (random % 3 == 0)
            loop_timer_cancel(loop, timer);
        else
            ck_assert_int_eq(loop_timer_set(loop, timer, far_ms + random % 1000), 0);
        random = random * 1664525 + 1013904223;
    }
    for (int i = 0; i < 500; i++)
        loop_timer_cancel(loop, &timers[i].timer);
    order_count = 0;
    loop_run(loop);
    ck_assert_int_eq(order_count, 0);
}
END_TEST

static void again(struct loop_timer *timer)
{
    note(timer);
    ck_assert_int_eq(loop_timer_set(loop, timer, loop_now(loop)), 0);
}

START_TEST(timer_that_is_always_due_lets_the_turn_come)
{
    struct fired timer = {.timer.fn = again};
    order_count = 0;
    turns_left = 3;
    ck_assert_int_eq(loop_timer_set(loop, &timer.timer, 0), 0);
    loop_run(loop);
    ck_assert_int_eq(order_count, 3);
}
END_TEST

/* ---- watches */

struct seen {
    struct loop_watch watch;
    struct seen *other;
    int count;
    uint32_t events;
};

static void see(struct loop_watch *watch, uint32_t events)
{
    struct seen *seen = LOOP_OWNER(watch, struct seen, watch);
    seen->count++;
    seen->events = events;
}

START_TEST(watches_get_their_events)
{
    struct seen seen = {.watch.fn = see};
    int fds[2];
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(loop_watch_add(loop, &seen.watch, fds[0], EPOLLIN), 0);
    loop_run(loop);
    ck_assert_int_eq(seen.count, 0);
    ck_assert_int_eq(loop_watch_change(loop, &seen.watch, EPOLLIN | EPOLLOUT), 0);
    loop_free(&loop);
    setup();
    ck_assert_int_eq(loop_watch_add(loop, &seen.watch, fds[0], EPOLLIN | EPOLLRDHUP), 0);
    ck_assert_int_eq(write(fds[1], "x", 1), 1);
    (void)close(fds[1]);
    loop_run(loop);
    ck_assert_int_eq(seen.count, 1);
    ck_assert(seen.events & EPOLLIN);
    ck_assert(seen.events & EPOLLRDHUP);
    loop_watch_remove(loop, &seen.watch);
    ck_assert_int_eq(seen.watch.fd, -1);
    (void)close(fds[0]);
}
END_TEST

static void end_other(struct loop_watch *watch, uint32_t events)
{
    struct seen *seen = LOOP_OWNER(watch, struct seen, watch);
    see(watch, events);
    if (seen->other->watch.fd >= 0)
        loop_watch_remove(loop, &seen->other->watch);
}

/* Two watches with events in the same turn: whichever is called first removes the other, which may be freed
 * then. */
START_TEST(removed_watch_is_not_called)
{
    struct seen a = {.watch.fn = end_other};
    struct seen b = {.watch.fn = end_other, .other = &a};
    int pair_a[2];
    int pair_b[2];
    a.other = &b;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair_a), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair_b), 0);
    ck_assert_int_eq(write(pair_a[1], "x", 1), 1);
    ck_assert_int_eq(write(pair_b[1], "x", 1), 1);
    ck_assert_int_eq(loop_watch_add(loop, &a.watch, pair_a[0], EPOLLIN), 0);
    ck_assert_int_eq(loop_watch_add(loop, &b.watch, pair_b[0], EPOLLIN), 0);
    loop_run(loop);
    ck_assert_int_eq(a.count + b.count, 1);
    for (int i = 0; i < 2; i++) {
        (void)close(pair_a[i]);
        (void)close(pair_b[i]);
    }
}
END_TEST

START_TEST(bad_descriptor_is_an_error)
{
    struct seen seen = {.watch.fn = see};
    ck_assert_int_eq(loop_watch_add(loop, &seen.watch, -1, EPOLLIN), -1);
}
END_TEST

/* ---- what hurries */

#define MANY 40 /* descriptors with an event in one turn */

static int hurried;         /* watches that were called */
static int passed_on[MANY]; /* how many had been, each time */
static int passed_on_count;

static void hurry(struct loop_watch *watch, uint32_t events)
{
    (void)watch, (void)events;
    hurried++;
    loop_hurry(loop);
}

static void pass_on(void *arg)
{
    (void)arg;
    passed_on[passed_on_count++] = hurried;
}

/* What the first of many has brought is passed on before the last is called, and not after each of them. */
START_TEST(what_hurries_is_passed_on)
{
    struct loop_watch watches[MANY];
    int fds[MANY][2];
    hurried = passed_on_count = 0;
    for (int i = 0; i < MANY; i++) {
        watches[i].fn = hurry;
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
        ck_assert_int_eq(loop_watch_add(loop, &watches[i], fds[i][0], EPOLLOUT), 0);
    }
    if (_i == 1)
        loop_on_hurry(loop, pass_on);
    loop_run(loop);
    ck_assert_int_eq(hurried % MANY, 0);
    ck_assert_int_eq(passed_on_count > 0, _i == 1);
    for (int i = 0; i < passed_on_count; i++)
        ck_assert_int_eq(passed_on[i], 8 * (i + 1));
    for (int i = 0; i < MANY; i++) {
        loop_watch_remove(loop, &watches[i]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("loop");
    TCase *tcase = tcase_create("loop");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, timers_fire_in_order);
    tcase_add_test(tcase, timers_move_and_cancel);
    tcase_add_test(tcase, timers_survive_a_thousand_changes);
    tcase_add_test(tcase, timer_that_is_always_due_lets_the_turn_come);
    tcase_add_test(tcase, watches_get_their_events);
    tcase_add_test(tcase, removed_watch_is_not_called);
    tcase_add_test(tcase, bad_descriptor_is_an_error);
    tcase_add_loop_test(tcase, what_hurries_is_passed_on, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
