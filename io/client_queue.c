#include "io/client_queue.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <tael/assert.h>
#include <tael/multi_batch.h>

/* The operations' places in `fifos`. */
enum {
#define X(number, name, kind, event, result, framing, filters) PLACE_##name,
    TAEL_OPERATION_TABLE(X)
#undef X
        PLACES
};
static_assert(PLACES <= TAEL_CLIENT_OPERATIONS_MAX, "each operation has its place");
static_assert(TAEL_CLIENT_EVENTS_MAX == TAEL_EVENTS_MAX, "the public limit");

static uint32_t place_of(uint8_t operation) {
    switch (operation) {
#define X(number, name, kind, event, result, framing, filters)                                                         \
    case number:                                                                                                       \
        return PLACE_##name;
        TAEL_OPERATION_TABLE(X)
#undef X
    default:
        TAEL_UNREACHABLE("an operation that was checked exists");
    }
}

/* --- what fits into one request --- */

struct request_size {
    uint32_t parts;
    uint32_t events;
    uint32_t results;
};

static bool size_fits(const struct tael_operation_info *info, const struct request_size *size) {
    if (!info->multi_batch) {
        return size->parts == 1 && (uint64_t)size->results * info->result_size <= TAEL_BODY_SIZE_MAX;
    }
    if (size->parts > TAEL_CLIENT_PARTS_MAX || size->events > TAEL_BODY_SIZE_MAX ||
        size->results > TAEL_BODY_SIZE_MAX) {
        return false;
    }
    if (info->kind == TAEL_OPERATION_CREATE && size->events > TAEL_EVENTS_MAX) return false;
    const uint64_t body =
        (uint64_t)size->events * info->event_size + tael_multi_batch_trailer_size(size->parts, info->event_size);
    const uint64_t reply =
        (uint64_t)size->results * info->result_size + tael_multi_batch_trailer_size(size->parts, info->result_size);
    return body <= TAEL_BODY_SIZE_MAX && reply <= TAEL_BODY_SIZE_MAX;
}

static uint32_t capped(uint32_t value, uint32_t max) { return value < max ? value : max; }

/* The most results that a filter can have. */
static uint32_t filter_results(uint8_t operation, const void *events) {
    struct tael_account_filter account;
    struct tael_query_filter query;
    struct tael_change_events_filter change;
    switch (operation) {
    case TAEL_OPERATION_get_account_transfers:
    case TAEL_OPERATION_get_account_balances:
        memcpy(&account, events, sizeof account);
        return capped(account.limit, TAEL_EVENTS_MAX);
    case TAEL_OPERATION_query_accounts:
    case TAEL_OPERATION_query_transfers:
        memcpy(&query, events, sizeof query);
        return capped(query.limit, TAEL_EVENTS_MAX);
    case TAEL_OPERATION_get_change_events:
        memcpy(&change, events, sizeof change);
        return capped(change.limit, TAEL_CHANGE_EVENTS_MAX);
    case TAEL_OPERATION_trial_balance:
        return TAEL_LEDGERS_PER_REPLY_MAX + 1;
    default:
        TAEL_UNREACHABLE("only these have filters");
    }
}

int tael_client_submit_check(const struct tael_client_submit *submit, uint32_t *results_max) {
    const struct tael_operation_info info = tael_operation_info(submit->operation);
    if (info.kind != TAEL_OPERATION_CREATE && info.kind != TAEL_OPERATION_READ) return -EINVAL;
    if (submit->completion == NULL || (submit->events == NULL && submit->event_count > 0)) return -EINVAL;
    if (info.filters && submit->event_count != 1) return -EINVAL;
    if (submit->event_count > TAEL_EVENTS_MAX) return -EMSGSIZE;
    *results_max = info.filters ? filter_results(submit->operation, submit->events) : submit->event_count;
    const struct request_size size = {.parts = 1, .events = submit->event_count, .results = *results_max};
    return size_fits(&info, &size) ? 0 : -EMSGSIZE;
}

/* --- slots --- */

int tael_client_queue_init(struct tael_client_queue *queue, uint32_t slots_max) {
    TAEL_ASSERT(slots_max > 0);
    *queue = (struct tael_client_queue){.slots_max = slots_max, .deadline_ns = UINT64_MAX};
    queue->slots = calloc(slots_max, sizeof *queue->slots);
    if (queue->slots == NULL) return -ENOMEM;
    for (uint32_t i = 0; i < slots_max; i++) queue->slots[i].next = i + 1 < slots_max ? i + 1 : TAEL_CLIENT_SLOT_NONE;
    for (uint32_t i = 0; i < TAEL_CLIENT_OPERATIONS_MAX; i++) {
        queue->fifos[i] = (struct tael_client_fifo){TAEL_CLIENT_SLOT_NONE, TAEL_CLIENT_SLOT_NONE};
    }
    return 0;
}

void tael_client_queue_free(struct tael_client_queue *queue) {
    free(queue->slots);
    queue->slots = NULL;
}

static struct tael_client_fifo *fifo_of(struct tael_client_queue *queue, const struct tael_client_slot *slot) {
    return &queue->fifos[place_of(slot->submit.operation)];
}

/* Links a slot in behind `previous`, NONE: at the front. */
static void link_behind(struct tael_client_queue *queue, uint32_t index, uint32_t previous) {
    struct tael_client_slot *slot = &queue->slots[index];
    struct tael_client_fifo *fifo = fifo_of(queue, slot);
    slot->state = TAEL_CLIENT_SLOT_WAITING;
    slot->previous = previous;
    slot->next = previous == TAEL_CLIENT_SLOT_NONE ? fifo->first : queue->slots[previous].next;
    *(slot->next == TAEL_CLIENT_SLOT_NONE ? &fifo->last : &queue->slots[slot->next].previous) = index;
    *(previous == TAEL_CLIENT_SLOT_NONE ? &fifo->first : &queue->slots[previous].next) = index;
    queue->waiting++;
}

