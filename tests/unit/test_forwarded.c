/*
 * test_forwarded: the chain of addresses, and what is replaced.
 */
#include "core/forwarded.h"
#include "oom.h"
#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct field {
    const char *name;
    const char *value;
};

static const struct {
    struct field in[6];
    struct forwarded_peer peer;
    const char *out;
} cases[] = {
    {{{NULL, NULL}},
     {"192.0.2.7", "gw.example:8080", false},
     "X-Forwarded-Host=gw.example:8080|X-Forwarded-Proto=http|X-Forwarded-For=192.0.2.7|"},
    {{{"Accept", "*/*"}, {"X-A", ""}},
     {"192.0.2.7", "h", true},
     "Accept=*/*|X-A=|X-Forwarded-Host=h|X-Forwarded-Proto=https|X-Forwarded-For=192.0.2.7|"},
    {{{"X-Forwarded-For", "2.2.2.2, 3.3.3.3"}},
     {"4.4.4.4", "h", false},
     "X-Forwarded-Host=h|X-Forwarded-Proto=http|X-Forwarded-For=2.2.2.2, 3.3.3.3, 4.4.4.4|"},
    /* several fields are one chain, in their order */
    {{{"X-Forwarded-For", "1.1.1.1"},
      {"A", "a"},
      {"x-forwarded-for", "2.2.2.2,3.3.3.3"},
      {"X-FORWARDED-FOR", "x"}},
     {"4.4.4.4", "h", false},
     "A=a|X-Forwarded-Host=h|X-Forwarded-Proto=http|X-Forwarded-For=1.1.1.1, 2.2.2.2,3.3.3.3, x, 4.4.4.4|"},
    {{{"X-Forwarded-For", ""}, {"X-Forwarded-For", "1.1.1.1"}, {"X-Forwarded-For", ""}},
     {"4.4.4.4", "h", false},
     "X-Forwarded-Host=h|X-Forwarded-Proto=http|X-Forwarded-For=1.1.1.1, 4.4.4.4|"},
    {{{"X-Forwarded-For", "unknown, [2001:db8::1]:99"}},
     {"2001:db8::2", "[::1]:8080", true},
     "X-Forwarded-Host=[::1]:8080|X-Forwarded-Proto=https|"
     "X-Forwarded-For=unknown, [2001:db8::1]:99, 2001:db8::2|"},
    /* what the client claims is replaced */
    {{{"X-Forwarded-Host", "evil"},
      {"x-forwarded-proto", "https"},
      {"X-Forwarded-HOST", "evil2"},
      {"B", "b"}},
     {"4.4.4.4", "h", false},
     "B=b|X-Forwarded-Host=h|X-Forwarded-Proto=http|X-Forwarded-For=4.4.4.4|"},
    {{{"Forwarded", "for=1.1.1.1;proto=https"}, {"forwarded", "by=x"}, {"Forwarded-For", "kept"}},
     {"4.4.4.4", "h", false},
     "Forwarded-For=kept|X-Forwarded-Host=h|X-Forwarded-Proto=http|X-Forwarded-For=4.4.4.4|"},
    /* others of the family are not ours */
    {{{"X-Forwarded-Port", "443"}, {"X-Forwarded", "x"}, {"X-Real-IP", "9.9.9.9"}, {"Via", "1.1 a"}},
     {"4.4.4.4", "h", false},
     "X-Forwarded-Port=443|X-Forwarded=x|X-Real-IP=9.9.9.9|Via=1.1 a|"
     "X-Forwarded-Host=h|X-Forwarded-Proto=http|X-Forwarded-For=4.4.4.4|"},
    /* a unix peer has no address: the chain is dropped, prior values too */
    {{{"X-Forwarded-For", "1.1.1.1"},
      {"A", "a"},
      {"X-Forwarded-For", "2.2.2.2"},
      {"X-Forwarded-Proto", "https"}},
     {NULL, "h", false},
     "A=a|X-Forwarded-Host=h|X-Forwarded-Proto=http|"},
    {{{NULL, NULL}}, {NULL, NULL, false}, "X-Forwarded-Proto=http|"},
    /* HTTP/1.0 without Host */
    {{{"X-Forwarded-Host", "evil"}},
     {"4.4.4.4", NULL, true},
     "X-Forwarded-Proto=https|X-Forwarded-For=4.4.4.4|"},
};

