/* Buffers 0 .. small_count-1 are the small ones, the large ones follow. Invariants:
 *  1. A buffer is free (count 0, in its free chain), in the kernel's ring (count 0), or held (count above 0).
 *  2. The kernel's ring never holds more than it has entries, so adding to it never overwrites one.
 *  3. Free chains are last in, first out, so that memory that is warm, or touched at all, is used first. */
#include "io/receive_pool.h"

#include <tael/assert.h>
#include <tael/limits.h>

/* What the kernel holds at most: enough for what arrives between two turns; it walks through all of them, so more would only
 * widen the memory that a busy server touches. And at most half of them, since what it holds cannot be asked back. */
enum { RING_ENTRIES_MAX = 512 };

struct slot {
    uint32_t count;
    uint32_t next; /* in the free chain */
};

struct tael_receive_pool {
    struct slot *slots;
    uint8_t *small;
    uint8_t *large;
    uint32_t small_size;
    uint32_t small_count;
    uint32_t small_first; /* free chains */
    uint32_t large_first;
    uint32_t in_kernel;
    uint32_t ring_entries;
    struct io_uring_buf_ring *ring;
};

static uint32_t ring_entries(const struct tael_receive_pool_options *options) {
    uint32_t entries = 1;
    while (entries * 4 <= options->small_count && entries < RING_ENTRIES_MAX) entries *= 2;
    return entries;
}

size_t tael_receive_pool_size_bytes(const struct tael_receive_pool_options *options) {
    const size_t slots = (size_t)options->small_count + options->large_count;
    return tael_arena_share(sizeof(struct tael_receive_pool)) + tael_arena_share(slots * sizeof(struct slot)) +
           tael_arena_share_aligned((size_t)ring_entries(options) * sizeof(struct io_uring_buf)) +
           tael_arena_share_aligned((size_t)options->small_count * options->small_size) +
           tael_arena_share_aligned((size_t)options->large_count * TAEL_MESSAGE_SIZE_MAX);
}

static int ring_register(struct tael_receive_pool *pool, struct io_uring *ring, uint16_t group) {
    struct io_uring_buf_reg registration = {
        .ring_addr = (uint64_t)(uintptr_t)pool->ring, .ring_entries = pool->ring_entries, .bgid = group};
    io_uring_buf_ring_init(pool->ring);
    return io_uring_register_buf_ring(ring, &registration, 0);
}

static void give_back(struct tael_receive_pool *pool, uint32_t buffer) {
    uint32_t *first = buffer < pool->small_count ? &pool->small_first : &pool->large_first;
    pool->slots[buffer].next = *first;
    *first = buffer;
}

int tael_receive_pool_init(struct tael_receive_pool **out, struct tael_arena *arena,
                           const struct tael_receive_pool_options *options, struct io_uring *ring) {
    TAEL_ASSERT(options->small_count > 1);
    TAEL_ASSERT(options->small_count <= TAEL_RECEIVE_SMALL_COUNT_MAX);
    TAEL_ASSERT(options->small_size >= TAEL_FRAME_HEADER_SIZE && options->small_size % TAEL_CACHE_LINE == 0);
    TAEL_ASSERT(options->large_count > 0);
    struct tael_receive_pool *pool = tael_arena_take(arena, sizeof *pool);
    const uint32_t count = options->small_count + options->large_count;
    pool->slots = tael_arena_take(arena, count * sizeof(struct slot));
    pool->small_count = options->small_count;
    pool->small_size = options->small_size;
    pool->ring_entries = ring_entries(options);
    pool->ring = tael_arena_take_aligned(arena, pool->ring_entries * sizeof(struct io_uring_buf));
    pool->small = tael_arena_take_aligned(arena, (size_t)options->small_count * options->small_size);
    pool->large = tael_arena_take_aligned(arena, (size_t)options->large_count * TAEL_MESSAGE_SIZE_MAX);
    pool->small_first = TAEL_RECEIVE_NONE;
    pool->large_first = TAEL_RECEIVE_NONE;
    const int error = ring_register(pool, ring, options->group);
    if (error != 0) return error;
    for (uint32_t i = count; i > 0; i--) give_back(pool, i - 1);
    tael_receive_pool_refill(pool);
    *out = pool;
    return 0;
}

uint8_t *tael_receive_pool_data(const struct tael_receive_pool *pool, uint32_t buffer) {
    if (buffer < pool->small_count) return pool->small + (size_t)buffer * pool->small_size;
    return pool->large + (size_t)(buffer - pool->small_count) * TAEL_MESSAGE_SIZE_MAX;
}

uint32_t tael_receive_pool_buffer_size(const struct tael_receive_pool *pool, uint32_t buffer) {
    return buffer < pool->small_count ? pool->small_size : TAEL_MESSAGE_SIZE_MAX;
}

void tael_receive_pool_arrived(struct tael_receive_pool *pool, uint32_t buffer) {
    TAEL_ASSERT(buffer < pool->small_count);
    TAEL_ASSERT(pool->slots[buffer].count == 0);
    TAEL_ASSERT(pool->in_kernel > 0);
    pool->in_kernel--;
    pool->slots[buffer].count = 1;
}

static uint32_t take(struct tael_receive_pool *pool, uint32_t *first) {
    const uint32_t buffer = *first;
    if (buffer == TAEL_RECEIVE_NONE) return buffer;
    TAEL_ASSERT(pool->slots[buffer].count == 0);
    *first = pool->slots[buffer].next;
    pool->slots[buffer].count = 1;
    return buffer;
}

uint32_t tael_receive_pool_take_small(struct tael_receive_pool *pool) { return take(pool, &pool->small_first); }

uint32_t tael_receive_pool_take_large(struct tael_receive_pool *pool) { return take(pool, &pool->large_first); }

void tael_receive_pool_hold(struct tael_receive_pool *pool, uint32_t buffer) {
    TAEL_ASSERT(pool->slots[buffer].count > 0);
    pool->slots[buffer].count++;
}

void tael_receive_pool_drop(struct tael_receive_pool *pool, uint32_t buffer) {
    TAEL_ASSERT(pool->slots[buffer].count > 0);
    pool->slots[buffer].count--;
    if (pool->slots[buffer].count == 0) give_back(pool, buffer);
}

bool tael_receive_pool_held_once(const struct tael_receive_pool *pool, uint32_t buffer) {
    return pool->slots[buffer].count == 1;
}

void tael_receive_pool_refill(struct tael_receive_pool *pool) {
    int added = 0;
    while (pool->in_kernel < pool->ring_entries) {
        const uint32_t buffer = tael_receive_pool_take_small(pool);
        if (buffer == TAEL_RECEIVE_NONE) break;
        pool->slots[buffer].count = 0;
        io_uring_buf_ring_add(pool->ring, tael_receive_pool_data(pool, buffer), pool->small_size,
                              (unsigned short)buffer, io_uring_buf_ring_mask(pool->ring_entries), added);
        pool->in_kernel++;
        added++;
    }
    if (added > 0) io_uring_buf_ring_advance(pool->ring, added);
}

uint32_t tael_receive_pool_in_kernel(const struct tael_receive_pool *pool) { return pool->in_kernel; }
