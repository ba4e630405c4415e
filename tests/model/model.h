/* A slow, obvious model of the ledger: the second reading of its rules, against which the engine is tested.
 *
 * It shares the records, statuses and flags of include/tael with the engine and no other code. Everything is kept in plain
 * arrays in order of creation; a chain that breaks is taken back through a list of what it did; reads and expiry look at
 * everything there is. Clarity first, speed only where a test of 10^5 events would take minutes.
 *
 * The caller hands in sequenced requests, in order of op, with timestamps that rise. It allocates as it grows and asserts
 * that there is memory. Not thread-safe. */
#ifndef TAEL_TESTS_MODEL_H
#define TAEL_TESTS_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include <tael/record.h>
#include <tael/request.h>

struct tael_model;

struct tael_model *tael_model_new(void);
void tael_model_free(struct tael_model *model);

/* Applies a request of kind CREATE, or a pulse; every other operation only moves op and timestamp. `results` gets one
 * dense result for each event, over all sub-batches. */
void tael_model_apply(struct tael_model *model, const struct tael_request *request, struct tael_create_result *results);

/* Answers a read whose body is well formed, with the body of the reply as the protocol has it (multi-batch trailer and
 * all). `reply` has room for TAEL_BODY_SIZE_MAX bytes. Returns the bytes written. */
uint32_t tael_model_read(const struct tael_model *model, uint8_t operation, const void *body, uint32_t body_size,
                         void *reply);

/* Sessions: opened by a register, ended by an evict, moved forward by every create of their client. The model keeps the
 * whole reply to the last of each. A create of a client without session is applied and not kept. */

/* The body of the reply to the last logged request in that slot of the client's session; returns its size, 0 where there is no session. It stays valid
 * until the client's next request. */
uint32_t tael_model_reply(const struct tael_model *model, tael_u128 client, uint16_t slot, const void **body);

/* The sessions digest of docs/digest.md: kind 7. */
tael_u128 tael_model_sessions_digest(const struct tael_model *model);

/* The ledger digest of docs/digest.md: kinds 1 to 6. */
tael_u128 tael_model_digest(const struct tael_model *model);

/* One element of a digest: for tests that predict how a digest changes. */
tael_u128 tael_model_digest_element(uint64_t kind, const void *bytes, uint32_t size_bytes);

/* True when in every ledger debits equal credits, pending and posted. */
bool tael_model_balanced(const struct tael_model *model);

struct tael_model_usage {
    uint64_t accounts;
    uint64_t transfers; /* transfers and burnt ids */
    uint64_t op;
    uint64_t timestamp;
    uint64_t expiry_next; /* the earliest expiry of a transfer still pending; UINT64_MAX where there is none */
};
struct tael_model_usage tael_model_usage(const struct tael_model *model);

/* For generators of random requests: the accounts and transfers by their order of creation, below tael_model_counts. */
struct tael_model_counts {
    uint32_t accounts;
    uint32_t transfers;
    uint32_t burnt_ids;
};
struct tael_model_counts tael_model_counts(const struct tael_model *model);
const struct tael_account *tael_model_account(const struct tael_model *model, uint32_t index);
const struct tael_transfer *tael_model_transfer(const struct tael_model *model, uint32_t index);
tael_u128 tael_model_burnt_id(const struct tael_model *model, uint32_t index);

/* Status of a transfer that is or was pending, as in the digest: 1 pending, 2 posted, 3 voided, 4 expired; 0 others. */
uint32_t tael_model_pending_status(const struct tael_model *model, uint32_t transfer_index);

#endif
