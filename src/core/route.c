/*
 * route: from a request's raw target to a provider. The listener asks it before anything else looks at the
 * path. It changes no byte of the target.
 */
#include "core/route.h"

#include "core/ascii.h"

#include <string.h>

/* The byte that a recipient sees at p, and in *len how many bytes of the text it takes. A bad escape stands
 * for its percent sign. */
static int seen_byte(const char *p, size_t *len)
{
    int high;
    int low;

    *len = 1;
    if (*p != '%')
        return (unsigned char)*p;
    high = ascii_hex_value(p[1]);
    low = high < 0 ? -1 : ascii_hex_value(p[2]);
    if (low < 0)
        return '%';
    *len = 3;
    return high * 16 + low;
}

static bool is_control(int byte)
{
    return byte < 0x20 || byte == 0x7f;
}

bool route_target_is_safe(const char *target, const char **reason)
{
    const char *p = target;
    size_t dots = 0; /* of a segment that holds nothing else so far */
    bool only_dots = true;
    bool end;

    do {
        size_t len;
        int byte = seen_byte(p, &len);

        end = len == 1 && (byte == '\0' || byte == '?');
        if (end || byte == '/' || byte == '\\') {
            if (only_dots && (dots == 1 || dots == 2)) {
                *reason = "the path has a dot segment";
                return false;
            }
            dots = 0;
            only_dots = true;
        } else if (is_control(byte)) {
            *reason = "the path has a control byte";
            return false;
        } else if (byte == '.') {
            dots++;
        } else {
            only_dots = false;
        }
        if (!end)
            p += len;
    } while (!end);

    for (; *p != '\0'; p++) {
        if (is_control((unsigned char)*p)) {
            *reason = "the query has a control byte";
            return false;
        }
    }
    return true;
}

const struct provider *route_find(const struct provider_list *providers, const char *target,
                                  const char **rest)
{
    const struct provider *found = NULL;
    size_t found_len = 0;

    for (size_t i = 0; i < providers->count; i++) {
        const char *route = providers->items[i].route;
        size_t len = strlen(route);

        if (len == 1) /* "/" stands for no prefix at all: the slash belongs to the rest */
            len = 0;
        if (found != NULL && len <= found_len)
            continue;
        if (strncmp(target, route, len) != 0)
            continue;
        if (target[len] != '\0' && target[len] != '/' && target[len] != '?')
            continue;
        found = &providers->items[i];
        found_len = len;
    }
    if (found != NULL)
        *rest = target + found_len;
    return found;
}
