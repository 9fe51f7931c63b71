/*
 * credential: whose credential a request carries, and which fields must not travel. The listener asks it for
 * every request, the relay strips with it before an attempt. It looks at the form of a value only: whether a
 * provider accepts a credential, or a client owns a token, is not known here.
 */
#include "core/credential.h"

#include <string.h>

/* The fields in which a client of any type of provider, or of the gateway, sends a credential. */
#define API_KEY_HEADER       "X-Api-Key"
#define AUTHORIZATION_HEADER "Authorization"

enum value_kind {
    VALUE_NONE,
    VALUE_PLACEHOLDER,
    VALUE_TOKEN, /* the gateway's */
    VALUE_OWN,
};

/* The part of a value that is still to be read. */
struct text {
    const char *start;
    size_t len;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t';
}

static bool begins_nocase(const struct text *t, const char *word, size_t len)
{
    if (t->len < len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char a = t->start[i];
        char b = word[i];

        if (a >= 'A' && a <= 'Z')
            a = (char)(a + ('a' - 'A'));
        if (b >= 'A' && b <= 'Z')
            b = (char)(b + ('a' - 'A'));
        if (a != b)
            return false;
    }
    return true;
}

static void trim(struct text *t)
{
    while (t->len > 0 && is_space(t->start[0])) {
        t->start++;
        t->len--;
    }
    while (t->len > 0 && is_space(t->start[t->len - 1]))
        t->len--;
}

/* Takes a prefix like "Bearer " off, and the white space behind it. Where the prefix ends with a space any
 * white space will do, and none at the end of the value: "Bearer" alone is a prefix with nothing behind. */
static bool take_prefix(struct text *t, const char *prefix)
{
    size_t len = strlen(prefix);
    bool spaced = len > 0 && is_space(prefix[len - 1]);

    while (len > 0 && is_space(prefix[len - 1]))
        len--;
    if (len == 0 || !begins_nocase(t, prefix, len))
        return false;
    if (spaced && t->len > len && !is_space(t->start[len]))
        return false;
    t->start += len;
    t->len -= len;
    trim(t);
    return true;
}

/* An Authorization value that is nothing but the name of a scheme (iana.org/assignments/http-authschemes, and
 * two that providers use). Any other single word may be a key that was sent without a scheme. */
static bool is_bare_scheme(const struct text *t)
{
    static const char *const schemes[] = {"Basic", "Digest", "DPoP", "Negotiate", "Token", "ApiKey"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (t->len == strlen(schemes[i]) && begins_nocase(t, schemes[i], t->len))
            return true;
    }
    return false;
}

static bool begins_with_token(const struct text *t)
{
    static const char prefix[] = CREDENTIAL_TOKEN_PREFIX;

    return t->len >= sizeof(prefix) - 1 && memcmp(t->start, prefix, sizeof(prefix) - 1) == 0;
}

/* Tokens are looked for behind an unknown scheme too: one that is sent wrongly must not travel either. */
static bool is_token(const struct text *t)
{
    struct text behind = *t;

    if (begins_with_token(t))
        return true;
    while (behind.len > 0 && !is_space(behind.start[0])) {
        behind.start++;
        behind.len--;
    }
    trim(&behind);
    return begins_with_token(&behind);
}

static bool is_placeholder(const struct text *t)
{
    static const char word[] = CREDENTIAL_PLACEHOLDER;

    return t->len == sizeof(word) - 1 && memcmp(t->start, word, sizeof(word) - 1) == 0;
}

/* prefix is what the provider's own credentials begin with in this field; "" for none. */
static enum value_kind classify(const struct header *h, const char *prefix)
{
    struct text value = {h->value, h->value_len};

