/*
 * upgrade_handover: what a master gives to its successor, as bytes and back. Pure: it opens and closes
 * nothing; a descriptor is a number that both processes know.
 *
 * The form: a first line with its version, then records of a tag, a length and so many bytes, in the byte
 * order of this host, the last of them UPGRADE_HANDOVER_END. A tag that is not known is skipped, so that one
 * can be added without a new version.
 */
#ifndef CLAVIGER_MASTER_UPGRADE_HANDOVER_H
#define CLAVIGER_MASTER_UPGRADE_HANDOVER_H

#include "base/buf.h"
#include "io/shared.h"
#include "master/sockets.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Tells the successor "HANDOVER:CHANNEL": the descriptors of a sealed memfd with the bytes, and of a
 * connected SOCK_SEQPACKET socket. No more than that stands in its environment. */
#define UPGRADE_VARIABLE "CLAVIGER_HANDOVER"

/* What is said on the channel, a packet each. A text follows UPGRADE_REFUSED. End-of-file: the other is gone.
 */
enum upgrade_word {
    UPGRADE_HELLO = 'H',   /* successor: the handover was understood so far */
    UPGRADE_READY = 'R',   /* successor: every worker serves; waits for an answer */
    UPGRADE_REFUSED = 'F', /* successor: it cannot be, for this reason; it drains what it has and ends */
    UPGRADE_COMMIT = 'C',  /* old master: it is all yours; it drains what it has and ends */
    UPGRADE_ABANDON = 'A'  /* old master: it shall not be; end */
};
#define UPGRADE_WORD_MAX 4096 /* bytes of a packet */

#define UPGRADE_HANDOVER_FIRST_LINE "claviger handover 1\n"
#define UPGRADE_HANDOVER_MAX        (4 * 1024 * 1024) /* bytes, keys included */
#define UPGRADE_HANDOVER_SOCKETS    1024

struct upgrade_handover {
    pid_t pid;           /* of the master that hands over */
    uint32_t generation; /* the last number that it gave */
    bool detached;
    char *binary;    /* owned; the path that an upgrade runs */
    char *conf_file; /* owned; NULL = built-in defaults */
    char *pid_file;  /* owned */
    int pid_fd;      /* open and locked */
    char *control;   /* owned */
    int control_fd;  /* listening */
    int shared_fd;
    bool slots[SHARED_WORKERS_MAX]; /* those that its workers have */
    struct sockets sockets;         /* listening; which are for clients is not told */
    struct buf keys;                /* of keyfile_env_pack() */
};

/* Appends the bytes. They hold keys: to be wiped. */
void upgrade_handover_encode(const struct upgrade_handover *handover, struct buf *out);

/* Fills in *handover, which is the caller's to free then. -1 and *reason when the bytes are no handover of
 * this version, or not whole; *handover is zeroed. */
int upgrade_handover_decode(struct upgrade_handover *handover, const void *data, size_t len,
                            struct buf *reason);

/* Calls with the number of every descriptor in it. */
void upgrade_handover_each_fd(const struct upgrade_handover *handover, void (*fn)(int fd));

/* Wipes the keys and frees the memory; the descriptors stay as they are. */
void upgrade_handover_fini(struct upgrade_handover *handover);

#endif
