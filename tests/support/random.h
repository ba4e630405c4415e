/* Random numbers from a seed, for tests: the same seed gives the same run on every machine. (splitmix64) */
#ifndef TAEL_TESTS_RANDOM_H
#define TAEL_TESTS_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tael/u128.h>

struct test_random {
    uint64_t state;
};

static inline uint64_t test_random_u64(struct test_random *random) {
    uint64_t z = (random->state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/* 0 .. bound - 1 */
static inline uint64_t test_random_below(struct test_random *random, uint64_t bound) {
    return test_random_u64(random) % bound;
}

/* True once in `n` on average. */
static inline bool test_random_once_in(struct test_random *random, uint64_t n) {
    return test_random_below(random, n) == 0;
}

static inline void test_random_bytes(struct test_random *random, void *data, size_t size) {
    uint8_t *bytes = data;
    for (size_t done = 0; done < size; done += 8) {
        const uint64_t value = test_random_u64(random);
        memcpy(bytes + done, &value, size - done < 8 ? size - done : 8);
    }
}

/* Both ends included. */
static inline uint64_t test_random_between(struct test_random *random, uint64_t low, uint64_t high) {
    return low + test_random_below(random, high - low + 1);
}

static inline bool test_random_percent(struct test_random *random, uint32_t percent) {
    return test_random_below(random, 100) < percent;
}

static inline tael_u128 test_random_u128(struct test_random *random) {
    const uint64_t high = test_random_u64(random);
    return tael_u128_make(high, test_random_u64(random));
}

#endif
