/* test_digest: SHA-256 against the examples that NIST publishes for FIPS 180-4. */
#include "base/digest.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *in;
    const char *hex;
} examples[] = {
    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
};

START_TEST(published_examples)
{
    char hex[DIGEST_HEX_SIZE];
    unsigned char raw[DIGEST_SIZE];
    char byte[3] = "";

    ck_assert_int_eq(digest_sha256_hex(examples[_i].in, strlen(examples[_i].in), hex), 0);
    ck_assert_str_eq(hex, examples[_i].hex);
    ck_assert_int_eq(digest_sha256(examples[_i].in, strlen(examples[_i].in), raw), 0);
    for (size_t i = 0; i < DIGEST_SIZE; i++) {
        memcpy(byte, hex + 2 * i, 2);
        ck_assert_uint_eq(raw[i], strtoul(byte, NULL, 16));
    }
}
END_TEST

START_TEST(a_million_letters)
{
    char hex[DIGEST_HEX_SIZE];
    char *text = malloc(1000000);

    ck_assert_ptr_nonnull(text);
    memset(text, 'a', 1000000);
    ck_assert_int_eq(digest_sha256_hex(text, 1000000, hex), 0);
    ck_assert_str_eq(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(text);
}
END_TEST

START_TEST(nothing_at_all)
{
    char hex[DIGEST_HEX_SIZE];

    ck_assert_int_eq(digest_sha256_hex(NULL, 0, hex), 0);
    ck_assert_str_eq(hex, examples[0].hex);
    ck_assert_int_eq(digest_sha256_hex("a\0b", 3, hex), 0);
    char other[DIGEST_HEX_SIZE];
    ck_assert_int_eq(digest_sha256_hex("a", 1, other), 0);
    ck_assert_str_ne(hex, other); /* NUL does not end the data */
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("digest");
    TCase *tc = tcase_create("digest");

    tcase_add_loop_test(tc, published_examples, 0, (int)(sizeof(examples) / sizeof(examples[0])));
    tcase_add_test(tc, a_million_letters);
    tcase_add_test(tc, nothing_at_all);
    suite_add_tcase(suite, tc);

    SRunner *sr = srunner_create(suite);
    srunner_run_all(sr, CK_ENV);
    int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
