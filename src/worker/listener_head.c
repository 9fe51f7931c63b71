/*
 * listener_head: what libmicrohttpd hands over as a request's head, read with suspicion. The rules themselves
 * are in core/http_rules; here is only what can be seen nowhere but in the library's own memory.
 */
#include "worker/listener_internal.h"

#include <string.h>

/*
 * libmicrohttpd 0.9.75 folds lines, takes a bare LF for a line end, ends a head at a line with an empty name,
 * and cuts values at a NUL. All of that leaves a mark: it parses in place, so in a clean head each name
 * begins two bytes (CR LF, overwritten by NULs) behind the end of the value before it, and two line ends
 * follow the last value. Other versions lay their memory out in other ways and are stricter by themselves.
 */
#define HEAD_IS_IN_PLACE (MHD_VERSION >= 0x00097500 && MHD_VERSION < 0x00097600)

struct plain_check {
    const char *expected; /* where the next name has to begin */
    bool plain;
};

static enum MHD_Result check_place(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                   const char *value, size_t value_len)
{
    struct plain_check *check = cls;
    (void)kind;
    if (name != check->expected || value == NULL || value < name + name_len + 1) {
        check->plain = false;
        return MHD_NO;
    }
    check->expected = value + value_len + 2;
    return MHD_YES;
}

bool listener_head_is_plain(struct MHD_Connection *mhd, const char *target_end, const char *version)
{
    if (!HEAD_IS_IN_PLACE)
        return true;
    if (version != target_end + 1) /* a NUL in the target */
        return false;
    struct plain_check check = {.expected = version + strlen(version) + 2, .plain = true};
    (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, check_place, &check);
    static const char two_ends[4] = {0};
    return check.plain && memcmp(check.expected - 2, two_ends, sizeof two_ends) == 0;
}

/* The library's table has an entry for each field, each cookie and each argument of the query, and it copies
 * Cookie fields. */
#define ENTRY_BYTES 80

static size_t count_char(const char *text, char c)
{
    size_t count = 0;
    for (; (text = strchr(text, c)) != NULL; text++)
        count++;
    return count;
}

size_t listener_head_memory(struct MHD_Connection *mhd, const char *target, const struct header_list *headers)
{
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t entries = headers->count + count_char(target, '&') + 1;
    size_t bytes = size != NULL ? size->header_size : 0;
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *field = &headers->items[i];
        if (!header_is(field, "Cookie"))
            continue;
        entries += count_char(field->value, ';') + 1;
        bytes += field->value_len + 1;
    }
    return bytes + entries * ENTRY_BYTES;
}

struct reading {
    struct header_list *headers;
    struct arena *arena;
    bool failed;
};

static enum MHD_Result read_field(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                  const char *value, size_t value_len)
{
    struct reading *reading = cls;
    (void)kind;
    if (value == NULL)
        value = "";
    size_t len = value_len;
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t'))
        len--;
    if (len < value_len) /* the library leaves white space at the end; its memory is not ours to change */
        value = arena_strndup(reading->arena, value, len);
    if (value == NULL || header_add(reading->headers, name, name_len, value, len) != 0) {
        reading->failed = true;
        return MHD_NO;
    }
    return MHD_YES;
}

int listener_read_headers(struct MHD_Connection *mhd, struct header_list *headers, struct arena *arena)
{
    struct reading reading = {.headers = headers, .arena = arena};
    (void)MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, read_field, &reading);
    return reading.failed ? -1 : 0;
}
