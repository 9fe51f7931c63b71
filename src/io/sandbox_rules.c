/*
 * sandbox_rules: owns the lists of system calls. Called by sandbox only.
 */
#include "io/sandbox_rules.h"

#if defined(HAVE_SECCOMP)

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>

/* The leak check at the end of a process traces it and makes a process of its own. */
#if defined(__SANITIZE_ADDRESS__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#if !defined(SANDBOX_SANITIZED)
#define SANDBOX_SANITIZED 0
#endif

#if !defined(PR_SET_VMA)
#define PR_SET_VMA 0x53564d41
#endif

/* ---- the lists; a name that this machine has no call for is skipped */

static const char *const child_calls[] = {
    /* clients and providers */
    "accept4",
    "bind",
    "connect",
    "getpeername",
    "getsockname",
    "getsockopt",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmsg",
    "send",
    "sendfile",
    "sendfile64",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "setsockopt",
    "shutdown",
    /* waiting */
    "_newselect",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "eventfd2",
    "nanosleep",
    "poll",
    "ppoll",
    "ppoll_time64",
    "pselect6",
    "pselect6_time64",
    "select",
    "signalfd4",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_settime",
    /* files: the database, logs, temporary bodies, certificates, the resolver's */
    "_llseek",
    "access",
    "chmod",
    "close",
    "close_range",
    "dup",
    "dup2",
    "dup3",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchown32",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "flock",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "getcwd",
    "getdents",
    "getdents64",
    "linkat",
    "lseek",
    "lstat",
    "lstat64",
    "newfstatat",
    "open",
    "openat",
    "pipe2",
    "pread64",
    "preadv",
    "pwrite64",
    "pwritev",
    "read",
    "readlink",
    "readlinkat",
    "readv",
    "rename",
    "renameat",
    "renameat2",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statx",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
    /* memory; mmap and mprotect have rules of their own */
    "brk",
    "madvise",
    "mlock",
    "mlock2",
    "mremap",
    "munlock",
    "munmap",
    /* threads: the resolver's */
    "exit",
    "exit_group",
    "futex",
    "futex_time64",
    "get_robust_list",
    "membarrier",
    "rseq",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    /* the end of a process that it made before: the writer of dumps */
    "wait4",
    "waitid",
    /* signals */
    "restart_syscall",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigreturn",
    "rt_sigtimedwait",
    "sigaltstack",
    "sigreturn",
    /* who and when */
    "clock_getres",
    "clock_gettime",
    "clock_gettime64",
    "getcpu",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getpid",
    "getppid",
    "getrandom",
    "getresgid",
    "getresuid",
    "getrlimit",
    "getrusage",
    "gettid",
    "gettimeofday",
    "getuid",
    "getuid32",
    "sysinfo",
    "time",
    "umask",
    "uname",
};

/* Who makes new files of what it finds in memory and is handed over; open and openat have a rule of their
 * own.
 */
static const char *const writer_calls[] = {
    /* files; what is preloaded finds out their names by readlink */
    "close",
    "mkdir",
    "mkdirat",
    "pread64",
    "read",
    "readlink",
    "readlinkat",
    "recvmsg",
    "write",
    /* waiting, and its own end in time */
    "alarm",
    "poll",
    "ppoll",
    "ppoll_time64",
    "setitimer",
    /* memory; mmap and mprotect have rules of their own */
    "brk",
    "madvise",
    "mremap",
    "munmap",
    /* the end, abort()'s too */
    "exit",
    "exit_group",
    /* signals */
    "restart_syscall",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sigreturn",
    /* who and when */
    "clock_gettime",
    "clock_gettime64",
    "getpid",
    "getppid",
    "gettid",
};

/* The C library asks for these first and takes an older call when the kernel does not know them. */
static const char *const child_unknown_calls[] = {
    "clone3", "fchmodat2", "futex_waitv", "mseal", "openat2", "set_mempolicy_home_node",
};

