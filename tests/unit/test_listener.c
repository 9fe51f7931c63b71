/* test_listener: what tells of a client's bytes, with answers that go out in the middle of a turn. */
#include "unit/suite.h"
#include "worker/listener_internal.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define HURRIES 8 /* of the loop */

static struct conf conf;
static struct conf_listen listens[1];
static struct shared_worker slot;
static struct loop *loop;
static struct relays *relays;
static struct listener *listener;
static int listen_fd;
static int client_fd;
static int turns_left;

static void tell_time(void *arg, struct store_clock *now)
{
    (void)arg;
    now->mono_ms = loop_now(loop);
    now->real_ms = loop_real(loop);
}

static void no_attempt(struct attempt **attempt)
{
    ck_assert_ptr_null(*attempt);
}

static bool turn(void *arg)
{
    (void)arg;
    bool any = relays_run(relays);
    any |= listener_turn(listener);
    if (--turns_left <= 0)
        loop_stop(loop);
    return any;
}

static void pass_on(void *arg)
{
    (void)arg;
    listener->pending = true; /* there is something for another client */
    for (int round = 0; round < 4; round++)
        (void)listener_turn(listener);
}

static void run(int turns)
{
    turns_left = turns;
    loop_run(loop);
}

static void setup(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(listen_fd, (struct sockaddr *)(void *)&address, len), 0);
    ck_assert_int_eq(listen(listen_fd, 1), 0);
    ck_assert_int_eq(getsockname(listen_fd, (struct sockaddr *)(void *)&address, &len), 0);
    conf.listens.items = listens;
    conf.listens.count = 1;
    conf.limits.connections = 8;
    conf.limits.header_size = 16 * 1024;
    conf.limits.request_body = 1024;
    conf.limits.buffer_memory = 1024;
    conf.limits.head_timeout_ms = 60 * 1000;
    conf.limits.client_timeout_ms = 60 * 1000;
    loop = loop_new(turn, NULL);
    ck_assert_ptr_nonnull(loop);
    loop_on_hurry(loop, pass_on);
    const struct relay_env env = {.conf = &conf, .clock = tell_time, .abort = no_attempt};
    relays = relays_new(&env);
    ck_assert_ptr_nonnull(relays);
    const struct listener_options options = {
        .loop = loop, .relays = relays, .conf = &conf, .fds = &listen_fd, .slot = &slot};
    listener = listener_new(&options);
    ck_assert_ptr_nonnull(listener);
    client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(client_fd, (struct sockaddr *)(void *)&address, len), 0);
}

static void teardown(void)
{
    listener_free(&listener);
    relays_free(&relays);
    loop_free(&loop);
    close(client_fd);
    close(listen_fd);
}

static void ask(const char *text)
{
    ck_assert_int_eq(send(client_fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

/* Whether the answer has come to the client. */
static void expect_answer(void)
{
    char answer[2048];
    ssize_t got = recv(client_fd, answer, sizeof answer, MSG_DONTWAIT);
    ck_assert_int_gt(got, 12);
    ck_assert_mem_eq(answer, "HTTP/1.1 404", 12);
}

static void hurry(struct loop_watch *watch, uint32_t events)
{
    (void)watch, (void)events;
    loop_hurry(loop);
}

#define REQUEST "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"

/* The event that tells of a request may come when the request has been answered. What the client then sends
 * next has its time from when it begins; one that sends nothing is idle. */
START_TEST(an_event_behind_its_answer)
{
    struct loop_watch watches[HURRIES] = {0};
    int fds[HURRIES][2];
    ask(REQUEST);
    run(8);
    expect_answer();
    ck_assert_uint_eq(listener_connections(listener), 1);
    ck_assert_ptr_null(listener->head_first);

    for (int i = 0; i < HURRIES; i++) { /* these events come first */
        watches[i].fn = hurry;
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds[i]), 0);
        ck_assert_int_eq(loop_watch_add(loop, &watches[i], fds[i][0], EPOLLIN | EPOLLET), 0);
        ck_assert_int_eq(send(fds[i][1], "x", 1, 0), 1);
    }
    ask(REQUEST);
    run(1);
    expect_answer();
    ck_assert_ptr_null(listener->head_first);

    ask("GET /"); /* and the next one's first bytes are seen */
    run(1);
    ck_assert_ptr_nonnull(listener->head_first);
    for (int i = 0; i < HURRIES; i++) {
        loop_watch_remove(loop, &watches[i]);
        close(fds[i][0]);
        close(fds[i][1]);
    }
}
END_TEST

/* The client asks once this round's events are there, and is answered: the event is the next round's. */
static void ask_late(struct loop_watch *watch, uint32_t events)
{
    (void)watch, (void)events;
    ask(REQUEST);
    pass_on(NULL);
}

/* What it tells of then is no byte that was read. */
START_TEST(an_event_a_round_behind_its_answer)
{
    struct loop_watch watch = {.fn = ask_late};
    int fds[2];
    ask(REQUEST);
    run(8);
    expect_answer();

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    ck_assert_int_eq(loop_watch_add(loop, &watch, fds[0], EPOLLIN | EPOLLET), 0);
    ck_assert_int_eq(send(fds[1], "x", 1, 0), 1);
    run(1);
    expect_answer();
    run(4);
    ck_assert_uint_eq(listener_connections(listener), 1);
    ck_assert_ptr_null(listener->head_first);

    ask("GET /");
    run(1);
    ck_assert_ptr_nonnull(listener->head_first);
    loop_watch_remove(loop, &watch);
    close(fds[0]);
    close(fds[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("listener");
    TCase *tcase = tcase_create("listener");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, an_event_behind_its_answer);
    tcase_add_test(tcase, an_event_a_round_behind_its_answer);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
