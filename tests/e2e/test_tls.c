/*
 * test_tls: clients that speak TLS, where it differs from plain connections: handshakes, ends, certificates.
 * What does not differ is tested by the programs test_*_tls.
 */
#include "e2e/cert.h"
#include "e2e/http_tls.h"
#include "e2e/suite.h"

#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_TIMEOUT "head_timeout = 1s"
#define MANY         40
#define STOPPED      10

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

static void get(struct bench *b, unsigned port, struct http_response *r)
{
    struct http_request request = {.method = "GET", .target = b->api->target};

    http_fetch(port, &request, r);
}

static void expect_served(struct bench *b, unsigned port)
{
    struct http_response r;

    get(b, port, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
}

/* ---- handshakes */

START_TEST(versions_and_protocol)
{
    struct http_tls_options options = {.version = versions[_i], .alpn = "\x02h2\x08http/1.1"};
    const unsigned char *protocol = NULL;
    struct http_client client;
    unsigned len = 0;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    options.trust = b.daemon.certificate;
    http_tls_use(b.daemon.port, &options);
    expect_served(&b, b.daemon.port);
    http_connect(&client, b.daemon.port);
    ck_assert_int_eq(SSL_version(client.tls), versions[_i]);
    SSL_get0_alpn_selected(client.tls, &protocol, &len);
    ck_assert(len == 8 && memcmp(protocol, "http/1.1", 8) == 0);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* What is old or weak finds nobody to talk to. */
START_TEST(weak_offers)
{
    static const struct {
        int version;
        const char *ciphers;
    } offers[] = {
        {TLS1_1_VERSION, "ALL:@SECLEVEL=0"},
        {TLS1_2_VERSION, "AES128-SHA:AES256-GCM-SHA384:@SECLEVEL=0"},
        {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384:@SECLEVEL=0"},
    };
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    struct http_client client;
    struct bench b;
    SSL *ssl;
    int fd;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    SSL_CTX_set_min_proto_version(context, offers[_i].version);
    SSL_CTX_set_max_proto_version(context, offers[_i].version);
    ck_assert_int_eq(SSL_CTX_set_cipher_list(context, offers[_i].ciphers), 1);
    http_connect_plain(&client, b.daemon.port);
    fd = client.fd;
    ssl = SSL_new(context);
    SSL_set_fd(ssl, fd);
    SSL_connect(ssl);
    ck_assert(http_wait_end(&client, 5000)); /* within the head_timeout of 10 s: it was refused */
    SSL_free(ssl);
    http_close(&client);
    SSL_CTX_free(context);
    expect_served(&b, b.daemon.port);
    bench_close(&b);
}
END_TEST

/* A session that one worker began is resumed by another; with certificates of clients there is no such thing.
 */
START_TEST(sessions_are_resumed)
{
    struct http_tls_options options = {.version = versions[_i % 2]};
    bool asks = _i / 2 != 0;
    struct http_client client;
    struct http_response r;
    struct bench b;
    unsigned resumed = 0;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.workers = 2;
    options.trust = b.daemon.certificate;
    if (asks)
        daemon_text(&b.daemon.tls, "client_ca = \"%s\" client_auth = optional", b.daemon.certificate);
    daemon_start(&b.daemon);
    for (int i = 0; i < 12; i++) {
        struct http_request request = {.method = "GET", .target = b.api->target};

        http_tls_use(b.daemon.port, &options);
        http_connect(&client, b.daemon.port);
        resumed += SSL_session_reused(client.tls) != 0;
        http_write_request(&client, &request);
        http_read(&client, &r);
        expect_answer(&r, 200, "ok");
        http_response_fini(&r);
        SSL_SESSION_free(options.resume);
        options.resume = SSL_get1_session(client.tls);
        http_close(&client);
    }
    ck_assert_uint_eq(resumed, asks ? 0 : 11);
    SSL_SESSION_free(options.resume);
    bench_close(&b);
}
END_TEST

/* Beside the address that speaks TLS one that does not, and the unix socket; each tells the upstream. */
START_TEST(plain_addresses_beside)
{
    struct http_request request = {.method = "GET", .target = SUITE_APIS[0].target};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    b.daemon.plain_port = util_free_port();
    daemon_start(&b.daemon);
    expect_served(&b, b.daemon.port);
    expect_served(&b, b.daemon.plain_port);
    http_connect_unix(&client, b.daemon.unix_path);
    http_write_request(&client, &request);
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&client);
    ck_assert_str_eq(message_get(&fake_request(b.fake, 1)->head, "X-Forwarded-Proto"), "https");
    ck_assert_str_eq(message_get(&fake_request(b.fake, 2)->head, "X-Forwarded-Proto"), "http");
    ck_assert_str_eq(message_get(&fake_request(b.fake, 3)->head, "X-Forwarded-Proto"), "http");
    bench_close(&b);
}
END_TEST

/* What is no TLS is closed at once and harms nobody, however often it comes. */
START_TEST(what_is_no_tls)
{
    static const char http[] = "GET /anthropic/x HTTP/1.1\r\nHost: a\r\n\r\n";
    static const unsigned char record[] = {0x16, 3, 1, 0, 4, 1, 0, 0, 0};
    static const unsigned char alert[] = {0x15, 3, 3, 0, 2, 2, 40};
    static const struct {
        const void *data;
        size_t len;
    } said[] = {
        {http, sizeof(http) - 1}, {record, sizeof(record)}, {alert, sizeof(alert)}, {NULL, 3000}, {NULL, 0}};
    struct http_client clients[MANY];
    char noise[3000];
    pid_t workers[2];
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", workers, 2), 1);
    util_random(noise, sizeof(noise));
    noise[0] = 'x'; /* of no record */
    for (int i = 0; i < MANY; i++) {
        http_connect_plain(&clients[i], b.daemon.port);
        if (said[_i].len > 0)
            http_send(&clients[i], said[_i].data != NULL ? said[_i].data : noise, said[_i].len);
        else
            shutdown(clients[i].fd, SHUT_WR);
    }
    for (int i = 0; i < MANY; i++) {
        ck_assert(http_wait_end(&clients[i], 5000));
        ck_assert_msg(!util_contains(clients[i].in.data, clients[i].in.len, "HTTP"), "it was answered");
        http_close(&clients[i]);
    }
    expect_served(&b, b.daemon.port);
    expect_requests(&b, 1);
    ck_assert(daemon_wait_workers(&b.daemon, 1, 0, 0));
    ck_assert_int_eq(kill(workers[0], 0), 0);
    bench_close(&b);
}
END_TEST

/* A first message as a client makes it; how many bytes. */
static size_t make_hello(char *out, size_t size)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    SSL *ssl = SSL_new(context);
    BIO *to = BIO_new(BIO_s_mem());
    int len;

    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), to);
    SSL_connect(ssl);
    len = BIO_read(to, out, (int)size);
    ck_assert_int_gt(len, 100);
    SSL_free(ssl);
    SSL_CTX_free(context);
    return (size_t)len;
}

