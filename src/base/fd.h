/*
 * fd: small things around file descriptors that several layers need.
 */
#ifndef CLAVIGER_BASE_FD_H
#define CLAVIGER_BASE_FD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Closes *fd when it is open (>= 0) and sets it to -1. errno is kept. */
void fd_close(int *fd);

/* 0, or -1 with errno. */
int fd_set_nonblock(int fd, bool on);

/* Writes everything, through EINTR and short writes. 0, or -1 with errno. */
int fd_write_all(int fd, const void *data, size_t len);

/* Closes every descriptor from 3 on but those in `keep` (-1 = none), which gets another order: for a process
 * that was just forked. */
void fd_close_others(int *keep, size_t count);

/* Passes fd on, under a number, through a socket of unix(7) that keeps messages apart; never waits and raises
 * no SIGPIPE. The caller keeps its own. 0, or -1 with errno. */
int fd_send(int socket, int fd, uint32_t number);

/* What the next fd_send() at the other end has passed on, close-on-exec. Never waits. -1 with errno: EAGAIN =
 * nothing is there, EBADF = a message is (with *number), but its descriptor was lost: there are too many
 * open.
 */
int fd_receive(int socket, uint32_t *number);

/* Reads a whole regular file into a NUL-terminated block that the caller frees (secret_wipe() first when it
 * held keys). A file over max bytes fails with EFBIG. NULL with errno on failure. */
char *fd_read_file(int fd, size_t max, size_t *len);

#endif
