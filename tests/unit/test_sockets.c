/* sockets: real sockets on loopback and in a directory of the test's own. */
#include "base/fd.h"
#include "master/sockets.h"
#include "unit/suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static char dir[64];

static void setup(void)
{
    snprintf(dir, sizeof(dir), "/tmp/test_sockets.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(dir));
}

static void teardown(void)
{
    ck_assert_int_eq(rmdir(dir), 0);
}

static struct conf_listen tcp(const char *text, int family, const char *host, int port)
{
    struct conf_listen l;
    memset(&l, 0, sizeof(l));
    l.text = (char *)(uintptr_t)text;
    l.addr.ss_family = (sa_family_t)family;
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)&l.addr;
        in->sin_port = htons((uint16_t)port);
        ck_assert_int_eq(inet_pton(AF_INET, host, &in->sin_addr), 1);
        l.addr_len = sizeof(*in);
    } else {
        struct sockaddr_in6 *in6 = (void *)&l.addr;
        in6->sin6_port = htons((uint16_t)port);
        ck_assert_int_eq(inet_pton(AF_INET6, host, &in6->sin6_addr), 1);
        l.addr_len = sizeof(*in6);
    }
    return l;
}

static struct conf_listen local(char *text, size_t size, const char *name)
{
    struct conf_listen l;
    struct sockaddr_un *un = (void *)&l.addr;
    memset(&l, 0, sizeof(l));
    snprintf(text, size, "unix:%s/%s", dir, name);
    un->sun_family = AF_UNIX;
    snprintf(un->sun_path, sizeof(un->sun_path), "%s", text + 5);
    l.text = text;
    l.addr_len = sizeof(*un);
    return l;
}

static void conf_of(struct conf *conf, struct conf_listen *listens, size_t count, struct conf_listen *admin,
                    size_t admin_count)
{
    memset(conf, 0, sizeof(*conf));
    conf->listens.items = listens;
    conf->listens.count = count;
    conf->admin_listens.items = admin;
    conf->admin_listens.count = admin_count;
}

static int port_of(int fd)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof(addr);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    return ntohs(((struct sockaddr_in *)(void *)&addr)->sin_port);
}

