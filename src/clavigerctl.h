/*
 * clavigerctl: what its files share: exit statuses, a command's arguments, the question to a running master,
 * and what people see.
 */
#ifndef CLAVIGER_CLAVIGERCTL_H
#define CLAVIGER_CLAVIGERCTL_H

#include "base/buf.h"
#include "io/conf.h"
#include "io/store_edit.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_NOT_RUNNING = 3 };

#define CTL_ARGUMENTS 2

/* What a command is called with. */
struct call {
    const struct conf *conf;
    bool json;
    bool watch;
    int64_t interval_ms;                  /* of watch and top */
    const char *since;                    /* of usage, as written; NULL = not given */
    const char *by;                       /* the same */
    const char *arguments[CTL_ARGUMENTS]; /* behind the command's name; NULL = not given */
};

/* clavigerctl_print.c */

/* Writes the text to standard output. CTL_DONE, or CTL_FAILED, which was told then. */
int clavigerctl_print(const struct call *call, const struct buf *text);

/* Tells why a command failed: on standard error, and with --json as an object on standard output too.
 * Returns `status`. */
int clavigerctl_fail(const struct call *call, int status, const struct buf *reason);

/* clavigerctl_keys.c */

/* The command `keys`, once or again and again. */
int clavigerctl_keys(const struct call *call);

/* Whether the configuration has a provider of that name. */
bool clavigerctl_has_provider(const struct conf *conf, const char *name);

/* clavigerctl_usage.c */

/* What is wrong with the options of `usage`, in *reason; usage: whether that is the command. */
void clavigerctl_usage_check(const struct call *call, bool usage, struct buf *reason);

/* The command `usage`. */
int clavigerctl_usage(const struct call *call);

/* clavigerctl_ask.c */

enum ask_result {
    ASK_OK,
    ASK_REFUSED,     /* the master said "error" */
    ASK_NOT_RUNNING, /* nobody listens there */
    ASK_FAILED       /* no permission, no answer */
};

/*
 * Sends one request line to the master's control socket and waits for the end of its answer, timeout_s
 * seconds between two pieces of it (0 = for ever). *answer is what follows "ok\n", or the reason. For "stop"
 * the answer ends when the master does.
 */
enum ask_result clavigerctl_ask(const char *path, const char *request, int timeout_s, struct buf *answer);

/* clavigerctl_terminal.c */

/* The window of standard output; zeros when that is no terminal, or one that does not know its size. */
struct terminal_size {
    unsigned columns;
    unsigned rows;
};

struct terminal_size terminal_size(void);

/* Whether standard output is a terminal that shows colours, and NO_COLOR is not set. */
bool terminal_has_colours(void);

/* Takes the whole window for what is drawn next: nothing is wrapped, no cursor, no echo of what is typed.
 * Between the two calls every signal that could end the program must be blocked. */
void terminal_enter(void);
void terminal_leave(void);

/* Whether characters beyond ASCII can be shown: the locale of the environment is one of UTF-8. */
bool terminal_has_unicode(void);

/* Shows the text from the first line on in place of what was there; what does not fit below is left out, and
 * said so, and a line is cut at the window's edge. */
void terminal_draw(const struct buf *text);

/* clavigerctl_watch.c */

/* What can be watched. compose appends what there is to see, and returns CTL_DONE or, when its text says what
 * is wrong, the exit status for that. size is the room that it has; zeros = as much as it wants. */
struct watched {
    int (*compose)(const struct call *call, struct terminal_size size, void *arg, struct buf *text);
    void *arg;
};

/* Shows it again and again until SIGINT, SIGTERM or the like, or q: in place on a terminal, else one below
 * the other. What is wrong at the first look ends it, later on it is shown. An exit status. */
int clavigerctl_watch(const struct call *call, const struct watched *watched);

/* clavigerctl_text.c */

/* "3 d 4 h", "12 min 5 s": the two largest parts. */
void text_duration(struct buf *out, int64_t seconds);

#define TEXT_NUMBER_SIZE 32

/* With a comma every three digits. */
void text_number(char out[TEXT_NUMBER_SIZE], int64_t number);

/* How many columns a text takes: one a character. It must be valid UTF-8 without control characters. */
size_t text_columns(const char *text, size_t len);

/* Appends as much of the line as takes `columns` columns (0 = all of it), and every SGR sequence in it. */
void text_cut(struct buf *out, const char *line, size_t len, size_t columns);

/* clavigerctl_pools.c */

/* The keys of a provider by state. */
struct pool_count {
    const char *provider; /* borrowed */
    size_t valid;
    size_t temporary;
    size_t permanent;
};

struct pool_counts {
    struct pool_count *items; /* owned */
    size_t count;
};

/* The providers in their order, then any that only the rows have. -1 = out of memory. */
int pool_counts_make(struct pool_counts *pools, const struct provider_list *providers,
                     const struct store_rows *rows);
void pool_counts_fini(struct pool_counts *pools);

/* clavigerctl_table.c: text in aligned columns */

struct table_column {
    const char *title;
    bool right;    /* numbers */
    unsigned rank; /* 0 = always shown; in a narrow window the highest ones go first */
};

enum table_style { TABLE_PLAIN, TABLE_GOOD, TABLE_WARNING, TABLE_BAD };

struct table_cell {
    char *text; /* owned */
    enum table_style style;
};

/* Rows of text cells, printed in aligned columns. */
struct table {
    const struct table_column *columns;
    size_t column_count;
    size_t name_count;        /* so many columns, from the first on, hold names and can be shortened; 1 */
    struct table_cell *cells; /* owned; row by row */
    size_t cell_count;
    size_t cell_cap;
    bool failed; /* out of memory */
};

/* How a key's state is shown. */
enum table_style table_style_of_state(const char *state);

void table_init(struct table *table, const struct table_column *columns, size_t column_count);
void table_fini(struct table *table);

/* Adds the next cell; "" shows as "-", control bytes as \xHH. */
void table_cell(struct table *table, enum table_style style, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/*
 * Titles and rows, a line each. Without rows nothing. Wider than `width` (0 = no limit), columns are left out
 * by their rank, and after them the columns of names are shortened, the last first. Styles show as colours,
 * or not at all.
 */
void table_print(const struct table *table, unsigned width, bool colours, struct buf *out);

/* clavigerctl_status.c */

/* The status for people or as JSON. `answer` is the master's JSON; NULL = there is none: it does not run, or
 * daemon_error says why it could not be asked. rows are the keys (NULL = the database cannot be read, why is
 * in database_error). 0, or -1 when the answer is no JSON. */
struct status_view {
    const struct conf *conf;
    const char *answer;
    const char *daemon_error;
    const struct store_rows *rows;
    const char *database_error;
};

int clavigerctl_status_text(const struct status_view *view, struct buf *out);
int clavigerctl_status_json(const struct status_view *view, struct buf *out);

/* clavigerctl_top.c */

/* The command `top`: daemon, traffic, pools, workers and keys, again and again. */
int clavigerctl_top(const struct call *call);

/* clavigerctl_token.c */

/* The command `token`: prints a new token for a client of that name, and its line for the file of clients. */
int clavigerctl_token(const struct call *call);

#endif