/* CPU time of a process in clock ticks. */
static long cpu_ticks(pid_t pid)
{
    char path[64];
    char *text;
    char *p;
    long user = -1;
    long system = -1;

    snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    text = util_read_file(path, NULL);
    p = text != NULL ? strrchr(text, ')') : NULL;
    if (p != NULL)
        ck_assert_int_eq(sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system),
                         2);
    free(text);
    return user + system;
}

/* Handshakes that stop in the middle are gone after head_timeout, cost no time until then, and the others are
 * served. */
START_TEST(handshakes_that_stop)
{
    struct http_client clients[STOPPED];
    char hello[4096];
    size_t hello_len = make_hello(hello, sizeof(hello));
    const size_t lens[] = {0, 1, 5, hello_len / 2, hello_len};
    int64_t begin_us;
    int64_t last_us;
    pid_t worker;
    long ticks;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.limits, HEAD_TIMEOUT);
    daemon_start(&b.daemon);
    ck_assert_uint_eq(daemon_children(&b.daemon, "worker", &worker, 1), 1);
    begin_us = util_now_us();
    for (int i = 0; i < STOPPED; i++) {
        http_connect_plain(&clients[i], b.daemon.port);
        http_send(&clients[i], hello, lens[_i]);
    }
    last_us = util_now_us();
    expect_served(&b, b.daemon.port);
    ticks = cpu_ticks(worker);
    for (int i = 0; i < STOPPED; i++)
        ck_assert(http_wait_end(&clients[i], 10000));
    ck_assert_int_ge(util_now_us() - begin_us, 900000);
    ck_assert_msg(util_now_us() - last_us < 6000000, "they lived for %lld ms",
                  (long long)(util_now_us() - last_us) / 1000);
    /* One that turns while it waits takes most of the second. */
    ck_assert_msg(cpu_ticks(worker) - ticks < sysconf(_SC_CLK_TCK) / 3, "%ld ticks",
                  cpu_ticks(worker) - ticks);
    for (int i = 0; i < STOPPED; i++)
        http_close(&clients[i]);
    bench_close(&b);
}
END_TEST

