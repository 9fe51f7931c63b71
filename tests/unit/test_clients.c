/* test_clients: the file of client tokens: what is read, and the place and words of every error. */
#include "io/clients.h"

#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define TOKEN "clv_CANARY7f3b9012345678901234567890123456789012"
#define A64   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B64   "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C64   "CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC"
#define D64   "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

static char dir[] = "/tmp/test_clients.XXXXXX";
static char path[64];

static char anthropic[] = "anthropic";
static char openai[] = "openai";
static char local[] = "local-1";
static struct provider items[3] = {{.name = anthropic}, {.name = openai}, {.name = local}};
static const struct provider_list providers = {items, 3};

static void setup(void)
{
    strncpy(dir, "/tmp/test_clients.XXXXXX", sizeof(dir));
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/clients", dir);
}

static void teardown(void)
{
    unlink(path);
    rmdir(dir);
}

static void write_file(const char *text, size_t len, mode_t mode)
{
    FILE *f;

    unlink(path); /* nobody but root could write to one that is read-only */
    f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    ck_assert_uint_eq(fwrite(text, 1, len, f), len);
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_int_eq(chmod(path, mode), 0);
}

/* Loads the file; the result and what was said. */
static int load(struct client_list *list, struct buf *said)
{
    struct conf_errors errors = {.file = "/etc/claviger.conf", .out = said};
    int result;

    *list = (struct client_list){0};
    result = clients_load(path, &providers, &errors, 7, list);
    ck_assert_int_eq(result == 0, errors.count == 0);
    ck_assert_int_eq(result == 0, said->len == 0);
    if (result < 0)
        ck_assert_uint_eq(list->count, 0);
    return result;
}

START_TEST(reads)
{
    static const char text[] = "# the team\n"
                               "\n"
                               "alice:" A64 "\n"
                               "  bob:" B64 ":\t\r\n"
                               "\t# old\n"
                               "carol:" C64 ":openai,anthropic,openai:nobyok\n"
                               "alice:" D64 "::byok";
    struct client_list list;
    struct buf said = {0};

    write_file(text, strlen(text), 0640);
    ck_assert_msg(load(&list, &said) == 0, "%s", said.data);
    ck_assert_uint_eq(list.count, 4);
    ck_assert_str_eq(list.items[0].name, "alice");
    ck_assert_ptr_null(list.items[0].providers);
    ck_assert(list.items[0].byok);
    ck_assert_uint_eq(list.items[0].hash[0], 0xaa);
    ck_assert_uint_eq(list.items[0].hash[DIGEST_SIZE - 1], 0xaa);
    ck_assert_str_eq(list.items[1].name, "bob");
    ck_assert_ptr_null(list.items[1].providers);
    ck_assert(list.items[1].byok);
    ck_assert_str_eq(list.items[2].name, "carol");
    ck_assert_uint_eq(list.items[2].hash[5], 0xcc);
    ck_assert(!list.items[2].byok);
    ck_assert_uint_eq(list.items[2].provider_count, 2);
    ck_assert(client_may_use(&list.items[2], &items[0]));
    ck_assert(client_may_use(&list.items[2], &items[1]));
    ck_assert(!client_may_use(&list.items[2], &items[2]));
    ck_assert_str_eq(list.items[3].name, "alice");
    client_list_fini(&list);
    buf_fini(&said);
}
END_TEST

/* The line that clavigerctl prints lets its token in. */
START_TEST(a_hash_lets_its_token_in)
{
    char hash[DIGEST_HEX_SIZE];
    struct client_list list;
    struct buf said = {0};
    struct buf text = {0};

    ck_assert_int_eq(digest_sha256_hex(TOKEN, strlen(TOKEN), hash), 0);
    buf_printf(&text, "a:" A64 "\nalice:%s\n", hash);
    write_file(text.data, text.len, 0600);
    ck_assert_int_eq(load(&list, &said), 0);
    ck_assert_ptr_eq(client_find(&list, TOKEN, strlen(TOKEN)), &list.items[1]);
    client_list_fini(&list);
    buf_fini(&text);
}
END_TEST

