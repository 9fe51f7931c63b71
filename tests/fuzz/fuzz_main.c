/*
 * The way from libFuzzer to a target: FUZZ_TARGET in the environment names it. Built by `make fuzz` only,
 * with clang; tools/fuzz.sh runs it.
 */
#include "fuzz/fuzz.h"

#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct fuzz_target *target;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    const char *name = getenv("FUZZ_TARGET");
    const char *reason;

    (void)argc, (void)argv;
    target = name != NULL ? fuzz_find(name) : NULL;
    if (target == NULL) {
        fprintf(stderr, "fuzz: FUZZ_TARGET names no target; there are:\n");
        for (const struct fuzz_target *t = fuzz_targets; t->name != NULL; t++)
            fprintf(stderr, "%s\n", t->name);
        exit(2);
    }
    return log_open(&(struct log_options){.target = "/dev/null", .level = LOG_LEVEL_DEBUG}, &reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    target->run(data, size);
    return 0;
}
