/*
 * usage: reads token counts and the model's name out of a provider's response as its bytes pass. Pure; memory
 * is bounded by the struct; bytes may be cut anywhere; what is no usage report is passed over.
 *
 * Understood, as one JSON text or as server-sent events:
 *     Anthropic Messages (docs.anthropic.com/en/api/messages, .../messages-streaming): usage, message.usage
 *     OpenAI Chat Completions (platform.openai.com/docs/api-reference/chat): usage
 *     OpenAI Responses (platform.openai.com/docs/api-reference/responses): usage, response.usage
 * A stream reports totals more than once, each one final so far: the last one counts.
 */
#ifndef CLAVIGER_CORE_USAGE_H
#define CLAVIGER_CORE_USAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define USAGE_MODEL_SIZE 65 /* a name and NUL; a longer one is cut */

/* Tokens, each as the provider counts it: OpenAI's input has the cached ones in it, Anthropic's has not;
 * reasoning is part of output. */
struct usage {
    uint64_t input;
    uint64_t output;
    uint64_t cached;  /* read from a cache */
    uint64_t written; /* to a cache */
    uint64_t reasoning;
    char model[USAGE_MODEL_SIZE]; /* printable ASCII; "" = not said */
};

enum usage_format { USAGE_NONE, USAGE_JSON, USAGE_EVENTS };

/* The format of a response by its Content-Type: USAGE_NONE for what is neither. */
enum usage_format usage_format(const char *content_type);

#define USAGE_DEPTH 4 /* of the members that are looked at */

/* Plain data; a zeroed struct with a format is ready. The fields are usage.c's own. */
struct usage_scanner {
    enum usage_format format;
    /* server-sent events */
    unsigned char line; /* how much of "data:" the line has so far, or more */
    /* the JSON text */
    bool in_string;
    bool escaped;
    bool is_key;         /* the string is a member's name */
    bool expects_key;    /* the next string is one */
    bool keep;           /* the string or number is wanted */
    bool in_scalar;      /* a number, true, false or null */
    bool is_number;      /* of digits only, so far */
    unsigned char depth; /* of the objects that are looked at */
    uint64_t skipped;    /* depth in a container that is not, 0 outside */
    unsigned char members[USAGE_DEPTH];
    char word[USAGE_MODEL_SIZE]; /* of a string that is wanted, what came in pieces before */
    size_t word_len;             /* sizeof word: too long for anything that matters */
    uint64_t number;
    /* what was found */
    bool found;
    struct usage usage;
};

void usage_feed(struct usage_scanner *scanner, const char *data, size_t len);

/* What was found; false when there was no usage report. */
bool usage_result(const struct usage_scanner *scanner, struct usage *usage);

#endif
