/*
 * test_metrics: after a run of known requests every counter of GET /metrics has exactly the expected value,
 * with four workers, through a reload and a killed worker.
 */
#include "e2e/cert.h"
#include "e2e/suite.h"
#include "e2e/upgrading.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS 10000

struct scrape {
    struct bench *bench;
    const char *line; /* wanted; NULL = only fetch */
    struct buf text;
};

static void fetch(struct scrape *s)
{
    struct http_request request = {.method = "GET", .target = "/metrics"};
    struct http_response r;

    http_fetch(s->bench->daemon.admin_port, &request, &r);
    ck_assert_int_eq(r.status, 200);
    ck_assert_ptr_nonnull(strstr(http_get(&r, "Content-Type"), "version=0.0.4"));
    buf_clear(&s->text);
    buf_putc(&s->text, '\n');
    buf_append(&s->text, r.body.data, r.body.len);
    ck_assert(!util_contains(s->text.data, s->text.len, SUITE_CANARY));
    http_response_fini(&r);
}

static bool has_line(void *arg)
{
    struct scrape *s = arg;
    char whole[512];

    fetch(s);
    snprintf(whole, sizeof(whole), "\n%s\n", s->line);
    return strstr(s->text.data, whole) != NULL;
}

/* A request is counted a moment after its client has the answer. */
static void expect(struct bench *b, const char *line)
{
    struct scrape s = {.bench = b, .line = line};

    if (!util_wait(has_line, &s, WAIT_MS)) {
        printf("--- /metrics%s---\n", s.text.data);
        ck_abort_msg("no line %s", line);
    }
    buf_fini(&s.text);
}

static void post(struct bench *b, const char *headers, int status, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct http_response r;

        bench_post(b, headers, &r);
        ck_assert_msg(r.status == status, "status %d, not %d: %s", r.status, status, http_body(&r));
        http_response_fini(&r);
    }
}

static void get(struct bench *b, const char *target, int status)
{
    struct http_request request = {.method = "GET", .target = target};
    struct http_response r;

    http_fetch(b->daemon.port, &request, &r);
    ck_assert_int_eq(r.status, status);
    http_response_fini(&r);
}

static void open_four(struct bench *b, const char *keys)
{
    bench_prepare(b, &SUITE_APIS[1], keys, NULL);
    b->daemon.workers = 4;
    daemon_start(&b->daemon);
}

static void answer_with(struct bench *b, const struct fake_answer *answer)
{
    fake_forget_rules(b->fake);
    fake_on_any(b->fake, answer);
}

static void kill_a_worker(struct bench *b)
{
    pid_t pids[4];

    ck_assert_uint_eq(daemon_children(&b->daemon, "worker", pids, 4), 4);
    ck_assert_int_eq(kill(pids[2], SIGKILL), 0);
    ck_assert(daemon_wait_workers(&b->daemon, 4, pids[2], WAIT_MS));
}

START_TEST(equal_the_truth)
{
    static const struct fake_answer limited = {.status = 429, .headers = "Retry-After: 600\r\n"};
    static const struct fake_answer refused = {.status = 401};
    char none[8];
    struct bench b;

    open_four(&b, KEY0 " " KEY1 " " KEY2);
    expect(&b, "claviger_key_pool_state{provider=\"openai\",state=\"valid\"} 3");
    expect(&b, "claviger_workers{phase=\"ready\"} 4");
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_any(b.fake, &(struct fake_answer){.body = "0123456789"});
    post(&b, NULL, 200, 10);
    post(&b, bench_auth(&b, OWN_KEY), 200, 3);
    get(&b, "/nowhere", 404);
    get(&b, "/openai/v1/models?secret=x", 200);
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"200\"} 13");
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"GET\",status=\"200\"} 1");
    expect(&b, "claviger_passthrough_total{provider=\"\",method=\"GET\",status=\"404\"} 1");
    expect(&b, "claviger_sent_bytes_total{provider=\"openai\"} 140");
    expect(&b, "claviger_received_bytes_total{provider=\"openai\"} 546");
    expect(&b, "claviger_key_pool_state_transitions_total{provider=\"openai\",reason=\"rate_limited\"} 1");
    expect(&b, "claviger_failover_attempts_bucket{provider=\"openai\",le=\"0\"} 0");
    expect(&b, "claviger_failover_attempts_bucket{provider=\"openai\",le=\"1\"} 10");
    expect(&b, "claviger_failover_attempts_bucket{provider=\"openai\",le=\"2\"} 11");
    expect(&b, "claviger_failover_attempts_sum{provider=\"openai\"} 12");
    expect(&b, "claviger_request_duration_seconds_count{provider=\"openai\"} 14");
    expect(&b, "claviger_time_to_first_byte_seconds_count{provider=\"openai\"} 14");
    expect(&b, "claviger_key_pool_state{provider=\"openai\",state=\"temporary\"} 1");

    /* What the dead and the replaced have counted stays. */
    kill_a_worker(&b);
    post(&b, NULL, 200, 5);
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"200\"} 18");
    daemon_reload(&b.daemon);
    post(&b, NULL, 200, 2);
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"200\"} 20");
    expect(&b, "claviger_config_generation 2");

    answer_with(&b, &refused);
    post(&b, NULL, 429, 2);
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"429\"} 2");
    expect(&b, "claviger_key_pool_state_transitions_total{provider=\"openai\",reason=\"unauthorized\"} 2");
    expect(&b, "claviger_key_pool_exhaustions_total{provider=\"openai\",outcome=\"rate_limited\"} 2");
    expect(&b, "claviger_failover_attempts_bucket{provider=\"openai\",le=\"0\"} 1");
    daemon_sql(&b.daemon, "UPDATE key_state SET permanent = 1", none, sizeof(none));
    post(&b, NULL, 502, 1);
    expect(&b, "claviger_key_pool_exhaustions_total{provider=\"openai\",outcome=\"rejected\"} 1");
    expect(&b, "claviger_key_pool_state{provider=\"openai\",state=\"permanent\"} 3");
    expect(&b, "claviger_database_condition{condition=\"ok\"} 1");
    expect(&b, "claviger_metric_series_dropped_total 0");
    bench_close(&b);
}
END_TEST

