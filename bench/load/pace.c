/* See pace.h. */
#include "bench/load/pace.h"

#include <tael/assert.h>
#include <tael/limits.h>
#include <tael/u128.h>

uint64_t tael_pace_intended_ns(const struct tael_pace *pace, uint64_t number) {
    TAEL_ASSERT(pace->rate > 0);
    const tael_u128 transfers = (tael_u128)number * pace->batch;
    return pace->begin_ns + (uint64_t)(transfers * TAEL_NS_PER_S / pace->rate);
}
