/*
 * confine: the last step of a child's start: from here on it may only do what serving needs.
 */
#ifndef CLAVIGER_WORKER_CONFINE_H
#define CLAVIGER_WORKER_CONFINE_H

#include "io/conf.h"

/* Enters the sandbox when conf says so; where the kernel cannot, that is a warning. */
void confine(const struct conf *conf);

#endif
