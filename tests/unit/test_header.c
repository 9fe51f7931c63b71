/*
 * test_header: the list, the token rules, and which fields travel.
 */
#include "core/header.h"
#include "oom.h"
#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Fields in one text, "Name: value" a line. The text is cut into strings, so it must be writable. */
static void fill(struct header_list *list, char *lines)
{
    char *save = NULL;

    for (char *line = strtok_r(lines, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save)) {
        char *value = strstr(line, ": ");

        ck_assert_ptr_nonnull(value);
        *value = '\0';
        value += 2;
        ck_assert_int_eq(header_add(list, line, strlen(line), value, strlen(value)), 0);
    }
}

static void print(const struct header_list *list, char *out, size_t size)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < list->count; i++) {
        int len = snprintf(out + at, size - at, "%s: %s\n", list->items[i].name, list->items[i].value);

        ck_assert(len > 0 && (size_t)len < size - at);
        at += (size_t)len;
    }
}

START_TEST(list_keeps_order_and_duplicates)
{
    struct header_list list = {0};
    char text[] = "A: 1\nb: 2\na: 3\nC: 4\nB: 5\n";
    char seen[100];

    fill(&list, text);
    ck_assert_uint_eq(list.count, 5);
    ck_assert_uint_eq(header_count(&list, "A"), 2);
    ck_assert_uint_eq(header_count(&list, "B"), 2);
    ck_assert_uint_eq(header_count(&list, "d"), 0);
    ck_assert_str_eq(header_find(&list, "a")->value, "1");
    ck_assert_str_eq(header_find(&list, "B")->value, "2");
    ck_assert_ptr_null(header_find(&list, "AA"));
    ck_assert_ptr_null(header_find(&list, ""));
    ck_assert_uint_eq(header_remove(&list, "A"), 2);
    ck_assert_uint_eq(header_remove(&list, "A"), 0);
    print(&list, seen, sizeof(seen));
    ck_assert_str_eq(seen, "b: 2\nC: 4\nB: 5\n");
    header_list_clear(&list);
    ck_assert_uint_eq(list.count, 0);
    ck_assert_ptr_null(header_find(&list, "b"));
    header_list_fini(&list);
    ck_assert_ptr_null(list.items);
}
END_TEST

START_TEST(list_grows)
{
    struct header_list list = {0};

    for (size_t i = 0; i < 1000; i++)
        ck_assert_int_eq(header_add(&list, i % 2 ? "Odd" : "Even", i % 2 ? 3 : 4, "v", 1), 0);
    ck_assert_uint_eq(list.count, 1000);
    ck_assert_uint_eq(header_count(&list, "odd"), 500);
    ck_assert_str_eq(list.items[999].name, "Odd");
    ck_assert_uint_eq(list.items[999].name_len, 3);
    ck_assert_uint_eq(list.items[999].value_len, 1);
    header_list_fini(&list);
}
END_TEST

START_TEST(absurd_lengths_are_refused)
{
    struct header_list list = {0};

    ck_assert_int_eq(header_add(&list, "a", (size_t)UINT32_MAX + 1, "b", 1), -1);
    ck_assert_int_eq(header_add(&list, "a", 1, "b", (size_t)UINT32_MAX + 1), -1);
    ck_assert_uint_eq(list.count, 0);
    header_list_fini(&list);
}
END_TEST

START_TEST(names_compare_without_case)
{
    struct header h = {"X-Api-Key", "", 9, 0};

    ck_assert(header_is(&h, "x-api-key"));
    ck_assert(header_is(&h, "X-API-KEY"));
    ck_assert(!header_is(&h, "X-Api-Ke"));
    ck_assert(!header_is(&h, "X-Api-Keys"));
    ck_assert(!header_is(&h, "X_Api_Key"));
    ck_assert(!header_is(&h, ""));
    h.name = "[`@{";
    ck_assert(!header_is(&h, "{`@{")); /* differs by 0x20, but is no letter */
    ck_assert(!header_is(&h, "[@@{"));
}
END_TEST

