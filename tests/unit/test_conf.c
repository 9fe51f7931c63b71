/*
 * test_conf: configuration files through conf_load(), as the daemon calls it. What is wrong with bad ones is
 * test_conf_bad's business.
 */
#include "conf_files.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <sys/un.h>

static struct conf *load_good(const char *text)
{
    struct buf errors = {0};
    struct conf *conf = load(text, true, &errors);

    ck_assert_msg(conf != NULL, "%s\nin\n%s", errors.data, text);
    ck_assert_uint_eq(errors.len, 0);
    buf_fini(&errors);
    return conf;
}

START_TEST(test_unreadable)
{
    struct buf errors = {0};
    char path[64];
    char *large = calloc(1, 1024 * 1024 + 1);

    snprintf(path, sizeof(path), "%s/none.conf", dir);
    ck_assert_ptr_null(conf_load(path, &errors));
    ck_assert(strncmp(errors.data, path, strlen(path)) == 0);
    ck_assert_ptr_nonnull(strstr(errors.data, "No such file"));

    buf_clear(&errors);
    ck_assert_ptr_null(conf_load(dir, &errors));
    ck_assert_ptr_nonnull(strstr(errors.data, "directory"));

    memset(large, '\n', 1024 * 1024 + 1);
    write_file("claviger.conf", large, 1024 * 1024 + 1, 0600);
    buf_clear(&errors);
    ck_assert_ptr_null(conf_load(file, &errors));
    ck_assert_ptr_nonnull(strstr(errors.data, "1 MiB"));

    write_file("claviger.conf", "\n\nuser = \"a\0b\"\n", 15, 0600);
    buf_clear(&errors);
    ck_assert_ptr_null(conf_load(file, &errors));
    ck_assert_ptr_nonnull(strstr(errors.data, ":3: "));
    free(large);
    buf_fini(&errors);
}
END_TEST

/* The example of the manual, every option set. */
static const char example[] =
    "listen       = {\"127.0.0.1:18080\", \"[::1]:18080\", # several\n"
    "                \"unix:/tmp/x.sock\"}                 // allowed\n"
    "admin_listen = {\"127.0.0.1:18081\"}\n"
    "workers      = 3\n"
    "user         = \"root\"\n"
    "state_db     = \"~/state.db\"\n"
    "pid_file     = \"~/claviger.pid\"\n"
    "control      = \"~/claviger.sock\"\n"
    "clients      = \"~/good.clients\"\n"
    "user_agent   = \"test agent/1\"\n"
    "watchdog     = 20s\n"
    "provider anthropic {\n"
    "    type     = anthropic # | openai\n"
    "    route    = \"/anthropic\"\n"
    "    base_url = \"https://api.anthropic.com\"\n"
    "    keys     = {\"file:~/good.keys\", /* a # in here */ \"env:TEST_CONF_KEYS\", \"sk-ant-literal\"}\n"
    "    byok     = true\n"
    "    on_401   = permanent\n"
    "    on_403   = pass\n"
    "    default_cooldown = 90s\n"
    "    max_cooldown     = 2h\n"
    "    connect_timeout  = 500ms\n"
    "    header_timeout   = 11m\n"
    "    idle_timeout     = 6m\n"
    "    ca_file          = \"~/ca.pem\"\n"
    "}\n"
    "provider \"local\" { type = custom route = /v1/local/ base_url = http://10.0.0.1:81/x insecure_http = "
    "yes dump = no\n"
    "    auth_header = \"Api-Key\" auth_prefix = \"Key \" error_shape = anthropic byok = off keys = "
    "'it\\'s#1' }\n"
    "log    { target = \"syslog\" format = json level = debug access = false }\n"
    "limits { request_body = 64M buffer_memory = 0 header_size = 8K connections = 77\n"
    "connections_per_peer = 7 body_rate = 2K body_window = 1500ms\n"
    "         head_timeout = 1s client_timeout = 2m shutdown_timeout = 0 }\n"
    "tls    { certificate = \"\" key = \"\" client_ca = \"\" }\n"
    "dump   { dir = \"/tmp\" file_size = 3K dir_size = 5M }\n"
    "trace  { endpoint = \"http://127.0.0.1:4318/v1/traces\" share = 0.25 }\n";

