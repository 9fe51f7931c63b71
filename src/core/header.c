/*
 * header: the ordered list of fields and the rules about which of them travel. Every other module of core
 * that looks at a request or a response goes through it. It never copies a string and never judges a message
 * as a whole: that is http_rules.
 */
#include "core/header.h"

#include "base/recycle.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 32 /* fields of a usual request fit without a second allocation */

/* A name out of a Connection field; not NUL-terminated. */
struct name_ref {
    const char *start;
    size_t len;
};

#define NAMES_ON_STACK 16

struct name_set {
    struct name_ref *items; /* first[] or the heap */
    size_t count;
    size_t cap;
    struct name_ref first[NAMES_ON_STACK];
};

/* The locale must not decide about protocol text, so no tolower(). */
static unsigned char lower(char c)
{
    unsigned char u = (unsigned char)c;

    return u >= 'A' && u <= 'Z' ? (unsigned char)(u + ('a' - 'A')) : u;
}

/* Like memcmp() without regard to ASCII case. */
static int compare(const char *a, const char *b, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        int diff = (int)lower(a[i]) - (int)lower(b[i]);
        if (diff != 0)
            return diff;
    }
    return 0;
}

static bool same_name(const char *a, const char *b)
{
    while (*a != '\0' && lower(*a) == lower(*b)) {
        a++;
        b++;
    }
    return *a == '\0' && *b == '\0';
}

void header_list_fini(struct header_list *list)
{
    recycle_free(list->items);
    memset(list, 0, sizeof(*list));
}

void header_list_clear(struct header_list *list)
{
    list->count = 0;
}

static int reserve(struct header_list *list, size_t count)
{
    size_t cap = list->cap > 0 ? list->cap : FIRST_CAP;
    struct header *items;

    if (count <= list->cap)
        return 0;
    while (cap < count) {
        if (cap > SIZE_MAX / 2 / sizeof(*items))
            return -1;
        cap *= 2;
    }
    items = recycle_realloc(list->items, cap * sizeof(*items));
    if (items == NULL)
        return -1;
    list->items = items;
    list->cap = cap;
    return 0;
}

int header_add(struct header_list *list, const char *name, size_t name_len, const char *value,
               size_t value_len)
{
    struct header *h;

    if (name_len > UINT32_MAX || value_len > UINT32_MAX || reserve(list, list->count + 1) != 0)
        return -1;
    h = &list->items[list->count++];
    h->name = name;
    h->value = value;
    h->name_len = (uint32_t)name_len;
    h->value_len = (uint32_t)value_len;
    return 0;
}

static bool has_name(const struct header *h, const char *name, size_t len)
{
    return h->name_len == len && compare(h->name, name, len) == 0;
}

bool header_same_name(const char *a, const char *b, size_t len)
{
    return compare(a, b, len) == 0;
}

const struct header *header_find(const struct header_list *list, const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < list->count; i++) {
        if (has_name(&list->items[i], name, len))
            return &list->items[i];
    }
    return NULL;
}

size_t header_count(const struct header_list *list, const char *name)
{
    size_t len = strlen(name);
    size_t found = 0;

    for (size_t i = 0; i < list->count; i++) {
        if (has_name(&list->items[i], name, len))
            found++;
    }
    return found;
}

size_t header_remove(struct header_list *list, const char *name)
{
    size_t len = strlen(name);
    size_t kept = 0;
    size_t removed;

    for (size_t i = 0; i < list->count; i++) {
        if (!has_name(&list->items[i], name, len))
            list->items[kept++] = list->items[i];
    }
    removed = list->count - kept;
    list->count = kept;
    return removed;
}

/* The next element of a comma-separated list, without the white space around it. Empty elements are skipped,
 * as RFC 9110 section 5.6.1.2 asks of a recipient. Returns false at the end. */
static bool next_element(const char **cursor, struct name_ref *out)
{
    const char *p = *cursor;
    const char *end;

    while (*p == ',' || *p == ' ' || *p == '\t')
        p++;
    if (*p == '\0')
        return false;
    end = p;
    while (*end != '\0' && *end != ',')
        end++;
    *cursor = end;
    while (end[-1] == ' ' || end[-1] == '\t')
        end--;
    out->start = p;
    out->len = (size_t)(end - p);
    return true;
}

static bool element_is(const struct name_ref *element, const char *word)
{
    return element->len == strlen(word) && compare(element->start, word, element->len) == 0;
}

bool header_value_has_token(const char *value, const char *token)
{
    struct name_ref element;

    while (next_element(&value, &element)) {
        if (element_is(&element, token))
            return true;
    }
    return false;
}

/* RFC 9110 section 5.6.2: a bit for each of 0 to 127. */
static bool is_token_char(char c)
{
    static const uint32_t tokens[4] = {
        0x00000000, /* control characters */
        0x03ff6cfa, /* ! # $ % & ' * + - . 0 to 9 */
        0xc7fffffe, /* A to Z ^ _ */
        0x57ffffff, /* ` a to z | ~ */
    };
    unsigned char u = (unsigned char)c;
    return u < 0x80 && (tokens[u / 32] >> (u % 32) & 1) != 0;
}

bool header_name_is_token(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_token_char(name[i]))
            return false;
    }
    return len > 0;
}

