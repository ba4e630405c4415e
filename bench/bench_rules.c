/* The rules: what tael_ledger_apply takes for a batch of 8189 transfers, history and index included, beside the machine's limit
 * in the same turn. Lookups, and the lists by account that are made behind, too.
 *
 * Counters: `ns` a transfer; `kernel_ns` and `lines_ns`, the limit's kernel and one independent random line (bench/limit.h);
 * `share` = kernel_ns / ns, what was reached of the limit. */
#include <stdlib.h>

#include <tael/assert.h>
#include <tael/multi_batch.h>

#include "bench/fixture.h"
#include "bench/harness.h"
#include "bench/limit.h"
#include "bench/memory.h"
#include "bench/workload.h"
#include "engine/query.h"

#define SLICE_BATCHES 16
#define SLICE (SLICE_BATCHES * TAEL_EVENTS_MAX)

static uint64_t slice_apply(struct tael_bench_ledger *fixture, struct tael_bench_workload *workload) {
    uint64_t ns = 0;
    for (uint32_t i = 0; i < SLICE_BATCHES; i++) {
        tael_bench_workload_fill(workload, fixture->events, TAEL_EVENTS_MAX);
        tael_bench_ledger_request(fixture, TAEL_EVENTS_MAX);
        ns += tael_bench_ledger_apply(fixture);
    }
    return ns;
}

/* `variant` of a case: the mix, whether its accounts have the history flag, how full the index is, percent. */
#define VARIANT(mix, history, fill) ((mix) | (history) << 4 | (fill) << 8)

struct variant {
    enum tael_bench_mix mix;
    uint16_t account_flags;
    uint32_t fill;
};

static struct variant variant_of(const struct tael_bench_case *self) {
    return (struct variant){
        .mix = (enum tael_bench_mix)(self->variant & 0xf),
        .account_flags = self->variant >> 4 & 0xf ? TAEL_ACCOUNT_FLAG_history : 0,
        .fill = (uint32_t)(self->variant >> 8),
    };
}

static void run_transfers(struct tael_bench *run, const struct tael_bench_case *self) {
    const struct variant variant = variant_of(self);
    struct tael_bench_workload workload = {.accounts = (uint64_t)self->size, .mix = variant.mix};
    struct tael_bench_limits limits = {0};
    tael_bench_limit_open();
    struct tael_bench_ledger *fixture = tael_bench_ledger_get((uint64_t)self->size, variant.account_flags);
    tael_bench_ledger_fill_index(fixture, variant.fill);
    tael_bench_workload_restart(&workload);
    /* Not timed: caches and pending transfers as later on. */
    for (int i = 0; i < (variant.mix == TAEL_BENCH_TWO_PHASE ? 4 : 1); i++) (void)slice_apply(fixture, &workload);
    uint64_t items = 0;
    uint64_t total_ns = 0;
    while (tael_bench_next(run)) {
        const uint64_t ns = slice_apply(fixture, &workload);
        tael_bench_limits_measure(&limits, fixture->accounts);
        tael_bench_time(run, ns);
        total_ns += ns;
        items += SLICE;
    }
    tael_bench_limits_report(&limits, run, total_ns, items);
}

static void run_lists(struct tael_bench *run, const struct tael_bench_case *self) {
    struct tael_bench_workload workload = {.accounts = (uint64_t)self->size};
    struct tael_bench_ledger *fixture = tael_bench_ledger_get((uint64_t)self->size, 0);
    uint64_t items = 0;
    while (tael_bench_next(run)) {
        (void)slice_apply(fixture, &workload);
        const uint64_t start = tael_bench_clock_ns();
        const uint32_t listed = tael_ledger_index_behind(fixture->ledger, UINT32_MAX);
        tael_bench_time(run, tael_bench_clock_ns() - start);
        TAEL_ASSERT(listed == SLICE);
        items += listed;
    }
    tael_bench_items(run, items);
}

/* `variant`: the operation, one of the two lookups. */
static void run_lookups(struct tael_bench *run, const struct tael_bench_case *self) {
    static _Alignas(16) uint8_t body[(TAEL_EVENTS_MAX + 1) * sizeof(tael_u128)];
    static _Alignas(16) uint8_t reply[TAEL_MESSAGE_SIZE_MAX];
    struct tael_bench_workload workload = {.accounts = (uint64_t)self->size};
    struct tael_bench_ledger *fixture = tael_bench_ledger_get((uint64_t)self->size, 0);
    struct tael_arena arena = tael_bench_map(tael_query_size_bytes());
    struct tael_query *query = tael_query_init(&arena, NULL);
    struct test_random random = {0};
    for (int i = 0; i < 16; i++) (void)slice_apply(fixture, &workload);
    const uint64_t bound = self->variant == TAEL_OPERATION_lookup_accounts ? fixture->accounts : workload.transfers;
    const uint16_t count = TAEL_EVENTS_MAX;
    uint64_t items = 0;
    while (tael_bench_next(run)) {
        for (uint32_t i = 0; i < count; i++) ((tael_u128 *)(void *)body)[i] = 1 + test_random_below(&random, bound);
        const uint32_t size = tael_multi_batch_encode(body, count * 16u, &count, 1, 16);
        const uint64_t start = tael_bench_clock_ns();
        tael_query_begin(query, fixture->ledger, (uint8_t)self->variant, body, size, reply);
        while (!tael_query_step(query, UINT32_MAX)) {
        }
        tael_bench_time(run, tael_bench_clock_ns() - start);
        TAEL_ASSERT(tael_query_reply_size(query) >= count * TAEL_RECORD_SIZE);
        items += count;
    }
    tael_bench_items(run, items);
    tael_bench_unmap(&arena);
}

#define TRANSFERS(label, accounts, kind, history, fill)                                                                \
    {                                                                                                                  \
        .name = "rules/" label, .run = run_transfers, .iterations = 8, .size = (accounts),                             \
        .variant = VARIANT(kind, history, fill)                                                                        \
    }

const struct tael_bench_case tael_bench_rule_cases[] = {
    TRANSFERS("plain/10M", 10000000, TAEL_BENCH_PLAIN, 0, 0),
    TRANSFERS("plain/1M", 1000000, TAEL_BENCH_PLAIN, 0, 0),
    TRANSFERS("two_phase/1M", 1000000, TAEL_BENCH_TWO_PHASE, 0, 0),
    TRANSFERS("chains/1M", 1000000, TAEL_BENCH_CHAINS, 0, 0),
    {.name = "rules/lists/1M", .run = run_lists, .iterations = 8, .size = 1000000},
    {.name = "rules/lookup_accounts/1M",
     .run = run_lookups,
     .iterations = 100,
     .size = 1000000,
     .variant = TAEL_OPERATION_lookup_accounts},
    {.name = "rules/lookup_transfers/1M",
     .run = run_lookups,
     .iterations = 100,
     .size = 1000000,
     .variant = TAEL_OPERATION_lookup_transfers},
    TRANSFERS("index_full/20", 1000000, TAEL_BENCH_PLAIN, 0, 20),
    TRANSFERS("index_full/40", 1000000, TAEL_BENCH_PLAIN, 0, 40),
    TRANSFERS("index_full/57", 1000000, TAEL_BENCH_PLAIN, 0, 57),
    TRANSFERS("history/1M", 1000000, TAEL_BENCH_PLAIN, 1, 0),
    TRANSFERS("plain/10k", 10000, TAEL_BENCH_PLAIN, 0, 0),
    TRANSFERS("two_phase/10k", 10000, TAEL_BENCH_TWO_PHASE, 0, 0),
    {0},
};
