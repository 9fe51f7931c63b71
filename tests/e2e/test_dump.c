/*
 * test_dump: what an API dump holds, file by file, for a plain request, a failover, a stream, an upstream
 * error and a BYOK request; that no key is in it, and that it is in nobody's way.
 */
#include "e2e/suite.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_MS 10000
#define FILES   16

struct dumps {
    char dir[160];
    char names[FILES][300]; /* sorted */
    size_t count;
    size_t wanted;
};

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void list_files(struct dumps *d)
{
    DIR *dir = opendir(d->dir);
    const struct dirent *entry;

    d->count = 0;
    while (dir != NULL && (entry = readdir(dir)) != NULL && d->count < FILES)
        if (entry->d_name[0] != '.')
            snprintf(d->names[d->count++], sizeof(d->names[0]), "%s", entry->d_name);
    if (dir != NULL)
        closedir(dir);
    qsort(d->names, d->count, sizeof(d->names[0]), compare_names);
}

static bool has_all(void *arg)
{
    struct dumps *d = arg;

    list_files(d);
    return d->count >= d->wanted;
}

static void await_files(struct bench *b, struct dumps *d, size_t count)
{
    snprintf(d->dir, sizeof(d->dir), "%s/dumps/openai/passthrough", b->daemon.dir);
    d->wanted = count;
    ck_assert_msg(util_wait(has_all, d, WAIT_MS), "%zu files, not %zu", d->count, count);
    ck_assert_uint_eq(d->count, count);
}

struct wait_text {
    char path[480];
    const char *wanted;
    char *text;
};

static bool is_text(void *arg)
{
    struct wait_text *w = arg;

    free(w->text);
    w->text = util_read_file(w->path, NULL);
    return w->text != NULL && strcmp(w->text, w->wanted) == 0;
}

/* The file with that suffix among the files from `from` on has that text, sooner or later. */
static void expect_file(const struct dumps *d, size_t index, const char *suffix, const char *wanted)
{
    struct wait_text w = {.wanted = wanted};
    struct stat st;
    const char *name = d->names[index];

    ck_assert_msg(strlen(name) > strlen(suffix) && strcmp(name + strlen(name) - strlen(suffix), suffix) == 0,
                  "file %zu is %s, not %s", index, name, suffix);
    snprintf(w.path, sizeof(w.path), "%s/%s", d->dir, name);
    if (!util_wait(is_text, &w, WAIT_MS)) {
        printf("--- wanted\n%s\n--- there is\n%s\n---\n", wanted, w.text != NULL ? w.text : "nothing");
        ck_abort_msg("%s has another text", name);
    }
    ck_assert(strstr(w.text, SUITE_CANARY) == NULL);
    ck_assert_int_eq(stat(w.path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0600);
    free(w.text);
}

/* A request's head as it went out, with the fake's port in its place. */
static const char *request_head(const struct bench *b, const char *authorization, const char *more)
{
    static char text[1024];

    snprintf(text, sizeof(text),
             "POST /v1/chat/completions HTTP/1.1\r\n"
             "%s"
             "Authorization: Bearer %s\r\n"
             "Content-Length: 42\r\n"
             "Content-Type: application/json\r\n"
             "Host: 127.0.0.1:%u\r\n"
             "User-Agent: aibridge\r\n"
             "X-Forwarded-For: 127.0.0.1\r\n"
             "X-Forwarded-Host: gateway.test\r\n"
             "X-Forwarded-Proto: http\r\n"
             "\r\n"
             "{\n  \"model\": \"m\",\n  \"max_tokens\": 5,\n  \"messages\": []\n}\n",
             more, authorization, fake_port(b->fake));
    return text;
}

#define JSON_TYPE "Content-Type: application/json\r\n"

static void open_dumps(struct bench *b)
{
    char dir[160];

    snprintf(dir, sizeof(dir), "%s/dumps", b->daemon.dir);
    ck_assert_int_eq(mkdir(dir, 0700), 0);
    daemon_text(&b->daemon.top, "dump { dir = \"%s\" file_size = 1K dir_size = 1M }", dir);
    daemon_start(&b->daemon);
}

static void open_bench_with(struct bench *b, const char *keys, const char *more)
{
    bench_prepare(b, &SUITE_APIS[1], keys, more);
    open_dumps(b);
}

static void post(struct bench *b, const char *headers, int status)
{
    struct http_response r;

    bench_post(b, headers, &r);
    ck_assert_int_eq(r.status, status);
    http_response_fini(&r);
}

START_TEST(plain)
{
    struct fake_answer answer = {.headers = JSON_TYPE "Set-Cookie: session=0123456789abcdefghij\r\nA: 1\r\n",
                                 .body = "{\"id\":\"x\",\"n\":[1,2.50]}"};
    struct dumps d;
    struct bench b;

    open_bench_with(&b, KEY0, NULL);
    fake_on_any(b.fake, &answer);
    post(&b, JSON_TYPE, 200);
    await_files(&b, &d, 2);
    ck_assert_ptr_nonnull(strstr(d.names[0], "-v1-chat-completions-"));
    expect_file(&d, 0, "-1.req.txt", request_head(&b, HINT0, "Accept-Encoding: gzip\r\n"));
    expect_file(&d, 1, "-1.resp.txt",
                "HTTP/1.1 200\r\nA: 1\r\nContent-Length: 23\r\nContent-Type: application/json\r\n"
                "Set-Cookie: sess...ghij\r\n\r\n"
                "{\n  \"id\": \"x\",\n  \"n\": [\n    1,\n    2.50\n  ]\n}\n");
    bench_close(&b);
}
END_TEST

/* A body that is kept in a file, but for its end. */
START_TEST(from_a_file)
{
    struct dumps d;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[1], KEY0, NULL);
    daemon_text(&b.daemon.limits, "buffer_memory = 30");
    open_dumps(&b);
    post(&b, JSON_TYPE, 200);
    await_files(&b, &d, 2);
    expect_file(&d, 0, "-1.req.txt", request_head(&b, HINT0, "Accept-Encoding: gzip\r\n"));
    bench_close(&b);
}
END_TEST

