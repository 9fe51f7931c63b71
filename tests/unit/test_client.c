/* test_client: names of clients, who has a token, and what a client may use. */
#include "core/client.h"

#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

START_TEST(names)
{
    static const char *const good[] = {"a",     "Z",    "alice", "ci-runner_2", "bob.b@example.com",
                                       "unixx", "Unix", "clv",   "clv-1"};
    static const struct {
        const char *name;
        const char *words;
    } bad[] = {
        {"", "is empty"},
        {"1a", "begin with a letter"},
        {"-", "begin with a letter"},
        {"127.0.0.1", "begin with a letter"},
        {"unix", "request log"},
        {"a b", "other than letters"},
        {"a:b", "other than letters"},
        {"fe80::1", "other than letters"},
        {"caf\xc3\xa9", "other than letters"},
        {"a\n", "other than letters"},
        {"clv_", "as tokens do"},
        {"clv_0123456789012345678901234567890123456789012", "as tokens do"},
        {"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12345", "64 characters"},
    };

    for (size_t i = 0; i < COUNT(good); i++)
        ck_assert_msg(client_name_fault(good[i], strlen(good[i])) == NULL, "%s", good[i]);
    for (size_t i = 0; i < COUNT(bad); i++) {
        const char *fault = client_name_fault(bad[i].name, strlen(bad[i].name));

        ck_assert_msg(fault != NULL && strstr(fault, bad[i].words) != NULL, "%s: %s", bad[i].name,
                      fault != NULL ? fault : "(no fault)");
    }
    ck_assert_ptr_nonnull(client_name_fault("a\0b", 3));
    ck_assert_ptr_null(client_name_fault(bad[12].name, 64));
}
END_TEST

/* The first, the last, each between; and what only nearly fits. */
START_TEST(finds)
{
    struct client_entry items[20];
    struct client_list list = {items, COUNT(items)};
    const char *nearly[] = {"", "clv_", "clv_token-1", "clv_token-00 ", "CLV_token-00", "clv_token-20"};
    char token[32];

    memset(items, 0, sizeof(items));
    for (size_t i = 0; i < COUNT(items); i++) {
        snprintf(token, sizeof(token), "clv_token-%02zu", i);
        ck_assert_int_eq(digest_sha256(token, strlen(token), items[i].hash), 0);
    }
    for (size_t i = 0; i < COUNT(items); i++) {
        snprintf(token, sizeof(token), "clv_token-%02zu", i);
        ck_assert_ptr_eq(client_find(&list, token, strlen(token)), &items[i]);
    }
    for (size_t i = 0; i < COUNT(nearly); i++)
        ck_assert_msg(client_find(&list, nearly[i], strlen(nearly[i])) == NULL, "%s", nearly[i]);
    /* A hash that differs in one bit, first byte or last. */
    items[3].hash[0] ^= 1;
    items[4].hash[DIGEST_SIZE - 1] ^= 0x80;
    ck_assert_ptr_null(client_find(&list, "clv_token-03", 12));
    ck_assert_ptr_null(client_find(&list, "clv_token-04", 12));
    ck_assert_ptr_eq(client_find(&list, "clv_token-05", 12), &items[5]);
    list.count = 0;
    ck_assert_ptr_null(client_find(&list, "clv_token-05", 12));
}
END_TEST

START_TEST(may_use)
{
    struct provider providers[3];
    const struct provider *some[] = {&providers[2], &providers[0]};
    struct client_entry client = {0};

    memset(providers, 0, sizeof(providers));
    ck_assert(client_may_use(&client, &providers[1]));
    client.providers = some;
    ck_assert(!client_may_use(&client, &providers[0])); /* an empty list is not "all" */
    client.provider_count = 2;
    ck_assert(client_may_use(&client, &providers[0]));
    ck_assert(!client_may_use(&client, &providers[1]));
    ck_assert(client_may_use(&client, &providers[2]));
}
END_TEST

START_TEST(frees)
{
    struct client_list list = {calloc(2, sizeof(struct client_entry)), 2};

    ck_assert_ptr_nonnull(list.items);
    list.items[0].name = strdup("a");
    list.items[0].providers = calloc(1, sizeof(const struct provider *));
    client_list_fini(&list);
    ck_assert_ptr_null(list.items);
    ck_assert_uint_eq(list.count, 0);
    client_list_fini(&list);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("client");
    TCase *tc = tcase_create("client");

    suite_add_tcase(suite, tc);
    tcase_add_test(tc, names);
    tcase_add_test(tc, finds);
    tcase_add_test(tc, may_use);
    tcase_add_test(tc, frees);
    return suite_run(suite);
}
