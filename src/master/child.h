/*
 * child: one child process of the master: started, watched, told to end, and replaced when it dies.
 */
#ifndef CLAVIGER_MASTER_CHILD_H
#define CLAVIGER_MASTER_CHILD_H

#include "base/buf.h"
#include "heritage.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CHILD_DEATHS           5 /* from this one on within CHILD_WINDOW_MS replacing is delayed */
#define CHILD_WINDOW_MS        10000
#define CHILD_FIRST_DELAY_MS   1000 /* doubles with each further death */
#define CHILD_LONGEST_DELAY_MS 30000

/* What is known of the deaths of one child's predecessors. A zeroed struct knows none. */
struct child_deaths {
    int64_t at_ms[CHILD_DEATHS]; /* monotonic; a ring */
    unsigned count;              /* of deaths in a row, each after less than CHILD_WINDOW_MS of life */
    int64_t delay_ms;            /* 0 = not throttled */
};

/*
 * Counts a death at now_ms after lived_ms of life and returns after how many milliseconds the next one may
 * start: 0, but CHILD_FIRST_DELAY_MS from the CHILD_DEATHSth death within CHILD_WINDOW_MS on, then doubling
 * up to CHILD_LONGEST_DELAY_MS. One that lived for CHILD_WINDOW_MS begins the count anew.
 */
int64_t child_count_death(struct child_deaths *deaths, int64_t lived_ms, int64_t now_ms);

/* The user that children drop to. */
struct child_user {
    bool set; /* false: they stay who the master is */
    uid_t uid;
    gid_t gid;
    gid_t *groups; /* owned */
    int group_count;
};

/* Looks `name` up ("" = stay). Not root: no change, with a warning in the log when it is another user. 0, or
 * -1 and *reason. */
int child_user_find(struct child_user *user, const char *name, struct buf *reason);
void child_user_fini(struct child_user *user);

/* Whether that user may make files in the directory; the kernel is asked, in a process of that user. 0, or -1
 * with errno. */
int child_user_may_write(const struct child_user *user, const char *dir);

enum child_role { CHILD_WORKER, CHILD_ADMIN };

struct child {
    enum child_role role;
    unsigned number;    /* of a worker */
    unsigned slot;      /* of a worker, in struct shared */
    pid_t pid;          /* 0 = not running */
    int64_t started_ms; /* monotonic */
    int64_t due_ms;     /* when pid is 0: not started again before */
    struct child_deaths deaths;
};

/* What a child needs from the master; all borrowed. */
struct child_legacy {
    const struct heritage_programs *programs;
    struct heritage heritage; /* but for slot and number */
    size_t listen_count;
    size_t admin_count;
    const struct child_user *user;
};

/*
 * Forks. In the child: title, log name, default signals, every descriptor closed that it has no use for (a
 * worker has no admin_fds, admin no listen_fds: NULL), user dropped, end with the master; then its main
 * function, whose status it exits with. In the master: fills in pid and started_ms and a worker's slot. 0, or
 * -1 with errno.
 */
int child_start(struct child *child, const struct child_legacy *legacy, int64_t now_ms);

/* "worker 3" or "admin". */
#define CHILD_NAME_SIZE 32
void child_name(const struct child *child, char out[CHILD_NAME_SIZE]);

/* How it ended, in words: "exited with status 1", "was killed by signal 11 (Segmentation fault)". */
void child_describe_end(int wait_status, struct buf *out);

/* Clears a worker's slot: its process is gone. */
void child_clear_slot(const struct child *child, struct shared *shared);

#endif
