/* Targets for the parsers of core that take one text or two. */
#include "core/base_url.h"
#include "core/response_head.h"
#include "core/retry_after.h"
#include "core/route.h"
#include "fuzz/fuzz.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NOW_MS 1700000000000

void fuzz_retry_after(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct header_list headers = {0};
    int64_t max_ms;
    int64_t result;

    fuzz_reader_init(&reader, data, size);
    max_ms = (int64_t)1 << (fuzz_byte(&reader) % 62);
    fuzz_headers(&reader, &headers);
    result = retry_after_parse(&headers, NOW_MS, max_ms, max_ms);
    FUZZ_MUST(result >= 1 && result <= max_ms);
    for (size_t i = 0; i < headers.count; i++) {
        int64_t unix_s;

        /* A date has a year of four digits, or of two near now. */
        if (retry_after_parse_date(headers.items[i].value, NOW_MS, &unix_s))
            FUZZ_MUST(unix_s > -62200000000 && unix_s < 253402387200);
    }
    header_list_fini(&headers);
    fuzz_reader_fini(&reader);
}

static void check_url(const struct base_url *url, const char *rest)
{
    struct arena arena = {0};
    size_t prefix = strlen(url->origin) + strlen(url->path);
    const char *query = strchr(rest, '?');
    size_t path_len = query != NULL ? (size_t)(query - rest) : strlen(rest);
    char *joined = base_url_join(url, rest, &arena);

    FUZZ_MUST(strncmp(url->origin, url->https ? "https" : "http", 4) == 0 || isupper(url->origin[0]) ||
              isupper(url->origin[1]) || isupper(url->origin[2]) || isupper(url->origin[3]));
    FUZZ_MUST(url->host[0] != '\0' && strpbrk(url->host, "/@?# \t\r\n") == NULL);
    FUZZ_MUST(url->path[0] == '\0' || (url->path[0] == '/' && url->path[strlen(url->path) - 1] != '/'));
    FUZZ_MUST(strpbrk(url->path, "?# \t\r\n") == NULL);
    /* The client's bytes travel as they are, behind exactly one slash. */
    FUZZ_MUST(joined != NULL && strncmp(joined, url->origin, strlen(url->origin)) == 0);
    FUZZ_MUST(strncmp(joined + strlen(url->origin), url->path, strlen(url->path)) == 0);
    if (path_len > 0 || prefix == strlen(url->origin))
        FUZZ_MUST(joined[prefix] == '/');
    if (rest[0] == '/')
        FUZZ_MUST(strncmp(joined + prefix, rest, path_len) == 0);
    arena_fini(&arena);
}

void fuzz_base_url(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct base_url url;
    char *text;
    char *rest;

    fuzz_reader_init(&reader, data, size);
    text = fuzz_line(&reader);
    rest = fuzz_line(&reader);
    FUZZ_MUST(base_url_parse(text, &url) == 0);
    if (url.valid)
        check_url(&url, rest);
    else
        FUZZ_MUST(url.reason != NULL);
    base_url_fini(&url);
    fuzz_reader_fini(&reader);
}

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, tolower((unsigned char)c));

    return at == NULL ? -1 : (int)(at - digits);
}

/* Whether a reader that decodes the path, and takes backslashes for slashes, finds a dot segment or a control
 * byte. */
static bool is_unsafe_when_decoded(const char *target)
{
    size_t len = strcspn(target, "?");
    char *path = calloc(1, len + 2);
    size_t n = 0;
    bool bad = false;

    FUZZ_MUST(path != NULL);
    for (size_t i = 0; i < len; i++) {
        char c = target[i];
        if (c == '%' && i + 2 < len && hex(target[i + 1]) >= 0 && hex(target[i + 2]) >= 0) {
            c = (char)(hex(target[i + 1]) * 16 + hex(target[i + 2]));
            i += 2;
        }
        bad = bad || (unsigned char)c < 0x20 || c == 0x7f;
        path[n++] = c == '\\' ? '/' : c;
    }
    path[n] = '/';
    for (char *segment = path; segment <= path + n;) {
        char *end = memchr(segment, '/', (size_t)(path + n + 1 - segment));
        size_t segment_len = (size_t)(end - segment);
        bad = bad || (segment_len == 1 && segment[0] == '.') ||
              (segment_len == 2 && segment[0] == '.' && segment[1] == '.');
        segment = end + 1;
    }
    free(path);
    return bad;
}

void fuzz_route(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct provider_list providers = fuzz_providers();
    const char *reason = NULL;
    const char *rest = NULL;
    const struct provider *found;
    size_t len;
    char *target;

    fuzz_reader_init(&reader, data, size);
    target = fuzz_rest(&reader, &len);
    if (route_target_is_safe(target, &reason))
        FUZZ_MUST(!is_unsafe_when_decoded(target));
    else
        FUZZ_MUST(reason != NULL);
    found = route_find(&providers, target, &rest);
    if (found != NULL) {
        size_t route_len = strcmp(found->route, "/") == 0 ? 0 : strlen(found->route);
        FUZZ_MUST(rest == target + route_len && strncmp(target, found->route, route_len) == 0);
        FUZZ_MUST(*rest == '\0' || *rest == '/' || *rest == '?');
    }
    fuzz_reader_fini(&reader);
}

void fuzz_response_head(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct response_head head = {0};
    struct arena arena = {0};
    const char *reason = NULL;
    enum response_head_result result = RESPONSE_HEAD_MORE;

    fuzz_reader_init(&reader, data, size);
    while (reader.left > 0) {
        const uint8_t *end = memchr(reader.at, '\n', reader.left);
        size_t len;
        const char *line =
            fuzz_bytes(&reader, end != NULL ? (size_t)(end - reader.at) + 1 : reader.left, &len);
        result = response_head_line(&head, line, len, &arena, &reason);
        if (result == RESPONSE_HEAD_MALFORMED)
            break;
        FUZZ_MUST(result != RESPONSE_HEAD_NO_MEMORY);
    }
    if (result == RESPONSE_HEAD_MALFORMED)
        FUZZ_MUST(reason != NULL);
    FUZZ_MUST(head.bytes <= 2 * RESPONSE_HEAD_MAX);
    if (head.complete) {
        FUZZ_MUST(head.status >= 200 && head.status <= 999);
        FUZZ_MUST(head.content_length >= -1);
        for (size_t i = 0; i < head.headers.count; i++) {
            const struct header *h = &head.headers.items[i];
            FUZZ_MUST(h->name_len == strlen(h->name) && header_name_is_token(h->name, h->name_len));
            FUZZ_MUST(h->value_len == strlen(h->value) && header_value_is_clean(h->value, h->value_len));
        }
    }
    response_head_fini(&head);
    arena_fini(&arena);
    fuzz_reader_fini(&reader);
}
