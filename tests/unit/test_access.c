/* test_access: the two formats, what a hostile path cannot do, and when lines leave. */
#include "io/access.h"

#include "base/buf.h"
#include "base/fd.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const struct access_record full = {
    .time_real_ms = INT64_C(1795366800123),
    .id = "0123456789abcdef",
    .client = "192.0.2.7",
    .provider = "anthropic",
    .method = "POST",
    .path = "/anthropic/v1/messages",
    .status = 200,
    .attempts = 2,
    .key = "sk-a...wxyz",
    .first_byte_ms = 0,
    .total_ms = 1234,
    .bytes_in = 18446744073709551615u,
    .bytes_out = 20,
    .error = "upstream_cut",
};

static const struct access_record with_upstream_id = {.status = 200,
                                                      .first_byte_ms = -1,
                                                      .upstream_id = "req_1 \"x"};

static const struct access_record empty = {
    .time_real_ms = 0,
    .status = 499,
    .first_byte_ms = -1,
};

static const struct {
    const struct access_record *record;
    const char *text;
    const char *json;
} records[] = {
    {&full,
     "2026-11-22T17:00:00.123Z 0123456789abcdef 192.0.2.7 anthropic POST /anthropic/v1/messages 200 2 "
     "sk-a...wxyz "
     "0 1234 18446744073709551615 20 upstream_cut\n",
     "{\"time\":\"2026-11-22T17:00:00.123Z\",\"id\":\"0123456789abcdef\",\"client\":\"192.0.2.7\","
     "\"provider\":\"anthropic\",\"method\":\"POST\",\"path\":\"/anthropic/v1/messages\",\"status\":200,"
     "\"attempts\":2,\"key\":\"sk-a...wxyz\",\"first_byte_ms\":0,\"total_ms\":1234,"
     "\"bytes_in\":18446744073709551615,\"bytes_out\":20,\"error\":\"upstream_cut\"}\n"},
    {&empty, "1970-01-01T00:00:00.000Z - - - - - 499 0 - - 0 0 0 -\n",
     "{\"time\":\"1970-01-01T00:00:00.000Z\",\"id\":null,\"client\":null,\"provider\":null,\"method\":null,"
     "\"path\":null,\"status\":499,\"attempts\":0,\"key\":null,\"first_byte_ms\":null,\"total_ms\":0,"
     "\"bytes_in\":0,\"bytes_out\":0,\"error\":null}\n"},
    {&with_upstream_id, "1970-01-01T00:00:00.000Z - - - - - 200 0 - - 0 0 0 - req_1\\x20\\x22x\n",
     "{\"time\":\"1970-01-01T00:00:00.000Z\",\"id\":null,\"client\":null,\"provider\":null,\"method\":null,"
     "\"path\":null,\"status\":200,\"attempts\":0,\"key\":null,\"first_byte_ms\":null,\"total_ms\":0,"
     "\"bytes_in\":0,\"bytes_out\":0,\"error\":null,\"upstream_id\":\"req_1 \\\"x\"}\n"},
};

START_TEST(formats)
{
    struct buf b = {0};

    access_format(&b, records[_i].record, LOG_FORMAT_TEXT);
    ck_assert_str_eq(b.data, records[_i].text);
    buf_clear(&b);
    access_format(&b, records[_i].record, LOG_FORMAT_JSON);
    ck_assert_str_eq(b.data, records[_i].json);
    buf_fini(&b);
}
END_TEST

static const struct {
    const char *path;
    const char *text;
    const char *json;
} paths[] = {
    {"/a b", "/a\\x20b", "\"/a b\""},
    {"/a\r\n2026", "/a\\x0d\\x0a2026", "\"/a\\r\\n2026\""},
    {"/\"\\", "/\\x22\\x5c", "\"/\\\"\\\\\""},
    {"/\x1b[0m\x7f", "/\\x1b[0m\\x7f", "\"/\\u001b[0m\\u007f\""},
    {"/\xff\xc3\xa4", "/\\xff\xc3\xa4", "\"/\xef\xbf\xbd\xc3\xa4\""},
    {"/%0a", "/%0a", "\"/%0a\""},
    {"", "-", "null"},
    /* A query may hold a credential: it does not get in, even when the caller forgot to cut it. */
    {"/a?key=sk-1", "/a", "\"/a\""},
    {"/a#key=sk-1", "/a", "\"/a\""},
    {"?key=sk-1", "-", "null"},
};

START_TEST(any_path)
{
    struct access_record record = empty;
    struct buf b = {0}, want = {0};

    record.path = paths[_i].path;
    access_format(&b, &record, LOG_FORMAT_TEXT);
    buf_printf(&want, "1970-01-01T00:00:00.000Z - - - - %s 499 0 - - 0 0 0 -\n", paths[_i].text);
    ck_assert_str_eq(b.data, want.data);
    buf_clear(&b);
    buf_clear(&want);
    access_format(&b, &record, LOG_FORMAT_JSON);
    buf_printf(&want, "\"path\":%s,\"status\"", paths[_i].json);
    ck_assert_ptr_nonnull(strstr(b.data, want.data));
    buf_fini(&b);
    buf_fini(&want);
}
END_TEST

