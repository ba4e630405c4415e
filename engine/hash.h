/* The keyed hash of a 128-bit id: places it in a table, and gives the fingerprint that stands for it there.
 *
 * Ids are chosen by clients, so the key is random, made at format, and never leaves the process: without it nobody can
 * choose ids that collide. XXH3's seeded hash of 16 bytes takes some 3 ns. Pure. */
#ifndef TAEL_ENGINE_HASH_H
#define TAEL_ENGINE_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <tael/u128.h>

struct tael_hash {
    tael_u128 key;
    uint64_t mask; /* all ones; tests clear low bits, so that different ids collide whole */
};

/* `bits` keeps that many of the hash's upper bits; 0 keeps all. */
static inline struct tael_hash tael_hash_make(tael_u128 key, uint32_t bits) {
    return (struct tael_hash){.key = key, .mask = bits == 0 || bits >= 64 ? UINT64_MAX : ~(UINT64_MAX >> bits)};
}

static inline uint64_t tael_hash_id(const struct tael_hash *hash, tael_u128 id) {
    const tael_u128 keyed = id ^ hash->key;
    return XXH3_64bits_withSeed(&keyed, sizeof keyed, tael_u128_low(hash->key)) & hash->mask;
}

static inline tael_u128 tael_hash_u128(XXH128_hash_t hash) { return tael_u128_make(hash.high64, hash.low64); }

/* Where a hash falls among `count` places: its upper bits decide, so a range of hashes is a range of places. */
static inline uint64_t tael_hash_place(uint64_t hash, uint64_t count) {
    return tael_u128_high((tael_u128)hash * count);
}

#endif
