/*
 * Tests of dump: names of files, masks, limits, and a disk that takes nothing.
 */
#include "unit/dump_fixture.h"

static void add_header(const char *name, const char *value)
{
    ck_assert_int_eq(header_add(&headers, name, strlen(name), value, strlen(value)), 0);
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
    ck_assert_uint_eq(counters->skipped, 0);
    ck_assert_uint_eq(counters->written, size_of(STEM ".req.txt") + size_of(STEM ".resp.txt"));
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
    struct dump_attempt *attempt;
    char *text;

    key.secret = canary;
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
    key.secret = NULL;
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
    ck_assert_uint_eq(counters->skipped, 1);
}
END_TEST

static bool is_skipped(const void *arg)
{
    return counters->skipped >= *(const uint64_t *)arg;
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
    ck_assert_uint_eq(counters->skipped, 4);
}
END_TEST

/* A key over the end of what goes into the file is masked as well. */
START_TEST(test_key_at_the_cut)
{
    struct dump_attempt *attempt;

    options.file_size = 10;
    finish();
    key.secret = canary;
    request.key = &key;
    attempt = dump_begin(dump, &request, 1000);
    respond(attempt, "HTTP/1.1 200 OK\r\n\r\n", "sk-abcdefghijklmnopqrstuvwxyz");
    dump_end(&attempt, NULL);
    expect_file(STEM ".resp.txt", "HTTP/1.1 200\r\n\r\n**********\n[cut off here: dump.file_size]\n");
    finish();
    key.secret = NULL;
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
    tcase_add_test(tc, test_key_at_the_cut);
    suite_add_tcase(s, tc);
    return suite_run(s);
}
