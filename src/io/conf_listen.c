/*
 * conf_listen: listening addresses. Called by conf_option and conf. It binds nothing; the resolver is asked
 * for names alone, never for what is an address already.
 */
#include "io/conf_listen.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define UNIX_PREFIX  "unix:"
#define PLAIN_PREFIX "plain:"
#define HOST_SIZE    256

static int parse_unix(const char *path, struct conf_listen *out, struct buf *reason)
{
    struct sockaddr_un *sun = (struct sockaddr_un *)(void *)&out->addr;
    size_t len = strlen(path);

    if (path[0] != '/' || len == 1) {
        buf_puts(reason, "is no absolute path: write unix:/path/to/socket");
        return -1;
    }
    if (len >= sizeof(sun->sun_path)) {
        buf_printf(reason, "has a path over %zu bytes, which no socket can have: choose a shorter one",
                   sizeof(sun->sun_path) - 1);
        return -1;
    }
    sun->sun_family = AF_UNIX;
    memcpy(sun->sun_path, path, len + 1);
    out->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return 0;
}

/* 0 when it is no port. */
static in_port_t parse_port(const char *text)
{
    unsigned long port = 0;
    size_t len = strspn(text, "0123456789");

    if (len == 0 || len > 5 || text[len] != '\0')
        return 0;
    port = strtoul(text, NULL, 10);
    return port > 65535 ? 0 : (in_port_t)port;
}

static bool parse_numeric(const char *host, bool bracketed, in_port_t port, struct conf_listen *out)
{
    struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found;

    if (!bracketed) {
        struct sockaddr_in *sin = (struct sockaddr_in *)(void *)&out->addr;

        if (inet_pton(AF_INET, host, &sin->sin_addr) != 1)
            return false;
        sin->sin_family = AF_INET;
        sin->sin_port = htons(port);
        out->addr_len = sizeof(*sin);
        return true;
    }
    /* Not inet_pton(): a link-local address may have a zone, fe80::1%eth0. */
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)(void *)&out->addr;
    memcpy(sin6, found->ai_addr, sizeof(*sin6));
    sin6->sin6_port = htons(port);
    out->addr_len = sizeof(*sin6);
    freeaddrinfo(found);
    return true;
}

static int resolve(const char *host, const char *port, struct conf_listen *out, struct buf *reason)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    struct in_addr old_form;
    int error;

    /* The resolver takes 127.1 and 0x7f.1 for addresses; a reader would not. */
    if (inet_aton(host, &old_form) != 0) {
        buf_puts(reason, "has no IPv4 address: write four numbers from 0 to 255, as in 127.0.0.1:8080");
        return -1;
    }
    error = getaddrinfo(host, port, &hints, &found);
    if (error != 0) {
        buf_printf(reason, "has an unknown host (%s): write an address of this host", gai_strerror(error));
        return -1;
    }
    memcpy(&out->addr, found->ai_addr, found->ai_addrlen);
    out->addr_len = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* Splits HOST:PORT; *port points into text. */
static int split(const char *text, char host[HOST_SIZE], const char **port, bool *bracketed,
                 struct buf *reason)
{
    const char *start = text;
    const char *end;

    *bracketed = text[0] == '[';
    if (*bracketed) {
        start++;
        end = strchr(text, ']');
        *port = end == NULL || end[1] != ':' ? NULL : end + 2;
    } else {
        end = strrchr(text, ':');
        *port = end == NULL ? NULL : end + 1;
    }
    if (*port == NULL) {
        buf_puts(reason, "has no port: write HOST:PORT, [IPv6]:PORT or unix:/PATH");
        return -1;
    }
    size_t len = (size_t)(end - start);
    if (len == 0) {
        buf_puts(reason, "has no host: write 127.0.0.1:PORT, or *:PORT for all addresses of this host");
        return -1;
    }
    if (!*bracketed && memchr(start, ':', len) != NULL) {
        buf_puts(reason, "has several colons: put an IPv6 address in brackets, as in [::1]:8080");
        return -1;
    }
    if (len >= HOST_SIZE) {
        buf_puts(reason, "has too long a host: write an address of this host");
        return -1;
    }
    memcpy(host, start, len);
    host[len] = '\0';
    return 0;
}

static int parse_tcp(const char *text, struct conf_listen *out, struct buf *reason)
{
    char host[HOST_SIZE];
    const char *port_text;
    const char *numeric = host;
    bool bracketed;
    in_port_t port;

    if (split(text, host, &port_text, &bracketed, reason) < 0)
        return -1;
    port = parse_port(port_text);
    if (port == 0) {
        buf_puts(reason, "has no valid port: write one from 1 to 65535");
        return -1;
    }
    if (!bracketed && strcmp(host, "*") == 0)
        numeric = "0.0.0.0";
    else if (!bracketed && strcmp(host, "localhost") == 0)
        numeric = "127.0.0.1";
    if (parse_numeric(numeric, bracketed, port, out))
        return 0;
    if (bracketed) {
        buf_puts(reason, "has no IPv6 address in its brackets: write it as in [::1]:8080");
        return -1;
    }
    return resolve(host, port_text, out, reason);
}

int conf_listen_parse(const char *text, struct conf_listen *out, struct buf *reason)
{
    bool plain = strncmp(text, PLAIN_PREFIX, strlen(PLAIN_PREFIX)) == 0;
    const char *address = plain ? text + strlen(PLAIN_PREFIX) : text;
    int result;

    *out = (struct conf_listen){.plain = plain};
    if (strncmp(address, UNIX_PREFIX, strlen(UNIX_PREFIX)) == 0)
        result = parse_unix(address + strlen(UNIX_PREFIX), out, reason);
    else
        result = parse_tcp(address, out, reason);
    if (result == 0) {
        out->text = strdup(text);
        if (out->text != NULL)
            return 0;
        buf_puts(reason, "finds no memory: free some and try again");
    }
    *out = (struct conf_listen){0};
    return -1;
}

bool conf_listen_is_local(const struct conf_listen *listen)
{
    const void *addr = &listen->addr;

    if (listen->addr.ss_family == AF_INET) {
        const struct sockaddr_in *sin = addr;

        return ntohl(sin->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    if (listen->addr.ss_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)addr)->sin6_addr;

        return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == IN_LOOPBACKNET);
    }
    return true;
}

bool conf_listen_equal(const struct conf_listen *a, const struct conf_listen *b)
{
    return a->addr_len == b->addr_len && memcmp(&a->addr, &b->addr, a->addr_len) == 0;
}

void conf_listens_fini(struct conf_listens *listens)
{
    for (size_t i = 0; i < listens->count; i++)
        free(listens->items[i].text);
    free(listens->items);
    *listens = (struct conf_listens){0};
}
