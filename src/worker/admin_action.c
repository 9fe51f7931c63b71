/*
 * admin_action: reads the status page's form and judges who sends it. Called by admin; changes nothing.
 */
#include "worker/admin_action.h"

#include "base/digest.h"
#include "base/secret.h"
#include "core/ascii.h"

#include <string.h>
#include <strings.h>

/* Decodes one value up to its "&". False when it does not fit or has a bad escape or a NUL. */
static bool decode(const char *in, size_t len, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < len; i++) {
        char c = in[i];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int high = i + 2 < len ? ascii_hex_value(in[i + 1]) : -1;
            int low = i + 2 < len ? ascii_hex_value(in[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0' || used + 1 >= size)
            return false;
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

/* The one field of that name. */
static bool find_field(const char *body, size_t len, const char *name, char *out, size_t size)
{
    size_t name_len = strlen(name);
    bool found = false;
    for (size_t at = 0; at < len;) {
        const char *end = memchr(body + at, '&', len - at);
        size_t part = end != NULL ? (size_t)(end - body) - at : len - at;
        if (part > name_len && memcmp(body + at, name, name_len) == 0 && body[at + name_len] == '=') {
            if (found || !decode(body + at + name_len + 1, part - name_len - 1, out, size))
                return false;
            found = true;
        }
        at += part + 1;
    }
    return found;
}

static bool take_word(const char **text, char *out, size_t size)
{
    size_t len = strcspn(*text, " ");
    if (len == 0 || len >= size)
        return false;
    memcpy(out, *text, len);
    out[len] = '\0';
    *text += len + ((*text)[len] == ' ');
    return true;
}

bool admin_action_parse(const char *body, size_t len, struct admin_action *action)
{
    static const struct {
        const char *word;
        enum store_edit_action action;
    } words[] = {{"reset", STORE_EDIT_RESET}, {"disable", STORE_EDIT_DISABLE}, {"enable", STORE_EDIT_ENABLE}};
    char text[128];
    char word[16];
    const char *rest = text;
    if (!find_field(body, len, "token", action->token, sizeof action->token) ||
        !find_field(body, len, "do", text, sizeof text) || !take_word(&rest, word, sizeof word) ||
        !take_word(&rest, action->provider, sizeof action->provider) ||
        !take_word(&rest, action->key_id, sizeof action->key_id) || *rest != '\0')
        return false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(word, words[i].word) == 0) {
            action->action = words[i].action;
            return true;
        }
    return false;
}

bool admin_action_is_allowed(const struct admin_action *action, const char *hash)
{
    char mine[DIGEST_HEX_SIZE];
    if (strlen(hash) != DIGEST_HEX_SIZE - 1 ||
        digest_sha256_hex(action->token, strlen(action->token), mine) != 0)
        return false;
    bool same = digest_is_same(mine, hash, DIGEST_HEX_SIZE - 1);
    secret_wipe(mine, sizeof mine);
    return same;
}

bool admin_action_say_refusal(struct admin_action_refusals *refusals, int64_t now_mono_ms, unsigned *unsaid)
{
    if (refusals->said_ms != 0 && now_mono_ms - refusals->said_ms < ADMIN_ACTION_SAY_MS) {
        refusals->unsaid++;
        return false;
    }
    *unsaid = refusals->unsaid;
    *refusals = (struct admin_action_refusals){.said_ms = now_mono_ms};
    return true;
}

bool admin_action_is_same_site(const char *sec_fetch_site, const char *origin, const char *host)
{
    if (sec_fetch_site != NULL && strcmp(sec_fetch_site, "same-origin") != 0 &&
        strcmp(sec_fetch_site, "none") != 0)
        return false;
    if (origin == NULL)
        return true;
    const char *authority = strstr(origin, "://");
    return authority != NULL && host != NULL && strcasecmp(authority + 3, host) == 0;
}
