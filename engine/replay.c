#include "engine/replay.h"

#include <tael/assert.h>
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

/* The block as the worker takes it, without the requests behind `until`. */
static struct tael_block block_describe(const struct tael_replay *replay, const struct tael_log_block *header,
                                        uint64_t until) {
    struct tael_block block = {
        .data = (uint8_t *)(uintptr_t)header, /* only read */
        .size = header->size,
        .request_count = header->request_count,
        .first_op = header->op_first,
        .last_op = header->op_last,
        .sequence = header->sequence,
        .outcomes = replay->outcomes,
        .exceptions = replay->exceptions,
    };
    if (block.last_op <= until) return block;
    block.last_op = until < block.first_op ? block.first_op - 1 : until;
    block.request_count = (uint32_t)(block.last_op + 1 - block.first_op);
    const struct tael_request *end = tael_block_first_request(&block);
    for (uint32_t i = 0; i < block.request_count; i++) end = tael_request_next(end);
    block.size = (uint32_t)((const uint8_t *)end - block.data);
    return block;
}

/* Moves the sessions on by a request that was left out: its client's session, if there is one, ends. */
static void sessions_skip(struct tael_replay *replay, const struct tael_request *request) {
    replay->skipped++;
    if (tael_sessions_find(replay->sessions, request->client, 0) == TAEL_SESSION_NONE) return;
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
    const bool known = tael_sessions_find(replay->sessions, request->client, 0) != TAEL_SESSION_NONE;
    /* Only an op that was left out can have ended a session that the log goes on with. */
    if (!known && !opens && replay->skipped > 0) return;
    if (tael_sessions_sequence(replay->sessions, request) == TAEL_SESSION_NONE) return;
    (void)tael_sessions_keep(replay->sessions, request, replay->exceptions + outcome->exception_first,
                             outcome->exception_count);
}

void tael_replay_block(struct tael_replay *replay, const struct tael_log_block *header, uint64_t until) {
    TAEL_ASSERT(header->op_first == replay->op + 1);
    const struct tael_block block = block_describe(replay, header, until);
    tael_panic_context.block_sequence = block.sequence; /* live, the log gives it while the worker is at work */
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
}
