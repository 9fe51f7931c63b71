/*
 * reply: the answers that claviger makes itself, in the provider's own JSON shape so that its SDK raises its
 * own exception.
 *
 * Shapes: docs.anthropic.com/en/api/errors, platform.openai.com/docs/guides/error-codes.
 */
#ifndef CLAVIGER_CORE_REPLY_H
#define CLAVIGER_CORE_REPLY_H

#include "base/buf.h"
#include "core/provider.h"
#include "core/walk.h"

enum reply_code {
    REPLY_KEYS_EXHAUSTED,
    REPLY_KEYS_REJECTED,
    REPLY_UPSTREAM_ERROR,
    REPLY_INVALID_BASE_URL,
    REPLY_UPSTREAM_TIMEOUT,
    REPLY_UNAUTHORIZED,
    REPLY_FORBIDDEN,
    REPLY_NO_ROUTE,
    REPLY_BODY_TOO_LARGE,
    REPLY_BAD_REQUEST,
    REPLY_METHOD_NOT_ALLOWED,
    REPLY_NOT_SUPPORTED,
    REPLY_OVERLOADED,
    REPLY_REQUEST_TIMEOUT, /* 408: the body came too slowly */
    REPLY_HEAD_TOO_LARGE,  /* 431 */
    REPLY_INTERNAL_ERROR,  /* 500: out of memory or disk while serving one request */
    REPLY_CODES
};

#define REPLY_ERROR_HEADER "X-Claviger-Error"

/* The word in X-Claviger-Error and in the request log: "keys_exhausted". */
const char *reply_code_name(enum reply_code code);
int reply_status(enum reply_code code);

/* Appends the JSON body. Whoever has no provider takes ERROR_SHAPE_OPENAI. */
void reply_body(struct buf *out, enum reply_code code, enum error_shape shape, const char *message);

/* The message of an exhausted walk, in words: "all 3 keys of provider openai are rate-limited, the first
 * recovers in 3 s"; also says how many were rejected. */
void reply_exhausted_message(struct buf *out, const char *provider, const struct exhausted *why);

#endif
