/* What the machine allows: the bare memory work of a transfer, to hold the engine against, in the same run.
 *
 * The kernel is a transfer without rules: two random account lines changed, an id hashed and entered into an index of 2^27
 * slots of 16 bytes, 128 bytes appended; everything known ahead and prefetched. It reads the same events as the engine, and
 * its memory is touched before anything is timed. The lines are independent changes of random cache lines over 2 GiB. */
#ifndef TAEL_BENCH_LIMIT_H
#define TAEL_BENCH_LIMIT_H

#include <stdint.h>

#include <tael/record.h>

#include "bench/harness.h"

#define TAEL_BENCH_LIMIT_ACCOUNTS_MAX 10000000u

/* Makes what the two need, once. */
void tael_bench_limit_open(void);

/* Runs the kernel over events whose accounts have the ids 1 .. TAEL_BENCH_LIMIT_ACCOUNTS_MAX. */
void tael_bench_limit_kernel(const struct tael_transfer *events, uint32_t count);

/* Between runs: empties the index once an eighth of it is in use. */
void tael_bench_limit_make_room(void);

/* Changes `count` random lines. */
void tael_bench_limit_lines(uint32_t count);

/* Both, measured beside something else. */
struct tael_bench_limits {
    uint64_t kernel_ns;
    uint64_t kernel_items;
    uint64_t lines_ns;
    uint64_t lines_items;
};

/* Runs kernel and lines for some ten milliseconds; once in every turn of a case. */
void tael_bench_limits_measure(struct tael_bench_limits *limits, uint64_t accounts);
/* Reports a case's own ns and items, and its share of the limit. */
void tael_bench_limits_report(const struct tael_bench_limits *limits, struct tael_bench *run, uint64_t ns,
                              uint64_t items);

#endif
