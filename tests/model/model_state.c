/* See model_state.h. */
#include "tests/model/model_state.h"

#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/flag.h>

void *model_grow(void *array, uint32_t count, uint32_t *capacity, size_t element_size_bytes) {
    if (count < *capacity) return array;
    *capacity = *capacity == 0 ? 64 : *capacity * 2;
    void *grown = realloc(array, *capacity * element_size_bytes);
    TAEL_ASSERT(grown != NULL);
    return grown;
}

static uint32_t bucket(const struct model_ids *ids, tael_u128 id) {
    const uint64_t mixed = (tael_u128_low(id) ^ (tael_u128_high(id) * 0x9E3779B97F4A7C15ull)) * 0xD6E8FEB86659FD93ull;
    return (uint32_t)(mixed >> 32) % ids->capacity;
}

uint32_t model_ids_find(const struct model_ids *ids, tael_u128 id) {
    if (ids->count == 0) return MODEL_NONE;
    uint32_t position = ids->heads[bucket(ids, id)];
    while (position != MODEL_NONE && ids->ids[position] != id) position = ids->next[position];
    return position;
}

static void chain_in(struct model_ids *ids, uint32_t position) {
    const uint32_t place = bucket(ids, ids->ids[position]);
    ids->next[position] = ids->heads[place];
    ids->heads[place] = position;
}

void model_ids_add(struct model_ids *ids, tael_u128 id) {
    TAEL_ASSERT(model_ids_find(ids, id) == MODEL_NONE);
    if (ids->count == ids->capacity) {
        ids->ids = model_grow(ids->ids, ids->count, &ids->capacity, sizeof *ids->ids);
        ids->next = realloc(ids->next, ids->capacity * sizeof *ids->next);
        ids->heads = realloc(ids->heads, ids->capacity * sizeof *ids->heads);
        TAEL_ASSERT(ids->next != NULL);
        TAEL_ASSERT(ids->heads != NULL);
        for (uint32_t i = 0; i < ids->capacity; i++) ids->heads[i] = MODEL_NONE;
        for (uint32_t i = 0; i < ids->count; i++) chain_in(ids, i);
    }
    ids->ids[ids->count] = id;
    chain_in(ids, ids->count++);
}

/* The youngest heads its bucket, so taking it back is taking it off. */
static void ids_drop_last(struct model_ids *ids) {
    TAEL_ASSERT(ids->count > 0);
    const uint32_t last = --ids->count;
    const uint32_t place = bucket(ids, ids->ids[last]);
    TAEL_ASSERT(ids->heads[place] == last);
    ids->heads[place] = ids->next[last];
}

struct tael_model *tael_model_new(void) {
    struct tael_model *model = calloc(1, sizeof *model);
    TAEL_ASSERT(model != NULL);
    return model;
}

static void ids_free(struct model_ids *ids) {
    free(ids->ids);
    free(ids->next);
    free(ids->heads);
}

void tael_model_free(struct tael_model *model) {
    ids_free(&model->account_ids);
    ids_free(&model->transfer_ids);
    ids_free(&model->burnt_ids);
    free(model->accounts);
    free(model->transfers);
    free(model->events);
    free(model->undo);
    model_sessions_free(model);
    free(model);
}

uint64_t model_expiry(const struct tael_transfer *transfer) {
    if (transfer->timeout == 0) return 0;
    return transfer->timestamp + transfer->timeout * TAEL_NS_PER_S;
}

uint32_t model_find_account(const struct tael_model *model, tael_u128 id) {
    return model_ids_find(&model->account_ids, id);
}

uint32_t model_find_transfer(const struct tael_model *model, tael_u128 id) {
    return model_ids_find(&model->transfer_ids, id);
}

uint64_t model_account_timestamp_last(const struct tael_model *model) {
    const uint32_t count = model->account_ids.count;
    return count == 0 ? 0 : model->accounts[count - 1].timestamp;
}

uint64_t model_transfer_timestamp_last(const struct tael_model *model) {
    const uint32_t count = model->transfer_ids.count;
    return count == 0 ? 0 : model->transfers[count - 1].record.timestamp;
}

bool model_has_account_at(const struct tael_model *model, uint64_t timestamp) {
    for (uint32_t i = model->account_ids.count; i-- > 0 && model->accounts[i].timestamp >= timestamp;) {
        if (model->accounts[i].timestamp == timestamp) return true;
    }
    return false;
}

bool model_has_transfer_at(const struct tael_model *model, uint64_t timestamp) {
    for (uint32_t i = model->transfer_ids.count; i-- > 0 && model->transfers[i].record.timestamp >= timestamp;) {
        if (model->transfers[i].record.timestamp == timestamp) return true;
    }
    return false;
}

static void note(struct tael_model *model, const struct model_undo *step) {
    model->undo = model_grow(model->undo, model->undo_count, &model->undo_capacity, sizeof *model->undo);
    model->undo[model->undo_count++] = *step;
}

void model_chain_begin(struct tael_model *model) { model->undo_count = 0; }

