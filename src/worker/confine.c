/*
 * confine: called by worker and admin when all that they were started for is there, and before they serve.
 */
#include "worker/confine.h"

#include "base/log.h"
#include "io/sandbox.h"

void confine(const struct conf *conf)
{
    struct buf reason = {0};

    if (!conf->sandbox)
        return;
    if (sandbox_enter_child(&reason) < 0)
        log_warning("not in a sandbox: %s; it serves all the same. sandbox = false in the configuration says "
                    "that this "
                    "is meant",
                    reason.failed ? "out of memory" : reason.data);
    buf_fini(&reason);
}
