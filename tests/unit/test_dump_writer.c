/*
 * Tests of dump and the process that writes: a queue that is too small, bodies that are handed over in files,
 * and its death.
 */
#include "unit/dump_fixture.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

/* ---- a queue that is too small */

#define SMALL_QUEUE 16384

static char big[2 * SMALL_QUEUE];

static void open_small(void)
{
    memset(big, 'x', sizeof(big));
    options.file_size = 1 << 20;
    options.queue_size = SMALL_QUEUE;
    finish();
    request.attempt = 2;
}

#define SECOND "openai/passthrough/1000-v1-chat-completions-0123456789abcdef-2"
#define NOTE   "[left out from here on: the disk is slower than the traffic]\n"

/* What finds no room is missing from there on, and its file says so. */
START_TEST(test_cut_response)
{
    struct dump_attempt *attempt;

    open_small();
    attempt = dump_begin(dump, &request, 1000);
    respond(attempt, "HTTP/1.1 200 OK\r\n\r\n", "begin");
    dump_response_body(attempt, big, SMALL_QUEUE);
    dump_response_body(attempt, "end", 3);
    dump_end(&attempt, NULL);
    expect_file(SECOND ".req.txt", "POST /v1/chat/completions?key=AIza...mnop&x=1&Token=abcd...qrst&flag "
                                   "HTTP/1.1\r\nHost: api.test:8443\r\n\r\n");
    expect_file(SECOND ".resp.txt", "HTTP/1.1 200\r\n\r\nbegin\n" NOTE);
    ck_assert_uint_eq(counters->skipped, 1);
}
END_TEST

START_TEST(test_cut_request)
{
    struct dump_attempt *attempt;

    open_small();
    request.body_length = DUMP_CHUNKED;
    attempt = dump_begin(dump, &request, 1000);
    dump_request_body(attempt, "begin", 5);
    dump_request_body(attempt, big, SMALL_QUEUE);
    respond(attempt, "HTTP/1.1 200 OK\r\n\r\n", "ok");
    dump_end(&attempt, NULL);
    expect_file(SECOND ".req.txt", "POST /v1/chat/completions?key=AIza...mnop&x=1&Token=abcd...qrst&flag "
                                   "HTTP/1.1\r\nHost: api.test:8443\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\nbegin\n" NOTE);
    expect_file(SECOND ".resp.txt", NOTE);
    request.attempt = 3;
    attempt = dump_begin(dump, &request, 1001);
    dump_request_body(attempt, big, SMALL_QUEUE);
    dump_end(&attempt, "why");
    expect_file("openai/passthrough/1001-v1-chat-completions-0123456789abcdef-3.req_error.txt", NOTE);
}
END_TEST

#define MANY 2000

static void expect_note(unsigned attempt, uint64_t second)
{
    char name[256];
    char *text;

    snprintf(name, sizeof(name), "openai/passthrough/%u000-v1-chat-completions-0123456789abcdef-%u.req.txt",
             (unsigned)second, attempt);
    text = read_dump(name);
    ck_assert_msg(text != NULL, "no %s", name);
    ck_assert_msg(strlen(text) > strlen(NOTE) && strcmp(text + strlen(text) - strlen(NOTE), NOTE) == 0,
                  "%s: %s", name, text);
    free(text);
}

/* As many attempts as there is room for; the others are left out whole, and every one that began has its end,
 * for which there is room although the queue is full. */
START_TEST(test_many)
{
    static struct dump_attempt *attempts[MANY];
    static bool begun[MANY];
    size_t count = 0;

    open_small();
    attempts[0] = dump_begin(dump, &request, 999);
    dump_end(&attempts[0], "first");
    expect_file("openai/passthrough/999-v1-chat-completions-0123456789abcdef-2.req_error.txt", "first\n");
    request.body_length = DUMP_CHUNKED;
    for (unsigned i = 0; i < MANY; i++) {
        request.attempt = i;
        attempts[i] = dump_begin(dump, &request, 1000);
        begun[i] = attempts[i] != NULL;
        count += begun[i];
    }
    ck_assert_uint_eq(count + counters->skipped, MANY);
    for (unsigned i = 0; i < MANY; i++)
        for (size_t k = 0; k < SMALL_QUEUE; k++)
            dump_request_body(attempts[i], "x", 1);
    for (unsigned i = 0; i < MANY; i++)
        dump_end(&attempts[i], NULL);
    finish();
    for (unsigned i = 0; i < MANY; i++)
        if (begun[i])
            expect_note(i, 1);
    ck_assert_uint_eq(counters->skipped, MANY);
}
END_TEST

