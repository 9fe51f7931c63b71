/*
 * upgrade_handover: owns the form of the handover. Called by upgrade, which writes it, and upgrade_heir,
 * which reads it. It believes nothing of what it reads: another version may have written it.
 */
#include "master/upgrade_handover.h"

#include "base/secret.h"

#include <limits.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

enum tag {
    TAG_END,
    TAG_PID,
    TAG_GENERATION,
    TAG_DETACHED,
    TAG_BINARY,
    TAG_CONF_FILE,
    TAG_PID_FILE,
    TAG_PID_FD,
    TAG_CONTROL,
    TAG_CONTROL_FD,
    TAG_SHARED_FD,
    TAG_SLOTS,
    TAG_SOCKET,
    TAG_KEYS,
    TAGS
};

#define BIT(tag) (1U << (tag))
#define REQUIRED                                                                                             \
    (BIT(TAG_PID) | BIT(TAG_GENERATION) | BIT(TAG_DETACHED) | BIT(TAG_BINARY) | BIT(TAG_PID_FILE) |          \
     BIT(TAG_PID_FD) | BIT(TAG_CONTROL) | BIT(TAG_CONTROL_FD) | BIT(TAG_SHARED_FD) | BIT(TAG_SLOTS))

/* One socket but for its text, which follows. */
struct socket_record {
    int64_t fd;
    uint64_t dev;
    uint64_t ino;
    uint64_t addr_len;
    struct sockaddr_storage addr;
};

/* ---- writing */

static void put(struct buf *out, enum tag tag, const void *data, size_t len)
{
    uint32_t head[2] = {(uint32_t)tag, (uint32_t)len};
    buf_append(out, head, sizeof(head));
    if (len > 0)
        buf_append(out, data, len);
}

static void put_number(struct buf *out, enum tag tag, int64_t number)
{
    put(out, tag, &number, sizeof(number));
}

static void put_socket(struct buf *out, int fd, const struct sockets_entry *entry)
{
    struct socket_record record;
    struct buf text = {0};
    memset(&record, 0, sizeof(record));
    record.fd = fd;
    record.dev = entry->dev;
    record.ino = entry->ino;
    record.addr_len = entry->addr_len;
    record.addr = entry->addr;
    buf_append(&text, &record, sizeof(record));
    buf_puts(&text, entry->text);
    if (text.failed)
        out->failed = true;
    else
        put(out, TAG_SOCKET, text.data, text.len);
    buf_fini(&text);
}

void upgrade_handover_encode(const struct upgrade_handover *h, struct buf *out)
{
    unsigned char slots[SHARED_WORKERS_MAX];
    for (size_t i = 0; i < SHARED_WORKERS_MAX; i++)
        slots[i] = h->slots[i];
    buf_puts(out, UPGRADE_HANDOVER_FIRST_LINE);
    put_number(out, TAG_PID, h->pid);
    put_number(out, TAG_GENERATION, h->generation);
    put_number(out, TAG_DETACHED, h->detached);
    put(out, TAG_BINARY, h->binary, strlen(h->binary));
    if (h->conf_file)
        put(out, TAG_CONF_FILE, h->conf_file, strlen(h->conf_file));
    put(out, TAG_PID_FILE, h->pid_file, strlen(h->pid_file));
    put_number(out, TAG_PID_FD, h->pid_fd);
    put(out, TAG_CONTROL, h->control, strlen(h->control));
    put_number(out, TAG_CONTROL_FD, h->control_fd);
    put_number(out, TAG_SHARED_FD, h->shared_fd);
    put(out, TAG_SLOTS, slots, sizeof(slots));
    for (size_t i = 0; i < h->sockets.count; i++)
        put_socket(out, h->sockets.fds[i], &h->sockets.entries[i]);
    /* Nothing big follows: a buffer that grows leaves its old bytes behind. */
    if (buf_reserve(out, h->keys.len + 64))
        put(out, TAG_KEYS, h->keys.data, h->keys.len);
    put(out, TAG_END, NULL, 0);
}

