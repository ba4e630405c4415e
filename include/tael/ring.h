/* A ring of pointers between two roles: one producer, one consumer, bounded, without locks.
 *
 * Each side keeps the other's index cached and reads it anew only when the ring looks full (or empty), so in steady flow a
 * hand-over costs one cache-line transfer for several entries.
 *
 *   R1 producer publishes tail (release)  ->  A1 consumer reads tail (acquire): the entries below it are visible.
 *   R2 consumer publishes head (release)  ->  A2 producer reads head (acquire): the entries below it may be overwritten. */
#ifndef TAEL_RING_H
#define TAEL_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/assert.h>
#include <tael/limits.h>

struct tael_ring {
    _Alignas(TAEL_CACHE_LINE) _Atomic uint32_t tail; /* written by the producer */
    uint32_t head_cached; /* the producer's copy of head */
    _Alignas(TAEL_CACHE_LINE) _Atomic uint32_t head; /* written by the consumer */
    uint32_t tail_cached; /* the consumer's copy of tail */
    _Alignas(TAEL_CACHE_LINE) void **entries; /* both only read these two */
    uint32_t capacity; /* a power of two */
};

static inline size_t tael_ring_size_bytes(uint32_t capacity) { return tael_arena_share(capacity * sizeof(void *)); }

/* `capacity` must be a power of two. */
static inline void tael_ring_init(struct tael_ring *ring, struct tael_arena *arena, uint32_t capacity) {
    TAEL_ASSERT(capacity > 0);
    TAEL_ASSERT((capacity & (capacity - 1)) == 0);
    *ring = (struct tael_ring){.entries = tael_arena_take(arena, capacity * sizeof(void *)), .capacity = capacity};
}

/* Producer only. False when the ring is full: nothing was done. */
static inline bool tael_ring_push(struct tael_ring *ring, void *entry) {
    const uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed); /* relaxed: own index */
    if (tail - ring->head_cached == ring->capacity) {
        ring->head_cached = atomic_load_explicit(&ring->head, memory_order_acquire); /* A2 */
        if (tail - ring->head_cached == ring->capacity) return false;
    }
    ring->entries[tail & (ring->capacity - 1)] = entry;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release); /* R1 */
    return true;
}

/* Consumer only. The oldest entry without taking it; NULL when the ring is empty. */
static inline void *tael_ring_peek(struct tael_ring *ring) {
    const uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* relaxed: own index */
    if (head == ring->tail_cached) {
        ring->tail_cached = atomic_load_explicit(&ring->tail, memory_order_acquire); /* A1 */
        if (head == ring->tail_cached) return NULL;
    }
    return ring->entries[head & (ring->capacity - 1)];
}

/* Consumer only. Takes the oldest entry; NULL when the ring is empty. */
static inline void *tael_ring_pop(struct tael_ring *ring) {
    void *entry = tael_ring_peek(ring);
    if (entry == NULL) return NULL;
    const uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* relaxed: own index */
    atomic_store_explicit(&ring->head, head + 1, memory_order_release); /* R2 */
    return entry;
}

#endif
