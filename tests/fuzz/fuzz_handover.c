/* The bytes that a master gets from another one: what is understood says the same when it is written again.
 */
#include "fuzz/fuzz.h"
#include "master/upgrade_handover.h"

#include <string.h>

static void ignore_fd(int fd)
{
    FUZZ_MUST(fd > 2);
}

void fuzz_handover(const uint8_t *data, size_t size)
{
    struct fuzz_reader reader;
    struct upgrade_handover first;
    struct upgrade_handover second;
    struct buf reason = {0};
    struct buf bytes = {0};
    struct buf again = {0};
    size_t len;
    char *copy;

    fuzz_reader_init(&reader, data, size);
    copy = fuzz_rest(&reader, &len);
    if (upgrade_handover_decode(&first, copy, len, &reason) == 0) {
        upgrade_handover_each_fd(&first, ignore_fd);
        upgrade_handover_encode(&first, &bytes);
        FUZZ_MUST(upgrade_handover_decode(&second, bytes.data, bytes.len, &reason) == 0);
        upgrade_handover_encode(&second, &again);
        FUZZ_MUST(again.len == bytes.len && memcmp(again.data, bytes.data, bytes.len) == 0);
        upgrade_handover_fini(&second);
        upgrade_handover_fini(&first);
    } else {
        FUZZ_MUST(reason.len > 0 && first.pid_file == NULL && first.sockets.fds == NULL);
    }
    buf_fini(&reason);
    buf_fini(&bytes);
    buf_fini(&again);
    fuzz_reader_fini(&reader);
}
