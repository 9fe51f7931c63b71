/*
 * Requests through relay with clients, an upstream, a clock and memory that do what the input says. What must
 * hold: the bytes that arrive are those that were sent, in their order; no key is tried twice for a request
 * and no request is sent again without a key failure; and whatever has happened, once everybody goes on,
 * every request ends (nobody waits for a call that never comes).
 */
#include "fuzz/fuzz.h"
#include "unit/relay_world.h"

#define CLIENTS 3
#define LIMIT   300000 /* of a request body */

struct client {
    struct relay *relay; /* NULL = none */
    struct header_list headers;
    bool own;       /* it brings its own credential */
    int64_t length; /* of the body; -1 = none, -2 = chunked */
    size_t sent;
    bool ended;
    bool held; /* may not send before writable() */
    bool answered;
    bool reads; /* may read: after the answer, and after readable() */
    bool plain; /* the body is as the upstream sent it */
    size_t got;
    int starts;
    const struct secret *tried[3];
};

static struct client clients[CLIENTS];
static int starts_seen;

/* Byte number i of every body. */
static char byte_at(size_t i)
{
    return (char)('a' + i % 23 + i / 65536 % 3);
}

static void make_bytes(char *out, size_t from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = byte_at(from + i);
}

static void check_bytes(const char *data, size_t from, size_t len)
{
    for (size_t i = 0; i < len; i++)
        FUZZ_MUST(data[i] == byte_at(from + i));
}

/* ---- what the relay says to the client */

static void on_answer(void *arg)
{
    struct client *c = arg;
    FUZZ_MUST(!c->answered && relay_answered(c->relay));
    c->answered = true;
    c->reads = true;
}

static void on_readable(void *arg)
{
    struct client *c = arg;
    FUZZ_MUST(c->answered && !c->reads);
    c->reads = true;
}

static void on_writable(void *arg)
{
    struct client *c = arg;
    c->held = false;
}

static const struct relay_client ops = {on_answer, on_readable, on_writable};

/* After each call of the client's own: an answer is seen without a callback then. */
static void look(struct client *c)
{
    if (c->answered || !relay_answered(c->relay))
        return;
    c->answered = true;
    c->reads = true;
}

/* ---- the client's doing */

static void finish(struct client *c, bool complete)
{
    relay_finish(&c->relay, complete);
    FUZZ_MUST(c->relay == NULL);
    header_list_fini(&c->headers);
    *c = (struct client){0};
}

static void add(struct client *c, const char *name, const char *value)
{
    FUZZ_MUST(header_add(&c->headers, name, strlen(name), value, strlen(value)) == 0);
}

static void begin(struct client *c, struct fuzz_reader *reader)
{
    static const char *const methods[] = {"GET", "POST", "HEAD", "DELETE"};
    static const char *const targets[] = {"/openai/v1/x?q", "/openai", "/openai/a/b", "/other"};
    static const char *const credentials[] = {NULL, "Bearer own", "Bearer claviger", "Bearer clv_unknown"};
    static const int64_t lengths[] = {-1, -2, 0, 1, 3000, 70000, 250000, LIMIT + 1};
    unsigned how = fuzz_byte(reader);
    unsigned more = fuzz_byte(reader);
    const char *credential = credentials[more & 3];
    struct relay_request request = {
        .method = methods[how & 3],
        .target = targets[how >> 2 & 3],
        .headers = &c->headers,
        .peer = more & 4 ? "127.0.0.1" : NULL,
        .host = "gateway",
        .arena = &world.arena,
    };

    c->length = lengths[how >> 4 & 7];
    request.framing = (struct http_framing){.has_body = c->length != -1,
                                            .chunked = c->length == -2,
                                            .content_length = c->length < 0 ? -1 : c->length};
    add(c, "Host", "gateway");
    if (credential != NULL)
        add(c, "Authorization", credential);
    c->own = world.provider.byok && credential != NULL && strcmp(credential, "Bearer own") == 0;
    if (more & 8)
        add(c, "Accept-Encoding", "identity");
    if (more & 16)
        add(c, "Connection", "Authorization, X-Forwarded-For");
    if (more & 32)
        c->relay =
            relay_refuse(world.relays, &request, (enum reply_code)(how % REPLY_CODES), "refused", &ops, c);
    else
        c->relay = relay_new(world.relays, &request, &ops, c);
    FUZZ_MUST(c->relay != NULL);
    look(c);
}

static void send_body(struct client *c, size_t len)
{
    static char block[65536];
    size_t taken;

    if (c->ended || c->held)
        return;
    if (len > sizeof(block))
        len = sizeof(block);
    if (c->length == -1)
        len = 0;
    else if (c->length >= 0 && len > (size_t)c->length - c->sent)
        len = (size_t)c->length - c->sent;
    if (len == 0)
        return;
    make_bytes(block, c->sent, len);
    taken = relay_body(c->relay, block, len);
    FUZZ_MUST(taken <= len);
    c->sent += taken;
    c->held = taken < len;
    look(c);
}

