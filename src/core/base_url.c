/*
 * base_url: a provider's base URL. conf parses it once, the relay joins it with the client's path per
 * request. It resolves no names and never mends what it was given: what is not a clean URL is not valid.
 */
#include "core/base_url.h"

#include "core/ascii.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define IPV6_GROUPS 8

/* A part of the text. */
struct span {
    const char *start;
    size_t len;
};

struct parts {
    bool https;
    bool loopback;
    struct span origin; /* scheme and authority */
    struct span host;   /* the authority; an empty port is left out */
    struct span path;   /* without its trailing slashes */
    struct span query;  /* start is NULL when there is none */
};

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

static bool equals_nocase(const struct span *s, const char *word)
{
    size_t i;

    for (i = 0; i < s->len && word[i] != '\0'; i++) {
        char c = s->start[i];

        if (c >= 'A' && c <= 'Z')
            c = (char)(c + ('a' - 'A'));
        if (c != word[i])
            return false;
    }
    return i == s->len && word[i] == '\0';
}

/* The byte at s[*i], decoded when it is a good percent-escape, and *i behind it; -1 for a bad escape. */
static int decoded_byte(const char *s, size_t len, size_t *i)
{
    unsigned char byte = (unsigned char)s[*i];
    int high;
    int low;

    if (byte != '%') {
        (*i)++;
        return byte;
    }
    if (len - *i < 3)
        return -1;
    high = ascii_hex_value(s[*i + 1]);
    low = ascii_hex_value(s[*i + 2]);
    if (high < 0 || low < 0)
        return -1;
    *i += 3;
    return high * 16 + low;
}

static bool escapes_are_good(const struct span *s)
{
    for (size_t i = 0; i < s->len;) {
        if (decoded_byte(s->start, s->len, &i) < 0)
            return false;
    }
    return true;
}

/* Whether the escapes are good too that appear once the (good) ones of the text are decoded. */
static bool decoded_escapes_are_good(const struct span *s)
{
    int digits_due = 0;

    for (size_t i = 0; i < s->len;) {
        int byte = decoded_byte(s->start, s->len, &i);

        if (digits_due > 0) {
            if (ascii_hex_value((char)byte) < 0)
                return false;
            digits_due--;
        } else if (byte == '%') {
            digits_due = 2;
        }
    }
    return digits_due == 0;
}

/* RFC 3986 sections 3.3 and 3.4. Brackets are allowed in a query too, where they are common. */
static bool has_only(const struct span *s, const char *punctuation)
{
    for (size_t i = 0; i < s->len; i++) {
        if (!ascii_is_alnum(s->start[i]) && !is_one_of(s->start[i], punctuation))
            return false;
    }
    return true;
}

/* Four decimal numbers of 0 to 255 without leading zeros (RFC 3986 section 3.2.2). */
static bool parse_ipv4(const struct span *s, unsigned char out[4])
{
    size_t i = 0;

    for (int part = 0; part < 4; part++) {
        size_t start;
        int value = 0;

        if (part > 0 && (i >= s->len || s->start[i++] != '.'))
            return false;
        for (start = i; i < s->len && i - start < 4 && s->start[i] >= '0' && s->start[i] <= '9'; i++)
            value = value * 10 + (s->start[i] - '0');
        if (i == start || value > 255 || (s->start[start] == '0' && i - start > 1))
            return false;
        out[part] = (unsigned char)value;
    }
    return i == s->len;
}

