/*
 * message: just enough of HTTP/1.1 to read what a peer sent, for the fake provider and the test client.
 * Strict where the tests look (chunk sizes, line ends), deaf to everything else.
 */
#ifndef E2E_MESSAGE_H
#define E2E_MESSAGE_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct message_field {
    char *name;
    char *value; /* without surrounding white space */
};

struct message_head {
    char *raw; /* all bytes up to and with the empty line, NUL-terminated */
    size_t raw_len;
    char *line;                   /* the first line without its end */
    struct message_field *fields; /* in the order received */
    size_t count;
};

/* The length of the head at the start of data, its empty line included; 0 while that has not come yet. */
size_t message_head_length(const char *data, size_t len);

/* Copies and parses. The head must be whole. */
void message_head_parse(struct message_head *head, const char *data, size_t len);
void message_head_fini(struct message_head *head);

/* The value of the first field of that name (case does not matter), or NULL. */
const char *message_get(const struct message_head *head, const char *name);

/* How many fields have that name. */
size_t message_count(const struct message_head *head, const char *name);

/* Every field as "Name: value\n", sorted by the name in lower case, names as they came: to compare whole
 * sets. */
char *message_sorted(const struct message_head *head);

enum body_mode { BODY_NONE, BODY_LENGTH, BODY_CHUNKED, BODY_UNTIL_CLOSE };

struct body {
    enum body_mode mode;
    uint64_t left; /* of the body or of the current chunk */
    int state;
    struct buf line;
    bool done;   /* the end came as the framing says */
    bool broken; /* the framing makes no sense */
};

void body_start(struct body *body, enum body_mode mode, uint64_t length);
void body_fini(struct body *body);

/* Takes bytes from data, appends what is content to out. Returns how many it used: fewer than len only at the
 * end. */
size_t body_feed(struct body *body, const char *data, size_t len, struct buf *out);

#endif
