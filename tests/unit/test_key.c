/* test_key: the mark rules and the hint, case by case. */
#include "core/key.h"

#include "unit/suite.h"

#include <stdint.h>
#include <string.h>

#define COUNT(a) ((int)(sizeof(a) / sizeof((a)[0])))

static const struct {
    struct key_state state;
    int64_t now_ms;
    enum key_status status;
    const char *name;
} statuses[] = {
    {{false, 0}, 0, KEY_VALID, "valid"},
    {{false, 0}, 1000, KEY_VALID, "valid"},
    {{false, 1000}, 999, KEY_TEMPORARY, "temporary"},
    {{false, 1000}, 1000, KEY_VALID, "valid"}, /* over in the very millisecond */
    {{false, 1000}, 1001, KEY_VALID, "valid"},
    {{false, INT64_MAX}, INT64_MAX - 1, KEY_TEMPORARY, "temporary"},
    {{true, 0}, 0, KEY_PERMANENT, "permanent"},
    {{true, 1000}, 500, KEY_PERMANENT, "permanent"},
    {{true, 1000}, 5000, KEY_PERMANENT, "permanent"},
};

START_TEST(status_by_time)
{
    enum key_status status = key_status(&statuses[_i].state, statuses[_i].now_ms);

    ck_assert_int_eq(status, statuses[_i].status);
    ck_assert_str_eq(key_status_name(status), statuses[_i].name);
}
END_TEST

static const struct {
    struct key_state before;
    struct mark mark;
    bool changed;
    struct key_state after;
} marks[] = {
    {{false, 0}, {false, 1000, 429}, true, {false, 1000}},
    {{false, 1000}, {false, 1001, 429}, true, {false, 1001}},
    {{false, 1000}, {false, 1000, 429}, false, {false, 1000}},
    {{false, 1000}, {false, 999, 429}, false, {false, 1000}}, /* never shortened */
    {{false, 1000}, {false, 0, 429}, false, {false, 1000}},
    {{false, 0}, {true, 0, 401}, true, {true, 0}},
    {{false, 1000}, {true, 0, 403}, true, {true, 1000}},
    {{true, 0}, {true, 0, 401}, false, {true, 0}},     /* no second mark */
    {{true, 0}, {false, 1000, 429}, false, {true, 0}}, /* permanent is final */
    {{true, 1000}, {false, 2000, 429}, false, {true, 1000}},
};

START_TEST(mark_rules)
{
    struct key_state state = marks[_i].before;

    ck_assert(key_mark(&state, &marks[_i].mark) == marks[_i].changed);
    ck_assert(state.permanent == marks[_i].after.permanent);
    ck_assert_int_eq(state.until_ms, marks[_i].after.until_ms);
    ck_assert(!key_mark(&state, &marks[_i].mark)); /* the same mark twice is one */
}
END_TEST

static const struct {
    int status;
    const char *reason;
} reasons[] = {
    {429, "rate_limited"}, {401, "unauthorized"}, {403, "forbidden"}, {0, "refused"}, {500, "refused"}};

START_TEST(reason)
{
    ck_assert_str_eq(key_mark_reason(reasons[_i].status), reasons[_i].reason);
}
END_TEST

static const struct {
    const char *key;
    const char *hint;
} hints[] = {
    {"", "..."},
    {"a", "..."},
    {"abcd", "..."},
    {"abcde", "a...e"},
    {"abcdefghi", "a...i"},
    {"abcdefghij", "ab...ij"},
    {"abcdefghijklmnopqrs", "ab...rs"},
    {"abcdefghijklmnopqrst", "abcd...qrst"},
    {"sk-ant-api03-0123456789abcdef-wxyz", "sk-a...wxyz"},
};

START_TEST(hint)
{
    char out[KEY_HINT_SIZE];

    memset(out, 'x', sizeof(out));
    key_hint(hints[_i].key, strlen(hints[_i].key), out);
    ck_assert_str_eq(out, hints[_i].hint);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("key");
    TCase *tc = tcase_create("key");

    tcase_add_loop_test(tc, status_by_time, 0, COUNT(statuses));
    tcase_add_loop_test(tc, mark_rules, 0, COUNT(marks));
    tcase_add_loop_test(tc, reason, 0, COUNT(reasons));
    tcase_add_loop_test(tc, hint, 0, COUNT(hints));
    suite_add_tcase(suite, tc);
    return suite_run(suite);
}
