/*
 * Tests of dump: names of files, masks, limits, a disk that takes nothing and a queue that is too small.
 * Files are written by a thread: what is expected of them is awaited.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/secret.h"
#include "io/dump.h"
#include "unit/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 10000

/* ---- files */

static char base[64];
static struct provider provider;
static struct provider_list providers;
static struct header_list headers;
static struct dump_options options;
static struct dump_request request;
static struct dump *dump;
static _Atomic uint64_t written;
static _Atomic uint64_t skipped;
static struct key key = {.hint = "sk-a...wxyz"};

static void add_header(const char *name, const char *value)
{
    ck_assert_int_eq(header_add(&headers, name, strlen(name), value, strlen(value)), 0);
}

static void setup(void)
{
    written = skipped = 0;
    headers = (struct header_list){0};
    key.secret = NULL;
    snprintf(base, sizeof(base), "/tmp/claviger-dump.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    provider = (struct provider){.name = (char *)(uintptr_t) "openai",
                                 .type = PROVIDER_OPENAI,
                                 .auth_header = (char *)(uintptr_t) "Authorization",
                                 .auth_prefix = (char *)(uintptr_t) "Bearer "};
    provider.base_url.host = (char *)(uintptr_t) "api.test:8443";
    providers = (struct provider_list){&provider, 1};
    options = (struct dump_options){
        .dir = base, .file_size = 1000, .providers = &providers, .written = &written, .skipped = &skipped};
    dump = dump_new(&options);
    ck_assert_ptr_nonnull(dump);
    request = (struct dump_request){
        .provider = &provider,
        .id = "0123456789abcdef",
        .attempt = 1,
        .method = "POST",
        .target = "/v1/chat/completions?key=AIzaabcdefghijklmnop&x=1&Token=abcdefghijklmnopqrst&flag",
        .headers = &headers,
        .body_length = DUMP_NO_BODY};
}

static void remove_tree(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -rf '%s'", base);
    ck_assert_int_eq(system(command), 0);
}

static void teardown(void)
{
    dump_free(&dump, WAIT_MS);
    header_list_fini(&headers);
    remove_tree();
}

#define STEM "openai/passthrough/1000-v1-chat-completions-0123456789abcdef-1"

/* NULL = there is no such file. */
static char *read_dump(const char *name)
{
    char path[512];
    char *text;
    size_t len;
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", base, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    text = fd_read_file(fd, 1 << 20, &len);
    ck_assert_ptr_nonnull(text);
    close(fd);
    return text;
}

static void await(const char *what, bool (*is)(const void *arg), const void *arg)
{
    int64_t end = clock_mono_ms() + WAIT_MS;

    dump_turn(dump, 0);
    while (!is(arg)) {
        ck_assert_msg(clock_mono_ms() < end, "not in time: %s", what);
        poll(NULL, 0, 1);
    }
}

struct wanted {
    const char *name;
    const char *text;
};

static bool has_text(const void *arg)
{
    const struct wanted *wanted = arg;
    char *text = read_dump(wanted->name);
    bool same = text != NULL && strcmp(text, wanted->text) == 0;

    free(text);
    return same;
}

static void expect_file(const char *name, const char *text)
{
    const struct wanted wanted = {name, text};
    char what[4096];

    snprintf(what, sizeof(what), "%s:\n%s", name, text);
    await(what, has_text, &wanted);
}

/* Everything so far is written, or never will be. */
static void finish(void)
{
    dump_free(&dump, WAIT_MS);
    dump = dump_new(&options);
    ck_assert_ptr_nonnull(dump);
}

static bool exists(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    return access(path, F_OK) == 0;
}

