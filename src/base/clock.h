/*
 * clock: the only place that asks the system for the time. Everything else takes it as an argument.
 */
#ifndef CLAVIGER_BASE_CLOCK_H
#define CLAVIGER_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

/* Unix time in milliseconds; may jump. */
int64_t clock_real_ms(void);

/* Milliseconds since some fixed point; never goes back, the same in every process of this host. */
int64_t clock_mono_ms(void);

/* The same clock (CLOCK_MONOTONIC) in microseconds. */
int64_t clock_mono_us(void);

/* How long the machine has slept since it was started, which the monotonic clock does not count. */
int64_t clock_slept_ms(void);

/* RFC 3339 in UTC with milliseconds, "2026-11-22T17:00:00.123Z". What is before 1970 or after 9999 is written
 * as the nearest time that is not. */
#define CLOCK_RFC3339_SIZE 32
void clock_rfc3339(int64_t real_ms, char out[CLOCK_RFC3339_SIZE]);

#endif
