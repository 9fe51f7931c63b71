/*
 * Every file of tests/fuzz/corpus through its target: what libFuzzer once found holds, with every compiler
 * and under its sanitizers. FUZZ_CORPUS names the directory.
 */
#include "base/log.h"
#include "fuzz/fuzz.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static void replay(const struct fuzz_target *target, const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *data = malloc(1 << 20);
    ck_assert_ptr_nonnull(f);
    ck_assert_ptr_nonnull(data);
    size_t size = fread(data, 1, 1 << 20, f);
    ck_assert(feof(f) && !ferror(f));
    fclose(f);
    fprintf(stderr, "%s\n", path);
    target->run(data, size);
    free(data);
}

START_TEST(test_corpus)
{
    const struct fuzz_target *target = &fuzz_targets[_i];
    const char *corpus = getenv("FUZZ_CORPUS");
    const char *reason;
    char dir[2048];
    char path[4096];
    struct dirent *entry;
    int files = 0;

    ck_assert_msg(corpus != NULL, "FUZZ_CORPUS is not set");
    ck_assert_int_eq(log_open(&(struct log_options){.target = "/dev/null", .level = LOG_LEVEL_DEBUG},
                              &reason),
                     0);
    snprintf(dir, sizeof(dir), "%s/%s", corpus, target->name);
    DIR *d = opendir(dir);
    ck_assert_msg(d != NULL, "%s cannot be read", dir);
    while ((entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "%s/%s", dir, entry->d_name);
        replay(target, path);
        files++;
    }
    closedir(d);
    ck_assert_msg(files > 0, "%s has no file", dir);
    target->run((const uint8_t *)"", 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("fuzz corpora");
    TCase *tcase = tcase_create("corpus");
    int count = 0;

    while (fuzz_targets[count].name != NULL)
        count++;
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, test_corpus, 0, count);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
