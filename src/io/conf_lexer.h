/*
 * conf_lexer: the words of a configuration file, one by one.
 */
#ifndef CLAVIGER_IO_CONF_LEXER_H
#define CLAVIGER_IO_CONF_LEXER_H

#include "base/buf.h"
#include "io/conf_errors.h"

#include <stdbool.h>
#include <stddef.h>

enum conf_token {
    TOKEN_END,    /* of the file */
    TOKEN_BAD,    /* no token; an error says why */
    TOKEN_WORD,   /* without quotes */
    TOKEN_STRING, /* in quotes */
    TOKEN_OPEN,   /* { */
    TOKEN_CLOSE,  /* } */
    TOKEN_EQUAL,
    TOKEN_COMMA,
};

struct conf_lexer {
    const char *p; /* borrowed text: what is not read yet */
    const char *end;
    unsigned line;       /* of p, from 1 */
    unsigned token_line; /* where the last token began */
    struct buf word;     /* text of the last word or string, its escapes resolved; wiped */
    struct buf *lines;   /* gets each line end that is passed */
    struct conf_errors *errors;
};

/* False when out of memory. data must stay where it is. */
bool conf_lexer_init(struct conf_lexer *l, const char *data, size_t len, struct buf *lines,
                     struct conf_errors *errors);

/* Wipes and frees. */
void conf_lexer_fini(struct conf_lexer *l);

enum conf_token conf_lexer_next(struct conf_lexer *l);

#endif
