/*
 * admin_page: the status page: one HTML page without any outside resource, readable without JavaScript.
 */
#ifndef CLAVIGER_WORKER_ADMIN_PAGE_H
#define CLAVIGER_WORKER_ADMIN_PAGE_H

#include "base/buf.h"
#include "heritage.h"
#include "io/history.h"
#include "io/store_edit.h"

#include <stdbool.h>
#include <stdint.h>

struct admin_page {
    const char *version;
    const struct conf *conf;
    struct shared *shared;
    const struct store_rows *rows;        /* NULL: the database cannot be read */
    const char *database;                 /* "ok", "busy", "failing" */
    const struct history_minute *minutes; /* HISTORY_MINUTES of them */
    int64_t now_mono_ms;
    int64_t now_real_ms;
    const char *nonce; /* of the page's own style and script, for its Content-Security-Policy */
    bool actions;      /* there is an admin_token: keys can be changed */
};

void admin_page_write(const struct admin_page *page, struct buf *out);

#endif
