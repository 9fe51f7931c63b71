/*
 * retry_after: from a 429's header fields to a cooldown.
 *
 * Sources: Retry-After, RFC 9110 section 10.2.3 (delay-seconds or HTTP-date, section 5.6.7: all three date
 * forms are accepted); retry-after-ms, which OpenAI and Anthropic send and their SDKs honour first.
 */
#ifndef CLAVIGER_CORE_RETRY_AFTER_H
#define CLAVIGER_CORE_RETRY_AFTER_H

#include "core/header.h"

#include <stdint.h>

/*
 * The cooldown in milliseconds, at least 1 and at most max_ms:
 * 1. retry-after-ms when it is a positive decimal number (fractions allowed, rounded up);
 * 2. else Retry-After as a positive number of seconds (fractions allowed, rounded up to a millisecond), or as
 * an HTTP-date later than now_real_ms;
 * 3. else default_ms.
 * Values that are negative, zero, not numbers (nan, inf, hexadecimal, trailing text) or in the past do not
 * count and the next source is asked; absurdly large ones are cut to max_ms. Of several fields of one name
 * the first counts.
 */
int64_t retry_after_parse(const struct header_list *headers, int64_t now_real_ms, int64_t default_ms,
                          int64_t max_ms);

/* An HTTP-date (RFC 9110 section 5.6.7) to Unix time in seconds. Returns false when it is not one. A
 * two-digit year counts as RFC 9110 says: more than 50 years ahead of now means the past century. */
bool retry_after_parse_date(const char *value, int64_t now_real_ms, int64_t *unix_s);

#endif