/* A body that lies in a file goes there by itself, with the key masked. */
START_TEST(test_spooled)
{
    struct dump_attempt *attempt;
    struct spool spool;
    char *text;

    open_small();
    key.secret = canary;
    request.key = &key;
    spool_init(&spool, 100);
    for (size_t i = 0; i < 10; i++)
        ck_assert_int_eq(spool_append(&spool, big, sizeof(big)), 0);
    ck_assert_int_eq(spool_append(&spool, secret, strlen(secret)), 0);
    ck_assert_ptr_null(spool_memory(&spool));
    ck_assert_int_eq(spool_settle(&spool), 0); /* the writer reads it past us */
    request.spool = &spool;
    request.body_length = spool.len;
    attempt = dump_begin(dump, &request, 1000);
    spool_fini(&spool);
    dump_end(&attempt, "error");
    finish();
    text = read_dump(SECOND ".req.txt");
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_gt(strlen(text), 10 * sizeof(big));
    ck_assert_str_eq(text + strlen(text) - 31, "xx*****************************");
    ck_assert_uint_eq(counters->skipped, 0);
    free(text);
    key.secret = NULL;
}
END_TEST

/* ---- the process that writes */

static pid_t writer_pid(void)
{
    char path[64];
    char *text;
    pid_t pid;
    size_t len;
    int fd;

    snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    fd = open(path, O_RDONLY | O_CLOEXEC);
    text = fd >= 0 ? fd_read_file(fd, 1 << 16, &len) : NULL;
    pid = text != NULL ? (pid_t)strtol(text, NULL, 10) : 0;
    free(text);
    if (fd >= 0)
        close(fd);
    return pid;
}

/* What comes from here on waits in the queue. */
static pid_t stop_writer(void)
{
    pid_t pid = writer_pid();
    siginfo_t info;

    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(kill(pid, SIGSTOP), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WSTOPPED), 0);
    return pid;
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

#define HEAD                                                                                                 \
    "POST /v1/chat/completions?key=AIza...mnop&x=1&Token=abcd...qrst&flag HTTP/1.1\r\n"                      \
    "Host: api.test:8443\r\n\r\n"

/* What it has not written yet is lost and counted, each attempt once; nothing else happens. */
START_TEST(test_writer_killed)
{
    struct dump_attempt *attempts[3];
    siginfo_t info;
    pid_t pid;

    attempts[0] = dump_begin(dump, &request, 1000);
    dump_end(&attempts[0], "error");
    request.attempt = 2;
    attempts[1] = dump_begin(dump, &request, 1000);
    expect_file(SECOND ".req.txt", HEAD); /* so it is done with the first one */
    pid = stop_writer();
    dump_child_ended(dump); /* stopped, not ended */
    for (unsigned i = 0; i < 3; i += 2) {
        request.attempt = i + 3;
        attempts[i] = dump_begin(dump, &request, 1000);
        ck_assert_ptr_nonnull(attempts[i]);
    }
    dump_end(&attempts[0], NULL);
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    ck_assert_uint_eq(counters->skipped, 0);
    dump_child_ended(dump);
    ck_assert_uint_eq(counters->skipped, 1);
    dump_child_ended(dump);
    respond(attempts[1], "HTTP/1.1 200 OK\r\n\r\n", "body");
    dump_response_body(attempts[1], "more", 4);
    ck_assert_uint_eq(counters->skipped, 2);
    dump_end(&attempts[1], NULL);
    dump_end(&attempts[2], "error");
    ck_assert_uint_eq(counters->skipped, 3);
    ck_assert_ptr_null(dump_begin(dump, &request, 1000));
    ck_assert_uint_eq(counters->skipped, 4);
    dump_turn(dump, 0);
    ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1); /* no zombie */
}
END_TEST

#define FILES_AT_ONCE 64

