/*
 * suite: how a unit test's main ends.
 */
#ifndef CLAVIGER_TESTS_UNIT_SUITE_H
#define CLAVIGER_TESTS_UNIT_SUITE_H

#include <check.h>

/* Runs the suite as CK_FORK, CK_RUN_CASE and CK_VERBOSITY say. For `return suite_run(suite)` in main. */
static inline int suite_run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    int failed;

    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}

#endif
