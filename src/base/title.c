/*
 * title: owns the copies of argv and the environment and the area that they came from. Called by the programs
 * at start and by the master after a fork; nothing else may write to argv.
 */
#include "base/title.h"

#include "base/secret.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define TITLE_MAX 256

static char *area;      /* where argv[0] began */
static size_t area_len; /* up to the end of the last string that follows without a gap */
static char **argv_copy;
static char **environ_strings; /* what was copied; environ's array may lose or change entries */
static char **environ_array;

static size_t count_strings(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static void free_strings(char **list)
{
    for (size_t i = 0; list && list[i]; i++) {
        secret_wipe(list[i], strlen(list[i]));
        free(list[i]);
    }
    free(list);
}

static char **copy_strings(char *const *list)
{
    size_t n = count_strings(list);
    char **copy = calloc(n + 1, sizeof(*copy));
    if (!copy)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        copy[i] = strdup(list[i]);
        if (!copy[i]) {
            free_strings(copy);
            return NULL;
        }
    }
    return copy;
}

/* The strings lie one behind the other; a variable that was set later lies elsewhere and is no part of the
 * area. */
static char *follow(char *end, char *const *list)
{
    for (size_t i = 0; list && list[i]; i++) {
        if (list[i] == end)
            end += strlen(list[i]) + 1;
    }
    return end;
}

/* The C library's idea of it points into argv; the log's header for syslog is made of it. */
static void move_program_name(char *name)
{
    char *slash = strrchr(name, '/');
    program_invocation_name = name;
    program_invocation_short_name = slash ? slash + 1 : name;
}

char **title_init(int argc, char **argv)
{
    char **args = copy_strings(argv);
    char **env = copy_strings(environ);
    size_t env_count = count_strings(env);
    char **env_array = calloc(env_count + 1, sizeof(*env_array));
    if (!args || !env || !env_array) {
        free_strings(args);
        free_strings(env);
        free(env_array);
        return NULL;
    }
    memcpy(env_array, env, env_count * sizeof(*env_array));
    if (argc > 0) {
        char *args_end = follow(argv[0], argv);
        char *end = follow(args_end, environ);
        area = argv[0];
        area_len = (size_t)(end - area);
        secret_wipe(args_end, (size_t)(end - args_end));
        if (args[0])
            move_program_name(args[0]);
    }
    argv_copy = args;
    environ_strings = env;
    environ_array = env_array;
    environ = env_array;
    return args;
}

void title_set(const char *fmt, ...)
{
    char text[TITLE_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    prctl(PR_SET_NAME, text, 0, 0, 0);
    if (area_len < 2)
        return;
    size_t len = strlen(text);
    if (len > area_len - 1)
        len = area_len - 1;
    memcpy(area, text, len);
    memset(area + len, 0, area_len - len);
}

void title_fini(void)
{
    static char *nothing[] = {NULL};
    static char nobody[] = "";
    environ = nothing;
    move_program_name(nobody);
    free_strings(environ_strings);
    free(environ_array);
    free_strings(argv_copy);
    argv_copy = NULL;
    environ_strings = NULL;
    environ_array = NULL;
    area = NULL;
    area_len = 0;
}
