/* test_spool: the same bytes come out, in memory or in a file, whatever the sizes; and what goes wrong loses
 * nothing. */
#include "io/spool.h"

#include "unit/suite.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static char dir[] = "/tmp/test_spool.XXXXXX";

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_spool.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
    setenv("TMPDIR", dir, 1);
}

static void teardown(void)
{
    rmdir(dir);
}

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 31 + i / 253);
}

static void append(struct spool *spool, size_t len)
{
    unsigned char *bytes = malloc(len + 1);

    ck_assert_ptr_nonnull(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at((size_t)spool->len + i);
    ck_assert_int_eq(spool_append(spool, bytes, len), 0);
    free(bytes);
}

/* Reads everything from `offset` on in steps and compares it. */
static void expect_content(const struct spool *spool, size_t offset, size_t step)
{
    unsigned char *out = malloc(step);
    size_t at = offset, wrong = 0;
    ssize_t n;

    ck_assert_ptr_nonnull(out);
    while ((n = spool_read(spool, (int64_t)at, out, step)) > 0)
        for (ssize_t i = 0; i < n; i++)
            wrong += out[i] != byte_at(at++);
    ck_assert_int_eq(n, 0);
    ck_assert_uint_eq(wrong, 0);
    ck_assert_int_eq((int64_t)at, spool->len);
    free(out);
}

static int names_in_dir(void)
{
    DIR *d = opendir(dir);
    int count = 0;

    ck_assert_ptr_nonnull(d);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        count += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    closedir(d);
    return count;
}

START_TEST(empty_body)
{
    struct spool spool;
    char out[4];

    spool_init(&spool, 100);
    ck_assert_str_eq(spool_memory(&spool), "");
    ck_assert_int_eq(spool_read(&spool, 0, out, sizeof(out)), 0);
    ck_assert_int_eq(spool_append(&spool, NULL, 0), 0);
    ck_assert_int_eq(spool.len, 0);
    spool_fini(&spool);
    spool_fini(&spool);
}
END_TEST

static const struct {
    size_t limit;
    size_t pieces[6];
    bool memory; /* where it ends up */
} bodies[] = {
    {0, {1}, false},
    {1, {1}, true},
    {1, {1, 1}, false},
    {10, {10}, true},
    {10, {11}, false},
    {10, {5, 5}, true},
    {10, {5, 5, 1, 100, 3}, false},
    {4096, {4095, 1}, true},
    {4096, {4096, 1}, false},
    {5000, {4096, 904}, true},
    {5000, {4097, 904}, false},
    {262144, {1, 4095, 1, 100000, 150000, 8047}, true},
    {262144, {1, 4095, 1, 100000, 150000, 8048}, false},
    {300000, {4096, 4096, 200000, 91808}, true},
    {SIZE_MAX, {100000}, true},
    {SIZE_MAX, {20000, 100000}, true},
    {10, {1000000, 1000000}, false},
    {300, {200, 200, 200, 50}, false},
    {262144, {262144, 262143, 1, 1}, false},
    {600000, {600000, 1, 262142, 3, 300000, 700000}, false},
};

static void expect_body(const struct spool *spool)
{
    static const size_t steps[] = {4096, 1000003, 97};
    for (int i = 0; i < COUNT(steps); i++) {
        expect_content(spool, 0, steps[i]);
        expect_content(spool, (size_t)spool->len / 2, steps[i]);
        expect_content(spool, (size_t)spool->len, steps[i]);
    }
}

/* What is read past the spool is the body up to where memory begins. */
static void expect_file(const struct spool *spool)
{
    const struct spool file = {.fd = spool->fd, .len = spool_file_len(spool)};
    struct stat st;
    ck_assert_int_eq(fstat(spool->fd, &st), 0);
    ck_assert_int_eq(st.st_size, file.len);
    expect_content(&file, 0, 4096);
}

static size_t size_of(const size_t pieces[6])
{
    size_t size = 0;
    for (size_t i = 0; i < 6; i++)
        size += pieces[i];
    return size;
}

static void keep_body(size_t limit, const size_t pieces[6], bool memory, int64_t expected)
{
    struct spool spool;

    spool_init(&spool, limit);
    spool_expect(&spool, expected);
    for (size_t i = 0; i < 6 && pieces[i] > 0; i++) {
        append(&spool, pieces[i]);
        ck_assert_uint_le(spool.mem_cap, limit); /* never more memory than allowed */
        if (spool.fd >= 0)
            ck_assert_uint_le(spool.mem_cap, SPOOL_PIECE);
    }
    ck_assert((spool_memory(&spool) != NULL) == memory);
    ck_assert((spool.fd < 0) == memory);
    expect_body(&spool);
    if (!memory)
        expect_file(&spool);
    ck_assert_int_eq(spool_settle(&spool), 0);
    expect_body(&spool);
    if (memory) {
        ck_assert_int_eq(spool_file_len(&spool), 0);
        for (size_t i = 0; i < (size_t)spool.len; i += 997)
            ck_assert_int_eq((unsigned char)spool_memory(&spool)[i], byte_at(i));
    } else {
        ck_assert_ptr_null(spool.data); /* not in both places */
        ck_assert_int_eq(spool_file_len(&spool), spool.len);
        expect_file(&spool);
    }
    spool_fini(&spool);
    ck_assert_int_eq(spool.fd, -1);
}

/* Whatever was announced. */
START_TEST(same_bytes)
{
    const int64_t size = (int64_t)size_of(bodies[_i].pieces);
    const int64_t expected[] = {-1, size, size - 1, size + 1, INT64_MAX};
    for (int i = 0; i < COUNT(expected); i++)
        keep_body(bodies[_i].limit, bodies[_i].pieces, bodies[_i].memory, expected[i]);
}
END_TEST

/* Memory of somebody else's is read like the spool's own. */
START_TEST(shown_memory)
{
    char text[] = "some bytes";
    char out[16] = "";
    struct spool spool;

    spool_show(&spool, text, strlen(text));
    ck_assert_int_eq(spool.len, (int64_t)strlen(text));
    ck_assert_ptr_eq(spool_memory(&spool), text);
    ck_assert_int_eq(spool_read(&spool, 5, out, sizeof(out)), 5);
    ck_assert_str_eq(out, "bytes");
}
END_TEST

START_TEST(memory_doubles)
{
    struct spool spool;
    size_t grown = 0, cap = 0;

    spool_init(&spool, 1 << 20);
    for (int i = 0; i < 1 << 12; i++) {
        append(&spool, 256);
        if (spool.mem_cap != cap) {
            cap = spool.mem_cap;
            grown++;
        }
    }
    ck_assert_uint_eq(cap, 1 << 20);
    ck_assert_uint_eq(grown, 9); /* 4K to 1M */
    spool_fini(&spool);
}
END_TEST

/* Who announces much and sends little gets little; what has begun to come gets what it needs, and no more. */
START_TEST(memory_for_what_was_announced)
{
    struct spool spool;

    spool_init(&spool, 1 << 20);
    spool_expect(&spool, 200000);
    for (int i = 0; i < 64; i++)
        append(&spool, 256);
    ck_assert_uint_eq(spool.mem_cap, 16384);
    append(&spool, 1);
    ck_assert_uint_eq(spool.mem_cap, 200000);
    append(&spool, 200000 - 16385);
    ck_assert_uint_eq(spool.mem_cap, 200000);
    append(&spool, 1);
    expect_content(&spool, 0, 4096);
    spool_fini(&spool);
}
END_TEST

START_TEST(reads_at_odd_places)
{
    for (size_t limit = 10; limit <= 100; limit += 90) { /* file, then memory */
        struct spool spool;
        char out[200];
        spool_init(&spool, limit);
        append(&spool, 50);
        ck_assert_int_eq(spool_read(&spool, 50, out, 1), 0);
        ck_assert_int_eq(spool_read(&spool, INT64_MAX, out, 1), 0);
        ck_assert_int_eq(spool_read(&spool, 49, out, 200), 1);
        ck_assert_int_eq(spool_read(&spool, 0, out, 200), 50);
        ck_assert_int_eq(spool_read(&spool, 0, out, 0), 0);
        ck_assert_int_eq(spool_read(&spool, -1, out, 1), -1);
        ck_assert_int_eq(errno, EINVAL);
        spool_fini(&spool);
    }
}
END_TEST

static void expect_hidden_file(void)
{
    struct spool spool;
    struct stat st;

    spool_init(&spool, 10);
    append(&spool, 100);
    ck_assert_int_ge(spool.fd, 0);
    ck_assert_int_eq(names_in_dir(), 0);
    ck_assert_int_eq(fstat(spool.fd, &st), 0);
    ck_assert_uint_eq(st.st_nlink, 0);
    ck_assert_uint_eq(st.st_mode & 0077, 0);
    ck_assert_int_eq(st.st_size, 100);
    struct stat in_dir;
    ck_assert_int_eq(stat(dir, &in_dir), 0);
    ck_assert_uint_eq(st.st_dev, in_dir.st_dev);
    ck_assert_int_ne(fcntl(spool.fd, F_GETFD) & FD_CLOEXEC, 0);
    expect_content(&spool, 0, 7);
    int fd = spool.fd;
    spool_fini(&spool);
    ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}

START_TEST(file_has_no_name)
{
    expect_hidden_file();
}
END_TEST

/* From here on this process is told that no file system has O_TMPFILE. False when the kernel cannot do that.
 */
static bool forbid_tmpfile(void)
{
    uint32_t bit = O_TMPFILE & ~O_DIRECTORY;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    uint32_t flags = offsetof(struct seccomp_data, args[2]) + 4;
#else
    uint32_t flags = offsetof(struct seccomp_data, args[2]);
#endif
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, flags),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bit, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = (unsigned short)COUNT(code), .filter = code};

    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* A filter cannot be taken off again: in a child, which passes on what failed by its status. */
