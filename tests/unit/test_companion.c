/*
 * Tests of companion: what it has and has not, which signals it takes, and who outlives whom for how long.
 */
#include "base/clock.h"
#include "base/secret.h"
#include "io/companion.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What all processes of a test see. */
static struct words {
    _Atomic int pid;    /* of the companion, once it runs */
    _Atomic int others; /* that it has open */
    _Atomic int nice;
    _Atomic int policy;
    _Atomic int locked_kib;
    _Atomic int confined;
    _Atomic int finished;
    char title[16];
} * words;

static struct companion *companion;
static struct companion_options options;

/* A process may have descriptors of tools that it runs under; these are ours. */
#define OTHERS 10
static int others[OTHERS];

static int count_others(void)
{
    int count = 0;

    for (int i = 0; i < OTHERS; i++)
        count += others[i] > 0 && fcntl(others[i], F_GETFD) >= 0;
    return count;
}

static int read_locked(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[128];
    int kib = -1;

    while (status != NULL && fgets(line, sizeof(line), status) != NULL)
        (void)sscanf(line, "VmLck: %d kB", &kib);
    if (status != NULL)
        fclose(status);
    return kib;
}

static void tell(void)
{
    words->others = count_others();
    words->nice = getpriority(PRIO_PROCESS, 0);
    words->policy = sched_getscheduler(0);
    words->locked_kib = read_locked();
    prctl(PR_GET_NAME, words->title, 0, 0, 0);
    words->pid = getpid();
}

/* Tells what it is, and finishes when it shall. */
static void obey(void *arg, int socket)
{
    struct pollfd end = {.fd = socket, .events = POLLRDHUP};

    (void)arg;
    tell();
    while (poll(&end, 1, -1) < 0)
        continue;
    words->finished = 1;
}

/* A disk that hangs. */
static void hang(void *arg, int socket)
{
    (void)arg, (void)socket;
    tell();
    for (;;)
        poll(NULL, 0, -1);
}

static int confine(struct buf *reason)
{
    (void)reason;
    words->confined = 1;
    return 0;
}

static void setup(void)
{
    words = mmap(NULL, sizeof(*words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(words != MAP_FAILED);
    options = (struct companion_options){.fn = obey, .keep_fd = -1};
    ck_assert_int_eq(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0); /* orphans are ours */
}

static void await_pid(void)
{
    while (words->pid == 0)
        sched_yield();
}

static void start(void)
{
    companion = companion_start(&options);
    ck_assert_ptr_nonnull(companion);
    await_pid();
}

static void expect_no_child(void)
{
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
    ck_assert_int_eq(errno, ECHILD);
}

START_TEST(test_what_it_is)
{
    struct secret *secret = secret_new("sk-secret", 9);

    ck_assert_ptr_nonnull(secret);
    for (int i = 0; i < OTHERS; i++)
        others[i] = open("/dev/null", O_RDONLY);
    options.keep_fd = others[_i];
    options.title = "test: beside";
    options.confine = confine;
    start();
    ck_assert_int_eq(words->others, 1);
    ck_assert_int_eq(words->nice, 19);
    ck_assert_int_eq(words->policy, SCHED_BATCH);
    ck_assert_str_eq(words->title, "test: beside");
    ck_assert_int_eq(words->confined, 1);
    if (read_locked() > 0) /* AddressSanitizer lets nobody */
        ck_assert_int_gt(words->locked_kib, 0);
    ck_assert_int_eq(words->finished, 0);
    ck_assert(companion_end(&companion, 10000));
    ck_assert_ptr_null(companion);
    ck_assert_int_eq(words->finished, 1);
    expect_no_child();
    for (int i = 0; i < OTHERS; i++)
        ck_assert_int_eq(close(others[i]), 0);
    secret_free(&secret);
}
END_TEST

/* What a terminal or an administrator sends to all processes ends it no sooner than us. */
START_TEST(test_signals)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM};
    int status;

    start();
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
            ck_assert_int_eq(kill(words->pid, numbers[i]), 0);
    ck_assert(!companion_has_ended(companion, &status));
    ck_assert(companion_end(&companion, 10000));
    ck_assert_int_eq(words->finished, 1);
    expect_no_child();
}
END_TEST

START_TEST(test_killed)
{
    siginfo_t info;
    int status = 0;

    start();
    ck_assert(!companion_has_ended(companion, &status));
    ck_assert_int_eq(kill(words->pid, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)words->pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert(companion_has_ended(companion, &status));
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert(!companion_has_ended(companion, &status));
    expect_no_child();
    ck_assert(companion_end(&companion, 10000));
}
END_TEST

/* ---- who outlives whom */

/* Starts it from a process of its own, which then does `last`. Returns how the companion ended. */
static int outlive(void (*last)(void))
{
    int status;
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        companion = companion_start(&options);
        await_pid();
        last();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    ck_assert_int_eq(waitpid(words->pid, &status, 0), words->pid);
    return status;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

static void give_up(void)
{
    if (companion_end(&companion, 20))
        words->finished = 2;
}

START_TEST(test_orphan_finishes)
{
    ck_assert_int_eq(outlive(die), 0);
    ck_assert_int_eq(words->finished, 1);
}
END_TEST

START_TEST(test_orphan_that_hangs)
{
    int64_t begin_ms = clock_mono_ms();
    int status;

    options.fn = hang;
    status = outlive(die);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == COMPANION_LATE);
    ck_assert_int_ge(clock_mono_ms() - begin_ms, COMPANION_ORPHAN_S * 1000);
}
END_TEST

START_TEST(test_given_up)
{
    int status;

    options.fn = hang;
    status = outlive(give_up);
    ck_assert_int_eq(words->finished, 0);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == COMPANION_GIVEN_UP);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("companion");
    TCase *tc = tcase_create("companion");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, test_what_it_is, 0, OTHERS);
    tcase_add_test(tc, test_signals);
    tcase_add_test(tc, test_killed);
    tcase_add_test(tc, test_orphan_finishes);
    tcase_add_test(tc, test_orphan_that_hangs);
    tcase_add_test(tc, test_given_up);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
