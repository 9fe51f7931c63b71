/*
 * test_credential: whose credential a request carries: nobody's, a client's own, a token of the gateway's.
 */
#include "credential_providers.h"

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

int main(void)
{
    Suite *suite = suite_create("credential");
    TCase *tc = tcase_create("credential");

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, judges, 0, COUNT(judge_cases));
    tcase_add_loop_test(tc, judges_clients, 0, COUNT(client_cases));
    tcase_add_loop_test(tc, no_token_travels, 0, COUNT(client_cases));
    tcase_add_test(tc, judges_without_any_client);
    return suite_run(suite);
}