START_TEST(without_tmpfile)
{
    int status;
    pid_t child = fork();

    ck_assert_int_ge(child, 0);
    if (child == 0) {
        if (!forbid_tmpfile())
            _exit(77);
        if (open(dir, O_TMPFILE | O_RDWR, 0600) >= 0 || errno != EOPNOTSUPP)
            _exit(2);
        expect_hidden_file();
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_msg(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 77, "the child ended with %d",
                  WEXITSTATUS(status));
}
END_TEST

/* Not absolute or not there at all means /tmp. */
START_TEST(odd_tmpdir)
{
    static const char *const values[] = {NULL, "", "relative"};
    struct spool spool;

    if (values[_i] == NULL)
        unsetenv("TMPDIR");
    else
        setenv("TMPDIR", values[_i], 1);
    spool_init(&spool, 10);
    append(&spool, 100);
    expect_content(&spool, 0, 100);
    struct stat st, tmp;
    ck_assert_int_eq(fstat(spool.fd, &st), 0);
    ck_assert_int_eq(stat("/tmp", &tmp), 0);
    ck_assert_uint_eq(st.st_dev, tmp.st_dev);
    spool_fini(&spool);
}
END_TEST

START_TEST(no_place_for_the_file)
{
    char name[5000], bytes[100];
    struct spool spool;

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)byte_at(8 + i);
    spool_init(&spool, 10);
    append(&spool, 8);
    setenv("TMPDIR", "/no-such-directory", 1);
    ck_assert_int_eq(spool_append(&spool, bytes, sizeof(bytes)), -1);
    ck_assert_int_eq(errno, ENOENT);
    memset(name, 'x', sizeof(name));
    name[0] = '/';
    name[sizeof(name) - 1] = '\0';
    setenv("TMPDIR", name, 1);
    ck_assert_int_eq(spool_append(&spool, bytes, sizeof(bytes)), -1);
    ck_assert_int_eq(errno, ENAMETOOLONG);

    /* Nothing was lost: it goes on where it stopped. */
    ck_assert_int_eq(spool.len, 8);
    ck_assert_ptr_nonnull(spool_memory(&spool));
    setenv("TMPDIR", dir, 1);
    ck_assert_int_eq(spool_append(&spool, bytes, sizeof(bytes)), 0);
    expect_content(&spool, 0, 11);
    spool_fini(&spool);
}
END_TEST

