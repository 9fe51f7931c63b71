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
    *trouble = (struct store_trouble){.path = path, .shared = shared, .condition = DATABASE_OK};
    for (size_t i = 0; i < STORE_ACCESSES; i++)
        trouble->busy_since[i] = INT64_MAX;
}

void store_trouble_begin(struct store_trouble *trouble, enum store_access access, int code, const char *text,
                         const struct store_clock *now)
{
    enum database_condition condition = store_schema_is_busy(code) ? DATABASE_BUSY : DATABASE_FAILING;
    bool changed;

    if (condition == DATABASE_BUSY) {
        if (trouble->busy_since[access] == INT64_MAX)
            trouble->busy_since[access] = now->mono_ms;
        if (now->mono_ms - trouble->busy_since[access] < STORE_BUSY_MS)
            return;
    }
    atomic_fetch_add(&trouble->shared->database_errors, 1);
    changed = shared_database_is(trouble->shared, condition, now->real_ms);
    /* A process that said it before does not say it again because another one meanwhile believed it to be
     * over. */
    if (changed && trouble->condition < condition) {
        if (text != NULL)
            log_error("%s; requests are served, new key marks are kept in shared memory meanwhile", text);
        else
            log_error(
                "state database %s: cannot be %s: %s; requests are served, new key marks are kept in shared "
                "memory meanwhile; %s",
                trouble->path, access_words[access], sqlite3_errstr(code), store_schema_advice(code));
    }
    trouble->failing[access] = true;
    if (trouble->condition < condition)
        trouble->condition = condition;
}

void store_trouble_over(struct store_trouble *trouble, const struct store_clock *now)
{
    if (shared_database_is(trouble->shared, DATABASE_OK, now->real_ms))
        log_info("state database %s: works again", trouble->path);
}

void store_trouble_end(struct store_trouble *trouble, enum store_access access, const struct store_clock *now)
{
    trouble->busy_since[access] = INT64_MAX;
    if (!trouble->failing[access])
        return;
    trouble->failing[access] = false;
    for (size_t i = 0; i < STORE_ACCESSES; i++)
        if (trouble->failing[i])
            return;
    trouble->condition = DATABASE_OK;
    store_trouble_over(trouble, now);
}
