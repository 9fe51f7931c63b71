/*
 * http_rules: what a request must be before anything is believed of it.
 *
 * libmicrohttpd accepts requests that two parsers could read differently; a proxy must refuse them (RFC 9112
 * sections 3.2, 5, 6.1, 6.3, 11.2). Everything here is judged on the fields as the library gives them, before
 * routing.
 */
#ifndef CLAVIGER_CORE_HTTP_RULES_H
#define CLAVIGER_CORE_HTTP_RULES_H

#include "core/header.h"

#include <stdbool.h>
#include <stdint.h>

struct http_request_head {
    const char *method;
    const char *version;               /* "HTTP/1.1" */
    const char *target;                /* raw, as it stood in the request line */
    const struct header_list *headers; /* in the order received */
};

enum http_verdict {
    HTTP_OK,
    HTTP_BAD_REQUEST,        /* 400, and the connection is closed */
    HTTP_METHOD_NOT_ALLOWED, /* 405: CONNECT, TRACE */
    HTTP_NOT_SUPPORTED,      /* 501: an Upgrade to websocket */
};

/* What the framing fields say about the body. */
struct http_framing {
    bool has_body; /* a Content-Length (0 included) or a Transfer-Encoding was sent */
    bool chunked;
    int64_t content_length; /* -1 when chunked or none */
};

/*
 * Judges the head. On HTTP_OK *framing is filled; otherwise *reason is a static text for the client. Refused
 * with 400: Content-Length with Transfer-Encoding, more than one Content-Length, one that is not plain
 * digits, a Transfer-Encoding other than exactly `chunked` or more than one or on HTTP/1.0, no Host on
 * HTTP/1.1 or several or one that is no host, a field name that is no token, a CR, LF, NUL or other control
 * byte (but tab) in a value, a target that does not begin with "/", a method that is no token, a version
 * other than HTTP/1.0 and HTTP/1.1. An HTTP/1.0 request may come without Host. An Upgrade to anything but
 * websocket is ignored.
 */
enum http_verdict http_rules_judge(const struct http_request_head *head, struct http_framing *framing,
                                   const char **reason);

#endif