/* Bodies that lie in files: so many are on their way at most, and none stays open. */
START_TEST(test_many_spooled)
{
    static struct dump_attempt *attempts[FILES_AT_ONCE + 1];
    struct spool spool;
    char name[256];
    char *text;
    int fds;

    spool_init(&spool, 4);
    ck_assert_int_eq(spool_append(&spool, "in a file", 9), 0);
    ck_assert_ptr_null(spool_memory(&spool));
    ck_assert_int_eq(spool_settle(&spool), 0); /* the writer reads it past us */
    request.spool = &spool;
    request.body_length = spool.len;
    for (uint64_t round = 1; round <= 2; round++) {
        pid_t pid = stop_writer();

        fds = count_fds();
        for (unsigned i = 0; i <= FILES_AT_ONCE; i++) {
            request.attempt = i;
            attempts[i] = dump_begin(dump, &request, 1000 * (int64_t)round);
            ck_assert_ptr_nonnull(attempts[i]);
        }
        ck_assert_uint_eq(counters->skipped, round); /* the last one */
        ck_assert_int_eq(count_fds(), fds);
        for (unsigned i = 0; i <= FILES_AT_ONCE; i++)
            dump_end(&attempts[i], "error");
        ck_assert_int_eq(kill(pid, SIGCONT), 0);
        for (unsigned i = 0; i < FILES_AT_ONCE; i++) {
            snprintf(name, sizeof(name),
                     "openai/passthrough/%u000-v1-chat-completions-0123456789abcdef-%u.req_error.txt",
                     (unsigned)round, i);
            expect_file(name, "error\n");
            *strstr(name, "_error") = '\0';
            strncat(name, ".txt", sizeof(name) - strlen(name) - 1);
            text = read_dump(name);
            ck_assert_str_eq(strstr(text, "\r\n\r\n"), "\r\n\r\nin a file");
            free(text);
        }
        snprintf(name, sizeof(name),
                 "openai/passthrough/%u000-v1-chat-completions-0123456789abcdef-%u.req_error.txt",
                 (unsigned)round, FILES_AT_ONCE);
        expect_file(name, NOTE); /* comes last */
        expect_note(FILES_AT_ONCE, round);
    }
    spool_fini(&spool);
}
END_TEST

/* Whether the process has none of our files open. */
static bool has_no_file(const void *arg)
{
    const pid_t *pid = arg;
    char path[64];
    char link[128];
    bool none = true;

    for (int fd = 0; fd < 64 && none; fd++) {
        ssize_t n;

        snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)*pid, fd);
        n = readlink(path, link, sizeof(link));
        none = n < (ssize_t)strlen(base) || memcmp(link, base, strlen(base)) != 0;
    }
    return none;
}

/* So that it can have so many more descriptors. */
static void limit_files(pid_t pid, unsigned more)
{
    struct rlimit limit;
    unsigned number = 0;
    char path[64];

    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, NULL, &limit), 0);
    for (unsigned unused = 0; unused < more; number++) {
        snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)pid, number);
        unused += access(path, F_OK) != 0;
    }
    limit.rlim_cur = number;
    ck_assert_int_eq(prlimit(pid, RLIMIT_NOFILE, &limit, NULL), 0);
}

static void dump_spooled(const char *text, unsigned number)
{
    struct spool spool;
    struct dump_attempt *attempt;

    spool_init(&spool, 4);
    ck_assert_int_eq(spool_append(&spool, text, strlen(text)), 0);
    ck_assert_int_eq(spool_settle(&spool), 0);
    request.spool = &spool;
    request.body_length = spool.len;
    request.attempt = number;
    attempt = dump_begin(dump, &request, 1000);
    dump_end(&attempt, "error");
    dump_turn(dump, 0);
    spool_fini(&spool);
}

static void expect_body(unsigned number, const char *body)
{
    char name[256];
    char text[512];

    snprintf(name, sizeof(name), "openai/passthrough/1000-v1-chat-completions-0123456789abcdef-%u.req.txt",
             number);
    snprintf(text, sizeof(text),
             "POST /v1/chat/completions?key=AIza...mnop&x=1&Token=abcd...qrst&flag HTTP/1.1\r\n"
             "Content-Length: %u\r\nHost: api.test:8443\r\n\r\n%s",
             (unsigned)request.body_length, body);
    expect_file(name, text);
}

/* A descriptor that finds no room is lost with its body, which is told; the next one goes with the right
 * record.
 */
START_TEST(test_lost_file)
{
    pid_t pid = writer_pid();

    dump_spooled("the first", 1);
    expect_body(1, "the first");
    expect_file(STEM ".req_error.txt", "error\n");
    await("the end of the first", has_no_file, &pid);
    ck_assert_uint_eq(counters->skipped, 0);
    limit_files(pid, 1);
    dump_spooled("the other", 2);
    expect_body(2, "\n" NOTE);
    limit_files(pid, 10);
    dump_spooled("the third", 3);
    expect_body(3, "the third");
    ck_assert_uint_eq(counters->skipped, 1);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dump_writer");
    TCase *tc = tcase_create("dump_writer");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_cut_response);
    tcase_add_test(tc, test_cut_request);
    tcase_add_test(tc, test_many);
    tcase_add_test(tc, test_spooled);
    tcase_add_test(tc, test_writer_killed);
    tcase_add_test(tc, test_many_spooled);
    tcase_add_test(tc, test_lost_file);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
