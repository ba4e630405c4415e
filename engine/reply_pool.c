#include "engine/reply_pool.h"

#include <string.h>

#include <tael/assert.h>

static const uint32_t buffer_sizes[TAEL_REPLY_POOLS] = {
    [TAEL_REPLY_POOL_SMALL] = TAEL_REPLY_SMALL_SIZE, [TAEL_REPLY_POOL_LARGE] = TAEL_REPLY_LARGE_SIZE};

size_t tael_reply_pools_size_bytes(const uint32_t counts[TAEL_REPLY_POOLS]) {
    size_t size = 0;
    for (uint32_t i = 0; i < TAEL_REPLY_POOLS; i++) {
        size += tael_arena_share(counts[i] * sizeof(struct tael_reply *)) +
                tael_arena_share(counts[i] * sizeof(struct tael_reply)) +
                tael_arena_share_aligned((size_t)counts[i] * buffer_sizes[i]);
    }
    return size;
}

static void buffers_init(struct tael_reply_buffers *buffers, struct tael_arena *arena, uint32_t pool, uint32_t count) {
    TAEL_ASSERT(count >= 2);
    buffers->count = count;
    buffers->free = tael_arena_take(arena, count * sizeof(struct tael_reply *));
    struct tael_reply *replies = tael_arena_take(arena, count * sizeof(struct tael_reply));
    uint8_t *bytes = tael_arena_take_aligned(arena, (size_t)count * buffer_sizes[pool]);
    for (uint32_t i = 0; i < count; i++) {
        replies[i] = (struct tael_reply){
            .frame = (struct tael_frame *)(void *)(bytes + (size_t)i * buffer_sizes[pool]),
            .capacity = buffer_sizes[pool],
            .pool = pool,
        };
        buffers->free[buffers->free_count++] = &replies[i];
    }
}

void tael_reply_pools_init(struct tael_reply_pools *pools, struct tael_arena *arena,
                           const uint32_t counts[TAEL_REPLY_POOLS]) {
    *pools = (struct tael_reply_pools){0};
    for (uint32_t i = 0; i < TAEL_REPLY_POOLS; i++) buffers_init(&pools->pools[i], arena, i, counts[i]);
}

struct tael_reply *tael_reply_take(struct tael_reply_pools *pools, uint32_t body_size, uint32_t reserve) {
    struct tael_reply_buffers *buffers = &pools->pools[tael_reply_pool_for(body_size)];
    if (buffers->free_count <= reserve) return NULL;
    struct tael_reply *reply = buffers->free[--buffers->free_count];
    TAEL_ASSERT(TAEL_FRAME_HEADER_SIZE + body_size <= reply->capacity);
    memset(reply->frame, 0, sizeof *reply->frame);
    *reply = (struct tael_reply){.frame = reply->frame, .capacity = reply->capacity, .pool = reply->pool};
    return reply;
}

void tael_reply_give_back(struct tael_reply_pools *pools, struct tael_reply *reply) {
    TAEL_ASSERT(reply->pool < TAEL_REPLY_POOLS);
    struct tael_reply_buffers *buffers = &pools->pools[reply->pool];
    TAEL_ASSERT(buffers->free_count < buffers->count);
    buffers->free[buffers->free_count++] = reply;
}

uint32_t tael_reply_reserve(const struct tael_reply_pools *pools, enum tael_reply_pool pool) {
    const uint32_t quarter = pools->pools[pool].count / 4;
    return quarter > 0 ? quarter : 1;
}

bool tael_replies_all_home(const struct tael_reply_pools *pools) {
    for (uint32_t i = 0; i < TAEL_REPLY_POOLS; i++) {
        if (pools->pools[i].free_count < pools->pools[i].count) return false;
    }
    return true;
}
