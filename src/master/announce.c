/*
 * announce: owns the lines of a start. Called by the master; no key is part of them, only how many there are.
 */
#include "master/announce.h"

#include "base/log.h"
#include "core/credential.h"

#include <string.h>

/* Before an address that speaks no TLS while others do. */
static const char PLAIN[] = "plain:";

/* The base URL without its query, which could hold a secret; an invalid one could do so anywhere. */
static void announce_provider(const struct provider *p)
{
    const struct base_url *url = &p->base_url;
    if (!url->valid)
        log_warning("provider %s: its base_url %s: its requests get 502", p->name, url->reason);
    else if (p->key_count == 0)
        log_info("provider %s: %s -> %s%s, no keys: clients bring their own (BYOK)", p->name, p->route,
                 url->origin, url->path);
    else
        log_info("provider %s: %s -> %s%s, %zu key%s%s", p->name, p->route, url->origin, url->path,
                 p->key_count, p->key_count == 1 ? "" : "s", p->byok ? ", BYOK too" : "");
}

void announce_providers(const struct provider_list *providers)
{
    for (size_t i = 0; i < providers->count; i++)
        announce_provider(&providers->items[i]);
}

/* The host and port to type: an address that means "all" is not one to connect to. */
static void put_host(struct buf *out, const char *listen_text)
{
    static const char ANY4[] = "0.0.0.0:";
    static const char ANY6[] = "[::]:";
    if (strncmp(listen_text, ANY4, sizeof(ANY4) - 1) == 0)
        buf_printf(out, "127.0.0.1:%s", listen_text + sizeof(ANY4) - 1);
    else if (strncmp(listen_text, ANY6, sizeof(ANY6) - 1) == 0)
        buf_printf(out, "[::1]:%s", listen_text + sizeof(ANY6) - 1);
    else
        buf_puts(out, listen_text);
}

/* The first provider with keys, else the first. */
static const struct provider *choose_provider(const struct provider_list *providers)
{
    for (size_t i = 0; i < providers->count; i++) {
        if (providers->items[i].key_count > 0 && providers->items[i].base_url.valid)
            return &providers->items[i];
    }
    return providers->count > 0 ? &providers->items[0] : NULL;
}

void announce_example(struct buf *out, const struct conf *conf, const char *listen_text, bool tls)
{
    static const char UNIX[] = "unix:";
    const struct provider *p = choose_provider(&conf->providers);
    if (strncmp(listen_text, PLAIN, strlen(PLAIN)) == 0)
        listen_text += strlen(PLAIN);
    if (!p)
        return;
    bool is_unix = strncmp(listen_text, UNIX, sizeof(UNIX) - 1) == 0;
    buf_puts(out, "curl ");
    if (is_unix)
        buf_printf(out, "--unix-socket %s ", listen_text + sizeof(UNIX) - 1);
    if (p->type == PROVIDER_ANTHROPIC)
        buf_puts(out, "-H 'anthropic-version: 2023-06-01' ");
    if (p->key_count == 0)
        buf_printf(out, "-H '%s: %sYOUR-KEY' ", p->auth_header, p->auth_prefix);
    else if (conf->clients)
        buf_puts(out, "-H '" CREDENTIAL_TOKEN_HEADER ": YOUR-TOKEN' ");
    buf_puts(out, tls ? "https://" : "http://");
    if (is_unix)
        buf_puts(out, "localhost");
    else
        put_host(out, listen_text);
    /* A base_url may hold the version already. */
    const char *path = p->base_url.valid ? p->base_url.path : "";
    size_t len = strlen(path);
    bool versioned = len >= 3 && strcmp(path + len - 3, "/v1") == 0;
    buf_printf(out, "%s%s/models", strcmp(p->route, "/") == 0 ? "" : p->route, versioned ? "" : "/v1");
}

void announce_start(const struct generation *g, const char *version, const char *conf_file)
{
    struct buf example = {0};
    size_t workers = g->child_count - 1;
    log_info("clavigerd %s serves with %zu worker%s; configuration: %s", version, workers,
             workers == 1 ? "" : "s", conf_file ? conf_file : "built-in defaults");
    for (size_t i = 0; i < g->sockets.count; i++) {
        bool clients = i < g->sockets.listens;
        log_info("listening on %s for %s%s", g->sockets.entries[i].text,
                 clients ? "clients" : "health and metrics",
                 clients && g->conf->listens.items[i].tls ? " with TLS" : "");
    }
    if (g->conf->clients)
        log_info("clients: %zu token%s in %s; without one nobody uses the pools", g->conf->clients->count,
                 g->conf->clients->count == 1 ? "" : "s", g->conf->clients_file);
    announce_providers(&g->conf->providers);
    if (g->sockets.listens > 0)
        announce_example(&example, g->conf, g->sockets.entries[0].text, g->conf->listens.items[0].tls);
    if (example.len > 0 && !example.failed)
        log_info("try: %s", example.data);
    buf_fini(&example);
}
