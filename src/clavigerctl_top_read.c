/*
 * clavigerctl_top_read: takes apart what the master answers to `top`.
 */
#include "clavigerctl_top.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nothing in it steers the terminal, whoever has answered. */
static void copy_text(const char *text, char *out, size_t size)
{
    (void)snprintf(out, size, "%s", text ? text : "");
    for (char *c = out; *c != '\0'; c++) {
        unsigned char byte = (unsigned char)c[0];
        /* C1 control characters (U+0080 to U+009F) have two bytes. */
        bool is_c1 = byte == 0xc2 && (unsigned char)c[1] >= 0x80 && (unsigned char)c[1] < 0xa0;
        if (byte < ' ' || byte == 0x7f || is_c1)
            *c = '?';
        if (is_c1)
            *++c = '?';
    }
}

static void read_text(const json_t *object, const char *name, char *out, size_t size)
{
    copy_text(json_string_value(json_object_get(object, name)), out, size);
}

static int64_t read_signed(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static uint64_t to_count(const json_t *value)
{
    json_int_t number = json_integer_value(value);
    return number > 0 ? (uint64_t)number : 0;
}

static uint64_t read_count(const json_t *object, const char *name)
{
    return to_count(json_object_get(object, name));
}

/* At most `most` of them; how many. */
static size_t read_counts(const json_t *list, uint64_t *out, size_t most)
{
    size_t count = json_array_size(list) < most ? json_array_size(list) : most;
    for (size_t i = 0; i < count; i++)
        out[i] = to_count(json_array_get(list, i));
    return count;
}

static void read_minutes(const json_t *object, const char *name, uint64_t out[HISTORY_MINUTES])
{
    (void)read_counts(json_object_get(object, name), out, HISTORY_MINUTES);
}

static void read_totals(const json_t *traffic, struct top_totals *totals)
{
    const json_t *tokens = json_object_get(traffic, "tokens");
    const json_t *duration = json_object_get(traffic, "duration");
    totals->requests = read_count(traffic, "requests");
    totals->failovers = read_count(traffic, "failovers");
    totals->errors = read_count(traffic, "errors");
    totals->tokens_in = read_count(tokens, "input");
    totals->tokens_out = read_count(tokens, "output");
    totals->bound_count =
        read_counts(json_object_get(duration, "upper_ms"), totals->bounds_ms, METRICS_BUCKETS_MAX - 1);
    (void)read_counts(json_object_get(duration, "counts"), totals->durations, totals->bound_count + 1);
}

static int read_hour(json_t *object, struct top_hour *hour)
{
    json_t *marks = json_object_get(object, "marks");
    const char *provider;
    json_t *minutes;
    read_minutes(object, "requests", hour->requests);
    read_minutes(object, "failovers", hour->failovers);
    read_minutes(object, "errors", hour->errors);
    read_minutes(object, "duration_ms", hour->duration_ms);
    hour->marks = calloc(json_object_size(marks) + 1, sizeof(*hour->marks));
    if (!hour->marks)
        return -1;
    json_object_foreach(marks, provider, minutes)
    {
        struct top_marks *item = &hour->marks[hour->marks_count++];
        copy_text(provider, item->provider, sizeof(item->provider));
        (void)read_counts(minutes, item->minutes, HISTORY_MINUTES);
    }
    return 0;
}

static int read_workers(const json_t *list, struct top_answer *answer)
{
    size_t count = json_array_size(list);
    answer->workers = calloc(count + 1, sizeof(*answer->workers));
    if (!answer->workers)
        return -1;
    for (size_t i = 0; i < count; i++) {
        const json_t *object = json_array_get(list, i);
        struct top_worker *worker = &answer->workers[answer->worker_count++];
        worker->number = read_signed(object, "number");
        worker->pid = read_signed(object, "pid");
        read_text(object, "phase", worker->phase, sizeof(worker->phase));
        worker->uptime_s = read_signed(object, "uptime_s");
        worker->connections = read_count(object, "connections");
        worker->in_flight = read_count(object, "in_flight");
        worker->requests = read_count(object, "requests");
        worker->lag_ms = read_signed(object, "lag_ms");
    }
    return 0;
}

int top_read(const char *json, struct top_answer *answer)
{
    json_t *root = json_loads(json, 0, NULL);
    json_t *traffic = json_object_get(root, "traffic");
    const json_t *database = json_object_get(root, "database");
    int result = -1;
    memset(answer, 0, sizeof(*answer));
    if (json_is_string(json_object_get(root, "version"))) {
        read_text(root, "version", answer->version, sizeof(answer->version));
        read_text(root, "phase", answer->phase, sizeof(answer->phase));
        answer->pid = read_signed(root, "pid");
        answer->uptime_s = read_signed(root, "uptime_s");
        answer->generation = read_signed(root, "generation");
        read_text(database, "condition", answer->database, sizeof(answer->database));
        read_text(database, "since", answer->database_since, sizeof(answer->database_since));
        answer->in_flight = read_count(traffic, "in_flight");
        answer->streams = read_count(traffic, "streams");
        read_totals(traffic, &answer->totals);
        if (read_hour(json_object_get(traffic, "hour"), &answer->hour) == 0 &&
            read_workers(json_object_get(root, "workers"), answer) == 0)
            result = 0;
    }
    json_decref(root);
    return result;
}

void top_answer_fini(struct top_answer *answer)
{
    free(answer->hour.marks);
    free(answer->workers);
    memset(answer, 0, sizeof(*answer));
}
