/* Fuzzes the bodies of requests, all the way into the ledger. Goal: a body is refused or answered, whatever is in it; and
 * engine and model, which share no code, answer the same bytes and end in the same state.
 *
 * Input: steps, each of a byte that chooses the operation, two bytes of size (little-endian) and a body of that size, or
 * of what is left. Every input begins with an empty ledger. */
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/multi_batch.h>
#include <tael/operation.h>

#include "engine/body.h"
#include "engine/query.h"
#include "tests/support/cut.h"
#include "tests/support/story.h"

#define STEPS_MAX 16
#define ACCOUNTS_MAX 64
#define TRANSFERS_MAX 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t operations[] = {
    TAEL_OPERATION_create_accounts,      TAEL_OPERATION_create_transfers,        TAEL_OPERATION_create_accounts_sparse,
    TAEL_OPERATION_get_change_events,    TAEL_OPERATION_lookup_accounts,         TAEL_OPERATION_lookup_transfers,
    TAEL_OPERATION_get_account_balances, TAEL_OPERATION_get_account_transfers,   TAEL_OPERATION_query_accounts,
    TAEL_OPERATION_query_transfers,      TAEL_OPERATION_create_transfers_sparse, TAEL_OPERATION_pulse,
};

static const struct subject *const subjects[] = {&subject_engine, &subject_model};
enum { SUBJECTS = 2 };

/* Memory that the stories keep over all inputs; their ledgers are new for each. */
static struct story stories[SUBJECTS];

static void begin(void) {
    static const struct subject_options options = {.accounts_max = ACCOUNTS_MAX, .transfers_max = TRANSFERS_MAX};
    for (int i = 0; i < SUBJECTS; i++) {
        struct story *story = &stories[i];
        if (story->subject == NULL) {
            story_open_with(story, subjects[i], &options);
        } else {
            story->subject->close(story->ledger);
            story->ledger = story->subject->open(&options);
            story->op = 0;
            story->timestamp = 0;
        }
    }
}

static bool has_room(uint32_t events) {
    const struct subject_usage usage = stories[0].subject->usage(stories[0].ledger);
    return usage.accounts + events <= ACCOUNTS_MAX && usage.transfers + events <= TRANSFERS_MAX;
}

/* Cut into parts, at places that depend on its bytes, it must get the same verdict, and its events must come out the same. */
static void check_parts(const uint8_t *body, uint32_t size, const struct tael_multi_batch *whole) {
    static uint8_t scratch[TAEL_TRAILER_SIZE_MAX];
    struct test_random random = {.state = size};
    for (uint32_t i = 0; i < size; i++) random.state = random.state * 31 + body[i];
    struct cut cut;
    cut_make(&cut, &random, body, size);
    const struct tael_message message = {.body_size = size, .part_count = cut.part_count, .parts = cut.parts};
    struct tael_body in_parts;
    const bool taken = tael_body_check(&message, scratch, &in_parts) == 0;
    TAEL_ASSERT(taken == (whole != NULL));
    if (taken) {
        uint8_t *payload = malloc((size_t)size + 2 * (size_t)whole->batch_count);
        TAEL_ASSERT(payload != NULL);
        tael_body_copy(&in_parts, payload);
        TAEL_ASSERT(in_parts.batches.payload_size == whole->payload_size);
        TAEL_ASSERT(memcmp(payload, whole->payload, whole->payload_size) == 0);
        free(payload);
    }
    cut_free(&cut);
}

static void create_one(struct story *story, uint8_t operation, const struct tael_multi_batch *batches) {
    story_begin(story, operation);
    const uint8_t *event = batches->payload;
    for (uint32_t batch = 0; batch < batches->batch_count; batch++) {
        if (batch > 0) story_next_batch(story);
        for (uint32_t i = 0; i < tael_multi_batch_count(batches, batch); i++, event += TAEL_RECORD_SIZE) {
            story_add(story, event);
        }
    }
    story_send(story);
}

static void create(uint8_t operation, const uint8_t *body, uint32_t size) {
    struct tael_multi_batch batches;
    const bool sound = tael_multi_batch_decode(body, size, TAEL_RECORD_SIZE, &batches) == TAEL_MULTI_BATCH_OK;
    check_parts(body, size, sound ? &batches : NULL);
    if (!sound) return;
    if (batches.batch_count > ACCOUNTS_MAX || !has_room(batches.element_count)) return;
    for (int i = 0; i < SUBJECTS; i++) create_one(&stories[i], operation, &batches);
    TAEL_ASSERT(
        memcmp(stories[0].results, stories[1].results, batches.element_count * sizeof(struct tael_create_result)) == 0);
}

static void read_both(uint8_t operation, const uint8_t *body, uint32_t size) {
    uint32_t reply_size_max;
    if (tael_query_body_check(operation, body, size, &reply_size_max) != 0) return;
    for (int i = 0; i < SUBJECTS; i++) {
        struct story *story = &stories[i];
        story->reply_size = story->subject->read(story->ledger, operation, body, size, story->reply);
    }
    TAEL_ASSERT(stories[0].reply_size == stories[1].reply_size);
    TAEL_ASSERT(memcmp(stories[0].reply, stories[1].reply, stories[0].reply_size) == 0);
}

static void step(uint8_t operation, const uint8_t *data, uint32_t size) {
    if (operation == TAEL_OPERATION_pulse) {
        for (int i = 0; i < SUBJECTS; i++) story_pulse(&stories[i]);
        return;
    }
    /* Aligned as in a message, and of exactly its size, so that a read past the end is seen. */
    uint8_t *body = malloc(size > 0 ? size : 1);
    TAEL_ASSERT(body != NULL);
    memcpy(body, data, size);
    if (tael_operation_info(operation).kind == TAEL_OPERATION_CREATE) {
        create(operation, body, size);
    } else {
        read_both(operation, body, size);
    }
    free(body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    begin();
    for (int i = 0; i < STEPS_MAX && size >= 3; i++) {
        const uint8_t operation = operations[data[0] % sizeof operations];
        uint32_t body_size = data[1] | (uint32_t)data[2] << 8;
        data += 3;
        size -= 3;
        if (body_size > size) body_size = (uint32_t)size;
        step(operation, data, body_size);
        data += body_size;
        size -= body_size;
    }
    for (int i = 0; i < SUBJECTS; i++) TAEL_ASSERT(stories[i].subject->balanced(stories[i].ledger));
    TAEL_ASSERT(stories[0].subject->digest(stories[0].ledger) == stories[1].subject->digest(stories[1].ledger));
    return 0;
}