static void end_body(struct client *c)
{
    if (c->ended || c->held || (c->length > 0 && c->sent < (size_t)c->length))
        return;
    c->ended = true;
    relay_body_end(c->relay);
    look(c);
}

static void take_whole(struct client *c, const struct relay_answer *answer)
{
    size_t len = strlen(answer->body);
    FUZZ_MUST(answer->content_length >= 0 || answer->bodiless);
    if (c->plain && header_find(answer->headers, REPLY_ERROR_HEADER) == NULL)
        check_bytes(answer->body, 0, len);
    relay_count_sent(c->relay, len);
    finish(c, true);
}

/* Reads once; the request is over when the answer is. */
static void read_answer(struct client *c, size_t max)
{
    static char out[65536];
    struct relay_answer answer;
    ssize_t n;

    if (!c->answered || !c->reads || max == 0)
        return;
    FUZZ_MUST(relay_answer(c->relay, &answer) && answer.status >= 200 && answer.status <= 999);
    if (header_find(answer.headers, REPLY_ERROR_HEADER) == NULL)
        FUZZ_MUST(c->starts > 0);
    if (answer.body != NULL && c->got == 0) {
        take_whole(c, &answer);
        return;
    }
    n = relay_read(c->relay, out, max < sizeof(out) ? max : sizeof(out));
    if (n == RELAY_READ_WAIT) {
        c->reads = false;
    } else if (n == RELAY_READ_END || n == RELAY_READ_CUT) {
        finish(c, n == RELAY_READ_END);
    } else {
        FUZZ_MUST(n > 0);
        if (c->plain)
            check_bytes(out, c->got, (size_t)n);
        c->got += (size_t)n;
    }
}

/* ---- the upstream's doing */

/* The client of a request; each start is looked at once. */
static struct client *client_of(const struct attempt *attempt)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        if (clients[i].relay == attempt->arg)
            return &clients[i];
    }
    return NULL;
}

static void check_spool(const struct client *c, const struct upstream_request *request)
{
    char block[4096];
    int64_t at = 0;
    ssize_t n;

    while ((n = spool_read(request->spool, at, block, sizeof(block))) > 0) {
        check_bytes(block, (size_t)at, (size_t)n);
        at += n;
    }
    FUZZ_MUST(n == 0 && at == request->spool->len && (size_t)at == c->sent);
}

/* Called when a start was counted. */
static void check_start(struct attempt *attempt)
{
    struct client *c = client_of(attempt);
    const struct secret *key = attempt->request.key;

    if (c == NULL) /* begun inside the call that begins the request: nothing is sent that early */
        fuzz_failed(__FILE__, __LINE__, "a request without a client");
    if (key == NULL) {
        FUZZ_MUST(c->starts == 0);
        FUZZ_MUST((header_find(attempt->request.headers, "Authorization") != NULL) == c->own);
    } else {
        FUZZ_MUST(!c->own && c->starts < 3 && header_find(attempt->request.headers, "Authorization") == NULL);
        for (int i = 0; i < c->starts; i++)
            FUZZ_MUST(c->tried[i] != key);
        c->tried[c->starts] = key;
    }
    c->starts++;
    if (attempt->request.body == UPSTREAM_BODY_SPOOL)
        check_spool(c, &attempt->request);
}

static void done(struct attempt *attempt, enum upstream_result result)
{
    if (!attempt->running)
        return;
    if (result == UPSTREAM_COMPLETE && !attempt->has_head)
        result = UPSTREAM_FAILED;
    attempt->running = false;
    attempt->events.done(attempt->arg, result, result == UPSTREAM_COMPLETE ? NULL : "it went away");
}

static void give_head(struct attempt *attempt, unsigned how)
{
    static const int statuses[] = {200, 429, 401, 403, 500, 204, 304, 200};
    static const char *const delays[] = {"5", "0", "x", "99999999999999999999"};
    struct response_head head = {.status = statuses[how & 7], .complete = true, .content_length = -1};

    if (!attempt->running || attempt->has_head)
        return;
    if (head.status == 429)
        FUZZ_MUST(header_add(&head.headers, "Retry-After", 11, delays[how >> 3 & 3],
                             strlen(delays[how >> 3 & 3])) == 0);
    if (how & 32) {
        attempt->gzip = true;
        FUZZ_MUST(header_add(&head.headers, "Content-Encoding", 16, "gzip", 4) == 0);
    }
    if (how & 64)
        FUZZ_MUST(header_add(&head.headers, REPLY_ERROR_HEADER, strlen(REPLY_ERROR_HEADER), "forged", 6) ==
                  0);
    attempt->has_head = true;
    client_of(attempt)->plain = !attempt->gzip;
    if (!attempt->events.head(attempt->arg, &head))
        done(attempt, UPSTREAM_FAILED);
    response_head_fini(&head);
}

