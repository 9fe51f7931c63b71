/*
 * clavigerctl_print: owns what goes to standard output and standard error, in the form that was asked for.
 * Called by every command.
 */
#include "clavigerctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int clavigerctl_print(const struct call *call, const struct buf *text)
{
    if (text->failed)
        return clavigerctl_fail(call, CTL_FAILED, text);
    if (text->len > 0 && (fwrite(text->data, 1, text->len, stdout) != text->len || fflush(stdout) != 0)) {
        fprintf(stderr, "clavigerctl: cannot write: %s\n", strerror(errno));
        return CTL_FAILED;
    }
    return CTL_DONE;
}

int clavigerctl_fail(const struct call *call, int status, const struct buf *reason)
{
    const char *why = reason->data && !reason->failed ? reason->data : "out of memory";
    size_t len = strlen(why);
    while (len > 0 && why[len - 1] == '\n')
        len--;
    fprintf(stderr, "clavigerctl: %.*s\n", (int)len, why);
    if (call->json) {
        struct buf out = {0};
        buf_puts(&out, "{\"ok\":false,\"error\":");
        buf_json(&out, why, len);
        buf_puts(&out, "}\n");
        if (!out.failed && fwrite(out.data, 1, out.len, stdout) == out.len)
            fflush(stdout);
        buf_fini(&out);
    }
    return status;
}