static const struct {
    const char *value;
    const char *token;
    bool has;
} token_cases[] = {
    {"close", "close", true},
    {"Close", "cLOSE", true},
    {"keep-alive, Upgrade", "upgrade", true},
    {"keep-alive,upgrade", "upgrade", true},
    {" \t upgrade \t ,x", "upgrade", true},
    {",,upgrade,,", "upgrade", true},
    {"a , upgrade\t", "upgrade", true},
    {"upgraded", "upgrade", false},
    {"an-upgrade", "upgrade", false},
    {"up grade", "upgrade", false},
    {"upgrade;q=1", "upgrade", false},
    {"", "upgrade", false},
    {" , ,\t", "upgrade", false},
    {",", "", false},
    {"chunked", "chunked", true},
    {"gzip, chunked", "chunked", true},
    {"xchunked", "chunked", false},
};

START_TEST(value_tokens)
{
    ck_assert_msg(header_value_has_token(token_cases[_i].value, token_cases[_i].token) == token_cases[_i].has,
                  "\"%s\" has \"%s\"", token_cases[_i].value, token_cases[_i].token);
}
END_TEST

/* Every byte, against RFC 9110 section 5.6.2 written another way. */
START_TEST(name_tokens)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789"
                                  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

    for (int byte = 0; byte < 256; byte++) {
        char name[3] = {'a', (char)byte, 'z'};
        bool expect = byte != 0 && strchr(allowed, byte) != NULL;

        ck_assert_msg(header_name_is_token(name, 3) == expect, "byte %d inside", byte);
        ck_assert_msg(header_name_is_token(name + 1, 1) == expect, "byte %d alone", byte);
        ck_assert_msg(header_name_is_token(name + 1, 2) == expect, "byte %d first", byte);
        ck_assert_msg(header_name_is_token(name, 2) == expect, "byte %d last", byte);
    }
    ck_assert(!header_name_is_token("", 0));
}
END_TEST

START_TEST(hop_by_hop_names)
{
    static const char *const yes[] = {"Connection",
                                      "Keep-Alive",
                                      "Proxy-Authenticate",
                                      "Proxy-Authorization",
                                      "Proxy-Connection",
                                      "TE",
                                      "Trailer",
                                      "Transfer-Encoding",
                                      "Upgrade",
                                      "cONNECTION",
                                      "te",
                                      "TRANSFER-ENCODING",
                                      "trailer"};
    static const char *const no[] = {"",
                                     "T",
                                     "Tea",
                                     "Trailers",
                                     "Upgrade-Insecure-Requests",
                                     "Content-Length",
                                     "Host",
                                     "Keep_Alive",
                                     "Transfer-Encodin",
                                     "Transfer_Encoding",
                                     "Connections",
                                     "Proxy-Authenticat",
                                     "Content-Encoding",
                                     "X-Upgrade",
                                     "Date",
                                     "Cookie2"};

    for (size_t i = 0; i < COUNT(yes); i++)
        ck_assert_msg(header_is_hop_by_hop(yes[i]), "%s", yes[i]);
    for (size_t i = 0; i < COUNT(no); i++)
        ck_assert_msg(!header_is_hop_by_hop(no[i]), "%s", no[i]);
}
END_TEST