static const char *const sanitizer_calls[] = {
    "arch_prctl", "clone",     "clone3",           "kill",   "mmap",      "mmap2",  "mprotect", "personality",
    "prctl",      "prlimit64", "process_vm_readv", "ptrace", "setrlimit", "tgkill", "wait4",    "waitid",
};

/* What no daemon of this kind needs, this one or the next. */
static const char *const master_denied[] = {
    "acct",
    "add_key",
    "adjtimex",
    "bpf",
    "clock_adjtime",
    "clock_settime",
    "create_module",
    "delete_module",
    "finit_module",
    "fsconfig",
    "fsmount",
    "fsopen",
    "fspick",
    "get_kernel_syms",
    "init_module",
    "io_uring_enter",
    "io_uring_register",
    "io_uring_setup",
    "ioperm",
    "iopl",
    "kcmp",
    "kexec_file_load",
    "kexec_load",
    "keyctl",
    "lookup_dcookie",
    "mknod",
    "mknodat",
    "mount",
    "mount_setattr",
    "move_mount",
    "nfsservctl",
    "open_by_handle_at",
    "open_tree",
    "perf_event_open",
    "pidfd_getfd",
    "pivot_root",
    "process_vm_writev",
    "query_module",
    "quotactl",
    "quotactl_fd",
    "reboot",
    "request_key",
    "setdomainname",
    "sethostname",
    "settimeofday",
    "stime",
    "swapoff",
    "swapon",
    "syslog",
    "umount",
    "umount2",
    "uselib",
    "userfaultfd",
    "ustat",
    "vhangup",
};

static const char *const master_denied_unless_sanitized[] = {"process_vm_readv", "ptrace"};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* ---- rules */

static int add_list(scmp_filter_ctx filter, uint32_t action, const char *const *names, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);
        if (call != __NR_SCMP_ERROR)
            result = seccomp_rule_add_array(filter, action, call, 0, NULL);
    }
    return result;
}

static int allow_when(scmp_filter_ctx filter, const char *name, struct scmp_arg_cmp when)
{
    int call = seccomp_syscall_resolve_name(name);
    return call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &when);
}

static int allow_values(scmp_filter_ctx filter, const char *name, unsigned argument,
                        const unsigned long *values, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = allow_when(filter, name, (struct scmp_arg_cmp){argument, SCMP_CMP_EQ, values[i], 0});
    return result;
}

/* Memory is writable or executable, not both, and what was writable does not become executable. */
static int allow_memory(scmp_filter_ctx filter)
{
    static const char *const maps[] = {"mmap", "mmap2"};
    static const unsigned long kinds[] = {0, PROT_WRITE, PROT_EXEC};
    int result = 0;
    for (size_t i = 0; i < COUNT(maps); i++) {
        for (size_t j = 0; j < COUNT(kinds) && result == 0; j++)
            result =
                allow_when(filter, maps[i],
                           (struct scmp_arg_cmp){2, SCMP_CMP_MASKED_EQ, PROT_WRITE | PROT_EXEC, kinds[j]});
    }
    if (result == 0)
        result = allow_when(filter, "mprotect", (struct scmp_arg_cmp){2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0});
    return result;
}

/* Asking for its own limits, not setting them, nor those of others. */
static int allow_limits(scmp_filter_ctx filter)
{
    const struct scmp_arg_cmp own[] = {{0, SCMP_CMP_EQ, 0, 0}, {2, SCMP_CMP_EQ, 0, 0}};
    int call = seccomp_syscall_resolve_name("prlimit64");
    return call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 2, own);
}

/* abort() */
static int allow_abort(scmp_filter_ctx filter)
{
    return allow_when(filter, "tgkill", (struct scmp_arg_cmp){2, SCMP_CMP_EQ, SIGABRT, 0});
}

