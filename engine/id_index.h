/* An index of ids, 13.3 bytes each at the most: from an id's hash to a number. One for accounts, one for transfers and burnt ids.
 *
 * 1. A slot is 8 bytes: a fingerprint of 24 bits and a value of 40 bits; 0 is free. Eight slots are a bucket, one cache line.
 * 2. A probe begins at its home bucket and ends at the first bucket with a free slot. The index is at most 60 % full, and the
 *    caller confirms every match on the whole 128-bit id.
 * 3. Only the youngest entries are taken back (a chain's rollback), in reverse order: so every probe stays right.
 * 4. It is cut into partitions, one a worker: a hash has its partition, and a probe never leaves it. So workers may enter ids
 *    at the same time, each those of its own partition.
 * Owned by one worker a partition; pure. */
#ifndef TAEL_ENGINE_ID_INDEX_H
#define TAEL_ENGINE_ID_INDEX_H

#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/assert.h>

#include "engine/hash.h"

#define TAEL_INDEX_SLOTS_PER_BUCKET 8
#define TAEL_INDEX_VALUE_BITS 40
#define TAEL_INDEX_VALUE_MAX ((1ull << TAEL_INDEX_VALUE_BITS) - 2)

struct tael_id_index {
    uint64_t (*buckets)[TAEL_INDEX_SLOTS_PER_BUCKET];
    uint64_t bucket_count;
    uint64_t partition_buckets; /* buckets of one partition */
    uint32_t partition_count;
    uint64_t count;
    uint64_t count_max;
};
static_assert(sizeof(uint64_t[TAEL_INDEX_SLOTS_PER_BUCKET]) == TAEL_CACHE_LINE, "one miss a probe");

/* A probe under way. When it has ended, it knows where its id would be entered. */
struct tael_index_probe {
    uint64_t bucket;
    uint64_t fingerprint;
    uint32_t matches; /* slots of `bucket` that are yet to be looked at, as bits */
};

size_t tael_id_index_size_bytes(uint64_t count_max, uint32_t partition_count);
void tael_id_index_init(struct tael_id_index *index, struct tael_arena *arena, uint64_t count_max,
                        uint32_t partition_count);

/* Takes the youngest entry, which has this hash and this value, back. */
void tael_id_index_remove_youngest(struct tael_id_index *index, uint64_t hash, uint64_t value);
/* The same without counting: for a partition's worker, while others work on theirs. */
void tael_id_index_withdraw_youngest(struct tael_id_index *index, uint64_t hash, uint64_t value);

/* Slots of a bucket whose upper 24 bits are `fingerprint`, as bits. */
static inline uint32_t tael_index_bucket_matches(const uint64_t *bucket, uint64_t fingerprint) {
    const __m256i wanted = _mm256_set1_epi64x((long long)fingerprint);
    const __m256i low =
        _mm256_srli_epi64(_mm256_load_si256((const __m256i *)(const void *)bucket), TAEL_INDEX_VALUE_BITS);
    const __m256i high =
        _mm256_srli_epi64(_mm256_load_si256((const __m256i *)(const void *)(bucket + 4)), TAEL_INDEX_VALUE_BITS);
    const int low_bits = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(low, wanted)));
    const int high_bits = _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(high, wanted)));
    return (uint32_t)(low_bits | high_bits << 4);
}

/* Free slots of a bucket, as bits. */
static inline uint32_t tael_index_bucket_free(const uint64_t *bucket) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i low = _mm256_cmpeq_epi64(_mm256_load_si256((const __m256i *)(const void *)bucket), zero);
    const __m256i high = _mm256_cmpeq_epi64(_mm256_load_si256((const __m256i *)(const void *)(bucket + 4)), zero);
    return (uint32_t)(_mm256_movemask_pd(_mm256_castsi256_pd(low)) | _mm256_movemask_pd(_mm256_castsi256_pd(high))
                                                                         << 4);
}

