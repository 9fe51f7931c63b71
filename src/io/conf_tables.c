/*
 * conf_tables: the table of all options: the one place where an option gets its name, type, default and
 * range. Used by conf (to read), conf_print (to write), and tests/lint/options.sh, which looks for every name
 * in the manual and in the sample. An option that is added here needs no other code when its type is one of
 * conf_option's.
 */
#include "io/conf_tables.h"

#include <stddef.h>
#include <stdint.h>

#define MS     INT64_C(1)
#define SECOND (1000 * MS)
#define DAY    (24 * 3600 * SECOND)
#define K      INT64_C(1024)
#define M      (1024 * K)
#define G      (1024 * M)

/* A row: the option's name comes first, alone with its kind, so that scripts find it. */
#define CFG_ROW(name, kind, type, member, ...)                                                               \
    {                                                                                                        \
        name, kind, offsetof(type, member), __VA_ARGS__                                                      \
    }
#define CFG_RANGE(name, kind, type, member, fallback, min, max)                                              \
    CFG_ROW(name, kind, type, member, fallback, min, max, NULL)
#define CFG_PLAIN(name, kind, type, member, fallback) CFG_ROW(name, kind, type, member, fallback, 0, 0, NULL)
#define CFG_WORDS(name, type, member, fallback, words)                                                       \
    CFG_ROW(name, CONF_WORD, type, member, fallback, 0, 0, words)
#define CFG_OTHER(name, kind)                                                                                \
    {                                                                                                        \
        name, kind, 0, NULL, 0, 0, NULL                                                                      \
    }
/* On where it is built in. */
#if defined(HAVE_SECCOMP)
#define CFG_SANDBOX "true"
#else
#define CFG_SANDBOX "false"
#endif
#define CFG_LAST CFG_OTHER(NULL, CONF_SPECIAL)

static const struct conf_word log_formats[] = {{"text", LOG_FORMAT_TEXT},
                                               {"json", LOG_FORMAT_JSON},
                                               {NULL, 0}};

static const struct conf_word log_levels[] = {{"error", LOG_LEVEL_ERROR},
                                              {"warning", LOG_LEVEL_WARNING},
                                              {"info", LOG_LEVEL_INFO},
                                              {"debug", LOG_LEVEL_DEBUG},
                                              {NULL, 0}};

static const struct conf_word key_actions[] = {{"permanent", KEY_ACTION_PERMANENT},
                                               {"cooldown", KEY_ACTION_COOLDOWN},
                                               {"pass", KEY_ACTION_PASS},
                                               {NULL, 0}};

static const struct conf_word error_shapes[] = {{"openai", ERROR_SHAPE_OPENAI},
                                                {"anthropic", ERROR_SHAPE_ANTHROPIC},
                                                {NULL, 0}};

/* With client_ca and without this option: required. */
static const struct conf_word client_auths[] = {{"none", CONF_CLIENT_AUTH_NONE},
                                                {"optional", CONF_CLIENT_AUTH_OPTIONAL},
                                                {"required", CONF_CLIENT_AUTH_REQUIRED},
                                                {NULL, 0}};

const struct conf_option conf_main_options[] = {
    CFG_PLAIN("listen", CONF_LISTENS, struct conf, listens, "127.0.0.1:8080"),
    CFG_PLAIN("admin_listen", CONF_LISTENS, struct conf, admin_listens, "127.0.0.1:8081"),
    CFG_PLAIN("admin_token", CONF_TEXT, struct conf, admin_token, ""),
    CFG_RANGE("workers", CONF_UNSIGNED, struct conf, workers, "0", 0, 128),
    CFG_PLAIN("user", CONF_TEXT, struct conf, user, ""),
    CFG_PLAIN("state_db", CONF_PATH, struct conf, state_db, LOCALSTATEDIR "/lib/claviger/state.db"),
    CFG_PLAIN("pid_file", CONF_PATH, struct conf, pid_file, RUNSTATEDIR "/claviger.pid"),
    CFG_PLAIN("control", CONF_PATH, struct conf, control, RUNSTATEDIR "/claviger.sock"),
    CFG_PLAIN("clients", CONF_TEXT, struct conf, clients_file, ""),
    CFG_PLAIN("user_agent", CONF_TEXT, struct conf, user_agent, "aibridge"),
    CFG_RANGE("watchdog", CONF_DURATION, struct conf, watchdog_ms, "30s", 100 * MS, DAY),
    CFG_PLAIN("usage", CONF_BOOL, struct conf, usage, "true"),
    CFG_RANGE("usage_days", CONF_UNSIGNED, struct conf, usage_days, "90", 0, 36500),
    CFG_PLAIN("allow_anonymous", CONF_BOOL, struct conf, allow_anonymous, "false"),
    CFG_PLAIN("sandbox", CONF_BOOL, struct conf, sandbox, CFG_SANDBOX),
    CFG_LAST,
};