/* A new binary goes on counting where the old one was. */
START_TEST(through_an_upgrade)
{
    struct bench b;

    upgrading_open(&b, 4);
    fake_on_any(b.fake, &(struct fake_answer){.body = "0123456789"});
    post(&b, NULL, 200, 3);
    upgrading_do(&b);
    post(&b, NULL, 200, 4);
    expect(&b, "claviger_passthrough_total{provider=\"anthropic\",method=\"POST\",status=\"200\"} 7");
    expect(&b, "claviger_failover_attempts_sum{provider=\"anthropic\"} 7");
    bench_close(&b);
}
END_TEST

/* What happens now: requests and streams in flight, and none when they are over. */
START_TEST(in_flight)
{
    struct fake_answer stream = {.framing = FAKE_CHUNKED, .events = 3, .cut = FAKE_CUT_STALL, .cut_after = 2};
    struct fake_answer hang = {.action = FAKE_HANG};
    struct http_request request = {.target = SUITE_APIS[1].target, .body = "{}"};
    struct http_client clients[2];
    struct http_response r;
    struct bench b;

    open_four(&b, KEY0);
    fake_on_number(b.fake, 1, &stream);
    fake_on_number(b.fake, 2, &hang);
    for (size_t i = 0; i < 2; i++) {
        http_connect(&clients[i], b.daemon.port);
        http_write_request(&clients[i], &request);
        ck_assert(fake_wait_requests(b.fake, (unsigned)i + 1, WAIT_MS));
    }
    ck_assert(http_read_head(&clients[0], &r, HTTP_TIMEOUT_MS));
    expect(&b, "claviger_requests_in_flight 2");
    expect(&b, "claviger_streams_in_flight 1");
    expect(&b, "claviger_client_connections 2");
    http_close(&clients[0]);
    expect(&b, "claviger_streams_in_flight 0");
    expect(&b, "claviger_requests_in_flight 1");
    http_close(&clients[1]);
    expect(&b, "claviger_requests_in_flight 0");
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"200\"} 1");
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"499\"} 1");
    http_response_fini(&r);
    bench_close(&b);
}
END_TEST

