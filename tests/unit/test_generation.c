/* generation: when workers count as ready, stuck or due, with an injected clock and no process. */
#include "base/fd.h"
#include "io/conf.h"
#include "io/shared.h"
#include "master/generation.h"
#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEADLINE 5000
#define WATCHDOG 30000

static struct generation_context context;
static struct generation g;
static struct conf conf;
static struct child children[3];

/* Two workers and the admin process. Their pids are never signalled: nothing here is due to be. */
static void setup(void)
{
    memset(&context, 0, sizeof(context));
    memset(&g, 0, sizeof(g));
    memset(&conf, 0, sizeof(conf));
    memset(children, 0, sizeof(children));
    context.shared = shared_new();
    ck_assert_ptr_nonnull(context.shared);
    conf.watchdog_ms = WATCHDOG;
    g.conf = &conf;
    g.phase = GENERATION_STARTING;
    g.deadline_ms = DEADLINE;
    g.children = children;
    g.child_count = 3;
    children[2].role = CHILD_ADMIN;
    for (unsigned i = 0; i < 2; i++) {
        children[i].number = i;
        children[i].slot = 10 + i;
        children[i].pid = 100000000;
        context.shared->workers[10 + i].phase = WORKER_STARTING;
    }
    children[2].pid = 100000000;
}

static void teardown(void)
{
    buf_fini(&g.failure);
    shared_free(&context.shared);
}

static void all_ready(int64_t beat_ms)
{
    for (unsigned i = 0; i < 2; i++) {
        context.shared->workers[10 + i].phase = WORKER_READY;
        context.shared->workers[10 + i].beat_ms = beat_ms;
    }
}

START_TEST(test_ready)
{
    ck_assert(!generation_ready(&g, &context, 0));
    context.shared->workers[10].phase = WORKER_READY;
    ck_assert(!generation_ready(&g, &context, DEADLINE - 1));
    ck_assert_uint_eq(g.failure.len, 0);
    context.shared->workers[11].phase = WORKER_READY;
    ck_assert(generation_ready(&g, &context, DEADLINE)); /* late, but there */
}
END_TEST

START_TEST(test_not_ready_in_time)
{
    context.shared->workers[10].phase = WORKER_READY;
    ck_assert(!generation_ready(&g, &context, DEADLINE));
    ck_assert_str_eq(g.failure.data, "1 of 2 workers were not ready after 10 s");
    all_ready(1);
    ck_assert(!generation_ready(&g, &context, DEADLINE)); /* refused is refused */
}
END_TEST

/* A child that ends while it starts fails the start, and the first reason stays. */
START_TEST(test_ends_while_starting)
{
    children[0].pid = 100000001;
    children[2].pid = 100000002;
    ck_assert(!generation_reaped(&g, &context, 4711, 0, 0));
    ck_assert_uint_eq(g.failure.len, 0);
    ck_assert(generation_reaped(&g, &context, 100000002, 3 << 8, 0));
    ck_assert(generation_reaped(&g, &context, 100000001, 9, 0));
    ck_assert_ptr_nonnull(strstr(g.failure.data, "admin exited with status 3"));
    ck_assert_int_eq(context.shared->workers[10].phase, WORKER_FREE);
    ck_assert_uint_eq(generation_alive(&g), 1);
    ck_assert(!generation_ready(&g, &context, 0));
}
END_TEST

START_TEST(test_replacing_is_due)
{
    generation_serve(&g);
    conf.watchdog_ms = 0;
    all_ready(0);
    ck_assert_int_eq(generation_due(&g, &context), INT64_MAX);
    children[0].pid = 100000001;
    for (int i = 0; i < 5; i++) {
        children[0].pid = 100000001;
        children[0].started_ms = 1000 * i;
        ck_assert(generation_reaped(&g, &context, 100000001, 9, 1000 * i + 1));
        ck_assert_int_eq(generation_due(&g, &context), 1000 * i + 1 + (i == 4 ? CHILD_FIRST_DELAY_MS : 0));
    }
    /* Nothing is replaced in a generation that drains. */
    children[1].pid = children[2].pid = 0;
    generation_drain(&g, 6000, 700, false);
    ck_assert_int_eq(generation_due(&g, &context), 6700);
}
END_TEST

START_TEST(test_watchdog_is_due)
{
    generation_serve(&g);
    all_ready(1000);
    context.shared->workers[11].beat_ms = 2000;
    ck_assert_int_eq(generation_due(&g, &context), 1000 + WATCHDOG + 1);
    /* After a gap in our own time the beats before it are no sign. */
    context.awake_ms = 50000;
    ck_assert_int_eq(generation_due(&g, &context), 50000 + WATCHDOG + 1);
    /* One that never beat is not watched. */
    all_ready(0);
    ck_assert_int_eq(generation_due(&g, &context), INT64_MAX);
    /* A replacement that does not get ready is. */
    context.shared->workers[10].phase = WORKER_STARTING;
    children[0].started_ms = 60000;
    ck_assert_int_eq(generation_due(&g, &context), 60000 + GENERATION_START_TIMEOUT_MS + 1);
}
END_TEST

/* When old generations still hold the slots, a new one is refused, and takes none. */
START_TEST(test_too_many)
{
    char path[] = "/tmp/test_generation.XXXXXX";
    struct buf text = {0};
    struct buf reason = {0};
    unsigned taken = 0;
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    buf_printf(&text,
               "listen = {\"unix:%s.sock\"}\nadmin_listen = {}\nworkers = 3\nstate_db = \"%s.db\"\n"
               "provider anthropic { type = anthropic }\n",
               path, path);
    ck_assert_int_eq(fd_write_all(fd, text.data, text.len), 0);
    fd_close(&fd);
    for (int left = 2; left <= 3; left++) {
        for (int i = 0; i < SHARED_WORKERS_MAX; i++)
            context.slots[i] = i >= left;
        struct conf *c = conf_load(path, &reason);
        ck_assert_msg(c != NULL, "%s", reason.data);
        struct generation *new = generation_new(&context, 2, &c, NULL, &reason);
        ck_assert_ptr_null(c);
        if (left == 2) {
            ck_assert_ptr_null(new);
            ck_assert_ptr_nonnull(strstr(reason.data, "3 workers are too many"));
            buf_clear(&reason);
        } else {
            ck_assert_msg(new != NULL, "%s", reason.data);
            ck_assert(context.slots[0] && context.slots[2]);
            generation_free(&new, &context, NULL);
        }
        taken = 0;
        for (int i = 0; i < SHARED_WORKERS_MAX; i++)
            taken += context.slots[i];
        ck_assert_uint_eq(taken, (unsigned)(SHARED_WORKERS_MAX - left));
    }
    unlink(path);
    buf_fini(&text);
    buf_fini(&reason);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("generation");
    TCase *tc = tcase_create("generation");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_ready);
    tcase_add_test(tc, test_not_ready_in_time);
    tcase_add_test(tc, test_ends_while_starting);
    tcase_add_test(tc, test_replacing_is_due);
    tcase_add_test(tc, test_watchdog_is_due);
    tcase_add_test(tc, test_too_many);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
