/*
 * fd: small things around file descriptors that several layers need.
 */
#ifndef CLAVIGER_BASE_FD_H
#define CLAVIGER_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Closes *fd when it is open (>= 0) and sets it to -1. errno is kept. */
void fd_close(int *fd);

/* 0, or -1 with errno. */
int fd_set_nonblock(int fd, bool on);

/* Writes everything, through EINTR and short writes. 0, or -1 with errno. */
int fd_write_all(int fd, const void *data, size_t len);

/* Reads a whole regular file into a NUL-terminated block that the caller frees (secret_wipe() first when it
 * held keys). A file over max bytes fails with EFBIG. NULL with errno on failure. */
char *fd_read_file(int fd, size_t max, size_t *len);

#endif
