/* Everything is decided: balances and history by the accounts' owners, bodies by ranges, the claims by the ids' owners. */
#include "engine/step.h"
#include "engine/transfer_rules.h"

#include <immintrin.h>

#include <tael/status.h>

/* --- bodies --- */

void tael_step_write(struct tael_step *step, uint32_t event, uint64_t position) {
    struct tael_journal *journal = &step->ledger->journal;
    const struct tael_transfer *t = step->event[event];
    const uint8_t kind = step->kind[event];
    if (TAEL_UNLIKELY(kind & TAEL_STEP_RESOLVE)) {
        const struct tael_transfer *pending = &journal->bodies[step->pending[event]];
        tael_transfer_write_resolver(&journal->bodies[position], t, pending, step->amount[event],
                                     step->timestamp[event]);
    } else {
        tael_journal_write(&journal->bodies[position], t, step->amount[event], step->timestamp[event]);
    }
    struct tael_transfer_trace *trace = &journal->traces[position];
    trace->debit_number = step->debit[event];
    trace->credit_number = step->credit[event];
    trace->pending_status = kind & TAEL_STEP_PENDING ? TAEL_PENDING_PENDING : TAEL_PENDING_NONE;
    trace->after = 0; /* safe accounts are neither closed nor wide */
    trace->reserved = 0;
    step->kind[event] = kind | TAEL_STEP_WRITTEN;
}

static void bodies_write(struct tael_step *step, uint32_t worker) {
    const uint32_t end = tael_step_range_end(step, worker);
    const uint32_t begin = tael_step_range_begin(step, worker);
    uint64_t position = tael_step_position(step, begin);
    for (uint32_t event = begin; event < end; event++) {
        if (TAEL_UNLIKELY(step->status[event] != TAEL_STATUS_CREATED)) continue;
        if (TAEL_LIKELY((step->kind[event] & TAEL_STEP_WRITTEN) == 0)) tael_step_write(step, event, position);
        position++;
    }
}

/* --- balances --- */

/* A half of an event that succeeded, unless the account is unsafe: then the residue has done it. */
static void half_apply(struct tael_step *step, uint32_t event, bool is_debit, uint64_t position) {
    struct tael_ledger *ledger = step->ledger;
    struct tael_account_line *line = &ledger->accounts.lines[is_debit ? step->debit[event] : step->credit[event]];
    const uint8_t kind = step->kind[event];
    if (TAEL_UNLIKELY(line->flags & TAEL_ACCOUNT_LINE_UNSAFE)) return;
    uint64_t *pending = &line->balance[is_debit ? TAEL_DEBITS_PENDING : TAEL_CREDITS_PENDING];
    uint64_t *posted = &line->balance[is_debit ? TAEL_DEBITS_POSTED : TAEL_CREDITS_POSTED];
    if (kind & TAEL_STEP_RESOLVE) {
        TAEL_ASSERT(*pending >= step->pending_amount[event]);
        *pending -= step->pending_amount[event];
        if (kind & TAEL_STEP_POST) *posted += step->amount[event];
    } else {
        *(kind & TAEL_STEP_PENDING ? pending : posted) += step->amount[event];
    }
    tael_history_write_half(&ledger->history.transfers[position], is_debit, line);
}

/* What became of the pending transfer: the owner of its debit account tells, unless the residue has. */
static void pending_settle(struct tael_step *step, uint32_t event) {
    struct tael_transfer_trace *trace = &step->ledger->journal.traces[step->pending[event]];
    trace->reserved = 0;
    if (tael_step_is_listed(step, event)) return;
    trace->pending_status = step->kind[event] & TAEL_STEP_POST ? TAEL_PENDING_POSTED : TAEL_PENDING_VOIDED;
}

static void reservation_end(struct tael_account_line *line) {
    line->reserved_low = 0;
    line->reserved_high = 0;
}