/* Nobody has a token: that must be sayable, or the last client could not be removed. */
START_TEST(a_file_without_a_client)
{
    static const char *const texts[] = {"", "\n\n", "# nobody\n"};
    struct client_list list;
    struct buf said = {0};

    for (size_t i = 0; i < COUNT(texts); i++) {
        write_file(texts[i], strlen(texts[i]), 0444);
        ck_assert_int_eq(load(&list, &said), 0);
        ck_assert_uint_eq(list.count, 0);
        client_list_fini(&list);
    }
}
END_TEST

static const struct {
    const char *text;
    unsigned line;
    const char *words;
} bad[] = {
    {"alice\n", 1, "write NAME:HASH"},
    {"\n\n" TOKEN "\n", 3, "write NAME:HASH"},
    {"alice:" A64 ":::\n", 1, "write NAME:HASH"},
    {":" A64 "\n", 1, "name is empty"},
    {"1:" A64 "\n", 1, "name does not begin with a letter"},
    {"a b:" A64 "\n", 1, "name has a character"},
    {"unix:" A64 "\n", 1, "request log"},
    {TOKEN ":" A64 "\n", 1, "name begins with clv_"},
    {"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12345:" A64 "\n", 1, "64 characters"},
    {"alice:\n", 1, "64 hexadecimal digits"},
    {"alice: " A64 "\n", 1, "64 hexadecimal digits"},
    {"alice:" A64 "a\n", 1, "64 hexadecimal digits"},
    {"alice:g" A64 "\n", 1, "64 hexadecimal digits"},
    {"x:" A64 "\nalice:gbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n", 2,
     "no hexadecimal digit"},
    {"alice:" TOKEN "\n", 1, "its hash is a token"},
    {"a:" A64 "\n# x\nb:" B64 "\n\nc:" A64 "\n", 5, "stands in line 1"},
    {"a:" A64 "\na:" A64 "\n", 2, "stands in line 1"},
    {"a:" C64 "\na:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc\n", 2,
     "stands in line 1"},
    {"a:" A64 "\na:" B64 "\na:" C64 "\n", 3, "two lines before"},
    {"a:" A64 "\na:" B64 ":openai\n", 2, "in line 1"},
    {"a:" A64 ":openai\na:" B64 "\n", 2, "in line 1"},
    {"a:" A64 ":openai\na:" B64 ":anthropic\n", 2, "in line 1"},
    {"a:" A64 ":openai\na:" B64 ":anthropic,openai\n", 2, "in line 1"},
    {"a:" A64 "\n\na:" B64 "::nobyok\n", 3, "in line 1"},
    {"a:" A64 ":nobody\n", 1, "a provider that is not configured"},
    {"a:" A64 ":open\n", 1, "a provider that is not configured"},
    {"a:" A64 ":openai,\n", 1, "a provider that is not configured"},
    {"a:" A64 ":,openai\n", 1, "a provider that is not configured"},
    {"a:" A64 ":openai, anthropic\n", 1, "a provider that is not configured"},
    {"a:" A64 "::no\n", 1, "byok or nobyok"},
    {"a:" A64 ":openai:NOBYOK\n", 1, "byok or nobyok"},
};

START_TEST(refuses)
{
    struct client_list list;
    struct buf said = {0};
    char place[128];

    write_file(bad[_i].text, strlen(bad[_i].text), 0600);
    ck_assert_msg(load(&list, &said) < 0, "%s was taken", bad[_i].text);
    snprintf(place, sizeof(place), "%s:%u: ", path, bad[_i].line);
    ck_assert_msg(strncmp(said.data, place, strlen(place)) == 0, "not at %s: %s", place, said.data);
    ck_assert_msg(strstr(said.data, bad[_i].words) != NULL, "not \"%s\": %s", bad[_i].words, said.data);
    ck_assert_ptr_eq(strchr(said.data, '\n'), said.data + said.len - 1); /* one */
    ck_assert_ptr_null(strstr(said.data, "CANARY"));
    ck_assert_ptr_null(strstr(said.data, "aaaaaaaaaaaaaaaaaaaa"));
    buf_fini(&said);
}
END_TEST

