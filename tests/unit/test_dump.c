/*
 * Tests of dump: JSON for people, names of files, masks, limits, the directory's size, a disk that takes
 * nothing and one that is too slow. Files are written by a thread: what is expected of them is awaited.
 */
#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/secret.h"
#include "io/dump.h"
#include "io/dump_json.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 10000

/* ---- JSON */

static const struct {
    const char *text;
    const char *indented; /* NULL = no JSON */
} jsons[] = {
    {"{}", "{}\n"},
    {" [ ] ", "[]\n"},
    {"{\"b\":1,\"a\":[1.00,1e5,-0],\"b\":\"x\\\"},{\"}",
     "{\n  \"b\": 1,\n  \"a\": [\n    1.00,\n    1e5,\n    -0\n  ],\n  \"b\": \"x\\\"},{\"\n}\n"},
    {"[[],{},[{}]]", "[\n  [],\n  {},\n  [\n    {}\n  ]\n]\n"},
    {"\"a\\\\\"", "\"a\\\\\"\n"},
    {"12345678901234567890.5", "12345678901234567890.5\n"},
    {"true", "true\n"},
    {"{\"k\" :\n null , \"l\":\tfalse}", "{\n  \"k\": null,\n  \"l\": false\n}\n"},
    {"\"\\u00e9\xc3\xa9\"", "\"\\u00e9\xc3\xa9\"\n"},
    {"", NULL},
    {"{", NULL},
    {"{}x", NULL},
    {"data: {}", NULL},
    {"[1,]", NULL},
    {"\"\xff\"", NULL},
    {"12345678901234567890", "12345678901234567890\n"},
    {"-0.5E+10", "-0.5E+10\n"},
    {"\"\\u00Ef\\/\\b\"", "\"\\u00Ef\\/\\b\"\n"},
    {" 1 ", "1\n"},
    {"{\"\":{\"a\":[]}}", "{\n  \"\": {\n    \"a\": []\n  }\n}\n"},
    {"  ", NULL},
    {"1 2", NULL},
    {"1,2", NULL},
    {"1]", NULL},
    {"[1}", NULL},
    {"{\"a\":1]", NULL},
    {"{\"a\"}", NULL},
    {"{\"a\":}", NULL},
    {"{\"a\":1,}", NULL},
    {"{1:2}", NULL},
    {"[1 2]", NULL},
    {"[,]", NULL},
    {"01", NULL},
    {"-", NULL},
    {"+1", NULL},
    {"1.", NULL},
    {".5", NULL},
    {"1e", NULL},
    {"1e+", NULL},
    {"1x", NULL},
    {"tru", NULL},
    {"truex", NULL},
    {"nul", NULL},
    {"\"", NULL},
    {"\"\\", NULL},
    {"\"\\x\"", NULL},
    {"\"\\u12g4\"", NULL},
    {"\"\\u12", NULL},
    {"\"\n\"", NULL},
    {"[\"a\"", NULL},
    {"{\"a\":", NULL},
};

START_TEST(test_json)
{
    struct buf out = {0};

    buf_puts(&out, "before");
    if (jsons[_i].indented == NULL) {
        ck_assert(!dump_json_indent(&out, jsons[_i].text, strlen(jsons[_i].text)));
        ck_assert_str_eq(out.data, "before");
    } else {
        ck_assert(dump_json_indent(&out, jsons[_i].text, strlen(jsons[_i].text)));
        ck_assert_str_eq(out.data + strlen("before"), jsons[_i].indented);
    }
    buf_fini(&out);
}
END_TEST

