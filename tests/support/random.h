/* Random numbers from a seed, the same everywhere (splitmix64). */
#ifndef TAEL_TESTS_RANDOM_H
#define TAEL_TESTS_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/u128.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_u64(struct random *random) {
    uint64_t mixed = (random->state += 0x9E3779B97F4A7C15ull);
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ull;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBull;
    return mixed ^ (mixed >> 31);
}

/* Below `bound`, which is not zero. */
static inline uint64_t random_below(struct random *random, uint64_t bound) { return random_u64(random) % bound; }

/* Both ends included. */
static inline uint64_t random_between(struct random *random, uint64_t low, uint64_t high) {
    return low + random_below(random, high - low + 1);
}

static inline bool random_percent(struct random *random, uint32_t percent) {
    return random_below(random, 100) < percent;
}

static inline tael_u128 random_u128(struct random *random) {
    const uint64_t high = random_u64(random);
    return tael_u128_make(high, random_u64(random));
}

#endif
