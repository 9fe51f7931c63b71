/*
 * retry_after: how long a key rests, out of a 429's fields. Called by the relay when it judges an answer.
 * Numbers are read by hand: strtod() would take hexadecimal, nan and inf, and would ask the locale for the
 * decimal point.
 */
#include "core/retry_after.h"

#include "core/ascii.h"

#include <string.h>

#define DAY_S 86400

/* An instant of the proleptic Gregorian calendar in UTC. */
struct civil {
    int64_t year;
    int month; /* 1-12 */
    int day;   /* 1-31 */
    int hour;
    int minute;
    int second; /* 60 in a leap second */
};

struct number {
    uint64_t digits;  /* the first 18 significant digits */
    int64_t exponent; /* of ten */
    bool more;        /* something above zero follows the kept digits */
};

#define KEPT_MAX     UINT64_C(100000000000000000) /* below it another digit may be kept */
#define EXPONENT_MAX 1000000                      /* far beyond what decides anything */

static void number_digit(struct number *n, int digit, bool fraction)
{
    if (n->digits < KEPT_MAX) {
        n->digits = n->digits * 10 + (uint64_t)digit;
        n->exponent -= fraction;
    } else {
        n->more = n->more || digit != 0;
        n->exponent += !fraction;
    }
}

/* "e" and what follows it, at the end of a number. Returns what stands behind, or NULL. */
static const char *number_exponent(const char *s, struct number *n)
{
    int64_t exponent = 0;
    bool negative;

    if (*s != 'e' && *s != 'E')
        return s;
    s++;
    negative = *s == '-';
    if (*s == '+' || *s == '-')
        s++;
    if (!ascii_is_digit(*s))
        return NULL;
    for (; ascii_is_digit(*s); s++) {
        if (exponent < EXPONENT_MAX)
            exponent = exponent * 10 + (*s - '0');
    }
    n->exponent += negative ? -exponent : exponent;
    return s;
}

/*
 * A positive decimal number times 10^scale, rounded up to a whole one, at most INT64_MAX. Returns false for
 * anything else, zero included.
 */
static bool parse_positive(const char *s, int scale, int64_t *out)
{
    struct number n = {0, 0, false};
    bool any = false;

    while (*s == ' ' || *s == '\t')
        s++;
    if (*s == '+')
        s++;
    for (; ascii_is_digit(*s); s++, any = true)
        number_digit(&n, *s - '0', false);
    if (*s == '.') {
        for (s++; ascii_is_digit(*s); s++, any = true)
            number_digit(&n, *s - '0', true);
    }
    s = any ? number_exponent(s, &n) : NULL;
    while (s != NULL && (*s == ' ' || *s == '\t'))
        s++;
    if (s == NULL || *s != '\0' || n.digits == 0)
        return false;

    for (n.exponent += scale; n.exponent < 0 && n.digits > 0; n.exponent++) {
        n.more = n.more || n.digits % 10 != 0;
        n.digits /= 10;
    }
    for (; n.exponent > 0 && n.digits <= INT64_MAX / 10; n.exponent--)
        n.digits *= 10;
    if (n.exponent > 0 || n.digits >= INT64_MAX)
        *out = INT64_MAX;
    else
        *out = (int64_t)n.digits + n.more;
    return true;
}

