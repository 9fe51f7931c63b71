/*
 * credential_providers: what the tests of credential share: a provider of every kind, and requests' fields.
 */
#ifndef CLAVIGER_TESTS_CREDENTIAL_PROVIDERS_H
#define CLAVIGER_TESTS_CREDENTIAL_PROVIDERS_H

#include "core/credential.h"

#include "unit/suite.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define TOKEN "clv_0123456789012345678901234567890123456789012"

enum who {
    ANTHROPIC,
    ANTHROPIC_NO_BYOK,
    ANTHROPIC_NO_KEYS,
    OPENAI,
    OPENAI_NO_BYOK,
    OPENAI_NO_KEYS,
    COPILOT,
    COPILOT_NO_BYOK,
    CUSTOM,         /* X-Goog-Api-Key, no prefix */
    CUSTOM_PREFIX,  /* Api-Auth: "Token " */
    CUSTOM_GLUED,   /* X-Sig: "key=" */
    CUSTOM_DEFAULT, /* Authorization, "Bearer " */
    CUSTOM_NO_KEYS,
    PROVIDERS
};

static struct key some_keys[2];
static struct provider providers[PROVIDERS];
static const struct provider_list everyone = {providers, PROVIDERS};

static char google[] = "X-Goog-Api-Key";
static char api_auth[] = "Api-Auth";
static char signature[] = "X-Sig";
static char authorization[] = "Authorization";
static char api_key[] = "X-Api-Key";
static char bearer[] = "Bearer ";
static char token_prefix[] = "Token ";
static char glued[] = "key=";
static char none[] = "";

static inline void set(enum who who, enum provider_type type, char *header, char *prefix, bool keys,
                       bool byok)
{
    struct provider *p = &providers[who];

    memset(p, 0, sizeof(*p));
    p->type = type;
    p->auth_header = header;
    p->auth_prefix = prefix;
    p->keys = keys ? some_keys : NULL;
    p->key_count = keys ? COUNT(some_keys) : 0;
    p->byok = byok;
}

static inline void setup(void)
{
    set(ANTHROPIC, PROVIDER_ANTHROPIC, api_key, none, true, true);
    set(ANTHROPIC_NO_BYOK, PROVIDER_ANTHROPIC, api_key, none, true, false);
    set(ANTHROPIC_NO_KEYS, PROVIDER_ANTHROPIC, api_key, none, false, true);
    set(OPENAI, PROVIDER_OPENAI, authorization, bearer, true, true);
    set(OPENAI_NO_BYOK, PROVIDER_OPENAI, authorization, bearer, true, false);
    set(OPENAI_NO_KEYS, PROVIDER_OPENAI, authorization, bearer, false, true);
    set(COPILOT, PROVIDER_COPILOT, authorization, bearer, false, true);
    set(COPILOT_NO_BYOK, PROVIDER_COPILOT, authorization, bearer, false, false);
    set(CUSTOM, PROVIDER_CUSTOM, google, none, true, true);
    set(CUSTOM_PREFIX, PROVIDER_CUSTOM, api_auth, token_prefix, true, true);
    set(CUSTOM_GLUED, PROVIDER_CUSTOM, signature, glued, true, true);
    set(CUSTOM_DEFAULT, PROVIDER_CUSTOM, authorization, bearer, true, true);
    set(CUSTOM_NO_KEYS, PROVIDER_CUSTOM, google, none, false, true);
}

struct field {
    const char *name;
    const char *value;
};

static inline void fill(struct header_list *list, const struct field *fields, size_t count)
{
    for (size_t i = 0; i < count && fields[i].name != NULL; i++)
        ck_assert_int_eq(header_add(list, fields[i].name, strlen(fields[i].name), fields[i].value,
                                    strlen(fields[i].value)),
                         0);
}

#endif
