/* The bounded memory that frames are received into: many small buffers, of which the kernel holds some and picks one when
 * bytes arrive (so that an idle connection holds none), and a few large ones, granted one to a frame that fits no small one.
 * Since the two are apart, half-sent large frames never starve small ones.
 *
 * A buffer is counted: by the connection that fills it, and by each message in it that is lent out. Who drops the last
 * count gives it back.
 *
 * Owned by one thread. No allocation after init. */
#ifndef TAEL_IO_RECEIVE_POOL_H
#define TAEL_IO_RECEIVE_POOL_H

#include <liburing.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <tael/arena.h>

#define TAEL_RECEIVE_NONE UINT32_MAX
#define TAEL_RECEIVE_SMALL_COUNT_MAX 32768u /* the kernel's bound of a buffer ring, and of a buffer's number */

struct tael_receive_pool;

struct tael_receive_pool_options {
    uint32_t small_count; /* at most TAEL_RECEIVE_SMALL_COUNT_MAX */
    uint32_t small_size; /* bytes, a multiple of TAEL_CACHE_LINE */
    uint32_t large_count; /* of TAEL_MESSAGE_SIZE_MAX bytes each */
    uint16_t group; /* the kernel's name for the small buffers, unique in the io_uring */
};

size_t tael_receive_pool_size_bytes(const struct tael_receive_pool_options *options);

/* 0, or a negative errno when the kernel refuses the buffer ring. */
int tael_receive_pool_init(struct tael_receive_pool **pool, struct tael_arena *arena,
                           const struct tael_receive_pool_options *options, struct io_uring *ring);

/* The buffer's memory, aligned to a cache line, and its size. */
uint8_t *tael_receive_pool_data(const struct tael_receive_pool *pool, uint32_t buffer);
uint32_t tael_receive_pool_buffer_size(const struct tael_receive_pool *pool, uint32_t buffer);

/* The kernel has filled `buffer`: it is the caller's now, counted once. */
void tael_receive_pool_arrived(struct tael_receive_pool *pool, uint32_t buffer);

/* A small or a large buffer, counted once; TAEL_RECEIVE_NONE when there is none. */
uint32_t tael_receive_pool_take_small(struct tael_receive_pool *pool);
uint32_t tael_receive_pool_take_large(struct tael_receive_pool *pool);

/* One count more, one less. */
void tael_receive_pool_hold(struct tael_receive_pool *pool, uint32_t buffer);
void tael_receive_pool_drop(struct tael_receive_pool *pool, uint32_t buffer);
bool tael_receive_pool_held_once(const struct tael_receive_pool *pool, uint32_t buffer);

/* Hands free small buffers to the kernel, up to the ring's size. To be called once a turn. */
void tael_receive_pool_refill(struct tael_receive_pool *pool);

/* Small buffers that the kernel holds. */
uint32_t tael_receive_pool_in_kernel(const struct tael_receive_pool *pool);

#endif