/* White space that would fill the memory is not made. */
START_TEST(test_deep_json)
{
    static char text[300000];
    const size_t len = sizeof(text);
    struct buf out = {0};

    memset(text, 'x', len);
    text[1024] = text[len - 1025] = '"';
    memset(text, '[', 1024);
    memset(text + len - 1024, ']', 1024);
    ck_assert(dump_json_indent(&out, text, len));
    buf_clear(&out);
    text[1024] = '[';
    text[len - 1025] = ']';
    text[1025] = text[len - 1026] = '"';
    ck_assert(!dump_json_indent(&out, text, len));
    for (size_t i = 1000; i < len - 1000; i += 2)
        memcpy(text + i, "1,", 2);
    text[len - 1001] = ' ';
    memset(text + len - 1000, ']', 1000);
    ck_assert(!dump_json_indent(&out, text, len));
    ck_assert_uint_eq(out.len, 0);
    ck_assert_uint_lt(out.cap, 16 << 20);
    buf_fini(&out);
}
END_TEST

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
    request = (struct dump_request){.provider = &provider,
                                    .id = "0123456789abcdef",
                                    .attempt = 1,
                                    .method = "POST",
                                    .target = "/v1/chat/completions?key=x",
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
    expect_file(STEM ".req.txt", "POST /v1/chat/completions?key=x HTTP/1.1\r\n"
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
    expect_file(STEM ".req.txt", "POST /v1/chat/completions?key=x HTTP/1.1\r\nHost: api.test:8443\r\n"
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
    expect_file(STEM ".req.txt", "POST /v1/chat/completions?key=x HTTP/1.1\r\nHost: api.test:8443\r\n\r\n");
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
    ck_assert_uint_eq(skipped, 1);
    expect_file(SECOND ".req.txt", "POST /v1/chat/completions?key=x HTTP/1.1\r\nHost: api.test:8443\r\n\r\n");
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
    expect_file(SECOND ".req.txt", "POST /v1/chat/completions?key=x HTTP/1.1\r\nHost: api.test:8443\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\nbegin\n" NOTE);
    expect_file(SECOND ".resp.txt", NOTE);
    attempt = dump_begin(dump, &request, 1000);
    request.attempt = 3;
    attempt = dump_begin(dump, &request, 1001);
    dump_request_body(attempt, big, SMALL_QUEUE);
    dump_end(&attempt, "why");
    expect_file("openai/passthrough/1001-v1-chat-completions-0123456789abcdef-3.req_error.txt", NOTE);
}
END_TEST

/* As many attempts as there are room for; the others are left out whole, and every one that began has its
 * end. */
START_TEST(test_many)
{
    struct dump_attempt *attempts[2000];
    size_t begun = 0;

    open_small();
    for (unsigned i = 0; i < 2000; i++) {
        request.attempt = i;
        attempts[i] = dump_begin(dump, &request, 1000);
        begun += attempts[i] != NULL;
    }
    ck_assert_uint_gt(begun, 10);
    ck_assert_uint_eq(begun + skipped, 2000);
    for (unsigned i = 0; i < 2000; i++)
        dump_end(&attempts[i], NULL);
    finish();
    ck_assert_uint_eq(begun + skipped, 2000);
    request.attempt = 2;
    attempts[0] = dump_begin(dump, &request, 3000);
    ck_assert_ptr_nonnull(attempts[0]);
    dump_end(&attempts[0], NULL);
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

/* ---- the directory's size */

static void make_file(const char *name, size_t size)
{
    static char zeros[4096];
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/%s", base, name);
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, zeros, size), 0);
    close(fd);
}

static void make_dir(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    ck_assert_int_eq(mkdir(path, 0700), 0);
}

static size_t trim_once(const char *dir, int64_t size)
{
    struct dump_trim *trim = dump_trim_new(dir, size, NULL);
    size_t removed;

    ck_assert_ptr_nonnull(trim);
    removed = dump_trim_run(trim, 0);
    dump_trim_free(&trim);
    return removed;
}

START_TEST(test_trim)
{
    make_dir("a");
    make_dir("a/passthrough");
    make_dir("b");
    make_dir("b/passthrough");
    make_file("a/passthrough/900-x-1-1.req.txt", 100);
    make_file("a/passthrough/1000-x-1-1.req.txt", 100);
    make_file("a/passthrough/1000-x-1-1.resp.txt", 100);
    make_file("b/passthrough/99-x-1-1.req.txt", 100);
    make_file("b/passthrough/2000-x-1-1.req_error.txt", 100);
    make_file("b/passthrough/1-none-of-ours.txt", 4000);
    make_file("b/passthrough/x.req.txt", 4000);
    make_file("b/1-x.req.txt", 4000);
    ck_assert_uint_eq(trim_once(base, 500), 0);
    ck_assert_uint_eq(trim_once(base, 499), 1);
    ck_assert(!exists("b/passthrough/99-x-1-1.req.txt"));
    ck_assert_uint_eq(trim_once(base, 250), 2);
    ck_assert(!exists("a/passthrough/900-x-1-1.req.txt"));
    ck_assert(!exists("a/passthrough/1000-x-1-1.req.txt"));
    ck_assert(exists("a/passthrough/1000-x-1-1.resp.txt"));
    ck_assert_uint_eq(trim_once(base, 0), 2);
    ck_assert(exists("b/passthrough/1-none-of-ours.txt"));
    ck_assert(exists("b/passthrough/x.req.txt"));
    ck_assert(exists("b/1-x.req.txt"));
    ck_assert_uint_eq(trim_once("/nonexistent", 0), 0);
}
END_TEST

/* Between two readings of the directory what is written is added up, and files go in the order that is known.
 */
START_TEST(test_trim_total)
{
    _Atomic uint64_t total = 0;
    struct dump_trim *trim = dump_trim_new(base, 1000, &total);
    char name[64];

    ck_assert_ptr_nonnull(trim);
    make_dir("a");
    make_dir("a/passthrough");
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "a/passthrough/%d-x-1-1.req.txt", 100 - i);
        make_file(name, 100);
    }
    ck_assert_uint_eq(dump_trim_run(trim, 1000), 0);
    /* At a time before that of the next reading. */
    make_file("a/passthrough/1-x-1-1.req.txt", 100);
    make_file("a/passthrough/200-x-1-1.req.txt", 100);
    ck_assert_uint_eq(dump_trim_run(trim, 1), 0);
    total += 150;
    ck_assert_uint_eq(dump_trim_run(trim, 2), 2);
    ck_assert(!exists("a/passthrough/91-x-1-1.req.txt"));
    ck_assert(!exists("a/passthrough/92-x-1-1.req.txt"));
    ck_assert(exists("a/passthrough/1-x-1-1.req.txt"));
    total += 1700; /* more than is known by name: it is read again */
    ck_assert_uint_eq(dump_trim_run(trim, 3), 8);
    ck_assert(exists("a/passthrough/1-x-1-1.req.txt"));
    dump_trim_free(&trim);
}
END_TEST