/* All that is wrong is told at once, up to a point. */
START_TEST(tells_several)
{
    static const char text[] = "alice\na:" A64 "\nb:" A64 "\nc:" B64 "::x\n";
    struct client_list list;
    struct buf said = {0};
    struct buf long_text = {0};
    unsigned lines = 0;

    write_file(text, strlen(text), 0600);
    ck_assert_int_lt(load(&list, &said), 0);
    ck_assert_ptr_nonnull(strstr(said.data, ":1: "));
    ck_assert_ptr_nonnull(strstr(said.data, ":3: "));
    ck_assert_ptr_nonnull(strstr(said.data, ":4: "));
    buf_clear(&said);
    for (int i = 0; i < 1000; i++)
        buf_puts(&long_text, "\003\001 bin\xff\n");
    write_file(long_text.data, long_text.len, 0600);
    ck_assert_int_lt(load(&list, &said), 0);
    for (const char *p = said.data; *p != '\0'; p++)
        lines += *p == '\n';
    ck_assert_uint_eq(lines, 11);
    ck_assert_ptr_nonnull(strstr(said.data, ":10: the rest is not looked at"));
    buf_fini(&said);
    buf_fini(&long_text);
}
END_TEST

START_TEST(the_file_itself)
{
    static const char text[] = "alice:" A64 "\n";
    struct conf_errors errors = {.file = "/etc/claviger.conf"};
    struct client_list list = {0};
    struct buf said = {0};
    struct buf large = {0};

    /* Who may read it does not count, who may write it does. */
    write_file(text, strlen(text), 0664);
    ck_assert_int_eq(load(&list, &said), 0);
    client_list_fini(&list);
    write_file(text, strlen(text), 0602);
    ck_assert_int_lt(load(&list, &said), 0);
    ck_assert_ptr_nonnull(strstr(said.data, "/etc/claviger.conf:7: clients: "));
    ck_assert_ptr_nonnull(strstr(said.data, "mode 0602"));
    ck_assert_ptr_nonnull(strstr(said.data, "chmod o-w"));
    buf_clear(&said);

    unlink(path);
    ck_assert_int_lt(load(&list, &said), 0);
    ck_assert_ptr_nonnull(strstr(said.data, "No such file"));
    buf_clear(&said);

    ck_assert_int_eq(mkfifo(path, 0600), 0);
    ck_assert_int_lt(load(&list, &said), 0);
    ck_assert_ptr_nonnull(strstr(said.data, "no regular file"));
    buf_clear(&said);
    unlink(path);

    for (int i = 0; i < 1024 * 1024 / 10 + 1; i++)
        buf_puts(&large, "#########\n");
    write_file(large.data, large.len, 0600);
    ck_assert_int_lt(load(&list, &said), 0);
    ck_assert_ptr_nonnull(strstr(said.data, "over 1 MiB"));
    buf_clear(&said);

    errors.out = &said;
    ck_assert_int_lt(clients_load("clients", &providers, &errors, 7, &list), 0);
    ck_assert_ptr_nonnull(strstr(said.data, "absolute path"));
    buf_fini(&said);
    buf_fini(&large);
}
END_TEST

START_TEST(too_many)
{
    struct client_list list;
    struct buf said = {0};
    struct buf text = {0};

    for (int i = 0; i < CLIENTS_MAX; i++)
        buf_printf(&text, "c%d:%064x\n", i, (unsigned)i);
    write_file(text.data, text.len, 0600);
    ck_assert_int_eq(load(&list, &said), 0);
    ck_assert_uint_eq(list.count, CLIENTS_MAX);
    client_list_fini(&list);
    buf_puts(&text, "d:" A64 "\n");
    write_file(text.data, text.len, 0600);
    ck_assert_int_lt(load(&list, &said), 0);
    ck_assert_ptr_nonnull(strstr(said.data, ":4097: there are over 4096 clients"));
    buf_fini(&said);
    buf_fini(&text);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("clients");
    TCase *tc = tcase_create("clients");

    suite_add_tcase(suite, tc);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, reads);
    tcase_add_test(tc, a_hash_lets_its_token_in);
    tcase_add_test(tc, a_file_without_a_client);
    tcase_add_loop_test(tc, refuses, 0, COUNT(bad));
    tcase_add_test(tc, tells_several);
    tcase_add_test(tc, the_file_itself);
    tcase_add_test(tc, too_many);
    return suite_run(suite);
}
