/*
 * fault_walk: one call of a daemon's process fails. fault_walk_preload.c, preloaded into the daemon, counts
 * allocations and system calls and lets the one fail that this file, mapped by both sides, names.
 */
#ifndef E2E_FAULT_WALK_H
#define E2E_FAULT_WALK_H

#include <stdatomic.h>

#define FAULTS_VARIABLE "CLAVIGER_FAULTS" /* the file's path */

enum faults_kind { FAULTS_ALLOCATION, FAULTS_CALL, FAULTS_KINDS };
enum faults_role { FAULTS_MASTER, FAULTS_WORKER, FAULTS_ADMIN, FAULTS_WRITER, FAULTS_ROLES };

struct faults {
    int kind; /* what fails, in which process, and which of them, from 1; 0 = none */
    int role;
    unsigned long number;
    char only[32];    /* the one function that is counted; "" = all */
    atomic_int fired; /* once in the life of the file: a process that replaces another one has no fault */
    char what[32];    /* the function that failed */
    _Atomic unsigned long counts[FAULTS_ROLES][FAULTS_KINDS];
};

#endif
