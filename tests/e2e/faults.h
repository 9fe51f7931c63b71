/*
 * faults: what a disk and a clock can do to a program. faults.so is loaded before the C library into a daemon
 * (LD_PRELOAD) and obeys a page that the test has mapped too, so that a fault begins and ends while the
 * daemon runs.
 */
#ifndef E2E_FAULTS_H
#define E2E_FAULTS_H

#include <stdatomic.h>
#include <stdint.h>

/* Environment: the file that holds the page, and the library to load. */
#define FAULTS_PAGE_ENV    "E2E_FAULTS_PAGE"
#define FAULTS_LIBRARY_ENV "FAULTS_LIBRARY"

struct faults {
    _Atomic int64_t clock_ms; /* added to the wall clock */
    /* Every write, sync and truncation of a file whose path holds `path` fails with this errno; 0 = none. */
    _Atomic int32_t error;
    /* Before that, so many of them go well. */
    _Atomic int32_t after;
    _Atomic uint32_t failed; /* how many have failed */
    _Atomic int32_t hold;    /* while it is not 0, a write to such a file does not come back */
    char path[32];           /* set before the daemon starts */
    char syslog[160];        /* where /dev/log is instead; "" = there */
};

/* Makes the page in this directory and the environment in which every program started from now on obeys it.
 * Lives as long as the process. */
struct faults *faults_begin(const char *dir, const char *path);

#endif