/* 0 or errno of connecting to where l listens; port overrides. */
static int try_connect(const struct conf_listen *l, int port)
{
    struct sockaddr_storage addr = l->addr;
    if (port)
        ((struct sockaddr_in *)(void *)&addr)->sin_port = htons((uint16_t)port);
    int fd = socket(addr.ss_family, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    int rc = connect(fd, (struct sockaddr *)&addr, l->addr_len);
    int error = rc < 0 ? errno : 0;
    fd_close(&fd);
    return error;
}

static bool has_ipv6(void)
{
    struct conf_listen l = tcp("[::1]:0", AF_INET6, "::1", 0);
    struct buf why = {0};
    int fd = sockets_listen((struct sockaddr *)&l.addr, l.addr_len, 0, &why);
    bool ok = fd >= 0;
    fd_close(&fd);
    buf_fini(&why);
    return ok;
}

START_TEST(test_tcp)
{
    struct conf_listen l[] = {tcp("127.0.0.1:0", AF_INET, "127.0.0.1", 0)};
    struct conf conf;
    struct sockets set;
    struct buf reason = {0};
    char text[32];
    conf_of(&conf, l, 1, NULL, 0);
    ck_assert_int_eq(sockets_open(&set, &conf, NULL, &reason), 0);
    ck_assert_uint_eq(set.count, 1);
    ck_assert_uint_eq(set.listens, 1);
    int port = port_of(set.fds[0]);
    snprintf(text, sizeof(text), "127.0.0.1:%d", port);
    ck_assert_str_eq(set.entries[0].text, text);
    ck_assert_int_eq(try_connect(&l[0], port), 0);
    ck_assert_int_ne(fcntl(set.fds[0], F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(set.fds[0], F_GETFD) & FD_CLOEXEC, 0);

    /* A second one is refused with the address and what to do. */
    struct conf_listen again[] = {tcp(text, AF_INET, "127.0.0.1", port)};
    struct conf second_conf;
    struct sockets second;
    conf_of(&second_conf, again, 1, NULL, 0);
    ck_assert_int_eq(sockets_open(&second, &second_conf, NULL, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, text));
    ck_assert_ptr_nonnull(strstr(reason.data, "another process listens there"));
    ck_assert_uint_eq(second.count, 0);

    sockets_release(&set, NULL);
    ck_assert_int_eq(try_connect(&l[0], port), ECONNREFUSED);
    /* Connections in TIME_WAIT do not hinder. */
    ck_assert_int_eq(sockets_open(&second, &second_conf, NULL, &reason), 0);
    sockets_release(&second, NULL);
    buf_fini(&reason);
}
END_TEST

START_TEST(test_v6_only)
{
    if (!has_ipv6())
        return;
    struct conf_listen l[] = {tcp("[::]:0", AF_INET6, "::", 0), tcp("", AF_INET, "0.0.0.0", 0)};
    struct conf conf;
    struct sockets six;
    struct sockets four;
    struct buf reason = {0};
    conf_of(&conf, l, 1, NULL, 0);
    ck_assert_int_eq(sockets_open(&six, &conf, NULL, &reason), 0);
    ck_assert_int_eq(strncmp(six.entries[0].text, "[::]:", 5), 0);
    int port = port_of(six.fds[0]);
    l[1] = tcp("0.0.0.0:x", AF_INET, "0.0.0.0", port);
    conf_of(&conf, l + 1, 1, NULL, 0);
    ck_assert_int_eq(sockets_open(&four, &conf, NULL, &reason), 0);
    sockets_release(&four, NULL);
    sockets_release(&six, NULL);
    buf_fini(&reason);
}
END_TEST

/* A reload keeps the descriptor of what stays, wherever it stands now, and nothing else. */
START_TEST(test_take_over)
{
    char names[3][128];
    struct conf_listen one = local(names[0], sizeof(names[0]), "one");
    struct conf_listen two = local(names[1], sizeof(names[1]), "two");
    struct conf_listen three = local(names[2], sizeof(names[2]), "three");
    struct conf_listen before[] = {one, two};
    struct conf_listen after[] = {three};
    struct conf_listen after_admin[] = {two};
    struct conf conf;
    struct sockets old;
    struct sockets new;
    struct buf reason = {0};
    conf_of(&conf, before, 2, NULL, 0);
    ck_assert_int_eq(sockets_open(&old, &conf, NULL, &reason), 0);
    int kept = old.fds[1];

    conf_of(&conf, after, 1, after_admin, 1);
    ck_assert_int_eq(sockets_open(&new, &conf, &old, &reason), 0);
    ck_assert_uint_eq(new.listens, 1);
    ck_assert_uint_eq(new.count, 2);
    ck_assert_int_eq(new.fds[1], kept);
    ck_assert_int_ne(new.fds[0], old.fds[0]);

    sockets_release(&old, &new);
    ck_assert_uint_eq(old.count, 0);
    ck_assert_int_eq(try_connect(&one, 0), ENOENT);
    ck_assert_int_eq(try_connect(&two, 0), 0);
    ck_assert_int_eq(try_connect(&three, 0), 0);
    sockets_release(&new, NULL);
    ck_assert_int_eq(try_connect(&two, 0), ENOENT);
    buf_fini(&reason);
}
END_TEST

/* A reload that fails half-way leaves what serves as it was. */
START_TEST(test_failure_keeps_current)
{
    char names[3][128];
    struct conf_listen one = local(names[0], sizeof(names[0]), "one");
    struct conf_listen two = local(names[1], sizeof(names[1]), "two");
    struct conf_listen bad = local(names[2], sizeof(names[2]), "missing/three");
    struct conf_listen before[] = {one};
    struct conf_listen after[] = {one, two, bad};
    struct conf conf;
    struct sockets old;
    struct sockets new;
    struct buf reason = {0};
    conf_of(&conf, before, 1, NULL, 0);
    ck_assert_int_eq(sockets_open(&old, &conf, NULL, &reason), 0);
    conf_of(&conf, after, 3, NULL, 0);
    ck_assert_int_eq(sockets_open(&new, &conf, &old, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "missing/three"));
    ck_assert_ptr_nonnull(strstr(reason.data, "directory does not exist"));
    ck_assert_int_eq(try_connect(&one, 0), 0);
    ck_assert_int_eq(try_connect(&two, 0), ENOENT);
    sockets_release(&old, NULL);
    buf_fini(&reason);
}
END_TEST

/* At a stop nobody can connect any more, though workers still hold the descriptor; the admin listener stays.
 */
START_TEST(test_refuse_clients)
{
    char names[2][128];
    struct conf_listen listens[] = {local(names[0], sizeof(names[0]), "one"),
                                    tcp("127.0.0.1:0", AF_INET, "127.0.0.1", 0)};
    struct conf_listen admin[] = {local(names[1], sizeof(names[1]), "admin")};
    struct conf conf;
    struct sockets set;
    struct buf reason = {0};
    conf_of(&conf, listens, 2, admin, 1);
    ck_assert_int_eq(sockets_open(&set, &conf, NULL, &reason), 0);
    int worker_fd = dup(set.fds[1]);
    int admin_fd = dup(set.fds[2]);
    int port = port_of(worker_fd);
    ck_assert_int_eq(try_connect(&listens[1], port), 0);
    sockets_refuse_clients(&set);
    ck_assert_int_eq(try_connect(&listens[0], 0), ECONNREFUSED);
    ck_assert_int_eq(try_connect(&listens[1], port), ECONNREFUSED);
    ck_assert_int_eq(try_connect(&admin[0], 0), 0);
    sockets_release(&set, NULL);
    ck_assert_int_eq(try_connect(&admin[0], 0), ENOENT);
    fd_close(&worker_fd);
    fd_close(&admin_fd);
    buf_fini(&reason);
}
END_TEST

/* An address that a reload drops is closed for old workers that drain, too. */
START_TEST(test_release_ends_it_for_all)
{
    struct conf_listen l[] = {tcp("127.0.0.1:0", AF_INET, "127.0.0.1", 0)};
    struct conf conf;
    struct sockets set;
    struct buf reason = {0};
    conf_of(&conf, l, 1, NULL, 0);
    ck_assert_int_eq(sockets_open(&set, &conf, NULL, &reason), 0);
    int worker_fd = dup(set.fds[0]);
    int port = port_of(worker_fd);
    sockets_release(&set, NULL);
    ck_assert_int_eq(try_connect(&l[0], port), ECONNREFUSED);
    fd_close(&worker_fd);
    buf_fini(&reason);
}
END_TEST

/* Whoever has it too goes on listening, and the file of a unix socket stays. */
START_TEST(test_leave)
{
    char name[128];
    struct conf_listen l[] = {tcp("127.0.0.1:0", AF_INET, "127.0.0.1", 0), local(name, sizeof(name), "left")};
    struct conf conf;
    struct sockets set;
    struct buf reason = {0};
    conf_of(&conf, l, 2, NULL, 0);
    ck_assert_int_eq(sockets_open(&set, &conf, NULL, &reason), 0);
    int fds[2] = {dup(set.fds[0]), dup(set.fds[1])};
    int port = port_of(fds[0]);
    sockets_leave(&set);
    ck_assert_uint_eq(set.count, 0);
    ck_assert_int_eq(try_connect(&l[0], port), 0);
    ck_assert_int_eq(try_connect(&l[1], 0), 0);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    ck_assert_int_eq(try_connect(&l[0], port), ECONNREFUSED);
    ck_assert_int_eq(unlink(name + 5), 0);
    buf_fini(&reason);
}
END_TEST

START_TEST(test_named_twice)
{
    char name[128];
    struct conf_listen one = local(name, sizeof(name), "one");
    struct conf_listen listens[] = {one};
    struct conf_listen admin[] = {one};
    struct conf_listen any[] = {tcp("127.0.0.1:0", AF_INET, "127.0.0.1", 0),
                                tcp("127.0.0.1:0", AF_INET, "127.0.0.1", 0)};
    struct conf conf;
    struct sockets set;
    struct sockets reloaded;
    struct buf reason = {0};
    conf_of(&conf, listens, 1, admin, 1);
    ck_assert_int_eq(sockets_open(&set, &conf, NULL, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "twice"));
    ck_assert_int_eq(try_connect(&one, 0), ENOENT);

    /* Port 0 is another one each time, and at a reload each is taken over once. */
    buf_clear(&reason);
    conf_of(&conf, any, 2, NULL, 0);
    ck_assert_int_eq(sockets_open(&set, &conf, NULL, &reason), 0);
    ck_assert_int_ne(port_of(set.fds[0]), port_of(set.fds[1]));
    ck_assert_int_eq(sockets_open(&reloaded, &conf, &set, &reason), 0);
    ck_assert_int_ne(reloaded.fds[0], reloaded.fds[1]);
    ck_assert_int_eq(reloaded.fds[0], set.fds[0]);
    ck_assert_int_eq(reloaded.fds[1], set.fds[1]);
    sockets_release(&set, &reloaded);
    sockets_release(&reloaded, NULL);
    buf_fini(&reason);
}
END_TEST

static int listen_local(const struct conf_listen *l, mode_t mode, struct buf *reason)
{
    return sockets_listen((const struct sockaddr *)&l->addr, l->addr_len, mode, reason);
}

START_TEST(test_unix_mode)
{
    static const mode_t MODES[] = {0600, SOCKETS_CLIENT_MODE};
    char name[128];
    struct conf_listen l = local(name, sizeof(name), "s");
    struct buf reason = {0};
    struct stat st;
    mode_t before = umask(077);
    for (size_t i = 0; i < 2; i++) {
        int fd = listen_local(&l, MODES[i], &reason);
        ck_assert_int_ge(fd, 0);
        ck_assert_int_eq(lstat(name + 5, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, MODES[i]);
        fd_close(&fd);
        ck_assert_int_eq(unlink(name + 5), 0);
    }
    ck_assert_uint_eq(umask(before), 077);
    buf_fini(&reason);
}
END_TEST

/* A file that a dead process left is replaced; one on which somebody answers is not, nor one that is no
 * socket. */
START_TEST(test_unix_stale)
{
    char name[128];
    struct conf_listen l = local(name, sizeof(name), "s");
    struct buf reason = {0};
    int dead = listen_local(&l, 0600, &reason);
    fd_close(&dead);
    ck_assert_int_eq(try_connect(&l, 0), ECONNREFUSED);
    int live = listen_local(&l, 0600, &reason);
    ck_assert_int_ge(live, 0);
    ck_assert_int_eq(listen_local(&l, 0600, &reason), -1);
    ck_assert_ptr_nonnull(strstr(reason.data, "another process answers"));
    ck_assert_int_eq(try_connect(&l, 0), 0);
    fd_close(&live);
    ck_assert_int_eq(unlink(name + 5), 0);

    int file = open(name + 5, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(fd_write_all(file, "data", 4), 0);
    fd_close(&file);
    ck_assert_int_eq(listen_local(&l, 0600, &reason), -1);
    struct stat st;
    ck_assert_int_eq(stat(name + 5, &st), 0);
    ck_assert_int_eq((int)st.st_size, 4);
    ck_assert_int_eq(unlink(name + 5), 0);
    buf_fini(&reason);
}
END_TEST

/* A socket file that another process has put in place of ours stays. */
START_TEST(test_unix_not_ours)
{
    char name[128];
    struct conf_listen l = local(name, sizeof(name), "s");
    struct conf conf;
    struct sockets set;
    struct buf reason = {0};
    conf_of(&conf, &l, 1, NULL, 0);
    ck_assert_int_eq(sockets_open(&set, &conf, NULL, &reason), 0);
    ck_assert_int_eq(unlink(name + 5), 0);
    int other = listen_local(&l, 0600, &reason);
    ck_assert_int_ge(other, 0);
    sockets_release(&set, NULL);
    ck_assert_int_eq(try_connect(&l, 0), 0);
    fd_close(&other);
    ck_assert_int_eq(unlink(name + 5), 0);
    buf_fini(&reason);
}
END_TEST

START_TEST(test_same_address)
{
    char names[2][128];
    const struct conf_listen a[] = {
        tcp("", AF_INET, "127.0.0.1", 80), tcp("", AF_INET, "127.0.0.1", 81),
        tcp("", AF_INET, "127.0.0.2", 80), tcp("", AF_INET6, "::1", 80),
        tcp("", AF_INET6, "::1", 81),      tcp("", AF_INET6, "::2", 80),
        local(names[0], 128, "a"),         local(names[1], 128, "b"),
    };
    for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); i++) {
        for (size_t j = 0; j < sizeof(a) / sizeof(a[0]); j++)
            ck_assert_int_eq(sockets_same_address((const struct sockaddr *)&a[i].addr,
                                                  (const struct sockaddr *)&a[j].addr),
                             i == j);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sockets");
    TCase *tc = tcase_create("sockets");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_tcp);
    tcase_add_test(tc, test_v6_only);
    tcase_add_test(tc, test_take_over);
    tcase_add_test(tc, test_failure_keeps_current);
    tcase_add_test(tc, test_refuse_clients);
    tcase_add_test(tc, test_release_ends_it_for_all);
    tcase_add_test(tc, test_leave);
    tcase_add_test(tc, test_named_twice);
    tcase_add_test(tc, test_unix_mode);
    tcase_add_test(tc, test_unix_stale);
    tcase_add_test(tc, test_unix_not_ours);
    tcase_add_test(tc, test_same_address);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
