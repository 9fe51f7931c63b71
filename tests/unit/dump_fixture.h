/*
 * dump_fixture: what the tests around dump share: a directory, one provider, a dump of it, and its files,
 * which another process writes: what is expected of them is awaited.
 */
#ifndef CLAVIGER_TESTS_DUMP_FIXTURE_H
#define CLAVIGER_TESTS_DUMP_FIXTURE_H

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/secret.h"
#include "io/dump.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
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
static struct counters {
    _Atomic uint64_t written;
    _Atomic uint64_t skipped;
} * counters; /* shared */
static struct key key = {.hint = "sk-a...wxyz"};

/* For key.secret; it is there before the process that writes is. */
static const char secret[] = "sk-abcdefghijklmnopqrstuvwxyz";
static struct secret *canary;

static void setup(void)
{
    counters = mmap(NULL, sizeof(*counters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert(counters != MAP_FAILED);
    headers = (struct header_list){0};
    key.secret = NULL;
    canary = secret_new(secret, strlen(secret));
    ck_assert_ptr_nonnull(canary);
    snprintf(base, sizeof(base), "/tmp/claviger-dump.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(base));
    provider = (struct provider){.name = (char *)(uintptr_t) "openai",
                                 .type = PROVIDER_OPENAI,
                                 .auth_header = (char *)(uintptr_t) "Authorization",
                                 .auth_prefix = (char *)(uintptr_t) "Bearer "};
    provider.base_url.host = (char *)(uintptr_t) "api.test:8443";
    providers = (struct provider_list){&provider, 1};
    options = (struct dump_options){.dir = base,
                                    .file_size = 1000,
                                    .providers = &providers,
                                    .written = &counters->written,
                                    .skipped = &counters->skipped};
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
    secret_free(&canary);
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

#endif
