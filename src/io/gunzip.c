/*
 * gunzip: a thin layer over zlib's inflate() for the relay, which decides what to do with what comes out. It
 * never holds decoded bytes back: what can be decoded of the input is in the output when it returns.
 */
#include "io/gunzip.h"

#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>

#define STEP_BYTES 16384
#define GZIP_ONLY  16 /* zlib: expect a gzip header, with the largest window */

struct gunzip {
    z_stream stream;
    bool begun;   /* bytes of a member were read */
    bool ended;   /* at the end of a member */
    bool ignored; /* what comes is no gzip any more */
    bool pending; /* the last step filled its room: more may wait inside */
};

struct gunzip *gunzip_new(void)
{
    struct gunzip *gunzip = calloc(1, sizeof(*gunzip));
    if (gunzip == NULL)
        return NULL;
    if (inflateInit2(&gunzip->stream, MAX_WBITS + GZIP_ONLY) != Z_OK) {
        free(gunzip);
        return NULL;
    }
    return gunzip;
}

void gunzip_free(struct gunzip **gunzip)
{
    if (*gunzip == NULL)
        return;
    (void)inflateEnd(&(*gunzip)->stream);
    free(*gunzip);
    *gunzip = NULL;
}

/* One call of inflate() into the buffer. */
static int step(struct gunzip *gunzip, struct buf *out)
{
    z_stream *stream = &gunzip->stream;
    if (!buf_reserve(out, STEP_BYTES))
        return -1;
    stream->next_out = (Bytef *)out->data + out->len;
    stream->avail_out = STEP_BYTES;
    int result = inflate(stream, Z_SYNC_FLUSH);
    out->len += STEP_BYTES - stream->avail_out;
    out->data[out->len] = '\0';
    gunzip->begun = true;
    gunzip->ended = result == Z_STREAM_END;
    return result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR ? 0 : -1;
}

int gunzip_feed(struct gunzip *gunzip, const char *in, size_t *len, struct buf *out, size_t room)
{
    z_stream *stream = &gunzip->stream;
    size_t stop = out->len + room;
    size_t given = *len;
    stream->next_in = (Bytef *)(uintptr_t)in;
    stream->avail_in = (uInt)given;
    while ((stream->avail_in > 0 || gunzip->pending) && out->len < stop) {
        if (gunzip->ended && !gunzip->ignored) {
            gunzip->ignored = stream->next_in[0] != 0x1f;
            if (!gunzip->ignored && inflateReset(stream) != Z_OK)
                return -1;
        }
        if (gunzip->ignored) {
            stream->avail_in = 0;
            break;
        }
        if (step(gunzip, out) != 0)
            return -1;
        gunzip->pending = stream->avail_out == 0 && !gunzip->ended;
    }
    *len = given - stream->avail_in;
    return 0;
}

bool gunzip_is_pending(const struct gunzip *gunzip)
{
    return gunzip->pending;
}

bool gunzip_is_whole(const struct gunzip *gunzip)
{
    return gunzip->ended || !gunzip->begun;
}
