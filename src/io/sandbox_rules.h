/*
 * sandbox_rules: which system calls each kind of process may make, in words of libseccomp. For sandbox only.
 */
#ifndef CLAVIGER_IO_SANDBOX_RULES_H
#define CLAVIGER_IO_SANDBOX_RULES_H

#if defined(HAVE_SECCOMP)

#include <seccomp.h>

enum sandbox_kind { SANDBOX_CHILD, SANDBOX_WRITER, SANDBOX_MASTER, SANDBOX_KINDS };

/* A filter with its rules, for seccomp_release(). NULL when memory is short. */
scmp_filter_ctx sandbox_rules_make(enum sandbox_kind kind);

#endif

#endif
