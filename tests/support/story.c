/* See story.h. */
#include "tests/support/story.h"

#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/multi_batch.h>

void story_open_with(struct story *story, const struct subject *subject, const struct subject_options *options) {
    memset(story, 0, sizeof *story);
    story->subject = subject;
    story->ledger = subject->open(options);
    story->clock = 1000 * TAEL_NS_PER_S;
    story->request = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_BLOCK_SIZE_MAX);
    story->reply = aligned_alloc(TAEL_SECTOR_SIZE, TAEL_MESSAGE_SIZE_MAX);
    TAEL_ASSERT(story->request != NULL);
    TAEL_ASSERT(story->reply != NULL);
}

void story_open(struct story *story, const struct subject *subject) {
    const struct subject_options options = {.accounts_max = 1024, .transfers_max = 32768};
    story_open_with(story, subject, &options);
}

void story_close(struct story *story) {
    story->subject->close(story->ledger);
    free(story->request);
    free(story->reply);
}

void story_begin(struct story *story, uint8_t operation) {
    memset(story->request, 0, sizeof *story->request);
    story->request->operation = operation;
    story->request->client = 1;
    story->request->session = 1;
    story->request->batch_count = 1;
    story->counts[0] = 0;
}

void story_add(struct story *story, const void *record) {
    struct tael_request *request = story->request;
    TAEL_ASSERT(request->event_count < TAEL_EVENTS_MAX);
    memcpy((uint8_t *)(request + 1) + (size_t)request->event_count * TAEL_RECORD_SIZE, record, TAEL_RECORD_SIZE);
    request->event_count++;
    story->counts[request->batch_count - 1]++;
}

void story_add_account(struct story *story, struct tael_account account) { story_add(story, &account); }

void story_add_transfer(struct story *story, struct tael_transfer transfer) { story_add(story, &transfer); }

void story_next_batch(struct story *story) {
    TAEL_ASSERT(story->request->batch_count < TAEL_EVENTS_MAX);
    story->counts[story->request->batch_count++] = 0;
}

uint64_t story_timestamp_next(const struct story *story, uint32_t event_count) {
    const uint64_t base = story->timestamp + 1 > story->clock ? story->timestamp + 1 : story->clock;
    return base + event_count;
}

void story_send(struct story *story) {
    struct tael_request *request = story->request;
    const bool pulse = request->operation == TAEL_OPERATION_pulse;
    request->op = ++story->op;
    request->timestamp = story_timestamp_next(story, pulse ? TAEL_EXPIRIES_MAX : request->event_count);
    request->request = (uint32_t)request->op;
    if (!pulse) request->size = tael_request_payload_size(request->event_count, request->batch_count);
    uint8_t *payload = (uint8_t *)(request + 1);
    const size_t events_size = pulse ? 0 : (size_t)request->event_count * TAEL_RECORD_SIZE;
    memset(payload + events_size, 0, tael_request_size_in_block(request->size) - sizeof *request - events_size);
    if (request->batch_count > 1) memcpy(payload + events_size, story->counts, (size_t)request->batch_count * 2);
    story->subject->apply(story->ledger, request, story->results);
    story->timestamp = request->timestamp;
}

struct tael_create_result story_account(struct story *story, struct tael_account account) {
    story_begin(story, TAEL_OPERATION_create_accounts);
    story_add(story, &account);
    story_send(story);
    return story->results[0];
}

struct tael_create_result story_transfer(struct story *story, struct tael_transfer transfer) {
    story_begin(story, TAEL_OPERATION_create_transfers);
    story_add(story, &transfer);
    story_send(story);
    return story->results[0];
}

uint32_t story_account_status(struct story *story, struct tael_account account) {
    return story_account(story, account).status;
}

uint32_t story_transfer_status(struct story *story, struct tael_transfer transfer) {
    return story_transfer(story, transfer).status;
}

void story_pulse(struct story *story) {
    story_begin(story, TAEL_OPERATION_pulse);
    story->request->client = 0;
    story->request->session = 0;
    story->request->batch_count = 0;
    story_send(story);
}

uint32_t story_read(struct story *story, uint8_t operation, const void *element) {
    const struct tael_operation_info info = tael_operation_info(operation);
    uint8_t *body = aligned_alloc(TAEL_CACHE_LINE, 512);
    TAEL_ASSERT(body != NULL);
    uint32_t size = info.event_size;
    memcpy(body, element, size);
    if (info.multi_batch) {
        const uint16_t one = 1;
        size = tael_multi_batch_encode(body, size, &one, 1, info.event_size);
    }
    story->reply_size = story->subject->read(story->ledger, operation, body, size, story->reply);
    free(body);
    if (!info.multi_batch) return story->reply_size / info.result_size;
    struct tael_multi_batch results;
    TAEL_ASSERT(tael_multi_batch_decode(story->reply, story->reply_size, info.result_size, &results) ==
                TAEL_MULTI_BATCH_OK);
    TAEL_ASSERT(results.batch_count == 1);
    return results.element_count;
}

struct tael_account story_lookup_account(struct story *story, tael_u128 id) {
    struct tael_account account = {.id = 0};
    if (story_read(story, TAEL_OPERATION_lookup_accounts, &id) == 1) memcpy(&account, story->reply, sizeof account);
    return account;
}

struct tael_transfer story_lookup_transfer(struct story *story, tael_u128 id) {
    struct tael_transfer transfer = {.id = 0};
    if (story_read(story, TAEL_OPERATION_lookup_transfers, &id) == 1) memcpy(&transfer, story->reply, sizeof transfer);
    return transfer;
}