/* The text between the brackets, by RFC 4291 section 2.2; zones are not supported. */
static bool parse_ipv6(const struct span *s, unsigned groups[IPV6_GROUPS])
{
    unsigned char v4[4];
    size_t count = 0;
    size_t gap = SIZE_MAX; /* where "::" stands */
    size_t i = 0;

    if (s->len >= 2 && s->start[0] == ':' && s->start[1] == ':') {
        gap = 0;
        i = 2;
    }
    while (i < s->len) {
        struct span rest = {s->start + i, s->len - i};
        unsigned value = 0;
        size_t start = i;

        if (count + 2 <= IPV6_GROUPS && parse_ipv4(&rest, v4)) {
            groups[count++] = v4[0] * 256U + v4[1];
            groups[count++] = v4[2] * 256U + v4[3];
            break;
        }
        for (; i < s->len && i - start < 4 && ascii_hex_value(s->start[i]) >= 0; i++)
            value = value * 16 + (unsigned)ascii_hex_value(s->start[i]);
        if (i == start || count == IPV6_GROUPS)
            return false;
        groups[count++] = value;
        if (i == s->len)
            break;
        if (s->start[i++] != ':' || i == s->len)
            return false;
        if (s->start[i] == ':') {
            if (gap != SIZE_MAX)
                return false;
            gap = count;
            i++;
        }
    }
    if (gap == SIZE_MAX)
        return count == IPV6_GROUPS;
    if (count == IPV6_GROUPS)
        return false;
    memmove(groups + IPV6_GROUPS - (count - gap), groups + gap, (count - gap) * sizeof(groups[0]));
    for (size_t zero = gap; zero < IPV6_GROUPS - (count - gap); zero++)
        groups[zero] = 0;
    return true;
}

static bool ipv6_is_loopback(const unsigned groups[IPV6_GROUPS])
{
    for (int i = 0; i < IPV6_GROUPS - 1; i++) {
        if (groups[i] != 0)
            return false;
    }
    return groups[IPV6_GROUPS - 1] == 1;
}

static bool port_is_good(const struct span *port)
{
    unsigned value = 0;

    for (size_t i = 0; i < port->len; i++) {
        if (port->start[i] < '0' || port->start[i] > '9')
            return false;
        value = value * 10 + (unsigned)(port->start[i] - '0');
        if (value > 65535)
            return false;
    }
    return port->len == 0 || value > 0;
}

/* Returns the fault, or NULL. */
static const char *check_authority(const struct span *authority, struct parts *out)
{
    struct span host = *authority;
    struct span port = {authority->start + authority->len, 0};
    unsigned groups[IPV6_GROUPS];
    unsigned char v4[4];
    const char *end;

    if (memchr(authority->start, '@', authority->len) != NULL)
        return "has user-info";
    if (host.len > 0 && host.start[0] == '[') {
        end = memchr(host.start, ']', host.len);
        if (end == NULL)
            return "has a bad IPv6 address";
        host.start++;
        host.len = (size_t)(end - host.start);
        if (!parse_ipv6(&host, groups))
            return "has a bad IPv6 address";
        out->loopback = ipv6_is_loopback(groups);
        end++;
        if (end < port.start && *end != ':')
            return "has a bad port";
    } else {
        end = memchr(host.start, ':', host.len);
        if (end == NULL)
            end = port.start;
        host.len = (size_t)(end - host.start);
        if (host.len == 0)
            return "has no host";
        if (!has_only(&host, "-._~"))
            return "has a bad host";
        out->loopback = equals_nocase(&host, "localhost") || (parse_ipv4(&host, v4) && v4[0] == 127);
    }
    if (end < port.start) {
        port.len = (size_t)(port.start - end) - 1;
        port.start = end + 1;
    }
    if (!port_is_good(&port))
        return "has a bad port";
    out->host.start = authority->start;
    out->host.len = port.len > 0 ? authority->len : (size_t)(end - authority->start);
    return NULL;
}

static const char *check_path_and_query(const char *path, struct parts *out)
{
    const char *query = strchr(path, '?');

    out->path.start = path;
    out->path.len = query != NULL ? (size_t)(query - path) : strlen(path);
    if (!escapes_are_good(&out->path))
        return "has a bad percent-escape in its path";
    if (!decoded_escapes_are_good(&out->path))
        return "has a path with a bad percent-escape once decoded";
    if (!has_only(&out->path, "/%-._~!$&'()*+,;=:@"))
        return "has a character in its path that must be percent-encoded";
    while (out->path.len > 0 && path[out->path.len - 1] == '/')
        out->path.len--;

    out->query.start = NULL;
    out->query.len = 0;
    if (query != NULL && query[1] != '\0') {
        out->query.start = query + 1;
        out->query.len = strlen(query + 1);
        if (!escapes_are_good(&out->query))
            return "has a bad percent-escape in its query";
        if (!has_only(&out->query, "/?%-._~!$&'()*+,;=:@[]"))
            return "has a character in its query that must be percent-encoded";
    }
    return NULL;
}

