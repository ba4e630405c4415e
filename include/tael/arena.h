/* All memory of the long-lived parts: taken once at start, in order, and never given back.
 *
 * Use: add up the parts' `_size_bytes`, hand in a region of that size, let each part take its share in `_init`, then freeze.
 * Taking from a frozen arena, or more than it has, is our own mistake and asserts. The region must be zero-filled (fresh
 * pages are); where it comes from, huge pages and NUMA are the caller's concern. */
#ifndef TAEL_ARENA_H
#define TAEL_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/assert.h>
#include <tael/limits.h>

#define TAEL_ARENA_RESERVES_MAX 8

/* A stretch of an arena that is set aside for cases that hardly occur. */
struct tael_arena_reserve {
    size_t offset;
    size_t size;
};

struct tael_arena {
    uint8_t *base; /* aligned to a sector at least */
    size_t size;
    size_t used;
    struct tael_arena_reserve reserves[TAEL_ARENA_RESERVES_MAX]; /* in order of offset */
    uint32_t reserve_count;
    bool frozen;
};

/* The share of an allocation: rounded up, so that every part begins on a cache line of its own. */
static inline size_t tael_arena_share(size_t size) {
    return (size + (TAEL_CACHE_LINE - 1)) & ~(size_t)(TAEL_CACHE_LINE - 1);
}

/* The share of an allocation that begins on a sector: buffers for O_DIRECT, and large tables. */
static inline size_t tael_arena_share_aligned(size_t size) { return tael_arena_share(size) + TAEL_SECTOR_SIZE; }

/* `size` zeroed bytes on a cache line of their own. */
static inline void *tael_arena_take(struct tael_arena *arena, size_t size) {
    TAEL_ASSERT(!arena->frozen);
    TAEL_ASSERT(tael_arena_share(size) <= arena->size - arena->used);
    void *taken = arena->base + arena->used;
    arena->used += tael_arena_share(size);
    return taken;
}

/* `size` zeroed bytes that begin on a sector. Budget for it with tael_arena_share_aligned. */
static inline void *tael_arena_take_aligned(struct tael_arena *arena, size_t size) {
    const size_t misaligned = (uintptr_t)(arena->base + arena->used) % TAEL_SECTOR_SIZE;
    if (misaligned != 0) (void)tael_arena_take(arena, TAEL_SECTOR_SIZE - misaligned);
    return tael_arena_take(arena, size);
}

/* The same for address space that should stay untouched until it is needed, so that nobody touches it ahead. */
static inline void *tael_arena_take_reserve(struct tael_arena *arena, size_t size) {
    TAEL_ASSERT(arena->reserve_count < TAEL_ARENA_RESERVES_MAX);
    uint8_t *taken = (uint8_t *)tael_arena_take_aligned(arena, size);
    arena->reserves[arena->reserve_count++] =
        (struct tael_arena_reserve){.offset = (size_t)(taken - arena->base), .size = size};
    return taken;
}

static inline void tael_arena_freeze(struct tael_arena *arena) { arena->frozen = true; }

#endif