/* By length first: most names are out after one comparison of integers. */
static bool is_hop_by_hop(const char *name, size_t len)
{
    switch (len) {
    case 2:
        return same_name(name, "TE");
    case 7:
        return same_name(name, "Trailer") || same_name(name, "Upgrade");
    case 10:
        return same_name(name, "Connection") || same_name(name, "Keep-Alive");
    case 16:
        return same_name(name, "Proxy-Connection");
    case 17:
        return same_name(name, "Transfer-Encoding");
    case 18:
        return same_name(name, "Proxy-Authenticate");
    case 19:
        return same_name(name, "Proxy-Authorization");
    default:
        return false;
    }
}

bool header_is_hop_by_hop(const char *name)
{
    return is_hop_by_hop(name, strlen(name));
}

static int order_names(const void *left, const void *right)
{
    const struct name_ref *a = left;
    const struct name_ref *b = right;

    if (a->len != b->len)
        return a->len < b->len ? -1 : 1;
    return compare(a->start, b->start, a->len);
}

static int name_set_add(struct name_set *set, const struct name_ref *name)
{
    if (set->count == set->cap) {
        struct name_ref *old = set->items == set->first ? NULL : set->items;
        struct name_ref *items = realloc(old, 2 * set->cap * sizeof(*items));

        if (items == NULL)
            return -1;
        if (old == NULL)
            memcpy(items, set->first, sizeof(set->first));
        set->items = items;
        set->cap *= 2;
    }
    set->items[set->count++] = *name;
    return 0;
}

static void name_set_fini(struct name_set *set)
{
    if (set->items != set->first)
        free(set->items);
}

/*
 * Gathers what the Connection fields name. "keep-alive" and "close" name no field that could travel, so for
 * nearly every message the set is empty and costs nothing. It is sorted, because a hostile head may name
 * thousands.
 */
static int name_set_init(struct name_set *set, const struct header_list *in)
{
    set->items = set->first;
    set->count = 0;
    set->cap = NAMES_ON_STACK;
    for (size_t i = 0; i < in->count; i++) {
        const struct header *h = &in->items[i];
        const char *cursor = h->value;
        struct name_ref element;

        if (!header_is(h, "Connection"))
            continue;
        while (next_element(&cursor, &element)) {
            if (element_is(&element, "keep-alive") || element_is(&element, "close"))
                continue;
            if (name_set_add(set, &element) != 0) {
                name_set_fini(set);
                return -1;
            }
        }
    }
    if (set->count > 1)
        qsort(set->items, set->count, sizeof(set->items[0]), order_names);
    return 0;
}

static bool name_set_has(const struct name_set *set, const struct header *h)
{
    struct name_ref name = {h->name, h->name_len};

    return set->count > 0 &&
           bsearch(&name, set->items, set->count, sizeof(set->items[0]), order_names) != NULL;
}

/* Fields that the proxy sets or reads itself: whoever could name them in Connection could undo that. */
static bool is_protected(const struct header *h, const char *const *protect)
{
    static const char forwarded[] = "X-Forwarded-";

    if (h->name_len >= sizeof(forwarded) - 1 && compare(h->name, forwarded, sizeof(forwarded) - 1) == 0)
        return true;
    if (header_is(h, "Host") || header_is(h, "User-Agent") || header_is(h, "Accept-Encoding"))
        return true;
    for (; protect != NULL && *protect != NULL; protect++) {
        if (header_is(h, *protect))
            return true;
    }
    return false;
}

int header_copy_end_to_end(const struct header_list *in, const char *const *protect, struct header_list *out)
{
    struct name_set named;

    if (reserve(out, out->count + in->count) != 0 || name_set_init(&named, in) != 0)
        return -1;
    for (size_t i = 0; i < in->count; i++) {
        const struct header *h = &in->items[i];

        if (is_hop_by_hop(h->name, h->name_len))
            continue;
        if (header_is(h, "Content-Length"))
            continue;
        if (name_set_has(&named, h) && !is_protected(h, protect))
            continue;
        out->items[out->count++] = *h;
    }
    name_set_fini(&named);
    return 0;
}

bool header_parse_content_length(const char *value, int64_t *out)
{
    int64_t number = 0;

    if (*value == '\0')
        return false;
    for (; *value != '\0'; value++) {
        int digit = *value - '0';

        if (digit < 0 || digit > 9 || number > (INT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *out = number;
    return true;
}

/* Whether none of eight bytes is a control byte. It may say no to some that are fine. */
static bool eight_are_clean(const char *bytes)
{
    const uint64_t each = UINT64_C(0x0101010101010101);
    uint64_t word;

    memcpy(&word, bytes, sizeof(word));
    uint64_t low = (word - each * ' ') & ~word;
    uint64_t del = word ^ (each * 0x7f);
    del = (del - each) & ~del;
    return ((low | del) & (each * 0x80)) == 0;
}

bool header_value_is_clean(const char *value, size_t len)
{
    size_t i = 0;

    while (i < len) {
        if (len - i >= 8 && eight_are_clean(value + i)) {
            i += 8;
            continue;
        }
        unsigned char c = (unsigned char)value[i++];

        if ((c < ' ' && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}
