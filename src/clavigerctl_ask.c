/*
 * clavigerctl_ask: owns the client's end of the control socket. Blocks, with timeouts; knows nothing of what
 * the answers mean.
 */
#include "clavigerctl.h"

#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define END_TIMEOUT_MS 10000

static enum ask_result connect_to(const char *path, int *fd, struct buf *answer)
{
    struct sockaddr_un addr;
    memset(&addr, 0, sizeof(addr));
    addr.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof(addr.sun_path)) {
        buf_printf(answer, "control socket %s: the path is too long", path);
        return ASK_FAILED;
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    *fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (*fd >= 0 && connect(*fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return ASK_OK;
    int error = errno;
    fd_close(fd);
    if (error == ENOENT || error == ECONNREFUSED) {
        buf_printf(answer, "clavigerd is not running (nobody answers on %s)", path);
        return ASK_NOT_RUNNING;
    }
    buf_printf(answer, "control socket %s: %s%s", path, strerror(error),
               error == EACCES ? "; it is open to the user only who started clavigerd" : "");
    return ASK_FAILED;
}

static int read_all(int fd, struct buf *text)
{
    char part[4096];
    for (;;) {
        ssize_t n = read(fd, part, sizeof(part));
        if (n > 0)
            buf_append(text, part, (size_t)n);
        else if (n == 0)
            return text->failed ? -1 : 0;
        else if (errno != EINTR)
            return -1;
    }
}

/* Splits "ok\n..." and "error TEXT\n". */
static enum ask_result judge(struct buf *text, struct buf *answer)
{
    static const char OK[] = "ok\n";
    static const char ERROR[] = "error ";
    while (text->len > 0 && text->data[text->len - 1] == '\n' && text->len > sizeof(OK) - 1)
        text->data[--text->len] = '\0';
    if (text->len >= sizeof(OK) - 1 && memcmp(text->data, OK, sizeof(OK) - 1) == 0) {
        buf_append(answer, text->data + sizeof(OK) - 1, text->len - (sizeof(OK) - 1));
        return ASK_OK;
    }
    if (text->len >= sizeof(ERROR) - 1 && memcmp(text->data, ERROR, sizeof(ERROR) - 1) == 0) {
        buf_append(answer, text->data + sizeof(ERROR) - 1, text->len - (sizeof(ERROR) - 1));
        return ASK_REFUSED;
    }
    buf_puts(answer, "clavigerd has ended without an answer");
    return ASK_FAILED;
}

/* The process that listens on the other end, to be waited for with poll(); -1 when that cannot be had. */
static int open_peer(int fd)
{
    struct ucred peer = {.pid = 0};
    socklen_t len = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
        return -1;
    return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

/* The answer to "stop" ends when the master closes its sockets: a moment before it is gone. */
static void await_end(int peer)
{
    struct pollfd process = {.fd = peer, .events = POLLIN};
    if (peer >= 0)
        poll(&process, 1, END_TIMEOUT_MS);
}

enum ask_result clavigerctl_ask(const char *path, const char *request, int timeout_s, struct buf *answer)
{
    int fd = -1;
    int peer = -1;
    struct buf text = {0};
    struct timeval timeout = {.tv_sec = timeout_s};
    enum ask_result result = connect_to(path, &fd, answer);
    if (result != ASK_OK)
        return result;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
    if (strcmp(request, "stop") == 0)
        peer = open_peer(fd);
    buf_printf(&text, "%s\n", request);
    /* A peer that has gone is seen by what it answers: nothing. */
    ssize_t sent = text.failed ? -1 : send(fd, text.data, text.len, MSG_NOSIGNAL);
    buf_clear(&text);
    if (sent >= 0 && read_all(fd, &text) == 0) {
        await_end(peer);
        result = judge(&text, answer);
    } else {
        buf_printf(answer, "clavigerd does not answer on %s: %s", path,
                   errno == EAGAIN ? "the time is over" : strerror(errno));
        result = ASK_FAILED;
    }
    buf_fini(&text);
    fd_close(&peer);
    fd_close(&fd);
    return result;
}
