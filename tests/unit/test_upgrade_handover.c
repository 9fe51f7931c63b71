/*
 * Tests of upgrade_handover: there and back again, and everything that is no handover is refused.
 */
#include "master/upgrade_handover.h"

#include "unit/suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static struct upgrade_handover sample;
static int sample_fds[3] = {7, 8, 9};
static struct sockets_entry sample_entries[3];
static struct buf bytes;
static struct buf reason;

static void setup(void)
{
    struct sockaddr_in *v4 = (void *)&sample_entries[0].addr;
    struct sockaddr_in6 *v6 = (void *)&sample_entries[1].addr;
    struct sockaddr_un *path = (void *)&sample_entries[2].addr;
    memset(&sample, 0, sizeof(sample));
    v4->sin_family = AF_INET;
    v4->sin_port = htons(8080);
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sample_entries[0].addr_len = sizeof(*v4);
    sample_entries[0].text = (char *)"127.0.0.1:8080";
    v6->sin6_family = AF_INET6;
    v6->sin6_addr = in6addr_loopback;
    sample_entries[1].addr_len = sizeof(*v6);
    sample_entries[1].text = (char *)"[::1]:8080";
    path->sun_family = AF_UNIX;
    strncpy(path->sun_path, "/run/x", sizeof(path->sun_path) - 1);
    sample_entries[2].addr_len = sizeof(*path);
    sample_entries[2].text = (char *)"unix:/run/x";
    sample_entries[2].dev = 12;
    sample_entries[2].ino = 34;
    sample.pid = 4711;
    sample.generation = 5;
    sample.detached = true;
    sample.binary = (char *)"/usr/sbin/x";
    sample.conf_file = (char *)"/etc/x.conf";
    sample.pid_file = (char *)"/run/x.pid";
    sample.pid_fd = 4;
    sample.control = (char *)"/run/x.sock";
    sample.control_fd = 5;
    sample.shared_fd = 6;
    sample.slots[0] = true;
    sample.slots[SHARED_WORKERS_MAX - 1] = true;
    sample.sockets.fds = sample_fds;
    sample.sockets.entries = sample_entries;
    sample.sockets.count = 3;
    buf_append(&sample.keys, "NAME\0value", 11);
    upgrade_handover_encode(&sample, &bytes);
    ck_assert(!bytes.failed);
}

static void teardown(void)
{
    buf_fini(&sample.keys);
    buf_fini(&bytes);
    buf_fini(&reason);
}

static int fd_sum;

static void add_fd(int fd)
{
    fd_sum += fd;
}

START_TEST(test_round_trip)
{
    struct upgrade_handover h;
    ck_assert_int_eq(upgrade_handover_decode(&h, bytes.data, bytes.len, &reason), 0);
    ck_assert_int_eq(h.pid, 4711);
    ck_assert_uint_eq(h.generation, 5);
    ck_assert(h.detached);
    ck_assert_str_eq(h.binary, "/usr/sbin/x");
    ck_assert_str_eq(h.conf_file, "/etc/x.conf");
    ck_assert_str_eq(h.pid_file, "/run/x.pid");
    ck_assert_str_eq(h.control, "/run/x.sock");
    ck_assert_int_eq(h.pid_fd, 4);
    ck_assert_int_eq(h.control_fd, 5);
    ck_assert_int_eq(h.shared_fd, 6);
    for (size_t i = 0; i < SHARED_WORKERS_MAX; i++)
        ck_assert_int_eq(h.slots[i], i == 0 || i == SHARED_WORKERS_MAX - 1);
    ck_assert_uint_eq(h.sockets.count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct sockets_entry *entry = &h.sockets.entries[i];
        ck_assert_int_eq(h.sockets.fds[i], sample_fds[i]);
        ck_assert_str_eq(entry->text, sample_entries[i].text);
        ck_assert_uint_eq(entry->addr_len, sample_entries[i].addr_len);
        ck_assert(sockets_same_address((const struct sockaddr *)&entry->addr,
                                       (const struct sockaddr *)&sample_entries[i].addr));
    }
    ck_assert_uint_eq(h.sockets.entries[2].dev, 12);
    ck_assert_uint_eq(h.sockets.entries[2].ino, 34);
    ck_assert_uint_eq(h.keys.len, 11);
    ck_assert_mem_eq(h.keys.data, "NAME\0value", 11);
    upgrade_handover_each_fd(&h, add_fd);
    ck_assert_int_eq(fd_sum, 4 + 5 + 6 + 7 + 8 + 9);
    upgrade_handover_fini(&h);
}
END_TEST

START_TEST(test_little)
{
    struct upgrade_handover h;
    struct buf little = {0};
    buf_clear(&sample.keys);
    sample.conf_file = NULL;
    sample.detached = false;
    sample.sockets.count = 0;
    upgrade_handover_encode(&sample, &little);
    ck_assert_int_eq(upgrade_handover_decode(&h, little.data, little.len, &reason), 0);
    ck_assert_ptr_null(h.conf_file);
    ck_assert(!h.detached);
    ck_assert_uint_eq(h.sockets.count, 0);
    ck_assert_uint_eq(h.keys.len, 0);
    upgrade_handover_fini(&h);
    buf_fini(&little);
}
END_TEST

