#include "bench/ticks.h"

#include <stdlib.h>

#include "bench/harness.h"

#define CALIBRATION_NS 20000000u

double tael_bench_tick_ns(void) {
    static double tick_ns;
    if (tick_ns > 0) return tick_ns;
    const uint64_t start_ns = tael_bench_wall_ns();
    const uint64_t start = tael_bench_ticks();
    uint64_t ns;
    do {
        ns = tael_bench_wall_ns() - start_ns;
    } while (ns < CALIBRATION_NS);
    tick_ns = (double)ns / (double)(tael_bench_ticks() - start);
    return tick_ns;
}

static int by_value(const void *a, const void *b) {
    const uint64_t one = *(const uint64_t *)a;
    const uint64_t other = *(const uint64_t *)b;
    return (one > other) - (one < other);
}

uint64_t tael_bench_ticks_median(uint64_t *values, size_t count) {
    if (count == 0) return 0;
    qsort(values, count, sizeof *values, by_value);
    return values[count / 2];
}
