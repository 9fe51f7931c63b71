/*
 * http_rules: what a request must be before anything is believed of it. The listener asks it first of all.
 * Where RFC 9112 lets a recipient choose between mending and refusing, it refuses: a proxy that mends gives
 * its upstream another message than other parsers on the way saw. It answers nothing itself.
 */
#include "core/http_rules.h"

#include "core/ascii.h"

#include <string.h>

/* What the one pass over the fields finds. */
struct seen {
    const struct header *host;
    const struct header *length;
    const struct header *coding;
    bool websocket;
};

/* An IP literal's end, or NULL. What stands between the brackets is only looked at roughly: nobody connects
 * to it. */
static const char *skip_literal(const char *s)
{
    const char *first = ++s;

    while (ascii_hex_value(*s) >= 0 || *s == ':' || *s == '.')
        s++;
    return s > first && *s == ']' ? s + 1 : NULL;
}

/* A registered name's end, or NULL (RFC 3986 section 3.2.2). A comma would be legal, but is what several Host
 * fields look like once a hop has joined them. */
static const char *skip_name(const char *s)
{
    const char *first = s;

    while (*s != '\0' && *s != ':') {
        if (*s == '%') {
            if (ascii_hex_value(s[1]) < 0 || ascii_hex_value(s[2]) < 0)
                return NULL;
            s += 3;
        } else if (ascii_is_alnum(*s) || strchr("-._~!$&'()*+;=", *s) != NULL) {
            s++;
        } else {
            return NULL;
        }
    }
    return s > first ? s : NULL;
}

static bool is_host(const char *value)
{
    const char *s = *value == '[' ? skip_literal(value) : skip_name(value);
    int port = 0;

    if (s == NULL)
        return false;
    if (*s == '\0')
        return true;
    if (*s++ != ':')
        return false;
    for (; *s >= '0' && *s <= '9'; s++) {
        port = port * 10 + (*s - '0');
        if (port > 65535)
            return false;
    }
    return *s == '\0';
}

/* Whether an Upgrade value offers websocket, in any version (RFC 9110 section 7.8: name, or name "/"
 * version). */
static bool offers_websocket(const char *value)
{
    static const char word[] = "websocket";
    const char *p = value;

    while (*p != '\0') {
        size_t i = 0;

        while (*p == ' ' || *p == '\t' || *p == ',')
            p++;
        while (word[i] != '\0' && (p[i] == word[i] || p[i] == word[i] - 'a' + 'A'))
            i++;
        if (word[i] == '\0' && (p[i] == '\0' || strchr(" \t,/", p[i]) != NULL))
            return true;
        p += strcspn(p, ",");
    }
    return false;
}

/* Remembers a field that may come once; false when it came before. */
static bool remember_once(const struct header **place, const struct header *h)
{
    if (*place != NULL)
        return false;
    *place = h;
    return true;
}

/* Returns the fault, or NULL. */
static const char *look_at_field(const struct header *h, struct seen *seen)
{
    if (!header_name_is_token(h->name, h->name_len))
        return "a header name is empty or no token";
    if (!header_value_is_clean(h->value, h->value_len))
        return "a header value has a control byte";
    switch (h->name_len) {
    case sizeof("Host") - 1:
        if (header_is(h, "Host") && !remember_once(&seen->host, h))
            return "more than one Host";
        break;
    case sizeof("Upgrade") - 1:
        if (header_is(h, "Upgrade") && offers_websocket(h->value))
            seen->websocket = true;
        break;
    case sizeof("Content-Length") - 1:
        if (header_is(h, "Content-Length") && !remember_once(&seen->length, h))
            return "more than one Content-Length";
        break;
    case sizeof("Transfer-Encoding") - 1:
        if (header_is(h, "Transfer-Encoding") && !remember_once(&seen->coding, h))
            return "more than one Transfer-Encoding";
        break;
    default:
        break;
    }
    return NULL;
}

/* RFC 9112 sections 6.1 to 6.3. */
static const char *judge_framing(const struct seen *seen, bool http10, struct http_framing *framing)
{
    framing->has_body = seen->length != NULL || seen->coding != NULL;
    framing->chunked = seen->coding != NULL;
    framing->content_length = -1;
    if (seen->length != NULL && seen->coding != NULL)
        return "Content-Length together with Transfer-Encoding";
    if (seen->coding != NULL && http10)
        return "Transfer-Encoding in an HTTP/1.0 request";
    if (seen->coding != NULL && strcmp(seen->coding->value, "chunked") != 0)
        return "a Transfer-Encoding other than chunked";
    if (seen->length != NULL && !header_parse_content_length(seen->length->value, &framing->content_length))
        return "a Content-Length that is no plain number";
    return NULL;
}

static const char *judge_target(const char *target)
{
    if (target[0] != '/')
        return "the request target does not begin with /";
    for (const char *p = target; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;

        if (c <= ' ' || c == 0x7f)
            return "the request target has white space or a control byte";
        if (c == '#') /* some parsers would cut it there (RFC 9112 section 3.2.1 has no fragment) */
            return "the request target has a fragment";
    }
    return NULL;
}

enum http_verdict http_rules_judge(const struct http_request_head *head, struct http_framing *framing,
                                   const char **reason)
{
    struct seen seen = {NULL, NULL, NULL, false};
    bool http10 = strcmp(head->version, "HTTP/1.0") == 0;
    bool connect = strcmp(head->method, "CONNECT") == 0;
    const char *fault = NULL;

    if (!header_name_is_token(head->method, strlen(head->method)))
        fault = "the method is no token";
    else if (!http10 && strcmp(head->version, "HTTP/1.1") != 0)
        fault = "the HTTP version is neither 1.0 nor 1.1";
    for (size_t i = 0; i < head->headers->count && fault == NULL; i++)
        fault = look_at_field(&head->headers->items[i], &seen);
    if (fault == NULL && seen.host == NULL && !http10)
        fault = "no Host";
    if (fault == NULL && seen.host != NULL && !is_host(seen.host->value))
        fault = "the Host is no host";
    if (fault == NULL)
        fault = judge_framing(&seen, http10, framing);
    if (fault == NULL && !connect) /* a CONNECT's target is a host and a port */
        fault = judge_target(head->target);
    if (fault != NULL) {
        *reason = fault;
        return HTTP_BAD_REQUEST;
    }
    if (connect || strcmp(head->method, "TRACE") == 0) {
        *reason = "the method is not allowed";
        return HTTP_METHOD_NOT_ALLOWED;
    }
    /* RFC 9110 section 7.8: an Upgrade in an HTTP/1.0 request is ignored. */
    if (seen.websocket && !http10) {
        *reason = "websocket is not supported";
        return HTTP_NOT_SUPPORTED;
    }
    return HTTP_OK;
}
