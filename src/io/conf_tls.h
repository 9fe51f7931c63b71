/*
 * conf_tls: the `tls` section: certificate, key and authorities are read and checked while the configuration
 * is loaded, so that a worker needs no file and a pair that cannot serve is an error with its place.
 */
#ifndef CLAVIGER_IO_CONF_TLS_H
#define CLAVIGER_IO_CONF_TLS_H

#include "io/conf_option.h"

/* Reads what the options name, which are set already, and decides which addresses speak TLS. What is wrong
 * goes to load->errors. */
void conf_tls_load(struct conf_load *load, struct cfg_t *section, struct conf *conf);

/* Wipes the key and frees everything. */
void conf_tls_fini(struct conf_tls *tls);

#endif
