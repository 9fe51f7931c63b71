/*
 * reply: the table of claviger's own answers and their JSON. Called by whoever refuses or gives up a request;
 * it writes text and sends nothing.
 */
#include "core/reply.h"

#include <string.h>

struct reply_info {
    const char *name;
    int status;
    const char *anthropic_type;
    const char *openai_type;
    const char *openai_code;
};

static const struct reply_info replies[REPLY_CODES] = {
    [REPLY_KEYS_EXHAUSTED] = {"keys_exhausted", 429, "rate_limit_error", "rate_limit_error",
                              "rate_limit_exceeded"},
    [REPLY_KEYS_REJECTED] = {"keys_rejected", 502, "api_error", "api_error", "server_error"},
    [REPLY_UPSTREAM_ERROR] = {"upstream_error", 502, "api_error", "api_error", "server_error"},
    [REPLY_INVALID_BASE_URL] = {"invalid_base_url", 502, "api_error", "api_error", "server_error"},
    [REPLY_UPSTREAM_TIMEOUT] = {"upstream_timeout", 504, "timeout_error", "api_error", "timeout"},
    [REPLY_UNAUTHORIZED] = {"unauthorized", 401, "authentication_error", "invalid_request_error",
                            "invalid_api_key"},
    [REPLY_FORBIDDEN] = {"forbidden", 403, "permission_error", "invalid_request_error",
                         "insufficient_permissions"},
    [REPLY_NO_ROUTE] = {"no_route", 404, "not_found_error", "invalid_request_error", "not_found"},
    [REPLY_BODY_TOO_LARGE] = {"body_too_large", 413, "request_too_large", "invalid_request_error",
                              "request_too_large"},
    [REPLY_BAD_REQUEST] = {"bad_request", 400, "invalid_request_error", "invalid_request_error",
                           "bad_request"},
    [REPLY_METHOD_NOT_ALLOWED] = {"method_not_allowed", 405, "invalid_request_error", "invalid_request_error",
                                  "method_not_allowed"},
    [REPLY_NOT_SUPPORTED] = {"not_supported", 501, "invalid_request_error", "invalid_request_error",
                             "not_supported"},
    [REPLY_OVERLOADED] = {"overloaded", 503, "overloaded_error", "api_error", "server_error"},
    [REPLY_REQUEST_TIMEOUT] = {"request_timeout", 408, "timeout_error", "invalid_request_error",
                               "request_timeout"},
    [REPLY_HEAD_TOO_LARGE] = {"head_too_large", 431, "invalid_request_error", "invalid_request_error",
                              "head_too_large"},
    [REPLY_INTERNAL_ERROR] = {"internal_error", 500, "api_error", "api_error", "server_error"},
};

const char *reply_code_name(enum reply_code code)
{
    return replies[code].name;
}

int reply_status(enum reply_code code)
{
    return replies[code].status;
}

void reply_body(struct buf *out, enum reply_code code, enum error_shape shape, const char *message)
{
    const struct reply_info *info = &replies[code];

    if (shape == ERROR_SHAPE_ANTHROPIC) {
        buf_printf(out, "{\"type\":\"error\",\"error\":{\"type\":\"%s\",\"message\":", info->anthropic_type);
        buf_json(out, message, strlen(message));
        buf_puts(out, "}}");
        return;
    }
    buf_puts(out, "{\"error\":{\"message\":");
    buf_json(out, message, strlen(message));
    buf_printf(out, ",\"type\":\"%s\",\"param\":null,\"code\":\"%s\"}}", info->openai_type,
               info->openai_code);
}

void reply_exhausted_message(struct buf *out, const char *provider, const struct exhausted *why)
{
    size_t rejected = why->summary.permanent;
    /* A key that became valid again behind the walk was limited when the walk came by. */
    size_t limited = why->summary.temporary + why->summary.valid;
    long long seconds = (long long)why->retry_after_s;

    if (why->kind == EXHAUSTED_REJECTED) {
        if (rejected == 1)
            buf_printf(out, "the only key of provider %s was rejected by it", provider);
        else
            buf_printf(out, "all %zu keys of provider %s were rejected by it", rejected, provider);
    } else if (rejected > 0) {
        buf_printf(out, "%zu of %zu keys of provider %s %s rate-limited, the first recovers in %lld s; ",
                   limited, limited + rejected, provider, limited == 1 ? "is" : "are", seconds);
        buf_printf(out, "%zu %s rejected", rejected, rejected == 1 ? "was" : "were");
    } else if (limited == 1) {
        buf_printf(out, "the only key of provider %s is rate-limited, it recovers in %lld s", provider,
                   seconds);
    } else {
        buf_printf(out, "all %zu keys of provider %s are rate-limited, the first recovers in %lld s", limited,
                   provider, seconds);
    }
}
