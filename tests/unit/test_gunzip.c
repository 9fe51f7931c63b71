/* test_gunzip: whatever way a gzip body is cut up on its way, it comes out the same, within its room. */
#include "io/gunzip.h"

#include "unit/suite.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PLAIN_BYTES 300000

static char *plain;
static struct buf packed;

/* Appends one gzip member. */
static void pack(const char *data, size_t len)
{
    z_stream stream = {0};
    ck_assert_int_eq(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    ck_assert(buf_reserve(&packed, deflateBound(&stream, len)));
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)len;
    stream.next_out = (Bytef *)packed.data + packed.len;
    stream.avail_out = (uInt)deflateBound(&stream, len);
    ck_assert_int_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.len = (size_t)((char *)stream.next_out - packed.data);
    ck_assert_int_eq(deflateEnd(&stream), Z_OK);
}

static void setup(void)
{
    plain = malloc(PLAIN_BYTES);
    ck_assert_ptr_nonnull(plain);
    for (size_t i = 0; i < PLAIN_BYTES; i++)
        plain[i] = (char)("abcdefgh"[(i * i / 7) % 8]);
    pack(plain, PLAIN_BYTES);
}

static void teardown(void)
{
    free(plain);
    buf_fini(&packed);
}

/* Decodes all of `in` in pieces of `piece` bytes, taking out what is there whenever `room` is full. */
static int decode(const char *in, size_t len, size_t piece, size_t room, struct buf *out, bool *whole)
{
    struct gunzip *gunzip = gunzip_new();
    struct buf window = {0};
    int result = 0;
    ck_assert_ptr_nonnull(gunzip);
    while (result == 0 && (len > 0 || gunzip_is_pending(gunzip))) {
        size_t used = len < piece ? len : piece;
        result = gunzip_feed(gunzip, in, &used, &window, room);
        in += used;
        len -= used;
        ck_assert_uint_le(window.len, room + 16384);
        buf_append(out, window.data, window.len);
        buf_clear(&window);
    }
    *whole = gunzip_is_whole(gunzip);
    buf_fini(&window);
    gunzip_free(&gunzip);
    return result;
}

static const size_t pieces[] = {1, 7, 1000, 1000000};
static const size_t rooms[] = {1, 16384, 65536, 10000000};

START_TEST(any_pieces)
{
    struct buf out = {0};
    bool whole = false;
    ck_assert_int_eq(decode(packed.data, packed.len, pieces[_i / 4], rooms[_i % 4], &out, &whole), 0);
    ck_assert_uint_eq(out.len, PLAIN_BYTES);
    ck_assert_int_eq(memcmp(out.data, plain, PLAIN_BYTES), 0);
    ck_assert(whole);
    buf_fini(&out);
}
END_TEST

START_TEST(what_is_there_comes_at_once)
{
    struct gunzip *gunzip = gunzip_new();
    struct buf out = {0};
    size_t used = packed.len / 2;
    ck_assert_int_eq(gunzip_feed(gunzip, packed.data, &used, &out, 10000000), 0);
    ck_assert_uint_gt(out.len, PLAIN_BYTES / 4);
    ck_assert(!gunzip_is_whole(gunzip));
    buf_fini(&out);
    gunzip_free(&gunzip);
}
END_TEST

START_TEST(several_members_are_one_body)
{
    struct buf out = {0};
    bool whole = false;
    pack("more", 4);
    ck_assert_int_eq(decode(packed.data, packed.len, 100, 65536, &out, &whole), 0);
    ck_assert_uint_eq(out.len, PLAIN_BYTES + 4);
    ck_assert(whole);
    buf_fini(&out);
}
END_TEST

START_TEST(padding_behind_the_end_is_ignored)
{
    struct buf out = {0};
    bool whole = false;
    buf_append(&packed, "\0\0\0padding", 10);
    ck_assert_int_eq(decode(packed.data, packed.len, 13, 65536, &out, &whole), 0);
    ck_assert_uint_eq(out.len, PLAIN_BYTES);
    ck_assert(whole);
    buf_fini(&out);
}
END_TEST

START_TEST(every_cut_is_seen)
{
    bool whole = true;
    for (size_t len = 1; len < packed.len; len += 1 + packed.len / 200) {
        struct buf out = {0};
        ck_assert_int_eq(decode(packed.data, len, 4096, 65536, &out, &whole), 0);
        ck_assert_msg(!whole, "cut at %zu of %zu", len, packed.len);
        buf_fini(&out);
    }
}
END_TEST

START_TEST(nothing_is_whole)
{
    struct gunzip *gunzip = gunzip_new();
    ck_assert(gunzip_is_whole(gunzip));
    gunzip_free(&gunzip);
    ck_assert_ptr_null(gunzip);
    gunzip_free(&gunzip);
}
END_TEST

START_TEST(garbage_and_damage_are_errors)
{
    struct buf out = {0};
    bool whole;
    ck_assert_int_eq(decode("this is no gzip", 15, 15, 65536, &out, &whole), -1);
    packed.data[packed.len - 6] ^= 1; /* in the checksum */
    ck_assert_int_eq(decode(packed.data, packed.len, 5000, 65536, &out, &whole), -1);
    buf_fini(&out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gunzip");
    TCase *tcase = tcase_create("gunzip");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_loop_test(tcase, any_pieces, 0, 16);
    tcase_add_test(tcase, what_is_there_comes_at_once);
    tcase_add_test(tcase, several_members_are_one_body);
    tcase_add_test(tcase, padding_behind_the_end_is_ignored);
    tcase_add_test(tcase, every_cut_is_seen);
    tcase_add_test(tcase, nothing_is_whole);
    tcase_add_test(tcase, garbage_and_damage_are_errors);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
