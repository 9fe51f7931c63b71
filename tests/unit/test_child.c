/* child: the crash-loop rule with an injected clock, and what a child finds when its main function begins. */
#include "base/fd.h"
#include "base/log.h"
#include "master/child.h"
#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct death {
    int64_t lived_ms;
    int64_t at_ms;
    int64_t delay_ms;
};

static void run_deaths(const struct death *steps, size_t count)
{
    struct child_deaths deaths = {0};
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(child_count_death(&deaths, steps[i].lived_ms, steps[i].at_ms) == steps[i].delay_ms,
                      "death %zu: delay %lld, not %lld", i, (long long)deaths.delay_ms,
                      (long long)steps[i].delay_ms);
}

#define RUN(steps) run_deaths(steps, sizeof(steps) / sizeof((steps)[0]))

START_TEST(test_loop_is_slowed_down)
{
    static const struct death STEPS[] = {
        {5, 1000, 0},      {5, 1005, 0},         {5, 1010, 0},       {5, 1015, 0},      {5, 1020, 1000},
        {5, 2025, 2000},   {5, 4030, 4000},      {5, 8035, 8000},    {5, 16040, 16000}, {5, 32045, 30000},
        {5, 62050, 30000}, {9999, 92055, 30000}, {10000, 132055, 0}, {5, 132060, 0},    {5, 132065, 0},
        {5, 132070, 0},    {5, 132075, 1000},
    };
    RUN(STEPS);
}
END_TEST

/* The fifth death counts only when the first is at most CHILD_WINDOW_MS ago. */
START_TEST(test_window)
{
    static const struct death INSIDE[] = {
        {2500, 0, 0}, {2500, 2500, 0}, {2500, 5000, 0}, {2500, 7500, 0}, {2500, 10000, 1000}};
    static const struct death OUTSIDE[] = {{2501, 0, 0},      {2501, 2501, 0},  {2501, 5002, 0},
                                           {2501, 7503, 0},   {2501, 10004, 0}, {2501, 12505, 0},
                                           {100, 12605, 1000}};
    static const struct death RARE[] = {{60000, 60000, 0},  {60000, 120000, 0}, {60000, 180000, 0},
                                        {60000, 240000, 0}, {60000, 300000, 0}, {60000, 360000, 0}};
    RUN(INSIDE);
    RUN(OUTSIDE);
    RUN(RARE);
}
END_TEST

START_TEST(test_words)
{
    static const struct {
        struct child child;
        const char *name;
    } NAMES[] = {{{.role = CHILD_WORKER, .number = 0}, "worker 0"},
                 {{.role = CHILD_WORKER, .number = 12}, "worker 12"},
                 {{.role = CHILD_ADMIN}, "admin"}};
    char name[CHILD_NAME_SIZE];
    for (size_t i = 0; i < sizeof(NAMES) / sizeof(NAMES[0]); i++) {
        child_name(&NAMES[i].child, name);
        ck_assert_str_eq(name, NAMES[i].name);
    }
    struct buf text = {0};
    child_describe_end(W_EXITCODE(3, 0), &text);
    ck_assert_str_eq(text.data, "exited with status 3");
    buf_clear(&text);
    child_describe_end(W_EXITCODE(0, SIGSEGV), &text);
    ck_assert_ptr_nonnull(strstr(text.data, "was killed by signal 11 ("));
    buf_fini(&text);
}
END_TEST

START_TEST(test_user)
{
    struct child_user user;
    struct buf reason = {0};
    ck_assert_int_eq(child_user_find(&user, "", &reason), 0);
    ck_assert(!user.set);
    ck_assert_int_eq(child_user_find(&user, "no-such-user-here", &reason), -1);
    ck_assert(!user.set);
    ck_assert_ptr_nonnull(strstr(reason.data, "no-such-user-here"));
    ck_assert_int_eq(child_user_find(&user, "nobody", &reason), 0);
    ck_assert_int_eq(user.set, geteuid() == 0);
    if (user.set) {
        ck_assert_uint_ne(user.uid, 0);
        ck_assert_int_ge(user.group_count, 1);
    }
    child_user_fini(&user);
    buf_fini(&reason);
}
END_TEST