static const struct {
    const char *in;
    const char *out;
} copy_cases[] = {
    {"", ""},
    {"Accept: */*\nX-A: 1\nX-a: 2\n", "Accept: */*\nX-A: 1\nX-a: 2\n"},
    {"Host: h\nContent-Length: 5\ncontent-length: 6\nContent-Type: t\n", "Host: h\nContent-Type: t\n"},
    {"Connection: close\nA: 1\nKeep-Alive: timeout=5\nProxy-Authenticate: x\nProxy-Authorization: y\n"
     "Proxy-Connection: z\nTE: trailers\nTrailer: T\nTransfer-Encoding: chunked\nUpgrade: h2c\nB: 2\n",
     "A: 1\nB: 2\n"},
    {"X-Drop: 1\nConnection: x-drop\nX-Keep: 2\n", "X-Keep: 2\n"},
    {"X-Drop: 1\nConnection: keep-alive, X-DROP , Other\nx-drop: 2\nOTHER: 3\nX-Keep: 4\n", "X-Keep: 4\n"},
    {"Connection: a\nA: 1\nB: 2\nConnection: b\nC: 3\n", "C: 3\n"},
    {"Connection: close\nClose: 1\nKeep-Alive: 2\n", "Close: 1\n"},
    {"Connection: , ,\nA: 1\n", "A: 1\n"},
    {"Connection: abc\nAb: 1\nAbcd: 2\nAbc: 3\nXabc: 4\n", "Ab: 1\nAbcd: 2\nXabc: 4\n"},
    /* what the proxy sets or reads cannot be named away */
    {"Connection: Host, User-Agent, Accept-Encoding, X-Forwarded-For, x-forwarded-HOST, X-Forwarded-Proto\n"
     "Host: h\nUser-Agent: u\nAccept-Encoding: gzip\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-Host: f\n"
     "X-Forwarded-Proto: https\n",
     "Host: h\nUser-Agent: u\nAccept-Encoding: gzip\nX-Forwarded-For: 1.1.1.1\nX-Forwarded-Host: f\n"
     "X-Forwarded-Proto: https\n"},
    {"Connection: X-Api-Key, Authorization, Anthropic-Version\nx-api-key: k\nAuthorization: a\n"
     "Anthropic-Version: v\n",
     "x-api-key: k\nAuthorization: a\n"},
    {"Connection: Content-Length, X-Forwarded\nContent-Length: 1\nX-Forwarded: 2\n", ""},
    {"Connection: a;b, \"c\"\na: 1\nc: 2\n", "a: 1\nc: 2\n"},
};

START_TEST(copies_what_may_travel)
{
    static const char *const protect[] = {"X-Api-Key", "authorization", NULL};
    struct header_list in = {0};
    struct header_list out = {0};
    char *text = strdup(copy_cases[_i].in);
    char seen[1000];

    fill(&in, text);
    ck_assert_int_eq(header_copy_end_to_end(&in, protect, &out), 0);
    print(&out, seen, sizeof(seen));
    ck_assert_str_eq(seen, copy_cases[_i].out);
    header_list_fini(&in);
    header_list_fini(&out);
    free(text);
}
END_TEST

START_TEST(copy_without_protection_and_behind_what_is_there)
{
    struct header_list in = {0};
    struct header_list out = {0};
    char text[] = "Connection: X-Api-Key\nX-Api-Key: k\nB: 2\n";
    char seen[100];

    ck_assert_int_eq(header_add(&out, "A", 1, "1", 1), 0);
    fill(&in, text);
    ck_assert_int_eq(header_copy_end_to_end(&in, NULL, &out), 0);
    print(&out, seen, sizeof(seen));
    ck_assert_str_eq(seen, "A: 1\nB: 2\n");
    header_list_fini(&in);
    header_list_fini(&out);
}
END_TEST

/* A Connection field that names thousands: each name is found, and nothing else is. */
START_TEST(copy_with_thousands_of_names)
{
    enum { NAMES = 5000 };
    struct header_list in = {0};
    struct header_list out = {0};
    char *value = malloc(NAMES * 8);
    char(*names)[8] = malloc(2 * NAMES * sizeof(*names));
    size_t len = 0;

    ck_assert(value != NULL && names != NULL);
    for (int i = 0; i < NAMES; i++)
        len += (size_t)snprintf(value + len, 8, "N%d,", (i * 7919 % NAMES) * 2);
    ck_assert_int_eq(header_add(&in, "Connection", 10, value, len), 0);
    for (int i = 0; i < 2 * NAMES; i++) {
        int name_len = snprintf(names[i], sizeof(names[i]), "n%d", i);

        ck_assert_int_eq(header_add(&in, names[i], (size_t)name_len, "v", 1), 0);
    }
    ck_assert_int_eq(header_copy_end_to_end(&in, NULL, &out), 0);
    ck_assert_uint_eq(out.count, NAMES);
    for (size_t i = 0; i < out.count; i++)
        ck_assert_int_eq(strtol(out.items[i].name + 1, NULL, 10) % 2, 1);
    header_list_fini(&in);
    header_list_fini(&out);
    free(value);
    free(names);
}
END_TEST

