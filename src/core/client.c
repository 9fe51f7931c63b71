/*
 * client: the table of clients. io/clients fills it from a file, credential asks it whose token a request
 * carries. It never holds a token.
 */
#include "core/client.h"

#include "core/ascii.h"

#include <stdlib.h>
#include <string.h>

void client_list_fini(struct client_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].name);
        free(list->items[i].providers);
    }
    free(list->items);
    *list = (struct client_list){0};
}

const char *client_name_fault(const char *name, size_t len)
{
    if (len == 0)
        return "is empty: write one, as in alice";
    if (len > CLIENT_NAME_MAX)
        return "is longer than 64 characters: shorten it";
    if (!ascii_is_alnum(name[0]) || ascii_is_digit(name[0]))
        return "does not begin with a letter (a-z, A-Z): put one in front";
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '\0' || (!ascii_is_alnum(name[i]) && strchr("._-@", name[i]) == NULL))
            return "has a character other than letters, digits, \".\", \"_\", \"-\" and \"@\": remove it";
    }
    if (len >= strlen(CLIENT_TOKEN_PREFIX) &&
        memcmp(name, CLIENT_TOKEN_PREFIX, strlen(CLIENT_TOKEN_PREFIX)) == 0)
        return "begins with " CLIENT_TOKEN_PREFIX ", as tokens do: choose another";
    if (len == strlen("unix") && memcmp(name, "unix", len) == 0)
        return "is what the request log calls a client without an address: choose another";
    return NULL;
}

const struct client_entry *client_find(const struct client_list *list, const char *token, size_t len)
{
    unsigned char hash[DIGEST_SIZE];
    size_t found = 0; /* index + 1 */

    if (digest_sha256(token, len, hash) < 0)
        return NULL;
    /* Every entry is looked at, also behind the one that fits, and without a branch. */
    for (size_t i = 0; i < list->count; i++)
        found |= (0 - (size_t)digest_is_same(list->items[i].hash, hash, DIGEST_SIZE)) & (i + 1);
    return found == 0 ? NULL : &list->items[found - 1];
}

bool client_may_use(const struct client_entry *client, const struct provider *provider)
{
    if (client->providers == NULL)
        return true;
    for (size_t i = 0; i < client->provider_count; i++) {
        if (client->providers[i] == provider)
            return true;
    }
    return false;
}
