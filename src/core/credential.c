/*
 * credential: whose credential a request carries, and which fields must not travel. The listener asks it for
 * every request, the relay strips with it before an attempt. Of a provider's credential it looks at the form
 * only: whether the provider accepts it is not known here.
 */
#include "core/credential.h"

#include "core/ascii.h"

#include <string.h>

/* The fields in which a client of any type of provider, or of the gateway, sends a credential. */
#define API_KEY_HEADER       "X-Api-Key"
#define AUTHORIZATION_HEADER "Authorization"

#define TOKEN_RANDOM_LEN 43 /* what clavigerctl puts behind the prefix */

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

static bool is_token_char(char c)
{
    return ascii_is_alnum(c) || c == '-' || c == '_';
}

/* A whole token anywhere in the text. */
static bool find_whole_token(const struct text *t, struct text *token)
{
    static const char prefix[] = CREDENTIAL_TOKEN_PREFIX;
    const char *end = t->start + t->len;
    const char *at = t->start;

    /* Few values are long enough. */
    while ((size_t)(end - at) >= sizeof(prefix) - 1 + TOKEN_RANDOM_LEN &&
           (at = memmem(at, (size_t)(end - at), prefix, sizeof(prefix) - 1)) != NULL) {
        bool begins = at == t->start || !is_token_char(at[-1]);

        token->start = at;
        while (at < end && is_token_char(*at))
            at++;
        token->len = (size_t)(at - token->start);
        if (begins && token->len >= sizeof(prefix) - 1 + TOKEN_RANDOM_LEN)
            return true;
    }
    return false;
}

/* Tokens are looked for behind an unknown scheme too: one that is sent wrongly must not travel either. */
static bool find_token(const struct text *t, struct text *token)
{
    struct text behind = *t;

    *token = *t;
    if (begins_with_token(t))
        return true;
    while (behind.len > 0 && !is_space(behind.start[0])) {
        behind.start++;
        behind.len--;
    }
    trim(&behind);
    *token = behind;
    return begins_with_token(&behind) || find_whole_token(t, token);
}

static bool has_whole_token(const struct header *h)
{
    struct text value = {h->value, h->value_len};
    struct text token;

    return find_whole_token(&value, &token);
}

static bool is_placeholder(const struct text *t)
{
    static const char word[] = CREDENTIAL_PLACEHOLDER;

    return t->len == sizeof(word) - 1 && memcmp(t->start, word, sizeof(word) - 1) == 0;
}

/* prefix is what the provider's own credentials begin with in this field; "" for none. *token is set for
 * VALUE_TOKEN. */
static enum value_kind classify(const struct header *h, const char *prefix, struct text *token)
{
    struct text value = {h->value, h->value_len};

    trim(&value);
    if (!take_prefix(&value, "Bearer "))
        take_prefix(&value, prefix);
    if (value.len == 0)
        return VALUE_NONE;
    if (is_placeholder(&value))
        return VALUE_PLACEHOLDER;
    if (find_token(&value, token))
        return VALUE_TOKEN;
    if (header_is(h, CREDENTIAL_TOKEN_HEADER)) {
        *token = value;
        return VALUE_TOKEN;
    }
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
static enum value_kind kind_of(const struct provider *provider, const struct header *h, struct text *token)
{
    bool own_place = is_byok_header(provider, h);
    enum value_kind kind;