static void check_example_main(const struct conf *c)
{
    const struct sockaddr_in *v4;

    ck_assert_str_eq(c->file, file);
    ck_assert_uint_eq(c->listens.count, 3);
    ck_assert_str_eq(c->listens.items[1].text, "[::1]:18080");
    v4 = (const void *)&c->listens.items[0].addr;
    ck_assert_uint_eq(c->listens.items[0].addr_len, sizeof(*v4));
    ck_assert_int_eq(v4->sin_family, AF_INET);
    ck_assert_uint_eq(ntohs(v4->sin_port), 18080);
    ck_assert_uint_eq(ntohl(v4->sin_addr.s_addr), INADDR_LOOPBACK);
    ck_assert_int_eq(c->listens.items[1].addr.ss_family, AF_INET6);
    ck_assert_int_eq(c->listens.items[2].addr.ss_family, AF_UNIX);
    ck_assert_str_eq(((const struct sockaddr_un *)(const void *)&c->listens.items[2].addr)->sun_path,
                     "/tmp/x.sock");
    ck_assert_uint_eq(c->admin_listens.count, 1);
    ck_assert_uint_eq(c->workers, 3);
    ck_assert_uint_eq(conf_worker_count(c), 3);
    ck_assert_str_eq(c->user, "root");
    ck_assert_str_eq(c->user_agent, "test agent/1");
    ck_assert_str_eq(strrchr(c->clients_file, '/'), "/good.clients");
    ck_assert_ptr_nonnull(c->clients);
    ck_assert_uint_eq(c->clients->count, 1);
    ck_assert_str_eq(c->clients->items[0].name, "alice");
    ck_assert(client_may_use(&c->clients->items[0], &c->providers.items[0]));
    ck_assert(!client_may_use(&c->clients->items[0], &c->providers.items[1]));
    ck_assert(!c->clients->items[0].byok);
    ck_assert_int_eq(c->watchdog_ms, 20000);
    ck_assert(!c->allow_anonymous);
    ck_assert_str_eq(c->log.target, "syslog");
    ck_assert_int_eq(c->log.format, LOG_FORMAT_JSON);
    ck_assert_int_eq(c->log.level, LOG_LEVEL_DEBUG);
    ck_assert(!c->log.access);
    ck_assert_int_eq(c->limits.request_body, 64 << 20);
    ck_assert_int_eq(c->limits.buffer_memory, 0);
    ck_assert_int_eq(c->limits.header_size, 8192);
    ck_assert_int_eq(c->limits.connections, 77);
    ck_assert_int_eq(c->limits.connections_per_peer, 7);
    ck_assert_int_eq(c->limits.body_rate, 2048);
    ck_assert_int_eq(c->limits.body_window_ms, 1500);
    ck_assert_int_eq(c->limits.head_timeout_ms, 1000);
    ck_assert_int_eq(c->limits.client_timeout_ms, 120000);
    ck_assert_int_eq(c->limits.shutdown_timeout_ms, 0);
}

