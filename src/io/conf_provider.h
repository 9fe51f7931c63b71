/*
 * conf_provider: one `provider` section, from its options to a struct provider.
 */
#ifndef CLAVIGER_IO_CONF_PROVIDER_H
#define CLAVIGER_IO_CONF_PROVIDER_H

#include "core/provider.h"
#include "io/conf_option.h"

/* Adds the provider of a section, which begins at `line`, to the list. What is wrong goes to load->errors. */
void conf_provider_load(struct conf_load *load, struct cfg_t *section, const char *name, unsigned line,
                        struct provider_list *list);

/* Adds the built-in providers, with keys from their environment variables. */
void conf_provider_load_builtin(struct conf_load *load, struct provider_list *list);

/* Wipes the keys, frees everything; the list is empty afterwards. */
void conf_providers_fini(struct provider_list *list);

#endif