static void refuse(const char *data, size_t len, const char *why)
{
    struct upgrade_handover h;
    buf_clear(&reason);
    ck_assert_msg(upgrade_handover_decode(&h, data, len, &reason) == -1, "%zu bytes are taken for a handover",
                  len);
    ck_assert_msg(strstr(reason.data, why) != NULL, "no \"%s\" in: %s", why, reason.data);
    ck_assert_ptr_null(h.sockets.fds);
    ck_assert_ptr_null(h.pid_file);
}

/* Every beginning of a handover that is not all of it. The copy ends where the memory does. */
START_TEST(test_cut)
{
    for (size_t len = 0; len < bytes.len; len++) {
        char *copy = malloc(len + 1);
        memcpy(copy, bytes.data, len);
        refuse(copy, len, "cannot read the handover");
        free(copy);
    }
}
END_TEST

START_TEST(test_missing)
{
    static const char TEXT[] = UPGRADE_HANDOVER_FIRST_LINE "\0\0\0\0\0\0\0";
    refuse(TEXT, sizeof(TEXT), "missing");
}
END_TEST

START_TEST(test_other_version)
{
    bytes.data[strlen(UPGRADE_HANDOVER_FIRST_LINE) - 2] = '2';
    refuse(bytes.data, bytes.len, "another version");
    refuse("hello", 5, "another version");
}
END_TEST

START_TEST(test_more_behind_the_end)
{
    buf_putc(&bytes, 'x');
    refuse(bytes.data, bytes.len, "follows its end");
}
END_TEST

/* Puts a record where the end was, and the end behind it. */
static void add_record(uint32_t tag, const void *data, uint32_t len)
{
    uint32_t head[2] = {tag, len};
    uint32_t end[2] = {0, 0};
    bytes.len -= sizeof(end);
    buf_append(&bytes, head, sizeof(head));
    if (len > 0)
        buf_append(&bytes, data, len);
    buf_append(&bytes, end, sizeof(end));
}

START_TEST(test_unknown_is_skipped)
{
    struct upgrade_handover h;
    add_record(77, "later", 5);
    add_record(UINT32_MAX, "", 0);
    ck_assert_int_eq(upgrade_handover_decode(&h, bytes.data, bytes.len, &reason), 0);
    ck_assert_int_eq(h.pid, 4711);
    upgrade_handover_fini(&h);
}
END_TEST

START_TEST(test_twice)
{
    int64_t pid = 4712;
    add_record(1, &pid, sizeof(pid));
    refuse(bytes.data, bytes.len, "twice");
}
END_TEST

/* Makes the sample senseless in one way. */
START_TEST(test_senseless)
{
    struct sockaddr_un *path = (void *)&sample_entries[2].addr;
    const char *why = "makes no sense";
    struct buf bad = {0};
    switch (_i) {
    case 0:
        sample.pid = 0;
        break;
    case 1:
        sample.pid_fd = 2;
        break;
    case 2:
        sample.control_fd = -1;
        break;
    case 3:
        sample.pid_file = (char *)"";
        break;
    case 4:
        sample_entries[0].addr_len = 2;
        break;
    case 5:
        sample_entries[0].addr.ss_family = AF_PACKET;
        break;
    case 6:
        sample_entries[1].addr_len = sizeof(struct sockaddr_storage) + 1;
        break;
    case 7:
        memset(path->sun_path, 'x', sizeof(path->sun_path));
        break;
    case 8:
        sample_entries[2].text = (char *)"";
        break;
    case 9:
        sample_fds[1] = 1;
        break;
    case 10:
        sample_fds[1] = 5;
        why = "a descriptor twice";
        break;
    default:
        sample.shared_fd = 9;
        why = "a descriptor twice";
        break;
    }
    upgrade_handover_encode(&sample, &bad);
    refuse(bad.data, bad.len, why);
    buf_fini(&bad);
}
END_TEST

/* One byte changed anywhere: refused or read, but never read beyond. Sanitizers and valgrind look. */
START_TEST(test_changed_bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        struct upgrade_handover h;
        char before = bytes.data[i];
        bytes.data[i] = (char)(before ^ 0x81);
        if (upgrade_handover_decode(&h, bytes.data, bytes.len, &reason) == 0)
            upgrade_handover_fini(&h);
        bytes.data[i] = before;
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("upgrade_handover");
    TCase *tc = tcase_create("upgrade_handover");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_little);
    tcase_add_test(tc, test_cut);
    tcase_add_test(tc, test_missing);
    tcase_add_test(tc, test_other_version);
    tcase_add_test(tc, test_more_behind_the_end);
    tcase_add_test(tc, test_unknown_is_skipped);
    tcase_add_test(tc, test_twice);
    tcase_add_loop_test(tc, test_senseless, 0, 12);
    tcase_add_test(tc, test_changed_bytes);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