static void check_example_providers(const struct conf *c)
{
    static const char *const keys[] = {"sk-ant-first-0123456789", "sk-ant-second-0123456789",
                                       "sk-env-one-SECRET", "sk-env-two-SECRET", "sk-ant-literal"};
    const struct provider *p = &c->providers.items[0];

    ck_assert_uint_eq(c->providers.count, 2);
    ck_assert_str_eq(p->name, "anthropic");
    ck_assert_int_eq(p->type, PROVIDER_ANTHROPIC);
    ck_assert_str_eq(p->route, "/anthropic");
    ck_assert(p->base_url.valid && p->base_url.https);
    ck_assert_uint_eq(p->key_count, COUNT(keys));
    for (size_t i = 0; i < COUNT(keys); i++)
        ck_assert_str_eq(secret_open(p->keys[i].secret), keys[i]);
    ck_assert(p->byok);
    ck_assert_int_eq(p->on_401, KEY_ACTION_PERMANENT);
    ck_assert_int_eq(p->on_403, KEY_ACTION_PASS);
    ck_assert_int_eq(p->default_cooldown_ms, 90000);
    ck_assert_int_eq(p->max_cooldown_ms, 7200000);
    ck_assert_int_eq(p->connect_timeout_ms, 500);
    ck_assert_int_eq(p->header_timeout_ms, 660000);
    ck_assert_int_eq(p->idle_timeout_ms, 360000);
    ck_assert_ptr_nonnull(strstr(p->ca_file, "/ca.pem"));
    ck_assert_str_eq(p->auth_header, "X-Api-Key");
    p = &c->providers.items[1];
    ck_assert_str_eq(p->name, "local");
    ck_assert_int_eq(p->type, PROVIDER_CUSTOM);
    ck_assert_str_eq(p->route, "/v1/local");
    ck_assert_str_eq(p->base_url_text, "http://10.0.0.1:81/x");
    ck_assert_str_eq(p->auth_header, "Api-Key");
    ck_assert_str_eq(p->auth_prefix, "Key ");
    ck_assert_int_eq(p->error_shape, ERROR_SHAPE_ANTHROPIC);
    ck_assert(!p->byok && p->insecure_http);
    ck_assert_uint_eq(p->key_count, 1);
    ck_assert_str_eq(secret_open(p->keys[0].secret), "it's#1");
    ck_assert_str_eq(p->ca_file, "");
}

START_TEST(test_example)
{
    struct buf errors = {0};
    struct conf *conf = NULL;

    /* Again and again in one process, as reloads do. */
    for (int i = 0; i < 3; i++) {
        conf = load(example, false, &errors);
        ck_assert_msg(conf != NULL, "%s", errors.data);
        check_example_main(conf);
        check_example_providers(conf);
        conf_free(&conf);
        ck_assert_ptr_null(conf);
        ck_assert_ptr_null(load("workers = x", false, &errors));
    }
    conf_free(&conf);
    buf_fini(&errors);
}
END_TEST

START_TEST(test_defaults)
{
    struct conf *c = load_good("# nothing\r\n");
    const struct provider *p = c->providers.items;

    ck_assert_str_eq(c->listens.items[0].text, "127.0.0.1:8080");
    ck_assert_str_eq(c->admin_listens.items[0].text, "127.0.0.1:8081");
    ck_assert_uint_eq(c->workers, 0);
    ck_assert_str_eq(c->user, "");
    ck_assert_str_eq(c->pid_file, RUNSTATEDIR "/claviger.pid");
    ck_assert_str_eq(c->control, RUNSTATEDIR "/claviger.sock");
    ck_assert_str_eq(c->user_agent, "aibridge");
    ck_assert_int_eq(c->watchdog_ms, 30000);
    ck_assert_str_eq(c->log.target, "stderr");
    ck_assert_int_eq(c->log.format, LOG_FORMAT_TEXT);
    ck_assert_int_eq(c->log.level, LOG_LEVEL_INFO);
    ck_assert(c->log.access);
    ck_assert_int_eq(c->limits.request_body, 32 << 20);
    ck_assert_int_eq(c->limits.buffer_memory, 256 << 10);
    ck_assert_int_eq(c->limits.header_size, 16 << 10);
    ck_assert_int_eq(c->limits.connections, 10000);
    ck_assert_int_eq(c->limits.connections_per_peer, 0);
    ck_assert_int_eq(c->limits.body_rate, 100);
    ck_assert_int_eq(c->limits.body_window_ms, 30000);
    ck_assert_int_eq(c->limits.head_timeout_ms, 10000);
    ck_assert_int_eq(c->limits.client_timeout_ms, 75000);
    ck_assert_int_eq(c->limits.shutdown_timeout_ms, 30000);
    ck_assert_uint_eq(c->providers.count, 3);
    ck_assert_str_eq(p[0].name, "anthropic");
    ck_assert_str_eq(p[1].route, "/openai");
    ck_assert_int_eq(p[2].type, PROVIDER_COPILOT);
    ck_assert(p[0].byok && p[0].on_401 == KEY_ACTION_PERMANENT && p[0].on_403 == KEY_ACTION_PERMANENT);
    ck_assert_int_eq(p[0].default_cooldown_ms, 60000);
    ck_assert_int_eq(p[0].max_cooldown_ms, 3600000);
    ck_assert_int_eq(p[0].connect_timeout_ms, 10000);
    ck_assert_int_eq(p[0].header_timeout_ms, 600000);
    ck_assert_int_eq(p[0].idle_timeout_ms, 300000);
    ck_assert_uint_eq(p[0].key_count + p[1].key_count, 0);
    conf_free(&c);
}
END_TEST

