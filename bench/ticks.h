/* Stretches too short for a clock, and the middle of many of them: an interrupt in one of a thousand must not count. */
#ifndef TAEL_BENCH_TICKS_H
#define TAEL_BENCH_TICKS_H

#include <stddef.h>
#include <stdint.h>
#include <x86intrin.h>

/* The time stamp counter once all that stands before it has been done, and before anything behind it is begun. */
static inline uint64_t tael_bench_ticks(void) {
    _mm_lfence();
    const uint64_t ticks = __rdtsc();
    _mm_lfence();
    return ticks;
}

/* What a tick takes, ns, by the clock on the wall. */
double tael_bench_tick_ns(void);

/* Sorts the values and returns the one in the middle; 0 where there is none. */
uint64_t tael_bench_ticks_median(uint64_t *values, size_t count);

#endif
