/* A sequenced request, as it stands in a block: in the log and in memory, byte for byte the same. Little-endian.
 *
 * Layout: this header; then the payload, `size` bytes; then zeros up to a multiple of 128, where the next request begins.
 * The payload of a create is its events back to back (event_count x 128 B), then, only where batch_count is not 1, the
 * sub-batches' event counts as u16, first to last. register, pulse and evict have no payload.
 *
 * Timestamps: event i of N has timestamp - N + i + 1, counted on through the sub-batches (see spec, "Time"). A pulse has
 * N = TAEL_EXPIRIES_MAX, though its event_count is 0; everything else without events N = 0. */
#ifndef TAEL_REQUEST_H
#define TAEL_REQUEST_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/u128.h>

struct tael_request {
    tael_u128 client; /* who asked; for evict, whose session ends; 0 for pulse */
    tael_u128 checksum; /* of the client's frame header: tells a repeated request from a new one; 0 if internal */
    uint64_t op; /* position in the one order, from 1, without gaps */
    uint64_t timestamp; /* ns since 1970: of the last event, see above */
    uint64_t session; /* of the client, 0 for register, pulse and evict */
    uint32_t request; /* the client's request number */
    uint32_t size; /* bytes of payload, without padding */
    uint32_t event_count; /* over all sub-batches */
    uint32_t batch_count; /* sub-batches; 0 is legal only for register, pulse and evict */
    uint8_t operation; /* enum tael_operation */
    uint8_t reserved_a[3];
    uint32_t capabilities; /* enum tael_capability; register only */
    uint64_t token; /* of a session by datagram, never 0; register only */
    uint16_t slot; /* of the session, which the request came in; creates only */
    uint16_t slots; /* that the session has; register with a token only */
    uint8_t reserved_b[36];
};
static_assert(sizeof(struct tael_request) == TAEL_REQUEST_HEADER_SIZE, "log format");
static_assert(offsetof(struct tael_request, op) == 32, "log format");
static_assert(offsetof(struct tael_request, event_count) == 64, "log format");
static_assert(offsetof(struct tael_request, operation) == 72, "log format");
static_assert(offsetof(struct tael_request, token) == 80, "log format");
static_assert(offsetof(struct tael_request, slots) == 90, "log format");

/* Bytes that a request takes in a block. */
static inline uint32_t tael_request_size_in_block(uint32_t payload_size) {
    return TAEL_REQUEST_HEADER_SIZE + ((payload_size + (TAEL_RECORD_SIZE - 1)) & ~(uint32_t)(TAEL_RECORD_SIZE - 1));
}

static inline const void *tael_request_payload(const struct tael_request *request) { return request + 1; }

static inline const struct tael_request *tael_request_next(const struct tael_request *request) {
    return (const struct tael_request *)((const uint8_t *)request + tael_request_size_in_block(request->size));
}

/* Bytes of payload that `event_count` events in `batch_count` sub-batches take. */
static inline uint32_t tael_request_payload_size(uint32_t event_count, uint32_t batch_count) {
    return event_count * TAEL_RECORD_SIZE + (batch_count > 1 ? batch_count * 2 : 0);
}

/* Events in sub-batch `batch` of a create request. */
static inline uint32_t tael_request_batch_events(const struct tael_request *request, uint32_t batch) {
    if (request->batch_count == 1) return request->event_count;
    uint16_t count;
    const uint8_t *counts =
        (const uint8_t *)tael_request_payload(request) + (size_t)request->event_count * TAEL_RECORD_SIZE;
    memcpy(&count, counts + (size_t)batch * 2, sizeof count);
    return count;
}

/* The outcome of a create request in its compact form: everything that cannot be told from the request itself.
 * Event i that has no exception was `created` with the timestamp of its own (see above). */
struct tael_exception {
    uint64_t timestamp; /* as in tael_create_result */
    uint32_t status; /* a failure, or TAEL_STATUS_CREATED with an imported timestamp */
    uint32_t index; /* of the event in the request, over all sub-batches; rising */
};
static_assert(sizeof(struct tael_exception) == 16, "kept replies");

#endif
