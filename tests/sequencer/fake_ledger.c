#include "fake_ledger.h"

#include <string.h>

#include <tael/assert.h>
#include <tael/operation.h>

#include "engine/parallel.h"

struct fake_ledger_state fake_ledger;

struct tael_ledger {
    int unused;
};
struct tael_query {
    uint32_t steps_left;
    uint32_t reply_size;
    uint8_t *reply;
    uint64_t op;
    uint64_t timestamp;
};

void fake_ledger_reset(void) {
    fake_ledger = (struct fake_ledger_state){.usage.expiry_next = UINT64_MAX, .expiry_after_pulse = UINT64_MAX};
}

size_t tael_ledger_size_bytes(const struct tael_ledger_options *options) {
    (void)options;
    return tael_arena_share(sizeof(struct tael_ledger));
}

struct tael_ledger *tael_ledger_init(struct tael_arena *arena, const struct tael_ledger_options *options) {
    (void)options;
    return tael_arena_take(arena, sizeof(struct tael_ledger));
}

static uint32_t apply_events(const struct tael_request *request, struct tael_exception *exceptions) {
    const struct tael_transfer *events = tael_request_payload(request);
    const bool accounts = tael_operation_creates_accounts(request->operation);
    uint32_t count = 0;
    for (uint32_t i = 0; i < request->event_count; i++) {
        fake_ledger.digest = fake_ledger.digest * 31 + events[i].id;
        if (accounts) fake_ledger.usage.accounts++;
        if (!accounts) fake_ledger.usage.transfers++;
        if (events[i].user_data_32 == 0) continue;
        exceptions[count++] = (struct tael_exception){
            .timestamp = events[i].user_data_64,
            .status = events[i].user_data_32,
            .index = i,
        };
    }
    return count;
}

uint32_t tael_ledger_apply(struct tael_ledger *ledger, const struct tael_request *request,
                           struct tael_exception *exceptions) {
    (void)ledger;
    TAEL_ASSERT(request->op == fake_ledger.usage.op + 1);
    TAEL_ASSERT(request->timestamp > fake_ledger.usage.timestamp);
    fake_ledger.usage.op = request->op;
    fake_ledger.usage.timestamp = request->timestamp;
    if (request->operation == TAEL_OPERATION_pulse) {
        fake_ledger.usage.expiry_next = fake_ledger.expiry_after_pulse;
        fake_ledger.pulses++;
    }
    const bool creates = tael_operation_info(request->operation).kind == TAEL_OPERATION_CREATE;
    return creates ? apply_events(request, exceptions) : 0;
}

struct tael_ledger_usage tael_ledger_usage(const struct tael_ledger *ledger) {
    (void)ledger;
    return fake_ledger.usage;
}

void tael_ledger_look_ahead(const struct tael_ledger *ledger, const struct tael_request *request, uint32_t steps_left) {
    (void)ledger;
    (void)request;
    (void)steps_left;
}

uint32_t tael_ledger_index_behind(struct tael_ledger *ledger, uint32_t budget) {
    (void)ledger;
    (void)budget;
    return 0;
}

enum tael_eviction_reason tael_query_body_check(uint8_t operation, const void *body, uint32_t body_size,
                                                uint32_t *reply_size_max) {
    (void)operation;
    const struct fake_read *read = body;
    if (body_size != sizeof *read) return TAEL_EVICTION_INVALID_REQUEST_BODY_SIZE;
    *reply_size_max = read->reply_size;
    return read->refusal;
}

/* There is one worker. */
uint32_t tael_parallel_run_length(const struct tael_parallel *parallel, const struct tael_request *first,
                                  uint32_t count, uint32_t *alone) {
    (void)first;
    (void)count;
    (void)alone;
    TAEL_ASSERT(parallel == NULL);
    return 0;
}

uint32_t tael_parallel_apply(struct tael_parallel *parallel, const struct tael_request *first, uint32_t count,
                             struct tael_exception *exceptions, struct tael_outcome *outcomes,
                             uint32_t exception_first) {
    (void)parallel;
    (void)first;
    (void)count;
    (void)exceptions;
    (void)outcomes;
    (void)exception_first;
    TAEL_UNREACHABLE("nothing is for several workers");
}

size_t tael_query_size_bytes(void) { return tael_arena_share(sizeof(struct tael_query)); }

struct tael_query *tael_query_init(struct tael_arena *arena, struct tael_lookups *lookups) {
    TAEL_ASSERT(lookups == NULL); /* there is one worker */
    return tael_arena_take(arena, sizeof(struct tael_query));
}

void tael_query_begin(struct tael_query *query, struct tael_ledger *ledger, uint8_t operation, const void *body,
                      uint32_t body_size, void *reply) {
    (void)ledger;
    (void)operation;
    TAEL_ASSERT(body_size == sizeof(struct fake_read));
    const struct fake_read *read = body;
    *query = (struct tael_query){.steps_left = read->steps, .reply_size = read->reply_size, .reply = reply};
}

bool tael_query_step(struct tael_query *query, uint32_t budget) {
    TAEL_ASSERT(budget > 0);
    if (--query->steps_left > 0) return false;
    query->op = fake_ledger.usage.op;
    query->timestamp = fake_ledger.usage.timestamp;
    memset(query->reply, (uint8_t)query->op, query->reply_size);
    return true;
}

uint32_t tael_query_reply_size(const struct tael_query *query) { return query->reply_size; }
uint64_t tael_query_op(const struct tael_query *query) { return query->op; }
uint64_t tael_query_timestamp(const struct tael_query *query) { return query->timestamp; }
