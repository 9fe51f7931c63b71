/* test_sandbox: what still works inside, and what does not. Each test is a process of its own: there is no
 * way out. */
#include "io/sandbox.h"

#include "unit/suite.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Under AddressSanitizer the filter lets through what its leak check needs. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

static struct buf reason;

/* In a process inside: what must hold. */
#define MUST(condition)                                                                                      \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #condition, strerror(errno));            \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

/* Runs fn(arg) in a process of its own; its wait status. */
static int status_inside(void (*fn)(int arg), int arg)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    return status;
}

static void run_inside(void (*fn)(int arg), int arg)
{
    int status = status_inside(fn, arg);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %#x", (unsigned)status);
}

static void enter(int (*how)(struct buf *reason))
{
    if (sandbox_prepare(&reason) == 0 && how(&reason) == 0)
        return;
    fprintf(stderr, "%s\n", reason.data);
    _exit(1);
}

static long no_memory_call(long result)
{
    return result == -1 ? -1 : 0;
}

/* ---- a child */

static long try_exec(void)
{
    static char *const argv[] = {(char *)"true", NULL};
    return execve("/bin/true", argv, NULL);
}

static long try_fork(void)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static long try_clone3(void)
{
    return syscall(SYS_clone3, NULL, 0);
}

static long try_ptrace(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL);
}

static long try_kill(void)
{
    return kill(getppid(), 0);
}

static long try_mount(void)
{
    return mount("none", "/nowhere", "tmpfs", 0, NULL);
}

static long try_setuid(void)
{
    return setresuid(geteuid(), geteuid(), geteuid());
}

static long try_listen(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    MUST(fd >= 0);
    return listen(fd, 1);
}

static long try_packet_socket(void)
{
    return socket(AF_PACKET, SOCK_RAW, 0);
}

static long try_vsock(void)
{
    return socket(AF_VSOCK, SOCK_STREAM, 0);
}

static long try_bpf(void)
{
    return syscall(SYS_bpf, 0, NULL, 0);
}

static long try_module(void)
{
    return syscall(SYS_init_module, NULL, 0, "");
}

