/*
 * test_service: what others do to the daemon by the files that are installed for them: logrotate, and
 * systemd's unit by its commands (under a real systemd it is tried by tools/check-unit.sh); and SIGUSR1 in
 * every process.
 */
#include "e2e/suite.h"
#include "e2e/tree.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct tree tree;

static void post_and_expect(struct bench *b, int status)
{
    struct http_response r;

    bench_post(b, NULL, &r);
    ck_assert_msg(r.status == status, "status %d, not %d: %s", r.status, status, http_body(&r));
    http_response_fini(&r);
}

/* ---- log files */

/* Whether the process has the file open: -1 = that is not to be seen. */
static int has_open(pid_t pid, const struct stat *file)
{
    char path[64];
    DIR *dir;
    const struct dirent *entry;
    int has = 0;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    dir = opendir(path);
    if (dir == NULL)
        return -1;
    while ((entry = readdir(dir)) != NULL) {
        struct stat st;

        if (entry->d_name[0] != '.' && fstatat(dirfd(dir), entry->d_name, &st, 0) == 0 &&
            st.st_dev == file->st_dev && st.st_ino == file->st_ino)
            has = 1;
    }
    closedir(dir);
    return has;
}

struct reopening {
    struct bench *b;
    struct stat old;
    bool seen; /* files of other processes can be seen: we are root */
};

/* Whether master, workers and admin have let go of the old file, and have the new one. */
static bool all_reopened(void *arg)
{
    struct reopening *r = arg;
    const struct daemon *d = &r->b->daemon;
    struct stat new;
    pid_t pids[8];
    size_t count = daemon_children(d, "worker", pids, 6);

    if (stat(d->log, &new) != 0 || new.st_ino == r->old.st_ino)
        return false;
    count += daemon_children(d, "admin", pids + count, 1);
    pids[count++] = d->pid;
    ck_assert_uint_eq(count, d->workers + 2);
    for (size_t i = 0; i < count; i++) {
        int old = has_open(pids[i], &r->old);

        r->seen = old >= 0;
        if (old > 0 || has_open(pids[i], &new) == 0)
            return false;
    }
    return true;
}

static void expect_reopened(struct bench *b, const struct stat *old)
{
    struct reopening r = {.b = b, .old = *old};
    size_t len = 0;
    struct stat st;

    ck_assert_msg(util_wait(all_reopened, &r, 10000), "the old log file is still in use");
    if (!r.seen)
        printf("service: not root, so that only lines tell who has opened the log file again\n");
    ck_assert_int_eq(stat(b->daemon.log, &st), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0640);
    free(util_read_file(b->daemon.log, &len));
    ck_assert_msg(len == 0 || !daemon_log_has(&b->daemon, "listening"), "the file is not a new one");
    /* A worker's line, and the master's. */
    post_and_expect(b, 200);
    ck_assert(daemon_wait_log(&b->daemon, "POST /anthropic/v1/messages 200", 5000));
    ck_assert_int_eq(kill(b->daemon.pid, SIGHUP), 0);
    ck_assert(daemon_wait_log(&b->daemon, "reloaded: ", 10000));
}

static void open_tree(struct bench *b)
{
    bench_prepare(b, &SUITE_APIS[0], KEY0, NULL);
    tree_make(&tree, &b->daemon);
    b->daemon.workers = 3;
    tree_start(&tree, &b->daemon);
    post_and_expect(b, 200);
}

/* Renamed and told so: no line is lost, and lines go on in the new file. */
START_TEST(usr1)
{
    char renamed[160];
    struct stat old;
    struct bench b;

    open_tree(&b);
    ck_assert(daemon_wait_log(&b.daemon, "POST /anthropic/v1/messages 200", 5000));
    for (int i = 0; i < 2; i++) {
        snprintf(renamed, sizeof(renamed), "%s.%d", b.daemon.log, i);
        ck_assert_int_eq(stat(b.daemon.log, &old), 0);
        ck_assert_int_eq(rename(b.daemon.log, renamed), 0);
        post_and_expect(&b, 200);
        ck_assert_int_eq(kill(b.daemon.pid, SIGUSR1), 0);
        expect_reopened(&b, &old);
        /* Until the old workers of the reload are gone there are more of them. */
        ck_assert(daemon_wait_workers(&b.daemon, 3, 0, 10000));
    }
    bench_close(&b);
}
END_TEST

/* A file that cannot be made: the old one is written on. */
START_TEST(usr1_that_fails)
{
    char renamed[160];
    struct bench b;

    open_tree(&b);
    snprintf(renamed, sizeof(renamed), "%s.1", b.daemon.log);
    ck_assert_int_eq(rename(b.daemon.log, renamed), 0);
    ck_assert_int_eq(mkdir(b.daemon.log, 0755), 0);
    ck_assert_int_eq(kill(b.daemon.pid, SIGUSR1), 0);
    snprintf(b.daemon.log, sizeof(b.daemon.log), "%.126s", renamed);
    ck_assert(daemon_wait_log(&b.daemon, "cannot open the log again", 5000));
    post_and_expect(&b, 200);
    bench_close(&b);
}
END_TEST

