/*
 * conf_files: a directory with what configuration files of the tests name, and a way to load such files.
 * Included by test_conf and test_conf_bad.
 */
#ifndef CLAVIGER_TESTS_CONF_FILES_H
#define CLAVIGER_TESTS_CONF_FILES_H

#include "io/conf.h"

#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char dir[] = "/tmp/test_conf.XXXXXX";
static char file[64];

static void write_file(const char *name, const char *text, size_t len, mode_t mode)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", dir, name);
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

static void make_files(void)
{
    static const char keys[] = "# keys\n\n  sk-ant-first-0123456789  \r\n# and\nsk-ant-second-0123456789\n";
    static const char clients[] =
        "# clients\nalice:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        ":anthropic:nobyok\n";
    char path[128];

    strncpy(dir, "/tmp/test_conf.XXXXXX", sizeof(dir));
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(file, sizeof(file), "%s/claviger.conf", dir);
    write_file("good.keys", keys, strlen(keys), 0640);
    write_file("loose.keys", keys, strlen(keys), 0644);
    write_file("good.clients", clients, strlen(clients), 0644);
    write_file("loose.clients", clients, strlen(clients), 0646);
    write_file("ca.pem", "certificate\n", 12, 0644);
    snprintf(path, sizeof(path), "%s/sub", dir);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    unsetenv("ANTHROPIC_API_KEY");
    unsetenv("ANTHROPIC_API_KEYS");
    unsetenv("OPENAI_API_KEY");
    unsetenv("OPENAI_API_KEYS");
    unsetenv("TEST_CONF_UNSET");
    setenv("TEST_CONF_KEYS", "sk-env-one-SECRET,sk-env-two-SECRET", 1);
}

static void remove_files(void)
{
    static const char *const names[] = {"good.keys",     "loose.keys", "good.clients",
                                        "loose.clients", "ca.pem",     "claviger.conf"};
    char path[128];

    for (size_t i = 0; i < COUNT(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/sub", dir);
    rmdir(path);
    rmdir(dir);
}

/* Loads text; "~" in it is the test's directory. With `db` a state_db that can be used is put in front, in
 * line 1. */
static struct conf *load(const char *text, bool db, struct buf *errors)
{
    struct buf whole = {0};
    struct conf *conf;

    if (db)
        buf_printf(&whole, "state_db = \"%s/state.db\" ", dir);
    for (; *text != '\0'; text++) {
        if (*text == '~')
            buf_puts(&whole, dir);
        else
            buf_putc(&whole, *text);
    }
    write_file("claviger.conf", whole.data == NULL ? "" : whole.data, whole.len, 0600);
    buf_fini(&whole);
    buf_clear(errors);
    conf = conf_load(file, errors);
    ck_assert(!errors->failed);
    return conf;
}

#endif
