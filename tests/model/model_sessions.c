/* Slots of the model's sessions, and the whole reply to the last request of each, as docs/client-protocol.md and
 * docs/datagram-protocol.md have it. A session of a register without slots has slot 0. */
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/frame.h>
#include <tael/operation.h>
#include <tael/status.h>

#include "tests/model/model_state.h"

static struct model_session *find(const struct tael_model *model, tael_u128 client, uint16_t slot) {
    for (uint32_t i = 0; i < model->session_count; i++) {
        if (model->sessions[i].client == client && model->sessions[i].slot == slot) return &model->sessions[i];
    }
    return NULL;
}

static void put_u16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

/* The results of one sub-batch; returns how many. Sparse ones are the failures, with their place in the sub-batch. */
static uint32_t put_results(uint8_t *out, const struct tael_create_result *results, uint32_t count, bool sparse) {
    if (!sparse) {
        memcpy(out, results, count * sizeof *results);
        return count;
    }
    uint32_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (results[i].status == TAEL_STATUS_CREATED) continue;
        const struct tael_create_result_sparse result = {.index = i, .status = results[i].status};
        memcpy(out + (size_t)failed * sizeof result, &result, sizeof result);
        failed++;
    }
    return failed;
}

/* Results, then 0xFF up to a multiple of a result's size, then the counts from last to first, then their number. */
static void keep_results(struct model_session *session, const struct tael_request *request,
                         const struct tael_create_result *results) {
    const bool sparse = tael_operation_is_sparse(request->operation);
    const uint32_t element = sparse ? 8 : 16;
    const uint32_t batches = request->batch_count;
    uint32_t *counts = calloc(batches, sizeof *counts);
    uint8_t *reply = malloc((size_t)request->event_count * element + 2 * ((size_t)batches + 1) + element);
    TAEL_ASSERT(counts != NULL);
    TAEL_ASSERT(reply != NULL);
    uint32_t size = 0;
    uint32_t done = 0;
    for (uint32_t i = 0; i < batches; i++) {
        const uint32_t events = tael_request_batch_events(request, i);
        counts[i] = put_results(reply + size, results + done, events, sparse);
        size += counts[i] * element;
        done += events;
    }
    while ((size + 2 * (batches + 1)) % element != 0) reply[size++] = 0xFF;
    for (uint32_t i = batches; i-- > 0; size += 2) put_u16(reply + size, counts[i]);
    put_u16(reply + size, batches);
    free(counts);
    session->reply = reply;
    session->reply_size = size + 2;
}

static void keep_register(struct model_session *session) {
    const bool by_datagram = session->token != 0;
    const uint32_t size = by_datagram ? 32 : 64;
    uint8_t *reply = calloc(1, size);
    TAEL_ASSERT(reply != NULL);
    if (by_datagram) {
        memcpy(reply, &session->token, 8);
        put_u16(reply + 8, session->slots);
    } else {
        const uint32_t batch_size_limit = 1048320;
        memcpy(reply, &batch_size_limit, sizeof batch_size_limit);
    }
    session->reply = reply;
    session->reply_size = size;
}

static void end_session(struct tael_model *model, tael_u128 client) {
    for (uint32_t i = model->session_count; i-- > 0;) {
        if (model->sessions[i].client != client) continue;
        free(model->sessions[i].reply);
        model->sessions[i] = model->sessions[--model->session_count];
    }
}

/* What a slot remembers of its last request, but the reply. */
static void advance(struct model_session *session, const struct tael_request *request) {
    session->checksum = request->checksum;
    session->op = request->op;
    session->timestamp = request->timestamp;
    session->request = request->request;
    session->operation = request->operation;
    free(session->reply);
    session->reply = NULL;
}

static void open_slot(struct tael_model *model, const struct tael_request *request, uint16_t slot) {
    TAEL_ASSERT(find(model, request->client, slot) == NULL);
    model->sessions =
        model_grow(model->sessions, model->session_count, &model->session_capacity, sizeof *model->sessions);
    struct model_session *session = &model->sessions[model->session_count++];
    *session = (struct model_session){
        .client = request->client,
        .token = request->token,
        .slot = slot,
        .slots = request->slots,
        .session = request->op,
        .capabilities = request->capabilities,
    };
    advance(session, request);
    keep_register(session);
}

void model_sessions_apply(struct tael_model *model, const struct tael_request *request,
                          const struct tael_create_result *results) {
    if (request->operation == TAEL_OPERATION_pulse) return;
    if (request->operation == TAEL_OPERATION_evict) {
        end_session(model, request->client);
        return;
    }
    if (request->operation == TAEL_OPERATION_register) {
        for (uint16_t slot = 0; slot == 0 || slot < request->slots; slot++) open_slot(model, request, slot);
        return;
    }
    struct model_session *session = find(model, request->client, request->slot);
    if (session == NULL) return;
    advance(session, request);
    keep_results(session, request, results);
}

void model_sessions_free(struct tael_model *model) {
    for (uint32_t i = 0; i < model->session_count; i++) free(model->sessions[i].reply);
    free(model->sessions);
}

uint32_t tael_model_reply(const struct tael_model *model, tael_u128 client, uint16_t slot, const void **body) {
    const struct model_session *session = find(model, client, slot);
    if (session == NULL) return 0;
    *body = session->reply;
    return session->reply_size;
}

tael_u128 tael_model_sessions_digest(const struct tael_model *model) {
    tael_u128 sum = 0;
    for (uint32_t i = 0; i < model->session_count; i++) {
        const struct model_session *session = &model->sessions[i];
        uint8_t record[128] = {0};
        const tael_u128 context = tael_u128_make(session->timestamp, session->op);
        const tael_u128 reply = tael_model_digest_element(0, session->reply, session->reply_size);
        memcpy(record + 0, &session->client, 16);
        memcpy(record + 16, &session->checksum, 16);
        memcpy(record + 32, &context, 16);
        memcpy(record + 48, &session->session, 8);
        memcpy(record + 56, &session->op, 8);
        memcpy(record + 64, &session->request, 4);
        memcpy(record + 68, &session->capabilities, 4);
        record[72] = session->operation;
        record[73] = (uint8_t)session->slot;
        put_u16(record + 74, session->slots);
        memcpy(record + 80, &session->token, 8);
        memcpy(record + 112, &reply, 16);
        sum += tael_model_digest_element(7, record, sizeof record);
    }
    return sum;
}
