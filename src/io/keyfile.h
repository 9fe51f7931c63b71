/*
 * keyfile: keys from where the configuration says: a file, an environment variable, or the text itself.
 */
#ifndef CLAVIGER_IO_KEYFILE_H
#define CLAVIGER_IO_KEYFILE_H

#include "base/buf.h"
#include "core/key.h"

#include <stddef.h>

struct key_array {
    struct key *items; /* owned; each secret too */
    size_t count;
    size_t cap;
};

/* Wipes and frees. */
void key_array_fini(struct key_array *keys);

/*
 * Adds what one entry of a `keys` list stands for:
 *   "file:/path"  one key a line; blank lines and lines that begin with # are skipped; surrounding white
 * space is cut. Refused: a file that others than owner and group can read or write, not a regular file, over
 *                 1 MiB, without any key.
 *   "env:NAME"    the keys in that variable, separated by commas; refused when unset or empty.
 *   anything else the key itself.
 * A key is 1 to 4096 visible ASCII characters (0x21-0x7e), no comma; `claviger` and clv_… are refused (a
 * placeholder and a gateway token are no provider keys), and so is a key that `keys` has already. 0, or -1
 * and *reason says what and what to do; a key is never part of it, a line number of the file may be.
 */
int keyfile_add(struct key_array *keys, const char *entry, struct buf *reason);

/* Opens a file that holds a secret: a regular one that others than owner and group can neither read nor
 * write. The descriptor, or -1 and *reason. */
int keyfile_open(const char *path, struct buf *reason);

#endif
