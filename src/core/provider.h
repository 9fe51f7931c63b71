/*
 * provider: what the daemon knows about a kind of provider (a table), and one configured provider (plain data
 * that conf fills and everyone else reads).
 */
#ifndef CLAVIGER_CORE_PROVIDER_H
#define CLAVIGER_CORE_PROVIDER_H

#include "core/base_url.h"
#include "core/header.h"
#include "core/key.h"

enum provider_type { PROVIDER_ANTHROPIC, PROVIDER_OPENAI, PROVIDER_COPILOT, PROVIDER_CUSTOM };

/* The JSON shape of the answers that claviger makes itself. */
enum error_shape { ERROR_SHAPE_OPENAI, ERROR_SHAPE_ANTHROPIC };

/* What a 401 or 403 does to a key. */
enum key_action { KEY_ACTION_PERMANENT, KEY_ACTION_COOLDOWN, KEY_ACTION_PASS };

struct provider_type_info {
    const char *name; /* "anthropic": the word in the configuration */
    enum provider_type type;
    const char *base_url;    /* default; NULL = must be configured */
    const char *auth_header; /* the header that carries the pool's key */
    const char *auth_prefix; /* before the key: "Bearer ", or "" */
    const char
        *byok_headers[3]; /* a client's own credential in one of these makes a request BYOK; NULL ends */
    enum error_shape error_shape;
    bool pooled;            /* false: never has keys, always BYOK (copilot) */
    const char *const *env; /* NULL-terminated environment variables of the built-in defaults; NULL = none */
};

/* NULL when there is no such type. */
const struct provider_type_info *provider_type_find(const char *name);
const struct provider_type_info *provider_type_info(enum provider_type type);

/* One configured provider. Owned by struct conf; immutable once loaded. */
struct provider {
    char *name;
    enum provider_type type;
    char *route;              /* begins with "/", no trailing slash unless it is "/" alone */
    char *base_url_text;      /* as configured */
    struct base_url base_url; /* parsed; may be invalid: then requests get 502 */
    char *auth_header;
    char *auth_prefix;
    enum error_shape error_shape;
    struct key *keys; /* in walking order */
    size_t key_count;
    bool byok;
    enum key_action on_401;
    enum key_action on_403;
    int64_t default_cooldown_ms;
    int64_t max_cooldown_ms;
    int64_t connect_timeout_ms;
    int64_t header_timeout_ms;
    int64_t idle_timeout_ms;
    char *ca_file; /* "" = the system's authorities */
    bool insecure_http;
    bool dump; /* its attempts are dumped, when there is a directory for that */
};

struct provider_list {
    struct provider *items;
    size_t count;
};

#endif
