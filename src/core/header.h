/*
 * header: an ordered list of HTTP header fields and the rules about which of them travel.
 *
 * The list borrows its strings: they live as long as the request that they belong to (the connection's memory
 * or the request's arena). Names compare without regard to ASCII case (RFC 9110 section 5.1).
 */
#ifndef CLAVIGER_CORE_HEADER_H
#define CLAVIGER_CORE_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct header {
    const char *name;  /* NUL-terminated */
    const char *value; /* NUL-terminated, without surrounding white space */
    uint32_t name_len;
    uint32_t value_len;
};

/* A zeroed struct is an empty list. */
struct header_list {
    struct header *items; /* owned array of borrowed strings */
    size_t count;
    size_t cap;
};

void header_list_fini(struct header_list *list);

/* Forgets the fields, keeps the array. */
void header_list_clear(struct header_list *list);

/* Adds a field at the end. 0, or -1 when out of memory. */
int header_add(struct header_list *list, const char *name, size_t name_len, const char *value,
               size_t value_len);

/* The first field of that name, or NULL. */
const struct header *header_find(const struct header_list *list, const char *name);

/* How many fields have that name. */
size_t header_count(const struct header_list *list, const char *name);

/* Removes every field of that name, keeping the order of the others; returns how many. */
size_t header_remove(struct header_list *list, const char *name);

/* Whether the len bytes of two names are the same, without regard to case. */
bool header_same_name(const char *a, const char *b, size_t len);

/* Whether a field's name is `name`, without regard to case. Inline: most are of another length than a name
 * that the compiler knows. */
static inline bool header_is(const struct header *h, const char *name)
{
    size_t len = strlen(name);
    return h->name_len == len && header_same_name(h->name, name, len);
}

/* Whether a comma-separated value (RFC 9110 section 5.6.1) has the token, without regard to case. */
bool header_value_has_token(const char *value, const char *token);

/* Whether name is a token of RFC 9110 section 5.6.2: not empty, only token characters. */
bool header_name_is_token(const char *name, size_t len);

/* Whether a field value holds only what RFC 9110 section 5.5 allows: visible characters, space, tab and bytes
 * from 0x80 on. */
bool header_value_is_clean(const char *value, size_t len);

/* Whether name is hop-by-hop by itself: Connection, Keep-Alive, Proxy-Authenticate, Proxy-Authorization,
 * Proxy-Connection, TE, Trailer, Transfer-Encoding, Upgrade (RFC 9110 section 7.6.1). */
bool header_is_hop_by_hop(const char *name);

/*
 * Copies to `out` what may travel on: every field but the hop-by-hop ones, those that a Connection field of
 * the list names, and Content-Length (each hop sets its own). A Connection field cannot remove the fields
 * that the proxy itself sets or that carry meaning for it: X-Forwarded-*, Host, User-Agent, Accept-Encoding
 * and, in `protect` (a NULL-terminated array, or NULL), the credential headers. 0, or -1 when out of memory.
 */
int header_copy_end_to_end(const struct header_list *in, const char *const *protect, struct header_list *out);

/*
 * Content-Length as RFC 9110 section 8.6 writes it: plain digits. Returns true and the number; false when it
 * is anything else (a sign, white space inside, empty, over INT64_MAX, a list).
 */
bool header_parse_content_length(const char *value, int64_t *out);

#endif
