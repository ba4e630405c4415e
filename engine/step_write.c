/* What remains of transfers: body, balances, trace. Each place has one writer, in whole lines where it goes past the caches. */
#include "engine/step.h"
#include "engine/transfer_rules.h"

#include <immintrin.h>

#include <tael/status.h>

void tael_step_write_body(const struct tael_step *step, uint32_t event, uint64_t position) {
    struct tael_journal *journal = &step->ledger->journal;
    const struct tael_transfer *t = step->event[event];
    if (TAEL_UNLIKELY(step->kind[event] & TAEL_STEP_RESOLVE)) {
        const struct tael_transfer *pending = &journal->bodies[step->pending[event]];
        tael_transfer_write_resolver(&journal->bodies[position], t, pending, step->amount[event],
                                     step->timestamp[event]);
    } else {
        tael_journal_write(&journal->bodies[position], t, step->amount[event], step->timestamp[event]);
    }
}

void tael_step_write_trace(const struct tael_step *step, uint32_t event, uint64_t position) {
    struct tael_transfer_trace *trace = &step->ledger->journal.traces[position];
    trace->debit_number = step->debit[event];
    trace->credit_number = step->credit[event];
    trace->pending_status = step->kind[event] & TAEL_STEP_PENDING ? TAEL_PENDING_PENDING : TAEL_PENDING_NONE;
    trace->after = 0; /* safe accounts are neither closed nor wide */
    trace->reserved = 0;
}

void tael_step_write_history(const struct tael_step *step, uint64_t position, const uint64_t debit[TAEL_BALANCES],
                             const uint64_t credit[TAEL_BALANCES]) {
    tael_history_write_narrow(&step->ledger->history.transfers[position], debit, credit);
}

/* The balances that the credit account's owner sent, in the order of events. `next` is where to look on, by owner. */
static const uint64_t *credit_of(const struct tael_step *step, uint32_t event, uint32_t next[TAEL_WORKERS_MAX]) {
    const uint32_t owner = step->owner_credit[event];
    const struct tael_step_box *sent = &step->boxes[owner].sent;
    uint32_t place = next[owner];
    while (sent->event[place] != event) place++; /* sent to others */
    TAEL_ASSERT(place < sent->count);
    next[owner] = place + 1;
    return sent->half[place].balance;
}

static void held_write(struct tael_step *step, uint32_t worker) {
    const struct tael_step_box *held = &step->boxes[worker].held;
    uint32_t next[TAEL_WORKERS_MAX] = {0};
    uint32_t failed = 0;
    for (uint32_t i = 0; i < held->count; i++) {
        const uint32_t event = held->event[i];
        while (failed < step->failed_count && step->failed[failed] < event) failed++;
        const uint64_t position = step->base + event - failed;
        if ((step->kind[event] & TAEL_STEP_WRITTEN) == 0) tael_step_write_body(step, event, position);
        tael_step_write_history(step, position, held->half[i].balance, credit_of(step, event, next));
    }
}

static void traces_write(struct tael_step *step, uint32_t worker) {
    const uint32_t end = tael_step_range_end(step, worker);
    const uint32_t begin = tael_step_range_begin(step, worker);
    uint64_t position = tael_step_position(step, begin);
    for (uint32_t event = begin; event < end; event++) {
        if (TAEL_UNLIKELY(step->status[event] != TAEL_STATUS_CREATED)) continue;
        if (TAEL_LIKELY((step->kind[event] & TAEL_STEP_WRITTEN) == 0)) tael_step_write_trace(step, event, position);
        position++;
    }
}

void tael_step_write(struct tael_step *step, uint32_t worker) {
    held_write(step, worker);
    traces_write(step, worker);
    _mm_sfence(); /* what went past the caches is seen by whom the end of this pass lets go on */
}
