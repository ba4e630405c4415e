/* See histogram.h. A value below 2^7 has a bucket of its own; above, the seven bits behind the leading one choose among
 * 128 buckets of that power of two. So bucket numbers rise with the values. */
#include "bench/load/histogram.h"

#include <tael/assert.h>

#define BITS TAEL_HISTOGRAM_PRECISION_BITS
#define PER_POWER (1u << BITS)

static uint32_t bucket_of(uint64_t value) {
    if (value < PER_POWER) return (uint32_t)value;
    const uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - BITS;
    return ((shift + 1) << BITS) + (uint32_t)(value >> shift) - PER_POWER;
}

/* The largest value that the bucket counts. */
static uint64_t bucket_top(uint32_t bucket) {
    if (bucket < PER_POWER) return bucket;
    const uint32_t shift = (bucket >> BITS) - 1;
    const uint64_t leading = PER_POWER + (bucket & (PER_POWER - 1));
    return (leading << shift) + (((uint64_t)1 << shift) - 1);
}

void tael_histogram_record(struct tael_histogram *histogram, uint64_t value) {
    histogram->count++;
    histogram->sum += value;
    if (value > histogram->maximum) histogram->maximum = value;
    histogram->buckets[bucket_of(value)]++;
}

void tael_histogram_merge(struct tael_histogram *into, const struct tael_histogram *from) {
    into->count += from->count;
    into->sum += from->sum;
    if (from->maximum > into->maximum) into->maximum = from->maximum;
    for (uint32_t i = 0; i < TAEL_HISTOGRAM_BUCKETS; i++) into->buckets[i] += from->buckets[i];
}

uint64_t tael_histogram_percentile(const struct tael_histogram *histogram, uint32_t per_100000) {
    TAEL_ASSERT(per_100000 <= 100000);
    if (histogram->count == 0) return 0;
    uint64_t rank = (uint64_t)(((tael_u128)histogram->count * per_100000 + 99999) / 100000);
    if (rank == 0) rank = 1;
    uint64_t seen = 0;
    uint32_t bucket = 0;
    while (seen + histogram->buckets[bucket] < rank) seen += histogram->buckets[bucket++];
    const uint64_t top = bucket_top(bucket);
    return top < histogram->maximum ? top : histogram->maximum;
}

double tael_histogram_mean(const struct tael_histogram *histogram) {
    return histogram->count == 0 ? 0 : (double)histogram->sum / (double)histogram->count;
}
