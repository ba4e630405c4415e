/* Everything is decided: balances by the accounts' owners, and the claims become final by the ids' owners. */
#include "engine/step.h"
#include "engine/transfer_rules.h"

#include <immintrin.h>
#include <string.h>

#include <tael/status.h>

/* --- balances --- */

/* Applies a half of an event that succeeded. */
static void half_apply(struct tael_step *step, uint32_t event, bool is_debit, struct tael_account_line *line) {
    const uint8_t kind = step->kind[event];
    uint64_t *pending = &line->balance[is_debit ? TAEL_DEBITS_PENDING : TAEL_CREDITS_PENDING];
    uint64_t *posted = &line->balance[is_debit ? TAEL_DEBITS_POSTED : TAEL_CREDITS_POSTED];
    if (TAEL_UNLIKELY(kind & TAEL_STEP_RESOLVE)) {
        TAEL_ASSERT(*pending >= step->pending_amount[event]);
        *pending -= step->pending_amount[event];
        if (kind & TAEL_STEP_POST) *posted += step->amount[event];
    } else {
        *(kind & TAEL_STEP_PENDING ? pending : posted) += step->amount[event];
    }
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

/* An event of which the residue has applied a side, on an unsafe account: the other side's owner adds its half to history. */
static void half_apply_beside_residue(struct tael_step *step, uint32_t event, bool is_debit,
                                      struct tael_account_line *line, uint64_t position) {
    if (step->sides_written[event] & (is_debit ? TAEL_STEP_DEBIT : TAEL_STEP_CREDIT)) return;
    half_apply(step, event, is_debit, line);
    memcpy(&step->ledger->history.transfers[position].value[is_debit ? 0 : TAEL_BALANCES], line->balance,
           sizeof line->balance);
}

static void box_put(struct tael_step_box *box, uint32_t event, const struct tael_account_line *line) {
    const uint32_t place = box->count++;
    box->event[place] = (uint16_t)event;
    for (int i = 0; i < TAEL_BALANCES; i++) box->half[place].balance[i] = line->balance[i];
}

/* An event that was created; the worker owns one of its accounts at least. */
static void event_apply(struct tael_step *step, uint32_t worker, uint32_t event, uint64_t position) {
    struct tael_account_line *debit =
        step->owner_debit[event] == worker ? &step->ledger->accounts.lines[step->debit[event]] : NULL;
    struct tael_account_line *credit =
        step->owner_credit[event] == worker ? &step->ledger->accounts.lines[step->credit[event]] : NULL;
    if (TAEL_UNLIKELY(step->sides_written[event] != 0)) {
        if (debit != NULL) half_apply_beside_residue(step, event, true, debit, position);
        if (credit != NULL) half_apply_beside_residue(step, event, false, credit, position);
        return;
    }
    if (debit != NULL) half_apply(step, event, true, debit);
    if (credit != NULL) half_apply(step, event, false, credit);
    if (debit == NULL) {
        box_put(&step->boxes[worker].sent, event, credit);
    } else if (credit == NULL) {
        box_put(&step->boxes[worker].held, event, debit);
    } else {
        if ((step->kind[event] & TAEL_STEP_WRITTEN) == 0) tael_step_write_body(step, event, position);
        tael_step_write_history(step, position, debit->balance, credit->balance);
    }
}

/* Whatever became of it. */
static void event_end(struct tael_step *step, uint32_t worker, uint32_t event) {
    struct tael_account_line *lines = step->ledger->accounts.lines;
    if (step->owner_debit[event] == worker) {
        reservation_end(&lines[step->debit[event]]);
        if (TAEL_UNLIKELY(step->kind[event] & TAEL_STEP_RESOLVE)) pending_settle(step, event);
    }
    if (step->owner_credit[event] == worker) reservation_end(&lines[step->credit[event]]);
}

static void accounts_end(struct tael_step *step, uint32_t worker, const uint16_t *own, uint32_t count) {
    struct tael_account_line *lines = step->ledger->accounts.lines;
    const uint16_t safe = (uint16_t)~TAEL_ACCOUNT_LINE_UNSAFE;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t event = own[i];
        if (step->owner_debit[event] == worker) lines[step->debit[event]].flags &= safe;
        if (step->owner_credit[event] == worker) lines[step->credit[event]].flags &= safe;
    }
}

/* Its own lines only: others' would be taken from their owners' caches. */
static void lines_fetch(const struct tael_step *step, uint32_t worker, uint32_t event) {
    struct tael_account_line *lines = step->ledger->accounts.lines;
    if (step->owner_debit[event] == worker) __builtin_prefetch(&lines[step->debit[event]], 1);
    if (step->owner_credit[event] == worker) __builtin_prefetch(&lines[step->credit[event]], 1);
}

static void halves_apply(struct tael_step *step, uint32_t worker) {
    enum { DISTANCE = 8 };
    uint16_t own[TAEL_STEP_EVENTS_MAX];
    const uint32_t count = select_halves(step, worker, own);
    uint32_t failed = 0;
    step->boxes[worker].sent.count = 0;
    step->boxes[worker].held.count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t event = own[i];
        if (i + DISTANCE < count) lines_fetch(step, worker, own[i + DISTANCE]);
        while (failed < step->failed_count && step->failed[failed] < event) failed++;
        event_end(step, worker, event);
        if (TAEL_UNLIKELY(step->status[event] != TAEL_STATUS_CREATED)) continue;
        event_apply(step, worker, event, step->base + event - failed);
    }
    if (step->workers[worker].unsafe_accounts > 0) accounts_end(step, worker, own, count);
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
        if (step->unclaimed[event] != 0) continue;
        tael_id_index_withdraw_youngest(index, step->id_hash[event], step->base + event);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (step->unclaimed[own[i]] != 0) continue;
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
    _mm_sfence(); /* what went past the caches is seen by whom the end of this pass lets go on */
}
