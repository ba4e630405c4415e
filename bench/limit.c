#include "bench/limit.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <string.h>

#include <tael/assert.h>

#include "bench/memory.h"
#include "bench/workload.h"

#define INDEX_SLOTS ((uint64_t)1 << 27)
#define INDEX_FILL_MAX (INDEX_SLOTS / 8) /* then it is emptied: the machine's limit, not that of a full table */
#define BODIES ((uint64_t)1 << 22) /* half a GiB, over and over */
#define AHEAD 16

#define MEASURE_BATCHES 16 /* at a time beside something else */
#define MEASURE_LINES 131072u

struct line {
    uint64_t values[8];
};

struct slot {
    uint64_t hash; /* 0 free */
    uint64_t position;
};

static struct {
    struct tael_arena arena;
    struct line *accounts;
    struct slot *index;
    struct tael_transfer *bodies;
    uint64_t count;
    struct test_random random;
} limit;

void tael_bench_limit_lines(uint32_t count) {
    TAEL_ASSERT(limit.arena.base != NULL);
    /* Written back as they were: the index goes on being one. */
    volatile struct line *lines = (volatile struct line *)(void *)limit.index;
    const uint64_t line_count = INDEX_SLOTS * sizeof *limit.index / sizeof(struct line);
    for (uint32_t i = 0; i < count; i++) {
        volatile struct line *line = &lines[test_random_u64(&limit.random) % line_count];
        line->values[0] = line->values[0];
    }
}

void tael_bench_limit_open(void) {
    if (limit.arena.base != NULL) return;
    const size_t accounts_size = ((size_t)TAEL_BENCH_LIMIT_ACCOUNTS_MAX + 1) * sizeof *limit.accounts;
    const size_t index_size = INDEX_SLOTS * sizeof *limit.index;
    const size_t bodies_size = BODIES * sizeof *limit.bodies;
    limit.arena = tael_bench_map(tael_arena_share_aligned(accounts_size) + tael_arena_share_aligned(index_size) +
                                 tael_arena_share_aligned(bodies_size));
    limit.accounts = tael_arena_take_aligned(&limit.arena, accounts_size);
    limit.index = tael_arena_take_aligned(&limit.arena, index_size);
    limit.bodies = tael_arena_take_aligned(&limit.arena, bodies_size);
    tael_bench_populate(limit.arena.base, limit.arena.used);
    /* The first rounds over fresh memory are slow on a virtual machine, long after the pages are there. */
    for (int i = 0; i < 4; i++) tael_bench_limit_lines((uint32_t)(INDEX_SLOTS / 16));
}

static uint64_t hash_id(const struct tael_transfer *event) { return XXH3_64bits(&event->id, sizeof event->id) | 1; }

static struct slot *home(uint64_t hash) { return &limit.index[hash >> (64 - 27)]; }

static void look_ahead(const struct tael_transfer *event, uint64_t *hash) {
    *hash = hash_id(event);
    __builtin_prefetch(home(*hash), 1);
    __builtin_prefetch(&limit.accounts[(uint64_t)event->debit_account_id], 1);
    __builtin_prefetch(&limit.accounts[(uint64_t)event->credit_account_id], 1);
}

static void index_insert(uint64_t hash, uint64_t position) {
    struct slot *slot = home(hash);
    while (slot->hash != 0) {
        if (++slot == limit.index + INDEX_SLOTS) slot = limit.index;
    }
    *slot = (struct slot){.hash = hash, .position = position};
}

static void kernel_one(const struct tael_transfer *event, uint64_t hash) {
    limit.accounts[(uint64_t)event->debit_account_id].values[1] += (uint64_t)event->amount;
    limit.accounts[(uint64_t)event->credit_account_id].values[3] += (uint64_t)event->amount;
    index_insert(hash, limit.count);
    limit.bodies[limit.count++ % BODIES] = *event;
}

void tael_bench_limit_kernel(const struct tael_transfer *events, uint32_t count) {
    TAEL_ASSERT(limit.arena.base != NULL);
    uint64_t hashes[AHEAD];
    for (uint32_t i = 0; i < AHEAD && i < count; i++) look_ahead(&events[i], &hashes[i]);
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t hash = hashes[i % AHEAD];
        if (i + AHEAD < count) look_ahead(&events[i + AHEAD], &hashes[i % AHEAD]);
        kernel_one(&events[i], hash);
    }
}

void tael_bench_limit_make_room(void) {
    if (limit.count < INDEX_FILL_MAX) return;
    memset(limit.index, 0, INDEX_SLOTS * sizeof *limit.index);
    limit.count = 0;
}

void tael_bench_limits_measure(struct tael_bench_limits *limits, uint64_t accounts) {
    static struct tael_transfer events[TAEL_EVENTS_MAX];
    static struct tael_bench_workload workload;
    workload.accounts = accounts;
    tael_bench_limit_make_room();
    for (uint32_t i = 0; i < MEASURE_BATCHES; i++) {
        tael_bench_workload_fill(&workload, events, TAEL_EVENTS_MAX);
        const uint64_t start = tael_bench_clock_ns();
        tael_bench_limit_kernel(events, TAEL_EVENTS_MAX);
        limits->kernel_ns += tael_bench_clock_ns() - start;
    }
    limits->kernel_items += MEASURE_BATCHES * TAEL_EVENTS_MAX;
    const uint64_t start = tael_bench_clock_ns();
    tael_bench_limit_lines(MEASURE_LINES);
    limits->lines_ns += tael_bench_clock_ns() - start;
    limits->lines_items += MEASURE_LINES;
}

void tael_bench_limits_report(const struct tael_bench_limits *limits, struct tael_bench *run, uint64_t ns,
                              uint64_t items) {
    const double own = (double)ns / (double)items;
    const double kernel = (double)limits->kernel_ns / (double)limits->kernel_items;
    tael_bench_items(run, items);
    tael_bench_counter(run, "ns", own);
    tael_bench_counter(run, "kernel_ns", kernel);
    tael_bench_counter(run, "lines_ns", (double)limits->lines_ns / (double)limits->lines_items);
    tael_bench_counter(run, "share", kernel / own);
}
