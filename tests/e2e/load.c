/*
 * load: threads that send one request after the other. Called by tests that need the daemon to be busy.
 */
#include "e2e/load.h"

#define LOAD_MS 60000

static void note_time(struct load *load, int64_t begin_us)
{
    unsigned ms = (unsigned)((util_now_us() - begin_us) / 1000);
    unsigned slowest = atomic_load(&load->slowest_ms);

    while (ms > slowest && !atomic_compare_exchange_weak(&load->slowest_ms, &slowest, ms))
        continue;
}

static void *load_main(void *arg)
{
    struct load *load = arg;
    const struct http_request request = {.target = load->bench->api->target, .body = "{\"steady\":\"load\"}"};

    while (!atomic_load(&load->stop)) {
        int64_t begin_us = util_now_us();
        struct http_response r = {0};
        struct http_client client;
        bool ok = false;

        if (http_try_connect(&client, load->bench->daemon.port) == 0) {
            http_write_request(&client, &request);
            http_read(&client, &r);
            ok = r.clean && r.status == 200;
            http_response_fini(&r);
            http_close(&client);
        }
        if (ok)
            note_time(load, begin_us);
        atomic_fetch_add(ok ? &load->done : &load->failed, 1);
    }
    return NULL;
}

void load_begin(struct load *load, const struct bench *bench)
{
    *load = (struct load){.bench = bench};
    for (size_t i = 0; i < LOAD_THREADS; i++)
        ck_assert_int_eq(pthread_create(&load->threads[i], NULL, load_main, load), 0);
}

struct load_wait {
    struct load *load;
    unsigned count;
    unsigned lost;
};

static bool has_done(void *arg)
{
    const struct load_wait *w = arg;

    return atomic_load(&w->load->done) >= w->count || atomic_load(&w->load->failed) > w->lost;
}

void load_await(struct load *load, unsigned more, unsigned lost)
{
    struct load_wait w = {.load = load, .count = atomic_load(&load->done) + more, .lost = lost};

    ck_assert_msg(util_wait(has_done, &w, LOAD_MS), "the load does not come through");
    ck_assert_msg(atomic_load(&load->failed) <= lost, "%u of %u requests were lost",
                  atomic_load(&load->failed), atomic_load(&load->done));
}

void load_end(struct load *load, unsigned lost)
{
    atomic_store(&load->stop, true);
    for (size_t i = 0; i < LOAD_THREADS; i++)
        pthread_join(load->threads[i], NULL);
    load_await(load, 0, lost);
}
