/*
 * conf_lexer: the words of a configuration file: comments, quotes, escapes, lines. Called by conf_text. It
 * does not know which word may follow which. No message of it repeats what stands in the file.
 */
#include "io/conf_lexer.h"

#include "base/secret.h"

#include <string.h>

bool conf_lexer_init(struct conf_lexer *l, const char *data, size_t len, struct buf *lines,
                     struct conf_errors *errors)
{
    *l = (struct conf_lexer){.p = data, .end = data + len, .line = 1, .lines = lines, .errors = errors};
    /* No token is longer: a buffer that never grows leaves no copy of a key behind. */
    return buf_reserve(&l->word, len);
}

void conf_lexer_fini(struct conf_lexer *l)
{
    if (l->word.data != NULL)
        secret_wipe(l->word.data, l->word.cap);
    buf_fini(&l->word);
}

/* All that is no part of a word. The characters of the second line have no meaning at all outside quotes. */
static bool is_special(char c)
{
    return strchr(" \t\r\n#\"'={},"
                  "()+*",
                  c) != NULL; /* NUL too */
}

static bool is_control(char c)
{
    return (unsigned char)c < 0x20 || c == 0x7f;
}

static void newline(struct conf_lexer *l)
{
    l->line++;
    buf_putc(l->lines, '\n');
}

/* From the "*" of a comment's begin to behind its end. */
static bool skip_block_comment(struct conf_lexer *l)
{
    unsigned line = l->line;

    for (l->p++; l->p < l->end; l->p++) {
        if (*l->p == '\n')
            newline(l);
        if (*l->p == '*' && l->end - l->p > 1 && l->p[1] == '/') {
            l->p += 2;
            return true;
        }
    }
    conf_error(l->errors, line, "the comment that begins here has no end: close it with */");
    return false;
}

static bool skip_space(struct conf_lexer *l)
{
    while (l->p < l->end) {
        char next = l->end - l->p > 1 ? l->p[1] : '\0';

        if (*l->p == '\n') {
            newline(l);
            l->p++;
        } else if (*l->p == ' ' || *l->p == '\t' || *l->p == '\r') {
            l->p++;
        } else if (*l->p == '#' || (*l->p == '/' && next == '/')) {
            while (l->p < l->end && *l->p != '\n')
                l->p++;
        } else if (*l->p == '/' && next == '*') {
            l->p++;
            if (!skip_block_comment(l))
                return false;
        } else {
            break;
        }
    }
    return true;
}

/* One character of a string's inside, its escapes resolved. *c is what it stands for. */
static bool string_char(struct conf_lexer *l, char quote, char *c)
{
    *c = *l->p++;
    if (is_control(*c)) {
        conf_error(l->errors, l->token_line,
                   *c == '\n' || *c == '\r'
                       ? "the string that begins here is not closed on its line: add the quote"
                       : "a string has a control character: remove it");
        return false;
    }
    if (quote == '"' && *c == '$' && l->p < l->end && *l->p == '{') {
        conf_error(l->errors, l->token_line,
                   "${...} is not replaced in strings: write the value, or env:NAME for a key");
        return false;
    }
    if (*c != '\\')
        return true;
    if (l->p < l->end && (*l->p == quote || *l->p == '\\')) {
        *c = *l->p++;
        return true;
    }
    if (quote == '\'')
        return true;
    conf_error(l->errors, l->token_line, "a string has an unknown escape: write \\\\ for a backslash");
    return false;
}

static enum conf_token read_string(struct conf_lexer *l)
{
    char quote = *l->p++;

    while (l->p < l->end) {
        char c;

        if (*l->p == quote) {
            l->p++;
            return TOKEN_STRING;
        }
        if (!string_char(l, quote, &c))
            return TOKEN_BAD;
        buf_putc(&l->word, c);
    }
    conf_error(l->errors, l->token_line, "the string that begins here is not closed: add the quote");
    return TOKEN_BAD;
}

static enum conf_token read_word(struct conf_lexer *l)
{
    while (l->p < l->end && !is_special(*l->p)) {
        if (*l->p == '/' && l->end - l->p > 1 && l->p[1] == '*')
            break;
        if (is_control(*l->p))
            break;
        buf_putc(&l->word, *l->p++);
    }
    if (l->word.len > 0)
        return TOKEN_WORD;
    if (is_control(*l->p))
        conf_error(l->errors, l->token_line,
                   "there is a control character: remove it (is this a text file?)");
    else
        conf_error(l->errors, l->token_line, "unexpected \"%c\": put a value with it in quotes", *l->p);
    return TOKEN_BAD;
}

enum conf_token conf_lexer_next(struct conf_lexer *l)
{
    static const char punctuation[] = "{}=,";
    static const enum conf_token tokens[] = {TOKEN_OPEN, TOKEN_CLOSE, TOKEN_EQUAL, TOKEN_COMMA};
    const char *found;

    if (!skip_space(l))
        return TOKEN_BAD;
    l->token_line = l->line;
    if (l->p == l->end)
        return TOKEN_END;
    if (l->word.data != NULL)
        secret_wipe(l->word.data, l->word.len);
    buf_clear(&l->word);
    if (*l->p == '"' || *l->p == '\'')
        return read_string(l);
    found = *l->p == '\0' ? NULL : strchr(punctuation, *l->p);
    if (found == NULL)
        return read_word(l);
    l->p++;
    return tokens[found - punctuation];
}
