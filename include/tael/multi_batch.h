/* Multi-batch bodies: a payload of equal elements, cut into sub-batches by a trailer that grows from the end.
 *
 * Trailer: its last u16 is the number of batches (1 .. 65534); before it stand the batches' element counts as u16, the
 * first batch's nearest the end; it is padded at its front with 0xFF to a multiple of the element size. The counts times
 * the element size equal the payload exactly. Empty batches are legal. Pure; reads nothing beyond the body. */
#ifndef TAEL_MULTI_BATCH_H
#define TAEL_MULTI_BATCH_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/limits.h>

struct tael_multi_batch {
    const uint8_t *payload;
    uint32_t payload_size;
    uint32_t element_size;
    uint32_t element_count; /* over all batches */
    uint32_t batch_count; /* at least 1 */
    const uint8_t *counts_end; /* just behind the first batch's count */
};

enum tael_multi_batch_error {
    TAEL_MULTI_BATCH_OK = 0,
    TAEL_MULTI_BATCH_BAD_SIZE, /* the body's size is no multiple of the element's: eviction 6 */
    TAEL_MULTI_BATCH_BAD_TRAILER, /* eviction 5 */
};

/* Bytes of the trailer for `batch_count` batches, padding included. */
static inline uint32_t tael_multi_batch_trailer_size(uint32_t batch_count, uint32_t element_size) {
    const uint32_t bytes = 2 * batch_count + 2;
    return (bytes + element_size - 1) / element_size * element_size;
}

/* Of the largest trailer behind records. */
#define TAEL_TRAILER_SIZE_MAX ((2 * TAEL_BATCHES_MAX + 2 + TAEL_RECORD_SIZE - 1) / TAEL_RECORD_SIZE * TAEL_RECORD_SIZE)

static inline uint16_t tael_multi_batch_u16(const uint8_t *bytes) {
    uint16_t value;
    memcpy(&value, bytes, sizeof value);
    return value;
}

/* Elements in batch `batch`, which must be below batch_count. */
static inline uint32_t tael_multi_batch_count(const struct tael_multi_batch *batches, uint32_t batch) {
    return tael_multi_batch_u16(batches->counts_end - 2 * ((size_t)batch + 1));
}

/* The first step of a body's check, for bodies that do not lie in one piece: measures a body of `size` bytes whose last two
 * bytes say `batch_count`. Leaves payload and counts_end to the caller, who then lets tael_multi_batch_trailer_holds look at
 * the trailer. `out` is untouched on failure. */
static inline enum tael_multi_batch_error
tael_multi_batch_measure(uint32_t batch_count, uint32_t size, uint32_t element_size, struct tael_multi_batch *out) {
    TAEL_ASSERT(element_size >= 8);
    if (batch_count == 0 || batch_count > TAEL_BATCHES_MAX) return TAEL_MULTI_BATCH_BAD_TRAILER;
    const uint32_t trailer_size = tael_multi_batch_trailer_size(batch_count, element_size);
    if (trailer_size > size) return TAEL_MULTI_BATCH_BAD_TRAILER;
    const struct tael_multi_batch measured = {
        .payload_size = size - trailer_size,
        .element_size = element_size,
        .element_count = (size - trailer_size) / element_size,
        .batch_count = batch_count,
    };
    *out = measured;
    return TAEL_MULTI_BATCH_OK;
}

/* The second step: whether the trailer's counts add up to the elements, and its padding is one. Reads nothing before it. */
static inline bool tael_multi_batch_trailer_holds(const struct tael_multi_batch *batches) {
    uint64_t elements = 0;
    for (uint32_t i = 0; i < batches->batch_count; i++) elements += tael_multi_batch_count(batches, i);
    if (elements != batches->element_count) return false;
    const uint8_t *padding_end = batches->counts_end - 2 * (size_t)batches->batch_count;
    const uint8_t *padding =
        batches->counts_end + 2 - tael_multi_batch_trailer_size(batches->batch_count, batches->element_size);
    while (padding < padding_end && *padding == 0xFF) padding++;
    return padding == padding_end;
}

/* Checks a body whole and describes it. `out` is untouched on failure. The body must outlive `out`. */
static inline enum tael_multi_batch_error tael_multi_batch_decode(const void *body, uint32_t size,
                                                                  uint32_t element_size, struct tael_multi_batch *out) {
    if (size == 0 || size % element_size != 0) return TAEL_MULTI_BATCH_BAD_SIZE;
    const uint8_t *bytes = body;
    struct tael_multi_batch decoded;
    const enum tael_multi_batch_error error =
        tael_multi_batch_measure(tael_multi_batch_u16(bytes + size - 2), size, element_size, &decoded);
    if (error != TAEL_MULTI_BATCH_OK) return error;
    decoded.payload = bytes;
    decoded.counts_end = bytes + size - 2;
    if (!tael_multi_batch_trailer_holds(&decoded)) return TAEL_MULTI_BATCH_BAD_TRAILER;
    *out = decoded;
    return TAEL_MULTI_BATCH_OK;
}

/* Writes the trailer behind `payload_size` bytes of payload in `body`, whose capacity must have room for it; `counts` are
 * the batches' element counts, first to last. Returns the size of the whole body. */
static inline uint32_t tael_multi_batch_encode(void *body, uint32_t payload_size, const uint16_t *counts,
                                               uint32_t batch_count, uint32_t element_size) {
    TAEL_ASSERT(batch_count > 0);
    TAEL_ASSERT(batch_count <= TAEL_BATCHES_MAX);
    const uint32_t trailer_size = tael_multi_batch_trailer_size(batch_count, element_size);
    const uint32_t size = payload_size + trailer_size;
    uint8_t *bytes = body;
    memset(bytes + payload_size, 0xFF, trailer_size - 2 - 2 * (size_t)batch_count);
    const uint16_t batch_count_u16 = (uint16_t)batch_count;
    memcpy(bytes + size - 2, &batch_count_u16, 2);
    for (uint32_t i = 0; i < batch_count; i++) memcpy(bytes + size - 4 - 2 * (size_t)i, &counts[i], 2);
    return size;
}

#endif
