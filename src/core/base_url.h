/*
 * base_url: a provider's base URL, checked once, joined per request.
 */
#ifndef CLAVIGER_CORE_BASE_URL_H
#define CLAVIGER_CORE_BASE_URL_H

#include "base/arena.h"

#include <stdbool.h>
#include <stddef.h>

struct base_url {
    bool valid;
    const char *reason; /* static text when not valid: "has a fragment" */
    bool https;
    bool loopback; /* the host is localhost, 127.0.0.0/8 or ::1, by its text; nothing is resolved */
    char *origin;  /* "https://host:port" as written, without path; owned */
    char *host;    /* what goes into the Host field: "host" or "host:port", IPv6 in brackets; owned */
    char *path;    /* without its trailing slashes; "" for none; owned */
    char *query;   /* without "?"; NULL for none; owned */
};

/*
 * Checks text by SPEC.md 3.2's rules: an absolute http or https URL (RFC 3986) with a host, a port of 1 to
 * 65535 if any, no user-info, no fragment, no white space or control byte, no bad percent-escape in its path,
 * nor one that appears when the path is decoded once ("/%25" decodes to "/%"). *out is filled in any case;
 * valid says how it went. 0, or -1 when out of memory.
 */
int base_url_parse(const char *text, struct base_url *out);
void base_url_fini(struct base_url *url);

/*
 * origin + path + "/" + rest, with exactly one slash between path and rest; the client's bytes stay as they
 * are. rest is what follows the route in the client's target, its query included, and may be empty ("" joins
 * to the bare path, or "/" when there is none). A query of the base URL comes first, joined by "&" to the
 * client's. NULL when out of memory.
 */
char *base_url_join(const struct base_url *url, const char *rest, struct arena *arena);

#endif