/* The events on whose debit or credit account the worker is the owner, rising. */
static uint32_t select_halves(const struct tael_step *step, uint32_t worker,
                              uint16_t out[static TAEL_STEP_EVENTS_MAX]) {
    const __m256i wanted = _mm256_set1_epi8((char)worker);
    uint32_t count = 0;
    for (uint32_t first = 0; first < step->count; first += 32) {
        const __m256i debits = _mm256_load_si256((const __m256i *)(const void *)(step->owner_debit + first));
        const __m256i credits = _mm256_load_si256((const __m256i *)(const void *)(step->owner_credit + first));
        const __m256i either = _mm256_or_si256(_mm256_cmpeq_epi8(debits, wanted), _mm256_cmpeq_epi8(credits, wanted));
        uint32_t matches = (uint32_t)_mm256_movemask_epi8(either);
        if (step->count - first < 32) matches &= (1u << (step->count - first)) - 1;
        while (matches != 0) {
            out[count++] = (uint16_t)(first + (uint32_t)__builtin_ctz(matches));
            matches &= matches - 1;
        }
    }
    return count;
}

static void event_apply(struct tael_step *step, uint32_t worker, uint32_t event, uint64_t position) {
    struct tael_account_line *lines = step->ledger->accounts.lines;
    const bool created = step->status[event] == TAEL_STATUS_CREATED;
    if (step->owner_debit[event] == worker) {
        reservation_end(&lines[step->debit[event]]);
        if (step->kind[event] & TAEL_STEP_RESOLVE) pending_settle(step, event);
        if (TAEL_LIKELY(created)) half_apply(step, event, true, position);
    }
    if (step->owner_credit[event] == worker) {
        reservation_end(&lines[step->credit[event]]);
        if (TAEL_LIKELY(created)) half_apply(step, event, false, position);
    }
}

static void halves_apply(struct tael_step *step, uint32_t worker) {
    enum { DISTANCE = 8 };
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    struct tael_account_line *lines = step->ledger->accounts.lines;
    const uint32_t count = select_halves(step, worker, own);
    uint32_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (i + DISTANCE < count) {
            __builtin_prefetch(&lines[step->debit[own[i + DISTANCE]]], 1);
            __builtin_prefetch(&lines[step->credit[own[i + DISTANCE]]], 1);
        }
        while (failed < step->failed_count && step->failed[failed] < own[i]) failed++;
        event_apply(step, worker, own[i], step->base + own[i] - failed);
    }
    if (step->workers[worker].unsafe_accounts == 0) return;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t event = own[i];
        const uint16_t safe = (uint16_t)~TAEL_ACCOUNT_LINE_UNSAFE;
        if (step->owner_debit[event] == worker) lines[step->debit[event]].flags &= safe;
        if (step->owner_credit[event] == worker) lines[step->credit[event]].flags &= safe;
    }
}

/* --- ids --- */

/* Claims name events; the index is to name positions. They differ only behind an event that failed: then all of the worker's claims
 * are taken back, youngest first, and what came of them is entered. */
static void claims_end(struct tael_step *step, uint32_t worker) {
    struct tael_id_index *index = &step->ledger->index;
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    if (TAEL_LIKELY(step->failed_count == 0)) return;
    const uint32_t count = tael_step_select(step, step->owner_id, worker, own);
    for (uint32_t i = count; i > 0; i--) {
        const uint32_t event = own[i - 1];
        if (step->claimed[event] == 0) continue;
        tael_id_index_withdraw_youngest(index, step->id_hash[event], step->base + event);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (step->claimed[own[i]] == 0) continue;
        const uint32_t holder = step->holder[own[i]];
        const uint32_t status = step->status[holder];
        const bool created = status == TAEL_STATUS_CREATED;
        if (!created && !tael_transfer_status_is_transient(status)) continue;
        struct tael_index_probe probe = tael_index_probe_begin(index, step->id_hash[own[i]]);
        uint64_t other;
        while (tael_index_probe_next(index, &probe, &other)) {
        }
        tael_id_index_enter(index, &probe,
                            created ? tael_step_position(step, holder) : TAEL_INDEX_BURNT | step->burnt[holder]);
    }
}

void tael_step_apply(struct tael_step *step, uint32_t worker) {
    halves_apply(step, worker);
    claims_end(step, worker);
    bodies_write(step, worker);
    _mm_sfence(); /* what went past the caches is seen by whom the end of this pass lets go on */
}
