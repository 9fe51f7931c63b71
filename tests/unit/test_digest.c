/* test_digest: SHA-256 against the examples that NIST publishes for FIPS 180-4, and which digests are the
 * same. */
#include "base/digest.h"

#include "unit/suite.h"

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

/* Raw, hexadecimal, and with bytes behind the last whole word: each bit counts, and nothing behind the size.
 */
static const size_t sizes[] = {DIGEST_SIZE, DIGEST_HEX_SIZE - 1, DIGEST_HEX_SIZE, 7, 1, 0};

START_TEST(every_bit_makes_a_difference)
{
    unsigned char a[DIGEST_HEX_SIZE + 1];
    unsigned char b[DIGEST_HEX_SIZE + 1];
    size_t size = sizes[_i];

    for (size_t i = 0; i < sizeof(a); i++)
        a[i] = (unsigned char)(i * 37);
    memcpy(b, a, sizeof(b));
    b[size] ^= 1;
    ck_assert(digest_is_same(a, b, size));
    for (size_t bit = 0; bit < 8 * size; bit++) {
        b[bit / 8] ^= (unsigned char)(1U << bit % 8);
        ck_assert_msg(!digest_is_same(a, b, size), "bit %zu", bit);
        ck_assert_msg(!digest_is_same(b, a, size), "bit %zu", bit);
        b[bit / 8] = a[bit / 8];
    }
    if (size == 0)
        return;
    /* Two differences do not cancel each other out. */
    b[0] ^= 0x80;
    b[size - 1] ^= 0x81;
    ck_assert(!digest_is_same(a, b, size));
    memset(a, 0, sizeof(a));
    memset(b, 0xff, sizeof(b));
    ck_assert(!digest_is_same(a, b, size));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("digest");
    TCase *tc = tcase_create("digest");

    tcase_add_loop_test(tc, published_examples, 0, (int)(sizeof(examples) / sizeof(examples[0])));
    tcase_add_test(tc, a_million_letters);
    tcase_add_test(tc, nothing_at_all);
    tcase_add_loop_test(tc, every_bit_makes_a_difference, 0, (int)(sizeof(sizes) / sizeof(sizes[0])));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
