/*
 * provider: the table of what the daemon knows about each type of provider. conf takes its defaults from
 * here, credential the fields that carry credentials. A type that is added here needs no other code.
 */
#include "core/provider.h"

#include <string.h>

static const char *const anthropic_env[] = {"ANTHROPIC_API_KEYS", "ANTHROPIC_API_KEY", NULL};
static const char *const openai_env[] = {"OPENAI_API_KEYS", "OPENAI_API_KEY", NULL};

/* In the order of enum provider_type. */
static const struct provider_type_info types[] = {
    {
        .name = "anthropic",
        .type = PROVIDER_ANTHROPIC,
        .base_url = "https://api.anthropic.com",
        .auth_header = "X-Api-Key",
        .auth_prefix = "",
        .byok_headers = {"X-Api-Key", "Authorization", NULL},
        .error_shape = ERROR_SHAPE_ANTHROPIC,
        .pooled = true,
        .env = anthropic_env,
    },
    {
        .name = "openai",
        .type = PROVIDER_OPENAI,
        .base_url = "https://api.openai.com",
        .auth_header = "Authorization",
        .auth_prefix = "Bearer ",
        .byok_headers = {"Authorization", NULL},
        .error_shape = ERROR_SHAPE_OPENAI,
        .pooled = true,
        .env = openai_env,
    },
    {
        .name = "copilot",
        .type = PROVIDER_COPILOT,
        .base_url = "https://api.githubcopilot.com",
        .auth_header = "Authorization",
        .auth_prefix = "Bearer ",
        .byok_headers = {"Authorization", NULL},
        .error_shape = ERROR_SHAPE_OPENAI,
        .pooled = false,
        .env = NULL,
    },
    {
        .name = "custom",
        .type = PROVIDER_CUSTOM,
        .base_url = NULL,
        .auth_header = "Authorization",
        .auth_prefix = "Bearer ",
        .byok_headers = {NULL}, /* its configured auth_header */
        .error_shape = ERROR_SHAPE_OPENAI,
        .pooled = true,
        .env = NULL,
    },
};

#define TYPES (sizeof(types) / sizeof(types[0]))

const struct provider_type_info *provider_type_find(const char *name)
{
    for (size_t i = 0; i < TYPES; i++) {
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    }
    return NULL;
}

const struct provider_type_info *provider_type_info(enum provider_type type)
{
    return (size_t)type < TYPES ? &types[type] : NULL;
}
