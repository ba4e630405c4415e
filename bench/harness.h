/* Benchmarks in C, run by Google Benchmark: what a benchmark sees of its run.
 *
 * A case is a function that loops `while (tael_bench_next(run))` over what it measures. With `iterations` 0 Google Benchmark
 * decides how often and times the whole loop; otherwise the loop runs that often and the case tells the time of each turn
 * itself (tael_bench_time), so that preparing the next one, or measuring the limit beside it, does not count.
 * One thread, one case at a time. */
#ifndef TAEL_BENCH_HARNESS_H
#define TAEL_BENCH_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tael_bench; /* one run under way */

struct tael_bench_case {
    const char *name; /* NULL ends a list */
    void (*run)(struct tael_bench *run, const struct tael_bench_case *self);
    uint32_t iterations;
    int64_t size; /* what the case makes of it: accounts, bytes, … */
    int64_t variant;
};

/* True as long as there is another turn to run. */
bool tael_bench_next(struct tael_bench *run);
/* What the last turn took, ns; in cases with fixed iterations once in every turn. */
void tael_bench_time(struct tael_bench *run, uint64_t ns);
/* Over all turns: things done, and bytes handled. */
void tael_bench_items(struct tael_bench *run, uint64_t items);
void tael_bench_bytes(struct tael_bench *run, uint64_t bytes);
/* A figure to print beside the time. */
void tael_bench_counter(struct tael_bench *run, const char *name, double value);

/* Processor time of this thread, ns: what else runs on the machine then costs cache lines, not time. */
static inline uint64_t tael_bench_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Time of the clock on the wall, ns, for what several threads do: leave the machine alone. */
static inline uint64_t tael_bench_wall_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Keeps the compiler from leaving out what nobody reads. */
static inline void tael_bench_keep(uint64_t value) { __asm__ volatile("" : : "r"(value) : "memory"); }

/* All there is, in the order in which it runs. */
extern const struct tael_bench_case tael_bench_limit_cases[];
extern const struct tael_bench_case tael_bench_checksum_cases[];
extern const struct tael_bench_case tael_bench_datagram_cases[];
extern const struct tael_bench_case tael_bench_log_cases[];
extern const struct tael_bench_case tael_bench_table_cases[];
extern const struct tael_bench_case tael_bench_rule_cases[];
extern const struct tael_bench_case tael_bench_engine_cases[];
extern const struct tael_bench_case tael_bench_parallel_cases[];
extern const struct tael_bench_case tael_bench_residue_cases[];
extern const struct tael_bench_case tael_bench_lookup_cases[];
extern const struct tael_bench_case tael_bench_step_cases[];
extern const struct tael_bench_case tael_bench_relay_cases[];
extern const struct tael_bench_case tael_bench_handover_cases[];
extern const struct tael_bench_case tael_bench_replay_cases[];

#ifdef __cplusplus
}
#endif

#endif