START_TEST(test_environment)
{
    struct buf errors = {0};
    struct conf *c;

    setenv("ANTHROPIC_API_KEY", "sk-ant-single", 1);
    setenv("OPENAI_API_KEYS", "sk-one, sk-two", 1);
    setenv("OPENAI_API_KEY", "sk-not-this", 1);
    c = load_good("");
    ck_assert_uint_eq(c->providers.items[0].key_count, 1);
    ck_assert_str_eq(secret_open(c->providers.items[0].keys[0].secret), "sk-ant-single");
    ck_assert_uint_eq(c->providers.items[1].key_count, 2);
    ck_assert_str_eq(secret_open(c->providers.items[1].keys[1].secret), "sk-two");
    ck_assert_uint_eq(c->providers.items[2].key_count, 0);
    conf_free(&c);

    /* Providers of the file take no key by themselves. */
    c = load_good("provider anthropic { }");
    ck_assert_uint_eq(c->providers.count, 1);
    ck_assert_uint_eq(c->providers.items[0].key_count, 0);
    conf_free(&c);

    setenv("ANTHROPIC_API_KEYS", "sk-SECRET,sk-SECRET", 1);
    ck_assert_ptr_null(load("", true, &errors));
    ck_assert_ptr_nonnull(strstr(errors.data, "ANTHROPIC_API_KEYS: key 2"));
    buf_clear(&errors);
    ck_assert_ptr_null(conf_load(NULL, &errors));
    ck_assert(strncmp(errors.data, "built-in defaults: ", 19) == 0);
    ck_assert_ptr_nonnull(strstr(errors.data, "ANTHROPIC_API_KEYS: key 2"));
    ck_assert_ptr_null(strstr(errors.data, "SECRET"));
    buf_fini(&errors);
}
END_TEST

/* What is meant to be taken. */
START_TEST(test_good)
{
    static const char *const texts[] = {
        "",
        "listen = {\"127.0.0.1:9\",}",
        "listen = 127.0.0.1:9",
        "listen = unix:/tmp/a//b",
        "listen = {'unix:/tmp/a b'}",
        "listen = {localhost:9 /* a */, // b\n# c\n\"[::1]:9\"}",
        "listen = {\"*:9\"} allow_anonymous = true",
        "listen = {\"127.8.9.10:9\"}",
        "admin_listen = {}",
        "admin_listen = {\"0.0.0.0:9\"}",
        "log{level=info}limits{header_size=1K}",
        "/* a */ workers /* b */ = /* c */ 128 /**/ // d",
        "workers = 1# e\nwatchdog = 1d/* f */user = ''",
        "user_agent = \"a \\\"quoted\\\" \\\\ name // # /* no comment */\"",
        "provider anthropic { keys = {} }",
        "provider copilot { keys = {} }",
        "provider copilot { byok = true }",
        "provider a { type = copilot }\nprovider b { type = copilot }",
        "provider anthropic { route = / }\nprovider openai { }",
        "provider openai { base_url = http://127.0.0.1:9 }",
        "provider openai { base_url = http://localhost:9/v1 }",
        "provider openai { base_url = \"http://[::1]:9\" }",
        "provider openai { base_url = http://10.0.0.1 insecure_http = true }",
        "provider openai { max_cooldown = 60s }",
        "limits { request_body = 0 header_size = 1M connections = 1000000 }",
        "limits { request_body = 1024G buffer_memory = 1G }",
        "limits { request_body = 10 }",
        "workers = 0 tls { } dump { } trace { } clients = ''",
        "clients = '~/good.clients' listen = {\"*:9\"}",
    };
    struct conf *conf = load_good(texts[_i]);

    ck_assert_int_lt(_i, (int)COUNT(texts));
    conf_free(&conf);
}
END_TEST
#define GOOD_TEXTS 29

