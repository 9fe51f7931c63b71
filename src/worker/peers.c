/*
 * peers: a hash table of client addresses with their connections counted. Called by the listener when it
 * accepts and when a connection is closed.
 */
#include "worker/peers.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define BUCKETS 4096

struct peer {
    struct peer *next;
    uint64_t address[2]; /* IPv6, or IPv4 as mapped into it */
    int64_t count;
};

struct peers {
    int64_t limit;
    uint64_t seed[2]; /* so that nobody can choose addresses that meet in one bucket */
    size_t count;
    struct peer *buckets[BUCKETS];
};

struct peers *peers_new(int64_t limit)
{
    struct peers *peers = calloc(1, sizeof *peers);
    if (peers == NULL)
        return NULL;
    peers->limit = limit;
    if (getrandom(peers->seed, sizeof peers->seed, 0) != (ssize_t)sizeof peers->seed)
        peers->seed[0] = (uint64_t)(uintptr_t)peers;
    return peers;
}

void peers_free(struct peers **peers)
{
    if (*peers == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while ((*peers)->buckets[i] != NULL) {
            struct peer *peer = (*peers)->buckets[i];
            (*peers)->buckets[i] = peer->next;
            free(peer);
        }
    free(*peers);
    *peers = NULL;
}

/* false: no address that could be counted. */
static bool read_address(const struct sockaddr_storage *addr, uint64_t out[2])
{
    struct in6_addr ip = {{{0}}};
    if (addr->ss_family == AF_INET6) {
        ip = ((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
        if (!IN6_IS_ADDR_V4MAPPED(
                &ip)) /* the other half is the client's own choice (RFC 4291 section 2.5.1) */
            memset(&ip.s6_addr[8], 0, 8);
    } else if (addr->ss_family == AF_INET) {
        ip.s6_addr[10] = ip.s6_addr[11] = 0xff;
        memcpy(&ip.s6_addr[12], &((const struct sockaddr_in *)(const void *)addr)->sin_addr, 4);
    } else {
        return false;
    }
    memcpy(out, &ip, 16);
    return true;
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

static struct peer **bucket_of(struct peers *peers, const uint64_t address[2])
{
    uint64_t hash = mix(mix(address[0] ^ peers->seed[0]) ^ address[1] ^ peers->seed[1]);
    return &peers->buckets[hash % BUCKETS];
}

bool peers_enter(struct peers *peers, const struct sockaddr_storage *addr, struct peer **peer)
{
    uint64_t address[2];
    *peer = NULL;
    if (!read_address(addr, address))
        return true;
    struct peer **bucket = bucket_of(peers, address);
    struct peer *at = *bucket;
    while (at != NULL && (at->address[0] != address[0] || at->address[1] != address[1]))
        at = at->next;
    if (at == NULL) {
        at = calloc(1, sizeof *at);
        if (at == NULL)
            return true;
        memcpy(at->address, address, sizeof address);
        at->next = *bucket;
        *bucket = at;
        peers->count++;
    }
    if (at->count >= peers->limit)
        return false;
    at->count++;
    *peer = at;
    return true;
}

void peers_leave(struct peers *peers, struct peer **peer)
{
    struct peer *gone = *peer;
    *peer = NULL;
    if (gone == NULL || --gone->count > 0)
        return;
    struct peer **at = bucket_of(peers, gone->address);
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    free(gone);
    peers->count--;
}

size_t peers_count(const struct peers *peers)
{
    return peers->count;
}

void peers_text(const struct sockaddr *addr, char out[PEERS_TEXT_SIZE])
{
    const void *ip = NULL;
    if (addr->sa_family == AF_INET)
        ip = &((const struct sockaddr_in *)(const void *)addr)->sin_addr;
    else if (addr->sa_family == AF_INET6)
        ip = &((const struct sockaddr_in6 *)(const void *)addr)->sin6_addr;
    if (ip == NULL || inet_ntop(addr->sa_family, ip, out, PEERS_TEXT_SIZE) == NULL)
        out[0] = '\0';
}
