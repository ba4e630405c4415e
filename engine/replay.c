#include "engine/replay.h"

#include <errno.h>

#include <tael/assert.h>
#include <tael/log_format.h>
#include <tael/operation.h>

size_t tael_replay_size_bytes(void) {
    return tael_arena_share(TAEL_REQUESTS_PER_BLOCK_MAX * sizeof(struct tael_outcome)) +
           tael_arena_share(TAEL_EXCEPTIONS_PER_BLOCK_MAX * sizeof(struct tael_exception));
}

void tael_replay_init(struct tael_replay *replay, struct tael_arena *arena, struct tael_worker *worker,
                      struct tael_sessions *sessions) {
    *replay = (struct tael_replay){
        .worker = worker,
        .sessions = sessions,
        .outcomes = tael_arena_take(arena, TAEL_REQUESTS_PER_BLOCK_MAX * sizeof(struct tael_outcome)),
        .exceptions = tael_arena_take(arena, TAEL_EXCEPTIONS_PER_BLOCK_MAX * sizeof(struct tael_exception)),
    };
    TAEL_ASSERT(tael_sessions_usage(sessions).sessions == 0);
}

/* Whether a create's counts and size agree. The block holds `size` bytes of it. */
static bool create_is_sound(const struct tael_request *request) {
    if (request->event_count > TAEL_EVENTS_MAX) return false;
    if (request->batch_count == 0 || request->batch_count > TAEL_BATCHES_MAX) return false;
    if (request->size != tael_request_payload_size(request->event_count, request->batch_count)) return false;
    uint64_t events = 0;
    for (uint32_t i = 0; i < request->batch_count; i++) events += tael_request_batch_events(request, i);
    return events == request->event_count;
}

/* Whether a request may follow `op` and `timestamp`, and lies whole in the `room` bytes that are left of its block. */
static bool request_is_sound(const struct tael_request *request, uint64_t room, uint64_t op, uint64_t timestamp) {
    if (room < TAEL_REQUEST_HEADER_SIZE) return false;
    if (request->size > TAEL_BLOCK_SIZE_MAX || tael_request_size_in_block(request->size) > room) return false;
    if (request->op != op + 1 || request->timestamp <= timestamp) return false;
    switch (tael_operation_info(request->operation).kind) {
    case TAEL_OPERATION_CREATE:
        return create_is_sound(request);
    case TAEL_OPERATION_SESSION:
    case TAEL_OPERATION_INTERNAL:
        return request->size == 0 && request->event_count == 0;
    default:
        return false;
    }
}

/* Describes the block; -EBADMSG where its requests are not what its header says. `until` cuts it short. */
static int block_describe(const struct tael_replay *replay, const uint8_t *data, uint64_t until,
                          struct tael_block *block) {
    const struct tael_log_block *header = (const struct tael_log_block *)(const void *)data;
    if (header->size < TAEL_BLOCK_HEADER_SIZE || header->size > TAEL_BLOCK_SIZE_MAX) return -EBADMSG;
    const uint8_t *end = data + header->size;
    const struct tael_request *request = (const struct tael_request *)(const void *)(data + TAEL_BLOCK_HEADER_SIZE);
    const struct tael_request *cut = NULL;
    uint64_t op = replay->op;
    uint64_t timestamp = replay->timestamp;
    uint32_t count = 0;
    for (uint32_t i = 0; i < header->request_count; i++) {
        if (!request_is_sound(request, (uint64_t)(end - (const uint8_t *)request), op, timestamp)) return -EBADMSG;
        op = request->op;
        timestamp = request->timestamp;
        if (op > until && cut == NULL) cut = request;
        if (cut == NULL) count++;
        request = tael_request_next(request);
    }
    if ((const uint8_t *)request != end || header->op_first != replay->op + 1 || header->op_last != op) {
        return -EBADMSG;
    }
    *block = (struct tael_block){
        .data = (uint8_t *)(uintptr_t)data, /* only read */
        .size = (uint32_t)((cut != NULL ? (const uint8_t *)cut : end) - data),
        .request_count = count,
        .first_op = replay->op + 1,
        .last_op = replay->op + count,
        .sequence = header->sequence,
        .outcomes = replay->outcomes,
        .exceptions = replay->exceptions,
    };
    return 0;
}

/* Moves the sessions on by a request that was left out: its client's session, if there is one, ends. */
static void sessions_skip(struct tael_replay *replay, const struct tael_request *request) {
    replay->skipped++;
    if (tael_sessions_find(replay->sessions, request->client) == TAEL_SESSION_NONE) return;
    const struct tael_request stand_in = {
        .client = request->client,
        .op = request->op,
        .timestamp = request->timestamp,
        .operation = TAEL_OPERATION_evict,
    };
    (void)tael_sessions_sequence(replay->sessions, &stand_in);
}

static void sessions_follow(struct tael_replay *replay, const struct tael_request *request,
                            const struct tael_outcome *outcome) {
    if (tael_worker_skips(replay->worker, request->op)) {
        sessions_skip(replay, request);
        return;
    }
    const bool opens = request->operation == TAEL_OPERATION_register;
    const bool known = tael_sessions_find(replay->sessions, request->client) != TAEL_SESSION_NONE;
    /* Only an op that was left out can have ended a session that the log goes on with. */
    if (!known && !opens && replay->skipped > 0) return;
    if (tael_sessions_sequence(replay->sessions, request) == TAEL_SESSION_NONE) return;
    (void)tael_sessions_keep(replay->sessions, request, replay->exceptions + outcome->exception_first,
                             outcome->exception_count);
}

int tael_replay_block(struct tael_replay *replay, const uint8_t *data, uint64_t until) {
    struct tael_block block;
    const int error = block_describe(replay, data, until, &block);
    if (error != 0) return error;
    tael_worker_apply(replay->worker, &block);
    const struct tael_request *request = tael_block_first_request(&block);
    for (uint32_t i = 0; i < block.request_count; i++) {
        sessions_follow(replay, request, &block.outcomes[i]);
        replay->op = request->op;
        replay->timestamp = request->timestamp;
        replay->requests++;
        replay->events += request->event_count;
        request = tael_request_next(request);
    }
    return 0;
}
