/*
 * conf_values: from a value's text to a number and back. Called by conf_option, for values from the file and
 * for the built-in defaults alike.
 */
#include "io/conf_values.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* From the smallest to the largest. */
static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60 * 1000}, {"h", 3600 * 1000}, {"d", 24 * 3600 * 1000},
};

static const struct unit size_units[] = {
    {"", 1},
    {"K", 1024},
    {"M", 1024 * 1024},
    {"G", 1024 * 1024 * 1024},
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum number { NUMBER_GOOD, NUMBER_NONE, NUMBER_LARGE };

/* The decimal digits at *text, and *text behind them. */
static enum number take_digits(const char **text, int64_t *number)
{
    const char *p = *text;

    *number = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(*number, 10, number) || __builtin_add_overflow(*number, *p - '0', number))
            return NUMBER_LARGE;
    }
    if (p == *text)
        return NUMBER_NONE;
    *text = p;
    return NUMBER_GOOD;
}

/* A number with one of the units, in the smallest. */
static enum number parse_with_unit(const char *text, const struct unit *units, size_t count,
                                   const char **rest, int64_t *out)
{
    enum number result = take_digits(&text, out);

    *rest = text;
    if (result != NUMBER_GOOD)
        return result;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, units[i].name) == 0)
            return __builtin_mul_overflow(*out, units[i].factor, out) ? NUMBER_LARGE : NUMBER_GOOD;
    }
    return NUMBER_NONE;
}

int conf_duration_parse(const char *text, int64_t *ms, const char **reason)
{
    const char *rest;
    enum number result = parse_with_unit(text, duration_units, COUNT(duration_units), &rest, ms);

    if (result == NUMBER_GOOD || (*rest == '\0' && rest != text && *ms == 0))
        return 0;
    if (result == NUMBER_LARGE)
        *reason = "is too large a number: write a smaller one";
    else if (rest != text && *rest == '\0')
        *reason = "has no unit: add ms, s, m, h or d, as in 30s";
    else
        *reason = "is not a duration: write a whole number and ms, s, m, h or d, as in 30s";
    return -1;
}

int conf_size_parse(const char *text, int64_t *bytes, const char **reason)
{
    const char *rest;
    enum number result = parse_with_unit(text, size_units, COUNT(size_units), &rest, bytes);

    if (result == NUMBER_GOOD)
        return 0;
    *reason = result == NUMBER_LARGE
                  ? "is too large a number: write a smaller one"
                  : "is not a size: write a whole number of bytes, or one with K, M or G, as in 32M";
    return -1;
}

int conf_number_parse(const char *text, int64_t *number, const char **reason)
{
    enum number result = take_digits(&text, number);

    if (result == NUMBER_GOOD && *text == '\0')
        return 0;
    *reason = result == NUMBER_LARGE ? "is too large a number: write a smaller one"
                                     : "is not a number: write digits alone";
    return -1;
}

int conf_bool_parse(const char *text, bool *value, const char **reason)
{
    static const char *const words[][2] = {{"false", "true"}, {"no", "yes"}, {"off", "on"}};

    for (size_t i = 0; i < COUNT(words); i++) {
        for (int b = 0; b < 2; b++) {
            if (strcasecmp(text, words[i][b]) == 0) {
                *value = b != 0;
                return 0;
            }
        }
    }
    *reason = "is neither true nor false: write one of the two";
    return -1;
}

static void print_with_unit(struct buf *out, const struct unit *units, size_t count, int64_t value)
{
    size_t i = count - 1;

    while (i > 0 && value % units[i].factor != 0)
        i--;
    buf_printf(out, "%" PRId64 "%s", value / units[i].factor, units[i].name);
}

void conf_duration_print(struct buf *out, int64_t ms)
{
    if (ms == 0)
        buf_putc(out, '0');
    else
        print_with_unit(out, duration_units, COUNT(duration_units), ms);
}

void conf_size_print(struct buf *out, int64_t bytes)
{
    if (bytes == 0)
        buf_putc(out, '0');
    else
        print_with_unit(out, size_units, COUNT(size_units), bytes);
}

void conf_string_print(struct buf *out, const char *text)
{
    buf_putc(out, '"');
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\')
            buf_putc(out, '\\');
        buf_putc(out, *text);
    }
    buf_putc(out, '"');
}