    if (!own_place && !is_gateway_header(h))
        return VALUE_NONE;
    kind = classify(h, own_place ? provider->auth_prefix : "", token);
    if (kind == VALUE_OWN && !own_place)
        return VALUE_NONE;
    return kind;
}

/* Takes a token into account: every one in a request must be the same client's. False when it is not; *kind
 * says what it is then. */
static bool take_token(const struct client_list *clients, const struct text *token,
                       const struct client_entry **client, enum credential_kind *kind)
{
    const struct client_entry *found =
        clients == NULL ? NULL : client_find(clients, token->start, token->len);

    *kind = CREDENTIAL_UNKNOWN_TOKEN;
    if (found != NULL && *client != NULL && strcmp(found->name, (*client)->name) != 0) {
        found = NULL;
        *kind = CREDENTIAL_TWO_CLIENTS;
    }
    *client = found;
    return found != NULL;
}

enum credential_kind credential_judge(const struct provider *provider, const struct client_list *clients,
                                      const struct header_list *headers, const struct client_entry **client)
{
    enum credential_kind kind;
    struct text token;
    bool own = false;

    *client = NULL;
    for (size_t i = 0; i < headers->count; i++) {
        switch (kind_of(provider, &headers->items[i], &token)) {
        case VALUE_OWN:
            own = true;
            break;
        case VALUE_TOKEN:
            if (!take_token(clients, &token, client, &kind))
                return kind;
            break;
        case VALUE_PLACEHOLDER:
        case VALUE_NONE:
            break;
        }
    }
    if (*client != NULL && !client_may_use(*client, provider))
        return CREDENTIAL_NOT_THIS_PROVIDER;
    if (own && (provider->byok || provider->key_count == 0))
        return *client != NULL && !(*client)->byok ? CREDENTIAL_NO_BYOK : CREDENTIAL_BYOK;
    if (provider->key_count == 0)
        return CREDENTIAL_BYOK;
    return clients != NULL && *client == NULL ? CREDENTIAL_NO_TOKEN : CREDENTIAL_CENTRALIZED;
}

const char *credential_refusal(enum credential_kind kind)
{
    switch (kind) {
    case CREDENTIAL_CENTRALIZED:
    case CREDENTIAL_BYOK:
        break;
    case CREDENTIAL_UNKNOWN_TOKEN:
        return "this gateway token is not known here";
    case CREDENTIAL_TWO_CLIENTS:
        return "the request carries gateway tokens of two clients: send one";
    case CREDENTIAL_NO_TOKEN:
        return "a gateway token is needed here: send yours in the place of an API key, or in "
               "X-Claviger-Token";
    case CREDENTIAL_NOT_THIS_PROVIDER:
        return "this gateway token is not for this provider";
    case CREDENTIAL_NO_BYOK:
        return "this gateway token does not allow a key of your own beside it: send the token alone";
    }
    return NULL;
}

static char canonical(char c)
{
    if (c >= 'A' && c <= 'Z')
        return (char)(c + ('a' - 'A'));
    return ascii_is_alnum(c) || c == '\0' ? c : '-';
}

/* Whether h may be taken for `name` by a provider. Names in CGI (RFC 3875 section 4.1.18) and what descends
 * from it have `_` for each `-`, or for everything that is no letter or digit. */
static bool looks_like(const struct header *h, const char *name)
{
    size_t i = 0;

    while (canonical(h->name[i]) == canonical(name[i])) {
        if (name[i++] == '\0')
            return true;
    }
    return false;
}

static bool is_credential(const struct provider_list *providers, const struct header *h)
{
    if (looks_like(h, API_KEY_HEADER) || looks_like(h, AUTHORIZATION_HEADER) ||
        looks_like(h, CREDENTIAL_TOKEN_HEADER))
        return true;
    for (size_t i = 0; i < providers->count; i++) {
        if (looks_like(h, providers->items[i].auth_header))
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
        if (!is_credential(providers, &headers->items[i]) && !has_whole_token(&headers->items[i]))
            headers->items[kept++] = headers->items[i];
    }
    headers->count = kept;
}

void credential_strip_gateway(const struct provider *provider, struct header_list *headers)
{
    struct text token;
    bool own = false;
    size_t kept = 0;

    for (size_t i = 0; i < headers->count && !own; i++)
        own = kind_of(provider, &headers->items[i], &token) == VALUE_OWN;
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *h = &headers->items[i];
        enum value_kind kind = kind_of(provider, h, &token);

        /* The gateway's own field is nobody else's business, whatever it holds. */
        if (kind == VALUE_TOKEN || (kind == VALUE_PLACEHOLDER && own) ||
            looks_like(h, CREDENTIAL_TOKEN_HEADER) || has_whole_token(h))
            continue;
        headers->items[kept++] = *h;
    }
    headers->count = kept;
}

size_t credential_strip_echo(const struct secret *key, struct header_list *headers)
{
    size_t kept = 0;
    size_t dropped;

    if (secret_len(key) < CREDENTIAL_ECHO_LEN_MIN)
        return 0;
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *h = &headers->items[i];

        if (memmem(h->value, h->value_len, secret_open(key), secret_len(key)) == NULL)
            headers->items[kept++] = *h;
    }
    dropped = headers->count - kept;
    headers->count = kept;
    return dropped;
}

size_t credential_hide(const struct secret *key, char *data, size_t len)
{
    const char *word = secret_open(key);
    size_t word_len = secret_len(key);
    char *end = data + len;
    char *at = data;
    size_t most;

    if (word_len < CREDENTIAL_ECHO_LEN_MIN)
        return 0;
    while ((at = memmem(at, (size_t)(end - at), word, word_len)) != NULL) {
        memset(at, '*', word_len);
        at += word_len;
    }
    most = len < word_len ? len : word_len - 1;
    for (size_t tail = most; tail > 0; tail--) {
        if (memcmp(end - tail, word, tail) == 0)
            return tail;
    }
    return 0;
}
