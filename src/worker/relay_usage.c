/*
 * relay_usage: shows the scanner of usage reports the bytes of an answer, decoded where they are not plain.
 * It never changes, delays or fails an answer: out of memory, or of a body that is no gzip or a bomb,
 * nothing more is read.
 */
#include "worker/relay_internal.h"

#include "core/credential.h"

#include <string.h>
#include <strings.h>

#define ROOM  (16 * 1024) /* decoded bytes at a time */
#define RATIO 64          /* what a byte may become; JSON that a model wrote stays far below */

void relay_usage_begin(struct relay *relay, const struct response_head *head)
{
    const struct header *type = header_find(&head->headers, "Content-Type");
    const struct header *coding = header_find(&head->headers, "Content-Encoding");
    relay_usage_fini(relay);
    if (!relay->relays->env.conf->usage)
        return;
    relay->usage = (struct usage_scanner){.format = usage_format(type != NULL ? type->value : NULL)};
    if (relay->usage.format == USAGE_NONE || coding == NULL || strcasecmp(coding->value, "identity") == 0)
        return;
    if (strcasecmp(coding->value, "gzip") == 0 || strcasecmp(coding->value, "x-gzip") == 0)
        relay->usage_gunzip = gunzip_new();
    if (relay->usage_gunzip == NULL)
        relay->usage.format = USAGE_NONE;
}

static void feed_decoded(struct relay *relay, const char *data, size_t len)
{
    struct buf decoded = {0};
    size_t left = ROOM + RATIO * len; /* a bomb would keep the worker from everything else */
    int result = 0;
    do {
        size_t used = len;
        result = gunzip_feed(relay->usage_gunzip, data, &used, &decoded, ROOM);
        usage_feed(&relay->usage, decoded.data, decoded.len);
        if (decoded.len > left)
            result = -1;
        left -= decoded.len;
        buf_clear(&decoded);
        data += used;
        len -= used;
    } while (result == 0 && (len > 0 || gunzip_is_pending(relay->usage_gunzip)));
    buf_fini(&decoded);
    if (result != 0)
        relay->usage.format = USAGE_NONE;
}

void relay_usage_feed(struct relay *relay, const char *data, size_t len)
{
    if (relay->usage.format == USAGE_NONE)
        return;
    if (relay->usage_gunzip != NULL)
        feed_decoded(relay, data, len);
    else
        usage_feed(&relay->usage, data, len);
}

/* A key that the provider gives back as its model's name goes no further; nor does the begin of one that was
 * cut. */
bool relay_usage_result(const struct relay *relay, struct usage *usage)
{
    if (!usage_result(&relay->usage, usage))
        return false;
    if (relay->key >= 0) {
        size_t len = strlen(usage->model);
        size_t held = credential_hide(relay->provider->keys[relay->key].secret, usage->model, len);
        if (held >= CREDENTIAL_ECHO_LEN_MIN)
            memset(usage->model + len - held, '*', held);
    }
    return true;
}

void relay_usage_fini(struct relay *relay)
{
    gunzip_free(&relay->usage_gunzip);
    relay->usage.format = USAGE_NONE;
}
