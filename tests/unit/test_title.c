/* title: the area of argv and the environment is one block of the test's own. */
#include "base/title.h"

#include "unit/suite.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const char *const STRINGS[] = {"clavigerd", "-c", "/etc/x.conf", "HOME=/root",
                                      "OPENAI_API_KEY=sk-very-secret-value"};

struct block {
    char bytes[160];
    size_t len;
    char *argv[4];
    char *env[4];
};

static char *block_add(struct block *b, const char *s)
{
    char *at = b->bytes + b->len;
    size_t n = strlen(s) + 1;
    memcpy(at, s, n);
    b->len += n;
    return at;
}

static void block_make(struct block *b)
{
    memset(b, 0, sizeof(*b));
    for (size_t i = 0; i < 3; i++)
        b->argv[i] = block_add(b, STRINGS[i]);
    for (size_t i = 0; i < 2; i++)
        b->env[i] = block_add(b, STRINGS[3 + i]);
    b->bytes[b->len] = 'Z'; /* the first byte that is not ours */
}

START_TEST(test_moves_away)
{
    struct block b;
    char **saved = environ;
    block_make(&b);
    environ = b.env;
    char **args = title_init(3, b.argv);
    ck_assert_ptr_nonnull(args);
    ck_assert_str_eq(args[0], "clavigerd");
    ck_assert_str_eq(args[2], "/etc/x.conf");
    ck_assert_ptr_null(args[3]);
    ck_assert_str_eq(getenv("OPENAI_API_KEY"), "sk-very-secret-value");
    ck_assert_str_eq(getenv("HOME"), "/root");
    ck_assert_ptr_null(memmem(b.bytes, sizeof(b.bytes), "sk-very", 7));
    ck_assert_str_eq(b.bytes, "clavigerd"); /* argv is still there until a title is set */

    title_set("clavigerd: %s %d", "worker", 3);
    ck_assert_str_eq(b.bytes, "clavigerd: worker 3");
    for (size_t i = strlen(b.bytes); i < b.len; i++)
        ck_assert_int_eq(b.bytes[i], 0);
    ck_assert_int_eq(b.bytes[b.len], 'Z');
    ck_assert_str_eq(args[0], "clavigerd");
    ck_assert_str_eq(program_invocation_short_name, "clavigerd"); /* what syslog sees */
    title_fini();
    ck_assert_str_eq(program_invocation_short_name, "");
    environ = saved;
}
END_TEST

/* Variables that are removed or set afterwards are nobody's leak. */
START_TEST(test_changed_environment)
{
    struct block b;
    char **saved = environ;
    block_make(&b);
    environ = b.env;
    ck_assert_ptr_nonnull(title_init(3, b.argv));
    ck_assert_int_eq(unsetenv("OPENAI_API_KEY"), 0);
    ck_assert_ptr_null(getenv("OPENAI_API_KEY"));
    ck_assert_str_eq(getenv("HOME"), "/root");
    title_fini();
    ck_assert_ptr_null(getenv("HOME"));
    environ = saved;
}
END_TEST

START_TEST(test_is_cut_at_the_end)
{
    struct block b;
    char **saved = environ;
    block_make(&b);
    environ = b.env;
    ck_assert_ptr_nonnull(title_init(3, b.argv));
    char text[200];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    title_set("%s", text);
    ck_assert_uint_eq(strlen(b.bytes), b.len - 1);
    ck_assert_int_eq(b.bytes[b.len], 'Z');
    title_set("short");
    ck_assert_str_eq(b.bytes, "short");
    ck_assert_int_eq(b.bytes[b.len - 2], 0);
    title_fini();
    environ = saved;
}
END_TEST

/* A variable that lies elsewhere is copied, and neither wiped nor counted to the area. */
START_TEST(test_gap)
{
    struct block b;
    char elsewhere[] = "ELSE=where";
    char **saved = environ;
    block_make(&b);
    b.env[0] = elsewhere;
    environ = b.env;
    size_t args_len = strlen(STRINGS[0]) + strlen(STRINGS[1]) + strlen(STRINGS[2]) + 3;
    ck_assert_ptr_nonnull(title_init(3, b.argv));
    ck_assert_str_eq(elsewhere, "ELSE=where");
    ck_assert_str_eq(getenv("ELSE"), "where");
    title_set("%0100d", 7);
    ck_assert_uint_eq(strlen(b.bytes), args_len - 1);
    title_fini();
    environ = saved;
}
END_TEST

START_TEST(test_thread_name)
{
    char name[16] = "";
    title_set("clavigerd: worker 12");
    ck_assert_int_eq(prctl(PR_GET_NAME, name, 0, 0, 0), 0);
    ck_assert_str_eq(name, "clavigerd: work");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("title");
    TCase *tc = tcase_create("title");
    tcase_add_test(tc, test_moves_away);
    tcase_add_test(tc, test_changed_environment);
    tcase_add_test(tc, test_is_cut_at_the_end);
    tcase_add_test(tc, test_gap);
    tcase_add_test(tc, test_thread_name);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
