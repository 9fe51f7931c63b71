/*
 * notify: owns the words to the service manager. Called by master, reload and upgrade; never waits, and an
 * error is nobody's business: the manager has timeouts of its own.
 */
#include "master/notify.h"

#include "base/fd.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define NOTIFY_VARIABLE "NOTIFY_SOCKET"
#define NOTIFY_MAX      128

static void send_text(const char *text)
{
    const char *path = getenv(NOTIFY_VARIABLE);
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;
    if (len < 2 || len >= sizeof(addr.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0'; /* an abstract name: not a file, and not terminated */
    socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (path[0] == '/'));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return;
    (void)sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&addr, addr_len);
    fd_close(&fd);
}

void notify_ready(void)
{
    send_text("READY=1");
}

void notify_reloading(int64_t now_mono_us)
{
    char text[NOTIFY_MAX];
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64, now_mono_us);
    send_text(text);
}

void notify_stopping(void)
{
    send_text("STOPPING=1");
}

void notify_main_pid(pid_t pid)
{
    char text[NOTIFY_MAX];
    snprintf(text, sizeof(text), "MAINPID=%ld", (long)pid);
    send_text(text);
}
