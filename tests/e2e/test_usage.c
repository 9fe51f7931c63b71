/*
 * test_usage: the table `usage` holds just what the fake provider has reported, whatever the form of its
 * answers.
 */
#include "e2e/usage_table.h"

#include "base/digest.h"

#include <stdlib.h>
#include <time.h>
#include <zlib.h>

#define ALICE "clv_alice-" SUITE_CANARY "_890123456789012345678901aa"
#define BOB   "clv_bob---" SUITE_CANARY "_890123456789012345678901aa"

#define TOKEN(token) "X-Claviger-Token: " token "\r\n"

/* ---- clients */

/* All rows, the hour left out: it may change in the middle of a test. */
#define ROWS                                                                                                 \
    "SELECT coalesce(group_concat(line, ', '), '') FROM (SELECT provider||' '||client||' '||key||' '||model" \
    "||' '||sum(requests)||' '||sum(input)||' '||sum(output)||' '||sum(cached)||' '||sum(written)||' '||"    \
    "sum(reasoning) AS line FROM usage GROUP BY provider, client, key, model ORDER BY model, client, key)"

static void put_line(struct buf *text, const char *name, const char *token)
{
    char hash[DIGEST_HEX_SIZE];

    ck_assert_int_eq(digest_sha256_hex(token, strlen(token), hash), 0);
    buf_printf(text, "%s:%s\n", name, hash);
}

static void add_clients(struct bench *b)
{
    struct buf text = {0};
    char path[160];

    snprintf(path, sizeof(path), "%s/clients", b->daemon.dir);
    put_line(&text, "alice", ALICE);
    put_line(&text, "bob", BOB);
    ck_assert_int_eq(util_write_file(path, text.data, text.len, 0644), 0);
    daemon_text(&b->daemon.top, "clients = \"%s\"", path);
    buf_fini(&text);
}

/* ---- what the provider says */

struct numbers {
    unsigned input;
    unsigned output;
    unsigned cached;
    unsigned written;   /* only Anthropic's */
    unsigned reasoning; /* only OpenAI's */
};

enum api { MESSAGES, CHAT, RESPONSES, APIS };

static const struct {
    const char *target;
    const char *provider;
    const char *model;
} apis[APIS] = {{"/anthropic/v1/messages", "anthropic", "claude-x-20260101"},
                {"/openai/v1/chat/completions", "openai", "gpt-x"},
                {"/openai/v1/responses", "openai", "gpt-y"}};

#define FILLER "a text with \\\"usage\\\": {\\\"input_tokens\\\": 99999} in it, and \\u00fcml\\u00e4uts \\\\"

static void put_whole(struct buf *out, enum api api, const struct numbers *n)
{
    const char *model = apis[api].model;

    if (api == MESSAGES)
        buf_printf(out,
                   "{\"id\":\"msg_1\",\"content\":[{\"type\":\"text\",\"text\":\"" FILLER
                   "\"}],\"model\":\"%s\","
                   "\"usage\":{\"input_tokens\":%u,\"cache_creation_input_tokens\":%u,"
                   "\"cache_read_input_tokens\":%u,\"output_tokens\":%u}}",
                   model, n->input, n->written, n->cached, n->output);
    else if (api == CHAT)
        buf_printf(out,
                   "{\"model\": \"%s\", \"choices\": [{\"message\": {\"content\": \"" FILLER
                   "\"}}],\n \"usage\": "
                   "{\"prompt_tokens\": %u, \"completion_tokens\": %u, \"prompt_tokens_details\": "
                   "{\"cached_tokens\": %u}, \"completion_tokens_details\": {\"reasoning_tokens\": %u}}}\n",
                   model, n->input, n->output, n->cached, n->reasoning);
    else
        buf_printf(out,
                   "{\"object\":\"response\",\"model\":\"%s\",\"output\":[{\"content\":[{\"text\":\"" FILLER
                   "\"}]}],\"usage\":{\"input_tokens\":%u,\"input_tokens_details\":{\"cached_tokens\":%u},"
                   "\"output_tokens\":%u,\"output_tokens_details\":{\"reasoning_tokens\":%u}}}",
                   model, n->input, n->cached, n->output, n->reasoning);
}

