/*
 * faults: makes the page that faults.so obeys. The library itself is faults_preload.c.
 */
#include "e2e/faults.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Adds a setting to those of a sanitizer, which wants to be the first library unless it is told otherwise. */
static void add_option(const char *name, const char *option)
{
    const char *old = getenv(name);
    char text[512];

    snprintf(text, sizeof(text), "%s%s%s", old != NULL ? old : "", old != NULL ? ":" : "", option);
    ck_assert_int_eq(setenv(name, text, 1), 0);
}

struct faults *faults_begin(const char *dir, const char *path)
{
    const char *library = getenv(FAULTS_LIBRARY_ENV);
    struct faults *faults;
    char file[256];
    int fd;

    ck_assert_msg(library != NULL && access(library, R_OK) == 0, "set %s", FAULTS_LIBRARY_ENV);
    snprintf(file, sizeof(file), "%s/faults", dir);
    fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fchmod(fd, 0666), 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)sizeof(*faults)), 0);
    faults = mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ck_assert(faults != MAP_FAILED);
    close(fd);
    snprintf(faults->path, sizeof(faults->path), "%s", path);
    ck_assert_int_eq(setenv(FAULTS_PAGE_ENV, file, 1), 0);
    ck_assert_int_eq(setenv("LD_PRELOAD", library, 1), 0);
    add_option("ASAN_OPTIONS", "verify_asan_link_order=0");
    return faults;
}
