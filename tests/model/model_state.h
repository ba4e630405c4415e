/* What the model remembers, and how it takes back a broken chain. Only the model's own files include this.
 *
 * Invariants:
 * 1. Accounts, transfers and burnt ids stand in order of creation; that is the order of timestamps too, since an imported
 *    timestamp must follow every earlier one of its kind.
 * 2. Everything that changes inside a chain goes through the functions below, which note how to take it back.
 * 3. Burnt ids and expiries are recorded outside of chains: nothing ever takes them back. */
#ifndef TAEL_TESTS_MODEL_STATE_H
#define TAEL_TESTS_MODEL_STATE_H

#include "tests/model/model.h"

#define MODEL_NONE UINT32_MAX

/* A list of ids with a chained hash beside it: the position of an id is its place in the list. */
struct model_ids {
    tael_u128 *ids;
    uint32_t *next; /* the position before this one in the same bucket, or MODEL_NONE */
    uint32_t *heads;
    uint32_t count;
    uint32_t capacity; /* also the number of buckets */
};

enum model_pending_status {
    MODEL_NEVER_PENDING = 0,
    MODEL_PENDING = 1,
    MODEL_POSTED = 2,
    MODEL_VOIDED = 3,
    MODEL_EXPIRED = 4,
};

struct model_transfer {
    struct tael_transfer record;
    enum model_pending_status status;
    uint32_t event; /* its own change event */
};

/* One step back. */
struct model_undo {
    enum { MODEL_UNDO_ADD_ACCOUNT, MODEL_UNDO_ADD_TRANSFER, MODEL_UNDO_ACCOUNT, MODEL_UNDO_STATUS } kind;
    uint32_t index;
    struct tael_account account; /* as it was */
    enum model_pending_status status; /* as it was */
};

/* A slot of a client's session, and the reply to its last logged request, whole. */
struct model_session {
    tael_u128 client;
    uint64_t token;
    uint16_t slot;
    uint16_t slots;
    tael_u128 checksum;
    uint64_t session;
    uint64_t op;
    uint64_t timestamp;
    uint32_t request;
    uint32_t capabilities;
    uint8_t operation;
    uint8_t *reply;
    uint32_t reply_size;
};

struct tael_model {
    uint64_t op;
    uint64_t timestamp;
    struct model_ids account_ids;
    struct tael_account *accounts;
    struct model_ids transfer_ids;
    struct model_transfer *transfers;
    struct model_ids burnt_ids;
    struct tael_change_event *events; /* in the order in which they happened */
    uint32_t event_count;
    uint32_t event_capacity;
    struct model_undo *undo; /* what the chain that is being applied did so far */
    uint32_t undo_count;
    uint32_t undo_capacity;
    struct model_session *sessions;
    uint32_t session_count;
    uint32_t session_capacity;
};

/* Makes room for one more element. */
void *model_grow(void *array, uint32_t count, uint32_t *capacity, size_t element_size_bytes);

uint32_t model_ids_find(const struct model_ids *ids, tael_u128 id);
void model_ids_add(struct model_ids *ids, tael_u128 id);

/* When a transfer expires; 0 where it never does. */
uint64_t model_expiry(const struct tael_transfer *transfer);

uint32_t model_find_account(const struct tael_model *model, tael_u128 id);
uint32_t model_find_transfer(const struct tael_model *model, tael_u128 id);
bool model_has_account_at(const struct tael_model *model, uint64_t timestamp);
bool model_has_transfer_at(const struct tael_model *model, uint64_t timestamp);
uint64_t model_account_timestamp_last(const struct tael_model *model);
uint64_t model_transfer_timestamp_last(const struct tael_model *model);

void model_chain_begin(struct tael_model *model);
void model_chain_undo(struct tael_model *model);

void model_add_account(struct tael_model *model, const struct tael_account *account);
void model_set_account(struct tael_model *model, uint32_t index, const struct tael_account *account);
void model_set_status(struct tael_model *model, uint32_t index, enum model_pending_status status);
/* Its accounts are as they are after the transfer. Adds its change event too. */
void model_add_transfer(struct tael_model *model, const struct tael_transfer *transfer);
void model_add_event(struct tael_model *model, const struct tael_transfer *transfer, enum tael_change_event_type type,
                     uint64_t timestamp);
void model_burn(struct tael_model *model, tael_u128 id);

/* Moves the sessions forward by a request that was applied. */
void model_sessions_apply(struct tael_model *model, const struct tael_request *request,
                          const struct tael_create_result *results);
void model_sessions_free(struct tael_model *model);

#endif
