/* conf_load_paths: what clavigerctl gets from files that the daemon would refuse. */
#include "base/fd.h"
#include "io/conf.h"
#include "unit/suite.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[64];
static char file[80];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_conf_paths.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/conf", dir);
}

static void teardown(void)
{
    unlink(file);
    ck_assert_int_eq(rmdir(dir), 0);
}

static void put_file(const char *text)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fd_write_all(fd, text, strlen(text)), 0);
    fd_close(&fd);
}

/* Keys that cannot be had here are no error, and nothing of them is in memory. */
START_TEST(test_no_key_is_opened)
{
    struct buf errors = {0};
    unsetenv("TEST_CONF_PATHS_UNSET");
    put_file(
        "state_db = \"/tmp/x.db\"\ncontrol = \"/tmp/x.sock\"\n"
        "provider a { type = anthropic keys = {\"env:TEST_CONF_PATHS_UNSET\"} }\n"
        "provider b { type = openai keys = {\"file:/nonexistent/keys\", \"sk-literal\"} byok = false }\n");
    ck_assert_ptr_null(conf_load(file, &errors));
    buf_clear(&errors);
    struct conf *conf = conf_load_paths(file, &errors);
    ck_assert_ptr_nonnull(conf);
    ck_assert_uint_eq(errors.len, 0);
    ck_assert_str_eq(conf->state_db, "/tmp/x.db");
    ck_assert_str_eq(conf->control, "/tmp/x.sock");
    ck_assert_uint_eq(conf->providers.count, 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert_uint_eq(conf->providers.items[i].key_count, 0);
    conf_free(&conf);
    buf_fini(&errors);
}
END_TEST

START_TEST(test_built_in)
{
    struct buf errors = {0};
    setenv("OPENAI_API_KEYS", "not a key, for it has spaces", 1);
    struct conf *conf = conf_load_paths(NULL, &errors);
    /* The built-in state_db need not have a directory on this machine. */
    ck_assert_ptr_nonnull(conf);
    ck_assert_str_eq(conf->control, RUNSTATEDIR "/claviger.sock");
    ck_assert_uint_eq(conf->providers.count, 3);
    conf_free(&conf);
    buf_fini(&errors);
}
END_TEST

/* Files with errors: told, and the paths are there all the same. NULL = the default. */
static const struct {
    const char *text;
    const char *state_db;
    const char *control;
} BROKEN[] = {
    {"no_such = 1\nstate_db = \"/tmp/x.db\"\ncontrol = \"/tmp/x.sock\"\n", "/tmp/x.db", "/tmp/x.sock"},
    {"state_db = \"/tmp/x.db\" control = /tmp/x.sock no_such = 1\n", "/tmp/x.db", "/tmp/x.sock"},
    {"workers = many\nstate_db = \"/tmp/x.db\"\ncontrol = \"/tmp/x.sock\"\n", "/tmp/x.db", "/tmp/x.sock"},
    {"control = \"/tmp/x.sock\"\nstate_db = \"/tmp/x.db\"\nprovider a {\n", "/tmp/x.db", "/tmp/x.sock"},
    {"state_db = \"/tmp/x.db\"\nlog { no_such = 1 control = \"/tmp/inside\" }\n", "/tmp/x.db", NULL},
    {"log { no_such = {1, 2} }\ncontrol = \"/tmp/x.sock\"\n", NULL, "/tmp/x.sock"},
    {"no_such = \"control\" # control = \"/tmp/comment\"\n", NULL, NULL},
    {"no_such = 1\ncontrol = \"relative\"\nstate_db = {\"/tmp/list\"}\n", NULL, NULL},
    {"} } }\n", NULL, NULL},
    {"=\n", NULL, NULL},
};

START_TEST(test_broken)
{
    struct buf errors = {0};
    const char *state_db = BROKEN[_i].state_db;
    const char *control = BROKEN[_i].control;
    put_file(BROKEN[_i].text);
    ck_assert_ptr_null(conf_load(file, &errors));
    buf_clear(&errors);
    struct conf *conf = conf_load_paths(file, &errors);
    ck_assert_ptr_nonnull(conf);
    ck_assert_int_eq(strncmp(errors.data, file, strlen(file)), 0);
    ck_assert_str_eq(conf->state_db, state_db ? state_db : LOCALSTATEDIR "/lib/claviger/state.db");
    ck_assert_str_eq(conf->control, control ? control : RUNSTATEDIR "/claviger.sock");
    conf_free(&conf);
    buf_fini(&errors);
}
END_TEST

START_TEST(test_unreadable)
{
    struct buf errors = {0};
    ck_assert_ptr_null(conf_load_paths("/nonexistent/conf", &errors));
    ck_assert_int_eq(strncmp(errors.data, "/nonexistent/conf:", 18), 0);
    buf_clear(&errors);
    ck_assert_ptr_null(conf_load_paths(dir, &errors));
    ck_assert_uint_gt(errors.len, 0);
    buf_fini(&errors);
}
END_TEST

START_TEST(test_default_file)
{
    const char *name = conf_default_file();
    ck_assert_int_eq(name != NULL, access(SYSCONFDIR "/claviger/claviger.conf", F_OK) == 0);
    ck_assert_int_eq(strncmp(conf_library_version(), "libConfuse/", 11), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf_paths");
    TCase *tc = tcase_create("conf_paths");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_no_key_is_opened);
    tcase_add_test(tc, test_built_in);
    tcase_add_loop_test(tc, test_broken, 0, (int)(sizeof(BROKEN) / sizeof(BROKEN[0])));
    tcase_add_test(tc, test_unreadable);
    tcase_add_test(tc, test_default_file);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
