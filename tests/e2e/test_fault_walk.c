/*
 * test_fault_walk: the n-th allocation, or the n-th system call, of one process of the daemon fails,
 * somewhere in a life of start, request with a failover, another request, stop. Whatever n is, what follows
 * is the right answer or a clean error: the start is refused with a reason, or all is served (one request may
 * get an error of the daemon's own, or lose its connection), and the stop ends with status 0. No process is
 * ended by a signal, nothing hangs, no key is in a file, no key has a state that no answer gave it.
 *
 * Of each process and kind a sample is tried, evenly spread; all of them with FAULTS_ALL=1 (make
 * check-faults), or some with FAULTS_ONLY="KIND ROLE FIRST LAST" as a failure names them, and with
 * FAULTS_TRACE=1 the daemon's log tells from where the call came.
 */
#include "e2e/fault_walk.h"
#include "e2e/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SAMPLE 40 /* of each process and kind */

static const char *const kinds[] = {"allocation", "call"};
static const char *const roles[] = {"master", "worker", "admin", "writer"};

static struct faults *faults;
static char faults_path[128];

/* What is tried, for messages. */
static char describe_buffer[128];
static const char *describe(void)
{
    snprintf(describe_buffer, sizeof(describe_buffer), "%s %s %lu (%s)", kinds[faults->kind],
             roles[faults->role], faults->number, atomic_load(&faults->fired) ? faults->what : "not reached");
    return describe_buffer;
}

#define MUST(daemon, condition)                                                                              \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            give_up(daemon, #condition, __LINE__);                                                           \
    } while (0)

static void give_up(const struct daemon *d, const char *what, int line)
{
    char *log = util_read_file(d->log, NULL);
    fprintf(stderr, "---- log of %s\n%s----\n", describe(), log != NULL ? log : "(none)\n");
    free(log);
    fprintf(stderr, "FAULT %s: does not hold in line %d: %s\n", describe(), line, what);
    ck_abort_msg("with the fault %s: does not hold in line %d: %s", describe(), line, what);
}

