/*
 * tree: installs and moves. Called by the tests of what is installed.
 */
#include "e2e/tree.h"
#include "e2e/util.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void tree_run_make(const struct tree *tree, const char *target)
{
    char destdir[160];
    const char *build = getenv("E2E_BUILD");
    struct run run;

    /* These may be configured away; here they have places where they are found. */
    static const char *const places[] = {"initddir=/initd", "logrotatedir=/logrotated",
                                         "systemdsystemunitdir=/unitd", "sysusersdir=/sysusersd",
                                         "tmpfilesdir=/tmpfilesd"};
    snprintf(destdir, sizeof(destdir), "DESTDIR=%s", tree->root);
    unsetenv("MAKEFLAGS"); /* the descriptors that it names are not open here */
    unsetenv("MAKELEVEL");
    /* All is built; of several tests at once none must look whether the compiler's flags have changed. */
    run_program(&run, NULL, "make", "-s", "-o", "flags.stamp", "AM_MAKEFLAGS=-o flags.stamp", "-C",
                build != NULL ? build : ".", target, destdir, places[0], places[1], places[2], places[3],
                places[4], NULL);
    ck_assert_msg(run.status == 0, "make %s: %s", target, run_err(&run));
    run_fini(&run);
}

static char *read_whole(const char *path)
{
    char *text = util_read_file(path, NULL);

    ck_assert_msg(text != NULL, "%s: %s", path, strerror(errno));
    return text;
}

/* What follows `begin` in the text, up to one of the characters of `end`. */
static void cut_out(const char *text, const char *begin, const char *end, char out[128])
{
    const char *from = strstr(text, begin);

    ck_assert_msg(from != NULL, "no \"%s\" in: %s", begin, text);
    from += strlen(begin);
    ck_assert_uint_lt(strcspn(from, end), 128);
    snprintf(out, 128, "%.*s", (int)strcspn(from, end), from);
}

struct move {
    char from[192];
    char to[192];
};

/* Writes the file again elsewhere, with every path moved. */
static void copy_moved(const char *text, const char *path, const struct move *moves, size_t count,
                       mode_t mode)
{
    struct buf out = {0};

    while (*text != '\0') {
        size_t i = 0;

        while (i < count && strncmp(text, moves[i].from, strlen(moves[i].from)) != 0)
            i++;
        if (i < count) {
            buf_puts(&out, moves[i].to);
            text += strlen(moves[i].from);
        } else {
            buf_putc(&out, *text++);
        }
    }
    ck_assert_int_eq(util_write_file(path, out.data, out.len, mode), 0);
    buf_fini(&out);
}

static void make_dir(const struct daemon *d, const char *name)
{
    char path[160];

    snprintf(path, sizeof(path), "%s/%s", d->dir, name);
    ck_assert_msg(mkdir(path, 0755) == 0, "%s: %s", path, strerror(errno));
}

static void set_path(char out[128], const struct daemon *d, const char *name)
{
    ck_assert_int_lt(snprintf(out, 128, "%s/%s", d->dir, name), 128);
}

void tree_make(struct tree *tree, struct daemon *d)
{
    static const char *const dirs[] = {"sbin", "etc", "etc/claviger", "etc/default", "log"};
    struct move moves[5];
    char daemon[128];
    char conf[128];
    char log_dir[128];
    char pid_file[128];
    char path[512];
    char target[512];
    char *script;
    char *logrotate;
    char *unit;

    memset(tree, 0, sizeof(*tree));
    snprintf(tree->root, sizeof(tree->root), "%s/tree", getenv("E2E_DIR"));
    if (mkdir(tree->root, 0755) == 0)
        tree_run_make(tree, "install");
    snprintf(path, sizeof(path), "%s/initd/claviger", tree->root);
    script = read_whole(path);
    snprintf(path, sizeof(path), "%s/logrotated/claviger", tree->root);
    logrotate = read_whole(path);
    snprintf(path, sizeof(path), "%s/unitd/claviger.service", tree->root);
    unit = read_whole(path);
    cut_out(script, "\ndaemon=", "\n", daemon);
    cut_out(script, "\nconf=", "\n", conf);
    cut_out(logrotate, "\n/", "*", log_dir);
    cut_out(logrotate, "test -s ", ";", pid_file);

    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
        make_dir(d, dirs[i]);
    snprintf(tree->script, sizeof(tree->script), "%s/etc/claviger.init", d->dir);
    snprintf(tree->logrotate, sizeof(tree->logrotate), "%s/etc/claviger.logrotate", d->dir);
    snprintf(tree->unit, sizeof(tree->unit), "%s/etc/claviger.service", d->dir);
    snprintf(tree->defaults, sizeof(tree->defaults), "%s/etc/default/claviger", d->dir);
    snprintf(tree->log_dir, sizeof(tree->log_dir), "%s/log", d->dir);
    snprintf(tree->program, sizeof(tree->program), "%s/sbin/clavigerd", d->dir);
    set_path(d->conf, d, "etc/claviger/claviger.conf");
    set_path(d->log, d, "log/claviger.log");
    daemon_text(&d->log_options, "target = \"%s\"", d->log);

    /* ".../clavigerd" without the d begins clavigerctl too. */
    snprintf(moves[0].from, sizeof(moves[0].from), "%.*s", (int)strlen(daemon) - 1, daemon);
    snprintf(moves[0].to, sizeof(moves[0].to), "%s/sbin/claviger", d->dir);
    snprintf(moves[1].from, sizeof(moves[1].from), "%s", conf);
    snprintf(moves[1].to, sizeof(moves[1].to), "%s", d->conf);
    snprintf(moves[2].from, sizeof(moves[2].from), "%.*sdefault/claviger",
             (int)(strlen(conf) - strlen("claviger/claviger.conf")), conf);
    snprintf(moves[2].to, sizeof(moves[2].to), "%s", tree->defaults);
    snprintf(moves[3].from, sizeof(moves[3].from), "/%s", log_dir);
    snprintf(moves[3].to, sizeof(moves[3].to), "%s/", tree->log_dir);
    snprintf(moves[4].from, sizeof(moves[4].from), "%s", pid_file);
    snprintf(moves[4].to, sizeof(moves[4].to), "%s", d->pid_file);
    copy_moved(script, tree->script, moves, 5, 0755);
    copy_moved(logrotate, tree->logrotate, moves, 5, 0644);
    copy_moved(unit, tree->unit, moves, 5, 0644);
    snprintf(target, sizeof(target), "%s%s", tree->root, daemon);
    ck_assert_int_eq(symlink(target, tree->program), 0);
    snprintf(target, sizeof(target), "%s%sctl", tree->root, moves[0].from);
    snprintf(path, sizeof(path), "%s/sbin/clavigerctl", d->dir);
    ck_assert_int_eq(symlink(target, path), 0);
    free(script);
    free(logrotate);
    free(unit);
}

pid_t tree_pid(const struct daemon *d)
{
    char *text = util_read_file(d->pid_file, NULL);
    pid_t pid = text != NULL ? (pid_t)strtol(text, NULL, 10) : 0;

    free(text);
    return pid;
}

void tree_start(const struct tree *tree, struct daemon *d)
{
    struct run run;

    daemon_write(d);
    run_program(&run, NULL, tree->program, "-d", "-c", d->conf, NULL);
    ck_assert_msg(run.status == 0, "%s", run_err(&run));
    run_fini(&run);
    d->pid = tree_pid(d);
    ck_assert_int_gt(d->pid, 0);
}