/* The other fields hold what others wrote, too. */
START_TEST(any_field)
{
    struct access_record record = empty;
    struct buf b = {0};

    record.id = record.client = record.provider = record.method = record.key = record.error = "a \"\n";
    access_format(&b, &record, LOG_FORMAT_TEXT);
    ck_assert_str_eq(b.data, "1970-01-01T00:00:00.000Z a\\x20\\x22\\x0a a\\x20\\x22\\x0a a\\x20\\x22\\x0a "
                             "a\\x20\\x22\\x0a - 499 0 a\\x20\\x22\\x0a - 0 0 0 a\\x20\\x22\\x0a\n");
    buf_clear(&b);
    access_format(&b, &record, LOG_FORMAT_JSON);
    size_t count = 0;
    for (const char *p = b.data; (p = strstr(p, "\":\"a \\\"\\n\"")) != NULL; p++)
        count++;
    ck_assert_uint_eq(count, 6);
    buf_fini(&b);
}
END_TEST

static char path[] = "/tmp/test_access.XXXXXX";

static void setup(void)
{
    snprintf(path, sizeof(path), "/tmp/test_access.XXXXXX");
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    close(fd);
}

static void teardown(void)
{
    unlink(path);
}

static void open_log(enum log_format format)
{
    const char *reason = "";
    struct log_options options = {.target = path, .format = format, .level = LOG_LEVEL_INFO};

    ck_assert_msg(log_open(&options, &reason) == 0, "%s", reason);
}

static char *written(void)
{
    size_t len;
    int fd = open(path, O_RDONLY);

    ck_assert_int_ge(fd, 0);
    char *text = fd_read_file(fd, 1 << 24, &len);
    ck_assert_ptr_nonnull(text);
    close(fd);
    return text;
}

static size_t lines_written(void)
{
    char *text = written();
    size_t count = 0;

    for (const char *p = text; (p = strchr(p, '\n')) != NULL; p++)
        count++;
    free(text);
    return count;
}

START_TEST(leaves_after_the_delay)
{
    open_log(LOG_FORMAT_TEXT);
    ck_assert_int_eq(access_flush(0, 0), INT64_MAX); /* nothing waits */
    access_log(&full, 1000);
    access_log(&full, 1030);
    ck_assert_int_eq(access_flush(1030, 0), 1000 + ACCESS_DELAY_MS); /* the oldest line counts */
    ck_assert_int_eq(access_flush(1000 + ACCESS_DELAY_MS - 1, 0), 1000 + ACCESS_DELAY_MS);
    ck_assert_uint_eq(lines_written(), 0);
    ck_assert_int_eq(access_flush(1000 + ACCESS_DELAY_MS, 0), INT64_MAX);
    ck_assert_uint_eq(lines_written(), 2);
    ck_assert_int_eq(access_flush(9000, 1), INT64_MAX);
    ck_assert_uint_eq(lines_written(), 2);

    access_log(&full, 5000);
    ck_assert_int_eq(access_flush(5000, 0), 5000 + ACCESS_DELAY_MS);
    ck_assert_int_eq(access_flush(5000, 1), INT64_MAX); /* forced */
    ck_assert_uint_eq(lines_written(), 3);
    char *text = written();
    ck_assert_int_eq(strncmp(text, records[0].text, strlen(records[0].text)), 0);
    free(text);
}
END_TEST

START_TEST(leaves_when_the_batch_is_full)
{
    size_t line = strlen(records[0].text), count = 0;

    open_log(LOG_FORMAT_TEXT);
    while (lines_written() == 0) {
        access_log(&full, 1000);
        count++;
        ck_assert_uint_le(count, ACCESS_BATCH / line + 1);
    }
    ck_assert_uint_eq(count, ACCESS_BATCH / line + 1);
    ck_assert_uint_eq(lines_written(), count);
    ck_assert_int_eq(access_flush(1000, 0), INT64_MAX);
    access_log(&full, 7000);
    ck_assert_int_eq(access_flush(7000, 0), 7000 + ACCESS_DELAY_MS);
    access_flush(7000, 1);
}
END_TEST

START_TEST(follows_the_log_format)
{
    open_log(LOG_FORMAT_JSON);
    access_log(&full, 0);
    access_flush(0, 1);
    char *text = written();
    ck_assert_str_eq(text, records[0].json);
    free(text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("access");
    TCase *tc = tcase_create("access");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, formats, 0, COUNT(records));
    tcase_add_loop_test(tc, any_path, 0, COUNT(paths));
    tcase_add_test(tc, any_field);
    tcase_add_test(tc, leaves_after_the_delay);
    tcase_add_test(tc, leaves_when_the_batch_is_full);
    tcase_add_test(tc, follows_the_log_format);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