static void give_body(struct attempt *attempt, const char *data, size_t len)
{
    static char block[16384];

    if (!attempt->running || !attempt->has_head || attempt->paused || len == 0)
        return;
    if (len > sizeof(block))
        len = sizeof(block);
    if (attempt->gzip)
        memcpy(block, data, len);
    else
        make_bytes(block, attempt->sent, len);
    if (attempt->events.body(attempt->arg, block, len))
        attempt->sent += len;
    else
        attempt->paused = true;
}

static void take_upload(struct attempt *attempt, size_t max)
{
    static char out[16384];
    ssize_t n;

    if (!attempt->running || attempt->request.body != UPSTREAM_BODY_STREAM || attempt->uploaded ||
        attempt->upload_waits || max == 0)
        return;
    n = attempt->events.upload(attempt->arg, out, max < sizeof(out) ? max : sizeof(out));
    FUZZ_MUST(n >= 0 || n == UPSTREAM_UPLOAD_WAIT || n == UPSTREAM_UPLOAD_BROKEN);
    attempt->uploaded = n == 0;
    attempt->upload_waits = n == UPSTREAM_UPLOAD_WAIT;
    if (n > 0) {
        check_bytes(out, attempt->taken, (size_t)n);
        attempt->taken += (size_t)n;
    }
    if (n == 0)
        FUZZ_MUST(client_of(attempt)->sent == attempt->taken);
}

/* Looks at what was started since the last time. More than one may have begun in a turn. */
static void check_starts(void)
{
    for (size_t i = 0; i < WORLD_ATTEMPTS; i++) {
        if (world.attempts[i].running && world.attempts[i].number > starts_seen)
            check_start(&world.attempts[i]);
    }
    starts_seen = world.starts;
}

/* ---- the play */

static void act(struct fuzz_reader *reader)
{
    unsigned what = fuzz_byte(reader);
    struct client *c = &clients[(what >> 4) % CLIENTS];
    struct attempt *attempt = &world.attempts[(what >> 4) % CLIENTS];
    size_t amount = (size_t)fuzz_byte(reader) * 259 + 1;
    size_t len;
    const char *data;

    if (c->relay == NULL) {
        if ((what & 15) < 8)
            begin(c, reader);
        return;
    }
    switch (what & 15) {
    case 0:
    case 1:
        send_body(c, amount);
        break;
    case 2:
        end_body(c);
        break;
    case 3:
        relays_run(world.relays);
        break;
    case 4:
    case 5:
        give_head(attempt, fuzz_byte(reader));
        break;
    case 6:
        data = fuzz_bytes(reader, amount % 64, &len);
        give_body(attempt, data, len);
        break;
    case 7:
        if (!attempt->gzip)
            give_body(attempt, NULL, amount);
        break;
    case 8:
        done(attempt, (enum upstream_result)(amount % 3));
        break;
    case 9:
        take_upload(attempt, amount);
        break;
    case 10:
    case 11:
        read_answer(c, amount);
        break;
    case 12:
        finish(c, false);
        break;
    case 13:
        world.now.mono_ms += (int64_t)amount;
        world.now.real_ms += (int64_t)amount;
        break;
    case 14:
        world.refuse_start = !world.refuse_start;
        break;
    default:
        world.provider.byok = !world.provider.byok;
        break;
    }
}

static void go_on(void)
{
    for (size_t i = 0; i < CLIENTS; i++) {
        if (clients[i].relay == NULL)
            continue;
        if (clients[i].length >= 0)
            send_body(&clients[i], SIZE_MAX);
        end_body(&clients[i]);
    }
    check_starts();
    for (size_t i = 0; i < WORLD_ATTEMPTS; i++) {
        struct attempt *attempt = &world.attempts[i];
        take_upload(attempt, SIZE_MAX);
        give_head(attempt, 0);
        if (!attempt->paused)
            done(attempt, UPSTREAM_COMPLETE);
    }
    relays_run(world.relays);
    check_starts();
    for (size_t i = 0; i < CLIENTS; i++) {
        while (clients[i].relay != NULL && clients[i].answered && clients[i].reads)
            read_answer(&clients[i], SIZE_MAX);
    }
}

void fuzz_relay(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    size_t left = CLIENTS;
    unsigned how;

    fuzz_reader_init(&reader, data, size);
    memset(clients, 0, sizeof(clients));
    starts_seen = 0;
    world_init();
    world.conf.limits.request_body = LIMIT;
    world.conf.limits.buffer_memory = 65536;
    how = fuzz_byte(&reader);
    world.provider.on_401 = (enum key_action)(how % 3);
    world.provider.on_403 = (enum key_action)(how / 3 % 3);
    for (int steps = 0; reader.left > 0 && steps < 2000; steps++) {
        act(&reader);
        check_starts();
    }
    world.refuse_start = false;
    for (int turn = 0; turn < 2000 && left > 0; turn++) {
        go_on();
        left = relays_count(world.relays);
    }
    FUZZ_MUST(left == 0);
    world_fini();
    fuzz_reader_fini(&reader);
}