static int allow_with_arguments(scmp_filter_ctx filter)
{
    static const unsigned long families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};
    static const unsigned long pair[] = {AF_UNIX};
    static const unsigned long requests[] = {FIONBIO, FIONREAD, FIOCLEX, TCGETS};
    static const unsigned long process[] = {PR_SET_NAME, PR_GET_NAME, PR_SET_VMA};
    int result = allow_memory(filter);
    if (result == 0)
        result = allow_values(filter, "socket", 0, families, COUNT(families));
    if (result == 0)
        result = allow_values(filter, "socketpair", 0, pair, COUNT(pair));
    if (result == 0)
        result = allow_values(filter, "ioctl", 1, requests, COUNT(requests));
    if (result == 0)
        result = allow_values(filter, "prctl", 0, process, COUNT(process));
    if (result == 0)
        result = allow_limits(filter);
    if (result == 0)
        result = allow_abort(filter);
    if (result == 0) /* a thread, never a process */
        result = allow_when(filter, "clone",
                            (struct scmp_arg_cmp){0, SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD});
    return result;
}

static int fill_child(scmp_filter_ctx filter)
{
    int result = 0;
    if (SANDBOX_SANITIZED) {
        result = add_list(filter, SCMP_ACT_ALLOW, sanitizer_calls, COUNT(sanitizer_calls));
    } else {
        result = add_list(filter, SCMP_ACT_ERRNO(ENOSYS), child_unknown_calls, COUNT(child_unknown_calls));
    }
    if (result == 0)
        result = add_list(filter, SCMP_ACT_ALLOW, child_calls, COUNT(child_calls));
    if (result == 0)
        result = allow_with_arguments(filter);
    return result;
}

/* Files that are not there yet, to be written: it can read none by its name. */
static int allow_new_files(scmp_filter_ctx filter)
{
    static const unsigned flags[] = {O_ACCMODE | O_CREAT | O_EXCL, O_WRONLY | O_CREAT | O_EXCL};
    int result = allow_when(filter, "open", (struct scmp_arg_cmp){1, SCMP_CMP_MASKED_EQ, flags[0], flags[1]});
    if (result == 0)
        result =
            allow_when(filter, "openat", (struct scmp_arg_cmp){2, SCMP_CMP_MASKED_EQ, flags[0], flags[1]});
    return result;
}

static int fill_writer(scmp_filter_ctx filter)
{
    static const char *const not_childs[] = {"alarm", "mkdir", "mkdirat", "setitimer"};
    int result;
    if (SANDBOX_SANITIZED) { /* a sanitizer reads what it finds in /proc, and more */
        result = fill_child(filter);
        return result == 0 ? add_list(filter, SCMP_ACT_ALLOW, not_childs, COUNT(not_childs)) : result;
    }
    result = add_list(filter, SCMP_ACT_ALLOW, writer_calls, COUNT(writer_calls));
    if (result == 0)
        result = allow_memory(filter);
    if (result == 0)
        result = allow_abort(filter);
    if (result == 0)
        result = allow_new_files(filter);
    return result;
}

static int fill_master(scmp_filter_ctx filter)
{
    int result = add_list(filter, SCMP_ACT_ERRNO(EPERM), master_denied, COUNT(master_denied));
    if (result == 0 && !SANDBOX_SANITIZED)
        result = add_list(filter, SCMP_ACT_ERRNO(EPERM), master_denied_unless_sanitized,
                          COUNT(master_denied_unless_sanitized));
    return result;
}

/* ---- what sandbox calls */

static const struct {
    uint32_t otherwise;
    int (*fill)(scmp_filter_ctx filter);
} kinds[] = {
    [SANDBOX_CHILD] = {SCMP_ACT_ERRNO(EPERM), fill_child},
    [SANDBOX_WRITER] = {SCMP_ACT_ERRNO(EPERM), fill_writer},
    [SANDBOX_MASTER] = {SCMP_ACT_ALLOW, fill_master},
};

scmp_filter_ctx sandbox_rules_make(enum sandbox_kind kind)
{
    scmp_filter_ctx filter = seccomp_init(kinds[kind].otherwise);
    if (filter != NULL && kinds[kind].fill(filter) != 0) {
        seccomp_release(filter);
        return NULL;
    }
    return filter;
}

#endif