static uint64_t size_of(const char *name)
{
    char path[512];
    struct stat st;

    snprintf(path, sizeof(path), "%s/%s", base, name);
    ck_assert_int_eq(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void respond(struct dump_attempt *attempt, const char *lines, const char *body)
{
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    enum response_head_result result = RESPONSE_HEAD_MORE;

    while (*lines != '\0') {
        size_t len = strcspn(lines, "\n") + 1;

        result = response_head_line(&head, lines, len, &arena, &reason);
        lines += len;
    }
    ck_assert_int_eq(result, RESPONSE_HEAD_DONE);
    dump_response_head(attempt, &head);
    dump_response_body(attempt, body, strlen(body));
    response_head_fini(&head);
    arena_fini(&arena);
}

/* Sorted fields, everything that goes out, hints in place of credentials, JSON indented in both directions.
 */
START_TEST(test_whole)
{
    struct spool spool;
    struct dump_attempt *attempt;

    add_header("X-Custom", "2");
    add_header("content-type", "application/json; charset=utf-8");
    add_header("X-Custom", "1");
    add_header("Cookie", "session=abcdefghijklmnopqrst");
    add_header("X-Auth-Token", "short");
    spool_init(&spool, 100);
    ck_assert_int_eq(spool_append(&spool, "{\"z\":1,\"a\":2}", 13), 0);
    request.spool = &spool;
    request.body_length = 13;
    request.key = &key;
    attempt = dump_begin(dump, &request, 1000);
    ck_assert_ptr_nonnull(attempt);
    expect_file(STEM ".req.txt",
                "POST /v1/chat/completions?key=AIza...mnop&x=1&Token=abcd...qrst&flag HTTP/1.1\r\n"
                "Authorization: Bearer sk-a...wxyz\r\n"
                "Content-Length: 13\r\n"
                "content-type: application/json; charset=utf-8\r\n"
                "Cookie: sess...qrst\r\n"
                "Host: api.test:8443\r\n"
                "X-Auth-Token: s...t\r\n"
                "X-Custom: 2\r\n"
                "X-Custom: 1\r\n"
                "\r\n"
                "{\n  \"z\": 1,\n  \"a\": 2\n}\n");
    respond(
        attempt,
        "HTTP/1.1 200 OK\r\nSet-Cookie: id=abcdefghijklmnopqrst\r\nContent-Type: application/json\r\n\r\n",
        "{\"ok\":true}");
    dump_end(&attempt, NULL);
    ck_assert_ptr_null(attempt);
    finish();
    expect_file(STEM ".resp.txt", "HTTP/1.1 200\r\n"
                                  "Content-Type: application/json\r\n"
                                  "Set-Cookie: id=a...qrst\r\n"
                                  "\r\n"
                                  "{\n  \"ok\": true\n}\n");
    ck_assert(!exists(STEM ".req_error.txt"));
    ck_assert_uint_eq(skipped, 0);
    ck_assert_uint_eq(written, size_of(STEM ".req.txt") + size_of(STEM ".resp.txt"));
    spool_fini(&spool);
}
END_TEST

/* What does not come whole, or is no JSON, stands there as it came, and at once. */
START_TEST(test_streamed)
{
    struct dump_attempt *attempt;

    request.body_length = DUMP_CHUNKED;
    attempt = dump_begin(dump, &request, 1000);
    dump_request_body(attempt, "{\"a\"", 4);
    dump_request_body(attempt, ":1}", 3);
    respond(attempt, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", "data: {\"n\":0}\n\n");
    expect_file(STEM ".resp.txt",
                "HTTP/1.1 200\r\nContent-Type: text/event-stream\r\n\r\ndata: {\"n\":0}\n\n");
    dump_response_body(attempt, "data: {\"n\":1}\n\n", 15);
    expect_file(STEM ".resp.txt", "HTTP/1.1 200\r\nContent-Type: text/event-stream\r\n\r\n"
                                  "data: {\"n\":0}\n\ndata: {\"n\":1}\n\n");
    dump_end(&attempt, "cut");
    expect_file(STEM ".req.txt", "POST /v1/chat/completions?key=AIza...mnop&x=1&Token=abcd...qrst&flag "
                                 "HTTP/1.1\r\nHost: api.test:8443\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n{\"a\":1}");
    finish();
    ck_assert(!exists(STEM ".req_error.txt"));
}
END_TEST

/* A key that the provider repeats is overwritten, in the head and across the pieces of the body. */
START_TEST(test_echo)
{
    static const char secret[] = "sk-abcdefghijklmnopqrstuvwxyz";
    struct dump_attempt *attempt;
    char *text;

    key.secret = secret_new(secret, strlen(secret));
    request.key = &key;
    attempt = dump_begin(dump, &request, 1000);
    respond(attempt, "HTTP/1.1 401 No\r\nX-Key: sk-abcdefghijklmnopqrstuvwxyz\r\n\r\n",
            "wrong: sk-abcdefghij");
    dump_response_body(attempt, "klmnopqrstuvwxyz", 16);
    dump_response_body(attempt, " sk-a", 5);
    dump_end(&attempt, NULL);
    finish();
    text = read_dump(STEM ".resp.txt");
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_null(strstr(text, "ghijklmnop"));
    ck_assert_ptr_nonnull(strstr(text, "\r\n\r\nwrong: "));
    ck_assert_str_eq(text + strlen(text) - 5, " sk-a");
    free(text);
    secret_free(&key.secret);
}
END_TEST

START_TEST(test_gzip)
{
    /* "hello hello hello\n" */
    static const char gzip[] =
        "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x57\xc8\x40\x90\x5c\x00"
        "\x3b\x7c\x8a\xdf\x12\x00\x00\x00";
    struct dump_attempt *attempt = dump_begin(dump, &request, 1000);

    respond(attempt, "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", "");
    for (size_t i = 0; i < sizeof(gzip) - 1; i++)
        dump_response_body(attempt, gzip + i, 1);
    dump_end(&attempt, NULL);
    expect_file(STEM ".resp.txt", "HTTP/1.1 200\r\nContent-Encoding: gzip\r\n\r\nhello hello hello\n");
}
END_TEST

START_TEST(test_error)
{
    struct dump_attempt *attempt = dump_begin(dump, &request, 1000);

    dump_end(&attempt, "no connection within connect_timeout");
    finish();
    ck_assert(exists(STEM ".req.txt"));
    ck_assert(!exists(STEM ".resp.txt"));
    expect_file(STEM ".req_error.txt", "no connection within connect_timeout\n");
}
END_TEST

/* A body over file_size is cut and says so; JSON then stays as it came. */
START_TEST(test_file_size)
{
    struct dump_attempt *attempt;

    options.file_size = 10;
    dump_free(&dump, WAIT_MS);
    dump = dump_new(&options);
    attempt = dump_begin(dump, &request, 1000);
    respond(attempt, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", "[1,2,3,4,");
    dump_response_body(attempt, "5,6]", 4);
    dump_response_body(attempt, "more", 4);
    dump_end(&attempt, NULL);
    expect_file(STEM ".resp.txt", "HTTP/1.1 200\r\nContent-Type: application/json\r\n\r\n[1,2,3,4,5"
                                  "\n[cut off here: dump.file_size]\n");
}
END_TEST

static const struct {
    const char *target;
    const char *part;
} targets[] = {
    {"/", ""},     {"/v1/models", "v1-models"},    {"/v1/a%2Fb/../x", "v1-a-2Fb-..-x"}, {"//x//y/", "x--y-"},
    {"/..", ".."}, {"/a b\xc3\xa9'\"", "a-b----"},
};

START_TEST(test_names)
{
    char name[256];
    struct dump_attempt *attempt;

    request.target = targets[_i].target;
    attempt = dump_begin(dump, &request, 1000);
    ck_assert_ptr_nonnull(attempt);
    dump_end(&attempt, NULL);
    finish();
    snprintf(name, sizeof(name), "openai/passthrough/1000-%s-0123456789abcdef-1.req.txt", targets[_i].part);
    ck_assert_msg(exists(name), "no %s", name);
}
END_TEST

/* The longest target makes a name that a file can have; the same name twice overwrites nothing. */
START_TEST(test_long_target)
{
    static char target[9000];
    char name[256];
    char *text;
    struct dump_attempt *attempt;
    struct dump_attempt *second;

    memset(target, 'a', sizeof(target) - 1);
    target[0] = '/';
    request.target = target;
    attempt = dump_begin(dump, &request, 1000);
    ck_assert_ptr_nonnull(attempt);
    request.method = "PUT";
    second = dump_begin(dump, &request, 1000);
    respond(second, "HTTP/1.1 200 OK\r\n\r\n", "body");
    dump_end(&second, "nothing happens");
    dump_end(&attempt, NULL);
    finish();
    snprintf(name, sizeof(name), "openai/passthrough/1000-%.100s-0123456789abcdef-1.req.txt", target + 1);
    text = read_dump(name);
    ck_assert_ptr_nonnull(text);
    ck_assert_ptr_eq(strstr(text, "POST /aaa"), text);
    free(text);
    snprintf(name, sizeof(name), "openai/passthrough/1000-%.100s-0123456789abcdef-1.resp.txt", target + 1);
    ck_assert(!exists(name));
    ck_assert_uint_eq(skipped, 1);
}
END_TEST

static bool is_skipped(const void *arg)
{
    return skipped >= *(const uint64_t *)arg;
}

/* A directory that is gone stops no request, and dumps go on when it is back. */
START_TEST(test_trouble)
{
    static const uint64_t four = 4;
    struct dump_attempt *attempt = dump_begin(dump, &request, 1000);

    ck_assert_ptr_nonnull(attempt);
    expect_file(STEM ".req.txt", "POST /v1/chat/completions?key=AIza...mnop&x=1&Token=abcd...qrst&flag "
                                 "HTTP/1.1\r\nHost: api.test:8443\r\n\r\n");
    remove_tree();
    respond(attempt, "HTTP/1.1 200 OK\r\n\r\n", "body");
    dump_end(&attempt, NULL);
    for (int i = 0; i < 3; i++) {
        attempt = dump_begin(dump, &request, 1000);
        dump_end(&attempt, "error");
    }
    await("the last failure", is_skipped, &four);
    ck_assert_int_eq(mkdir(base, 0700), 0);
    attempt = dump_begin(dump, &request, 1000);
    ck_assert_ptr_nonnull(attempt);
    dump_end(&attempt, "error");
    expect_file(STEM ".req_error.txt", "error\n");
    ck_assert_uint_eq(skipped, 4);
}
END_TEST

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
    ck_assert_uint_eq(skipped, 1);
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

static void expect_note(unsigned attempt)
{
    char name[256];
    char *text;

    snprintf(name, sizeof(name), "openai/passthrough/1000-v1-chat-completions-0123456789abcdef-%u.req.txt",
             attempt);
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
    ck_assert_uint_eq(count + skipped, MANY);
    for (unsigned i = 0; i < MANY; i++)
        for (size_t k = 0; k < SMALL_QUEUE; k++)
            dump_request_body(attempts[i], "x", 1);
    for (unsigned i = 0; i < MANY; i++)
        dump_end(&attempts[i], NULL);
    finish();
    for (unsigned i = 0; i < MANY; i++)
        if (begun[i])
            expect_note(i);
    ck_assert_uint_eq(skipped, MANY);
}
END_TEST

/* A body that lies in a file goes there by itself, with the key masked. */
START_TEST(test_spooled)
{
    static const char secret[] = "sk-abcdefghijklmnopqrstuvwxyz";
    struct dump_attempt *attempt;
    struct spool spool;
    char *text;

    open_small();
    key.secret = secret_new(secret, strlen(secret));
    request.key = &key;
    spool_init(&spool, 100);
    for (size_t i = 0; i < 10; i++)
        ck_assert_int_eq(spool_append(&spool, big, sizeof(big)), 0);
    ck_assert_int_eq(spool_append(&spool, secret, strlen(secret)), 0);
    ck_assert_ptr_null(spool_memory(&spool));
    ck_assert_int_eq(spool_settle(&spool), 0); /* the thread reads it past us */
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
    ck_assert_uint_eq(skipped, 0);
    free(text);
    secret_free(&key.secret);
}
END_TEST

/* A key over the end of what goes into the file is masked as well. */
START_TEST(test_key_at_the_cut)
{
    static const char secret[] = "sk-abcdefghijklmnopqrstuvwxyz";
    struct dump_attempt *attempt;

    options.file_size = 10;
    finish();
    key.secret = secret_new(secret, strlen(secret));
    request.key = &key;
    attempt = dump_begin(dump, &request, 1000);
    respond(attempt, "HTTP/1.1 200 OK\r\n\r\n", "sk-abcdefghijklmnopqrstuvwxyz");
    dump_end(&attempt, NULL);
    expect_file(STEM ".resp.txt", "HTTP/1.1 200\r\n\r\n**********\n[cut off here: dump.file_size]\n");
    finish();
    secret_free(&key.secret);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dump");
    TCase *tc = tcase_create("dump");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_whole);
    tcase_add_test(tc, test_streamed);
    tcase_add_test(tc, test_echo);
    tcase_add_test(tc, test_gzip);
    tcase_add_test(tc, test_error);
    tcase_add_test(tc, test_file_size);
    tcase_add_loop_test(tc, test_names, 0, (int)(sizeof(targets) / sizeof(targets[0])));
    tcase_add_test(tc, test_long_target);
    tcase_add_test(tc, test_trouble);
    tcase_add_test(tc, test_cut_response);
    tcase_add_test(tc, test_cut_request);
    tcase_add_test(tc, test_many);
    tcase_add_test(tc, test_spooled);
    tcase_add_test(tc, test_key_at_the_cut);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