void tael_client_queue_remove(struct tael_client_queue *queue, uint32_t index) {
    struct tael_client_slot *slot = &queue->slots[index];
    TAEL_ASSERT(slot->state == TAEL_CLIENT_SLOT_WAITING);
    struct tael_client_fifo *fifo = fifo_of(queue, slot);
    *(slot->next == TAEL_CLIENT_SLOT_NONE ? &fifo->last : &queue->slots[slot->next].previous) = slot->previous;
    *(slot->previous == TAEL_CLIENT_SLOT_NONE ? &fifo->first : &queue->slots[slot->previous].next) = slot->next;
    slot->state = TAEL_CLIENT_SLOT_SENT;
    queue->waiting--;
}

bool tael_client_queue_push(struct tael_client_queue *queue, const struct tael_client_submit *submit,
                            uint32_t results_max, uint64_t deadline_ns) {
    const uint32_t index = queue->free;
    if (index == TAEL_CLIENT_SLOT_NONE) return false;
    struct tael_client_slot *slot = &queue->slots[index];
    queue->free = slot->next;
    queue->taken++;
    *slot = (struct tael_client_slot){
        .submit = *submit, .deadline_ns = deadline_ns, .ticket = queue->ticket++, .results_max = results_max};
    if (deadline_ns < queue->deadline_ns) queue->deadline_ns = deadline_ns;
    link_behind(queue, index, fifo_of(queue, slot)->last);
    return true;
}

void tael_client_queue_release(struct tael_client_queue *queue, uint32_t index) {
    struct tael_client_slot *slot = &queue->slots[index];
    TAEL_ASSERT(slot->state == TAEL_CLIENT_SLOT_SENT);
    TAEL_ASSERT(queue->taken > 0);
    slot->state = TAEL_CLIENT_SLOT_FREE;
    slot->next = queue->free;
    queue->free = index;
    queue->taken--;
}

static uint32_t oldest(const struct tael_client_queue *queue) {
    uint32_t found = TAEL_CLIENT_SLOT_NONE;
    for (uint32_t i = 0; i < PLACES; i++) {
        const uint32_t first = queue->fifos[i].first;
        if (first == TAEL_CLIENT_SLOT_NONE) continue;
        if (found == TAEL_CLIENT_SLOT_NONE || queue->slots[first].ticket < queue->slots[found].ticket) found = first;
    }
    return found;
}

/* Whether `slot` goes into the request whose last part so far is `last`; `size` is the request's with it. */
static bool goes_along(const struct tael_client_slot *slot, const struct tael_client_slot *last, bool in_order,
                       const struct request_size *size) {
    const struct tael_operation_info info = tael_operation_info(slot->submit.operation);
    if ((slot->submit.flags & TAEL_CLIENT_ALONE) != 0 || (last->submit.flags & TAEL_CLIENT_ALONE) != 0) return false;
    if (in_order && slot->ticket != last->ticket + 1) return false;
    return info.multi_batch && size_fits(&info, size);
}

uint32_t tael_client_queue_pick(struct tael_client_queue *queue, bool in_order, uint32_t lane,
                                struct tael_client_part parts[static TAEL_CLIENT_PARTS_MAX]) {
    const struct tael_client_slot *last = NULL;
    struct request_size size = {0};
    uint32_t index = oldest(queue);
    TAEL_ASSERT(index != TAEL_CLIENT_SLOT_NONE);
    while (index != TAEL_CLIENT_SLOT_NONE) {
        struct tael_client_slot *slot = &queue->slots[index];
        const struct request_size with = {.parts = size.parts + 1,
                                          .events = size.events + slot->submit.event_count,
                                          .results = size.results + slot->results_max};
        if (last != NULL && !goes_along(slot, last, in_order, &with)) break;
        const uint32_t next = slot->next;
        tael_client_queue_remove(queue, index);
        slot->lane = lane;
        slot->part = size.parts;
        parts[size.parts] = (struct tael_client_part){.slot = index,
                                                      .event_count = slot->submit.event_count,
                                                      .completion = slot->submit.completion,
                                                      .context = slot->submit.context};
        size = with;
        last = slot;
        index = next;
    }
    return size.parts;
}

void tael_client_queue_put_back(struct tael_client_queue *queue, const struct tael_client_part *parts, uint32_t count) {
    uint32_t previous = TAEL_CLIENT_SLOT_NONE;
    for (uint32_t i = 0; i < count; i++) {
        if (parts[i].slot == TAEL_CLIENT_SLOT_NONE) continue;
        link_behind(queue, parts[i].slot, previous);
        previous = parts[i].slot;
    }
}

uint32_t tael_client_queue_expired(struct tael_client_queue *queue, uint32_t from, uint64_t now_ns) {
    if (from == 0) queue->deadline_ns = UINT64_MAX;
    for (uint32_t i = from; i < queue->slots_max; i++) {
        const struct tael_client_slot *slot = &queue->slots[i];
        if (slot->state == TAEL_CLIENT_SLOT_FREE) continue;
        if (slot->deadline_ns <= now_ns) return i;
        if (slot->deadline_ns < queue->deadline_ns) queue->deadline_ns = slot->deadline_ns;
    }
    return TAEL_CLIENT_SLOT_NONE;
}