static void undo_step(struct tael_model *model, const struct model_undo *step) {
    switch (step->kind) {
    case MODEL_UNDO_ADD_ACCOUNT:
        ids_drop_last(&model->account_ids);
        break;
    case MODEL_UNDO_ADD_TRANSFER:
        ids_drop_last(&model->transfer_ids);
        model->event_count--;
        break;
    case MODEL_UNDO_ACCOUNT:
        model->accounts[step->index] = step->account;
        break;
    case MODEL_UNDO_STATUS:
        model->transfers[step->index].status = step->status;
        break;
    }
}

void model_chain_undo(struct tael_model *model) {
    while (model->undo_count > 0) undo_step(model, &model->undo[--model->undo_count]);
}

void model_add_account(struct tael_model *model, const struct tael_account *account) {
    TAEL_ASSERT(account->timestamp > model_account_timestamp_last(model));
    uint32_t capacity = model->account_ids.capacity;
    model->accounts = model_grow(model->accounts, model->account_ids.count, &capacity, sizeof *model->accounts);
    model->accounts[model->account_ids.count] = *account;
    model_ids_add(&model->account_ids, account->id);
    note(model, &(struct model_undo){.kind = MODEL_UNDO_ADD_ACCOUNT});
}

void model_set_account(struct tael_model *model, uint32_t index, const struct tael_account *account) {
    TAEL_ASSERT(index < model->account_ids.count);
    note(model, &(struct model_undo){.kind = MODEL_UNDO_ACCOUNT, .index = index, .account = model->accounts[index]});
    model->accounts[index] = *account;
}

void model_set_status(struct tael_model *model, uint32_t index, enum model_pending_status status) {
    TAEL_ASSERT(index < model->transfer_ids.count);
    note(model,
         &(struct model_undo){.kind = MODEL_UNDO_STATUS, .index = index, .status = model->transfers[index].status});
    model->transfers[index].status = status;
}

static enum tael_change_event_type type_of(const struct tael_transfer *transfer) {
    if (transfer->flags & TAEL_TRANSFER_FLAG_pending) return TAEL_CHANGE_TWO_PHASE_PENDING;
    if (transfer->flags & TAEL_TRANSFER_FLAG_post_pending_transfer) return TAEL_CHANGE_TWO_PHASE_POSTED;
    if (transfer->flags & TAEL_TRANSFER_FLAG_void_pending_transfer) return TAEL_CHANGE_TWO_PHASE_VOIDED;
    return TAEL_CHANGE_SINGLE_PHASE;
}

void model_add_transfer(struct tael_model *model, const struct tael_transfer *transfer) {
    TAEL_ASSERT(transfer->timestamp > model_transfer_timestamp_last(model));
    uint32_t capacity = model->transfer_ids.capacity;
    model->transfers = model_grow(model->transfers, model->transfer_ids.count, &capacity, sizeof *model->transfers);
    const bool pending = (transfer->flags & TAEL_TRANSFER_FLAG_pending) != 0;
    model->transfers[model->transfer_ids.count] = (struct model_transfer){
        .record = *transfer,
        .status = pending ? MODEL_PENDING : MODEL_NEVER_PENDING,
        .event = model->event_count,
    };
    model_ids_add(&model->transfer_ids, transfer->id);
    model_add_event(model, transfer, type_of(transfer), transfer->timestamp);
    note(model, &(struct model_undo){.kind = MODEL_UNDO_ADD_TRANSFER});
}

static struct tael_change_event_account event_account(const struct tael_account *account) {
    return (struct tael_change_event_account){
        .id = account->id,
        .debits_pending = account->debits_pending,
        .debits_posted = account->debits_posted,
        .credits_pending = account->credits_pending,
        .credits_posted = account->credits_posted,
        .user_data_128 = account->user_data_128,
        .user_data_64 = account->user_data_64,
        .user_data_32 = account->user_data_32,
        .code = account->code,
        .flags = account->flags,
    };
}

void model_add_event(struct tael_model *model, const struct tael_transfer *transfer, enum tael_change_event_type type,
                     uint64_t timestamp) {
    const struct tael_account *debit = &model->accounts[model_find_account(model, transfer->debit_account_id)];
    const struct tael_account *credit = &model->accounts[model_find_account(model, transfer->credit_account_id)];
    model->events = model_grow(model->events, model->event_count, &model->event_capacity, sizeof *model->events);
    model->events[model->event_count++] = (struct tael_change_event){
        .transfer_id = transfer->id,
        .transfer_amount = transfer->amount,
        .transfer_pending_id = transfer->pending_id,
        .transfer_user_data_128 = transfer->user_data_128,
        .transfer_user_data_64 = transfer->user_data_64,
        .transfer_user_data_32 = transfer->user_data_32,
        .transfer_timeout = transfer->timeout,
        .transfer_code = transfer->code,
        .transfer_flags = transfer->flags,
        .ledger = transfer->ledger,
        .type = (uint8_t)type,
        .debit_account = event_account(debit),
        .credit_account = event_account(credit),
        .timestamp = timestamp,
        .transfer_timestamp = transfer->timestamp,
        .debit_account_timestamp = debit->timestamp,
        .credit_account_timestamp = credit->timestamp,
    };
}

void model_burn(struct tael_model *model, tael_u128 id) { model_ids_add(&model->burnt_ids, id); }