static void put_events(struct buf *out, enum api api, const struct numbers *n)
{
    struct numbers zero = *n;
    struct buf text = {0};

    zero.output = 1;
    if (api == MESSAGES) {
        put_whole(&text, api, &zero);
        buf_printf(out, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":%s}\n\n",
                   text.data);
    } else if (api == RESPONSES) {
        put_whole(&text, api, n);
    }
    for (int i = 0; i < 5; i++)
        buf_puts(out, "event: delta\ndata: {\"type\":\"delta\",\"delta\":{\"text\":\"" FILLER "\"}}\n\n");
    if (api == MESSAGES)
        buf_printf(
            out,
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":%u}}\n\n"
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
            n->output);
    else if (api == RESPONSES)
        buf_printf(out, "data: {\"type\":\"response.completed\",\"response\":%s}\n\n", text.data);
    else
        buf_printf(out,
                   "data: {\"model\":\"%s\",\"choices\":[],\"usage\":{\"prompt_tokens\":%u,"
                   "\"completion_tokens\":%u,\"prompt_tokens_details\":{\"cached_tokens\":%u},"
                   "\"completion_tokens_details\":{\"reasoning_tokens\":%u}}}\n\ndata: [DONE]\n\n",
                   apis[api].model, n->input, n->output, n->cached, n->reasoning);
    buf_fini(&text);
}

