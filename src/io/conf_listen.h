/*
 * conf_listen: from a listening address as text to one for bind().
 */
#ifndef CLAVIGER_IO_CONF_LISTEN_H
#define CLAVIGER_IO_CONF_LISTEN_H

#include "io/conf.h"

#include <stdbool.h>

/*
 * HOST:PORT, [IPv6]:PORT or unix:/PATH, with "plain:" before it or not. HOST is an IPv4 address, `*`
 * (0.0.0.0), `localhost` (127.0.0.1) or a name that the resolver knows (its first address counts). PORT is 1
 * to 65535. 0, or -1, *out is empty and *reason says what is wrong and what to do.
 */
int conf_listen_parse(const char *text, struct conf_listen *out, struct buf *reason);

/* Whether only this host can reach it. */
bool conf_listen_is_local(const struct conf_listen *listen);

bool conf_listen_equal(const struct conf_listen *a, const struct conf_listen *b);

/* Frees all items; the list is empty afterwards. */
void conf_listens_fini(struct conf_listens *listens);

#endif
