/*
 * test_credential: whose credential a request carries, and what travels.
 */
#include "core/credential.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
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

static void set(enum who who, enum provider_type type, char *header, char *prefix, bool keys, bool byok)
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

static void setup(void)
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

#define POOL    CREDENTIAL_CENTRALIZED
#define BYOK    CREDENTIAL_BYOK
#define UNKNOWN CREDENTIAL_UNKNOWN_TOKEN

static const struct {
    enum who who;
    struct field in[3];
    enum credential_kind kind;
} judge_cases[] = {
    /* nothing */
    {ANTHROPIC, {{NULL, NULL}}, POOL},
    {OPENAI, {{"Cookie", "a=b"}, {"Proxy-Authorization", "Basic eA=="}}, POOL},
    {CUSTOM, {{NULL, NULL}}, POOL},
    /* the client's own */
    {ANTHROPIC, {{"X-Api-Key", "sk-ant-1"}}, BYOK},
    {ANTHROPIC, {{"x-API-key", "sk-ant-1"}}, BYOK},
    {ANTHROPIC, {{"Authorization", "Bearer sk-ant-oat-1"}}, BYOK},
    {ANTHROPIC, {{"authorization", "bearer x"}}, BYOK},
    {OPENAI, {{"Authorization", "Bearer sk-1"}}, BYOK},
    {OPENAI, {{"Authorization", "Basic Y2xhdmlnZXI6eA=="}}, BYOK},
    {ANTHROPIC, {{"Authorization", "Basic Y2xhdmlnZXI6eA=="}}, BYOK},
    {OPENAI, {{"Authorization", "sk-without-scheme"}}, BYOK},
    {OPENAI, {{"Authorization", "AWS4-HMAC-SHA256 Credential=x, Signature=y"}}, BYOK},
    {OPENAI, {{"Authorization", "Basic claviger"}}, BYOK}, /* the word counts alone or behind Bearer */
    {OPENAI, {{"X-Api-Key", "sk-ant-1"}}, POOL},           /* not this provider's place */
    {OPENAI, {{"X-Api-Key", "sk-ant-1"}, {"Authorization", "Bearer sk-1"}}, BYOK},
    {OPENAI, {{"X-Goog-Api-Key", "x"}, {"Api-Key", "y"}}, POOL},
    {ANTHROPIC, {{"X_Api_Key", "sk-ant-1"}, {"X.Api.Key", "sk-ant-1"}}, POOL}, /* no place at all */
    {OPENAI, {{"Authorization_", "Bearer sk-1"}}, POOL},
    /* the placeholder */
    {ANTHROPIC, {{"X-Api-Key", "claviger"}}, POOL},
    {ANTHROPIC, {{"X-Api-Key", " claviger\t"}}, POOL},
    {ANTHROPIC, {{"Authorization", "Bearer claviger"}}, POOL},
    {ANTHROPIC, {{"Authorization", "claviger"}}, POOL},
    {OPENAI, {{"Authorization", "Bearer claviger"}}, POOL},
    {OPENAI, {{"Authorization", "bearer  claviger"}}, POOL},
    {OPENAI, {{"Authorization", "BEARER\tclaviger "}}, POOL},
    {OPENAI, {{"X-Api-Key", "claviger"}}, POOL},
    {ANTHROPIC, {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer claviger"}}, POOL},
    {ANTHROPIC, {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer sk-1"}}, BYOK},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer claviger"}}, BYOK},
    {ANTHROPIC, {{"X-Api-Key", "claviger"}, {"X-Api-Key", "sk-1"}}, BYOK},
    {ANTHROPIC, {{"X-Api-Key", "claviger2"}}, BYOK},
    {ANTHROPIC, {{"X-Api-Key", "clavige"}}, BYOK},
    {ANTHROPIC, {{"X-Api-Key", "Claviger"}}, BYOK},
    {ANTHROPIC, {{"X-Api-Key", "claviger claviger"}}, BYOK},
    {OPENAI, {{"Authorization", "Bearerclaviger"}}, BYOK},
    {OPENAI, {{"Authorization", "Bearer claviger x"}}, BYOK},
    /* values with nothing in them */
    {ANTHROPIC, {{"X-Api-Key", ""}}, POOL},
    {ANTHROPIC, {{"X-Api-Key", " \t"}}, POOL},
    {ANTHROPIC, {{"X-Api-Key", ""}, {"Authorization", ""}}, POOL},
    {OPENAI, {{"Authorization", ""}}, POOL},
    {OPENAI, {{"Authorization", "Bearer"}}, POOL},
    {OPENAI, {{"Authorization", "bearer "}}, POOL},
    {OPENAI, {{"Authorization", "Basic"}}, POOL},
    {OPENAI, {{"Authorization", "token"}}, POOL},
    {OPENAI, {{"Authorization", "Bearers"}}, BYOK},
    {ANTHROPIC, {{"X-Api-Key", "Basic"}}, BYOK}, /* no place for schemes */
    {ANTHROPIC, {{"X-Api-Key", ""}, {"Authorization", "Bearer x"}}, BYOK},
    /* gateway tokens are never taken for BYOK */
    {ANTHROPIC, {{"X-Api-Key", TOKEN}}, UNKNOWN},
    {ANTHROPIC, {{"X-Api-Key", "clv_"}}, UNKNOWN},
    {ANTHROPIC, {{"Authorization", "Bearer " TOKEN}}, UNKNOWN},
    {ANTHROPIC, {{"Authorization", TOKEN}}, UNKNOWN},
    {ANTHROPIC, {{"Authorization", "Basic  " TOKEN}}, UNKNOWN},
    {OPENAI, {{"Authorization", "bearer \t" TOKEN}}, UNKNOWN},
    {OPENAI, {{"X-Api-Key", TOKEN}}, UNKNOWN},
    {OPENAI, {{"X-Api-Key", "Bearer " TOKEN}}, UNKNOWN},
    {OPENAI, {{"X-Claviger-Token", TOKEN}}, UNKNOWN},
    {OPENAI, {{"x-claviger-token", "anything"}}, UNKNOWN},
    {OPENAI, {{"X-Claviger-Token", ""}}, POOL},
    {OPENAI, {{"X-Claviger-Token", "claviger"}}, POOL},
    {OPENAI, {{"X-Claviger-Token", TOKEN}, {"Authorization", "Bearer claviger"}}, UNKNOWN},
    {OPENAI, {{"Authorization", "Bearer CLV_x"}}, BYOK},
    {OPENAI, {{"Authorization", "Bearer clv-x"}}, BYOK},
    {OPENAI, {{"Authorization", "Bearer clv"}}, BYOK},
    {OPENAI, {{"Authorization", "Bearer xclv_"}}, BYOK},
    /* an unknown token beside an own credential */
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"X-Claviger-Token", TOKEN}}, UNKNOWN},
    {ANTHROPIC, {{"X-Api-Key", TOKEN}, {"Authorization", "Bearer sk-1"}}, UNKNOWN},
    {OPENAI, {{"X-Api-Key", "sk-ant"}, {"Authorization", "Bearer " TOKEN}}, UNKNOWN},
    /* a whole token somewhere in a credential */
    {OPENAI, {{"Authorization", "AWS4 Credential=" TOKEN ", Signature=y"}}, UNKNOWN},
    {OPENAI, {{"Authorization", "Bearer sk-1;" TOKEN}}, UNKNOWN},
    {OPENAI, {{"Authorization", "Bearer sk-1;clv_short"}}, BYOK},
    {OPENAI, {{"Authorization", "Bearer sk-1" TOKEN}}, BYOK}, /* a key that happens to hold these letters */
    {OPENAI, {{"Cookie", "a=" TOKEN}}, POOL},                 /* no place for a credential */
    /* byok = false */
    {ANTHROPIC_NO_BYOK, {{NULL, NULL}}, POOL},
    {ANTHROPIC_NO_BYOK, {{"X-Api-Key", "sk-1"}}, POOL},
    {ANTHROPIC_NO_BYOK, {{"Authorization", "Bearer sk-1"}}, POOL},
    {OPENAI_NO_BYOK, {{"Authorization", "Basic eA=="}}, POOL},
    {OPENAI_NO_BYOK, {{"Authorization", "Bearer claviger"}}, POOL},
    {OPENAI_NO_BYOK, {{"Authorization", "Bearer " TOKEN}}, UNKNOWN},
    {ANTHROPIC_NO_BYOK, {{"X-Api-Key", TOKEN}, {"Authorization", "Bearer sk-1"}}, UNKNOWN},
    /* no keys: every request as it came */
    {ANTHROPIC_NO_KEYS, {{NULL, NULL}}, BYOK},
    {ANTHROPIC_NO_KEYS, {{"X-Api-Key", "claviger"}}, BYOK},
    {ANTHROPIC_NO_KEYS, {{"X-Api-Key", "sk-1"}}, BYOK},
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer "}}, BYOK},
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer " TOKEN}}, UNKNOWN},
    {OPENAI_NO_KEYS, {{"X-Claviger-Token", TOKEN}, {"Authorization", "Bearer sk-1"}}, UNKNOWN},
    {COPILOT, {{NULL, NULL}}, BYOK},
    {COPILOT, {{"Authorization", "Bearer gho_x"}}, BYOK},
    {COPILOT, {{"Authorization", "Bearer claviger"}}, BYOK},
    {COPILOT, {{"Authorization", "Bearer " TOKEN}}, UNKNOWN},
    {COPILOT, {{"X-Api-Key", TOKEN}}, UNKNOWN},
    {COPILOT_NO_BYOK, {{"Authorization", "Bearer gho_x"}}, BYOK},
    {COPILOT_NO_BYOK, {{NULL, NULL}}, BYOK},
    {CUSTOM_NO_KEYS, {{"X-Goog-Api-Key", "x"}}, BYOK},
    {CUSTOM_NO_KEYS, {{"X-Goog-Api-Key", TOKEN}}, UNKNOWN},
    /* custom looks at its own header */
    {CUSTOM, {{"X-Goog-Api-Key", "AIza"}}, BYOK},
    {CUSTOM, {{"x-goog-api-key", "claviger"}}, POOL},
    {CUSTOM, {{"X-Goog-Api-Key", "Bearer claviger"}}, POOL},
    {CUSTOM, {{"X-Goog-Api-Key", ""}}, POOL},
    {CUSTOM, {{"X-Goog-Api-Key", TOKEN}}, UNKNOWN},
    {CUSTOM, {{"Authorization", "Bearer sk-1"}}, POOL},
    {CUSTOM, {{"X-Api-Key", "sk-1"}}, POOL},
    {CUSTOM, {{"Authorization", "Bearer " TOKEN}}, UNKNOWN},
    {CUSTOM_PREFIX, {{"Api-Auth", "Token x"}}, BYOK},
    {CUSTOM_PREFIX, {{"Api-Auth", "token claviger"}}, POOL},
    {CUSTOM_PREFIX, {{"Api-Auth", "Token"}}, POOL},
    {CUSTOM_PREFIX, {{"Api-Auth", "Token\t" TOKEN}}, UNKNOWN},
    {CUSTOM_PREFIX, {{"Api-Auth", "Tokenclaviger"}}, BYOK},
    {CUSTOM_PREFIX, {{"Authorization", "Token x"}}, POOL},
    {CUSTOM_GLUED, {{"X-Sig", "key=x"}}, BYOK},
    {CUSTOM_GLUED, {{"X-Sig", "key=claviger"}}, POOL},
    {CUSTOM_GLUED, {{"X-Sig", "key="}}, POOL},
    {CUSTOM_GLUED, {{"X-Sig", "key=" TOKEN}}, UNKNOWN},
    {CUSTOM_GLUED, {{"X-Sig", "key"}}, BYOK},
    {CUSTOM_DEFAULT, {{"Authorization", "Bearer sk-1"}}, BYOK},
    {CUSTOM_DEFAULT, {{"Authorization", "Bearer claviger"}}, POOL},
    {CUSTOM_DEFAULT, {{"X-Api-Key", "sk-1"}}, POOL},
};

