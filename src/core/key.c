/*
 * key: the rules by which answers change what is known about a key. Called by pool, store and the relay; the
 * mark rules stand nowhere else, and the key itself is not opened here.
 */
#include "core/key.h"

#include <string.h>

enum key_status key_status(const struct key_state *state, int64_t now_ms)
{
    if (state->permanent)
        return KEY_PERMANENT;
    return state->until_ms > now_ms ? KEY_TEMPORARY : KEY_VALID;
}

const char *key_status_name(enum key_status status)
{
    switch (status) {
    case KEY_TEMPORARY:
        return "temporary";
    case KEY_PERMANENT:
        return "permanent";
    case KEY_VALID:
        break;
    }
    return "valid";
}

bool key_mark(struct key_state *state, const struct mark *mark)
{
    if (state->permanent)
        return false;
    if (mark->permanent) {
        state->permanent = true;
        return true;
    }
    if (mark->until_ms <= state->until_ms)
        return false;
    state->until_ms = mark->until_ms;
    return true;
}

const char *key_mark_reason(int status)
{
    switch (status) {
    case 429:
        return "rate_limited";
    case 401:
        return "unauthorized";
    case 403:
        return "forbidden";
    default:
        return "refused";
    }
}

void key_hint(const char *key, size_t len, char out[KEY_HINT_SIZE])
{
    size_t shown = len >= 20 ? 4 : len >= 10 ? 2 : len >= 5 ? 1 : 0;

    memcpy(out, key, shown);
    memcpy(out + shown, "...", 3);
    memcpy(out + shown + 3, key + len - shown, shown);
    out[2 * shown + 3] = '\0';
}
