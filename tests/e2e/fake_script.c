/*
 * fake_script: reads the fake provider's rules from a file. Called by fake_main.c; the format is told in
 * fake.h.
 */
#include "e2e/fake_internal.h"
#include "e2e/util.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Keeps a string until fake_stop(). */
static const char *own(struct fake *fake, char *text)
{
    fake->owned = realloc(fake->owned, (fake->owned_count + 1) * sizeof(*fake->owned));
    if (fake->owned == NULL || text == NULL)
        abort();
    fake->owned[fake->owned_count++] = text;
    return text;
}

static bool is_number(const char *text)
{
    return text != NULL && *text != '\0' && text[strspn(text, "0123456789")] == '\0' && strlen(text) < 9;
}

static int read_answer(const char *word, struct fake_answer *a)
{
    static const struct {
        const char *word;
        enum fake_action action;
    } words[] = {{"api", FAKE_API}, {"hang", FAKE_HANG}, {"reset", FAKE_RESET}, {"close", FAKE_CLOSE}};

    if (is_number(word)) {
        a->status = (int)strtol(word, NULL, 10);
        a->action = FAKE_API;
        return 0;
    }
    for (size_t i = 0; word != NULL && i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(word, words[i].word) == 0) {
            a->action = words[i].action;
            return 0;
        }
    }
    return -1;
}

static int read_option(char *option, struct fake_answer *a, unsigned *times, struct buf *headers)
{
    char *value = strchr(option, '=');
    unsigned number;

    if (value == NULL || value == option)
        return -1;
    *value++ = '\0';
    number = is_number(value) ? (unsigned)strtoul(value, NULL, 10) : 0;
    if (strcmp(option, "times") == 0) {
        *times = number;
    } else if (strcmp(option, "delay") == 0) {
        a->delay_ms = (int)number;
    } else if (strcmp(option, "interval") == 0) {
        a->interval_ms = (int)number;
    } else if (strcmp(option, "events") == 0) {
        a->action = FAKE_ANSWER;
        a->framing = FAKE_CHUNKED;
        a->events = number;
    } else if (strcmp(option, "cut") == 0) {
        a->cut = FAKE_CUT_FIN;
        a->cut_after = number;
    } else {
        buf_printf(headers, "%s: %s\r\n", option, value);
    }
    return 0;
}

static int read_rule(struct fake *fake, char *line)
{
    struct fake_answer a = {0};
    struct buf headers = {0};
    enum fake_match match = FAKE_ANY;
    unsigned number = 0;
    unsigned times = 0;
    char *save = NULL;
    char *word = strtok_r(line, " \t\r", &save);
    const char *key = NULL;
    int rc;

    if (word == NULL || word[0] == '#')
        return 0;
    if (strcmp(word, "key") == 0) {
        match = FAKE_KEY;
        key = strtok_r(NULL, " \t\r", &save);
        rc = key != NULL ? 0 : -1;
    } else if (strcmp(word, "number") == 0) {
        match = FAKE_NUMBER;
        word = strtok_r(NULL, " \t\r", &save);
        rc = is_number(word) ? 0 : -1;
        number = rc == 0 ? (unsigned)strtoul(word, NULL, 10) : 0;
    } else {
        rc = strcmp(word, "default") == 0 ? 0 : -1;
    }
    if (rc == 0)
        rc = read_answer(strtok_r(NULL, " \t\r", &save), &a);
    while (rc == 0 && (word = strtok_r(NULL, " \t\r", &save)) != NULL)
        rc = read_option(word, &a, &times, &headers);
    if (rc == 0) {
        if (headers.len > 0)
            a.headers = own(fake, buf_take(&headers));
        fake_rule(fake, match, key, number, &a, times);
    }
    buf_fini(&headers);
    return rc;
}

int fake_script(struct fake *fake, const char *path)
{
    char *text = util_read_file(path, NULL);
    char *next = text;
    char *line;
    int number = 0;
    int rc = 0;

    if (text == NULL) {
        perror(path);
        return -1;
    }
    while (rc == 0 && (line = strsep(&next, "\n")) != NULL) {
        number++;
        rc = read_rule(fake, line);
    }
    if (rc != 0)
        fprintf(stderr, "%s:%d: not a rule; see tests/e2e/fake.h for the format\n", path, number);
    free(text);
    return rc;
}
