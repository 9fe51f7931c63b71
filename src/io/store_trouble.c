/*
 * store_trouble: when a failing database is spoken of. Called by store and housekeeper; it knows result codes
 * and the log, and touches no database.
 */
#include "io/store_trouble.h"

#include "base/log.h"
#include "io/store_schema.h"

#include <sqlite3.h>

static const char *const access_words[STORE_ACCESSES] = {
    [STORE_READING] = "read",
    [STORE_WRITING] = "written",
    [STORE_KEEPING] = "kept in order",
};

void store_trouble_init(struct store_trouble *trouble, const char *path, struct shared *shared)
{
    *trouble = (struct store_trouble){.path = path, .shared = shared};
    for (size_t i = 0; i < STORE_ACCESSES; i++)
        trouble->busy_since[i] = INT64_MAX;
}

void store_trouble_begin(struct store_trouble *trouble, enum store_access access, int code, const char *text,
                         const struct store_clock *now)
{
    enum database_condition condition = store_schema_is_busy(code) ? DATABASE_BUSY : DATABASE_FAILING;

    if (condition == DATABASE_BUSY) {
        if (trouble->busy_since[access] == INT64_MAX)
            trouble->busy_since[access] = now->mono_ms;
        if (now->mono_ms - trouble->busy_since[access] < STORE_BUSY_MS)
            return;
    }
    atomic_fetch_add(&trouble->shared->database_errors, 1);
    atomic_store(&trouble->shared->database_failed_ms, now->mono_ms);
    if (shared_database_is(trouble->shared, condition, now->real_ms)) {
        if (text != NULL)
            log_error("%s; requests are served, new key marks are kept in shared memory meanwhile", text);
        else
            log_error(
                "state database %s: cannot be %s: %s; requests are served, new key marks are kept in shared "
                "memory meanwhile; %s",
                trouble->path, access_words[access], sqlite3_errstr(code), store_schema_advice(code));
    }
    trouble->failing[access] = true;
}

void store_trouble_end(struct store_trouble *trouble, enum store_access access)
{
    trouble->busy_since[access] = INT64_MAX;
    trouble->failing[access] = false;
}

bool store_trouble_here(const struct store_trouble *trouble)
{
    for (size_t i = 0; i < STORE_ACCESSES; i++)
        if (trouble->failing[i])
            return true;
    return false;
}

void store_trouble_over(struct store_trouble *trouble, const struct store_clock *now)
{
    if (now->mono_ms - atomic_load(&trouble->shared->database_failed_ms) >= STORE_QUIET_MS &&
        shared_database_is(trouble->shared, DATABASE_OK, now->real_ms))
        log_info("state database %s: works again", trouble->path);
}