static long try_writable_code(void)
{
    return no_memory_call((long)mmap(NULL, 4096, PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static long try_data_to_code(void)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(page != MAP_FAILED);
    return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static long try_keyring(void)
{
    return syscall(SYS_keyctl, 0, 0, 0, 0, 0);
}

static long try_unshare(void)
{
    return unshare(CLONE_NEWNS);
}

static long try_chroot(void)
{
    return chroot("/");
}

static long try_dumpable(void)
{
    return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

static long try_set_limit(void)
{
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    return setrlimit(RLIMIT_NOFILE, &limit);
}

static const struct {
    const char *name;
    long (*call)(void);
    int error;
    bool sanitizer_needs_it;
} forbidden[] = {
    {"execve", try_exec, EPERM, false},
    {"fork", try_fork, EPERM, true},
    {"clone3", try_clone3, ENOSYS, true},
    {"ptrace", try_ptrace, EPERM, true},
    {"kill", try_kill, EPERM, true},
    {"mount", try_mount, EPERM, false},
    {"setresuid", try_setuid, EPERM, false},
    {"listen", try_listen, EPERM, false},
    {"packet socket", try_packet_socket, EPERM, false},
    {"vsock", try_vsock, EPERM, false},
    {"bpf", try_bpf, EPERM, false},
    {"init_module", try_module, EPERM, false},
    {"writable code", try_writable_code, EPERM, true},
    {"data to code", try_data_to_code, EPERM, true},
    {"keyctl", try_keyring, EPERM, false},
    {"unshare", try_unshare, EPERM, false},
    {"chroot", try_chroot, EPERM, false},
    {"setrlimit", try_set_limit, EPERM, true},
    {"PR_SET_DUMPABLE", try_dumpable, EPERM, true},
};

static void try_forbidden(int i)
{
    enter(sandbox_enter_child);
    errno = 0;
    long result = forbidden[i].call();
    fprintf(stderr, "%s: %ld, %s\n", forbidden[i].name, result, strerror(errno));
    MUST(result == -1 && errno == forbidden[i].error);
}

START_TEST(child_may_not)
{
    if (!SANITIZED || !forbidden[_i].sanitizer_needs_it)
        run_inside(try_forbidden, _i);
}
END_TEST

static void *resolve(void *arg)
{
    struct addrinfo *found = NULL;
    int *error = arg;
    *error = getaddrinfo("localhost", "80", &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &found);
    if (*error == 0)
        freeaddrinfo(found);
    return NULL;
}

static void resolve_in_a_thread(int arg)
{
    (void)arg;
    pthread_t thread;
    int error = -1;
    enter(sandbox_enter_child);
    MUST(pthread_create(&thread, NULL, resolve, &error) == 0);
    MUST(pthread_join(thread, NULL) == 0);
    MUST(error == 0);
}

START_TEST(child_resolves_in_a_thread)
{
    run_inside(resolve_in_a_thread, 0);
}
END_TEST

static void keep_a_database(int arg)
{
    (void)arg;
    char db_dir[] = "/tmp/test_sandbox.XXXXXX";
    char path[64];
    sqlite3 *db;
    char *message = NULL;
    MUST(mkdtemp(db_dir) != NULL);
    snprintf(path, sizeof(path), "%s/db", db_dir);
    enter(sandbox_enter_child);
    MUST(sqlite3_open(path, &db) == SQLITE_OK);
    int result = sqlite3_exec(db,
                              "PRAGMA journal_mode = WAL; CREATE TABLE t(x); INSERT INTO t VALUES(1);"
                              "PRAGMA wal_checkpoint(TRUNCATE); SELECT * FROM t; VACUUM",
                              NULL, NULL, &message);
    MUST(result == SQLITE_OK);
    MUST(sqlite3_close(db) == SQLITE_OK);
    MUST(unlink(path) == 0);
    /* No call of a child removes a directory: it is empty at least. */
    MUST(rmdir(db_dir) == 0 || errno == EPERM);
}

START_TEST(child_keeps_a_database)
{
    run_inside(keep_a_database, 0);
}
END_TEST

static void give_up(int arg)
{
    (void)arg;
    enter(sandbox_enter_child);
    abort();
}

START_TEST(child_may_abort)
{
    int status = status_inside(give_up, 0);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

static void gain_nothing(int arg)
{
    (void)arg;
    enter(sandbox_enter_child);
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    int seen = 0;
    MUST(status != NULL);
    while (fgets(line, sizeof(line), status) != NULL) {
        seen += strcmp(line, "NoNewPrivs:\t1\n") == 0;
        seen += strcmp(line, "Seccomp:\t2\n") == 0;
    }
    fclose(status);
    MUST(seen == 2);
}

START_TEST(child_gains_nothing)
{
    run_inside(gain_nothing, 0);
}
END_TEST

static long try_directory(void)
{
    return mkdir("/tmp/test_sandbox.none/none", 0700);
}

/* What only the writer of dumps does. */
static void make_no_directory(int arg)
{
    (void)arg;
    enter(sandbox_enter_child);
    errno = 0;
    MUST(try_directory() == -1 && errno == EPERM);
}

START_TEST(child_makes_no_directory)
{
    run_inside(make_no_directory, 0);
}
END_TEST

static void wait_for_its_own(int arg)
{
    int status;
    pid_t pid = fork();
    (void)arg;
    MUST(pid >= 0);
    if (pid == 0)
        _exit(3);
    enter(sandbox_enter_child);
    MUST(waitpid(pid, &status, 0) == pid);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 3);
}

START_TEST(child_waits_for_its_own)
{
    run_inside(wait_for_its_own, 0);
}
END_TEST

/* ---- the writer of dumps */

static long try_read_a_file(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static long try_write_a_file(void)
{
    return open("/tmp", O_WRONLY | O_CLOEXEC);
}

static long try_truncate_a_file(void)
{
    return open("/dev/null", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

static long try_read_a_new_file(void)
{
    return open("/tmp/test_sandbox.none/none", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}

static long try_unlink(void)
{
    return unlink("/tmp/test_sandbox.none");
}

static long try_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static long try_send(void)
{
    return send(STDIN_FILENO, "x", 1, MSG_NOSIGNAL);
}

static long try_thread(void)
{
    return syscall(SYS_clone, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, NULL, NULL, NULL, NULL);
}

static long try_wait(void)
{
    return waitpid(-1, NULL, WNOHANG);
}

static long (*const forbidden_to_the_writer[])(void) = {
    try_read_a_file,
    try_write_a_file,
    try_truncate_a_file,
    try_read_a_new_file,
    try_unlink,
    try_socket,
    try_send,
    try_thread,
    try_wait,
    try_exec,
    try_fork,
    try_clone3,
    try_kill,
    try_dumpable,

    try_writable_code,
    try_data_to_code,
};

static void try_forbidden_to_the_writer(int i)
{
    enter(sandbox_enter_writer);
    errno = 0;
    long result = forbidden_to_the_writer[i]();
    fprintf(stderr, "%d: %ld, %s\n", i, result, strerror(errno));
    MUST(result == -1 && errno == EPERM);
}

START_TEST(writer_may_not)
{
    if (!SANITIZED)
        run_inside(try_forbidden_to_the_writer, _i);
}
END_TEST

static char dir[] = "/tmp/test_sandbox.XXXXXX";

static void make_files(int arg)
{
    char path[64];
    char block[4];
    int ends[2];
    (void)arg;
    MUST(pipe(ends) == 0);
    int spool = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    bool has_spool = spool >= 0; /* not on every file system */
    memset(block, 0, sizeof(block));
    MUST(!has_spool || write(spool, "body", 4) == 4);
    enter(sandbox_enter_writer);
    snprintf(path, sizeof(path), "%s/new", dir);
    MUST(mkdir(path, 0700) == 0);
    snprintf(path, sizeof(path), "%s/new/file", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    MUST(fd >= 0);
    MUST(!has_spool || pread(spool, block, 4, 0) == 4);
    MUST(write(fd, block, 4) == 4);
    MUST(close(fd) == 0);
    void *much = malloc((size_t)1 << 20);
    MUST(much != NULL);
    much = realloc(much, (size_t)4 << 20);
    MUST(much != NULL);
    free(much);
    close(ends[1]);
    MUST(read(ends[0], block, 1) == 0);
    alarm(1000);
}

START_TEST(writer_makes_files)
{
    char path[64];
    ck_assert_ptr_nonnull(mkdtemp(dir));
    run_inside(make_files, 0);
    snprintf(path, sizeof(path), "%s/new/file", dir);
    ck_assert_int_eq(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/new", dir);
    ck_assert_int_eq(rmdir(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

static void give_up_writing(int arg)
{
    (void)arg;
    enter(sandbox_enter_writer);
    abort();
}

START_TEST(writer_may_abort)
{
    int status = status_inside(give_up_writing, 0);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
END_TEST

/* ---- the master */

static void be_master(int arg)
{
    (void)arg;
    if (geteuid() != 0 || prctl(PR_GET_SECCOMP, 0, 0, 0, 0) != 0) {
        /* There it is promised to do nothing. */
        int before = prctl(PR_GET_SECCOMP, 0, 0, 0, 0);
        enter(sandbox_enter_master);
        MUST(prctl(PR_GET_SECCOMP, 0, 0, 0, 0) == before);
        return;
    }
    enter(sandbox_enter_master);
    MUST(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    enter(sandbox_enter_master); /* again: nothing is added */
    int status;
    pid_t pid = fork();
    MUST(pid >= 0);
    if (pid == 0) {
        try_exec();
        _exit(9);
    }
    MUST(waitpid(pid, &status, 0) == pid);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    MUST(try_setuid() == 0);
    errno = 0;
    MUST(try_mount() == -1 && errno == EPERM);
    errno = 0;
    MUST(try_bpf() == -1 && errno == EPERM);
    if (!SANITIZED) {
        errno = 0;
        MUST(try_ptrace() == -1 && errno == EPERM);
    }
}

START_TEST(master_starts_programs_but_mounts_nothing)
{
    run_inside(be_master, 0);
}
END_TEST

START_TEST(without_the_library)
{
    ck_assert_ptr_null(sandbox_library_version());
    ck_assert_int_eq(sandbox_enter_child(&reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "without libseccomp"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sandbox");
    TCase *tcase = tcase_create("sandbox");
    if (sandbox_is_built_in()) {
        tcase_add_loop_test(tcase, child_may_not, 0, (int)(sizeof(forbidden) / sizeof(forbidden[0])));
        tcase_add_test(tcase, child_resolves_in_a_thread);
        tcase_add_test(tcase, child_keeps_a_database);
        tcase_add_test(tcase, child_may_abort);
        tcase_add_test(tcase, child_gains_nothing);
        tcase_add_test(tcase, child_makes_no_directory);
        tcase_add_test(tcase, child_waits_for_its_own);
        tcase_add_loop_test(tcase, writer_may_not, 0,
                            (int)(sizeof(forbidden_to_the_writer) / sizeof(forbidden_to_the_writer[0])));
        tcase_add_test(tcase, writer_makes_files);
        tcase_add_test(tcase, writer_may_abort);
        tcase_add_test(tcase, master_starts_programs_but_mounts_nothing);
    } else {
        tcase_add_test(tcase, without_the_library);
    }
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