/* Without a check: to note that it passed would be a write too. */
static void limit_file_size(rlim_t bytes)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
    limit.rlim_cur = bytes < limit.rlim_max ? bytes : limit.rlim_max;
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        abort();
}

/* Whether an append fails with so large a file. The limit holds for the test suite's own files too. */
static bool is_too_large(struct spool *spool, const char *bytes, size_t len, rlim_t limit)
{
    limit_file_size(limit);
    bool failed = spool_append(spool, bytes, len) == -1 && errno == EFBIG;
    limit_file_size(RLIM_INFINITY);
    return failed;
}

/* A full disk, in the middle of an append and while memory moves out. */
START_TEST(full_disk)
{
    char bytes[2000];
    struct spool spool;

    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)byte_at(500 + i);

    spool_init(&spool, 500);
    append(&spool, 500);
    ck_assert(is_too_large(&spool, bytes, sizeof(bytes), 100));
    ck_assert_int_eq(spool.fd, -1);
    expect_content(&spool, 0, 100);

    ck_assert(is_too_large(&spool, bytes, sizeof(bytes), 1000));
    ck_assert_int_eq(spool.len, 500);
    expect_content(&spool, 0, 100);

    ck_assert_int_eq(spool_append(&spool, bytes, sizeof(bytes)), 0);
    expect_content(&spool, 0, 100);
    spool_fini(&spool);
}
END_TEST

