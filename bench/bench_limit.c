/* The limit by itself, for 10 thousand, 1 and 10 million accounts. */
#include "bench/harness.h"
#include "bench/limit.h"
#include "bench/workload.h"

#define SLICE (16u * TAEL_EVENTS_MAX)

static void run_kernel(struct tael_bench *run, const struct tael_bench_case *self) {
    static struct tael_transfer events[TAEL_EVENTS_MAX];
    struct tael_bench_workload workload = {.accounts = (uint64_t)self->size};
    tael_bench_limit_open();
    uint64_t items = 0;
    while (tael_bench_next(run)) {
        uint64_t ns = 0;
        tael_bench_limit_make_room();
        for (uint32_t done = 0; done < SLICE; done += TAEL_EVENTS_MAX) {
            tael_bench_workload_fill(&workload, events, TAEL_EVENTS_MAX);
            const uint64_t start = tael_bench_clock_ns();
            tael_bench_limit_kernel(events, TAEL_EVENTS_MAX);
            ns += tael_bench_clock_ns() - start;
        }
        tael_bench_time(run, ns);
        items += SLICE;
    }
    tael_bench_items(run, items);
}

static void run_lines(struct tael_bench *run, const struct tael_bench_case *self) {
    (void)self;
    tael_bench_limit_open();
    uint64_t items = 0;
    while (tael_bench_next(run)) {
        tael_bench_limit_lines(1024);
        items += 1024;
    }
    tael_bench_items(run, items);
}

const struct tael_bench_case tael_bench_limit_cases[] = {
    {.name = "limit/lines", .run = run_lines},
    {.name = "limit/kernel/10k", .run = run_kernel, .iterations = 16, .size = 10000},
    {.name = "limit/kernel/1M", .run = run_kernel, .iterations = 16, .size = 1000000},
    {.name = "limit/kernel/10M", .run = run_kernel, .iterations = 16, .size = 10000000},
    {0},
};
