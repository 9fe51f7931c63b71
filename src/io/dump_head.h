/*
 * dump_head: heads of requests and responses as they stand in a dump: fields sorted, credentials as hints. No
 * credential is opened here: a pool's key comes as its hint, a client's becomes one.
 */
#ifndef CLAVIGER_IO_DUMP_HEAD_H
#define CLAVIGER_IO_DUMP_HEAD_H

#include "base/buf.h"
#include "io/dump.h"

/* Both append; out->failed when memory ran out. */
void dump_head_request(const struct provider_list *providers, const struct dump_request *request,
                       struct buf *out);
void dump_head_response(const struct provider_list *providers, const struct response_head *head,
                        const struct secret *key, struct buf *out);

#endif
