/*
 * conf_tree: libconfuse at work: which names there are, and where they may stand.
 */
#ifndef CLAVIGER_IO_CONF_TREE_H
#define CLAVIGER_IO_CONF_TREE_H

#include "io/conf_option.h"

#include <stddef.h>

/* Parses the skeleton of load->text. NULL after an error. */
struct cfg_t *conf_tree_new(struct conf_load *load);
void conf_tree_free(struct cfg_t **tree);

/* The section of that name; NULL when the tree is NULL. */
struct cfg_t *conf_tree_section(struct cfg_t *tree, const char *name);

/* Provider number i in the order of the file and, borrowed, its name; NULL behind the last. */
struct cfg_t *conf_tree_provider(struct cfg_t *tree, size_t i, const char **name);

#endif
