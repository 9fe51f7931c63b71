/* test_log: the two formats, levels, what is escaped or cut, and files: renamed, owned, impossible. */
#include "log_files.h"

#include <errno.h>
#include <sys/stat.h>

START_TEST(before_open_text_on_stderr)
{
    int reader = stderr_to_pipe();

    log_set_process("");
    errno = ENOENT;
    log_info("opening %s: %m", "x");
    ck_assert_int_eq(errno, ENOENT);
    log_debug("never seen");
    expect_match(drain(reader),
                 "^" TIME " info [^ ]*test_log\\[[0-9]+\\]: opening x: No such file or directory\n$");
    ck_assert_int_eq(log_get_format(), LOG_FORMAT_TEXT);
    close(reader);
}
END_TEST

START_TEST(text_lines)
{
    char expected[512];

    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_DEBUG);
    log_error("e");
    log_warning("w");
    log_info("i %d", 1);
    log_debug("d");
    log_raw("raw 1\nraw 2\n", 12);
    snprintf(expected, sizeof(expected),
             "^" TIME " error worker 0\\[%ld\\]: e\n" TIME " warning worker 0\\[%ld\\]: w\n" TIME
             " info worker 0\\[%ld\\]: i 1\n" TIME " debug worker 0\\[%ld\\]: d\nraw 1\nraw 2\n$",
             (long)getpid(), (long)getpid(), (long)getpid(), (long)getpid());
    expect_file(path, expected);
}
END_TEST

START_TEST(json_lines)
{
    char expected[512];

    open_log(path, LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    ck_assert_int_eq(log_get_format(), LOG_FORMAT_JSON);
    log_set_process("a\"b");
    log_warning("say \"%s\"\n\x01\xff", "hi");
    snprintf(expected, sizeof(expected),
             "^\\{\"time\":\"" TIME
             "\",\"level\":\"warning\",\"process\":\"a\\\\\"b\",\"pid\":%ld,\"message\":"
             "\"say \\\\\"hi\\\\\"\\\\n\\\\u0001\xef\xbf\xbd\"\\}\n$",
             (long)getpid());
    expect_file(path, expected);
}
END_TEST

START_TEST(levels)
{
    static const char *const seen[] = {"e", "ew", "ewi", "ewid"};
    char letters[8] = "";

    open_log(path, LOG_FORMAT_TEXT, (enum log_level)_i);
    log_error("~e");
    log_warning("~w");
    log_info("~i");
    log_debug("~d");
    char *text = content(path);
    for (const char *p = text; (p = strchr(p, '~')) != NULL; p++)
        letters[strlen(letters)] = p[1];
    ck_assert_str_eq(letters, seen[_i]);
    free(text);
}
END_TEST

START_TEST(control_bytes_are_escaped)
{
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_set_process("a\nb");
    log_info("x\r\n2026 error forged\x1b[31m\x7f\xc2\x9b\xff\xc3\xa4");
    expect_file(path, "info a\\\\x0ab\\[[0-9]+\\]: x\\\\x0d\\\\x0a2026 error "
                      "forged\\\\x1b\\[31m\\\\x7f\\\\xc2\\\\x9b\\\\xff\xc3\xa4\n$");
}
END_TEST

START_TEST(long_messages_are_cut)
{
    static const int sizes[] = {LOG_MESSAGE_MAX, LOG_MESSAGE_MAX + 1, LOG_MESSAGE_MAX * 4};

    for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
        for (size_t i = 0; i < 3; i++) {
            open_log(path, (enum log_format)format, LOG_LEVEL_INFO);
            log_info("%*s", sizes[i], "\x02"); /* the last byte grows when it is escaped */
            char *text = content(path);
            const char *blanks = strstr(text, "  ");
            size_t n = strspn(blanks, " ") - (format == LOG_FORMAT_TEXT);
            if (i == 0) {
                ck_assert_uint_eq(n, LOG_MESSAGE_MAX - 1);
                ck_assert_ptr_nonnull(strstr(text, format == LOG_FORMAT_TEXT ? " \\x02\n" : " \\u0002\"}\n"));
            } else {
                ck_assert_uint_eq(n, LOG_MESSAGE_MAX - 3);
                ck_assert_ptr_nonnull(strstr(text, format == LOG_FORMAT_TEXT ? " ...\n" : " ...\"}\n"));
            }
            free(text);
            unlink(path);
        }
    }
}
END_TEST

