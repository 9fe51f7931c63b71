/*
 * clavigerctl_top_layout: shares the rows of a window among the sections of the view.
 */
#include "clavigerctl_top.h"

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Lets the section grow up to `most` rows with what is left. */
static void grow(size_t *given, size_t most, size_t *left)
{
    size_t more = most > *given ? least(most - *given, *left) : 0;
    *given += more;
    *left -= more;
}

void top_share(const size_t wanted[TOP_SECTIONS], size_t rows, size_t given[TOP_SECTIONS])
{
    /* In the order in which they are needed, and how few rows make sense; 0 = all or none. */
    static const struct {
        enum top_section section;
        size_t few;
    } NEEDS[] = {{TOP_DAEMON, 1}, {TOP_KEYS, 4}, {TOP_TRAFFIC, 0}, {TOP_POOLS, 3}, {TOP_WORKERS, 3}};
    static const enum top_section LISTS[] = {TOP_POOLS, TOP_WORKERS};
    size_t left = rows;
    for (size_t i = 0; i < sizeof(NEEDS) / sizeof(NEEDS[0]); i++) {
        enum top_section section = NEEDS[i].section;
        size_t few = NEEDS[i].few > 0 ? least(NEEDS[i].few, wanted[section]) : wanted[section];
        /* Of the keys at least what there is room for. */
        given[section] = few <= left ? few : (section == TOP_KEYS ? left : 0);
        left -= given[section];
    }
    grow(&given[TOP_DAEMON], wanted[TOP_DAEMON], &left);
    /* Long lists of pools and workers leave a good part to the keys. */
    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++)
        if (given[LISTS[i]] > 0)
            grow(&given[LISTS[i]], least(wanted[LISTS[i]], rows / 5), &left);
    grow(&given[TOP_KEYS], wanted[TOP_KEYS], &left);
    for (size_t i = 0; i < sizeof(LISTS) / sizeof(LISTS[0]); i++)
        if (given[LISTS[i]] > 0)
            grow(&given[LISTS[i]], wanted[LISTS[i]], &left);
}
