/*
 * keyfile_env: owns the names of the variables that hold keys, and the values that were taken over. Called by
 * keyfile and conf while a configuration is read, and by the master at an upgrade.
 */
#include "io/keyfile_env.h"

#include "base/secret.h"

#include <stdlib.h>
#include <string.h>

struct variable {
    char *name;           /* owned */
    struct secret *value; /* owned; NULL = the environment still has it */
};

static struct variable *variables;
static size_t variable_count;

static struct variable *find(const char *name, size_t len)
{
    for (size_t i = 0; i < variable_count; i++) {
        if (strlen(variables[i].name) == len && memcmp(variables[i].name, name, len) == 0)
            return &variables[i];
    }
    return NULL;
}

static struct variable *find_or_add(const char *name)
{
    struct variable *found = find(name, strlen(name));

    if (found != NULL)
        return found;
    struct variable *bigger = reallocarray(variables, variable_count + 1, sizeof(*bigger));
    if (bigger == NULL)
        return NULL;
    variables = bigger;
    variables[variable_count] = (struct variable){.name = strdup(name)};
    if (variables[variable_count].name == NULL)
        return NULL;
    return &variables[variable_count++];
}

/*
 * Takes a variable out of the environment, where every library and every child would find it, into a secret.
 * When memory is short it stays where it is.
 */
static void take_over(const char *name)
{
    char *here = getenv(name);
    struct variable *v = here != NULL ? find_or_add(name) : NULL;
    struct secret *copy = v != NULL ? secret_new(here, strlen(here)) : NULL;

    if (copy == NULL)
        return;
    secret_free(&v->value);
    v->value = copy;
    secret_wipe(here, strlen(here));
    unsetenv(name);
}

static const char *value_of(const struct variable *v)
{
    return v->value != NULL ? secret_open(v->value) : getenv(v->name);
}

const char *keyfile_env_get(const char *name)
{
    take_over(name);
    const struct variable *v = find(name, strlen(name));
    return v != NULL ? value_of(v) : getenv(name);
}

bool keyfile_env_holds(const char *assignment)
{
    return find(assignment, strcspn(assignment, "=")) != NULL;
}

void keyfile_env_pack(struct buf *out)
{
    size_t size = 0;

    for (size_t i = 0; i < variable_count; i++) {
        const char *value = value_of(&variables[i]);
        size += value != NULL ? strlen(variables[i].name) + strlen(value) + 2 : 0;
    }
    /* At once: a buffer that grows leaves its old bytes behind. */
    if (!buf_reserve(out, size))
        return;
    for (size_t i = 0; i < variable_count; i++) {
        const char *value = value_of(&variables[i]);
        if (value == NULL)
            continue;
        buf_append(out, variables[i].name, strlen(variables[i].name) + 1);
        buf_append(out, value, strlen(value) + 1);
    }
}

/* Whether the bytes are pairs of strings, the first of each a name. */
static bool is_well_formed(const char *data, size_t len)
{
    size_t strings = 0;

    for (size_t at = 0; at < len; strings++) {
        const char *end = memchr(data + at, '\0', len - at);
        if (end == NULL)
            return false;
        if (strings % 2 == 0 && (end == data + at || memchr(data + at, '=', (size_t)(end - data) - at)))
            return false;
        at = (size_t)(end - data) + 1;
    }
    return strings % 2 == 0;
}

int keyfile_env_unpack(const char *data, size_t len)
{
    if (!is_well_formed(data, len))
        return -1;
    for (size_t at = 0; at < len;) {
        const char *name = data + at;
        const char *value = name + strlen(name) + 1;
        struct variable *v = find_or_add(name);
        struct secret *copy = secret_new(value, strlen(value));

        if (v == NULL || copy == NULL) {
            secret_free(&copy);
            return -1;
        }
        if (v->value == NULL)
            v->value = copy;
        else
            secret_free(&copy); /* this process's own environment counts */
        at += strlen(name) + strlen(value) + 2;
    }
    return 0;
}

void keyfile_env_fini(void)
{
    for (size_t i = 0; i < variable_count; i++) {
        free(variables[i].name);
        secret_free(&variables[i].value);
    }
    free(variables);
    variables = NULL;
    variable_count = 0;
}
