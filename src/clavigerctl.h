/*
 * clavigerctl: what its files share: exit statuses, the question to a running master, and what people see.
 */
#ifndef CLAVIGER_CLAVIGERCTL_H
#define CLAVIGER_CLAVIGERCTL_H

#include "base/buf.h"
#include "io/conf.h"
#include "io/store_edit.h"

#include <stdbool.h>
#include <stddef.h>

enum { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2, CTL_NOT_RUNNING = 3 };

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

/* clavigerctl_table.c */

struct table_column {
    const char *title;
    bool right; /* numbers */
};

/* Rows of text cells, printed in aligned columns. */
struct table {
    const struct table_column *columns;
    size_t column_count;
    char **cells; /* owned; row by row */
    size_t cell_count;
    size_t cell_cap;
    bool failed; /* out of memory */
};

void table_init(struct table *table, const struct table_column *columns, size_t column_count);
void table_fini(struct table *table);

/* Adds the next cell; "" shows as "-". */
void table_cell(struct table *table, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Titles and rows, a line each behind `indent`. Without rows nothing. */
void table_print(const struct table *table, const char *indent, struct buf *out);

/* clavigerctl_status.c */

/* The status for people or as JSON. `answer` is the master's JSON (NULL = it does not run), rows are the keys
 * (NULL = the database cannot be read, why is in database_error). 0, or -1 when the answer is no JSON. */
struct status_view {
    const struct conf *conf;
    const char *answer;
    const struct store_rows *rows;
    const char *database_error;
};

int clavigerctl_status_text(const struct status_view *view, struct buf *out);
int clavigerctl_status_json(const struct status_view *view, struct buf *out);

/* clavigerctl_token.c */

/* Prints a new token for a client of that name, and its line for the file of clients. An exit status. */
int clavigerctl_token(const char *name, bool json);

#endif