/* An error in the file of clients is told at its place there; paths are known without that file. */
START_TEST(test_bad_clients)
{
    static const char text[] = "\nalice:clv_SECRET\nbob:0\n";
    struct buf errors = {0};
    struct conf *conf;
    char place[96];

    write_file("good.clients", text, strlen(text), 0600);
    ck_assert_ptr_null(load("clients = '~/good.clients'", true, &errors));
    snprintf(place, sizeof(place), "%s/good.clients:2: client alice: ", dir);
    ck_assert_msg(strncmp(errors.data, place, strlen(place)) == 0, "%s", errors.data);
    ck_assert_ptr_nonnull(strstr(errors.data, "/good.clients:3: client bob: "));
    ck_assert_ptr_null(strstr(errors.data, "SECRET"));
    buf_clear(&errors);
    conf = conf_load_paths(file, &errors);
    ck_assert_ptr_nonnull(conf);
    ck_assert_uint_eq(errors.len, 0);
    ck_assert_ptr_null(conf->clients);
    conf_free(&conf);
    buf_fini(&errors);
}
END_TEST

START_TEST(test_invalid_base_url)
{
    static const char *const urls[] = {"ftp://x.example",
                                       "https://",
                                       "",
                                       "https://u:SECRET@x.example/",
                                       "https://x.example/%zz",
                                       "https://x.example/%25",
                                       "http://x.example/#frag",
                                       "not a url"};
    char text[256];
    struct buf out = {0};
    struct conf *c;

    for (size_t i = 0; i < COUNT(urls); i++) {
        snprintf(text, sizeof(text), "provider openai { base_url = \"%s\" }\nprovider anthropic { }",
                 urls[i]);
        c = load_good(text);
        ck_assert_msg(!c->providers.items[0].base_url.valid, "%s", urls[i]);
        ck_assert(c->providers.items[1].base_url.valid);
        ck_assert_str_eq(c->providers.items[0].base_url_text, urls[i]);
        conf_print(c, &out);
        conf_free(&c);
    }
    ck_assert_ptr_null(strstr(out.data, "SECRET"));
    ck_assert_ptr_nonnull(strstr(out.data, "https://...@x.example/"));
    buf_fini(&out);
}
END_TEST

/* A base URL's user-info and query may be secrets. */
START_TEST(test_print_base_url)
{
    static const struct {
        const char *url;
        const char *printed;
    } cases[] = {
        {"https://a.example/b?key=SECRET", "\"https://a.example/b?...\""},
        {"https://a.example?", "\"https://a.example?...\""},
        {"https://u:SECRET@a.example/b", "\"https://...@a.example/b\""},
        {"https://u:SECRET@a.example/b?k=SECRET", "\"https://...@a.example/b?...\""},
        {"https://u:SECRET?@a.example", "\"https://...@a.example\""},
        {"SECRET@a", "\"...@a\""},
        {"https://a.example/b", "\"https://a.example/b\""},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf text = {0};
        struct buf out = {0};
        struct conf *conf;

        buf_printf(&text, "provider openai { base_url = \"%s\" }", cases[i].url);
        conf = load_good(text.data);
        conf_print(conf, &out);
        ck_assert_ptr_null(strstr(out.data, "SECRET"));
        ck_assert_msg(strstr(out.data, cases[i].printed) != NULL, "no %s in\n%s", cases[i].printed, out.data);
        conf_free(&conf);
        buf_fini(&text);
        buf_fini(&out);
    }
}
END_TEST

