/* Sets of the parts of one body. In memory as on the wire (struct tael_datagram_have): part i is bit i % 8 of byte i / 8, which
 * on a little-endian machine is bit i % 64 of word i / 64. Pure. */
#ifndef TAEL_IO_PART_SET_H
#define TAEL_IO_PART_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <tael/datagram.h>

#define TAEL_PART_SET_WORDS (TAEL_PARTS_MAX / 64)

struct tael_part_set {
    uint64_t words[TAEL_PART_SET_WORDS];
};
static_assert(sizeof(struct tael_part_set) == sizeof(((struct tael_datagram_have *)0)->bits), "the same bits");

static inline bool tael_part_set_has(const struct tael_part_set *set, uint32_t part) {
    return (set->words[part / 64] >> (part % 64) & 1) != 0;
}

static inline void tael_part_set_add(struct tael_part_set *set, uint32_t part) {
    set->words[part / 64] |= (uint64_t)1 << (part % 64);
}

static inline void tael_part_set_remove(struct tael_part_set *set, uint32_t part) {
    set->words[part / 64] &= ~((uint64_t)1 << (part % 64));
}

static inline void tael_part_set_clear(struct tael_part_set *set) { memset(set, 0, sizeof *set); }

/* The first `parts` of them, and no others. */
static inline void tael_part_set_fill(struct tael_part_set *set, uint32_t parts) {
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) {
        const uint32_t begin = i * 64;
        const uint32_t count = parts <= begin ? 0 : parts - begin < 64 ? parts - begin : 64;
        set->words[i] = count == 64 ? UINT64_MAX : ((uint64_t)1 << count) - 1;
    }
}

/* Takes out what is not among the first `parts`. */
static inline void tael_part_set_limit(struct tael_part_set *set, uint32_t parts) {
    struct tael_part_set whole;
    tael_part_set_fill(&whole, parts);
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) set->words[i] &= whole.words[i];
}

static inline void tael_part_set_subtract(struct tael_part_set *set, const struct tael_part_set *other) {
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) set->words[i] &= ~other->words[i];
}

static inline void tael_part_set_unite(struct tael_part_set *set, const struct tael_part_set *other) {
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) set->words[i] |= other->words[i];
}

static inline uint32_t tael_part_set_count(const struct tael_part_set *set) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < TAEL_PART_SET_WORDS; i++) count += (uint32_t)__builtin_popcountll(set->words[i]);
    return count;
}

/* The first of `parts` that is in neither; `parts` where each is in one. */
static inline uint32_t tael_part_set_first_in_neither(const struct tael_part_set *a, const struct tael_part_set *b,
                                                      uint32_t parts) {
    for (uint32_t i = 0; i * 64 < parts; i++) {
        const uint64_t left = ~(a->words[i] | b->words[i]);
        if (left == 0) continue;
        const uint32_t part = i * 64 + (uint32_t)__builtin_ctzll(left);
        return part < parts ? part : parts;
    }
    return parts;
}

#endif
