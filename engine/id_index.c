#include "engine/id_index.h"

/* Full to 60 %: above, probes of a second bucket become common (measured: docs/architecture.md). */
static uint64_t buckets_for(uint64_t count_max) { return count_max * 10 / (6 * TAEL_INDEX_SLOTS_PER_BUCKET) + 4; }

size_t tael_id_index_size_bytes(uint64_t count_max) {
    return tael_arena_share_aligned(buckets_for(count_max) * TAEL_CACHE_LINE);
}

void tael_id_index_init(struct tael_id_index *index, struct tael_arena *arena, uint64_t count_max) {
    TAEL_ASSERT(count_max > 0);
    const uint64_t bucket_count = buckets_for(count_max);
    *index = (struct tael_id_index){
        .buckets = tael_arena_take_aligned(arena, bucket_count * TAEL_CACHE_LINE),
        .bucket_count = bucket_count,
        .count_max = count_max,
    };
}

void tael_id_index_remove_youngest(struct tael_id_index *index, uint64_t hash, uint64_t value) {
    TAEL_ASSERT(index->count > 0);
    struct tael_index_probe probe = tael_index_probe_begin(index, hash);
    const uint64_t slot_value = probe.fingerprint << TAEL_INDEX_VALUE_BITS | (value + 1);
    for (uint64_t looked = 0; looked < index->bucket_count; looked++) {
        uint64_t *bucket = index->buckets[probe.bucket];
        for (uint32_t slot = 0; slot < TAEL_INDEX_SLOTS_PER_BUCKET; slot++) {
            if (bucket[slot] != slot_value) continue;
            /* The youngest entry of all is the youngest of its bucket. */
            TAEL_ASSERT(slot + 1 == TAEL_INDEX_SLOTS_PER_BUCKET || bucket[slot + 1] == 0);
            bucket[slot] = 0;
            index->count--;
            return;
        }
        if (++probe.bucket == index->bucket_count) probe.bucket = 0;
    }
    TAEL_UNREACHABLE("the entry to take back is not in the index");
}
