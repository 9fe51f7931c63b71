/*
 * store_file: the state database as names in a directory: PATH, PATH-wal, PATH-shm, and how one set of them
 * makes place for another. Used by store_schema and housekeeper.
 *
 * A database comes to life under another name and appears at PATH whole, so that no process ever opens half
 * of one.
 */
#ifndef CLAVIGER_IO_STORE_FILE_H
#define CLAVIGER_IO_STORE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

/* Makes an empty file with mode 0640 whatever the umask. 0, or -1 with errno (EEXIST when there is one). */
int store_file_make(const char *path);

/* Removes -wal, -shm and -journal that a vanished or replaced PATH left behind: a new file must never meet
 * them. */
void store_file_drop_sidecars(const char *path);

/* Gives PATH, -wal and -shm to their owner when we are root; -1 = leave. The names may lie in a directory of
 * that owner, so a link is never followed and a file with a second name is refused (EMLINK). 0, or -1 with
 * errno. */
int store_file_give(const char *path, uid_t owner, gid_t group);

/* The name under which a new file grows: PATH.new-PID; what is there is removed. False with errno when too
 * long. */
bool store_file_grow_name(const char *path, char out[PATH_MAX]);

/* Lets the grown file appear at PATH. replace: in place of the file there; else, of two daemons that start at
 * once, the second takes what the first has made. 0, or -1 with errno. */
int store_file_appear(const char *grown, const char *path, bool replace);

/* Moves PATH and its -wal and -shm to PATH.damaged-YYYYMMDDTHHMMSSZ; *moved is that name, owned by the
 * caller. 0, or -1 with errno. */
int store_file_set_aside(const char *path, char **moved);

/* Which files they are now. */
struct store_file_identity {
    dev_t dev;
    ino_t ino;
    off_t size;
    ino_t wal; /* 0 = there is none */
    ino_t shm;
};

/* 0, or -1 with errno: PATH itself cannot be looked at. */
int store_file_identify(const char *path, struct store_file_identity *out);

/* The file at PATH and suffix, 0 = there is none. *size (may be NULL) stays as it was then. */
ino_t store_file_beside(const char *path, const char *suffix, off_t *size);

#endif