/* Children report by their exit status: 0, or the line at which something was not as promised. */
#define PROMISE(what)                                                                                        \
    do {                                                                                                     \
        if (!(what))                                                                                         \
            return __LINE__ % 200 + 1;                                                                       \
    } while (0)

static int stray_fd;
static int listen_fds[2];
static int admin_fds[1];

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int check_signals(void)
{
    static const int NUMBERS[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGCHLD, SIGUSR2, SIGPIPE};
    sigset_t mask;
    PROMISE(sigprocmask(SIG_BLOCK, NULL, &mask) == 0);
    for (size_t i = 0; i < sizeof(NUMBERS) / sizeof(NUMBERS[0]); i++) {
        struct sigaction action;
        PROMISE(sigismember(&mask, NUMBERS[i]) == 1);
        PROMISE(sigaction(NUMBERS[i], NULL, &action) == 0);
        PROMISE(action.sa_handler == (NUMBERS[i] == SIGPIPE ? SIG_IGN : SIG_DFL));
    }
    return 0;
}

static int worker_double(const struct heritage *h)
{
    char name[16];
    int death_signal = 0;
    PROMISE(h->slot == 7 && h->number == 3 && h->generation == 5);
    PROMISE(h->shared->workers[7].pid == getpid());
    PROMISE(h->shared->workers[7].phase == WORKER_STARTING);
    PROMISE(h->shared->workers[7].number == 3 && h->shared->workers[7].generation == 5);
    PROMISE(h->shared->workers[7].started_ms == 4711);
    PROMISE(h->admin_fds == NULL && h->listen_fds != NULL);
    PROMISE(is_open(h->listen_fds[0]) && is_open(h->listen_fds[1]) && is_open(h->lifeline_fd));
    PROMISE(!is_open(admin_fds[0]) && !is_open(stray_fd));
    PROMISE(is_open(0) && is_open(1) && is_open(2));
    PROMISE(prctl(PR_GET_NAME, name, 0, 0, 0) == 0 && strcmp(name, "clavigerd: work") == 0);
    PROMISE(prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0) == 0 && death_signal == SIGKILL);
    return check_signals();
}

static int admin_double(const struct heritage *h)
{
    PROMISE(h->listen_fds == NULL && h->admin_fds != NULL);
    PROMISE(is_open(h->admin_fds[0]) && is_open(h->lifeline_fd));
    PROMISE(!is_open(listen_fds[0]) && !is_open(listen_fds[1]) && !is_open(stray_fd));
    return check_signals();
}

static const struct heritage_programs PROGRAMS = {.worker = worker_double, .admin = admin_double};

static int status_of(struct child *child, const struct child_legacy *legacy)
{
    int status = 0;
    ck_assert_int_eq(child_start(child, legacy, 4711), 0);
    ck_assert_int_gt(child->pid, 0);
    ck_assert_int_eq(waitpid(child->pid, &status, 0), child->pid);
    ck_assert_msg(WIFEXITED(status), "wait status %d", status);
    return WEXITSTATUS(status);
}

static int new_fd(void)
{
    int fd = open("/dev/null", O_RDONLY);
    ck_assert_int_ge(fd, 3);
    return fd;
}

static void legacy_make(struct child_legacy *legacy, struct shared *shared, const struct child_user *user)
{
    memset(legacy, 0, sizeof(*legacy));
    legacy->programs = &PROGRAMS;
    legacy->heritage.shared = shared;
    /* Not in the order of their numbers, and with what must be closed between. */
    admin_fds[0] = new_fd();
    listen_fds[1] = new_fd();
    stray_fd = new_fd();
    legacy->heritage.lifeline_fd = new_fd();
    listen_fds[0] = new_fd();
    legacy->heritage.listen_fds = listen_fds;
    legacy->heritage.admin_fds = admin_fds;
    legacy->heritage.generation = 5;
    legacy->listen_count = 2;
    legacy->admin_count = 1;
    legacy->user = user;
}