static const char *check(const char *text, struct parts *out)
{
    struct span scheme = {text, strcspn(text, ":/?#")};
    struct span authority;
    const char *fault;

    if (*text == '\0')
        return "is empty";
    for (const char *p = text; *p != '\0'; p++) {
        if ((unsigned char)*p <= ' ' || *p == 0x7f)
            return "has white space or a control byte";
    }
    if (strncmp(text + scheme.len, "://", 3) != 0)
        return "is not an absolute http or https URL";
    out->https = equals_nocase(&scheme, "https");
    if (!out->https && !equals_nocase(&scheme, "http"))
        return "is neither http nor https";
    if (strchr(text, '#') != NULL)
        return "has a fragment";
    authority.start = text + scheme.len + 3;
    authority.len = strcspn(authority.start, "/?");
    if (authority.len == 0)
        return "has no host";
    fault = check_authority(&authority, out);
    if (fault != NULL)
        return fault;
    out->origin.start = text;
    out->origin.len = (size_t)(out->host.start - text) + out->host.len;
    return check_path_and_query(authority.start + authority.len, out);
}

static char *copy(const struct span *s)
{
    char *text = malloc(s->len + 1);

    if (text != NULL) {
        memcpy(text, s->start, s->len);
        text[s->len] = '\0';
    }
    return text;
}

int base_url_parse(const char *text, struct base_url *out)
{
    struct parts parts;

    memset(out, 0, sizeof(*out));
    memset(&parts, 0, sizeof(parts));
    out->reason = check(text, &parts);
    if (out->reason != NULL)
        return 0;
    out->https = parts.https;
    out->loopback = parts.loopback;
    out->origin = copy(&parts.origin);
    out->host = copy(&parts.host);
    out->path = copy(&parts.path);
    if (parts.query.start != NULL)
        out->query = copy(&parts.query);
    if (out->origin == NULL || out->host == NULL || out->path == NULL ||
        (parts.query.start != NULL && out->query == NULL)) {
        base_url_fini(out);
        out->reason = "could not be stored: out of memory";
        return -1;
    }
    out->valid = true;
    return 0;
}

void base_url_fini(struct base_url *url)
{
    free(url->origin);
    free(url->host);
    free(url->path);
    free(url->query);
    memset(url, 0, sizeof(*url));
}

static char *append(char *at, const char *bytes, size_t len)
{
    memcpy(at, bytes, len);
    return at + len;
}

char *base_url_join(const struct base_url *url, const char *rest, struct arena *arena)
{
    size_t origin_len = strlen(url->origin);
    size_t path_len = strlen(url->path);
    size_t query_len = url->query != NULL ? strlen(url->query) : 0;
    size_t rest_path = strcspn(rest, "?");
    size_t rest_len = rest_path + strlen(rest + rest_path);
    char *joined = arena_alloc(arena, origin_len + path_len + query_len + rest_len + sizeof("/?&"));
    char *at = joined;

    if (joined == NULL)
        return NULL;
    at = append(at, url->origin, origin_len);
    at = append(at, url->path, path_len);
    if (rest[0] != '/' && (rest_path > 0 || path_len == 0))
        *at++ = '/';
    at = append(at, rest, rest_path);
    if (url->query != NULL) {
        *at++ = '?';
        at = append(at, url->query, query_len);
        if (rest_len > rest_path + 1) {
            *at++ = '&';
            at = append(at, rest + rest_path + 1, rest_len - rest_path - 1);
        }
    } else {
        at = append(at, rest + rest_path, rest_len - rest_path);
    }
    *at = '\0';
    return joined;
}