static void map_faults(void)
{
    snprintf(faults_path, sizeof(faults_path), "%s/faults", getenv("E2E_DIR"));
    int fd = open(faults_path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    ck_assert(fd >= 0 && ftruncate(fd, sizeof(*faults)) == 0);
    faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(faults, MAP_FAILED);
    close(fd);
}

/* ---- one life */

static void start(struct daemon *d)
{
    daemon_write(d);
    d->pid = fork();
    ck_assert_int_ge(d->pid, 0);
    if (d->pid > 0)
        return;
    int log = open(d->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    /* A sanitizer wants to be the first library, and may be the second. */
    const char *options = getenv("ASAN_OPTIONS");
    char more[512];
    snprintf(more, sizeof(more), "%s:verify_asan_link_order=0", options != NULL ? options : "");
    setenv("ASAN_OPTIONS", more, 1);
    setenv("LD_PRELOAD", getenv("FAULT_WALK_LIBRARY"), 1);
    setenv(FAULTS_VARIABLE, faults_path, 1);
    execl(daemon_binary(), "clavigerd", "-c", d->conf, (char *)NULL);
    _exit(127);
}

struct waiting {
    struct daemon *d;
    int status;
};

static bool has_ended(void *arg)
{
    struct waiting *w = arg;
    if (w->d->pid != 0 && waitpid(w->d->pid, &w->status, WNOHANG) == w->d->pid)
        w->d->pid = 0;
    return w->d->pid == 0;
}

/* Ready, or ended. */
static bool has_started(void *arg)
{
    static const struct http_request ask = {.method = "GET", .target = "/readyz"};
    struct waiting *w = arg;
    struct http_client client;
    struct http_response response = {0};
    if (has_ended(arg))
        return true;
    if (http_try_connect(&client, w->d->admin_port) != 0)
        return false;
    http_write_request(&client, &ask);
    http_read(&client, &response);
    bool ready = response.status == 200;
    http_response_fini(&response);
    http_close(&client);
    return ready;
}

/* A request; its status, 0 when the connection broke. */
static int ask(struct bench *b)
{
    const struct http_request request = {.target = b->api->target, .body = "{}"};
    struct http_client client;
    struct http_response response = {0};
    if (http_try_connect(&client, b->daemon.port) != 0)
        return 0;
    http_write_request(&client, &request);
    http_read(&client, &response);
    MUST(&b->daemon, !response.timed_out);
    int status = response.clean ? response.status : 0;
    if (status == 200)
        MUST(&b->daemon, strcmp(http_body(&response), "ok") == 0);
    else if (status != 0)
        MUST(&b->daemon, status >= 500 && http_get(&response, "X-Claviger-Error") != NULL);
    http_response_fini(&response);
    http_close(&client);
    return status;
}

static bool served(void *arg)
{
    return ask(arg) == 200;
}

static void check_states(struct bench *b)
{
    char states[64];
    daemon_states(&b->daemon, b->api->name, states, sizeof(states));
    /* A mark may be lost with the database; none may be made up. */
    MUST(&b->daemon, strcmp(states, "temporary valid") == 0 || strcmp(states, "valid valid") == 0);
}

static void serve_and_stop(struct bench *b, struct waiting *w)
{
    bool before = atomic_load(&faults->fired) != 0;
    int first = ask(b);
    /* Without a fault on the way nothing else is right. */
    if (before || atomic_load(&faults->fired) == 0)
        MUST(&b->daemon, first == 200 || (before && util_wait(served, b, 20000)));
    /* One request is what a fault may cost; a process that ended is replaced. */
    MUST(&b->daemon, ask(b) == 200 || util_wait(served, b, 20000));
    MUST(&b->daemon, kill(b->daemon.pid, SIGTERM) == 0);
    MUST(&b->daemon, util_wait(has_ended, w, 20000));
    MUST(&b->daemon, WIFEXITED(w->status) && WEXITSTATUS(w->status) == 0);
    check_states(b);
}

static void live_once(int kind, int role, unsigned long number, const char *function)
{
    static const struct fake_answer refusal = REFUSE(429, "Retry-After: 60\r\n");
    static const struct fake_answer answer = {.body = "ok"};
    struct bench b;
    struct waiting w = {.d = &b.daemon};
    char dumps[160];
    memset(faults, 0, sizeof(*faults));
    faults->kind = kind;
    faults->role = role;
    faults->number = number;
    snprintf(faults->only, sizeof(faults->only), "%s", function);
    bench_prepare(&b, &SUITE_APIS[0], KEY0 " " KEY1, NULL);
    daemon_text(&b.daemon.limits, "buffer_memory = 1"); /* so that bodies go through a file */
    snprintf(dumps, sizeof(dumps), "%s/dumps", b.daemon.dir);
    ck_assert_int_eq(mkdir(dumps, 0700), 0);
    daemon_text(&b.daemon.top, "dump { dir = \"%s\" }", dumps);
    fake_on_key(b.fake, KEY0, &refusal);
    fake_on_any(b.fake, &answer);
    start(&b.daemon);
    MUST(&b.daemon, util_wait(has_started, &w, 30000));
    if (b.daemon.pid == 0)
        /* Refused, with a reason. */
        MUST(&b.daemon,
             WIFEXITED(w.status) && WEXITSTATUS(w.status) == 1 &&
                 (daemon_log_has(&b.daemon, "clavigerd: ") || daemon_log_has(&b.daemon, " error ") ||
                  daemon_log_has(&b.daemon, b.daemon.conf)));
    else
        serve_and_stop(&b, &w);
    if (atomic_load(&faults->fired) && role == FAULTS_WORKER && strcmp(faults->what, "fork") == 0)
        MUST(&b.daemon, daemon_log_has(&b.daemon, "/dumps cannot be started: Resource temporarily"));
    MUST(&b.daemon, !daemon_log_has(&b.daemon, "was killed by signal"));
    MUST(&b.daemon, !daemon_log_has(&b.daemon, "Sanitizer"));
    while (waitpid(-1, NULL, WNOHANG) > 0) /* whom a failed start left to us */
        continue;
    bench_close(&b);
}

/* ---- the walk */

/* In a process of its own, so that the walk goes on after a failure. */
static bool live_apart(int kind, int role, unsigned long number, const char *function)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        live_once(kind, role, number, function);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status == 0;
}

/* How many there are in a life without a fault. */
static unsigned long count_of(int kind, int role, const char *function)
{
    ck_assert_msg(live_apart(kind, role, 0, function), "the daemon does not work without a fault");
    return atomic_load(&faults->counts[role][kind]);
}

START_TEST(walk)
{
    int kind = _i / FAULTS_ROLES;
    int role = _i % FAULTS_ROLES;
    bool all = getenv("FAULTS_ALL") != NULL;
    const char *only = getenv("FAULTS_ONLY");
    char kind_word[16];
    char role_word[16];
    unsigned long first = 1;
    unsigned long last = 0;
    if (only != NULL) {
        ck_assert_int_eq(sscanf(only, "%15s %15s %lu %lu", kind_word, role_word, &first, &last), 4);
        if (strcmp(kind_word, kinds[kind]) != 0 || strcmp(role_word, roles[role]) != 0)
            return;
    }
    map_faults();
    unsigned long count = count_of(kind, role, "");
    if (only == NULL || last > count)
        last = count;
    unsigned long step = all || only != NULL ? 1 : last / SAMPLE + 1;
    printf("%s %s: %lu of them, every %luth is tried\n", kinds[kind], roles[role], count, step);
    /* A sanitizer has its own allocations; the writer of dumps has little to do. */
    ck_assert(count > (role == FAULTS_WRITER ? 5 : 20) ||
              (kind == FAULTS_ALLOCATION && getenv("FAULTS_WITHOUT_ALLOCATIONS") != NULL));
    unsigned failed = 0;
    for (unsigned long n = first + (step - 1) / 2; n <= last; n += step)
        failed += live_apart(kind, role, n, "") ? 0 : 1;
    ck_assert_msg(failed == 0, "%u faults are not survived", failed);
}
END_TEST

/* Calls whose failure once left a request without an answer for ever. */
static const struct {
    int role;
    const char *function;
} each_one[] = {
    {FAULTS_WORKER, "epoll_ctl"}, {FAULTS_WORKER, "accept4"}, {FAULTS_WORKER, "connect"},
    {FAULTS_MASTER, "fork"},      {FAULTS_WORKER, "fork"},
};

START_TEST(every_call_of)
{
    int role = each_one[_i].role;
    const char *function = each_one[_i].function;
    unsigned failed = 0;
    map_faults();
    unsigned long count = count_of(FAULTS_CALL, role, function);
    ck_assert_uint_gt(count, 0);
    for (unsigned long n = 1; n <= count; n++)
        failed += live_apart(FAULTS_CALL, role, n, function) ? 0 : 1;
    ck_assert_msg(failed == 0, "%u faults are not survived", failed);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fault walk");
    TCase *tcase = suite_case(suite, "fault walk",
                              getenv("FAULTS_ALL") != NULL || getenv("FAULTS_ONLY") != NULL ? 7200 : 120);
    tcase_add_loop_test(tcase, walk, 0, FAULTS_KINDS * FAULTS_ROLES);
    if (getenv("FAULTS_ONLY") == NULL)
        tcase_add_loop_test(tcase, every_call_of, 0, (int)(sizeof(each_one) / sizeof(each_one[0])));
    return suite_run(suite);
}
