#include "engine/expiry_queue.h"

#include <tael/assert.h>

size_t tael_expiry_queue_size_bytes(uint64_t transfers_max) {
    return tael_arena_share_aligned(transfers_max * sizeof(struct tael_expiry));
}

void tael_expiry_queue_init(struct tael_expiry_queue *queue, struct tael_arena *arena, uint64_t transfers_max) {
    *queue = (struct tael_expiry_queue){
        .heap = tael_arena_take_reserve(arena, transfers_max * sizeof(struct tael_expiry)),
        .count_max = transfers_max,
    };
}

static bool before(const struct tael_expiry *a, const struct tael_expiry *b) {
    if (a->expires_at != b->expires_at) return a->expires_at < b->expires_at;
    return a->position < b->position;
}

void tael_expiry_queue_push(struct tael_expiry_queue *queue, struct tael_expiry expiry) {
    TAEL_ASSERT(queue->count < queue->count_max);
    uint64_t hole = queue->count++;
    while (hole > 0) {
        const uint64_t parent = (hole - 1) / 2;
        if (!before(&expiry, &queue->heap[parent])) break;
        queue->heap[hole] = queue->heap[parent];
        hole = parent;
    }
    queue->heap[hole] = expiry;
}

const struct tael_expiry *tael_expiry_queue_top(const struct tael_expiry_queue *queue) {
    return queue->count == 0 ? NULL : &queue->heap[0];
}

void tael_expiry_queue_pop(struct tael_expiry_queue *queue) {
    TAEL_ASSERT(queue->count > 0);
    const struct tael_expiry last = queue->heap[--queue->count];
    if (queue->count == 0) return;
    uint64_t hole = 0;
    for (;;) {
        uint64_t child = 2 * hole + 1;
        if (child >= queue->count) break;
        if (child + 1 < queue->count && before(&queue->heap[child + 1], &queue->heap[child])) child++;
        if (!before(&queue->heap[child], &last)) break;
        queue->heap[hole] = queue->heap[child];
        hole = child;
    }
    queue->heap[hole] = last;
}