/* Attempts that fail, by kind; connections that are made and reused. */
START_TEST(upstream_errors)
{
    struct fake_answer reset = {.action = FAKE_RESET};
    struct fake_answer malformed = {.action = FAKE_RAW, .body = "HTTP/1.1 2x0 OK\r\n\r\n"};
    struct fake_answer hang = {.action = FAKE_HANG};
    struct fake_answer cut = {.framing = FAKE_CHUNKED,
                              .body = "0123456789",
                              .cut = FAKE_CUT_FIN,
                              .cut_after = 5};
    struct http_response r;
    char certificate[160];
    char private_key[160];
    const struct fake_options options = {.certificate = certificate, .private_key = private_key};
    struct fake *tls;
    struct bench b;
    char url[64];
    int fd;

    bench_prepare(&b, &SUITE_APIS[1], KEY0, "    header_timeout = 2s");
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", util_refusing_port(&fd));
    daemon_provider(&b.daemon, "closed", url, KEY1, "    type = openai");
    snprintf(certificate, sizeof(certificate), "%s/cert.pem", b.daemon.dir);
    snprintf(private_key, sizeof(private_key), "%s/key.pem", b.daemon.dir);
    cert_make("IP:127.0.0.1", 1, certificate, private_key);
    tls = fake_start(&options);
    ck_assert_ptr_nonnull(tls);
    daemon_provider(&b.daemon, "untrusted", fake_url(tls), KEY1, "    type = openai");
    daemon_start(&b.daemon);
    post(&b, NULL, 200, 3);
    answer_with(&b, &reset);
    post(&b, NULL, 502, 1);
    answer_with(&b, &malformed);
    post(&b, NULL, 502, 1);
    answer_with(&b, &hang);
    post(&b, NULL, 504, 1);
    answer_with(&b, &cut);
    bench_post(&b, NULL, &r);
    /* cut, or 502 when its end came with its head */
    http_response_fini(&r);
    get(&b, "/closed/v1/models", 502);
    get(&b, "/untrusted/v1/models", 502);
    /* The one that was reset was a reused one; the others left none behind. */
    expect(&b, "claviger_upstream_connections_total{provider=\"openai\",connection=\"new\"} 4");
    expect(&b, "claviger_upstream_connections_total{provider=\"openai\",connection=\"reused\"} 3");
    expect(&b, "claviger_upstream_errors_total{provider=\"openai\",kind=\"broken\"} 2");
    expect(&b, "claviger_upstream_errors_total{provider=\"openai\",kind=\"malformed\"} 1");
    expect(&b, "claviger_upstream_errors_total{provider=\"openai\",kind=\"timeout\"} 1");
    expect(&b, "claviger_upstream_errors_total{provider=\"closed\",kind=\"connect\"} 1");
    expect(&b, "claviger_upstream_errors_total{provider=\"untrusted\",kind=\"tls\"} 1");
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"504\"} 1");
    close(fd);
    fake_stop(&tls);
    bench_close(&b);
}
END_TEST

#define JSON_TYPE   "Content-Type: application/json\r\n"
#define EVENTS_TYPE "Content-Type: text/event-stream\r\n"

/* What the providers of three APIs report is added up: plain, streamed, with gzip, of pool and BYOK alike. */
START_TEST(tokens)
{
    /* {"model":"claude-x","usage":{"input_tokens":1000,"output_tokens":50}} */
    static const char gzip[] =
        "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\xcd\x4f\x49\xcd\x51\xb2\x52"
        "\x4a\xce\x49\x2c\x4d\x49\xd5\xad\x50\xd2\x51\x2a\x2d\x4e\x4c\x4f\x55\xb2\xaa\x56"
        "\xca\xcc\x2b\x28\x2d\x89\x2f\xc9\xcf\x4e\xcd\x2b\x56\xb2\x32\x34\x30\x30\xd0\x51"
        "\xca\x2f\x2d\x41\x16\x34\x35\xa8\xad\x05\x00\xc0\x0f\x88\xb6\x45\x00\x00\x00";
    static const struct fake_answer answers[] = {
        {.headers = JSON_TYPE,
         .body = "{\"model\":\"gpt-x\",\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,"
                 "\"prompt_tokens_details\":{\"cached_tokens\":1}}}"},
        {.headers = JSON_TYPE,
         .body = "{\"usage\":{\"input_tokens\":10,\"output_tokens\":20,"
                 "\"output_tokens_details\":{\"reasoning_tokens\":7}}}"},
        {.headers = EVENTS_TYPE,
         .framing = FAKE_CHUNKED,
         .body = "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":100,"
                 "\"cache_creation_input_tokens\":3,\"output_tokens\":1}}}\n\n"
                 "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":200}}\n\n"},
        {.headers = JSON_TYPE "Content-Encoding: gzip\r\n", .body = gzip, .body_len = sizeof(gzip) - 1},
        {.headers = JSON_TYPE, .body = "{\"no\":\"usage\"}"},
        {.headers = "Content-Type: text/plain\r\n", .body = "{\"usage\":{\"input_tokens\":10}}"},
    };
    struct bench b;

    open_four(&b, KEY0);
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        answer_with(&b, &answers[i]);
        post(&b, "Accept-Encoding: gzip\r\n", 200, 1);
        post(&b, bench_auth(&b, OWN_KEY), 200, 1);
    }
    expect(&b, "claviger_tokens_total{provider=\"openai\",kind=\"input\"} 2222");
    expect(&b, "claviger_tokens_total{provider=\"openai\",kind=\"output\"} 544");
    expect(&b, "claviger_tokens_total{provider=\"openai\",kind=\"cached\"} 2");
    expect(&b, "claviger_tokens_total{provider=\"openai\",kind=\"written\"} 6");
    expect(&b, "claviger_tokens_total{provider=\"openai\",kind=\"reasoning\"} 14");
    bench_close(&b);
}
END_TEST

