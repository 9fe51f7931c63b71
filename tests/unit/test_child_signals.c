/* test_child_signals: what comes by the descriptor, and a start that fails. */
#include "worker/child_signals.h"

#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static struct child_signals signals;
static int lifeline[2];
static int drained;

static bool turn(void *arg)
{
    (void)arg;
    return false;
}

static void drain(void *arg)
{
    (void)arg;
    drained++;
}

static void setup(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    drained = 0;
    loop = loop_new(turn, NULL);
    ck_assert_ptr_nonnull(loop);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lifeline), 0);
}

static void teardown(void)
{
    loop_free(&loop);
    close(lifeline[0]);
    close(lifeline[1]);
}

/* At the end there is nothing to drain, but a stop at once is heard. */
START_TEST(look)
{
    ck_assert_int_eq(child_signals_init(&signals, loop, lifeline[0], drain, NULL), 0);
    child_signals_look(&signals);
    ck_assert(!signals.at_once);
    ck_assert_int_eq(kill(getpid(), SIGTERM), 0);
    ck_assert_int_eq(kill(getpid(), SIGQUIT), 0);
    child_signals_look(&signals);
    ck_assert(signals.at_once);
    ck_assert_int_eq(drained, 0);
    child_signals_fini(&signals);
}
END_TEST

/* A look after it takes nothing from a descriptor of somebody else, and does not wait for that. */
START_TEST(no_descriptor_left)
{
    static const char bytes[sizeof(struct signalfd_siginfo)];
    int input[2];
    int left = 0;
    struct rlimit limit;
    int next;

    ck_assert_int_eq(pipe2(input, O_CLOEXEC), 0);
    ck_assert_int_eq(dup2(input[0], STDIN_FILENO), STDIN_FILENO);
    ck_assert_int_eq(write(input[1], bytes, sizeof(bytes)), sizeof(bytes));
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    next = dup(STDIN_FILENO);
    ck_assert_int_ge(next, 0);
    close(next);
    limit.rlim_cur = (rlim_t)next;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(child_signals_init(&signals, loop, lifeline[0], drain, NULL), -1);
    ck_assert_int_eq(errno, EMFILE);
    child_signals_look(&signals);
    ck_assert_int_eq(ioctl(STDIN_FILENO, FIONREAD, &left), 0);
    ck_assert_int_eq(left, sizeof(bytes));
    child_signals_fini(&signals);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    close(input[0]);
    close(input[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("child_signals");
    TCase *tcase = tcase_create("child_signals");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, look);
    tcase_add_test(tcase, no_descriptor_left);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