static void legacy_close(struct child_legacy *legacy)
{
    fd_close(&legacy->heritage.lifeline_fd);
    fd_close(&listen_fds[0]);
    fd_close(&listen_fds[1]);
    fd_close(&admin_fds[0]);
    fd_close(&stray_fd);
}

START_TEST(test_start)
{
    struct shared *shared = shared_new();
    struct child_user user = {.set = false};
    struct child_legacy legacy;
    struct child worker = {.role = CHILD_WORKER, .number = 3, .slot = 7};
    struct child admin = {.role = CHILD_ADMIN};
    ck_assert_ptr_nonnull(shared);
    legacy_make(&legacy, shared, &user);
    shared->workers[7].requests = 99; /* of the one before */
    ck_assert_int_eq(status_of(&worker, &legacy), 0);
    ck_assert_int_eq(worker.started_ms, 4711);
    ck_assert_uint_eq(shared->workers[7].requests, 0);
    child_clear_slot(&worker, shared);
    ck_assert_int_eq(shared->workers[7].phase, WORKER_FREE);
    ck_assert_int_eq(shared->workers[7].pid, 0);
    ck_assert_int_eq(status_of(&admin, &legacy), 0);
    legacy_close(&legacy);
    shared_free(&shared);
}
END_TEST

static int check_user(const struct heritage *h)
{
    uid_t r, e, s;
    gid_t gr, ge, gs;
    gid_t groups[64];
    int death_signal = 0;
    (void)h;
    PROMISE(getresuid(&r, &e, &s) == 0 && r == 65534 && e == 65534 && s == 65534);
    PROMISE(getresgid(&gr, &ge, &gs) == 0 && gr == 65533 && ge == 65533 && gs == 65533);
    PROMISE(getgroups(64, groups) == 1 && groups[0] == 65533);
    PROMISE(setuid(0) < 0 && errno == EPERM);
    /* A change of the user clears it: it has to be set afterwards. */
    PROMISE(prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0) == 0 && death_signal == SIGKILL);
    return 0;
}

START_TEST(test_drops_user)
{
    static const struct heritage_programs CHECK_USER = {.worker = check_user, .admin = check_user};
    gid_t groups[] = {65533};
    struct child_user user = {.set = true, .uid = 65534, .gid = 65533, .groups = groups, .group_count = 1};
    struct child_legacy legacy;
    struct child admin = {.role = CHILD_ADMIN};
    struct shared *shared = shared_new();
    ck_assert_ptr_nonnull(shared);
    legacy_make(&legacy, shared, &user);
    legacy.programs = &CHECK_USER;
    /* Without root it must end, not go on as somebody else. */
    ck_assert_int_eq(status_of(&admin, &legacy), geteuid() == 0 ? 0 : 1);
    legacy_close(&legacy);
    shared_free(&shared);
}
END_TEST

START_TEST(test_who_may_write)
{
    const struct child_user same = {.set = false};
    const struct child_user other = {.set = true, .uid = 65534, .gid = 65533};
    /* Without root nobody can be asked for. */
    const int refused = geteuid() == 0 ? EACCES : EPERM;
    char dir[] = "/tmp/claviger-unit.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_assert_int_eq(child_user_may_write(&same, dir), 0);
    ck_assert_int_eq(child_user_may_write(&same, "/nonexistent"), -1);
    ck_assert_int_eq(errno, ENOENT);
    for (mode_t mode = 0700; mode <= 0707; mode++) {
        bool fine = (mode & 3) == 3 && geteuid() == 0;
        ck_assert_int_eq(chmod(dir, mode), 0);
        ck_assert_int_eq(child_user_may_write(&other, dir), fine ? 0 : -1);
        ck_assert(fine || errno == refused);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("child");
    TCase *tc = tcase_create("child");
    tcase_add_test(tc, test_loop_is_slowed_down);
    tcase_add_test(tc, test_window);
    tcase_add_test(tc, test_words);
    tcase_add_test(tc, test_user);
    tcase_add_test(tc, test_start);
    tcase_add_test(tc, test_drops_user);
    tcase_add_test(tc, test_who_may_write);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
