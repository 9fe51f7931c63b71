/*
 * clavigerctl_pools: owns how many keys of each pool are in which state. Called by status and top.
 */
#include "clavigerctl.h"

#include <stdlib.h>
#include <string.h>

static struct pool_count *find_pool(struct pool_counts *pools, const char *provider)
{
    for (size_t i = 0; i < pools->count; i++) {
        if (strcmp(pools->items[i].provider, provider) == 0)
            return &pools->items[i];
    }
    struct pool_count *pool = &pools->items[pools->count++];
    pool->provider = provider;
    return pool;
}

int pool_counts_make(struct pool_counts *pools, const struct provider_list *providers,
                     const struct store_rows *rows)
{
    pools->count = 0;
    pools->items = calloc(providers->count + rows->count + 1, sizeof(*pools->items));
    if (!pools->items)
        return -1;
    for (size_t i = 0; i < providers->count; i++)
        find_pool(pools, providers->items[i].name);
    for (size_t i = 0; i < rows->count; i++) {
        const struct store_row *row = &rows->items[i];
        struct pool_count *pool = find_pool(pools, row->provider);
        if (strcmp(row->state, "permanent") == 0)
            pool->permanent++;
        else if (strcmp(row->state, "temporary") == 0)
            pool->temporary++;
        else
            pool->valid++;
    }
    return 0;
}

void pool_counts_fini(struct pool_counts *pools)
{
    free(pools->items);
    memset(pools, 0, sizeof(*pools));
}