static const struct {
    const char *value;
    bool good;
    int64_t number;
} length_cases[] = {
    {"0", true, 0},
    {"5", true, 5},
    {"0005", true, 5},
    {"9223372036854775807", true, INT64_MAX},
    {"00000000000000000000000000000001", true, 1},
    {"9223372036854775808", false, 0},
    {"9223372036854775810", false, 0},
    {"18446744073709551617", false, 0},
    {"99999999999999999999999", false, 0},
    {"", false, 0},
    {" 5", false, 0},
    {"5 ", false, 0},
    {"5\t", false, 0},
    {"+5", false, 0},
    {"-5", false, 0},
    {"-0", false, 0},
    {"5,5", false, 0},
    {"5, 5", false, 0},
    {"5.0", false, 0},
    {"5e1", false, 0},
    {"0x5", false, 0},
    {"five", false, 0},
    {"1 2", false, 0},
    {"1_000", false, 0},
    {"\xd9\xa1", false, 0}, /* ARABIC-INDIC DIGIT ONE */
};

START_TEST(content_lengths)
{
    int64_t number = -7;

    ck_assert_msg(header_parse_content_length(length_cases[_i].value, &number) == length_cases[_i].good,
                  "\"%s\"", length_cases[_i].value);
    ck_assert_int_eq(number, length_cases[_i].good ? length_cases[_i].number : -7);
}
END_TEST

/* Each byte at each place, among others: below a space (but for the tab) and DEL are control bytes. */
START_TEST(clean_values)
{
    for (size_t len = 1; len < 20; len++) {
        for (size_t at = 0; at < len; at++) {
            for (int byte = 0; byte < 256; byte++) {
                char value[20];

                memset(value, at % 2 == 0 ? 'v' : 0xc3, len);
                value[at] = (char)byte;
                bool clean = byte == '\t' || (byte >= ' ' && byte != 0x7f);
                ck_assert_msg(header_value_is_clean(value, len) == clean, "byte %d at %zu of %zu", byte, at,
                              len);
            }
        }
    }
    ck_assert(header_value_is_clean("", 0));
    ck_assert(header_value_is_clean("\t\t\t\t\t\t\t\t\t\t\t\t", 12));
}
END_TEST

START_TEST(out_of_memory)
{
    struct header_list list = {0};
    struct header_list out = {0};
    struct rlimit old;
    size_t count;
    char *names;

    limit_memory(&old);
    while (header_add(&list, "Name", 4, "v", 1) == 0)
        continue;
    count = list.count;
    ck_assert_uint_gt(count, 100000);
    ck_assert_int_eq(header_add(&list, "Name", 4, "v", 1), -1);
    ck_assert_uint_eq(list.count, count); /* what was there is there */
    ck_assert_str_eq(list.items[count - 1].name, "Name");
    ck_assert_int_eq(header_copy_end_to_end(&list, NULL, &out), -1);
    ck_assert_uint_eq(out.count, 0);
    header_list_fini(&list);

    names = huge_text("a,", HUGE / 4); /* as an array of names eight times as large */
    ck_assert_int_eq(header_add(&list, "Connection", 10, names, HUGE / 4), 0);
    ck_assert_int_eq(header_copy_end_to_end(&list, NULL, &out), -1);
    ck_assert_uint_eq(out.count, 0);
    free(names);
    header_list_fini(&list);
    header_list_fini(&out);
    setrlimit(RLIMIT_AS, &old);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("header");
    TCase *tc = tcase_create("header");

    suite_add_tcase(suite, tc);
    tcase_add_test(tc, list_keeps_order_and_duplicates);
    tcase_add_test(tc, list_grows);
    tcase_add_test(tc, absurd_lengths_are_refused);
    tcase_add_test(tc, names_compare_without_case);
    tcase_add_loop_test(tc, value_tokens, 0, COUNT(token_cases));
    tcase_add_test(tc, name_tokens);
    tcase_add_test(tc, hop_by_hop_names);
    tcase_add_loop_test(tc, copies_what_may_travel, 0, COUNT(copy_cases));
    tcase_add_test(tc, copy_without_protection_and_behind_what_is_there);
    tcase_add_test(tc, copy_with_thousands_of_names);
    tcase_add_loop_test(tc, content_lengths, 0, COUNT(length_cases));
    tcase_add_test(tc, clean_values);
    if (can_limit())
        tcase_add_test(tc, out_of_memory);
    return suite_run(suite);
}
