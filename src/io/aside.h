/*
 * aside: a thread beside a process's loop, for what may block. It takes no signal, and the scheduler prefers
 * everyone else to it.
 *
 * The log belongs to the loop: a thread says nothing, it leaves word.
 */
#ifndef CLAVIGER_IO_ASIDE_H
#define CLAVIGER_IO_ASIDE_H

#include <stdbool.h>

struct aside;

/* Starts fn(arg), to be called before the process confines itself. NULL with errno. */
struct aside *aside_start(void (*fn)(void *arg), void *arg);

/* Waits until fn has returned and frees. False when it did not within timeout_ms: then it runs on for as long
 * as the process lives, with all that it was given, and *aside stays as it is. */
bool aside_end(struct aside **aside, int timeout_ms);

/* What such a thread does first; in a process that has one thread only, it is for the process. */
void aside_step_back(void);

#endif