/* What has no fallback here depends on the provider's type. */
const struct conf_option conf_provider_options[] = {
    CFG_OTHER("type", CONF_SPECIAL),
    CFG_PLAIN("route", CONF_TEXT, struct provider, route, NULL),
    CFG_PLAIN("base_url", CONF_TEXT, struct provider, base_url_text, NULL),
    CFG_OTHER("keys", CONF_SPECIAL_LIST),
    CFG_PLAIN("byok", CONF_BOOL, struct provider, byok, "true"),
    CFG_WORDS("on_401", struct provider, on_401, "permanent", key_actions),
    CFG_WORDS("on_403", struct provider, on_403, "permanent", key_actions),
    CFG_RANGE("default_cooldown", CONF_DURATION, struct provider, default_cooldown_ms, "60s", MS, 365 * DAY),
    CFG_RANGE("max_cooldown", CONF_DURATION, struct provider, max_cooldown_ms, "1h", MS, 365 * DAY),
    CFG_RANGE("connect_timeout", CONF_DURATION, struct provider, connect_timeout_ms, "10s", MS, 7 * DAY),
    CFG_RANGE("header_timeout", CONF_DURATION, struct provider, header_timeout_ms, "10m", MS, 7 * DAY),
    CFG_RANGE("idle_timeout", CONF_DURATION, struct provider, idle_timeout_ms, "5m", MS, 7 * DAY),
    CFG_PLAIN("ca_file", CONF_TEXT, struct provider, ca_file, ""),
    CFG_PLAIN("insecure_http", CONF_BOOL, struct provider, insecure_http, "false"),
    CFG_PLAIN("dump", CONF_BOOL, struct provider, dump, "true"),
    CFG_PLAIN("auth_header", CONF_TEXT, struct provider, auth_header, NULL),
    CFG_PLAIN("auth_prefix", CONF_TEXT, struct provider, auth_prefix, NULL),
    CFG_WORDS("error_shape", struct provider, error_shape, NULL, error_shapes),
    CFG_LAST,
};

static const struct conf_option log_options[] = {
    CFG_PLAIN("target", CONF_TEXT, struct conf, log.target, "stderr"),
    CFG_WORDS("format", struct conf, log.format, "text", log_formats),
    CFG_WORDS("level", struct conf, log.level, "info", log_levels),
    CFG_PLAIN("access", CONF_BOOL, struct conf, log.access, "true"),
    CFG_LAST,
};

static const struct conf_option limits_options[] = {
    CFG_RANGE("request_body", CONF_SIZE, struct conf, limits.request_body, "32M", 0, 1024 * G),
    CFG_RANGE("buffer_memory", CONF_SIZE, struct conf, limits.buffer_memory, "256K", 0, G),
    CFG_RANGE("header_size", CONF_SIZE, struct conf, limits.header_size, "16K", K, M),
    CFG_RANGE("connections", CONF_NUMBER, struct conf, limits.connections, "10000", 1, 1000000),
    CFG_RANGE("connections_per_peer", CONF_NUMBER, struct conf, limits.connections_per_peer, "0", 0, 1000000),
    CFG_RANGE("body_rate", CONF_SIZE, struct conf, limits.body_rate, "100", 0, G),
    CFG_RANGE("body_window", CONF_DURATION, struct conf, limits.body_window_ms, "30s", 100 * MS, DAY),
    CFG_RANGE("head_timeout", CONF_DURATION, struct conf, limits.head_timeout_ms, "10s", MS, DAY),
    CFG_RANGE("client_timeout", CONF_DURATION, struct conf, limits.client_timeout_ms, "75s", MS, DAY),
    CFG_RANGE("shutdown_timeout", CONF_DURATION, struct conf, limits.shutdown_timeout_ms, "30s", 0, DAY),
    CFG_LAST,
};

static const struct conf_option tls_options[] = {
    CFG_PLAIN("certificate", CONF_TEXT, struct conf, tls.certificate, ""),
    CFG_PLAIN("key", CONF_TEXT, struct conf, tls.key, ""),
    CFG_PLAIN("client_ca", CONF_TEXT, struct conf, tls.client_ca, ""),
    CFG_WORDS("client_auth", struct conf, tls.client_auth, "none", client_auths),
    CFG_LAST,
};

static const struct conf_option dump_options[] = {
    CFG_PLAIN("dir", CONF_TEXT, struct conf, dump.dir, ""),
    CFG_RANGE("file_size", CONF_SIZE, struct conf, dump.file_size, "1M", 0, G),
    CFG_RANGE("dir_size", CONF_SIZE, struct conf, dump.dir_size, "1G", M, 1024 * G),
    CFG_LAST,
};

static const struct conf_option trace_options[] = {
    CFG_PLAIN("endpoint", CONF_TEXT, struct conf, trace.endpoint, ""),
    CFG_PLAIN("share", CONF_TEXT, struct conf, trace.share_text, "1"),
    CFG_LAST,
};

const struct conf_section conf_sections[] = {
    {"log", log_options},   {"limits", limits_options}, {"tls", tls_options},
    {"dump", dump_options}, {"trace", trace_options},   {NULL, NULL},
};
