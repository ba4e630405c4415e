/* Requests as a story: opens a ledger, builds requests event by event, sends them as the sequencer would, and says what
 * came of it.
 *
 *     struct story story;
 *     story_open(&story, &subject_model);
 *     story_begin(&story, TAEL_OPERATION_create_transfers);
 *     story_add_transfer(&story, TRANSFER(.id = 1, .debit_account_id = 1, .credit_account_id = 2, .amount = 5));
 *     story_next_batch(&story);
 *     ...
 *     story_send(&story);
 *     assert_int_equal(story.results[0].status, TAEL_STATUS_CREATED);
 *
 * The story's clock stands still unless it is moved: request timestamp = max(last timestamp + 1, clock) + N. */
#ifndef TAEL_TESTS_STORY_H
#define TAEL_TESTS_STORY_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/flag.h>
#include <tael/limits.h>
#include <tael/operation.h>
#include <tael/record.h>
#include <tael/request.h>
#include <tael/status.h>

#include "tests/support/subject.h"

/* On ledger 1 with code 1; whatever else is named is set. */
#define ACCOUNT(...) ((struct tael_account){.ledger = 1, .code = 1, __VA_ARGS__})
#define TRANSFER(...) ((struct tael_transfer){.ledger = 1, .code = 1, __VA_ARGS__})
/* A post or void, which inherits what it leaves out. */
#define POST(...) ((struct tael_transfer){.flags = TAEL_TRANSFER_FLAG_post_pending_transfer, __VA_ARGS__})
#define VOID(...) ((struct tael_transfer){.flags = TAEL_TRANSFER_FLAG_void_pending_transfer, __VA_ARGS__})

struct story {
    const struct subject *subject;
    void *ledger;
    uint64_t op;
    uint64_t timestamp; /* of the last request */
    uint64_t clock; /* ns */
    struct tael_request *request; /* being built, then sent */
    uint16_t counts[TAEL_EVENTS_MAX + 1]; /* events of each sub-batch so far */
    struct tael_create_result results[TAEL_EVENTS_MAX + 1];
    uint8_t *reply;
    uint32_t reply_size;
};

void story_open(struct story *story, const struct subject *subject);
void story_open_with(struct story *story, const struct subject *subject, const struct subject_options *options);
void story_close(struct story *story);

/* Builds and sends one request. */
void story_begin(struct story *story, uint8_t operation);
void story_add(struct story *story, const void *record);
void story_add_account(struct story *story, struct tael_account account);
void story_add_transfer(struct story *story, struct tael_transfer transfer);
void story_next_batch(struct story *story);
void story_send(struct story *story);

/* The timestamp that the next request will get if it has `event_count` events. */
uint64_t story_timestamp_next(const struct story *story, uint32_t event_count);

/* A request of one event. */
struct tael_create_result story_account(struct story *story, struct tael_account account);
struct tael_create_result story_transfer(struct story *story, struct tael_transfer transfer);
/* The same, of which only the status matters. */
uint32_t story_account_status(struct story *story, struct tael_account account);
uint32_t story_transfer_status(struct story *story, struct tael_transfer transfer);
void story_pulse(struct story *story);

/* Lookups; the record is all zero where there is none. */
struct tael_account story_lookup_account(struct story *story, tael_u128 id);
struct tael_transfer story_lookup_transfer(struct story *story, tael_u128 id);

/* A read with one filter (or id) in one batch. Returns the number of results, which stand in story->reply. */
uint32_t story_read(struct story *story, uint8_t operation, const void *element);

#endif
