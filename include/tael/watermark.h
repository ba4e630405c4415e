/* A watermark: one rising number, one writer, any readers, on a cache line of its own.
 *
 *   W1 writer publishes n (release)  ->  A1 reader reads n (acquire): all that the writer did up to n is visible. */
#ifndef TAEL_WATERMARK_H
#define TAEL_WATERMARK_H

#include <stdatomic.h>
#include <stdint.h>

#include <tael/assert.h>
#include <tael/limits.h>

struct tael_watermark {
    _Alignas(TAEL_CACHE_LINE) _Atomic uint64_t value;
};

static inline void tael_watermark_publish(struct tael_watermark *watermark, uint64_t value) {
    /* Relaxed: only this thread writes it. */
    TAEL_ASSERT(value >= atomic_load_explicit(&watermark->value, memory_order_relaxed));
    atomic_store_explicit(&watermark->value, value, memory_order_release); /* W1 */
}

static inline uint64_t tael_watermark_read(const struct tael_watermark *watermark) {
    return atomic_load_explicit(&watermark->value, memory_order_acquire); /* A1 */
}

#endif
