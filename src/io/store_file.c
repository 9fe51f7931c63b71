/*
 * store_file: the names beside the state database and what may be done with them. Called by store_schema and
 * the housekeeper; it knows nothing of SQLite.
 *
 * It must never open() an existing database file: closing such a descriptor would drop the locks that the
 * process's own connections hold on it (fcntl(2), record locks).
 */
#include "io/store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define FILE_MODE 0640

/* The path of a neighbour file. Returns false, with errno, when it is too long. */
static bool beside(const char *path, const char *suffix, char out[PATH_MAX])
{
    int len = snprintf(out, PATH_MAX, "%s%s", path, suffix);

    if (len > 0 && len < PATH_MAX)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

int store_file_make(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, FILE_MODE);

    if (fd < 0)
        return -1;
    if (fchmod(fd, FILE_MODE) < 0) {
        int error = errno;
        close(fd);
        unlink(path);
        errno = error;
        return -1;
    }
    close(fd);
    return 0;
}

void store_file_drop_sidecars(const char *path)
{
    static const char *const suffixes[] = {"-wal", "-shm", "-journal"};
    char name[PATH_MAX];

    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++)
        if (beside(path, suffixes[i], name))
            unlink(name);
}

int store_file_give(const char *path, uid_t owner, gid_t group)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char name[PATH_MAX];
    struct stat st;

    if (geteuid() != 0 || (owner == (uid_t)-1 && group == (gid_t)-1))
        return 0;
    for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        if (!beside(path, suffixes[i], name))
            return -1;
        if (lstat(name, &st) < 0) {
            if (i > 0 && errno == ENOENT)
                continue;
            return -1;
        }
        if ((owner == (uid_t)-1 || st.st_uid == owner) && (group == (gid_t)-1 || st.st_gid == group))
            continue;
        if (!S_ISREG(st.st_mode) || st.st_nlink > 1) {
            errno = EMLINK;
            return -1;
        }
        if (fchownat(AT_FDCWD, name, owner, group, AT_SYMLINK_NOFOLLOW) < 0)
            return -1;
    }
    return 0;
}

bool store_file_grow_name(const char *path, char out[PATH_MAX])
{
    char suffix[32];

    snprintf(suffix, sizeof(suffix), ".new-%ld", (long)getpid());
    if (!beside(path, suffix, out))
        return false;
    unlink(out);
    store_file_drop_sidecars(out);
    return true;
}

int store_file_appear(const char *grown, const char *path, bool replace)
{
    struct stat st;

    if (replace || (lstat(path, &st) < 0 && errno == ENOENT))
        store_file_drop_sidecars(path);
    if (!replace) {
        if (link(grown, path) == 0 || errno == EEXIST)
            return unlink(grown);
        if (errno != EPERM && errno != EOPNOTSUPP && errno != ENOSYS)
            return -1;
    }
    return rename(grown, path);
}

int store_file_set_aside(const char *path, char **moved)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    char to[PATH_MAX];
    char stamp[32];
    time_t now = time(NULL);
    struct tm tm;
    struct stat st;

    *moved = NULL;
    gmtime_r(&now, &tm);
    strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &tm);
    for (unsigned n = 0; n < 100; n++) {
        int len = n == 0 ? snprintf(to, sizeof(to), "%s.damaged-%s", path, stamp)
                         : snprintf(to, sizeof(to), "%s.damaged-%s.%u", path, stamp, n);
        errno = len < 0 || (size_t)len >= sizeof(to) ? ENAMETOOLONG : EEXIST;
        if (errno == ENAMETOOLONG || (lstat(to, &st) < 0 && errno == ENOENT))
            break;
    }
    /* The database last: as long as it is there, its WAL is named as it should be for whoever repairs it. */
    for (size_t i = sizeof(suffixes) / sizeof(suffixes[0]); errno == ENOENT && i-- > 0;) {
        char from[PATH_MAX];
        char target[PATH_MAX];

        if (!beside(path, suffixes[i], from) || !beside(to, suffixes[i], target))
            break;
        errno = rename(from, target) == 0 ? ENOENT : errno;
    }
    if (errno == ENOENT)
        *moved = strdup(to);
    return *moved != NULL ? 0 : -1;
}

ino_t store_file_beside(const char *path, const char *suffix, off_t *size)
{
    char name[PATH_MAX];
    struct stat st;

    if (!beside(path, suffix, name) || lstat(name, &st) < 0)
        return 0;
    if (size != NULL)
        *size = st.st_size;
    return st.st_ino;
}

int store_file_identify(const char *path, struct store_file_identity *out)
{
    struct stat st;

    if (lstat(path, &st) < 0)
        return -1;
    *out = (struct store_file_identity){.dev = st.st_dev, .ino = st.st_ino, .size = st.st_size};
    out->wal = store_file_beside(path, "-wal", NULL);
    out->shm = store_file_beside(path, "-shm", NULL);
    return 0;
}
