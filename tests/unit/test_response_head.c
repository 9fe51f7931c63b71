/* response_head: what a provider's head may be, and what is refused. */
#include "core/response_head.h"

#include "unit/suite.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Feeds a head line by line ("\n" ends each; CR is as written) and returns the last result. */
static enum response_head_result feed(struct response_head *head, const char *text, struct arena *arena,
                                      const char **reason)
{
    enum response_head_result result = RESPONSE_HEAD_MORE;
    while (*text != '\0' && (result == RESPONSE_HEAD_MORE || result == RESPONSE_HEAD_TRAILER ||
                             result == RESPONSE_HEAD_DONE)) {
        size_t len = strcspn(text, "\n");
        len += text[len] == '\n';
        result = response_head_line(head, text, len, arena, reason);
        text += len;
    }
    return result;
}

static const struct {
    const char *text;
    int status;
    int64_t length;
    size_t fields;
    bool chunked;
} good[] = {
    {"HTTP/1.1 200 OK\r\n\r\n", 200, -1, 0, false},
    {"HTTP/1.0 200 OK\r\n\r\n", 200, -1, 0, false},
    {"HTTP/1.1 200\r\n\r\n", 200, -1, 0, false},
    {"HTTP/1.1 200 \r\n\r\n", 200, -1, 0, false},
    {"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 5\r\n\r\n", 429, -1, 1, false},
    {"HTTP/1.1 200 OK\nA: b\n\n", 200, -1, 1, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", 200, 12, 1, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, 0, 1, false},
    {"HTTP/1.1 200 OK\r\nContent-Length: 7\r\ncontent-length: 7\r\n\r\n", 200, 7, 2, false},
    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, -1, 1, true},
    {"HTTP/1.1 200 OK\r\nEmpty:\r\nTab:\tx\t\r\n\r\n", 200, -1, 2, false},
    {"HTTP/1.1 200 OK\r\nUtf: caf\xc3\xa9\r\n\r\n", 200, -1, 1, false},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nA: b\r\n\r\n", 200, -1, 1, false},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\n\r\n", 404, -1, 0, false},
    {"HTTP/1.1 100 C\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", 200, 6, 1,
     false},
    {"HTTP/1.1 999 Odd\r\n\r\n", 999, -1, 0, false},
};

START_TEST(accepts)
{
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    ck_assert_msg(feed(&head, good[_i].text, &arena, &reason) == RESPONSE_HEAD_DONE, "%s: %s", good[_i].text,
                  reason ? reason : "not done");
    ck_assert_int_eq(head.status, good[_i].status);
    ck_assert_int_eq(head.content_length, good[_i].length);
    ck_assert_uint_eq(head.headers.count, good[_i].fields);
    ck_assert_int_eq(head.chunked, good[_i].chunked);
    ck_assert(head.complete);
    response_head_fini(&head);
    arena_fini(&arena);
}
END_TEST

static const char *const bad[] = {
    "HTTP/2 200\r\n",
    "HTTP/1.2 200 OK\r\n",
    "HTTP/1.1 20 OK\r\n",
    "HTTP/1.1 2000 OK\r\n",
    "HTTP/1.1 099 OK\r\n",
    "HTTP/1.1  200 OK\r\n",
    "HTTP/1.1 2x0 OK\r\n",
    "http/1.1 200 OK\r\n",
    "garbage\r\n",
    "\r\n",
    "HTTP/1.1 101 Switching\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\n",
    "HTTP/1.1 200 OK\r\n: nameless\r\n",
    "HTTP/1.1 200 OK\r\nName : x\r\n",
    "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n",
    "HTTP/1.1 200 OK\r\n\tfolded\r\n",
    "HTTP/1.1 200 OK\r\nA: b\rc\r\n",
    "HTTP/1.1 200 OK\r\nA: \x01\r\n",
    "HTTP/1.1 200 OK\r\nA: \x7f\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: x\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length:\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n",
};

START_TEST(refuses)
{
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    ck_assert_msg(feed(&head, bad[_i], &arena, &reason) == RESPONSE_HEAD_MALFORMED, "%s", bad[_i]);
    ck_assert_ptr_nonnull(reason);
    ck_assert(!head.complete);
    response_head_fini(&head);
    arena_fini(&arena);
}
END_TEST

START_TEST(refuses_nul_byte)
{
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    ck_assert_int_eq(feed(&head, "HTTP/1.1 200 OK\r\n", &arena, &reason), RESPONSE_HEAD_MORE);
    ck_assert_int_eq(response_head_line(&head, "A: b\0c\r\n", 8, &arena, &reason), RESPONSE_HEAD_MALFORMED);
    response_head_fini(&head);
    arena_fini(&arena);
}
END_TEST

START_TEST(refuses_large_head)
{
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    char line[1024];
    size_t lines = 0;
    enum response_head_result result = feed(&head, "HTTP/1.1 200 OK\r\n", &arena, &reason);
    memset(line, 'a', sizeof line);
    memcpy(line, "X-Name: ", 8);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    for (; result == RESPONSE_HEAD_MORE; lines++)
        result = response_head_line(&head, line, sizeof line, &arena, &reason);
    ck_assert_int_eq(result, RESPONSE_HEAD_MALFORMED);
    ck_assert_uint_eq(lines, RESPONSE_HEAD_MAX / sizeof line);
    response_head_fini(&head);
    arena_fini(&arena);
}
END_TEST

START_TEST(keeps_order_and_trims)
{
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    feed(&head, "HTTP/1.1 200 OK\r\nSet-Cookie:  a=1 \r\nB: 2\r\nSet-Cookie: c=3\r\n\r\n", &arena, &reason);
    ck_assert_uint_eq(head.headers.count, 3);
    ck_assert_str_eq(head.headers.items[0].value, "a=1");
    ck_assert_str_eq(head.headers.items[1].name, "B");
    ck_assert_str_eq(head.headers.items[2].value, "c=3");
    response_head_fini(&head);
    arena_fini(&arena);
}
END_TEST

START_TEST(ignores_trailers)
{
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    feed(&head, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n", &arena, &reason);
    ck_assert_int_eq(response_head_line(&head, "X-Sum: 1\r\n", 10, &arena, &reason), RESPONSE_HEAD_TRAILER);
    ck_assert_uint_eq(head.headers.count, 1);
    response_head_fini(&head);
    arena_fini(&arena);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("response_head");
    TCase *tcase = tcase_create("response_head");
    tcase_add_loop_test(tcase, accepts, 0, sizeof good / sizeof good[0]);
    tcase_add_loop_test(tcase, refuses, 0, sizeof bad / sizeof bad[0]);
    tcase_add_test(tcase, refuses_nul_byte);
    tcase_add_test(tcase, refuses_large_head);
    tcase_add_test(tcase, keeps_order_and_trims);
    tcase_add_test(tcase, ignores_trailers);
    suite_add_tcase(suite, tcase);
    return suite_run(suite);
}