/* The thread does it by itself. */
static bool is_gone(const void *arg)
{
    return !exists(arg);
}

START_TEST(test_trimmer)
{
    struct dump_trimmer *trimmer;

    make_dir("a");
    make_dir("a/passthrough");
    make_file("a/passthrough/1-x-1-1.req.txt", 1000);
    make_file("a/passthrough/2-x-1-1.req.txt", 1000);
    trimmer = dump_trimmer_start(base, 1500, &written);
    ck_assert_ptr_nonnull(trimmer);
    await("the oldest is removed", is_gone, "a/passthrough/1-x-1-1.req.txt");
    dump_trimmer_stop(&trimmer);
    ck_assert(exists("a/passthrough/2-x-1-1.req.txt"));
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
    Suite *s = suite_create("dump");
    TCase *tc = tcase_create("dump");
    SRunner *sr;
    int failed;

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_json, 0, COUNT(jsons));
    tcase_add_test(tc, test_deep_json);
    tcase_add_test(tc, test_whole);
    tcase_add_test(tc, test_streamed);
    tcase_add_test(tc, test_echo);
    tcase_add_test(tc, test_gzip);
    tcase_add_test(tc, test_error);
    tcase_add_test(tc, test_file_size);
    tcase_add_loop_test(tc, test_names, 0, COUNT(targets));
    tcase_add_test(tc, test_long_target);
    tcase_add_test(tc, test_trouble);
    tcase_add_test(tc, test_cut_response);
    tcase_add_test(tc, test_cut_request);
    tcase_add_test(tc, test_many);
    tcase_add_test(tc, test_spooled);
    tcase_add_test(tc, test_key_at_the_cut);
    tcase_add_test(tc, test_trim);
    tcase_add_test(tc, test_trim_total);
    tcase_add_test(tc, test_trimmer);
    suite_add_tcase(s, tc);
    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
