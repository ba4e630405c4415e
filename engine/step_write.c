/* What remains of transfers: body, balances, trace. Each place has one writer, in whole lines where it goes past the caches. */
#include "engine/step.h"
#include "engine/transfer_rules.h"

#include <immintrin.h>

#include <tael/status.h>

#define BOTH __attribute__((always_inline)) static inline

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
    trace->debit_number = step->number[TAEL_STEP_DEBIT][event];
    trace->credit_number = step->number[TAEL_STEP_CREDIT][event];
    trace->pending_status = step->kind[event] & TAEL_STEP_PENDING ? TAEL_PENDING_PENDING : TAEL_PENDING_NONE;
    trace->after = 0; /* safe accounts are neither closed nor wide */
    trace->reserved = 0;
}

/* The balances after the events whose debit account is the worker's. */
BOTH void history_write(struct tael_step *step, uint32_t worker, const uint16_t *own, uint32_t count, bool irregular) {
    /* The next balances, by the owner of the account. */
    const struct tael_step_half *next[TAEL_WORKERS_MAX];
    for (uint32_t i = 0; i < step->worker_count; i++) {
        next[i] = step->boxes[i].sent + step->boxes[i].sent_begin[worker];
    }
    next[worker] = step->boxes[worker].held;
    uint32_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t event = own[i];
        while (failed < step->failed_count && step->failed[failed] < event) failed++;
        if (irregular && (!tael_step_is_created(step, event) || step->sides_written[event] != 0)) continue;
        const uint64_t *debit = next[worker]++->balance;
        const uint64_t *credit = next[step->owner[TAEL_STEP_CREDIT][event]]++->balance;
        tael_history_write_narrow(&step->ledger->history.transfers[step->base + event - failed], debit, credit);
    }
    /* Apply and this have passed over the same events. */
    for (uint32_t i = 0; i < step->worker_count; i++) {
        const struct tael_step_boxes *boxes = &step->boxes[i];
        TAEL_ASSERT(next[i] == (i == worker ? boxes->held_end : boxes->sent_end[worker]));
    }
}

/* Bodies and traces of the worker's range. */
BOTH void transfers_write(struct tael_step *step, uint32_t worker, bool irregular) {
    const uint32_t end = tael_step_range_end(step, worker);
    const uint32_t begin = tael_step_range_begin(step, worker);
    uint64_t position = tael_step_position(step, begin);
    for (uint32_t event = begin; event < end; event++) {
        if (irregular && !tael_step_is_created(step, event)) continue;
        if (!irregular || (step->kind[event] & TAEL_STEP_WRITTEN) == 0) {
            tael_step_write_body(step, event, position);
            tael_step_write_trace(step, event, position);
        }
        position++;
    }
}

void tael_step_write(struct tael_step *step, uint32_t worker) {
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    const uint32_t count = tael_step_select(step, step->owner[TAEL_STEP_DEBIT], worker, own);
    if (TAEL_LIKELY(!step->irregular)) {
        history_write(step, worker, own, count, false);
        transfers_write(step, worker, false);
    } else {
        history_write(step, worker, own, count, true);
        transfers_write(step, worker, true);
    }
    _mm_sfence(); /* what went past the caches is seen by whom the end of this pass lets go on */
}