/* Two sets of files, the refusal's body too. */
START_TEST(failover)
{
    struct fake_answer limited = {.status = 429,
                                  .headers = JSON_TYPE "Retry-After: 5\r\n",
                                  .body = "{\"error\":{\"type\":\"rate_limit_error\"}}"};
    struct fake_answer good = {.headers = JSON_TYPE, .body = "{}"};
    struct dumps d;
    struct bench b;

    open_bench_with(&b, KEY0 " " KEY1, NULL);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_any(b.fake, &good);
    post(&b, JSON_TYPE, 200);
    await_files(&b, &d, 4);
    expect_file(&d, 0, "-1.req.txt", request_head(&b, HINT0, "Accept-Encoding: gzip\r\n"));
    expect_file(
        &d, 1, "-1.resp.txt",
        "HTTP/1.1 429\r\nContent-Length: 37\r\nContent-Type: application/json\r\nRetry-After: 5\r\n\r\n"
        "{\n  \"error\": {\n    \"type\": \"rate_limit_error\"\n  }\n}\n");
    expect_file(&d, 2, "-2.req.txt", request_head(&b, HINT1, "Accept-Encoding: gzip\r\n"));
    expect_file(&d, 3, "-2.resp.txt",
                "HTTP/1.1 200\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}\n");
    bench_close(&b);
}
END_TEST

