/*
 * gunzip: decodes a gzip body (RFC 1952) as it arrives, through zlib. The only module that includes <zlib.h>.
 */
#ifndef CLAVIGER_IO_GUNZIP_H
#define CLAVIGER_IO_GUNZIP_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>

struct gunzip;

/* NULL when out of memory. */
struct gunzip *gunzip_new(void);
void gunzip_free(struct gunzip **gunzip);

/*
 * Decodes from the *len bytes at `in` and appends at most about `room` bytes to `out`; *len becomes how many
 * bytes were used (fewer than given only when the room is full). Several members one behind the other are one
 * body; what follows the last one and is no gzip is ignored. 0, or -1 when the data is no gzip or memory ran
 * out.
 */
int gunzip_feed(struct gunzip *gunzip, const char *in, size_t *len, struct buf *out, size_t room);

/* Whether decoded bytes wait inside for room: feed again, with no input if there is none. */
bool gunzip_is_pending(const struct gunzip *gunzip);

/* Whether a body that ends here is whole. */
bool gunzip_is_whole(const struct gunzip *gunzip);

#endif
