/*
 * Tests of dump: JSON for people, names of files, masks, limits, the directory's size, and a disk that takes
 * nothing.
 */
#include "base/buf.h"
#include "base/fd.h"
#include "base/secret.h"
#include "io/dump.h"
#include "io/dump_json.h"
#include "unit/suite.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* ---- files */

static char base[64];
static struct provider provider;
static struct provider_list providers;
static struct header_list headers;
static struct dump_options options;
static struct dump_request request;
static struct dump *dump;
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
    options = (struct dump_options){base, 1000, &providers};
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
    dump_free(&dump);
    header_list_fini(&headers);
    remove_tree();
}

#define STEM "openai/passthrough/1000-v1-chat-completions-0123456789abcdef-1"

static char *read_dump(const char *name)
{
    char path[512];
    char *text;
    size_t len;
    struct stat st;
    int fd;

    snprintf(path, sizeof(path), "%s/%s", base, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    ck_assert_msg(fd >= 0, "no file %s", path);
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    text = fd_read_file(fd, 1 << 20, &len);
    ck_assert_ptr_nonnull(text);
    close(fd);
    return text;
}

static void expect_file(const char *name, const char *wanted)
{
    char *text = read_dump(name);

    ck_assert_str_eq(text, wanted);
    free(text);
}

static bool exists(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/%s", base, name);
    return access(path, F_OK) == 0;
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
    expect_file(STEM ".resp.txt", "HTTP/1.1 200\r\n"
                                  "Content-Type: application/json\r\n"
                                  "Set-Cookie: id=a...qrst\r\n"
                                  "\r\n"
                                  "{\n  \"ok\": true\n}\n");
    ck_assert(!exists(STEM ".req_error.txt"));
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
    text = read_dump(STEM ".resp.txt");
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
    dump_free(&dump);
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
    snprintf(name, sizeof(name), "openai/passthrough/1000-%s-0123456789abcdef-1.req.txt", targets[_i].part);
    ck_assert_msg(exists(name), "no %s", name);
}
END_TEST

/* The longest target makes a name that a file can have; the same name twice overwrites nothing. */
START_TEST(test_long_target)
{
    static char target[9000];
    struct dump_attempt *attempt;
    struct dump_attempt *second;

    memset(target, 'a', sizeof(target) - 1);
    target[0] = '/';
    request.target = target;
    attempt = dump_begin(dump, &request, 1000);
    ck_assert_ptr_nonnull(attempt);
    second = dump_begin(dump, &request, 1000);
    ck_assert_ptr_null(second);
    dump_end(&second, "nothing happens");
    dump_end(&attempt, NULL);
}
END_TEST

/* A directory that is gone stops no request, and dumps go on when it is back. */
START_TEST(test_trouble)
{
    struct dump_attempt *attempt = dump_begin(dump, &request, 1000);

    ck_assert_ptr_nonnull(attempt);
    remove_tree();
    respond(attempt, "HTTP/1.1 200 OK\r\n\r\n", "body");
    dump_end(&attempt, NULL);
    for (int i = 0; i < 3; i++)
        ck_assert_ptr_null(dump_begin(dump, &request, 1000));
    ck_assert_int_eq(mkdir(base, 0700), 0);
    attempt = dump_begin(dump, &request, 1000);
    ck_assert_ptr_nonnull(attempt);
    dump_end(&attempt, NULL);
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
    ck_assert_uint_eq(dump_trim(base, 500), 0);
    ck_assert_uint_eq(dump_trim(base, 499), 1);
    ck_assert(!exists("b/passthrough/99-x-1-1.req.txt"));
    ck_assert_uint_eq(dump_trim(base, 250), 2);
    ck_assert(!exists("a/passthrough/900-x-1-1.req.txt"));
    ck_assert(!exists("a/passthrough/1000-x-1-1.req.txt"));
    ck_assert(exists("a/passthrough/1000-x-1-1.resp.txt"));
    ck_assert_uint_eq(dump_trim(base, 0), 2);
    ck_assert(exists("b/passthrough/1-none-of-ours.txt"));
    ck_assert(exists("b/passthrough/x.req.txt"));
    ck_assert(exists("b/1-x.req.txt"));
    ck_assert_uint_eq(dump_trim("/nonexistent", 0), 0);
}
END_TEST

#define COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

int main(void)
{
    Suite *s = suite_create("dump");
    TCase *tc = tcase_create("dump");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, test_json, 0, COUNT(jsons));
    tcase_add_test(tc, test_whole);
    tcase_add_test(tc, test_streamed);
    tcase_add_test(tc, test_echo);
    tcase_add_test(tc, test_gzip);
    tcase_add_test(tc, test_error);
    tcase_add_test(tc, test_file_size);
    tcase_add_loop_test(tc, test_names, 0, COUNT(targets));
    tcase_add_test(tc, test_long_target);
    tcase_add_test(tc, test_trouble);
    tcase_add_test(tc, test_trim);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