/* A stream is in its file as far as it has come. */
START_TEST(a_stream)
{
    struct fake_answer events = {.headers = "Content-Type: text/event-stream\r\n",
                                 .framing = FAKE_CHUNKED,
                                 .body = "data: one\n\ndata: two\n\n",
                                 .cut = FAKE_CUT_STALL,
                                 .cut_after = 11};
    struct http_request request = {.target = SUITE_APIS[1].target, .body = "{}"};
    struct http_client client;
    struct http_response r;
    struct dumps d;
    struct bench b;

    open_bench_with(&b, KEY0, NULL);
    fake_on_any(b.fake, &events);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    ck_assert(http_read_head(&client, &r, HTTP_TIMEOUT_MS));
    await_files(&b, &d, 2);
    expect_file(
        &d, 1, "-1.resp.txt",
        "HTTP/1.1 200\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\ndata: one\n\n");
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

START_TEST(upstream_error)
{
    struct fake_answer close = {.action = FAKE_CLOSE};
    struct dumps d;
    struct bench b;

    open_bench_with(&b, KEY0, NULL);
    fake_on_any(b.fake, &close);
    post(&b, JSON_TYPE, 502);
    await_files(&b, &d, 2);
    expect_file(&d, 0, "-1.req.txt", request_head(&b, HINT0, "Accept-Encoding: gzip\r\n"));
    expect_file(&d, 1, "-1.req_error.txt", "the connection broke before an answer came\n");
    bench_close(&b);
}
END_TEST

/* The client's own key becomes a hint as well; its streamed body is there. */
START_TEST(byok)
{
    char headers[256];
    struct dumps d;
    struct bench b;

    open_bench_with(&b, KEY0, NULL);
    snprintf(headers, sizeof(headers), JSON_TYPE "%s", bench_auth(&b, OWN_KEY));
    post(&b, headers, 200);
    await_files(&b, &d, 2);
    expect_file(&d, 0, "-1.req.txt", request_head(&b, "sk-o...3333", "Accept-Encoding: gzip\r\n"));
    expect_file(&d, 1, "-1.resp.txt", "HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok");
    bench_close(&b);
}
END_TEST

static bool is_small(void *arg)
{
    struct dumps *d = arg;

    list_files(d);
    return d->count < d->wanted;
}

/* A body ends at file_size; over dir_size the oldest files go; a provider can be left out. */
START_TEST(limits)
{
    static char big[300000];
    static const char note[] = "\n[cut off here: dump.file_size]\n";
    struct http_request request = {.target = SUITE_APIS[1].target, .body = big, .body_len = sizeof(big)};
    struct http_response r;
    struct dumps d;
    struct bench b;
    char path[512];
    char *text;
    size_t len;

    open_bench_with(&b, KEY0, NULL);
    memset(big, 'x', sizeof(big));
    http_fetch(b.daemon.port, &request, &r);
    ck_assert_int_eq(r.status, 200);
    http_response_fini(&r);
    await_files(&b, &d, 2);
    snprintf(path, sizeof(path), "%s/%s", d.dir, d.names[0]);
    text = util_read_file(path, &len);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_lt(len, 2048);
    ck_assert_str_eq(text + len - strlen(note), note);
    free(text);
    snprintf(path, sizeof(path), "%s/1-old-0-1.req.txt", d.dir);
    ck_assert_int_eq(util_write_file(path, big, sizeof(big), 0600), 0);
    ck_assert_int_eq(truncate(path, 2 << 20), 0);
    d.wanted = 3;
    ck_assert_msg(util_wait(is_small, &d, WAIT_MS), "the oldest file stays");
    ck_assert_int_ne(access(path, F_OK), 0);
    ck_assert_uint_eq(d.count, 2);
    bench_close(&b);
}
END_TEST

START_TEST(left_out)
{
    char path[160];
    struct bench b;

    open_bench_with(&b, KEY0, "    dump = false");
    post(&b, NULL, 200);
    snprintf(path, sizeof(path), "%s/dumps/openai", b.daemon.dir);
    ck_assert_int_ne(access(path, F_OK), 0);
    bench_close(&b);
}
END_TEST

/* A directory that is gone: requests go on, the log says so once. */
START_TEST(in_nobodys_way)
{
    char path[160];
    char *log;
    struct bench b;

    open_bench_with(&b, KEY0, NULL);
    snprintf(path, sizeof(path), "%s/dumps", b.daemon.dir);
    ck_assert_int_eq(rmdir(path), 0);
    for (int i = 0; i < 5; i++)
        post(&b, NULL, 200);
    ck_assert(daemon_wait_log(&b.daemon, "attempts are not dumped", WAIT_MS));
    log = util_read_file(b.daemon.log, NULL);
    ck_assert_ptr_null(strstr(strstr(log, "not dumped") + 1, "not dumped"));
    free(log);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    post(&b, NULL, 200);
    ck_assert(daemon_wait_log(&b.daemon, "can be written again", WAIT_MS));
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("dump");
    TCase *tc = suite_case(s, "dump", 60);

    tcase_add_test(tc, plain);
    tcase_add_test(tc, from_a_file);
    tcase_add_test(tc, failover);
    tcase_add_test(tc, a_stream);
    tcase_add_test(tc, upstream_error);
    tcase_add_test(tc, byok);
    tcase_add_test(tc, limits);
    tcase_add_test(tc, left_out);
    tcase_add_test(tc, in_nobodys_way);
    return suite_run(s);
}
