#include "engine/id_index.h"

/* More room in each partition than its share, by this many slots or all there are: hashes fall unevenly. A table of so few
 * entries, all of which may fall into one partition, still holds them; in a larger one six standard deviations are far less. */
#define PARTITION_SLACK 65536u

/* Full to 60 %: above, probes of a second bucket become common (measured: docs/architecture.md). */
static uint64_t partition_buckets_for(uint64_t count_max, uint32_t partition_count) {
    uint64_t count = count_max / partition_count + 1;
    if (partition_count > 1) count += count_max < PARTITION_SLACK ? count_max : PARTITION_SLACK;
    return count * 10 / (6 * TAEL_INDEX_SLOTS_PER_BUCKET) + 4;
}

size_t tael_id_index_size_bytes(uint64_t count_max, uint32_t partition_count) {
    return tael_arena_share_aligned(partition_count * partition_buckets_for(count_max, partition_count) *
                                    TAEL_CACHE_LINE);
}

void tael_id_index_init(struct tael_id_index *index, struct tael_arena *arena, uint64_t count_max,
                        uint32_t partition_count) {
    TAEL_ASSERT(count_max > 0);
    TAEL_ASSERT(partition_count > 0);
    const uint64_t partition_buckets = partition_buckets_for(count_max, partition_count);
    const uint64_t bucket_count = partition_count * partition_buckets;
    *index = (struct tael_id_index){
        .buckets = tael_arena_take_aligned(arena, bucket_count * TAEL_CACHE_LINE),
        .bucket_count = bucket_count,
        .partition_buckets = partition_buckets,
        .partition_count = partition_count,
        .count_max = count_max,
    };
}

void tael_id_index_withdraw_youngest(struct tael_id_index *index, uint64_t hash, uint64_t value) {
    struct tael_index_probe probe = tael_index_probe_begin(index, hash);
    const uint64_t slot_value = probe.fingerprint << TAEL_INDEX_VALUE_BITS | (value + 1);
    for (uint64_t looked = 0; looked < index->partition_buckets; looked++) {
        uint64_t *bucket = index->buckets[probe.bucket];
        for (uint32_t slot = 0; slot < TAEL_INDEX_SLOTS_PER_BUCKET; slot++) {
            if (bucket[slot] != slot_value) continue;
            /* The youngest entry of all is the youngest of its bucket. */
            TAEL_ASSERT(slot + 1 == TAEL_INDEX_SLOTS_PER_BUCKET || bucket[slot + 1] == 0);
            bucket[slot] = 0;
            return;
        }
        probe.bucket = tael_id_index_next(index, probe.bucket);
    }
    TAEL_UNREACHABLE("the entry to take back is not in the index");
}

void tael_id_index_remove_youngest(struct tael_id_index *index, uint64_t hash, uint64_t value) {
    TAEL_ASSERT(index->count > 0);
    tael_id_index_withdraw_youngest(index, hash, value);
    index->count--;
}