START_TEST(test_print)
{
    struct buf errors = {0};
    struct buf first = {0};
    struct buf second = {0};
    struct conf *c;
    char *at;

    c = load(example, false, &errors);
    ck_assert_ptr_nonnull(c);
    conf_print(c, &first);
    conf_free(&c);
    ck_assert_ptr_null(strstr(first.data, "SECRET"));
    ck_assert_ptr_null(strstr(first.data, "literal"));
    ck_assert_ptr_nonnull(strstr(first.data, "# keys: 5: \"sk-a...6789\", "));
    ck_assert_ptr_nonnull(strstr(first.data, "watchdog = 20s\n"));
    ck_assert_ptr_nonnull(strstr(first.data, "    request_body = 64M\n"));
    ck_assert_ptr_nonnull(strstr(first.data, "    buffer_memory = 0\n"));

    /* Read back it says the same, but for the keys; a pool that must have some gets one. */
    at = strstr(first.data, "byok = false");
    ck_assert_ptr_nonnull(at);
    memcpy(at, "byok = true ", 12);
    c = load(first.data, false, &errors);
    ck_assert_msg(c != NULL, "%s", errors.data);
    check_example_main(c);
    conf_print(c, &second);
    conf_free(&c);
    ck_assert_ptr_nonnull(strstr(second.data, "# keys: 0\n"));
    ck_assert_ptr_nonnull(strstr(second.data, "error_shape = anthropic\n"));
    ck_assert_ptr_null(strstr(strstr(second.data, "provider anthropic"), "auth_header = \"X-Api-Key\""));
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&errors);
}
END_TEST

START_TEST(test_too_many_keys)
{
    struct buf errors = {0};
    struct buf text = {0};
    struct conf *c;

    for (int p = 0; p < 2; p++) {
        buf_printf(&text, "provider p%d { type = openai\nkeys = {", p);
        for (int i = 0; i < 2048; i++)
            buf_printf(&text, "\"k%d-%d\",\n", p, i);
        buf_puts(&text, "} }\n");
    }
    c = load_good(text.data);
    ck_assert_uint_eq(c->providers.items[1].key_count, 2048);
    ck_assert_str_eq(secret_open(c->providers.items[1].keys[2047].secret), "k1-2047");
    conf_free(&c);
    buf_puts(&text, "provider q { type = openai keys = {one-more} }");
    ck_assert_ptr_null(load(text.data, true, &errors));
    ck_assert_ptr_nonnull(strstr(errors.data, ":4101: "));
    ck_assert_ptr_nonnull(strstr(errors.data, "4096"));
    buf_fini(&text);
    buf_fini(&errors);
}
END_TEST

START_TEST(test_worker_count)
{
    struct conf *c = load_good("workers = 0");
    cpu_set_t all;
    cpu_set_t one;

    ck_assert_int_eq(sched_getaffinity(0, sizeof(all), &all), 0);
    ck_assert_uint_eq(conf_worker_count(c), (unsigned)(CPU_COUNT(&all) > 128 ? 128 : CPU_COUNT(&all)));
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++) {
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    }
    ck_assert_int_eq(sched_setaffinity(0, sizeof(one), &one), 0);
    ck_assert_uint_eq(conf_worker_count(c), 1);
    ck_assert_int_eq(sched_setaffinity(0, sizeof(all), &all), 0);
    conf_free(&c);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("conf");
    TCase *tc = tcase_create("conf");

    tcase_add_checked_fixture(tc, make_files, remove_files);
    tcase_add_loop_test(tc, test_good, 0, GOOD_TEXTS);
    tcase_add_test(tc, test_unreadable);
    tcase_add_test(tc, test_example);
    tcase_add_test(tc, test_defaults);
    tcase_add_test(tc, test_environment);
    tcase_add_test(tc, test_bad_clients);
    tcase_add_test(tc, test_invalid_base_url);
    tcase_add_test(tc, test_print);
    tcase_add_test(tc, test_print_base_url);
    tcase_add_test(tc, test_too_many_keys);
    tcase_add_test(tc, test_worker_count);
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
