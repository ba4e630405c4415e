#include "persist/block_check.h"

#include <tael/assert.h>
#include <tael/datagram.h>
#include <tael/operation.h>
#include <tael/request.h>

#include "persist/format.h"

/* Events of a create: as many as its payload holds, in sub-batches that add up to them. */
static const char *check_create(const struct tael_request *request) {
    if (request->client == 0) return "a create has no client";
    if (request->batch_count == 0) return "a create has no sub-batch";
    if (request->batch_count > TAEL_BATCHES_MAX) return "a create has too many sub-batches";
    if (request->event_count > TAEL_BODY_SIZE_MAX / TAEL_RECORD_SIZE) return "a create has too many events";
    if (request->size != tael_request_payload_size(request->event_count, request->batch_count)) {
        return "a create's size does not match its events";
    }
    uint64_t events = 0;
    for (uint32_t i = 0; i < request->batch_count; i++) events += tael_request_batch_events(request, i);
    return events == request->event_count ? NULL : "a create's sub-batches do not add up to its events";
}

static const char *check_without_payload(const struct tael_request *request) {
    if (request->size != 0) return "a request without events has a payload";
    if (request->event_count != 0) return "a request without events claims events";
    if (request->batch_count != 0) return "a request without events claims sub-batches";
    const bool is_pulse = request->operation == TAEL_OPERATION_pulse;
    if (is_pulse != (request->client == 0)) return is_pulse ? "a pulse has a client" : "a request has no client";
    return NULL;
}

/* What a request says of a session by datagram. */
static const char *check_session(const struct tael_request *request) {
    const bool opens = request->operation == TAEL_OPERATION_register;
    const bool creates = tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE;
    if (request->token != 0 && !opens) return "a token stands in a request that opens no session";
    if ((request->token != 0) != (request->slots != 0))
        return "a session has a token without slots, or slots without a token";
    if (request->slots > TAEL_SLOTS_MAX) return "a session has too many slots";
    if (request->slot != 0 && !creates) return "a request that is no create names a slot";
    return request->slot < TAEL_SLOTS_MAX ? NULL : "a create's slot is out of range";
}

static const char *check_operation(const struct tael_request *request) {
    switch (tael_operation_info(request->operation).kind) {
    case TAEL_OPERATION_CREATE:
        return check_create(request);
    case TAEL_OPERATION_SESSION:
    case TAEL_OPERATION_INTERNAL:
        return check_without_payload(request);
    case TAEL_OPERATION_READ:
        return "a read stands in the log";
    case TAEL_OPERATION_UNKNOWN:
        break;
    }
    return "its operation is unknown";
}

/* Timestamps that a request takes up: see include/tael/request.h. */
static uint64_t timestamps_of(const struct tael_request *request) {
    return request->operation == TAEL_OPERATION_pulse ? TAEL_EXPIRIES_MAX : request->event_count;
}

static const char *check_request(const struct tael_request *request, uint32_t available, uint64_t op,
                                 uint64_t timestamp_last) {
    if (request->size > available - TAEL_REQUEST_HEADER_SIZE) return "it reaches beyond its block";
    if (tael_request_size_in_block(request->size) > available) return "its padding reaches beyond its block";
    if (request->op != op) return "its op does not follow the one before";
    if (!tael_bytes_are_zero(request->reserved_a, sizeof request->reserved_a)) return "a reserved field is set";
    if (!tael_bytes_are_zero(request->reserved_b, sizeof request->reserved_b)) return "a reserved field is set";
    const char *problem = check_operation(request);
    if (problem == NULL) problem = check_session(request);
    if (problem != NULL) return problem;
    if (request->timestamp > TAEL_TIMESTAMP_MAX) return "its timestamp is out of range";
    if (request->timestamp < timestamps_of(request)) return "its timestamp is out of range";
    if (request->timestamp - timestamps_of(request) <= timestamp_last) return "its timestamps do not rise";
    return NULL;
}

static const char *check_header(const struct tael_log_block *header, const struct tael_block_context *context) {
    if (header->op_first != context->op_last + 1) return "its first op does not follow the one before";
    if (header->op_last != context->op_last + header->request_count) return "its ops do not match its requests";
    if (header->size < sizeof *header) return "it is smaller than its header";
    if (header->size > TAEL_BLOCK_SIZE_MAX) return "it is larger than the largest block";
    if (header->reserved_a != 0) return "a reserved field is set";
    if (!tael_bytes_are_zero(header->reserved, sizeof header->reserved)) return "a reserved field is set";
    return NULL;
}

bool tael_block_check(const struct tael_log_block *header, const struct tael_block_context *context,
                      struct tael_block_problem *problem) {
    TAEL_ASSERT((uintptr_t)header % _Alignof(struct tael_log_block) == 0);
    *problem = (struct tael_block_problem){.text = check_header(header, context)};
    if (problem->text != NULL) return false;

    uint64_t timestamp_last = context->timestamp_last;
    uint32_t offset = sizeof *header;
    for (uint32_t i = 0; i < header->request_count; i++) {
        problem->op = header->op_first + i;
        const uint32_t available = header->size - offset;
        problem->text = "it reaches beyond its block";
        if (available < TAEL_REQUEST_HEADER_SIZE) return false;
        const struct tael_request *request = (const struct tael_request *)((const uint8_t *)header + offset);
        problem->text = check_request(request, available, problem->op, timestamp_last);
        if (problem->text != NULL) return false;
        offset += tael_request_size_in_block(request->size);
        TAEL_ASSERT(offset <= header->size);
        timestamp_last = request->timestamp;
    }
    problem->op = 0;
    if (offset != header->size) problem->text = "bytes stand behind its last request";
    if (header->timestamp_last != timestamp_last) problem->text = "its last timestamp is not its last request's";
    return problem->text == NULL;
}