static inline uint64_t tael_id_index_home(const struct tael_id_index *index, uint64_t hash) {
    return tael_hash_place(hash, index->bucket_count);
}

/* The partition that a hash belongs to. */
static inline uint32_t tael_id_index_partition(const struct tael_id_index *index, uint64_t hash) {
    return (uint32_t)tael_hash_place(hash, index->partition_count);
}

/* The bucket that is looked at after a full one. */
static inline uint64_t tael_id_index_next(const struct tael_id_index *index, uint64_t bucket) {
    bucket++;
    return TAEL_UNLIKELY(bucket % index->partition_buckets == 0) ? bucket - index->partition_buckets : bucket;
}

/* Fetches the bucket where a probe of this hash begins. */
static inline void tael_id_index_fetch(const struct tael_id_index *index, uint64_t hash) {
    __builtin_prefetch(index->buckets[tael_id_index_home(index, hash)], 1);
}

static inline struct tael_index_probe tael_index_probe_begin(const struct tael_id_index *index, uint64_t hash) {
    const uint64_t bucket = tael_id_index_home(index, hash);
    const uint64_t fingerprint = hash & ((1u << 24) - 1);
    return (struct tael_index_probe){
        .bucket = bucket,
        .fingerprint = fingerprint,
        .matches = tael_index_bucket_matches(index->buckets[bucket], fingerprint),
    };
}

/* The next value whose fingerprint matches. False when there is none: the probe then stands at the bucket to enter it. */
static inline bool tael_index_probe_next(const struct tael_id_index *index, struct tael_index_probe *probe,
                                         uint64_t *value) {
    for (;;) {
        const uint64_t *bucket = index->buckets[probe->bucket];
        while (probe->matches != 0) {
            const int slot = __builtin_ctz(probe->matches);
            probe->matches &= probe->matches - 1;
            const uint64_t stored = bucket[slot] & ((1ull << TAEL_INDEX_VALUE_BITS) - 1);
            if (stored == 0) continue; /* free, and the fingerprint is 0 */
            *value = stored - 1;
            return true;
        }
        /* Slots fill from the first on, so the last one tells whether the bucket is full. */
        if (TAEL_LIKELY(bucket[TAEL_INDEX_SLOTS_PER_BUCKET - 1] == 0)) return false;
        probe->bucket = tael_id_index_next(index, probe->bucket);
        probe->matches = tael_index_bucket_matches(index->buckets[probe->bucket], probe->fingerprint);
    }
}

/* Enters a value as tael_id_index_insert does, without counting: for a partition's worker, while others work on theirs. Returns the
 * slot, which is the entry's until an older one is taken back. */
static inline uint64_t *tael_id_index_enter(struct tael_id_index *index, const struct tael_index_probe *probe,
                                            uint64_t value) {
    TAEL_ASSERT(value <= TAEL_INDEX_VALUE_MAX);
    uint64_t *bucket = index->buckets[probe->bucket];
    const uint32_t free_slots = tael_index_bucket_free(bucket);
    TAEL_ASSERT(free_slots != 0);
    const int slot = __builtin_ctz(free_slots);
    bucket[slot] = probe->fingerprint << TAEL_INDEX_VALUE_BITS | (value + 1);
    return &bucket[slot];
}

/* Gives an entry another value. */
static inline void tael_id_index_revalue(uint64_t *slot, uint64_t value) {
    TAEL_ASSERT(value <= TAEL_INDEX_VALUE_MAX);
    *slot = (*slot >> TAEL_INDEX_VALUE_BITS) << TAEL_INDEX_VALUE_BITS | (value + 1);
}

/* Enters a value where a probe of its hash has ended; nothing may have been entered or taken back in between. */
static inline void tael_id_index_insert(struct tael_id_index *index, const struct tael_index_probe *probe,
                                        uint64_t value) {
    TAEL_ASSERT(index->count < index->count_max);
    (void)tael_id_index_enter(index, probe, value);
    index->count++;
}

#endif