static void fill(struct header_list *list, const struct field *fields, size_t count)
{
    for (size_t i = 0; i < count && fields[i].name != NULL; i++)
        ck_assert_int_eq(header_add(list, fields[i].name, strlen(fields[i].name), fields[i].value,
                                    strlen(fields[i].value)),
                         0);
}

/* The names and values of a list in one text. */
static void print(const struct header_list *list, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        int len = snprintf(out + at, size - at, "%s=%s|", list->items[i].name, list->items[i].value);

        ck_assert(len > 0 && (size_t)len < size - at);
        at += (size_t)len;
    }
}

/* With a file of clients. */
#define ALICE  "clv_alice6789012345678901234567890123456789012345"
#define ALICE2 "clv_Alice6789012345678901234567890123456789012345" /* her next one */
#define BOB    "clv_bob-_6789012345678901234567890123456789012345" /* anthropic only */
#define CAROL  "clv_carol6789012345678901234567890123456789012345" /* nobyok */
#define DAVE   "a word of his own"                                 /* counts in X-Claviger-Token alone */

#define NONE    CREDENTIAL_NO_TOKEN
#define TWO     CREDENTIAL_TWO_CLIENTS
#define WRONG   CREDENTIAL_NOT_THIS_PROVIDER
#define NO_BYOK CREDENTIAL_NO_BYOK