/* ---- reading */

static bool get_number(const char *data, size_t len, int64_t low, int64_t high, int64_t *number)
{
    if (len != sizeof(*number))
        return false;
    memcpy(number, data, sizeof(*number));
    return *number >= low && *number <= high;
}

static bool get_fd(const char *data, size_t len, int *fd)
{
    int64_t number;
    if (!get_number(data, len, 3, INT_MAX, &number))
        return false;
    *fd = (int)number;
    return true;
}

static bool get_text(const char *data, size_t len, char **text)
{
    if (len == 0 || memchr(data, '\0', len))
        return false;
    *text = strndup(data, len);
    return *text != NULL;
}

static bool get_slots(const char *data, size_t len, bool slots[SHARED_WORKERS_MAX])
{
    for (size_t i = 0; i < len && i < SHARED_WORKERS_MAX; i++)
        slots[i] = data[i] != 0;
    return true;
}

/* Whether the address is one that sockets can compare without reading beyond its end. */
static bool is_address(const struct socket_record *record)
{
    const struct sockaddr_un *path = (const void *)&record->addr;
    if (record->addr_len < sizeof(sa_family_t) || record->addr_len > sizeof(record->addr))
        return false;
    switch (record->addr.ss_family) {
    case AF_INET:
        return record->addr_len == sizeof(struct sockaddr_in);
    case AF_INET6:
        return record->addr_len == sizeof(struct sockaddr_in6);
    case AF_UNIX:
        return record->addr_len <= sizeof(*path) &&
               memchr(path->sun_path, '\0', sizeof(path->sun_path)) != NULL;
    default:
        return false;
    }
}

static bool get_socket(const char *data, size_t len, struct sockets *set)
{
    struct socket_record record;
    struct sockets_entry *entry = &set->entries[set->count];
    if (set->count == UPGRADE_HANDOVER_SOCKETS || len <= sizeof(record))
        return false;
    memcpy(&record, data, sizeof(record));
    if (record.fd < 3 || record.fd > INT_MAX || !is_address(&record) ||
        !get_text(data + sizeof(record), len - sizeof(record), &entry->text))
        return false;
    entry->addr = record.addr;
    entry->addr_len = (socklen_t)record.addr_len;
    entry->dev = (dev_t)record.dev;
    entry->ino = (ino_t)record.ino;
    set->fds[set->count++] = (int)record.fd;
    return true;
}

static bool get_keys(const char *data, size_t len, struct buf *keys)
{
    if (len == 0)
        return true;
    buf_append(keys, data, len);
    return !keys->failed;
}

static bool get_record(struct upgrade_handover *h, uint32_t tag, const char *data, size_t len)
{
    int64_t number = 0;
    bool ok = true;
    switch (tag) {
    case TAG_PID:
        ok = get_number(data, len, 1, INT_MAX, &number);
        h->pid = (pid_t)number;
        break;
    case TAG_GENERATION:
        ok = get_number(data, len, 0, UINT32_MAX, &number);
        h->generation = (uint32_t)number;
        break;
    case TAG_DETACHED:
        ok = get_number(data, len, 0, 1, &number);
        h->detached = number != 0;
        break;
    case TAG_BINARY:
        return get_text(data, len, &h->binary);
    case TAG_CONF_FILE:
        return get_text(data, len, &h->conf_file);
    case TAG_PID_FILE:
        return get_text(data, len, &h->pid_file);
    case TAG_PID_FD:
        return get_fd(data, len, &h->pid_fd);
    case TAG_CONTROL:
        return get_text(data, len, &h->control);
    case TAG_CONTROL_FD:
        return get_fd(data, len, &h->control_fd);
    case TAG_SHARED_FD:
        return get_fd(data, len, &h->shared_fd);
    case TAG_SLOTS:
        return get_slots(data, len, h->slots);
    case TAG_SOCKET:
        return get_socket(data, len, &h->sockets);
    case TAG_KEYS:
        return get_keys(data, len, &h->keys);
    default:
        break;
    }
    return ok;
}

