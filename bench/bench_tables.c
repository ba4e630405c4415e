/* Tables: finding accounts; finding and entering ids at several fills of an index of 100 million slots. Everything is fetched
 * eight ahead: an account's bucket of the index sixteen, its line eight. */
#include <tael/assert.h>

#include "bench/fixture.h"
#include "bench/harness.h"
#include "bench/limit.h"
#include "tests/support/random.h"

#define AHEAD 8
#define ROUND 65536u

static void run_account_find(struct tael_bench *run, const struct tael_bench_case *self) {
    const struct tael_account_table *table = &tael_bench_ledger_get((uint64_t)self->size, 0)->ledger->accounts;
    struct test_random random = {0};
    tael_u128 ids[2 * AHEAD];
    uint64_t hashes[2 * AHEAD];
    for (uint32_t i = 0; i < 2 * AHEAD; i++) {
        ids[i] = 1;
        hashes[i] = tael_hash_id(&table->hash, ids[i]);
    }
    uint64_t items = 0;
    while (tael_bench_next(run)) {
        for (uint32_t i = 0; i < 1024; i++) {
            const uint32_t place = i % (2 * AHEAD);
            const struct tael_account_line *line = tael_account_table_find(table, ids[place], hashes[place]);
            TAEL_ASSERT(line != NULL);
            ids[place] = 1 + test_random_below(&random, table->count);
            hashes[place] = tael_hash_id(&table->hash, ids[place]);
            tael_id_index_fetch(&table->index, hashes[place]);
            __builtin_prefetch(tael_account_table_guess(table, hashes[(i + AHEAD) % (2 * AHEAD)]));
        }
        items += 1024;
    }
    tael_bench_items(run, items);
}

static void index_find_all(const struct tael_id_index *index, const uint64_t *hashes) {
    for (uint32_t i = 0; i < ROUND; i++) {
        if (i + AHEAD < ROUND) {
            __builtin_prefetch(index->buckets[tael_id_index_home(index, hashes[i + AHEAD])]);
        }
        struct tael_index_probe probe = tael_index_probe_begin(index, hashes[i]);
        uint64_t value = 0;
        while (tael_index_probe_next(index, &probe, &value) && value != i) {
        }
        tael_bench_keep(value);
    }
}

static void index_insert_all(struct tael_id_index *index, const uint64_t *hashes) {
    for (uint32_t i = 0; i < ROUND; i++) {
        if (i + AHEAD < ROUND) {
            __builtin_prefetch(index->buckets[tael_id_index_home(index, hashes[i + AHEAD])], 1);
        }
        struct tael_index_probe probe = tael_index_probe_begin(index, hashes[i]);
        uint64_t value;
        while (tael_index_probe_next(index, &probe, &value)) {
        }
        tael_id_index_insert(index, &probe, i);
    }
}

/* Enters a round of ids, finds them again, and takes them back. `variant`: which of the two counts. */
static void run_index(struct tael_bench *run, const struct tael_bench_case *self) {
    static uint64_t hashes[ROUND];
    struct tael_bench_ledger *fixture = tael_bench_ledger_get(10000, 0);
    struct tael_id_index *index = &fixture->ledger->index;
    struct test_random random = {.state = 99};
    tael_bench_ledger_fill_index(fixture, (uint32_t)self->size);
    uint64_t items = 0;
    while (tael_bench_next(run)) {
        for (uint32_t i = 0; i < ROUND; i++) hashes[i] = test_random_u64(&random);
        uint64_t start = tael_bench_clock_ns();
        index_insert_all(index, hashes);
        uint64_t ns = tael_bench_clock_ns() - start;
        /* The lines that the insert left in the caches go. */
        tael_bench_limit_lines(1u << 20);
        start = tael_bench_clock_ns();
        index_find_all(index, hashes);
        if (self->variant != 0) ns = tael_bench_clock_ns() - start;
        for (uint32_t i = ROUND; i-- > 0;) tael_id_index_remove_youngest(index, hashes[i], i);
        tael_bench_time(run, ns);
        items += ROUND;
    }
    tael_bench_items(run, items);
}

static void run_index_opened(struct tael_bench *run, const struct tael_bench_case *self) {
    tael_bench_limit_open();
    run_index(run, self);
}

const struct tael_bench_case tael_bench_table_cases[] = {
    {.name = "tables/index_insert/0", .run = run_index_opened, .iterations = 8, .size = 0},
    {.name = "tables/index_insert/20", .run = run_index_opened, .iterations = 8, .size = 20},
    {.name = "tables/index_insert/40", .run = run_index_opened, .iterations = 8, .size = 40},
    {.name = "tables/index_insert/59", .run = run_index_opened, .iterations = 8, .size = 59},
    {.name = "tables/index_find/0", .run = run_index_opened, .iterations = 8, .size = 0, .variant = 1},
    {.name = "tables/index_find/59", .run = run_index_opened, .iterations = 8, .size = 59, .variant = 1},
    {.name = "tables/account_find/10k", .run = run_account_find, .size = 10000},
    {.name = "tables/account_find/1M", .run = run_account_find, .size = 1000000},
    {.name = "tables/account_find/10M", .run = run_account_find, .size = 10000000},
    {0},
};
