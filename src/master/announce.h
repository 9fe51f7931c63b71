/*
 * announce: what the log says of a configuration when it begins to serve.
 */
#ifndef CLAVIGER_MASTER_ANNOUNCE_H
#define CLAVIGER_MASTER_ANNOUNCE_H

#include "base/buf.h"
#include "master/generation.h"

/* Version, where it listens, who may use the pools, which providers with how many keys, and a command to try.
 */
void announce_start(const struct generation *g, const char *version, const char *conf_file);

/* The providers only: after a reload too. */
void announce_providers(const struct provider_list *providers);

/* Appends a curl command that reaches a provider through the address; nothing without a provider. */
void announce_example(struct buf *out, const struct conf *conf, const char *listen_text, bool tls);

#endif
