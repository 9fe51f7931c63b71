/*
 * forwarded: the X-Forwarded-* fields, set on what goes to an upstream. Called by the relay after the fields
 * that travel were copied. It trusts and adds the peer, it does not judge what the client claims about the
 * hops before.
 */
#include "core/forwarded.h"

#include <string.h>

#define FOR_NAME   "X-Forwarded-For"
#define HOST_NAME  "X-Forwarded-Host"
#define PROTO_NAME "X-Forwarded-Proto"

static bool is_for(const struct header *h)
{
    return h->name_len == sizeof(FOR_NAME) - 1 && header_is(h, FOR_NAME);
}

static bool is_replaced(const struct header *h)
{
    switch (h->name_len) {
    case sizeof("Forwarded") - 1:
        return header_is(h, "Forwarded");
    case sizeof(FOR_NAME) - 1:
        return header_is(h, FOR_NAME);
    case sizeof(HOST_NAME) - 1:
        return header_is(h, HOST_NAME);
    case sizeof(PROTO_NAME) - 1:
        return header_is(h, PROTO_NAME);
    default:
        return false;
    }
}

/* The chain with the peer at its end. NULL when out of memory. */
static char *join_chain(const struct header_list *list, const char *address, struct arena *arena, size_t *len)
{
    size_t address_len = strlen(address);
    size_t size = address_len + 1;
    char *chain;
    char *at;

    for (size_t i = 0; i < list->count; i++) {
        if (is_for(&list->items[i]))
            size += list->items[i].value_len + sizeof(", ") - 1;
    }
    chain = arena_alloc(arena, size);
    if (chain == NULL)
        return NULL;
    at = chain;
    for (size_t i = 0; i < list->count; i++) {
        const struct header *h = &list->items[i];

        if (!is_for(h) || h->value_len == 0)
            continue;
        memcpy(at, h->value, h->value_len);
        at += h->value_len;
        *at++ = ',';
        *at++ = ' ';
    }
    memcpy(at, address, address_len + 1);
    *len = (size_t)(at - chain) + address_len;
    return chain;
}

static void drop_replaced(struct header_list *list)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (!is_replaced(&list->items[i]))
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

int forwarded_set(struct header_list *out, const struct forwarded_peer *peer, struct arena *arena)
{
    char *chain = NULL;
    char *host = NULL;
    size_t chain_len = 0;
    size_t host_len = 0;

    if (peer->address != NULL) {
        chain = join_chain(out, peer->address, arena, &chain_len);
        if (chain == NULL)
            return -1;
    }
    if (peer->host != NULL) {
        host_len = strlen(peer->host);
        host = arena_strndup(arena, peer->host, host_len);
        if (host == NULL)
            return -1;
    }
    drop_replaced(out);
    if (host != NULL && header_add(out, HOST_NAME, sizeof(HOST_NAME) - 1, host, host_len) != 0)
        return -1;
    if (header_add(out, PROTO_NAME, sizeof(PROTO_NAME) - 1, peer->https ? "https" : "http",
                   peer->https ? sizeof("https") - 1 : sizeof("http") - 1) != 0)
        return -1;
    if (chain != NULL && header_add(out, FOR_NAME, sizeof(FOR_NAME) - 1, chain, chain_len) != 0)
        return -1;
    return 0;
}