/* The snippet, by logrotate itself where there is one; else by its own script. */
START_TEST(logrotate)
{
    char renamed[160];
    char state[160];
    struct stat old;
    struct bench b;
    struct run run;

    open_tree(&b);
    ck_assert(daemon_wait_log(&b.daemon, "POST /anthropic/v1/messages 200", 5000));
    snprintf(renamed, sizeof(renamed), "%s.1", b.daemon.log);
    snprintf(state, sizeof(state), "%s/logrotate.state", b.daemon.dir);
    ck_assert_int_eq(stat(b.daemon.log, &old), 0);
    if (access("/usr/sbin/logrotate", X_OK) == 0) {
        run_program(&run, NULL, "/usr/sbin/logrotate", "-f", "-v", "-s", state, tree.logrotate, NULL);
        ck_assert_msg(run.status == 0 && strstr(run_err(&run), "error:") == NULL, "%s", run_err(&run));
    } else {
        printf("service: no logrotate here; its postrotate script is run without it\n");
        ck_assert_int_eq(rename(b.daemon.log, renamed), 0);
        run_program(&run, NULL, "sh", "-c",
                    "sed -n '/postrotate/,/endscript/{/postrotate/d;/endscript/d;p}' \"$0\" | sh",
                    tree.logrotate, NULL);
        ck_assert_msg(run.status == 0 && run.err.len == 0, "%s", run_err(&run));
    }
    run_fini(&run);
    expect_reopened(&b, &old);
    ck_assert_int_eq(access(renamed, R_OK), 0);
    daemon_stop(&b.daemon);
    /* Nobody runs, nobody is told, and that is no error. */
    run_program(&run, NULL, "sh", "-c",
                "sed -n '/postrotate/,/endscript/{/postrotate/d;/endscript/d;p}' \"$0\" | sh", tree.logrotate,
                NULL);
    ck_assert_msg(run.status == 0 && run.err.len == 0, "%s", run_err(&run));
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* ---- the unit's commands */

/* The words of a line `NAME=` of the unit. */
static size_t unit_words(const char *name, char *words[8])
{
    static char line[512];
    char *text = util_read_file(tree.unit, NULL);
    const char *from;
    size_t count = 0;
    char *rest = line;

    ck_assert_ptr_nonnull(text);
    from = strstr(text, name);
    ck_assert_msg(from != NULL, "no %s in: %s", name, text);
    from += strlen(name);
    snprintf(line, sizeof(line), "%.*s", (int)strcspn(from, "\n"), from);
    free(text);
    while (count < 7 && (words[count] = strsep(&rest, " ")) != NULL)
        count++;
    words[count] = NULL;
    return count;
}

static void expect_word(int fd, const char *word)
{
    char text[256];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);

    ck_assert_int_gt(n, 0);
    text[n] = '\0';
    ck_assert_msg(strncmp(text, word, strlen(word)) == 0, "\"%s\" does not begin with %s", text, word);
}

static void expect_reload(int status, const char *text)
{
    char *words[8];
    struct run run;

    ck_assert_uint_eq(unit_words("\nExecReload=", words), 4);
    run_program(&run, NULL, words[0], words[1], words[2], words[3], NULL);
    ck_assert_msg(run.status == status, "status %d: %s%s", run.status, run_out(&run), run_err(&run));
    ck_assert_ptr_nonnull(strstr(status == 0 ? run_out(&run) : run_err(&run), text));
    run_fini(&run);
}

/* ExecStart with a service manager that listens, ExecReload, and a stop as systemd does it. */
START_TEST(unit_commands)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = 15};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    char *words[8];
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    tree_make(&tree, &b.daemon);
    daemon_write(&b.daemon);
    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", b.daemon.dir);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    ck_assert_uint_eq(unit_words("\nType=", words), 1);
    ck_assert_str_eq(words[0], "notify");
    ck_assert_uint_eq(unit_words("\nExecStart=", words), 3);
    b.daemon.pid = fork();
    ck_assert_int_ge(b.daemon.pid, 0);
    if (b.daemon.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("NOTIFY_SOCKET", addr.sun_path, 1);
        execv(words[0], words);
        _exit(127);
    }
    expect_word(fd, "READY=1");
    post_and_expect(&b, 200);
    expect_reload(0, "serves");
    expect_word(fd, "RELOADING=1\nMONOTONIC_USEC=");
    expect_word(fd, "READY=1");
    daemon_text(&b.daemon.top, "no_such_option = 1");
    daemon_write(&b.daemon);
    expect_reload(1, "no_such_option");
    expect_word(fd, "RELOADING=1\nMONOTONIC_USEC=");
    expect_word(fd, "READY=1");
    post_and_expect(&b, 200);
    daemon_stop(&b.daemon);
    expect_word(fd, "STOPPING=1");
    expect_reload(3, "not running");
    close(fd);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("service");
    TCase *tc = suite_case(s, "service", 60);

    tcase_add_test(tc, usr1);
    tcase_add_test(tc, usr1_that_fails);
    tcase_add_test(tc, logrotate);
    tcase_add_test(tc, unit_commands);
    return suite_run(s);
}
