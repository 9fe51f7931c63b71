/* oom: a test in which memory runs out for real. */
#ifndef UNIT_OOM_H
#define UNIT_OOM_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Memory runs out at 128 MB, where the tests allow for that: AddressSanitizer's own maps do not fit under a
 * limit. */
#if defined(__SANITIZE_ADDRESS__)
#define CAN_LIMIT 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CAN_LIMIT 0
#endif
#endif
#ifndef CAN_LIMIT
#define CAN_LIMIT 1
#endif

#define LIMIT ((size_t)128 << 20)
#define HUGE  ((size_t)80 << 20) /* fits once, not twice */

static bool can_limit(void)
{
    const char *preload = getenv("LD_PRELOAD"); /* valgrind puts itself there */

    return CAN_LIMIT && (preload == NULL || strstr(preload, "vgpreload") == NULL);
}

static void limit_memory(struct rlimit *old)
{
    FILE *statm = fopen("/proc/self/statm", "r");
    struct rlimit tight;
    unsigned long pages;

    ck_assert_ptr_nonnull(statm);
    ck_assert_int_eq(fscanf(statm, "%lu", &pages), 1);
    fclose(statm);
    ck_assert_int_eq(getrlimit(RLIMIT_AS, old), 0);
    tight = *old;
    tight.rlim_cur = pages * (unsigned long)sysconf(_SC_PAGESIZE) + LIMIT;
    ck_assert_int_eq(setrlimit(RLIMIT_AS, &tight), 0);
}

/* A string of that many characters, from a repeated text. */
static char *huge_text(const char *unit, size_t size)
{
    char *text = malloc(size + 1);
    size_t unit_len = strlen(unit);

    ck_assert_ptr_nonnull(text);
    for (size_t i = 0; i < size; i++)
        text[i] = unit[i % unit_len];
    text[size] = '\0';
    return text;
}

#endif