static void compress_to(struct buf *out, const struct buf *text)
{
    static unsigned char room[65536];
    z_stream z = {.next_in = (unsigned char *)text->data,
                  .avail_in = (unsigned)text->len,
                  .next_out = room,
                  .avail_out = sizeof(room)};

    ck_assert_int_eq(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert_int_eq(deflate(&z, Z_FINISH), Z_STREAM_END);
    buf_append(out, room, z.total_out);
    deflateEnd(&z);
}

enum form { PLAIN, ZIPPED, STREAMED, STREAMED_ZIPPED, FORMS };

/* A whole response; pieces: in chunks of 1 to 7 bytes, so that events are cut anywhere, else in one. */
static void put_response(struct buf *out, enum api api, enum form form, bool pieces, const struct numbers *n)
{
    bool streamed = form == STREAMED || form == STREAMED_ZIPPED;
    bool zipped = form == ZIPPED || form == STREAMED_ZIPPED;
    struct buf text = {0};
    struct buf body = {0};

    (streamed ? put_events : put_whole)(&text, api, n);
    if (zipped)
        compress_to(&body, &text);
    else
        buf_append(&body, text.data, text.len);
    buf_printf(
        out,
        "HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%sTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        streamed ? "text/event-stream" : "application/json", zipped ? "Content-Encoding: gzip\r\n" : "");
    for (size_t at = 0, len; at < body.len; at += len) {
        len = pieces ? 1 + (at * 7 + 3) % 7 : body.len;
        if (len > body.len - at)
            len = body.len - at;
        buf_printf(out, "%zx\r\n", len);
        buf_append(out, body.data + at, len);
        buf_puts(out, "\r\n");
    }
    buf_puts(out, "0\r\n\r\n");
    buf_fini(&text);
    buf_fini(&body);
}

/* ---- the truth */

struct truth {
    unsigned requests;
    struct numbers sums;
};

static void add_row(struct buf *rows, enum api api, const char *client, const char *key,
                    const struct truth *t)
{
    buf_printf(rows, "%s%s %s %s %s %u %u %u %u %u %u", rows->len > 0 ? ", " : "", apis[api].provider, client,
               key, apis[api].model, t->requests, t->sums.input, t->sums.output, t->sums.cached,
               t->sums.written, t->sums.reasoning);
}

static void add_truth(struct truth *t, const struct numbers *n)
{
    t->requests++;
    t->sums.input += n->input;
    t->sums.output += n->output;
    t->sums.cached += n->cached;
    t->sums.written += n->written;
    t->sums.reasoning += n->reasoning;
}

#define PEOPLE  3
#define ANSWERS 8 /* of each API in each form */

/* Every API in every form, as one with a key of its own, alice and bob, over three workers. */
START_TEST(equal_the_fake)
{
    static const char *const who[] = {"Authorization: Bearer " OWN_KEY "\r\n", TOKEN(ALICE), TOKEN(BOB),
                                      TOKEN(ALICE) "Accept-Encoding: gzip\r\n"};
    static const unsigned whose[] = {0, 1, 2, 1};
    static const char *const names[PEOPLE] = {"", "alice", "bob"};
    struct truth truth[APIS][PEOPLE] = {0};
    struct buf responses[APIS * FORMS * ANSWERS] = {0};
    struct buf rows = {0};
    struct bench b;
    unsigned k = 0;

    bench_prepare(&b, &SUITE_APIS[0], KEY0, NULL);
    daemon_provider(&b.daemon, "openai", fake_url(b.fake), KEY1, NULL);
    add_clients(&b);
    b.daemon.workers = 3;
    daemon_start(&b.daemon);
    for (enum api api = 0; api < APIS; api++)
        for (enum form form = 0; form < FORMS; form++)
            for (unsigned i = 0; i < ANSWERS; i++, k++) {
                struct numbers n = {1000 + k, 10 + k, k, 0, 0};
                struct fake_answer answer = {.action = FAKE_RAW};

                *(api == MESSAGES ? &n.written : &n.reasoning) = k + 1;
                put_response(&responses[k], api, form, i >= 4, &n);
                answer.body = responses[k].data;
                answer.body_len = responses[k].len;
                fake_forget_rules(b.fake);
                fake_on_any(b.fake, &answer);
                post_to(&b, apis[api].target, who[i % 4], 200);
                add_truth(&truth[api][whose[i % 4]], &n);
            }
    for (enum api api = 0; api < APIS; api++)
        for (unsigned w = 0; w < PEOPLE; w++)
            add_row(&rows, api, names[w], w == 0 ? "byok" : api == MESSAGES ? HINT0 : HINT1, &truth[api][w]);
    expect_sql(&b, ROWS, rows.data);
    buf_fini(&rows);
    bench_close(&b);
    while (k > 0)
        buf_fini(&responses[--k]);
}
END_TEST

/* A small answer that would become a huge one comes as it is, and is not decoded to its end. */
START_TEST(bomb)
{
    struct fake_answer answer = {.headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"};
    struct buf text = {0};
    struct buf body = {0};
    struct bench b;

    buf_puts(&text, "{\"x\":\"");
    for (unsigned i = 0; i < 400000; i++)
        buf_puts(&text, "                                                ");
    buf_puts(&text, "\",\"model\":\"gpt-x\",\"usage\":{\"prompt_tokens\":1000000}}");
    compress_to(&body, &text);
    ck_assert_uint_lt(body.len, text.len / 500);
    open_plain(&b, 1, KEY0);
    fake_forget_rules(b.fake);
    answer.body = body.data;
    answer.body_len = body.len;
    fake_on_any(b.fake, &answer);
    post(&b, 1);
    fake_forget_rules(b.fake);
    fake_on_any(b.fake, &plain);
    post(&b, 1);
    expect_sums(&b, 1, 10, 3);
    bench_close(&b);
    buf_fini(&text);
    buf_fini(&body);
}
END_TEST

/* What was used last gets it, and what reports nothing is not counted. */
START_TEST(failover)
{
    static const struct fake_answer limited = {
        .status = 429,
        .headers = "Retry-After: 600\r\nContent-Type: application/json\r\n",
        .body = "{\"model\":\"gpt-x\",\"usage\":{\"prompt_tokens\":1000000}}"};
    static const struct fake_answer silent = {.headers = "Content-Type: application/json\r\n", .body = "{}"};
    struct bench b;

    open_plain(&b, 2, KEY0 " " KEY1);
    post(&b, 2);
    fake_forget_rules(b.fake);
    fake_on_key(b.fake, KEY0, &limited);
    fake_on_number(b.fake, 6, &silent);
    fake_on_any(b.fake, &plain);
    post(&b, 4); /* 3 and 4: failed over; 5; 6: nothing; 7 */
    expect_sql(&b, ROWS, "openai  " HINT0 " gpt-x 2 20 6 0 0 0, openai  " HINT1 " gpt-x 3 30 9 0 0 0");
    bench_close(&b);
}
END_TEST

/* ---- options */

START_TEST(off)
{
    struct bench b;

    bench_prepare(&b, &SUITE_APIS[1], KEY0, NULL);
    daemon_text(&b.daemon.top, "usage = false");
    daemon_start(&b.daemon);
    fake_on_any(b.fake, &plain);
    post(&b, 3);
    daemon_stop(&b.daemon);
    expect_sums(&b, 0, 0, 0);
    bench_close(&b);
}
END_TEST

START_TEST(old_rows)
{
    char sql[256];
    char none[8];
    struct bench b;
    long long now = (long long)time(NULL);

    bench_prepare(&b, &SUITE_APIS[1], KEY0, NULL);
    daemon_text(&b.daemon.top, "usage_days = 2");
    daemon_start(&b.daemon);
    daemon_stop(&b.daemon);
    snprintf(
        sql, sizeof(sql),
        "INSERT INTO usage(hour, provider, client, key, model) VALUES(%lld, 'p', '', '', 'new'), (%lld, 'p', "
        "'', '', 'old'), (0, 'p', '', '', 'ancient')",
        now - 2 * 86400 + 600, now - 2 * 86400 - 600);
    daemon_sql(&b.daemon, sql, none, sizeof(none));
    daemon_start(&b.daemon);
    expect_sql(&b, "SELECT group_concat(model) FROM usage", "new");
    bench_close(&b);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("usage");
    TCase *tc = suite_case(s, "usage", 90);

    tcase_add_test(tc, equal_the_fake);
    tcase_add_test(tc, bomb);
    tcase_add_test(tc, failover);
    tcase_add_test(tc, off);
    tcase_add_test(tc, old_rows);
    return suite_run(s);
}
