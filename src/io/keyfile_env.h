/*
 * keyfile_env: the environment variables that hold keys. What was asked for is taken out of the environment
 * and kept as a secret, and the master can give it to its successor in another way than the environment.
 *
 * One table a process. A variable that a predecessor gave counts where the environment had none of that name.
 */
#ifndef CLAVIGER_IO_KEYFILE_ENV_H
#define CLAVIGER_IO_KEYFILE_ENV_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* The value, borrowed until the next call; NULL = not set. One that is set is not in the environment
 * afterwards, and its bytes there are wiped. */
const char *keyfile_env_get(const char *name);

/* Whether "NAME=value" is a variable that is remembered. */
bool keyfile_env_holds(const char *assignment);

/* Appends every remembered variable that is set, as NAME NUL VALUE NUL. out holds keys afterwards: to be
 * wiped. */
void keyfile_env_pack(struct buf *out);

/* Takes over what keyfile_env_pack() has made. 0, or -1: it is no such thing (nothing was taken over), or out
 * of memory. */
int keyfile_env_unpack(const char *data, size_t len);

/* Wipes and forgets everything. */
void keyfile_env_fini(void);

#endif
