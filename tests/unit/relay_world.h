/*
 * relay_world: everything around relays, played by a test: an upstream, a store, a clock and a log. Included
 * by the tests of relay and by the fuzz target for it.
 */
#ifndef CLAVIGER_TESTS_RELAY_WORLD_H
#define CLAVIGER_TESTS_RELAY_WORLD_H

#include "io/dump.h"
#include "worker/relay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORLD_ATTEMPTS 16 /* at a time */

/* One upstream request, as upstream_start() was asked for it. Its strings live as long as the relay. */
struct attempt {
    struct upstream_request request;
    struct upstream_events events;
    void *arg;
    bool running;
    bool paused;       /* it got false for body bytes, and no resume since */
    bool upload_waits; /* the same for its upload */
    bool sent_all;     /* it needs the body no more */
    int number;        /* of all starts, from 1 */
    /* for who plays it */
    bool has_head;
    bool uploaded;
    bool gzip;
    size_t sent;
    size_t taken;
};

static struct {
    struct conf conf;
    struct provider provider;
    struct key keys[3];
    struct pool pool;
    struct relays *relays;
    struct arena arena;
    struct store_clock now;
    /* upstream */
    struct attempt attempts[WORLD_ATTEMPTS];
    struct attempt *attempt; /* the newest */
    int starts;
    int resumes;
    int aborts;
    int discards;
    bool refuse_start;
    /* store */
    int refreshes;
    int marks;
    int64_t cooldown_ms;
    /* client */
    int answers;
    int readables;
    int writables;
    /* log */
    int logged;
    int logged_status;
    unsigned logged_attempts;
    char logged_key[KEY_HINT_SIZE];
    char logged_error[32];
    uint64_t logged_in;
    uint64_t logged_out;
} world;

static void world_must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "relay_world: does not hold: %s\n", what);
    abort();
}

static struct attempt *world_start(void *upstream, const struct upstream_request *request,
                                   const struct upstream_events *events, void *arg)
{
    (void)upstream;
    if (world.refuse_start)
        return NULL;
    for (size_t i = 0; i < WORLD_ATTEMPTS; i++) {
        struct attempt *attempt = &world.attempts[i];
        if (attempt->running)
            continue;
        *attempt = (struct attempt){
            .request = *request, .events = *events, .arg = arg, .running = true, .number = world.starts + 1};
        world.attempt = attempt;
        world.starts++;
        return attempt;
    }
    return NULL;
}

static void world_resume(struct attempt *attempt)
{
    world_must(attempt->running, "only what runs is resumed");
    attempt->paused = false;
    attempt->upload_waits = false;
    world.resumes++;
}

static bool world_has_sent(const struct attempt *attempt)
{
    world_must(attempt->running, "only what runs is asked");
    return attempt->sent_all;
}

static void end_attempt(struct attempt **attempt, int *counter)
{
    if (*attempt == NULL)
        return;
    world_must((*attempt)->running, "an attempt ends once");
    (*attempt)->running = false;
    (*counter)++;
    *attempt = NULL;
}

static void world_abort(struct attempt **attempt)
{
    end_attempt(attempt, &world.aborts);
}

static void world_discard(struct attempt **attempt, struct dump_attempt **dump)
{
    dump_end(dump, NULL);
    end_attempt(attempt, &world.discards);
}

static void world_refresh(void *store, const struct store_clock *now)
{
    (void)store, (void)now;
    world.refreshes++;
}

static bool world_mark(void *store, size_t provider, size_t index, bool permanent, int64_t cooldown_ms,
                       int status, const struct store_clock *now)
{
    const struct mark what = {.permanent = permanent,
                              .until_ms = now->mono_ms + cooldown_ms,
                              .status = status};
    (void)store;
    world_must(provider == 0, "there is one provider");
    world.marks++;
    world.cooldown_ms = cooldown_ms;
    return key_mark(&world.pool.states[index], &what);
}

static void world_tell_time(void *arg, struct store_clock *now)
{
    (void)arg;
    *now = world.now;
}

static void world_take_log(void *arg, const struct access_record *record)
{
    (void)arg;
    world.logged++;
    world.logged_status = record->status;
    world.logged_attempts = record->attempts;
    snprintf(world.logged_key, sizeof world.logged_key, "%s", record->key != NULL ? record->key : "-");
    snprintf(world.logged_error, sizeof world.logged_error, "%s",
             record->error != NULL ? record->error : "-");
    world.logged_in = record->bytes_in;
    world.logged_out = record->bytes_out;
}

static void world_init(void)
{
    static const char *const secrets[] = {"sk-key-number-zero-0000", "sk-key-number-one-1111",
                                          "sk-key-number-two-2222"};
    memset(&world, 0, sizeof world);
    for (int i = 0; i < 3; i++) {
        world.keys[i].secret = secret_new(secrets[i], strlen(secrets[i]));
        key_hint(secrets[i], strlen(secrets[i]), world.keys[i].hint);
    }
    world.provider = (struct provider){
        .name = (char *)(uintptr_t) "openai",
        .type = PROVIDER_OPENAI,
        .route = (char *)(uintptr_t) "/openai",
        .auth_header = (char *)(uintptr_t) "Authorization",
        .auth_prefix = (char *)(uintptr_t) "Bearer ",
        .error_shape = ERROR_SHAPE_OPENAI,
        .keys = world.keys,
        .key_count = 3,
        .byok = true,
        .on_401 = KEY_ACTION_PERMANENT,
        .on_403 = KEY_ACTION_PERMANENT,
        .default_cooldown_ms = 60000,
        .max_cooldown_ms = 3600000,
    };
    world_must(base_url_parse("http://127.0.0.1:1/base", &world.provider.base_url) == 0, "memory");
    world.conf.providers = (struct provider_list){&world.provider, 1};
    world.conf.user_agent = (char *)(uintptr_t) "aibridge";
    world.conf.limits.request_body = 1000000;
    world.conf.limits.buffer_memory = 262144;
    world.now = (struct store_clock){.mono_ms = 1000000, .real_ms = 1700000000000};
    world_must(pool_init(&world.pool, "openai", world.keys, 3) == 0, "memory");
    const struct relay_env env = {
        .conf = &world.conf,
        .pools = &world.pool,
        .start = world_start,
        .resume = world_resume,
        .has_sent = world_has_sent,
        .abort = world_abort,
        .discard = world_discard,
        .refresh = world_refresh,
        .mark = world_mark,
        .clock = world_tell_time,
        .log = world_take_log,
    };
    world.relays = relays_new(&env);
    world_must(world.relays != NULL, "memory");
}

static void world_fini(void)
{
    world_must(relays_count(world.relays) == 0, "each relay is finished");
    for (size_t i = 0; i < WORLD_ATTEMPTS; i++)
        world_must(!world.attempts[i].running, "no attempt outlives its relay");
    relays_free(&world.relays);
    arena_fini(&world.arena);
    pool_fini(&world.pool);
    base_url_fini(&world.provider.base_url);
    for (int i = 0; i < 3; i++)
        secret_free(&world.keys[i].secret);
}

#endif
