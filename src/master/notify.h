/*
 * notify: tells the service manager how the daemon is: the datagrams of sd_notify(3), sent to the socket that
 * NOTIFY_SOCKET names. Without that variable nothing is sent. A manager that does not listen is told nothing
 * and holds nothing up.
 */
#ifndef CLAVIGER_MASTER_NOTIFY_H
#define CLAVIGER_MASTER_NOTIFY_H

#include <stdint.h>
#include <sys/types.h>

/* Everything serves: after the start, and after a reload, however it ended. */
void notify_ready(void);

/* A reload begins at that time of CLOCK_MONOTONIC, clock_mono_us(); notify_ready() ends it. */
void notify_reloading(int64_t now_mono_us);

/* A stop has begun. */
void notify_stopping(void);

/* From here on that process is the master; to be said by the one that was it until now. */
void notify_main_pid(pid_t pid);

#endif