/* Days from 1970-01-01 to a date. Years are counted from March, so that the leap day is the last of its year.
 */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in_month(int64_t year, int month)
{
    static const char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* The leap second counts as the second after it, as in Unix time. */
static int64_t unix_from_civil(const struct civil *c)
{
    return days_from_civil(c->year, c->month, c->day) * DAY_S + c->hour * 3600 + c->minute * 60 + c->second;
}

static int64_t year_of_unix(int64_t unix_s)
{
    int64_t year = 1970 + unix_s / (365 * DAY_S); /* never too early, at most some years too late */

    while (days_from_civil(year, 1, 1) * DAY_S > unix_s)
        year--;
    return year;
}

/*
 * The text is matched against a pattern, a character at a time: W is a day name, L a long day name, M a month
 * name, D a day with two digits, E a day with a space or two digits, Y and y a year with four or two digits,
 * T a time, Z the zone GMT; everything else is itself. Names are case-sensitive (RFC 9110 section 5.6.7).
 */
static bool take_digits(const char **s, int count, int *out)
{
    int value = 0;

    for (; count > 0; count--, (*s)++) {
        if (!ascii_is_digit(**s))
            return false;
        value = value * 10 + (**s - '0');
    }
    *out = value;
    return true;
}

static bool take_name(const char **s, const char *const *names, int count, int *index)
{
    for (int i = 0; i < count; i++) {
        size_t len = strlen(names[i]);

        if (strncmp(*s, names[i], len) == 0) {
            *s += len;
            *index = i;
            return true;
        }
    }
    return false;
}

static bool take_time(const char **s, struct civil *c)
{
    if (!take_digits(s, 2, &c->hour) || *(*s)++ != ':')
        return false;
    if (!take_digits(s, 2, &c->minute) || *(*s)++ != ':')
        return false;
    if (!take_digits(s, 2, &c->second) || c->hour > 23 || c->minute > 59)
        return false;
    return c->second <= 59 || (c->hour == 23 && c->minute == 59 && c->second == 60);
}

static bool take_item(const char **s, char item, struct civil *c)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const long_days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                            "Thursday", "Friday", "Saturday"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    static const char *const zone[] = {"GMT"};
    int value = 0;
    bool ok;

    switch (item) {
    case 'W': /* a day that does not fit the date is no error: the date says it all */
        return take_name(s, days, 7, &value);
    case 'L':
        return take_name(s, long_days, 7, &value);
    case 'M':
        ok = take_name(s, months, 12, &value);
        c->month = value + 1;
        return ok;
    case 'E':
        if (**s == ' ') {
            (*s)++;
            return take_digits(s, 1, &c->day);
        }
        return take_digits(s, 2, &c->day);
    case 'D':
        return take_digits(s, 2, &c->day);
    case 'Y':
    case 'y':
        ok = take_digits(s, item == 'Y' ? 4 : 2, &value);
        c->year = value;
        return ok;
    case 'T':
        return take_time(s, c);
    case 'Z':
        return take_name(s, zone, 1, &value);
    default:
        return *(*s)++ == item;
    }
}

static bool match_date(const char *s, const char *pattern, struct civil *c)
{
    while (*s == ' ' || *s == '\t')
        s++;
    for (; *pattern != '\0'; pattern++) {
        if (!take_item(&s, *pattern, c))
            return false;
    }
    while (*s == ' ' || *s == '\t')
        s++;
    return *s == '\0';
}

/* Whether the date is more than 50 years after now, to the second. */
static bool over_50_years_ahead(const struct civil *date, int64_t now_s)
{
    int64_t year = year_of_unix(now_s);
    int64_t ahead = date->year - year;
    struct civil shifted = *date;

    if (ahead != 50)
        return ahead > 50;
    shifted.year = year;
    return unix_from_civil(&shifted) > now_s;
}

/* Gives a two-digit year its century: the latest one that is not more than 50 years ahead. */
static void fix_century(struct civil *date, int64_t now_s)
{
    int64_t year = year_of_unix(now_s);

    date->year += year - year % 100 + 100;
    while (over_50_years_ahead(date, now_s))
        date->year -= 100;
}

bool retry_after_parse_date(const char *value, int64_t now_real_ms, int64_t *unix_s)
{
    struct civil date = {0, 0, 0, 0, 0, 0};

    if (match_date(value, "L, D-M-y T Z", &date))
        fix_century(&date, now_real_ms / 1000);
    else if (!match_date(value, "W, D M Y T Z", &date) && !match_date(value, "W M E T Y", &date))
        return false;
    if (date.day < 1 || date.day > days_in_month(date.year, date.month))
        return false;
    *unix_s = unix_from_civil(&date);
    return true;
}

/* What the fields ask for, in milliseconds; false when none of them says anything usable. */
static bool asked_ms(const struct header_list *headers, int64_t now_real_ms, int64_t *out)
{
    const struct header *ms = header_find(headers, "retry-after-ms");
    const struct header *after;
    int64_t unix_s;

    if (ms != NULL && parse_positive(ms->value, 0, out))
        return true;
    after = header_find(headers, "Retry-After");
    if (after == NULL)
        return false;
    if (parse_positive(after->value, 3, out))
        return true;
    if (!retry_after_parse_date(after->value, now_real_ms, &unix_s) || unix_s * 1000 <= now_real_ms)
        return false;
    *out = unix_s * 1000 - now_real_ms;
    return true;
}

int64_t retry_after_parse(const struct header_list *headers, int64_t now_real_ms, int64_t default_ms,
                          int64_t max_ms)
{
    int64_t cooldown_ms;

    if (!asked_ms(headers, now_real_ms, &cooldown_ms))
        cooldown_ms = default_ms;
    if (cooldown_ms > max_ms)
        cooldown_ms = max_ms;
    return cooldown_ms < 1 ? 1 : cooldown_ms;
}
