/*
 * conf_tables: every option that there is, section by section.
 */
#ifndef CLAVIGER_IO_CONF_TABLES_H
#define CLAVIGER_IO_CONF_TABLES_H

#include "io/conf_option.h"

/* The options outside sections; they fill struct conf. */
extern const struct conf_option conf_main_options[];

/* Those of a `provider` section; they fill struct provider. */
extern const struct conf_option conf_provider_options[];

/* The other sections; they fill struct conf too. A NULL name ends the array. */
struct conf_section {
    const char *name;
    const struct conf_option *options;
};

extern const struct conf_section conf_sections[];

#endif
