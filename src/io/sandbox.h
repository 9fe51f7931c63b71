/*
 * sandbox: what a process may ask of the kernel, through libseccomp. Only this module and its sandbox_rules
 * include <seccomp.h>.
 *
 * A child (worker, admin) may do what serving needs and nothing else: no program is started, no process made,
 * traced or signalled, no identity changed, no memory made executable, no socket opened but unix, inet and
 * inet6 ones and the resolver's netlink, no port listened on. What is not allowed fails with EPERM, or with
 * ENOSYS where a library then takes an older call. The writer of dumps may make directories and new files,
 * write them, and read from descriptors that it has or is handed over; it reaches no file that is there, and
 * no socket. The master, whose filter every successor inherits over an
 * upgrade, is only denied what no version of it will ever need (mount, ptrace, kernel modules, bpf, ...).
 */
#ifndef CLAVIGER_IO_SANDBOX_H
#define CLAVIGER_IO_SANDBOX_H

#include "base/buf.h"

#include <stdbool.h>

/* Whether it is built in. */
bool sandbox_is_built_in(void);

/* "libseccomp/2.5.4"; NULL when it is not built in. */
const char *sandbox_library_version(void);

/*
 * Makes the filters, once a process; to be called before fork, so that a child needs no memory and no time
 * for its own. 0, or -1 and *reason: then there will be none.
 */
int sandbox_prepare(struct buf *reason);

/* For this process and all threads it has, for ever. Sets no_new_privs. 0, or -1 and *reason. */
int sandbox_enter_child(struct buf *reason);
int sandbox_enter_writer(struct buf *reason);

/*
 * For this process and all that it will start, for ever. Does nothing (0) in a process that is filtered
 * already, or that may not be without no_new_privs: that would take file capabilities from its successor.
 */
int sandbox_enter_master(struct buf *reason);

#endif