/* Nor does one that comes byte by byte get through in the end, or hold a stop up. */
START_TEST(a_handshake_and_a_stop)
{
    char hello[4096];
    size_t hello_len = make_hello(hello, sizeof(hello));
    struct http_client client;
    struct bench b;
    int64_t begin_us;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect_plain(&client, b.daemon.port);
    http_send(&client, hello, hello_len / 2);
    expect_served(&b, b.daemon.port);
    begin_us = util_now_us();
    bench_close(&b);
    ck_assert_int_lt(util_now_us() - begin_us, 8000000); /* head_timeout is 10 s, shutdown_timeout 30 s */
    http_close(&client);
}
END_TEST

/* ---- ends */

static const enum fake_framing framings[] = {FAKE_LENGTH, FAKE_CHUNKED, FAKE_UNTIL_CLOSE};

/* The end of a whole answer is announced, that of a cut one is not: also to clients that look at nothing
 * else, as those of HTTP/1.0 have to. */
START_TEST(ends_are_announced)
{
    bool cut = _i % 2 != 0;
    bool old = _i / 2 % 2 != 0;
    bool quick = _i / 12 != 0; /* the answer comes while the request is under way */
    struct fake_answer a = {.framing = framings[_i / 4 % 3],
                            .events = 10,
                            .interval_ms = 5,
                            .cut = cut ? FAKE_CUT_RST : FAKE_WHOLE,
                            .cut_after = 5};
    struct http_client client;
    struct http_response r;
    struct bench b;

    if (a.framing == FAKE_LENGTH) {
        a.events = 0;
        a.body = "0123456789";
    }
    if (quick) {
        a.status = 400; /* then the rest of the request is not sent */
        a.reading = FAKE_READ_AFTER;
    }
    bench_open(&b, &SUITE_APIS[0], NULL, NULL);
    fake_on_any(b.fake, &a);
    http_connect(&client, b.daemon.port);
    http_print(&client,
               "POST %s HTTP/1.%d\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\nxxxxxxxxxx",
               b.api->target, old ? 0 : 1, quick ? 1000 : 10);
    http_read(&client, &r);
    ck_assert_msg(r.status == (quick ? 400 : 200) || (cut && r.status == 502), "status %d", r.status);
    ck_assert(http_wait_end(&client, HTTP_TIMEOUT_MS));
    if (r.status != 502) {
        ck_assert_int_eq(r.clean, !cut);
        ck_assert_int_eq(client.unannounced, cut);
    }
    http_response_fini(&r);
    http_close(&client);
    bench_close(&b);
}
END_TEST

