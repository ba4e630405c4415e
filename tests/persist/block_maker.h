/* Blocks of legal requests with random content, for tests of the log. */
#ifndef TAEL_TESTS_BLOCK_MAKER_H
#define TAEL_TESTS_BLOCK_MAKER_H

#include <string.h>

#include <tael/assert.h>
#include <tael/block.h>
#include <tael/operation.h>

#include "tests/support/random.h"

/* Where the next request goes on. */
struct block_maker {
    struct test_random *random;
    uint64_t op_last;
    uint64_t timestamp_last;
};

/* Payload of a create with this many events, in one sub-batch or several. */
static inline void block_maker_create(struct block_maker *maker, struct tael_request *request, uint32_t events) {
    const uint32_t batches = events > 2 && test_random_once_in(maker->random, 4) ? 3 : 1;
    request->client = 1 + test_random_below(maker->random, 5);
    request->session = 1;
    request->request = (uint32_t)request->op;
    request->event_count = events;
    request->batch_count = batches;
    request->size = tael_request_payload_size(events, batches);
    uint8_t *payload = (uint8_t *)(request + 1);
    test_random_bytes(maker->random, payload, (size_t)events * TAEL_RECORD_SIZE);
    if (batches == 1) return;
    const uint16_t counts[3] = {1, 0, (uint16_t)(events - 1)};
    memcpy(payload + (size_t)events * TAEL_RECORD_SIZE, counts, sizeof counts);
}

static inline void block_maker_request(struct block_maker *maker, struct tael_request *request, uint32_t events) {
    memset(request, 0, tael_request_size_in_block(tael_request_payload_size(events, 3)));
    request->op = maker->op_last + 1;
    uint64_t timestamps = events;
    const uint64_t kind = test_random_below(maker->random, 16);
    if (kind == 0) {
        request->operation = TAEL_OPERATION_pulse;
        timestamps = TAEL_EXPIRIES_MAX;
    } else if (kind == 1) {
        request->operation = TAEL_OPERATION_register;
        request->client = 7;
        timestamps = 0;
    } else {
        request->operation = kind == 2 ? TAEL_OPERATION_create_accounts : TAEL_OPERATION_create_transfers;
        block_maker_create(maker, request, events);
    }
    request->timestamp = maker->timestamp_last + 1 + test_random_below(maker->random, 100) + timestamps;
    maker->op_last = request->op;
    maker->timestamp_last = request->timestamp;
}

/* Fills `block` (its data has at least `size` + TAEL_SECTOR_SIZE bytes) with requests up to about `size` bytes. */
static inline void block_maker_fill(struct block_maker *maker, struct tael_block *block, uint32_t size) {
    block->size = TAEL_BLOCK_HEADER_SIZE;
    block->request_count = 0;
    block->first_op = maker->op_last + 1;
    while (block->size + 2 * TAEL_REQUEST_HEADER_SIZE <= size) {
        const uint32_t left = size - block->size;
        uint32_t events = (uint32_t)test_random_below(maker->random, left / TAEL_RECORD_SIZE + 1);
        if (events > TAEL_EVENTS_MAX) events = TAEL_EVENTS_MAX;
        if (tael_request_size_in_block(tael_request_payload_size(events, 3)) > left) continue;
        struct tael_request *request = (struct tael_request *)(void *)(block->data + block->size);
        block_maker_request(maker, request, events);
        block->size += tael_request_size_in_block(request->size);
        block->request_count++;
    }
    block->last_op = maker->op_last;
}

#endif
