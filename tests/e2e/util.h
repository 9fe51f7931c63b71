/*
 * util: time, waiting, ports and files for the end-to-end tests. Knows neither the daemon nor the fake
 * provider.
 */
#ifndef E2E_UTIL_H
#define E2E_UTIL_H

#include "base/buf.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* CLOCK_MONOTONIC in microseconds; the same clock in every process of this host. */
int64_t util_now_us(void);

/* Asks cond(arg) again and again until it is true or timeout_ms have passed; returns its last answer. */
typedef bool util_condition(void *arg);
bool util_wait(util_condition *cond, void *arg, int timeout_ms);

/* Bytes of the kernel's generator, without NUL-termination. */
void util_random(void *data, size_t len);

/* A TCP port of 127.0.0.1 that nobody uses, outside the range of ephemeral ports; no other test gets it while
 * this process lives. Ends the program when there is none. */
unsigned util_free_port(void);

/* A port of 127.0.0.1 that refuses connections for as long as *fd stays open. */
unsigned util_refusing_port(int *fd);

/* A port of 127.0.0.1 whose accept queue is full, so that a connect() hangs, for as long as fds stay open.
 * Unused entries are -1. */
#define UTIL_FULL_FDS 8
unsigned util_full_port(int fds[UTIL_FULL_FDS]);

/* A connected, non-blocking socket, or -1 with errno. */
int util_connect_tcp(unsigned port);
int util_connect_unix(const char *path);

/* The content of a regular file, NUL-terminated, freed by the caller; NULL when it cannot be read. */
char *util_read_file(const char *path, size_t *len);

/* 0, or -1 with errno. The file has `mode` afterwards. */
int util_write_file(const char *path, const void *data, size_t len, mode_t mode);

/* Whether the len bytes at data hold the text. */
bool util_contains(const void *data, size_t len, const char *text);

/* Removes a directory and all below it. */
void util_remove_tree(const char *path);

/* Resident memory of a process in KiB, -1 when it is gone. */
long util_rss_kib(pid_t pid);

/* Its open descriptors, -1 when it is gone or another user's. */
int util_open_fds(pid_t pid);

/* Processor time that it took so far, in ticks (sysconf(_SC_CLK_TCK) a second), -1 when it is gone. */
long util_cpu_ticks(pid_t pid);

int util_compare_i64(const void *a, const void *b);

#endif