/* A connection that is not needed any more is taken leave of. */
START_TEST(idle_connections_and_a_stop)
{
    struct http_request request = {.method = "GET", .target = SUITE_APIS[0].target};
    struct http_client client;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    http_connect(&client, b.daemon.port);
    http_write_request(&client, &request);
    http_read(&client, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    ck_assert_int_eq(kill(b.daemon.pid, SIGTERM), 0);
    ck_assert(http_wait_end(&client, 5000));
    ck_assert(!client.unannounced);
    http_close(&client);
    ck_assert_int_eq(daemon_wait(&b.daemon, DAEMON_STOP_MS), 0);
    bench_close(&b);
}
END_TEST

/* ---- certificates */

/* A reload reads them again; a pair that does not fit leaves what serves as it is. */
START_TEST(reload_reads_the_certificate)
{
    struct http_tls_options options = {0};
    struct http_request request = {.method = "GET", .target = SUITE_APIS[0].target};
    char old[160];
    char other_key[160];
    struct http_client before;
    struct http_client unused;
    struct http_response r;
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    snprintf(old, sizeof(old), "%s/old.pem", b.daemon.dir);
    snprintf(other_key, sizeof(other_key), "%s/other.pem", b.daemon.dir);
    ck_assert_int_eq(rename(b.daemon.certificate, old), 0);
    options.trust = old;
    http_tls_use(b.daemon.port, &options);
    http_connect(&before, b.daemon.port);

    cert_make("IP:127.0.0.1", 2, b.daemon.certificate, other_key); /* not of the key in the file */
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
    ck_assert(daemon_wait_log(&b.daemon, "is not that of the first certificate", 5000));
    ck_assert(daemon_log_has(&b.daemon, "goes on serving"));
    expect_served(&b, b.daemon.port);

    cert_make("IP:127.0.0.1", -1, b.daemon.certificate, b.daemon.key);
    ck_assert_int_eq(kill(b.daemon.pid, SIGHUP), 0);
    ck_assert(daemon_wait_log(&b.daemon, "has expired on", 5000));
    expect_served(&b, b.daemon.port);

    cert_make("IP:127.0.0.1", 2, b.daemon.certificate, b.daemon.key);
    http_write_request(&before, &request); /* one that is in use outlives the reload */
    ck_assert(fake_wait_requests(b.fake, 3, 5000));
    daemon_reload(&b.daemon);
    http_read(&before, &r);
    expect_answer(&r, 200, "ok");
    http_response_fini(&r);
    http_close(&before);
    ck_assert_int_ne(http_try_connect(&unused, b.daemon.port), 0);
    options.trust = b.daemon.certificate;
    http_tls_use(b.daemon.port, &options);
    expect_served(&b, b.daemon.port);
    bench_close(&b);
}
END_TEST

/* A reload turns TLS off and on again on the same address. */
START_TEST(reload_changes_what_an_address_speaks)
{
    struct http_tls_options options = {0};
    struct buf section = {0};
    struct bench b;

    bench_open(&b, &SUITE_APIS[0], KEY0, NULL);
    options.trust = b.daemon.certificate;
    buf_append(&section, b.daemon.tls.data, b.daemon.tls.len);
    buf_clear(&b.daemon.tls);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    http_tls_use(0, &options);
    expect_served(&b, b.daemon.port);
    buf_append(&b.daemon.tls, section.data, section.len);
    daemon_write(&b.daemon);
    daemon_reload(&b.daemon);
    http_tls_use(b.daemon.port, &options);
    expect_served(&b, b.daemon.port);
    buf_fini(&section);
    bench_close(&b);
}
END_TEST

/* No line of the key in what the daemon writes or prints. */
START_TEST(the_key_is_nowhere)
{
    struct bench b;
    struct run run;
    char hidden[200];
    char *key;
    char *line;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_text(&b.daemon.log_options, "level = debug");
    daemon_start(&b.daemon);
    key = util_read_file(b.daemon.key, NULL);
    ck_assert_ptr_nonnull(key);
    line = strchr(key, '\n') + 1; /* behind the first line, which says what it is */
    *strchr(line, '\n') = '\0';
    ck_assert_uint_gt(strlen(line), 40);
    snprintf(hidden, sizeof(hidden), "%s.elsewhere", getenv("E2E_DIR"));
    expect_served(&b, b.daemon.port);
    ck_assert_int_eq(rename(b.daemon.key, hidden), 0);
    ck_assert(daemon_log_has(&b.daemon, "speaks TLS"));
    ck_assert(!daemon_files_have(&b.daemon, line));
    ck_assert_int_eq(rename(hidden, b.daemon.key), 0);
    run_program(&run, NULL, daemon_binary(), "-T", "-c", b.daemon.conf, NULL);
    ck_assert_int_eq(run.status, 0);
    ck_assert_ptr_nonnull(strstr(run_out(&run), b.daemon.key));
    ck_assert_ptr_null(strstr(run_out(&run), line));
    ck_assert_ptr_null(strstr(run_err(&run), line));
    run_fini(&run);
    free(key);
    bench_close(&b);
}
END_TEST

/* ---- certificates of clients */

enum shown { SHOWS_NONE, SHOWS_GOOD, SHOWS_FOREIGN, SHOWS_EXPIRED, SHOWS_SERVERS };

static const struct {
    const char *client_auth; /* NULL = not given */
    enum shown shown;
    bool served;
    const char *logged; /* when it is not */
} shows[] = {
    {NULL, SHOWS_NONE, false, "shows no certificate"},
    {NULL, SHOWS_GOOD, true, NULL},
    {"required", SHOWS_NONE, false, "shows no certificate"},
    {"required", SHOWS_GOOD, true, NULL},
    {"required", SHOWS_FOREIGN, false, "NOT trusted"},
    {"required", SHOWS_EXPIRED, false, "expired"},
    {"required", SHOWS_SERVERS, false, "purpose"},
    {"optional", SHOWS_NONE, true, NULL},
    {"optional", SHOWS_GOOD, true, NULL},
    {"optional", SHOWS_FOREIGN, false, "NOT trusted"},
    {"optional", SHOWS_EXPIRED, false, "expired"},
    {"none", SHOWS_NONE, true, NULL},
    {"none", SHOWS_GOOD, true, NULL},
};

#define SHOWS ((int)(sizeof(shows) / sizeof(shows[0])))

static void make_clients_own(const struct daemon *d, enum shown shown, const char *ca, const char *ca_key,
                             const char *certificate, const char *key)
{
    const char *usage = shown == SHOWS_SERVERS ? "serverAuth" : "clientAuth";

    if (shown == SHOWS_FOREIGN)
        cert_issue(d->certificate, d->key, usage, 2, certificate, key);
    else
        cert_issue(ca, ca_key, usage, shown == SHOWS_EXPIRED ? -1 : 2, certificate, key);
}

START_TEST(certificates_of_clients)
{
    int which = _i % SHOWS;
    struct http_tls_options options = {.version = versions[_i / SHOWS]};
    char names[4][160];
    struct http_client client;
    struct http_response r = {0};
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    for (int i = 0; i < 4; i++)
        snprintf(names[i], sizeof(names[i]), "%s/client%d.pem", b.daemon.dir, i);
    cert_make("DNS:ca.test", 2, names[0], names[1]);
    daemon_text(&b.daemon.tls, "client_ca = \"%s\"", names[0]);
    if (shows[which].client_auth != NULL)
        daemon_text(&b.daemon.tls, "client_auth = %s", shows[which].client_auth);
    daemon_start(&b.daemon);
    options.trust = b.daemon.certificate;
    if (shows[which].shown != SHOWS_NONE) {
        make_clients_own(&b.daemon, shows[which].shown, names[0], names[1], names[2], names[3]);
        options.certificate = names[2];
        options.key = names[3];
    }
    http_tls_use(b.daemon.port, &options);
    /* In TLS 1.3 a client is done before the server has seen its certificate. */
    if (http_try_connect(&client, b.daemon.port) == 0) {
        struct http_request request = {.method = "GET", .target = b.api->target};

        http_write_request(&client, &request);
        http_read(&client, &r);
        http_close(&client);
    }
    if (shows[which].served) {
        expect_answer(&r, 200, "ok");
        expect_requests(&b, 1);
    } else {
        ck_assert_int_eq(r.status, 0);
        expect_requests(&b, 0);
        ck_assert(daemon_wait_log(&b.daemon, shows[which].logged, 5000));
        ck_assert(daemon_log_has(&b.daemon, "127.0.0.1 is refused"));
    }
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("tls");
    TCase *tc = suite_case(s, "handshakes", 60);

    tcase_add_loop_test(tc, versions_and_protocol, 0, 2);
    tcase_add_loop_test(tc, weak_offers, 0, 3);
    tcase_add_loop_test(tc, sessions_are_resumed, 0, 4);
    tcase_add_test(tc, plain_addresses_beside);
    tcase_add_loop_test(tc, what_is_no_tls, 0, 5);
    tcase_add_loop_test(tc, handshakes_that_stop, 0, 5);
    tcase_add_test(tc, a_handshake_and_a_stop);
    tc = suite_case(s, "ends", 60);
    tcase_add_loop_test(tc, ends_are_announced, 0, 20);
    tcase_add_test(tc, idle_connections_and_a_stop);
    tc = suite_case(s, "certificates", 60);
    tcase_add_test(tc, reload_reads_the_certificate);
    tcase_add_test(tc, reload_changes_what_an_address_speaks);
    tcase_add_test(tc, the_key_is_nowhere);
    tc = suite_case(s, "clients", 60);
    tcase_add_loop_test(tc, certificates_of_clients, 0, 2 * SHOWS);
    return suite_run(s);
}