/* And when a file is there already, whose last bytes wait in memory. */
START_TEST(full_disk_later)
{
    struct spool spool;
    char bytes[400];

    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (char)byte_at(700 + i);
    spool_init(&spool, 500);
    append(&spool, 400);
    append(&spool, 300);
    ck_assert_int_eq(spool_file_len(&spool), 500);

    limit_file_size(600);
    bool failed = spool_append(&spool, bytes, sizeof(bytes)) == -1 && errno == EFBIG &&
                  spool_settle(&spool) == -1 && errno == EFBIG;
    limit_file_size(RLIM_INFINITY);
    ck_assert(failed);
    ck_assert_int_eq(spool.len, 700);
    expect_content(&spool, 0, 100);

    ck_assert_int_eq(spool_append(&spool, bytes, sizeof(bytes)), 0);
    expect_content(&spool, 0, 100);
    ck_assert_int_eq(spool_file_len(&spool), 1000);
    ck_assert_int_eq(spool_settle(&spool), 0);
    expect_content(&spool, 0, 100);
    spool_fini(&spool);
}
END_TEST

START_TEST(cut_file_is_an_error)
{
    struct spool spool;
    char out[100];

    spool_init(&spool, 10);
    append(&spool, 100);
    ck_assert_int_eq(ftruncate(spool.fd, 40), 0);
    ck_assert_int_eq(spool_read(&spool, 0, out, 100), 40);
    ck_assert_int_eq(spool_read(&spool, 40, out, 60), -1);
    ck_assert_int_eq(errno, EIO);
    close(spool.fd);
    ck_assert_int_eq(spool_read(&spool, 0, out, 100), -1);
    ck_assert_int_eq(errno, EBADF);
    spool.fd = -1;
    spool_fini(&spool);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spool");
    TCase *tc = tcase_create("spool");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, empty_body);
    tcase_add_loop_test(tc, same_bytes, 0, COUNT(bodies));
    tcase_add_test(tc, shown_memory);
    tcase_add_test(tc, memory_doubles);
    tcase_add_test(tc, memory_for_what_was_announced);
    tcase_add_test(tc, reads_at_odd_places);
    tcase_add_test(tc, file_has_no_name);
    tcase_add_test(tc, without_tmpfile);
    tcase_add_loop_test(tc, odd_tmpdir, 0, 3);
    tcase_add_test(tc, no_place_for_the_file);
    tcase_add_test(tc, full_disk);
    tcase_add_test(tc, full_disk_later);
    tcase_add_test(tc, cut_file_is_an_error);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