static const struct {
    enum who who;
    struct field in[4];
    enum credential_kind kind;
    const char *client;
} client_cases[] = {
    /* no token: the pools are closed, BYOK needs none */
    {ANTHROPIC, {{NULL, NULL}}, NONE, NULL},
    {OPENAI, {{NULL, NULL}}, NONE, NULL},
    {CUSTOM, {{NULL, NULL}}, NONE, NULL},
    {ANTHROPIC, {{"X-Api-Key", "claviger"}}, NONE, NULL},
    {OPENAI, {{"Authorization", "Bearer claviger"}}, NONE, NULL},
    {OPENAI, {{"X-Claviger-Token", ""}}, NONE, NULL},
    {OPENAI, {{"X-Claviger-Token", "claviger"}}, NONE, NULL},
    {OPENAI, {{"X-Api-Key", "sk-1"}}, NONE, NULL},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}}, BYOK, NULL},
    {ANTHROPIC, {{"Authorization", "Bearer sk-1"}}, BYOK, NULL},
    {OPENAI, {{"Authorization", "Basic eA=="}}, BYOK, NULL},
    {OPENAI, {{"Authorization", DAVE}}, BYOK, NULL}, /* no token by its form */
    {ANTHROPIC_NO_BYOK, {{NULL, NULL}}, NONE, NULL},
    {ANTHROPIC_NO_BYOK, {{"X-Api-Key", "sk-1"}}, NONE, NULL},
    {OPENAI_NO_BYOK, {{"Authorization", "Bearer sk-1"}}, NONE, NULL},
    /* nothing of the gateway's is used where there are no keys */
    {ANTHROPIC_NO_KEYS, {{NULL, NULL}}, BYOK, NULL},
    {COPILOT, {{NULL, NULL}}, BYOK, NULL},
    {COPILOT, {{"Authorization", "Bearer gho_x"}}, BYOK, NULL},
    /* a token in each of its places */
    {ANTHROPIC, {{"X-Api-Key", ALICE}}, POOL, "alice"},
    {ANTHROPIC, {{"Authorization", "Bearer " ALICE}}, POOL, "alice"},
    {ANTHROPIC, {{"X-Claviger-Token", ALICE}}, POOL, "alice"},
    {OPENAI, {{"X-Api-Key", ALICE}}, POOL, "alice"},
    {OPENAI, {{"authorization", "bearer  " ALICE "\t"}}, POOL, "alice"},
    {OPENAI, {{"Authorization", ALICE}}, POOL, "alice"},
    {OPENAI, {{"Authorization", "ApiKey " ALICE}}, POOL, "alice"},
    {OPENAI, {{"x-claviger-token", "Bearer " ALICE}}, POOL, "alice"},
    {OPENAI, {{"X-Claviger-Token", DAVE}}, POOL, "dave"},
    {OPENAI_NO_BYOK, {{"Authorization", "Bearer " ALICE}}, POOL, "alice"},
    {CUSTOM, {{"X-Goog-Api-Key", ALICE}}, POOL, "alice"},
    {CUSTOM, {{"Authorization", "Bearer " ALICE}}, POOL, "alice"},
    {CUSTOM_PREFIX, {{"Api-Auth", "Token " ALICE}}, POOL, "alice"},
    {CUSTOM_GLUED, {{"X-Sig", "key=" ALICE}}, POOL, "alice"},
    /* no place: the other providers' fields, spellings that only look alike */
    {OPENAI, {{"X-Goog-Api-Key", ALICE}}, NONE, NULL},
    {OPENAI, {{"X_Api_Key", ALICE}}, NONE, NULL},
    {OPENAI, {{"X_Claviger_Token", ALICE}}, NONE, NULL},
    {OPENAI, {{"Cookie", "token=" ALICE}}, NONE, NULL},
    {OPENAI, {{"Proxy-Authorization", "Bearer " ALICE}}, NONE, NULL},
    /* unknown ones: by a letter, by length, by case, and never BYOK */
    {ANTHROPIC, {{"X-Api-Key", TOKEN}}, UNKNOWN, NULL},
    {ANTHROPIC, {{"X-Api-Key", ALICE "x"}}, UNKNOWN, NULL},
    {ANTHROPIC, {{"X-Api-Key", "clv_"}}, UNKNOWN, NULL},
    {ANTHROPIC, {{"X-Api-Key", ALICE " " ALICE}}, UNKNOWN, NULL},
    {OPENAI, {{"X-Claviger-Token", "anything"}}, UNKNOWN, NULL},
    {OPENAI, {{"X-Claviger-Token", TOKEN}, {"Authorization", "Bearer sk-1"}}, UNKNOWN, NULL},
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer " TOKEN}}, UNKNOWN, NULL},
    {COPILOT, {{"X-Claviger-Token", TOKEN}, {"Authorization", "Bearer gho_x"}}, UNKNOWN, NULL},
    /* several */
    {ANTHROPIC, {{"X-Api-Key", ALICE}, {"Authorization", "Bearer " ALICE}}, POOL, "alice"},
    {ANTHROPIC, {{"X-Api-Key", ALICE}, {"Authorization", "Bearer " ALICE2}}, POOL, "alice"},
    {ANTHROPIC, {{"X-Api-Key", ALICE}, {"X-Claviger-Token", CAROL}}, TWO, NULL},
    {ANTHROPIC, {{"X-Api-Key", ALICE}, {"X-Claviger-Token", TOKEN}}, UNKNOWN, NULL},
    {ANTHROPIC, {{"X-Api-Key", TOKEN}, {"X-Claviger-Token", ALICE}}, UNKNOWN, NULL},
    {ANTHROPIC, {{"X-Api-Key", "claviger"}, {"X-Claviger-Token", ALICE}}, POOL, "alice"},
    {ANTHROPIC, {{"X-Api-Key", ALICE}, {"Authorization", "Bearer claviger"}}, POOL, "alice"},
    /* a token and an own credential: the token says who it is, the credential goes on */
    {ANTHROPIC, {{"X-Claviger-Token", ALICE}, {"X-Api-Key", "sk-1"}}, BYOK, "alice"},
    {ANTHROPIC, {{"X-Api-Key", ALICE}, {"Authorization", "Bearer sk-1"}}, BYOK, "alice"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer " ALICE}}, BYOK, "alice"},
    {OPENAI, {{"X-Claviger-Token", ALICE}, {"Authorization", "Basic eA=="}}, BYOK, "alice"},
    {OPENAI, {{"X-Api-Key", ALICE}, {"Authorization", "Bearer sk-1"}}, BYOK, "alice"},
    {OPENAI, {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer " ALICE}}, POOL, "alice"}, /* not its place */
    {OPENAI_NO_BYOK, {{"X-Claviger-Token", ALICE}, {"Authorization", "Bearer sk-1"}}, POOL, "alice"},
    {OPENAI_NO_KEYS, {{"X-Claviger-Token", ALICE}, {"Authorization", "Bearer sk-1"}}, BYOK, "alice"},
    {COPILOT, {{"X-Claviger-Token", ALICE}, {"Authorization", "Bearer gho_x"}}, BYOK, "alice"},
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer " ALICE}}, BYOK, "alice"},
    /* a client of some providers only */
    {ANTHROPIC, {{"X-Api-Key", BOB}}, POOL, "bob"},
    {ANTHROPIC, {{"X-Claviger-Token", BOB}, {"X-Api-Key", "sk-1"}}, BYOK, "bob"},
    {OPENAI, {{"Authorization", "Bearer " BOB}}, WRONG, "bob"},
    {OPENAI, {{"X-Claviger-Token", BOB}, {"Authorization", "Bearer sk-1"}}, WRONG, "bob"},
    {ANTHROPIC_NO_BYOK, {{"X-Api-Key", BOB}}, WRONG, "bob"}, /* of the same type, but another */
    {COPILOT, {{"X-Claviger-Token", BOB}, {"Authorization", "Bearer gho_x"}}, WRONG, "bob"},
    {COPILOT, {{"X-Claviger-Token", BOB}}, WRONG, "bob"},
    /* nobyok */
    {OPENAI, {{"Authorization", "Bearer " CAROL}}, POOL, "carol"},
    {OPENAI, {{"X-Claviger-Token", CAROL}, {"Authorization", "Bearer claviger"}}, POOL, "carol"},
    {OPENAI, {{"X-Claviger-Token", CAROL}, {"Authorization", "Bearer sk-1"}}, NO_BYOK, "carol"},
    {ANTHROPIC, {{"X-Api-Key", CAROL}, {"Authorization", "Bearer sk-1"}}, NO_BYOK, "carol"},
    {COPILOT, {{"X-Claviger-Token", CAROL}, {"Authorization", "Bearer gho_x"}}, NO_BYOK, "carol"},
    {COPILOT, {{"X-Claviger-Token", CAROL}}, BYOK, "carol"}, /* as it came: with nothing */
    {OPENAI_NO_BYOK, {{"X-Claviger-Token", CAROL}, {"Authorization", "Bearer sk-1"}}, POOL, "carol"},
};

/* The clients of client_cases; the strings are not owned. */
static void make_clients(struct client_list *list, struct client_entry items[5], const struct provider **bobs)
{
    static char alice[] = "alice";
    static char bob[] = "bob";
    static char carol[] = "carol";
    static char dave[] = "dave";
    static const struct {
        char *name;
        const char *token;
    } all[5] = {{alice, ALICE}, {bob, BOB}, {carol, CAROL}, {dave, DAVE}, {alice, ALICE2}};

    bobs[0] = &providers[ANTHROPIC];
    for (size_t i = 0; i < COUNT(all); i++) {
        items[i] = (struct client_entry){.name = all[i].name, .byok = all[i].name != carol};
        ck_assert_int_eq(digest_sha256(all[i].token, strlen(all[i].token), items[i].hash), 0);
    }
    items[1].providers = bobs;
    items[1].provider_count = 1;
    *list = (struct client_list){items, COUNT(all)};
}

START_TEST(judges_clients)
{
    struct header_list list = {0};
    const struct client_entry *client;
    const struct provider *bobs[1];
    struct client_entry items[5];
    struct client_list clients;
    enum credential_kind kind;

    setup();
    make_clients(&clients, items, bobs);
    fill(&list, client_cases[_i].in, COUNT(client_cases[_i].in));
    kind = credential_judge(&providers[client_cases[_i].who], &clients, &list, &client);
    ck_assert_msg(kind == client_cases[_i].kind, "case %d (%s: %s): %d", _i,
                  client_cases[_i].in[0].name ? client_cases[_i].in[0].name : "-",
                  client_cases[_i].in[0].value ? client_cases[_i].in[0].value : "-", (int)kind);
    ck_assert_int_eq(client == NULL, client_cases[_i].client == NULL);
    if (client != NULL)
        ck_assert_str_eq(client->name, client_cases[_i].client);
    ck_assert_int_eq(credential_refusal(kind) == NULL, kind == POOL || kind == BYOK);
    header_list_fini(&list);
}
END_TEST

/* Whatever way a case goes: no token is left in what travels. */
START_TEST(no_token_travels)
{
    static const char *const tokens[] = {ALICE, ALICE2, BOB, CAROL, TOKEN};
    struct header_list list = {0};

    setup();
    for (int way = 0; way < 2; way++) {
        header_list_clear(&list);
        fill(&list, client_cases[_i].in, COUNT(client_cases[_i].in));
        if (way == 0)
            credential_strip(&everyone, &list);
        else
            credential_strip_gateway(&providers[client_cases[_i].who], &list);
        for (size_t i = 0; i < list.count; i++) {
            for (size_t t = 0; t < COUNT(tokens); t++)
                ck_assert_msg(strstr(list.items[i].value, tokens[t]) == NULL, "case %d: %s: %s", _i,
                              list.items[i].name, list.items[i].value);
        }
        ck_assert_ptr_null(header_find(&list, "X-Claviger-Token"));
    }
    header_list_fini(&list);
}
END_TEST

/* A file without any client: there is nobody who could come in. */
START_TEST(judges_without_any_client)
{
    struct client_list nobody = {NULL, 0};
    struct header_list list = {0};
    const struct client_entry *client;

    setup();
    ck_assert_int_eq(credential_judge(&providers[OPENAI], &nobody, &list, &client), CREDENTIAL_NO_TOKEN);
    ck_assert_int_eq(header_add(&list, "X-Api-Key", 9, ALICE, strlen(ALICE)), 0);
    ck_assert_int_eq(credential_judge(&providers[OPENAI], &nobody, &list, &client), CREDENTIAL_UNKNOWN_TOKEN);
    ck_assert_ptr_null(client);
    header_list_fini(&list);
}
END_TEST

START_TEST(judges)
{
    struct header_list list = {0};
    const struct client_entry *client = (const struct client_entry *)(const void *)&list;
    enum credential_kind kind;

    setup();
    fill(&list, judge_cases[_i].in, COUNT(judge_cases[_i].in));
    kind = credential_judge(&providers[judge_cases[_i].who], NULL, &list, &client);
    ck_assert_ptr_null(client);
    ck_assert_msg(kind == judge_cases[_i].kind, "case %d (%s: %s): %d", _i,
                  judge_cases[_i].in[0].name ? judge_cases[_i].in[0].name : "-",
                  judge_cases[_i].in[0].value ? judge_cases[_i].in[0].value : "-", (int)kind);
    ck_assert_uint_le(list.count, COUNT(judge_cases[_i].in)); /* judging changes nothing */
    header_list_fini(&list);
}
END_TEST

START_TEST(knows_credential_headers)
{
    static const char *const always[] = {"X-Api-Key",       "x-api-key",        "Authorization",
                                         "AUTHORIZATION",   "X-Claviger-Token", "x-claviger-token",
                                         "X_Api_Key",       "x_API-key",        "X.Api~Key",
                                         "X_CLAVIGER_TOKEN"};
    static const char *const configured[] = {"X-Goog-Api-Key", "x-goog-api-key", "Api-Auth",
                                             "X-SIG",          "X_Goog_Api_Key", "api_auth"};
    static const char *const never[] = {"",           "X-Api-Keys",     "X-Api-Ke", "Cookie",
                                        "Host",       "Authorization2", "Api-Key",  "XApi-Key",
                                        "X-Api-Key-", "Authorization_"};
    struct provider_list nobody = {NULL, 0};

    setup();
    for (size_t i = 0; i < COUNT(always); i++) {
        ck_assert_msg(credential_is_header(&everyone, always[i]), "%s", always[i]);
        ck_assert_msg(credential_is_header(&nobody, always[i]), "%s", always[i]);
    }
    for (size_t i = 0; i < COUNT(configured); i++) {
        ck_assert_msg(credential_is_header(&everyone, configured[i]), "%s", configured[i]);
        ck_assert_msg(!credential_is_header(&nobody, configured[i]), "%s", configured[i]);
    }
    for (size_t i = 0; i < COUNT(never); i++)
        ck_assert_msg(!credential_is_header(&everyone, never[i]), "%s", never[i]);
}
END_TEST

/* The table of types names no credential header that the module does not know. */
START_TEST(knows_the_headers_of_every_type)
{
    struct provider_list nobody = {NULL, 0};

    for (int type = PROVIDER_ANTHROPIC; type <= PROVIDER_CUSTOM; type++) {
        const struct provider_type_info *info = provider_type_info((enum provider_type)type);

        ck_assert_msg(credential_is_header(&nobody, info->auth_header), "%s", info->auth_header);
        for (size_t i = 0; info->byok_headers[i] != NULL; i++)
            ck_assert_msg(credential_is_header(&nobody, info->byok_headers[i]), "%s", info->byok_headers[i]);
    }
}
END_TEST

START_TEST(strips_every_credential)
{
    static const struct field in[] = {
        {"Accept", "*/*"},
        {"x-api-key", "sk-ant"},
        {"Content-Type", "t"},
        {"X-GOOG-API-KEY", "g"},
        {"Authorization", "Bearer x"},
        {"X-Api-Keys", "kept"},
        {"API-AUTH", "Token x"},
        {"X-Claviger-Token", TOKEN},
        {"Authorization", "again"},
        {"Cookie", "kept"},
        {"X-Sig", "key=y"},
        {"X_Api_Key", "u"},
        {"x.goog_api-key", "u"},
        {"X-Other", "a " TOKEN "!"},
        {"X-Near", "clv_short and xclv_0123456789012345678901234567890123456789012"},
        {"Anthropic-Version", "2023-06-01"},
    };
    struct header_list list = {0};
    char out[300];

    setup();
    fill(&list, in, COUNT(in));
    credential_strip(&everyone, &list);
    print(&list, out, sizeof(out));
    ck_assert_str_eq(out, "Accept=*/*|Content-Type=t|X-Api-Keys=kept|Cookie=kept|X-Near=clv_short and "
                          "xclv_0123456789012345678901234567890123456789012|Anthropic-Version=2023-06-01|");
    header_list_clear(&list);
    credential_strip(&everyone, &list);
    ck_assert_uint_eq(list.count, 0);
    header_list_fini(&list);
}
END_TEST

static const struct {
    enum who who;
    struct field in[4];
    const char *out;
} gateway_cases[] = {
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"A", "b"}}, "X-Api-Key=sk-1|A=b|"},
    {ANTHROPIC, {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer sk-1"}}, "Authorization=Bearer sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer claviger"}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC, {{"Authorization", "Bearer sk-1"}, {"X-Api-Key", TOKEN}}, "Authorization=Bearer sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"X-Claviger-Token", TOKEN}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"X-Claviger-Token", "whatever"}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC, {{"X-Api-Key", "sk-1"}, {"X-Claviger-Token", ""}}, "X-Api-Key=sk-1|"},
    {ANTHROPIC,
     {{"X-Api-Key", ""}, {"Authorization", "Bearer sk-1"}},
     "X-Api-Key=|Authorization=Bearer sk-1|"},
    {ANTHROPIC,
     {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer sk-2"}},
     "X-Api-Key=sk-1|Authorization=Bearer sk-2|"},
    /* what has no meaning for this provider is its own business */
    {OPENAI,
     {{"X-Api-Key", "sk-1"}, {"Authorization", "Bearer sk-2"}},
     "X-Api-Key=sk-1|Authorization=Bearer sk-2|"},
    {OPENAI, {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer sk-2"}}, "Authorization=Bearer sk-2|"},
    {OPENAI,
     {{"Authorization", "Basic eA=="}, {"Api-Key", "claviger"}},
     "Authorization=Basic eA==|Api-Key=claviger|"},
    /* nothing of its own: as it came, but for tokens */
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer claviger"}}, "Authorization=Bearer claviger|"},
    {ANTHROPIC_NO_KEYS,
     {{"X-Api-Key", "claviger"}, {"Authorization", "Bearer"}},
     "X-Api-Key=claviger|Authorization=Bearer|"},
    {OPENAI_NO_KEYS, {{"Authorization", "Bearer " TOKEN}, {"X-Api-Key", "claviger"}}, "X-Api-Key=claviger|"},
    {OPENAI_NO_KEYS,
     {{"X-Api-Key", "sk-1"}, {"Authorization", "claviger"}},
     "X-Api-Key=sk-1|Authorization=claviger|"},
    {COPILOT,
     {{"Authorization", "Bearer gho_x"}, {"X-Claviger-Token", TOKEN}},
     "Authorization=Bearer gho_x|"},
    {COPILOT, {{"Authorization", "Bearer claviger"}}, "Authorization=Bearer claviger|"},
    {COPILOT, {{"Accept", "*/*"}, {"B", "claviger"}}, "Accept=*/*|B=claviger|"},
    {CUSTOM, {{"X-Goog-Api-Key", "AIza"}, {"Authorization", "Bearer claviger"}}, "X-Goog-Api-Key=AIza|"},
    {CUSTOM, {{"X-Goog-Api-Key", "AIza"}, {"Authorization", "Bearer " TOKEN}}, "X-Goog-Api-Key=AIza|"},
    {CUSTOM,
     {{"X-Goog-Api-Key", "AIza"}, {"Authorization", "Bearer y"}},
     "X-Goog-Api-Key=AIza|Authorization=Bearer y|"},
    {CUSTOM_PREFIX, {{"Api-Auth", "Token " TOKEN}, {"Api-Auth", "Token x"}}, "Api-Auth=Token x|"},
    /* a token in a field that is no place for it */
    {OPENAI,
     {{"Authorization", "Bearer sk-1"}, {"Cookie", "t=" TOKEN "; u"}, {"X_Claviger_Token", "w"}},
     "Authorization=Bearer sk-1|"},
    {OPENAI,
     {{"Authorization", "Bearer sk-1"}, {"X-Goog-Api-Key", TOKEN}, {"X_Api_Key", "sk-2"}},
     "Authorization=Bearer sk-1|X_Api_Key=sk-2|"},
};

START_TEST(strips_what_is_the_gateways)
{
    struct header_list list = {0};
    char out[300];

    setup();
    fill(&list, gateway_cases[_i].in, COUNT(gateway_cases[_i].in));
    credential_strip_gateway(&providers[gateway_cases[_i].who], &list);
    print(&list, out, sizeof(out));
    ck_assert_str_eq(out, gateway_cases[_i].out);
    header_list_fini(&list);
}
END_TEST

START_TEST(strips_what_repeats_the_key)
{
    static const char text[] = "sk-a-key-0123456789";
    static const struct field in[] = {
        {"Content-Type", "t"},
        {"Location", "https://x/?key=sk-a-key-0123456789&a"},
        {"Location", "https://x/?key=sk-a-key-012345678"},
        {"X-Echo", "sk-a-key-0123456789"},
        {"X-Empty", ""},
    };
    struct secret *key = secret_new(text, strlen(text));
    struct secret *brief = secret_new("t", 1);
    struct header_list list = {0};
    char out[200];

    ck_assert_ptr_nonnull(key);
    ck_assert_ptr_nonnull(brief);
    fill(&list, in, COUNT(in));
    ck_assert_uint_eq(credential_strip_echo(key, &list), 2);
    print(&list, out, sizeof(out));
    ck_assert_str_eq(out, "Content-Type=t|Location=https://x/?key=sk-a-key-012345678|X-Empty=|");
    ck_assert_uint_eq(credential_strip_echo(brief, &list), 0);
    ck_assert_uint_eq(list.count, 3);
    header_list_fini(&list);
    secret_free(&key);
    secret_free(&brief);
}
END_TEST

#define STARS "*******************"

static const struct {
    const char *in;
    const char *out;
    size_t held;
} hide_cases[] = {
    {"", "", 0},
    {"nothing here", "nothing here", 0},
    {"sk-a-key-0123456789", STARS, 0},
    {"[sk-a-key-0123456789]", "[" STARS "]", 0},
    {"sk-a-key-0123456789sk-a-key-0123456789", STARS STARS, 0},
    {"a sk-a-key-0123456789 b sk-a-key-0123456789 c", "a " STARS " b " STARS " c", 0},
    {"sk-a-key-012345678", "sk-a-key-012345678", 18},
    {"sk-a-key-012345678x", "sk-a-key-012345678x", 0},
    {"x sk-a-key-01234567", "x sk-a-key-01234567", 17},
    {"sk-a-key-0123456789 s", STARS " s", 1},
    {"sk-a-key-0123456789sk-", STARS "sk-", 3},
    {"sk-sk-a-k", "sk-sk-a-k", 6},
    {"SK-A-KEY-0123456789", "SK-A-KEY-0123456789", 0},
    {"this", "this", 1},
};

START_TEST(hides_the_key)
{
    static const char text[] = "sk-a-key-0123456789";
    struct secret *key = secret_new(text, strlen(text));
    char data[64];
    size_t len = strlen(hide_cases[_i].in);

    ck_assert_ptr_nonnull(key);
    memcpy(data, hide_cases[_i].in, len + 1);
    ck_assert_uint_eq(credential_hide(key, data, len), hide_cases[_i].held);
    ck_assert_str_eq(data, hide_cases[_i].out);
    secret_free(&key);
}
END_TEST

/* In pieces of every size it is the same, when what is held back is looked at again. */
START_TEST(hides_the_key_in_pieces)
{
    static const char text[] = "sk-sk-key-0123456789";
    static const char whole[] = "sk-sk-sk-key-0123456789 and sk-sk-key-01234567 sk-sk-key-0123456789";
    static const char wanted[] = "sk-******************** and sk-sk-key-01234567 ********************";
    struct secret *key = secret_new(text, strlen(text));
    char data[sizeof(whole)];

    ck_assert_ptr_nonnull(key);
    for (size_t piece = 1; piece <= strlen(whole); piece++) {
        size_t at = 0;
        size_t held = 0;

        memcpy(data, whole, sizeof(whole));
        while (at < strlen(whole)) {
            size_t take = strlen(whole) - at < piece ? strlen(whole) - at : piece;

            held = credential_hide(key, data + at - held, held + take);
            at += take;
        }
        ck_assert_str_eq(data, wanted);
        ck_assert_uint_eq(held, 0);
    }
    secret_free(&key);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("credential");
    TCase *tc = tcase_create("credential");
    SRunner *sr = srunner_create(suite);
    int failed;

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, judges, 0, COUNT(judge_cases));
    tcase_add_loop_test(tc, judges_clients, 0, COUNT(client_cases));
    tcase_add_loop_test(tc, no_token_travels, 0, COUNT(client_cases));
    tcase_add_test(tc, judges_without_any_client);
    tcase_add_test(tc, knows_credential_headers);
    tcase_add_test(tc, knows_the_headers_of_every_type);
    tcase_add_test(tc, strips_every_credential);
    tcase_add_loop_test(tc, strips_what_is_the_gateways, 0, COUNT(gateway_cases));
    tcase_add_test(tc, strips_what_repeats_the_key);
    tcase_add_loop_test(tc, hides_the_key, 0, COUNT(hide_cases));
    tcase_add_test(tc, hides_the_key_in_pieces);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
