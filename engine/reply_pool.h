/* The buffers that replies are built in: two pools, bounded, taken and given back by the sequencer's thread alone. Between the two,
 * net has them (include/tael/link.h). Most replies are short; the few large ones must not cost a megabyte each. */
#ifndef TAEL_ENGINE_REPLY_POOL_H
#define TAEL_ENGINE_REPLY_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>
#include <tael/frame.h>
#include <tael/limits.h>
#include <tael/link.h>

enum tael_reply_pool { TAEL_REPLY_POOL_SMALL = 0, TAEL_REPLY_POOL_LARGE = 1, TAEL_REPLY_POOLS };
#define TAEL_REPLY_SMALL_SIZE 4096
#define TAEL_REPLY_LARGE_SIZE TAEL_MESSAGE_SIZE_MAX

struct tael_reply_buffers {
    struct tael_reply **free; /* a stack */
    uint32_t free_count;
    uint32_t count;
};

struct tael_reply_pools {
    struct tael_reply_buffers pools[TAEL_REPLY_POOLS];
};

/* Bytes of arena for `counts` buffers of each pool, at least 2. */
size_t tael_reply_pools_size_bytes(const uint32_t counts[TAEL_REPLY_POOLS]);
void tael_reply_pools_init(struct tael_reply_pools *pools, struct tael_arena *arena,
                           const uint32_t counts[TAEL_REPLY_POOLS]);

/* The pool for a frame with that much body. */
static inline enum tael_reply_pool tael_reply_pool_for(uint32_t body_size) {
    return TAEL_FRAME_HEADER_SIZE + body_size <= TAEL_REPLY_SMALL_SIZE ? TAEL_REPLY_POOL_SMALL : TAEL_REPLY_POOL_LARGE;
}

/* A buffer for a frame with that much body, header and names zeroed; NULL where fewer than `reserve` + 1 are free. */
struct tael_reply *tael_reply_take(struct tael_reply_pools *pools, uint32_t body_size, uint32_t reserve);
void tael_reply_give_back(struct tael_reply_pools *pools, struct tael_reply *reply);

/* What reads leave in a pool for the replies to logged requests, which hold up all that comes after them: a quarter. */
uint32_t tael_reply_reserve(const struct tael_reply_pools *pools, enum tael_reply_pool pool);

static inline uint32_t tael_replies_free(const struct tael_reply_pools *pools, enum tael_reply_pool pool) {
    return pools->pools[pool].free_count;
}

/* True when no buffer is out. */
bool tael_replies_all_home(const struct tael_reply_pools *pools);

#endif