    trim(&value);
    if (!take_prefix(&value, "Bearer "))
        take_prefix(&value, prefix);
    if (value.len == 0)
        return VALUE_NONE;
    if (is_placeholder(&value))
        return VALUE_PLACEHOLDER;
    if (is_token(&value) || header_is(h, CREDENTIAL_TOKEN_HEADER))
        return VALUE_TOKEN;
    if (header_is(h, AUTHORIZATION_HEADER) && is_bare_scheme(&value))
        return VALUE_NONE;
    return VALUE_OWN;
}

/* Whether that field makes a request BYOK for the provider. */
static bool is_byok_header(const struct provider *provider, const struct header *h)
{
    const char *const *names = provider_type_info(provider->type)->byok_headers;

    if (provider->type == PROVIDER_CUSTOM)
        return header_is(h, provider->auth_header);
    for (; *names != NULL; names++) {
        if (header_is(h, *names))
            return true;
    }
    return false;
}

/* By length first: this is asked of every field of every request. */
static bool is_gateway_header(const struct header *h)
{
    switch (h->name_len) {
    case sizeof(API_KEY_HEADER) - 1:
        return header_is(h, API_KEY_HEADER);
    case sizeof(AUTHORIZATION_HEADER) - 1:
        return header_is(h, AUTHORIZATION_HEADER);
    case sizeof(CREDENTIAL_TOKEN_HEADER) - 1:
        return header_is(h, CREDENTIAL_TOKEN_HEADER);
    default:
        return false;
    }
}

/* What a field says to that provider; VALUE_NONE for a field that carries no credential. */
static enum value_kind kind_of(const struct provider *provider, const struct header *h)
{
    bool own_place = is_byok_header(provider, h);
    enum value_kind kind;

    if (!own_place && !is_gateway_header(h))
        return VALUE_NONE;
    kind = classify(h, own_place ? provider->auth_prefix : "");
    if (kind == VALUE_OWN && !own_place)
        return VALUE_NONE;
    return kind;
}

enum credential_kind credential_judge(const struct provider *provider, const struct header_list *headers)
{
    bool own = false;
    bool token = false;

    for (size_t i = 0; i < headers->count; i++) {
        switch (kind_of(provider, &headers->items[i])) {
        case VALUE_OWN:
            own = true;
            break;
        case VALUE_TOKEN:
            token = true;
            break;
        case VALUE_PLACEHOLDER:
        case VALUE_NONE:
            break;
        }
    }
    if (own && (provider->byok || provider->key_count == 0))
        return CREDENTIAL_BYOK;
    if (token)
        return CREDENTIAL_UNKNOWN_TOKEN;
    return provider->key_count == 0 ? CREDENTIAL_BYOK : CREDENTIAL_CENTRALIZED;
}

static bool is_credential(const struct provider_list *providers, const struct header *h)
{
    if (is_gateway_header(h))
        return true;
    for (size_t i = 0; i < providers->count; i++) {
        if (header_is(h, providers->items[i].auth_header))
            return true;
    }
    return false;
}

bool credential_is_header(const struct provider_list *providers, const char *name)
{
    struct header h = {name, "", (uint32_t)strlen(name), 0};

    return is_credential(providers, &h);
}

void credential_strip(const struct provider_list *providers, struct header_list *headers)
{
    size_t kept = 0;

    for (size_t i = 0; i < headers->count; i++) {
        if (!is_credential(providers, &headers->items[i]))
            headers->items[kept++] = headers->items[i];
    }
    headers->count = kept;
}

void credential_strip_gateway(const struct provider *provider, struct header_list *headers)
{
    bool own = false;
    size_t kept = 0;

    for (size_t i = 0; i < headers->count && !own; i++)
        own = kind_of(provider, &headers->items[i]) == VALUE_OWN;
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *h = &headers->items[i];
        enum value_kind kind = kind_of(provider, h);

        /* The gateway's own field is nobody else's business, whatever it holds. */
        if (kind == VALUE_TOKEN || (kind == VALUE_PLACEHOLDER && own) ||
            header_is(h, CREDENTIAL_TOKEN_HEADER))
            continue;
        headers->items[kept++] = *h;
    }
    headers->count = kept;
}
