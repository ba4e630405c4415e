#include "engine/body.h"

#include <string.h>

#include <tael/assert.h>

static uint64_t size_of_parts(const struct tael_message *message) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < message->part_count; i++) size += message->parts[i].size;
    return size;
}

/* The body's last `size` bytes, of which it has as many: where they lie, or gathered into `scratch`. */
static const uint8_t *tail(const struct tael_message *message, uint32_t size, uint8_t *scratch) {
    uint32_t index = message->part_count - 1;
    const struct tael_part *last = &message->parts[index];
    if (last->size >= size) return last->data + (last->size - size);
    for (uint32_t left = size; left > 0; index--) {
        const struct tael_part *part = &message->parts[index];
        const uint32_t taken = part->size < left ? part->size : left;
        left -= taken;
        if (taken > 0) memcpy(scratch + left, part->data + (part->size - taken), taken);
    }
    return scratch;
}

static enum tael_multi_batch_error decode_one_batch(const struct tael_message *message, struct tael_multi_batch *out) {
    if (message->body_size % TAEL_RECORD_SIZE != 0) return TAEL_MULTI_BATCH_BAD_SIZE;
    *out = (struct tael_multi_batch){
        .payload_size = message->body_size,
        .element_size = TAEL_RECORD_SIZE,
        .element_count = message->body_size / TAEL_RECORD_SIZE,
        .batch_count = 1,
    };
    return TAEL_MULTI_BATCH_OK;
}

/* As tael_multi_batch_decode, of a body in parts. */
static enum tael_multi_batch_error decode(const struct tael_message *message, uint8_t *scratch,
                                          struct tael_multi_batch *out) {
    const uint32_t size = message->body_size;
    if (size == 0 || size % TAEL_RECORD_SIZE != 0) return TAEL_MULTI_BATCH_BAD_SIZE;
    const uint32_t batch_count = tael_multi_batch_u16(tail(message, sizeof(uint16_t), scratch));
    const enum tael_multi_batch_error error = tael_multi_batch_measure(batch_count, size, TAEL_RECORD_SIZE, out);
    if (error != TAEL_MULTI_BATCH_OK) return error;
    const uint32_t trailer_size = size - out->payload_size;
    TAEL_ASSERT(trailer_size <= TAEL_TRAILER_SIZE_MAX);
    out->counts_end = tail(message, trailer_size, scratch) + trailer_size - sizeof(uint16_t);
    return tael_multi_batch_trailer_holds(out) ? TAEL_MULTI_BATCH_OK : TAEL_MULTI_BATCH_BAD_TRAILER;
}

enum tael_eviction_reason tael_body_check(const struct tael_message *message, uint8_t *scratch, struct tael_body *out) {
    TAEL_ASSERT(size_of_parts(message) == message->body_size);
    struct tael_multi_batch batches;
    switch (message->is_one_batch ? decode_one_batch(message, &batches) : decode(message, scratch, &batches)) {
    case TAEL_MULTI_BATCH_OK:
        break;
    case TAEL_MULTI_BATCH_BAD_SIZE:
        return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    case TAEL_MULTI_BATCH_BAD_TRAILER:
        return TAEL_EVICTION_INVALID_REQUEST_BODY;
    }
    if (batches.element_count > TAEL_EVENTS_MAX) return TAEL_EVICTION_INVALID_REQUEST_BODY;
    *out = (struct tael_body){.parts = message->parts, .part_count = message->part_count, .batches = batches};
    return 0;
}

void tael_body_copy(const struct tael_body *body, uint8_t *payload) {
    const struct tael_multi_batch *batches = &body->batches;
    uint32_t left = batches->payload_size;
    for (uint32_t i = 0; left > 0; i++) {
        TAEL_ASSERT(i < body->part_count);
        const struct tael_part *part = &body->parts[i];
        const uint32_t taken = part->size < left ? part->size : left;
        if (taken > 0) memcpy(payload, part->data, taken);
        payload += taken;
        left -= taken;
    }
    if (batches->batch_count == 1) return;
    for (uint32_t i = 0; i < batches->batch_count; i++) {
        const uint16_t count = (uint16_t)tael_multi_batch_count(batches, i);
        memcpy(payload + 2 * (size_t)i, &count, sizeof count);
    }
}