/* The longest line there can be: every byte of it escaped. */
START_TEST(worst_message_is_whole)
{
    char message[LOG_MESSAGE_MAX + 1];

    memset(message, 1, LOG_MESSAGE_MAX);
    message[LOG_MESSAGE_MAX] = '\0';
    open_log(path, LOG_FORMAT_JSON, LOG_LEVEL_INFO);
    log_info("%s", message);
    char *text = content(path);
    ck_assert_uint_gt(strlen(text), LOG_MESSAGE_MAX * 6);
    ck_assert_str_eq(text + strlen(text) - 9, "\\u0001\"}\n");
    free(text);
}
END_TEST

START_TEST(bad_targets_change_nothing)
{
    static const char *const bad[] = {"relative.log", "", "STDERR", "/", "/no-such-directory/log"};
    const char *reason;

    open_log(path, LOG_FORMAT_JSON, LOG_LEVEL_ERROR);
    int fd = log_fd();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct log_options options = {.target = bad[i], .format = LOG_FORMAT_TEXT, .level = LOG_LEVEL_DEBUG};
        reason = NULL;
        ck_assert_int_eq(log_open(&options, &reason), -1);
        ck_assert_ptr_nonnull(reason);
        ck_assert_int_eq(log_fd(), fd);
    }
    ck_assert_str_eq(reason, "No such file or directory");
    log_debug("below the level");
    log_error("still here");
    expect_file(path, "^\\{.*still here\"\\}\n$");
}
END_TEST

START_TEST(file_mode_and_flags)
{
    struct stat st;

    umask(0);
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_ge(log_fd(), 0);
    ck_assert_int_ne(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_ne(fcntl(log_fd(), F_GETFL) & O_APPEND, 0);
    log_info("first");
    ck_assert_int_eq(truncate(path, 0), 0); /* as `> log` does: the next line begins the file */
    log_info("second");
    expect_file(path, "^" TIME " info worker 0\\[[0-9]+\\]: second\n$");
}
END_TEST

START_TEST(reopens_after_rename)
{
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_info("one");
    ck_assert_int_eq(rename(path, renamed), 0);
    log_info("two");
    ck_assert_int_eq(log_reopen(), 0);
    log_info("three");
    expect_file(renamed, "^[^\n]*one\n[^\n]*two\n$");
    expect_file(path, "^[^\n]*three\n$");
}
END_TEST

START_TEST(reopen_failure_keeps_the_file)
{
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(rename(path, renamed), 0);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    int rc = log_reopen();
    int error = errno;
    log_info("kept");
    rmdir(path);
    ck_assert_int_eq(rc, -1);
    ck_assert_int_eq(error, EISDIR);
    expect_file(renamed, "kept\n$");
}
END_TEST

START_TEST(owner_of_new_files)
{
    struct stat st;

    log_set_owner(12345, 23456);
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_uid, geteuid() == 0 ? 12345 : geteuid());
    ck_assert_uint_eq(st.st_gid, geteuid() == 0 ? 23456 : getegid());
    log_set_owner(54321, (gid_t)-1); /* the one that is open, too */
    ck_assert_int_eq(stat(path, &st), 0);
    ck_assert_uint_eq(st.st_uid, geteuid() == 0 ? 54321 : geteuid());
    ck_assert_uint_eq(st.st_gid, geteuid() == 0 ? 23456 : getegid());

    ck_assert_int_eq(stat("/dev/null", &st), 0);
    uid_t before = st.st_uid;
    open_log("/dev/null", LOG_FORMAT_TEXT, LOG_LEVEL_INFO); /* a device is nobody's log file */
    ck_assert_int_eq(stat("/dev/null", &st), 0);
    ck_assert_uint_eq(st.st_uid, before);
    log_set_owner((uid_t)-1, (gid_t)-1);
}
END_TEST

START_TEST(process_name_is_cut)
{
    char name[200];

    memset(name, 'p', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    open_log(path, LOG_FORMAT_TEXT, LOG_LEVEL_INFO);
    log_set_process(name);
    log_info("m");
    expect_file(path, " info p{63}\\[");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("log");
    TCase *tc = tcase_create("log");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, before_open_text_on_stderr);
    tcase_add_test(tc, text_lines);
    tcase_add_test(tc, json_lines);
    tcase_add_loop_test(tc, levels, LOG_LEVEL_ERROR, LOG_LEVEL_DEBUG + 1);
    tcase_add_test(tc, control_bytes_are_escaped);
    tcase_add_test(tc, long_messages_are_cut);
    tcase_add_test(tc, worst_message_is_whole);
    tcase_add_test(tc, bad_targets_change_nothing);
    tcase_add_test(tc, file_mode_and_flags);
    tcase_add_test(tc, reopens_after_rename);
    tcase_add_test(tc, reopen_failure_keeps_the_file);
    tcase_add_test(tc, owner_of_new_files);
    tcase_add_test(tc, process_name_is_cut);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
