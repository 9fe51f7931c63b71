/*
 * dump_head: called by dump for every attempt that is dumped, in the worker's loop: it has to be quick.
 */
#include "io/dump_head.h"

#include "core/credential.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FEW 64 /* fields for whose order no memory is allocated */

static bool is_secret(const struct provider_list *providers, const struct header *field)
{
    static const struct {
        const char *name;
        size_t len;
    } names[] = {
#define NAME(text) {text, sizeof(text) - 1}
        NAME("Authorization"),        NAME("X-Api-Key"),      NAME("Api-Key"),
        NAME("X-Auth-Token"),         NAME("Cookie"),         NAME("Proxy-Authorization"),
        NAME("X-Amz-Security-Token"), NAME("Set-Cookie"),     NAME("WWW-Authenticate"),
        NAME("Proxy-Authenticate"),   NAME("X-Goog-Api-Key"),
#undef NAME
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (field->name_len == names[i].len && strcasecmp(field->name, names[i].name) == 0)
            return true;
    return credential_is_header(providers, field->name);
}

/* The scheme in front of a credential stays, for people. */
static void put_hint(struct buf *out, const char *value, size_t len)
{
    static const char bearer[] = "Bearer ";
    char hint[KEY_HINT_SIZE];
    if (len > sizeof bearer - 1 && strncasecmp(value, bearer, sizeof bearer - 1) == 0) {
        buf_append(out, value, sizeof bearer - 1);
        value += sizeof bearer - 1;
        len -= sizeof bearer - 1;
    }
    key_hint(value, len, hint);
    buf_puts(out, hint);
}

static int compare_fields(const void *a, const void *b)
{
    const struct header *const *x = a;
    const struct header *const *y = b;
    int order = strcasecmp((*x)->name, (*y)->name);
    if (order != 0)
        return order;
    return (uintptr_t)*x < (uintptr_t)*y ? -1 : (uintptr_t)*x > (uintptr_t)*y;
}

/* Fields of the same name stay in the order in which they were sent. By insertion when there are a dozen of
 * them, as usual. */
static void sort_fields(const struct header **fields, size_t count)
{
    if (count > FEW) {
        qsort(fields, count, sizeof(*fields), compare_fields);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        const struct header *field = fields[i];
        size_t at = i;
        for (; at > 0 && strcasecmp(fields[at - 1]->name, field->name) > 0; at--)
            fields[at] = fields[at - 1];
        fields[at] = field;
    }
}

static void put_sorted(const struct provider_list *providers, const struct header **fields, size_t count,
                       const char *masked, struct buf *out)
{
    sort_fields(fields, count);
    for (size_t i = 0; i < count; i++) {
        const struct header *field = fields[i];
        buf_append(out, field->name, field->name_len);
        buf_append(out, ": ", 2);
        if (field->value != masked && is_secret(providers, field))
            put_hint(out, field->value, field->value_len);
        else
            buf_append(out, field->value, field->value_len);
        buf_append(out, "\r\n", 2);
    }
}

/* masked: a value that is a hint already. */
static void put_fields(const struct provider_list *providers, const struct header_list *list,
                       const struct header *more, size_t more_count, const char *masked, struct buf *out)
{
    const struct header *few[FEW];
    const struct header **fields = few;
    size_t count = 0;
    if (list->count + more_count > FEW &&
        (fields = calloc(list->count + more_count, sizeof(*fields))) == NULL) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < more_count; i++)
        fields[count++] = &more[i];
    for (size_t i = 0; i < list->count; i++)
        fields[count++] = &list->items[i];
    put_sorted(providers, fields, count, masked, out);
    if (fields != few)
        free(fields);
}

static void add(struct header *fields, size_t *count, const char *name, const char *value)
{
    fields[(*count)++] = (struct header){name, value, (uint32_t)strlen(name), (uint32_t)strlen(value)};
}

/* Whether it names a query parameter in which a client may have put a credential: RFC 6750 section 2.3 and
 * what APIs have made of it (Google's `key`). */
static bool is_secret_parameter(const char *name, size_t len)
{
    static const char *const names[] = {"access_token", "api-key", "api_key", "apikey", "key", "token"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (len == strlen(names[i]) && strncasecmp(name, names[i], len) == 0)
            return true;
    return false;
}

static void put_target(const char *target, struct buf *out)
{
    const char *at = strchr(target, '?');
    if (at == NULL) {
        buf_puts(out, target);
        return;
    }
    buf_append(out, target, (size_t)(++at - target));
    while (*at != '\0') {
        size_t len = strcspn(at, "&");
        size_t name_len = strcspn(at, "=&");
        if (name_len < len && is_secret_parameter(at, name_len)) {
            buf_append(out, at, name_len + 1);
            put_hint(out, at + name_len + 1, len - name_len - 1);
        } else {
            buf_append(out, at, len);
        }
        at += len;
        if (*at == '&')
            buf_putc(out, *at++);
    }
}

/* Everything that goes out, in one list: what upstream adds too. */
void dump_head_request(const struct provider_list *providers, const struct dump_request *request,
                       struct buf *out)
{
    const struct provider *provider = request->provider;
    struct header more[3];
    size_t count = 0;
    struct buf auth = {0};
    struct buf length = {0};
    add(more, &count, "Host", provider->base_url.host);
    if (request->key != NULL) {
        buf_puts(&auth, provider->auth_prefix);
        buf_puts(&auth, request->key->hint);
        if (!auth.failed)
            add(more, &count, provider->auth_header, auth.data);
    }
    if (request->body_length == DUMP_CHUNKED) {
        add(more, &count, "Transfer-Encoding", "chunked");
    } else if (request->body_length >= 0) {
        buf_put_uint(&length, (uint64_t)request->body_length);
        if (!length.failed)
            add(more, &count, "Content-Length", length.data);
    }
    buf_puts(out, request->method);
    buf_putc(out, ' ');
    put_target(request->target, out);
    buf_puts(out, " HTTP/1.1\r\n");
    put_fields(providers, request->headers, more, count, auth.data, out);
    buf_append(out, "\r\n", 2);
    out->failed |= auth.failed || length.failed;
    buf_fini(&auth);
    buf_fini(&length);
}

void dump_head_response(const struct provider_list *providers, const struct response_head *head,
                        const struct secret *key, struct buf *out)
{
    buf_puts(out, "HTTP/1.1 ");
    buf_put_uint(out, (uint64_t)head->status);
    buf_append(out, "\r\n", 2);
    put_fields(providers, &head->headers, NULL, 0, NULL, out);
    buf_append(out, "\r\n", 2);
    if (!out->failed && key != NULL)
        (void)credential_hide(key, out->data, out->len);
}