START_TEST(fields)
{
    struct header_list list = {0};
    struct arena arena = {0};
    char out[1000] = "";
    size_t at = 0;

    for (size_t i = 0; i < COUNT(cases[_i].in) && cases[_i].in[i].name != NULL; i++) {
        const struct field *f = &cases[_i].in[i];

        ck_assert_int_eq(header_add(&list, f->name, strlen(f->name), f->value, strlen(f->value)), 0);
    }
    ck_assert_int_eq(forwarded_set(&list, &cases[_i].peer, &arena), 0);
    for (size_t i = 0; i < list.count; i++) {
        const struct header *h = &list.items[i];

        ck_assert_uint_eq(h->name_len, strlen(h->name));
        ck_assert_uint_eq(h->value_len, strlen(h->value));
        at += (size_t)snprintf(out + at, sizeof(out) - at, "%s=%s|", h->name, h->value);
    }
    ck_assert_str_eq(out, cases[_i].out);
    header_list_fini(&list);
    arena_fini(&arena);
}
END_TEST

/* The strings outlive what the caller gave: the peer's text may be a buffer of its own. */
START_TEST(strings_come_from_the_arena)
{
    struct header_list list = {0};
    struct arena arena = {0};
    char address[] = "4.4.4.4";
    char host[] = "h";
    struct forwarded_peer peer = {address, host, false};

    ck_assert_int_eq(forwarded_set(&list, &peer, &arena), 0);
    memset(address, 'x', sizeof(address) - 1);
    memset(host, 'x', sizeof(host) - 1);
    ck_assert_str_eq(header_find(&list, "X-Forwarded-For")->value, "4.4.4.4");
    ck_assert_str_eq(header_find(&list, "X-Forwarded-Host")->value, "h");
    header_list_fini(&list);
    arena_fini(&arena);
}
END_TEST

/* A head full of one-address fields becomes one value. */
START_TEST(long_chains)
{
    enum { HOPS = 2000 };
    struct header_list list = {0};
    struct arena arena = {0};
    struct forwarded_peer peer = {"4.4.4.4", "h", false};
    const struct header *h;

    for (int i = 0; i < HOPS; i++)
        ck_assert_int_eq(header_add(&list, "X-Forwarded-For", 15, "1.1.1.1", 7), 0);
    ck_assert_int_eq(forwarded_set(&list, &peer, &arena), 0);
    ck_assert_uint_eq(list.count, 3);
    h = header_find(&list, "X-Forwarded-For");
    ck_assert_uint_eq(h->value_len, HOPS * 9 + 7);
    ck_assert_str_eq(h->value + HOPS * 9 - 9, "1.1.1.1, 4.4.4.4");
    header_list_fini(&list);
    arena_fini(&arena);
}
END_TEST

START_TEST(out_of_memory)
{
    struct header_list list = {0};
    struct arena arena = {0};
    struct forwarded_peer peer = {"4.4.4.4", "h", false};
    struct rlimit old;
    char *text;

    limit_memory(&old);
    text = huge_text("1", HUGE);
    ck_assert_int_eq(header_add(&list, "X-Forwarded-For", 15, text, HUGE), 0);
    ck_assert_int_eq(forwarded_set(&list, &peer, &arena), -1);
    header_list_clear(&list);
    peer.host = text;
    ck_assert_int_eq(forwarded_set(&list, &peer, &arena), -1);
    peer.host = "h";
    free(text);
    arena_fini(&arena);

    while (header_add(&list, "Name", 4, "v", 1) == 0)
        continue;
    for (size_t room = 0; room < 3; room++) { /* for none, one, two of the three fields */
        list.count = list.cap - room;
        ck_assert_int_eq(forwarded_set(&list, &peer, &arena), -1);
    }
    list.count = list.cap - 3;
    ck_assert_int_eq(forwarded_set(&list, &peer, &arena), 0);
    ck_assert_uint_eq(list.count, list.cap);
    header_list_fini(&list);
    arena_fini(&arena);
    setrlimit(RLIMIT_AS, &old);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("forwarded");
    TCase *tc = tcase_create("forwarded");

    suite_add_tcase(suite, tc);
    tcase_add_loop_test(tc, fields, 0, COUNT(cases));
    tcase_add_test(tc, strings_come_from_the_arena);
    tcase_add_test(tc, long_chains);
    if (can_limit())
        tcase_add_test(tc, out_of_memory);
    return suite_run(suite);
}
