/* test_peers: which connections count as one client's, and when it has too many. */
#include "worker/peers.h"

#include "unit/suite.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

/* "unix" for a unix socket. */
static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNIX};
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&addr;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&addr;
    if (strchr(text, ':') != NULL) {
        addr.ss_family = AF_INET6;
        ck_assert_int_eq(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
    } else if (strchr(text, '.') != NULL) {
        addr.ss_family = AF_INET;
        ck_assert_int_eq(inet_pton(AF_INET, text, &v4->sin_addr), 1);
    }
    return addr;
}

static bool enter(struct peers *peers, const char *text, struct peer **peer)
{
    struct sockaddr_storage addr = address(text);
    return peers_enter(peers, &addr, peer);
}

START_TEST(a_limit_for_each)
{
    struct peers *peers = peers_new(2);
    struct peer *a[3];
    struct peer *b;
    ck_assert_ptr_nonnull(peers);
    ck_assert(enter(peers, "192.0.2.1", &a[0]));
    ck_assert(enter(peers, "192.0.2.1", &a[1]));
    ck_assert(!enter(peers, "192.0.2.1", &a[2]));
    ck_assert_ptr_null(a[2]);
    ck_assert(enter(peers, "192.0.2.2", &b));
    ck_assert_uint_eq(peers_count(peers), 2);
    peers_leave(peers, &a[0]);
    ck_assert_ptr_null(a[0]);
    ck_assert(enter(peers, "192.0.2.1", &a[0]));
    ck_assert(!enter(peers, "192.0.2.1", &a[2]));
    peers_leave(peers, &a[2]); /* NULL */
    peers_leave(peers, &a[0]);
    peers_leave(peers, &a[1]);
    peers_leave(peers, &b);
    ck_assert_uint_eq(peers_count(peers), 0);
    peers_free(&peers);
    ck_assert_ptr_null(peers);
}
END_TEST

static const struct {
    const char *one;
    const char *other;
    bool same;
} pairs[] = {
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.3", false},
    {"192.0.2.1", "::ffff:192.0.2.1", true},
    {"::ffff:192.0.2.1", "::ffff:192.0.2.2", false},
    {"2001:db8::1", "2001:db8::1", true},
    {"2001:db8::1", "2001:db8::ffff:2", true}, /* one network */
    {"2001:db8::1", "2001:db8:0:1::1", false},
    {"2001:db8::1", "192.0.2.1", false},
    {"::1", "127.0.0.1", false},
};

START_TEST(who_is_one_client)
{
    struct peers *peers = peers_new(1);
    struct peer *one;
    struct peer *other;
    ck_assert_ptr_nonnull(peers);
    ck_assert(enter(peers, pairs[_i].one, &one));
    ck_assert_int_eq(enter(peers, pairs[_i].other, &other), !pairs[_i].same);
    peers_leave(peers, &other);
    peers_leave(peers, &one);
    peers_free(&peers);
}
END_TEST

START_TEST(unix_sockets_are_not_counted)
{
    struct peers *peers = peers_new(1);
    struct peer *peer;
    ck_assert_ptr_nonnull(peers);
    for (int i = 0; i < 3; i++) {
        ck_assert(enter(peers, "unix", &peer));
        ck_assert_ptr_null(peer);
    }
    ck_assert_uint_eq(peers_count(peers), 0);
    peers_free(&peers);
}
END_TEST

/* More addresses than the table has places, left in another order. */
START_TEST(many)
{
    enum { MANY = 20000 };
    static struct peer *all[MANY];
    struct peers *peers = peers_new(1);
    ck_assert_ptr_nonnull(peers);
    for (unsigned i = 0; i < MANY; i++) {
        char text[32];
        (void)snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        ck_assert(enter(peers, text, &all[i]));
    }
    ck_assert_uint_eq(peers_count(peers), MANY);
    for (unsigned i = 0; i < MANY; i += 2)
        peers_leave(peers, &all[i]);
    ck_assert_uint_eq(peers_count(peers), MANY / 2);
    peers_free(&peers); /* with connections in it */
}
END_TEST

static const struct {
    const char *text;
    const char *shown;
} texts[] = {{"192.0.2.7", "192.0.2.7"}, {"2001:db8::7", "2001:db8::7"}, {"unix", ""}};

START_TEST(as_text)
{
    struct sockaddr_storage addr = address(texts[_i].text);
    char out[PEERS_TEXT_SIZE];
    peers_text((const struct sockaddr *)(const void *)&addr, out);
    ck_assert_str_eq(out, texts[_i].shown);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("peers");
    TCase *tcase = tcase_create("peers");
    tcase_add_test(tcase, a_limit_for_each);
    tcase_add_loop_test(tcase, who_is_one_client, 0, COUNT(pairs));
    tcase_add_test(tcase, unix_sockets_are_not_counted);
    tcase_add_test(tcase, many);
    tcase_add_loop_test(tcase, as_text, 0, COUNT(texts));
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