/* The records up to the last one. NULL = all is well; otherwise what is wrong. */
static const char *get_records(struct upgrade_handover *h, const char *data, size_t len)
{
    unsigned seen = 0;
    while (len > 0) {
        uint32_t head[2];
        if (len < sizeof(head))
            return "it is cut off";
        memcpy(head, data, sizeof(head));
        data += sizeof(head);
        len -= sizeof(head);
        if (head[1] > len)
            return "it is cut off";
        if (head[0] == TAG_END) {
            if (head[1] != 0 || len != 0)
                return "something follows its end";
            return (seen & REQUIRED) == REQUIRED ? NULL : "a part of it is missing";
        }
        if (head[0] < TAGS && head[0] != TAG_SOCKET) {
            if (seen & BIT(head[0]))
                return "a part of it comes twice";
            seen |= BIT(head[0]);
        }
        if (!get_record(h, head[0], data, head[1]))
            return "a part of it makes no sense";
        data += head[1];
        len -= head[1];
    }
    return "it is cut off";
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a;
    int y = *(const int *)b;
    return (x > y) - (x < y);
}

static bool has_fd_twice(const struct upgrade_handover *h)
{
    int fds[UPGRADE_HANDOVER_SOCKETS + 3] = {h->pid_fd, h->control_fd, h->shared_fd};
    size_t count = h->sockets.count + 3;
    memcpy(fds + 3, h->sockets.fds, h->sockets.count * sizeof(*fds));
    qsort(fds, count, sizeof(*fds), compare_ints);
    for (size_t i = 1; i < count; i++) {
        if (fds[i] == fds[i - 1])
            return true;
    }
    return false;
}

int upgrade_handover_decode(struct upgrade_handover *h, const void *data, size_t len, struct buf *reason)
{
    static const char FIRST[] = UPGRADE_HANDOVER_FIRST_LINE;
    size_t first_len = sizeof(FIRST) - 1;
    const char *wrong = NULL;
    memset(h, 0, sizeof(*h));
    h->sockets.fds = calloc(UPGRADE_HANDOVER_SOCKETS, sizeof(*h->sockets.fds));
    h->sockets.entries = calloc(UPGRADE_HANDOVER_SOCKETS + 1, sizeof(*h->sockets.entries));
    if (!h->sockets.fds || !h->sockets.entries)
        wrong = "out of memory";
    else if (len < first_len || memcmp(data, FIRST, first_len) != 0)
        wrong = "it is of another version; restart instead";
    if (!wrong)
        wrong = get_records(h, (const char *)data + first_len, len - first_len);
    if (!wrong && has_fd_twice(h))
        wrong = "it names a descriptor twice";
    if (!wrong)
        return 0;
    buf_printf(reason, "cannot read the handover of the running master: %s", wrong);
    upgrade_handover_fini(h);
    return -1;
}

void upgrade_handover_each_fd(const struct upgrade_handover *h, void (*fn)(int fd))
{
    fn(h->pid_fd);
    fn(h->control_fd);
    fn(h->shared_fd);
    for (size_t i = 0; i < h->sockets.count; i++)
        fn(h->sockets.fds[i]);
}

void upgrade_handover_fini(struct upgrade_handover *h)
{
    for (size_t i = 0; i < h->sockets.count; i++)
        free(h->sockets.entries[i].text);
    free(h->sockets.fds);
    free(h->sockets.entries);
    free(h->binary);
    free(h->conf_file);
    free(h->pid_file);
    free(h->control);
    secret_wipe(h->keys.data, h->keys.len);
    buf_fini(&h->keys);
    memset(h, 0, sizeof(*h));
}