START_TEST(no_tokens)
{
    static const struct fake_answer answer = {.headers = JSON_TYPE,
                                              .body = "{\"usage\":{\"prompt_tokens\":1}}"};
    struct scrape s;
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[1], KEY0, NULL);
    daemon_text(&b.daemon.top, "usage = false");
    daemon_start(&b.daemon);
    answer_with(&b, &answer);
    post(&b, NULL, 200, 1);
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"200\"} 1");
    s = (struct scrape){.bench = &b};
    fetch(&s);
    ck_assert_ptr_null(strstr(s.text.data, "claviger_tokens_total{"));
    buf_fini(&s.text);
    bench_close(&b);
}
END_TEST

static unsigned count_lines(const char *text, const char *begin)
{
    unsigned count = 0;

    for (const char *at = text; (at = strstr(at, begin)) != NULL; at += strlen(begin))
        count++;
    return count;
}

/* Providers for which there is no number share one label, with one value; of those whose marks are not kept
 * `top` says nothing. */
START_TEST(many_providers)
{
    struct scrape s;
    struct bench b;
    struct run run;
    char name[16];

    bench_prepare(&b, &SUITE_APIS[1], KEY0, NULL);
    for (unsigned i = 0; i < 260; i++) {
        snprintf(name, sizeof(name), "p%u", i);
        daemon_provider(&b.daemon, name, fake_url(b.fake), KEY0 " " KEY1, "type = openai\n");
    }
    daemon_start(&b.daemon);
    s = (struct scrape){.bench = &b};
    fetch(&s);
    ck_assert_uint_eq(count_lines(s.text.data,
                                  "\nclaviger_key_pool_state{provider=\"...\",state=\"valid\"} "),
                      1);
    ck_assert_uint_eq(count_lines(s.text.data,
                                  "\nclaviger_key_pool_state{provider=\"p0\",state=\"valid\"} 2\n"),
                      1);
    buf_fini(&s.text);
    run_program(&run, NULL, "/bin/sh", "-c",
                "timeout 10 \"$1\" -c \"$2\" --json top --interval 0.1 | head -n 1", "sh",
                daemon_ctl_binary(), b.daemon.conf, NULL);
    ck_assert_ptr_nonnull(strstr(run_out(&run), "\"p5\":[0,"));
    ck_assert_ptr_null(strstr(run_out(&run), "\"p200\":[0,"));
    run_fini(&run);
    bench_close(&b);
}
END_TEST

/* The text is what Prometheus reads; its own checker says so where it is installed. */
START_TEST(promtool)
{
    struct bench b;
    struct scrape s = {.bench = &b};
    char path[160];
    char command[256];
    struct run run;

    open_four(&b, KEY0 " " KEY1);
    post(&b, NULL, 200, 3);
    expect(&b, "claviger_passthrough_total{provider=\"openai\",method=\"POST\",status=\"200\"} 3");
    fetch(&s);
    snprintf(path, sizeof(path), "%s/metrics.txt", b.daemon.dir);
    ck_assert_int_eq(util_write_file(path, s.text.data + 1, s.text.len - 1, 0600), 0);
    snprintf(command, sizeof(command), "promtool check metrics <%s", path);
    if (access("/usr/bin/promtool", X_OK) == 0) {
        run_program(&run, NULL, "/bin/sh", "-c", command, NULL);
        ck_assert_msg(run.status == 0 && run.out.len == 0 && run.err.len == 0, "%s%s", run_out(&run),
                      run_err(&run));
        run_fini(&run);
    }
    buf_fini(&s.text);
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("metrics");
    TCase *tc = suite_case(s, "metrics", 90);

    tcase_add_test(tc, equal_the_truth);
    tcase_add_test(tc, through_an_upgrade);
    tcase_add_test(tc, in_flight);
    tcase_add_test(tc, upstream_errors);
    tcase_add_test(tc, tokens);
    tcase_add_test(tc, no_tokens);
    tcase_add_test(tc, many_providers);
    tcase_add_test(tc, promtool);
    return suite_run(s);
}
