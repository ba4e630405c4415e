/* How often which latency was seen: counts by value, in buckets that are 1/128 of their value wide or narrower.
 *
 * Any 64-bit value is counted, none is lost, and recording is a few instructions and one cache line. Pure, allocates
 * nothing. One thread records; reading and merging come when it has stopped. */
#ifndef TAEL_BENCH_HISTOGRAM_H
#define TAEL_BENCH_HISTOGRAM_H

#include <stdint.h>

#include <tael/u128.h>

#define TAEL_HISTOGRAM_PRECISION_BITS 7
#define TAEL_HISTOGRAM_BUCKETS ((65u - TAEL_HISTOGRAM_PRECISION_BITS) << TAEL_HISTOGRAM_PRECISION_BITS)

/* Zeroed is empty. */
struct tael_histogram {
    uint64_t count;
    uint64_t maximum; /* exact */
    tael_u128 sum;
    uint64_t buckets[TAEL_HISTOGRAM_BUCKETS];
};

void tael_histogram_record(struct tael_histogram *histogram, uint64_t value);
void tael_histogram_merge(struct tael_histogram *into, const struct tael_histogram *from);

/* The value that `per_100000` of 100,000 recorded ones don't exceed: 50000 is the median, 99900 is p99.9. It is at
 * most 1/128 too high, never too low, and never above the maximum. 0 when nothing was recorded. */
uint64_t tael_histogram_percentile(const struct tael_histogram *histogram, uint32_t per_100000);

double tael_histogram_mean(const struct tael_histogram *histogram);

#endif
